/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The jail, step by step; see jail.h. main() calls it. Order matters: what
 * needs a privilege comes before the step that gives the privilege up.
 */
#include "vmm/jail/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/privileges.h"
#include "base/util.h"
#include "vmm/jail/jail_internal.h"

#define NOBODY 65534
#define FDS_MAX 65536 /* eventfds for every vector of every device that can be plugged */
#define ASK_TIMEOUT_S 2

static struct {
    bool forked;
    bool root;       /* started as root */
    bool namespaces; /* namespaces may be made */
    uid_t uid;       /* whom root becomes */
    gid_t gid;
    int parent; /* socket to the waiting process; -1: none */
} jail = {.parent = -1};

static int refuse(struct kv_error *err, int code, const char *step)
{
    return kv_error_errno(err, KV_ERR_JAIL, code, "jail: %s (--no-jail does without)", step);
}

/* NULL: nobody. */
static int find_user(const char *user, struct kv_error *err)
{
    jail.uid = jail.gid = NOBODY;
    return user ? privileges_find_user(user, &jail.uid, &jail.gid, err) : 0;
}

static int write_text(const char *path, const char *text)
{
    cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
}

/* A user namespace wants a process of one thread, and one that was joined counts for a moment
 * longer: joining ends when its memory is let go of, before it is off the list. */
static int unshare_alone(int flags)
{
    const struct timespec moment = {.tv_nsec = 10000};
    for (unsigned tries = 0; unshare(flags) < 0; tries++) {
        if (errno != EINVAL || tries == 1000)
            return -errno;
        nanosleep(&moment, NULL);
    }
    return 0;
}

/* Without root, namespaces need a user namespace first; it maps the caller to himself, so files
 * open as before. With mounts of its own, guest memory may come from a tmpfs (machine/memory.c). */
static int enter_user_namespace(void)
{
    char uid_map[48], gid_map[48];
    snprintf(uid_map, sizeof(uid_map), "%u %u 1", getuid(), getuid());
    snprintf(gid_map, sizeof(gid_map), "%u %u 1", getgid(), getgid());
    int rc = unshare_alone(CLONE_NEWUSER | CLONE_NEWNS);
    if (rc < 0)
        return rc;
    rc = write_text("/proc/self/setgroups", "deny");
    if (rc == 0)
        rc = write_text("/proc/self/uid_map", uid_map);
    return rc ? rc : write_text("/proc/self/gid_map", gid_map);
}

/* The process outside may have died before the signal was asked for; then its end of the pair is
 * closed already. */
static void die_with_parent(void)
{
    struct pollfd pair = {.fd = jail.parent, .events = POLLRDHUP};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (poll(&pair, 1, 0) > 0 && (pair.revents & (POLLHUP | POLLRDHUP)))
        _exit(1);
}

