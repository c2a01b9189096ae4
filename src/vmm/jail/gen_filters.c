/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Run by the build: turns rules.c into BPF programs, written as C arrays, so
 * that the monitor neither links libseccomp nor compiles filters when it
 * starts. "gen_filters trap" lets violations raise SIGSYS and adds the system
 * calls' names; "gen_filters kill" ends the process at once.
 */
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/jail/rules.h"

#define CHECKS_MAX 2
#define NAMES_MAX 512
#define OPTIMIZE_TREE 2

static void die(const char *what, int rc)
{
    fprintf(stderr, "gen_filters: %s: %s\n", what, strerror(-rc));
    exit(1);
}

static void add_rule(scmp_filter_ctx filter, const struct rule *rule)
{
    struct scmp_arg_cmp checks[CHECKS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < CHECKS_MAX; i++) {
        const struct rule_check *c = &rule->checks[i];
        if (c->argument)
            checks[count++] = (struct scmp_arg_cmp){.arg = c->argument - 1,
                                                    .op = SCMP_CMP_MASKED_EQ,
                                                    .datum_a = c->mask,
                                                    .datum_b = c->value & c->mask};
    }
    uint32_t action = rule->answer ? SCMP_ACT_ERRNO((uint32_t)rule->answer) : SCMP_ACT_ALLOW;
    int rc = seccomp_rule_add_array(filter, action, rule->syscall, count, checks);
    if (rc < 0)
        die(seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, rule->syscall), rc);
}

static void print_program(scmp_filter_ctx filter, const char *name)
{
    struct sock_filter *program;
    int fd = memfd_create("filter", 0);
    int rc = seccomp_export_bpf(filter, fd);
    if (rc < 0)
        die("export", rc);
    size_t size = (size_t)lseek(fd, 0, SEEK_END);
    program = malloc(size);
    if (!program || pread(fd, program, size, 0) != (ssize_t)size)
        die("read", -EIO);
    printf("static struct sock_filter %s_filter[] = {\n", name);
    for (size_t i = 0; i < size / sizeof(*program); i++)
        printf("    {0x%02x, %u, %u, 0x%08x},\n", program[i].code, program[i].jt, program[i].jf,
               program[i].k);
    puts("};\n");
    free(program);
    close(fd);
}

static void print_filter(unsigned kind, const char *name, uint32_t otherwise)
{
    scmp_filter_ctx filter = seccomp_init(otherwise);
    if (!filter)
        die("init", -ENOMEM);
    /* Threads of another architecture's calls are ended, too. */
    seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, OPTIMIZE_TREE);
    for (unsigned i = 0; i < jail_rule_count; i++) {
        if (jail_rules[i].kinds & kind)
            add_rule(filter, &jail_rules[i]);
    }
    print_program(filter, name);
    seccomp_release(filter);
}

static void print_names(void)
{
    puts("static const char *const syscall_names[] = {");
    for (int nr = 0; nr < NAMES_MAX; nr++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);
        if (name)
            printf("    [%d] = \"%s\",\n", nr, name);
        free(name);
    }
    puts("};");
}

int main(int argc, char **argv)
{
    static const struct {
        unsigned kind;
        const char *name;
    } kinds[] = {
        {KIND_CONTROL, "control"},
        {KIND_VCPU, "vcpu"},
        {KIND_IO, "io"},
        {KIND_WORKER, "worker"},
    };
    bool trap = argc == 2 && strcmp(argv[1], "trap") == 0;
    puts("/* Made by gen_filters from rules.c. */");
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        print_filter(kinds[i].kind, kinds[i].name, trap ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS);
    if (trap)
        print_names();
    return 0;
}
