/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Puts the system-call filter of its kind on each thread (seccomp(2)). The
 * programs are made at build time out of rules.c. In debug builds a violation
 * is logged by name before it ends the process.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/jail_rules.h"
#include "base/log.h"
#include "base/util.h"
#include "vmm/jail/jail_filters.h"
#include "vmm/jail/jail_internal.h"

static const struct sock_fprog programs[] = {
    [THREAD_CONTROL] = {ARRAY_SIZE(control_filter), control_filter},
    [THREAD_VCPU] = {ARRAY_SIZE(vcpu_filter), vcpu_filter},
    [THREAD_IO] = {ARRAY_SIZE(io_filter), io_filter},
    [THREAD_WORKER] = {ARRAY_SIZE(worker_filter), worker_filter},
};

#ifdef KV_JAIL_TRAP
static const char *const kind_names[] = {
    [THREAD_CONTROL] = "control",
    [THREAD_VCPU] = "vCPU",
    [THREAD_IO] = "I/O",
    [THREAD_WORKER] = "worker",
};
static __thread enum thread_kind own_kind;

/* The signal is blocked while its handler runs, so that the second violation is the end. */
static void violation(int signal, siginfo_t *info, void *context)
{
    unsigned nr = (unsigned)info->si_syscall;
    const char *name = nr < ARRAY_SIZE(syscall_names) ? syscall_names[nr] : NULL;
    const unsigned long long *registers =
        (const unsigned long long *)((ucontext_t *)context)->uc_mcontext.gregs;
    log_error("jail: a thread of kind '%s' may not call %s (%u) with 0x%llx, 0x%llx, 0x%llx",
              kind_names[own_kind], name ? name : "?", nr, registers[REG_RDI], registers[REG_RSI],
              registers[REG_RDX]);
    syscall(SYS_personality, UINT32_MAX);
}

static int watch_violations(void)
{
    struct sigaction action = {.sa_sigaction = violation, .sa_flags = SA_SIGINFO};
    return sigaction(SIGSYS, &action, NULL) < 0 ? -errno : 0;
}
#else
static int watch_violations(void)
{
    return 0;
}
#endif

int jail_filter_init(struct kv_error *err)
{
    uint32_t pid = (uint32_t)getpid();
    for (unsigned kind = 0; kind < ARRAY_SIZE(programs); kind++) {
        for (unsigned i = 0; i < programs[kind].len; i++) {
            if (programs[kind].filter[i].k == RULE_OWN_PID)
                programs[kind].filter[i].k = pid;
        }
    }
    int rc = watch_violations();
    return rc < 0 ? kv_error_errno(err, KV_ERR_JAIL, -rc, "jail: signal handler") : 0;
}

void jail_filter(enum thread_kind kind)
{
#ifdef KV_HOSTILE_TEST
    /* The test also looks at what holds a thread back that has no filter. */
    if (getenv("KVASIR_HOSTILE_NO_FILTERS"))
        return;
#endif
#ifdef KV_JAIL_TRAP
    own_kind = kind;
#endif
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &programs[kind]) == 0)
        return;
    /* Going on without it would be a jail in name only. */
    log_error("jail: system-call filter: %s", strerror(errno));
    _exit(1);
}
