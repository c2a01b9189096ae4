/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each kind of thread of a program may ask of the kernel once its jail is closed. A program
 * has a table of its own; gen_filters.c, which the build links with it, makes BPF programs of it.
 */
#ifndef KV_BASE_JAIL_RULES_H
#define KV_BASE_JAIL_RULES_H

#include <stdint.h>

/* By enum thread_kind. */
#define KIND_CONTROL 1u
#define KIND_VCPU 2u
#define KIND_IO 4u
#define KIND_WORKER 8u

/* Stands for the process's own number, which only the running process knows. */
#define RULE_OWN_PID UINT32_C(0x4b564d50)

struct rule_check {
    unsigned argument; /* 1 to 6; 0: no check */
    uint64_t mask;     /* argument & mask == value */
    uint64_t value;
};

struct rule {
    unsigned kinds;
    int syscall;
    struct rule_check checks[2]; /* all must hold; several rows for a call: one must match */
    int answer;                  /* not allowed but answered with this errno; 0: allowed */
};

extern const struct rule jail_rules[];
extern const unsigned jail_rule_count;

/* The program NAME_filter is made of the rules of the kind. */
struct rule_kind {
    unsigned kind;
    const char *name;
    uint32_t ioctl_first; /* a call that is made all the time and let through before anything else
                             is looked at; libseccomp would come to it after some thirty
                             instructions; 0: none */
};

extern const struct rule_kind jail_kinds[];
extern const unsigned jail_kind_count;

#endif
