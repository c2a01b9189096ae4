/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Run by the build: turns a program's rules (jail_rules.h) into BPF programs, written as C arrays,
 * so that nobody links libseccomp or compiles filters when it starts. What is not allowed: "kill"
 * ends the process at once; "trap" raises SIGSYS and adds the system calls' names; "absent" answers
 * ENOSYS, as if the kernel had no such call.
 */
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/jail_rules.h"

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

static void print_ioctl_first(uint32_t request)
{
    const struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SCMP_ARCH_X86_64, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, request, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    for (size_t i = 0; i < sizeof(code) / sizeof(code[0]); i++)
        print_instruction(&code[i]);
}

static void print_program(scmp_filter_ctx filter, const struct rule_kind *kind)
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
    printf("static struct sock_filter %s_filter[] = {\n", kind->name);
    if (kind->ioctl_first)
        print_ioctl_first(kind->ioctl_first);
    for (size_t i = 0; i < size / sizeof(*program); i++)
        print_instruction(&program[i]);
    puts("};\n");
    free(program);
    close(fd);
}

static void print_filter(const struct rule_kind *kind, uint32_t otherwise)
{
    scmp_filter_ctx filter = seccomp_init(otherwise);
    if (!filter)
        die("init", -ENOMEM);
    /* Threads of another architecture's calls are ended, too. */
    seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, OPTIMIZE_TREE);
    for (unsigned i = 0; i < jail_rule_count; i++) {
        if (jail_rules[i].kinds & kind->kind)
            add_rule(filter, &jail_rules[i]);
    }
    print_program(filter, kind);
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
        const char *name;
        uint32_t action;
    } modes[] = {
        {"kill", SCMP_ACT_KILL_PROCESS},
        {"trap", SCMP_ACT_TRAP},
        {"absent", SCMP_ACT_ERRNO(ENOSYS)},
    };
    unsigned mode = 0;
    while (mode < sizeof(modes) / sizeof(modes[0]) &&
           (argc != 2 || strcmp(argv[1], modes[mode].name) != 0))
        mode++;
    if (mode == sizeof(modes) / sizeof(modes[0]))
        die("kill, trap or absent", -EINVAL);
    puts("/* Made by gen_filters of the program's rules. */");
    for (unsigned i = 0; i < jail_kind_count; i++)
        print_filter(&jail_kinds[i], modes[mode].action);
    if (modes[mode].action == SCMP_ACT_TRAP)
        print_names();
    return 0;
}
