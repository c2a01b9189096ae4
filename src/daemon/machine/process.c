/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts, finds, watches and ends processes; see process.h. */
#include "daemon/machine/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "model/api_error.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

/* Index in process_read_stat()'s fields: proc(5) counts from 1 and has two in front. */
#define STAT_UTIME (14 - 3)
#define STAT_STIME (15 - 3)
#define STAT_START (22 - 3)

int process_read_stat(const char *path, long long fields[PROCESS_FIELDS])
{
    char name[96], text[1024];
    snprintf(name, sizeof(name), "/proc/%s/stat", path);
    cleanup_fd int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return n < 0 ? -errno : -ESRCH;
    text[n] = '\0';
    /* The name may hold anything, also ')'. */
    char *at = strrchr(text, ')');
    if (!at || at[1] != ' ')
        return -EINVAL;
    at += 2;
    int count = 0;
    while (*at && count < PROCESS_FIELDS) {
        char *end;
        fields[count] = strtoll(at, &end, 10);
        if (end == at) { /* the state is a letter */
            fields[count] = (unsigned char)*at;
            end = at + 1;
        }
        count++;
        at = end + strspn(end, " \n");
    }
    return count;
}

static int start_time_of(pid_t pid, uint64_t *out)
{
    long long fields[PROCESS_FIELDS];
    char path[16];
    snprintf(path, sizeof(path), "%d", pid);
    int n = process_read_stat(path, fields);
    if (n >= 0 && n <= STAT_START)
        n = -EINVAL;
    if (n < 0)
        return n;
    *out = (uint64_t)fields[STAT_START];
    return 0;
}

int process_times(pid_t pid, uint64_t *user_ns, uint64_t *system_ns)
{
    long long fields[PROCESS_FIELDS];
    char path[16];
    uint64_t tick = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    snprintf(path, sizeof(path), "%d", pid);
    int n = process_read_stat(path, fields);
    if (n >= 0 && n <= STAT_STIME)
        n = -EINVAL;
    if (n < 0)
        return n;
    *user_ns = (uint64_t)fields[STAT_UTIME] * tick;
    *system_ns = (uint64_t)fields[STAT_STIME] * tick;
    return 0;
}

/* ------------------------------------------------------- the child, before exec */

struct child_files {
    int go, failure, in, out, err;
};

static _Noreturn void fail_child(int failure)
{
    int code = errno;
    ssize_t ignored = write(failure, &code, sizeof(code));
    (void)ignored;
    _exit(127);
}

/* Only what is safe after a fork of a program with threads. */
static _Noreturn void run_child(const struct process_spec *spec, const struct child_files *files)
{
    char go;
    sigset_t none;
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int i = 1; i < NSIG; i++)
        sigaction(i, &standard, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    umask(027);
    if (chdir("/") < 0 || dup2(files->in, 0) < 0 || dup2(files->out, 1) < 0 ||
        dup2(files->err, 2) < 0)
        fail_child(files->failure);
    syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
    for (unsigned i = 0; i < spec->fd_count; i++) {
        if (fcntl(spec->fds[i], F_SETFD, 0) < 0)
            fail_child(files->failure);
    }
    if (read(files->go, &go, 1) != 1)
        _exit(127); /* nobody knows of this process */
    execvp(spec->argv[0], (char *const *)spec->argv);
    fail_child(files->failure);
}

/* ------------------------------------------------------------------ the parent */

static void enter_group(const char *cgroup, pid_t pid)
{
    char path[512], text[16];
    snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
    cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
    int n = snprintf(text, sizeof(text), "%d", pid);
    int rc = fd < 0 ? -errno : fd_write_all(fd, text, (size_t)n);
    if (rc < 0)
        log_warning("process %d stays outside of group '%s': %s", pid, cgroup, strerror(-rc));
}

static int check_spec(const struct process_spec *spec, struct kv_error *err)
{
    for (unsigned i = 0; i < spec->fd_count; i++) {
        if (spec->fds[i] <= 2)
            return kv_error_set(err, KV_ERR_CONTROL, EINVAL,
                                "descriptor %d cannot be handed to a process", spec->fds[i]);
    }
    return 0;
}

/* What the child says when it cannot execute; 0 when it could. */
static int read_failure(int fd)
{
    int code = 0;
    ssize_t n;
    do {
        n = read(fd, &code, sizeof(code));
    } while (n < 0 && errno == EINTR);
    return n == sizeof(code) ? code : 0;
}

static int adopt_child(struct process *process, pid_t pid)
{
    *process = (struct process){.pid = pid, .pidfd = (int)syscall(SYS_pidfd_open, pid, 0)};
    if (process->pidfd < 0)
        return -errno;
    fcntl(process->pidfd, F_SETFD, FD_CLOEXEC);
    return start_time_of(pid, &process->start_time);
}

