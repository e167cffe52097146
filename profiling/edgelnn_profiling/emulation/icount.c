/* icount.c - counts the instructions that a program executes under QEMU's user-mode emulation, by class.
 *
 *   cc -O2 -shared -fPIC -o libicount.so icount.c
 *   QEMU_PLUGIN=./libicount.so,out=counts.txt qemu-aarch64 program
 *
 * The program marks a region by two system calls that fail and do nothing else: getpgid(0x454c0000 + n) with an even n
 * up to 65534 where it begins and n + 1 where it ends. Then a line is appended to `out` (standard error unless given):
 *
 *   region N all=N integer=N simd_fp=N load=N store=N branch=N other=N
 *
 * Counts are exact and repeatable for one thread, and by class for A64
 * alone. They are not a time: there are no caches and no pipeline here.
 *
 * With `check=on`, which is slow, every access to memory is held against the class of the instruction that makes it; at
 * the end of each process stands
 *
 *   check instructions=N accesses=N wrong=N last=WORD
 *
 * Plugin API version 1: QEMU 4.2 to 8.x, dynamically linked (Debian 12's qemu-user has it; qemu-user-static has not).
 * The prototypes stand here, so that neither qemu-plugin.h nor glib is needed to compile. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "a64_classes.h"

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
extern bool qemu_plugin_mem_is_store(uint32_t);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *,
        void (*)(unsigned, uint32_t, uint64_t, void *), int, int, void *);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t,
        uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);

EXPORT int qemu_plugin_version = 1;

enum { ADD_U64 = 0, NO_REGISTERS = 0, READS_AND_WRITES = 3, GETPGID_ARM64 = 155, GETPGID_ARM = 132 };
static const uint64_t marker = 0x454c0000, marks = 0x10000;

static uint64_t all, by_class[CLASSES];
static uint64_t all_before, by_class_before[CLASSES];
static bool is_a64, checks;
static uint64_t translated_instructions, accesses, wrong_accesses;
static uint32_t last_wrong;
static FILE *out;

/* A load reads, a store writes, an atomic instruction does both, and nothing else touches memory. QEMU makes exclusive
 * stores (STXR and the like) by comparing and exchanging, so that it reports reading too. */
static void accessed(unsigned cpu, uint32_t access, uint64_t address, void *instruction)
{
    (void)cpu, (void)address;
    uint32_t word = (uint32_t)(uintptr_t)instruction;
    enum instruction_class expected = qemu_plugin_mem_is_store(access) ? STORE : LOAD, found = a64_class(word);
    bool exclusive_store = found == STORE && (word & 0x3f800000u) == 0x08000000u;
    accesses++;
    if (found != expected && found != OTHER && !exclusive_store) {
        wrong_accesses++;
        last_wrong = word;
    }
}

/* Every block of translated code gets one addition per class in front of it, done inline. */
static void translated(plugin_id id, struct qemu_plugin_tb *block)
{
    (void)id;
    uint64_t in_block[CLASSES] = {0};
    size_t length = qemu_plugin_tb_n_insns(block);
    for (size_t i = 0; is_a64 && i < length; i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        uint32_t word = 0;
        if (qemu_plugin_insn_size(instruction) == sizeof word)
            memcpy(&word, qemu_plugin_insn_data(instruction), sizeof word);
        in_block[a64_class(word)]++;
        if (checks) {
            translated_instructions++;
            qemu_plugin_register_vcpu_mem_cb(
                    instruction, accessed, NO_REGISTERS, READS_AND_WRITES, (void *)(uintptr_t)word);
        }
    }
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &all, length);
    for (int k = 0; k < CLASSES; k++)
        if (in_block[k])
            qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &by_class[k], in_block[k]);
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
        uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    uint64_t mark = (a1 & 0xffffffffu) - marker;
    if ((number != GETPGID_ARM64 && number != GETPGID_ARM) || mark >= marks)
        return;
    if (mark % 2 == 0) {
        all_before = all;
        memcpy(by_class_before, by_class, sizeof by_class);
        return;
    }
    fprintf(out, "region %llu all=%llu", (unsigned long long)(mark - 1), (unsigned long long)(all - all_before));
    for (int k = 0; is_a64 && k < CLASSES; k++)
        fprintf(out, " %s=%llu", class_names[k], (unsigned long long)(by_class[k] - by_class_before[k]));
    fprintf(out, "\n");
    fflush(out);
}

static void ended(plugin_id id, void *unused)
{
    (void)id, (void)unused;
    fprintf(out, "check instructions=%llu accesses=%llu wrong=%llu last=%08x\n",
            (unsigned long long)translated_instructions, (unsigned long long)accesses,
            (unsigned long long)wrong_accesses, (unsigned)last_wrong);
    fflush(out);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    const char *target = *(const char *const *)info; /* the first field of qemu_info_t */
    is_a64 = target && !strcmp(target, "aarch64");
    out = stderr;
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "out=", 4))
            out = fopen(argv[i] + 4, "a");
        checks = checks || !strcmp(argv[i], "check=on");
    }
    if (!out)
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    if (checks)
        qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
