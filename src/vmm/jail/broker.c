/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections to unix sockets from inside the jail; see broker.h. */
#include "vmm/jail/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"

/* Both directions over a SOCK_SEQPACKET pair. */
struct message {
    uint64_t id;
    uint32_t number;
    int32_t status; /* in an answer: 0 and a descriptor, or a negative errno */
};

#define OWN_FD 3 /* of the helper's end, the only descriptor that it keeps */

static int connect_to(const char *base, uint32_t number)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s_%u", base, number);
    if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

/* Only what serve() calls. */
static int filter_system_calls(void)
{
#define ALLOW(name)                                         \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(recvfrom),
        ALLOW(sendmsg),
        ALLOW(connect),
        ALLOW(close),
        ALLOW(exit_group),
        ALLOW(rt_sigreturn),
        /* socket(): unix ones only. */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
#undef ALLOW
    struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        return -errno;
    return 0;
}

static void serve(const char *base)
{
    struct message m;
    for (;;) {
        ssize_t n = recv(OWN_FD, &m, sizeof(m), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n != sizeof(m))
            return;
        int fd = connect_to(base, m.number);
        m.status = MIN(fd, 0);
        n = fd_send(OWN_FD, &m, sizeof(m), &fd, fd >= 0);
        if (fd >= 0)
            close(fd);
        if (n < 0)
            return;
    }
}

/* The helper's whole life. dir: where the sockets are; base: their common name in there. */
static _Noreturn void helper_main(int own, const char *dir, const char *base)
{
    /* The monitor's jail moves the root directory of its mount namespace away. */
    if (chdir(dir) < 0 || dup2(own, OWN_FD) < 0)
        _exit(1);
    (void)!unshare(CLONE_NEWNS); /* without the right to do so there is no such jail either */
    syscall(SYS_close_range, OWN_FD + 1, ~0U, 0);
    syscall(SYS_close_range, 0, OWN_FD - 1, 0);
    signal(SIGINT, SIG_IGN); /* a terminal's ^C is for the monitor, which ends us */
    signal(SIGTERM, SIG_DFL);
    prctl(PR_SET_NAME, "kvasir-broker");
    if (filter_system_calls() < 0)
        _exit(1);
    serve(base);
    _exit(0);
}

int broker_start(struct broker *broker, const char *prefix, struct kv_error *err)
{
    const char *slash = strrchr(prefix, '/');
    const char *base = slash ? slash + 1 : prefix;
    cleanup_free char *dir = !slash            ? strdup(".")
                             : slash == prefix ? strdup("/")
                                               : strndup(prefix, (size_t)(slash - prefix));
    int pair[2];
    if (!dir)
        return kv_error_errno(err, KV_ERR_JAIL, ENOMEM, "helper for '%s'", prefix);
    if (!*base ||
        strlen(base) + sizeof("_4294967295") > sizeof(((struct sockaddr_un *)0)->sun_path))
        return kv_error_set(err, KV_ERR_JAIL, EINVAL,
                            "socket name '%s' must have 1 to %zu characters", base,
                            sizeof(((struct sockaddr_un *)0)->sun_path) - sizeof("_4294967295"));
    if (access(dir, X_OK) < 0)
        return kv_error_errno(err, KV_ERR_JAIL, errno, "directory '%s' of the sockets", dir);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return kv_error_errno(err, KV_ERR_JAIL, errno, "helper for '%s'", prefix);
    signal(SIGCHLD, SIG_IGN);
    pid_t pid = fork();
    if (pid == 0)
        helper_main(pair[1], dir, base);
    int code = errno;
    close(pair[1]);
    broker->fd = pair[0];
    if (pid < 0) {
        broker_stop(broker);
        return kv_error_errno(err, KV_ERR_JAIL, code, "helper for '%s'", prefix);
    }
    fd_set_nonblocking(broker->fd, true);
    return 0;
}

void broker_stop(struct broker *broker)
{
    if (broker->fd >= 0)
        close(broker->fd);
    broker->fd = -1;
}

int broker_ask(struct broker *broker, uint64_t id, uint32_t number)
{
    struct message m = {.id = id, .number = number};
    ssize_t n = fd_send(broker->fd, &m, sizeof(m), NULL, 0);
    return n < 0 ? (int)n : 0;
}

int broker_answer(struct broker *broker, uint64_t *id, uint32_t *number, int *fd)
{
    struct message m;
    int received = -1;
    size_t count = 1;
    ssize_t n = fd_receive(broker->fd, &m, sizeof(m), &received, &count);
    if (n == -EAGAIN)
        return 0;
    if (n != sizeof(m) || (m.status == 0) != (count == 1)) {
        if (count)
            close(received);
        return -EPIPE;
    }
    *id = m.id;
    *number = m.number;
    *fd = m.status < 0 ? m.status : received;
    return 1;
}
