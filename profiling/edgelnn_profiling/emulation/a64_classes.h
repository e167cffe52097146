/* a64_classes.h - the class of an A64 instruction (Armv8.0 to 8.2 without SVE), exact, from its 32 bits.
 *
 * Section C4.1 of the Arm Architecture Reference Manual for A-profile (DDI 0487) has the tables that this follows. A
 * load or store of vector registers is a load or store. */

#ifndef A64_CLASSES_H
#define A64_CLASSES_H

#include <stdint.h>

enum instruction_class {
    INTEGER, /* arithmetic and logic on general registers, addresses and constants among it */
    SIMD_FP, /* on vectors and floating-point numbers, conversions and cryptography too */
    LOAD,    /* reads memory */
    STORE,   /* writes memory; an exclusive store too, and the zeroing of a cache line */
    BRANCH,  /* jumps, calls and returns, taken or not */
    OTHER,   /* atomic read-modify-writes, prefetches, barriers, hints, system calls and registers, undefined ones */
    CLASSES
};

static const char *const class_names[CLASSES] = {"integer", "simd_fp", "load", "store", "branch", "other"};

static inline uint32_t a64_field(uint32_t word, unsigned high, unsigned low)
{
    return (word >> low) & ((1u << (high - low + 1)) - 1);
}

/* Bits 29:27 are 111: one register, at any kind of address; and the atomic instructions of Armv8.1. */
static inline enum instruction_class a64_one_register(uint32_t word)
{
    uint32_t size = a64_field(word, 31, 30), vector = a64_field(word, 26, 26), opc = a64_field(word, 23, 22);
    if (a64_field(word, 24, 24) == 0 && a64_field(word, 21, 21) == 1 && a64_field(word, 11, 10) != 2) {
        if (a64_field(word, 10, 10) == 1)
            return LOAD; /* LDRAA, LDRAB */
        return (word & 0x3ffffc00u) == 0x38bfc000u ? LOAD : OTHER; /* LDAPR; else LDADD, SWP and the like */
    }
    if (vector)
        return opc & 1 ? LOAD : STORE;
    if (size == 3 && opc == 2)
        return OTHER; /* PRFM, PRFUM */
    return opc == 0 ? STORE : LOAD;
}

/* Bits 28:25 are x1x0. */
static inline enum instruction_class a64_load_store(uint32_t word)
{
    enum instruction_class by_l_bit = a64_field(word, 22, 22) ? LOAD : STORE;
    uint32_t vector = a64_field(word, 26, 26);
    switch (a64_field(word, 29, 27)) {
    case 1: /* exclusive, ordered, compare and swap; or with V set whole structures of vectors */
        if (!vector && a64_field(word, 21, 21) && (a64_field(word, 23, 23) || !a64_field(word, 31, 31)))
            return OTHER; /* CAS, CASP */
        return by_l_bit;
    case 3: /* relative to the program counter; with bit 24 set LDAPUR and STLUR */
        if (a64_field(word, 24, 24))
            return a64_field(word, 23, 22) ? LOAD : STORE;
        return !vector && a64_field(word, 31, 30) == 3 ? OTHER : LOAD; /* PRFM */
    case 5: /* a pair of registers */
        return by_l_bit;
    case 7:
        return a64_one_register(word);
    default:
        return OTHER;
    }
}

static inline enum instruction_class a64_class(uint32_t word)
{
    uint32_t group = a64_field(word, 28, 25);
    if ((group & 5) == 4)
        return a64_load_store(word);
    if ((group & 7) == 7)
        return SIMD_FP;
    if ((group & 14) == 8 || (group & 7) == 5)
        return INTEGER;
    if ((group & 14) == 10) {
        if (a64_field(word, 31, 24) != 0xd4 && a64_field(word, 31, 24) != 0xd5)
            return BRANCH;
        return (word & 0xffffffe0u) == 0xd50b7420u ? STORE : OTHER; /* DC ZVA */
    }
    return OTHER;
}

#endif
