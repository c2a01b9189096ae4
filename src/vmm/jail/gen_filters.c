/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Run by the build: turns rules.c into BPF programs, written as C arrays, so
 * that the monitor neither links libseccomp nor compiles filters when it
 * starts. "gen_filters trap" lets violations raise SIGSYS and adds the system
 * calls' names; "gen_filters kill" ends the process at once.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
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

static void print_instruction(const struct sock_filter *i)
{
    printf("    {0x%02x, %u, %u, 0x%08x},\n", i->code, i->jt, i->jf, i->k);
}

/* The one call that a vCPU makes all the time is let through before anything else is looked at;
 * libseccomp would come to it after some thirty instructions. */
static void print_kvm_run(void)
{
    const struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SCMP_ARCH_X86_64, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_RUN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    for (size_t i = 0; i < sizeof(code) / sizeof(code[0]); i++)
        print_instruction(&code[i]);
}

static void print_program(scmp_filter_ctx filter, unsigned kind, const char *name)
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
    if (kind == KIND_VCPU)
        print_kvm_run();
    for (size_t i = 0; i < size / sizeof(*program); i++)
        print_instruction(&program[i]);
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
    print_program(filter, kind, name);
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
