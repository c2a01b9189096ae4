/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of x86 processor features by register of CPUID (private to src/model). */
#ifndef KV_MODEL_CPU_FEATURES_H
#define KV_MODEL_CPU_FEATURES_H

#include <stdint.h>

enum cpu_register { CPU_EAX, CPU_EBX, CPU_ECX, CPU_EDX };

struct cpu_feature_word {
    uint32_t leaf, subleaf;
    enum cpu_register reg;
    const char *names[32]; /* by bit; NULL: no name */
};

extern const struct cpu_feature_word cpu_feature_words[];
extern const unsigned cpu_feature_word_count;

#endif