static int fork_into_pid_namespace(struct kv_error *err)
{
    static const int passed_on[] = JAIL_SIGNALS;
    int pair[2];
    if (unshare(CLONE_NEWPID) < 0)
        return refuse(err, errno, "process namespace");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return refuse(err, errno, "socket to the waiting process");
    /* Blocked in the child, too: the first process of a namespace would not see them otherwise. */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (unsigned i = 0; i < ARRAY_SIZE(passed_on); i++)
        sigaddset(&set, passed_on[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pid_t child = fork();
    if (child < 0)
        return refuse(err, errno, "second process");
    if (child > 0) {
        close(pair[1]);
        jail_wait(child, pair[0]);
    }
    close(pair[0]);
    jail.parent = pair[1];
    die_with_parent();
    return 0;
}

int jail_fork(const char *user, struct kv_error *err)
{
    jail.forked = true;
    jail.root = geteuid() == 0;
    jail.namespaces = true;
    if (!jail.root) {
        int rc = enter_user_namespace();
        if (rc < 0) {
            log_warning("jail: this host forbids namespaces (%s); the jail is system-call filters "
                        "and Landlock alone",
                        strerror(-rc));
            jail.namespaces = false;
            return 0;
        }
    }
    int rc = jail.root ? find_user(user, err) : 0;
    return rc < 0 ? rc : fork_into_pid_namespace(err);
}

void jail_remove_at_exit(const char *path)
{
    char message[JAIL_MESSAGE_MAX];
    int n = snprintf(message, sizeof(message), "%c%s", JAIL_FILE, path);
    if (jail.parent < 0)
        return;
    if ((size_t)n >= sizeof(message) || write(jail.parent, message, (size_t)n) != n)
        log_warning("jail: '%s' will be left behind", path);
}

/* An empty file system without room for anything becomes the root; the old one goes away. */
static int enter_empty_root(struct kv_error *err)
{
    static const char hook[] = "/proc"; /* a directory that every host has */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return refuse(err, errno, "private mounts");
    if (mount("none", hook, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
              "size=4k,nr_inodes=1,mode=0") < 0)
        return refuse(err, errno, "empty root");
    if (chdir(hook) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
        chdir("/") < 0)
        return refuse(err, errno, "change to the empty root");
    return 0;
}

static void set_limits(void)
{
    privileges_set_limit(RLIMIT_CORE, 0); /* guest memory does not belong on the host's disk */
    privileges_set_limit(RLIMIT_NOFILE, FDS_MAX);
    privileges_set_limit(RLIMIT_MSGQUEUE, 0);
}

/* The parent made an empty network while the machine was built: that takes half a millisecond. */
static int enter_network(void)
{
    char type = 0;
    int fd = -1;
    size_t count = 1;
    ssize_t n = fd_receive(jail.parent, &type, 1, &fd, &count);
    cleanup_fd int owned = n == 1 && count == 1 ? fd : -1;
    struct timeval timeout = {.tv_sec = ASK_TIMEOUT_S};
    setsockopt(jail.parent, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    if (type == JAIL_NETWORK && owned >= 0 && setns(owned, CLONE_NEWNET) == 0)
        return 0;
    return unshare(CLONE_NEWNET) < 0 ? -errno : 0;
}

int jail_leave_host(struct kv_error *err)
{
    static const char closed = JAIL_CLOSED;
    if (jail.parent >= 0 && write(jail.parent, &closed, 1) != 1)
        return refuse(err, errno, "the waiting process does not listen");
    if (!jail.forked || !jail.namespaces)
        return 0;
    int rc = enter_network();
    if (rc < 0)
        return refuse(err, -rc, "own network");
    /* Mounts anew also where the process has some of its own already: it shares them with the one
     * that waits, which looks threads up in /proc. */
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
        return refuse(err, errno, "own mounts and names");
    return enter_empty_root(err);
}

static int leave_user(struct kv_error *err)
{
    privileges_drop_bounding_set();
    if (!jail.root)
        return 0;
    int rc = privileges_become(jail.uid, jail.gid);
    if (rc < 0)
        return refuse(err, -rc, "change of user");
    /* Nobody is mapped into this one, so nothing in it means anything outside. Hosts that forbid it
     * lose the least here: there is no privilege left. */
    rc = unshare_alone(CLONE_NEWUSER);
    if (rc < 0)
        log_info("jail: no user namespace: %s", strerror(-rc));
    privileges_drop_bounding_set();
    return 0;
}

int jail_enter(struct kv_error *err)
{
    int rc = 0;
    set_limits();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return refuse(err, errno, "no new privileges");
    if (jail.forked && jail.namespaces)
        rc = leave_user(err);
    if (rc < 0)
        return rc;
    rc = privileges_keep(0);
    if (rc < 0)
        return refuse(err, -rc, "capabilities");
    /* The change of user made the process undumpable and forgot this; both are wanted so. */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (jail.parent >= 0)
        die_with_parent();
    rc = jail_landlock();
    if (rc < 0)
        return refuse(err, -rc, "Landlock");
    rc = jail_filter_init(err);
    if (rc == 0)
        thread_set_enter_hook(jail_filter);
    return rc;
}

int jail_outer_tid(int tid)
{
    char message[1 + sizeof(tid)] = {JAIL_THREAD};
    struct jail_thread answer = {0};
    if (jail.parent < 0 || tid <= 0)
        return tid;
    memcpy(message + 1, &tid, sizeof(tid));
    if (write(jail.parent, message, sizeof(message)) != sizeof(message))
        return 0;
    while (answer.inner != tid) { /* what nobody waited for any longer may come first */
        if (read(jail.parent, &answer, sizeof(answer)) != sizeof(answer))
            return 0;
    }
    return answer.outer;
}