int process_start(struct process *process, const struct process_spec *spec,
                  int (*before_exec)(void *opaque, const struct process *process,
                                     struct kv_error *err),
                  void *opaque, struct kv_error *err)
{
    int go[2], failure[2];
    *process = PROCESS_INIT;
    int rc = check_spec(spec, err);
    if (rc < 0)
        return rc;
    cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || pipe2(go, O_CLOEXEC) < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, errno, "'%s'", spec->argv[0]);
    cleanup_fd int go_read = go[0], go_write = go[1];
    if (pipe2(failure, O_CLOEXEC) < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, errno, "'%s'", spec->argv[0]);
    cleanup_fd int failure_read = failure[0], failure_write = failure[1];

    struct child_files files = {
        .go = go_read,
        .failure = failure_write,
        .in = spec->in >= 0 ? spec->in : null,
        .out = spec->out >= 0 ? spec->out : null,
        .err = spec->err >= 0 ? spec->err : null,
    };
    pid_t pid = fork();
    if (pid == 0) {
        close(go_write); /* its end would keep the pipe open when the daemon dies */
        run_child(spec, &files);
    }
    if (pid < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, errno, "'%s': no process", spec->argv[0]);
    close(take_fd(&failure_write));
    close(take_fd(&go_read));

    rc = adopt_child(process, pid);
    if (rc < 0)
        kv_error_errno(err, KV_ERR_CONTROL, -rc, "'%s': process %d", spec->argv[0], pid);
    if (rc == 0 && spec->cgroup)
        enter_group(spec->cgroup, pid);
    if (rc == 0 && before_exec)
        rc = before_exec(opaque, process, err);
    if (rc == 0) {
        ssize_t n = write(go_write, "g", 1);
        close(take_fd(&go_write));
        int code = n == 1 ? read_failure(failure_read) : EPIPE;
        if (code)
            rc = kv_error_errno(err, KV_ERR_CONTROL, code, "'%s' cannot be run", spec->argv[0]);
    }
    if (rc < 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        process_close(process);
    }
    return rc;
}

/* --------------------------------------------------------- processes that run */

int process_open(struct process *process, pid_t pid, uint64_t start_time)
{
    uint64_t found;
    *process = PROCESS_INIT;
    if (pid <= 0)
        return -ESRCH;
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return -ESRCH;
    fcntl(pidfd, F_SETFD, FD_CLOEXEC);
    /* Read behind the opening: the descriptor holds the process that had the number then. */
    if (start_time_of(pid, &found) < 0 || (start_time && found != start_time)) {
        close(pidfd);
        return -ESRCH;
    }
    *process = (struct process){.pid = pid, .pidfd = pidfd, .start_time = found};
    return 0;
}

int process_open_child(struct process *child, const struct process *parent)
{
    char path[64], text[32];
    *child = PROCESS_INIT;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent->pid, parent->pid);
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return -ESRCH;
    text[n] = '\0';
    return process_open(child, atoi(text), 0);
}

int process_signal(const struct process *process, int signal)
{
    if (process->pidfd < 0)
        return -ESRCH;
    return syscall(SYS_pidfd_send_signal, process->pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

bool process_wait(const struct process *process, int timeout_ms)
{
    struct pollfd end = {.fd = process->pidfd, .events = POLLIN};
    int n;
    if (process->pidfd < 0)
        return true;
    do {
        n = poll(&end, 1, timeout_ms);
    } while (n < 0 && errno == EINTR);
    return n > 0;
}

bool process_reap(const struct process *process, int *status)
{
    siginfo_t info = {0};
    if (process->pidfd < 0 ||
        waitid((idtype_t)P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG) < 0 ||
        info.si_pid == 0)
        return false;
    *status = info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : info.si_status & 0x7f;
    return true;
}

void process_end(struct process *process, int grace_ms)
{
    int status;
    if (grace_ms > 0)
        process_signal(process, SIGTERM);
    if (grace_ms <= 0 || !process_wait(process, grace_ms)) {
        process_signal(process, SIGKILL);
        process_wait(process, -1);
    }
    process_reap(process, &status);
    process_close(process);
}

void process_close(struct process *process)
{
    if (process->pidfd >= 0)
        close(process->pidfd);
    *process = PROCESS_INIT;
}

int process_run(const char *const *argv, int patience_ms, struct kv_error *err)
{
    int pair[2], status = 0;
    struct process process;
    char text[256];
    if (pipe2(pair, O_CLOEXEC) < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, errno, "%s", argv[0]);
    cleanup_fd int from = pair[0], to = pair[1];
    const struct process_spec spec = {.argv = argv, .in = -1, .out = -1, .err = to};
    int rc = process_start(&process, &spec, NULL, NULL, err);
    if (rc < 0)
        return rc;
    close(take_fd(&to));
    if (!process_wait(&process, patience_ms))
        process_signal(&process, SIGKILL);
    process_wait(&process, -1);
    bool known = process_reap(&process, &status);
    process_close(&process);
    if (known && status == 0)
        return 0;
    fd_set_nonblocking(from, true);
    ssize_t n = read(from, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return *text ? api_error(err, VIR_ERR_INTERNAL_ERROR, "%s", text)
                 : api_error(err, VIR_ERR_INTERNAL_ERROR, "%s failed", argv[0]);
}
