/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections made for those inside the jail; see broker.h. */
#include "vmm/jail/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
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
#include "block/peers.h"

/* Both directions over a SOCK_SEQPACKET pair. */
struct message {
    uint64_t id;
    uint32_t number;
    int32_t status; /* in an answer: 0 and a descriptor, or a negative errno */
};

#define OWN_FD 3 /* of the helper's end, the only descriptor that it keeps */
#define ANSWER_MS 5000

/* What a helper connects to. */
struct targets {
    const char *base; /* BASE_<number>; NULL: the table */
    bool exact;       /* BASE itself, whatever the number */
    const struct peer *peers;
    unsigned count;
};

static int find_target(const struct targets *targets, uint32_t number, struct peer *out)
{
    if (!targets->base) {
        if (number >= targets->count)
            return -EINVAL;
        *out = targets->peers[number];
        return 0;
    }
    struct sockaddr_un *addr = (struct sockaddr_un *)&out->address;
    *addr = (struct sockaddr_un){.sun_family = AF_UNIX};
    out->len = sizeof(*addr);
    int n = snprintf(addr->sun_path, sizeof(addr->sun_path), targets->exact ? "%s" : "%s_%u",
                     targets->base, number);
    return n < 0 || (size_t)n >= sizeof(addr->sun_path) ? -ENAMETOOLONG : 0;
}

static int connect_to(const struct targets *targets, uint32_t number)
{
    struct peer peer;
    int found = find_target(targets, number, &peer);
    if (found < 0)
        return found;
    int fd = socket(peer.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* Over a network whoever waits for the first bytes waits for the connection, too. */
    if (connect(fd, (struct sockaddr *)&peer.address, peer.len) < 0 && errno != EINPROGRESS) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

/* Only what serve() calls. Sockets of other families than the targets' are of no use to it. */
static int filter_system_calls(const struct targets *targets)
{
    uint32_t inet = targets->base ? AF_UNIX : AF_INET, inet6 = targets->base ? AF_UNIX : AF_INET6;
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
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, inet, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, inet6, 0, 1),
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

static void serve(const struct targets *targets)
{
    struct message m;
    for (;;) {
        ssize_t n = recv(OWN_FD, &m, sizeof(m), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n != sizeof(m))
            return;
        int fd = connect_to(targets, m.number);
        m.status = MIN(fd, 0);
        n = fd_send(OWN_FD, &m, sizeof(m), &fd, fd >= 0);
        if (fd >= 0)
            close(fd);
        if (n < 0)
            return;
    }
}

/* The helper's whole life. dir: what the targets' names are relative to. */
static _Noreturn void helper_main(int own, const char *dir, const struct targets *targets)
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
    if (filter_system_calls(targets) < 0)
        _exit(1);
    serve(targets);
    _exit(0);
}

static int start(struct broker *broker, const char *dir, const struct targets *targets)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    signal(SIGCHLD, SIG_IGN);
    pid_t pid = fork();
    if (pid == 0)
        helper_main(pair[1], dir, targets);
    int code = errno;
    close(pair[1]);
    broker->fd = pair[0];
    if (pid < 0) {
        broker_stop(broker);
        return -code;
    }
    fd_set_nonblocking(broker->fd, true);
    return 0;
}

/* path: a socket's name, or with exact unset the beginning of it. */
static int start_at(struct broker *broker, const char *path, bool exact, struct kv_error *err)
{
    const size_t room =
        sizeof(((struct sockaddr_un *)0)->sun_path) - (exact ? sizeof("") : sizeof("_4294967295"));
    const char *slash = strrchr(path, '/');
    const struct targets targets = {.base = slash ? slash + 1 : path, .exact = exact};
    cleanup_free char *dir = !slash          ? strdup(".")
                             : slash == path ? strdup("/")
                                             : strndup(path, (size_t)(slash - path));
    if (!dir)
        return kv_error_errno(err, KV_ERR_JAIL, ENOMEM, "helper for '%s'", path);
    if (!*targets.base || strlen(targets.base) > room)
        return kv_error_set(err, KV_ERR_JAIL, EINVAL,
                            "socket name '%s' must have 1 to %zu characters", targets.base, room);
    if (access(dir, X_OK) < 0)
        return kv_error_errno(err, KV_ERR_JAIL, errno, "directory '%s' of the sockets", dir);
    int rc = start(broker, dir, &targets);
    return rc < 0 ? kv_error_errno(err, KV_ERR_JAIL, -rc, "helper for '%s'", path) : 0;
}

int broker_start(struct broker *broker, const char *prefix, struct kv_error *err)
{
    return start_at(broker, prefix, false, err);
}

int broker_start_path(struct broker *broker, const char *path, struct kv_error *err)
{
    return start_at(broker, path, true, err);
}

/* Of network disks; they ask from any thread, one at a time, and wait. */
static struct broker peers_broker = BROKER_INIT;
static pthread_mutex_t peers_lock = PTHREAD_MUTEX_INITIALIZER;

static int connect_peer(void *opaque, unsigned number)
{
    static uint64_t last_id;
    uint64_t id = 0;
    uint32_t answered;
    int fd = -1, rc;
    pthread_mutex_lock(&peers_lock);
    uint64_t wanted = ++last_id;
    rc = broker_ask(&peers_broker, wanted, number);
    while (rc == 0) {
        struct pollfd wait = {.fd = peers_broker.fd, .events = POLLIN};
        rc = poll(&wait, 1, ANSWER_MS) > 0 ? broker_answer(&peers_broker, &id, &answered, &fd)
                                           : -ETIMEDOUT;
        /* What was not waited for any more. */
        if (rc > 0 && id != wanted) {
            if (fd >= 0)
                close(fd);
            rc = 0;
        }
    }
    pthread_mutex_unlock(&peers_lock);
    return rc < 0 ? rc : fd;
}

int broker_start_peers(struct kv_error *err)
{
    struct targets targets = {0};
    targets.count = peers_resolve(&targets.peers);
    if (!targets.count)
        return 0;
    int rc = start(&peers_broker, ".", &targets);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_JAIL, -rc, "helper for network disks");
    peers_set_connector(connect_peer, NULL);
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
