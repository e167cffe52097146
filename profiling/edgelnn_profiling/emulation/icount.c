/* icount.c - counts the instructions that a program executes under QEMU's user-mode emulation, by class.
 *
 *   cc -O2 -shared -fPIC -o libicount.so icount.c
 *   QEMU_PLUGIN=./libicount.so,out=counts.txt qemu-aarch64 program
 *
 * The program marks a region by system calls that fail and do nothing else: getpgid(0x454c4e00 + k), k from 0 to 63.
 * When it ends, a line is appended to `out` (standard error unless given) for everything, and one for each pair of
 * marks k, k + 1 that it passed:
 *
 *   total insns=N ldst=N simdfp=N branch=N int=N
 *   region 5->6 insns=N ldst=N simdfp=N branch=N int=N
 *
 * Counts are exact and repeatable for one thread. They are not a time: there are no caches and no pipeline here.
 * Plugin API version 1: QEMU 4.2 to 8.x, dynamically linked (Debian 12's qemu-user has it; qemu-user-static has not).
 * The prototypes stand here, so that neither qemu-plugin.h nor glib is needed to compile. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t,
        uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);

EXPORT int qemu_plugin_version = 1;

enum { ALL, LOAD_STORE, SIMD_FP, BRANCH, INTEGER, CLASSES };
static const char *const names[CLASSES] = {"insns", "ldst", "simdfp", "branch", "int"};

enum { MARKS = 64, ADD_U64 = 0, GETPGID_ARM64 = 155, GETPGID_ARM = 132 };
static const uint64_t marker = 0x454c4e00;

static uint64_t counts[CLASSES];
static uint64_t at_mark[MARKS][CLASSES];
static bool passed[MARKS];
static bool is_a64;
static FILE *out;

/* A64's top-level encoding groups, bits 28:25. A load of a vector is a load. */
static int class_of(uint32_t instruction)
{
    unsigned group = (instruction >> 25) & 15;
    if ((group & 5) == 4)
        return LOAD_STORE;
    if ((group & 7) == 7)
        return SIMD_FP;
    if ((group & 14) == 10)
        return BRANCH; /* and exceptions and system instructions */
    return INTEGER;
}

/* Every block of translated code gets one addition per class in front of it, done inline. */
static void translated(plugin_id id, struct qemu_plugin_tb *block)
{
    (void)id;
    uint64_t in_block[CLASSES] = {0};
    size_t length = qemu_plugin_tb_n_insns(block);
    in_block[ALL] = length;
    for (size_t i = 0; i < length; i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        if (is_a64 && qemu_plugin_insn_size(instruction) == 4) {
            uint32_t word;
            memcpy(&word, qemu_plugin_insn_data(instruction), 4);
            in_block[class_of(word)]++;
        }
    }
    for (int k = 0; k < CLASSES; k++)
        if (in_block[k])
            qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &counts[k], in_block[k]);
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
        uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    uint64_t mark = (a1 & 0xffffffffu) - marker;
    if ((number == GETPGID_ARM64 || number == GETPGID_ARM) && mark < MARKS) {
        memcpy(at_mark[mark], counts, sizeof counts);
        passed[mark] = true;
    }
}

static void write_line(const uint64_t *from, const uint64_t *to)
{
    for (int k = 0; k < CLASSES; k++)
        fprintf(out, " %s=%llu", names[k], (unsigned long long)(to[k] - from[k]));
    fprintf(out, "\n");
}

static void ended(plugin_id id, void *unused)
{
    (void)id, (void)unused;
    static const uint64_t nothing[CLASSES];
    fprintf(out, "total");
    write_line(nothing, counts);
    for (int k = 0; k + 1 < MARKS; k++)
        if (passed[k] && passed[k + 1]) {
            fprintf(out, "region %d->%d", k, k + 1);
            write_line(at_mark[k], at_mark[k + 1]);
        }
    fflush(out);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    const char *target = *(const char *const *)info; /* the first field of qemu_info_t */
    is_a64 = target && !strcmp(target, "aarch64");
    out = stderr;
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4))
            out = fopen(argv[i] + 4, "a");
    if (!out)
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
