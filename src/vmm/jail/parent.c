/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process outside the jail: waits for the one inside, passes signals on to
 * it, ends with its status. It holds no descriptor of the machine, and takes
 * nothing from inside but a number to translate.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "vmm/jail/jail_internal.h"

#define SOCKET_FD 3
#define SIGNAL_FD 4
#define STATUS_BYTES 2048
#define EXIT_SIGNALLED 128
#define FILES_MAX 256

/* The child, and what it told while it was trusted. */
struct ward {
    pid_t pid;
    bool closed;
    unsigned file_count;
    char *files[FILES_MAX];
};

/* A thread's number in the innermost namespace: the last one of the line "NSpid:". */
static int inner_tid(pid_t child, int tid)
{
    char path[64], text[STATUS_BYTES];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/status", child, tid);
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    char *line = strstr(text, "\nNSpid:");
    char *end = line ? strchr(line + 1, '\n') : NULL;
    if (!end)
        return 0;
    *end = '\0';
    char *last = strrchr(line, '\t');
    return last ? atoi(last + 1) : 0;
}

static int outer_tid(pid_t child, int inner)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", child);
    DIR *dir = opendir(path);
    int found = 0;
    struct dirent *entry;
    while (dir && !found && (entry = readdir(dir))) {
        int tid = atoi(entry->d_name);
        if (tid > 0 && inner_tid(child, tid) == inner)
            found = tid;
    }
    if (dir)
        closedir(dir);
    return found;
}

static void answer_thread(const struct ward *ward, const char *number)
{
    struct jail_thread answer;
    memcpy(&answer.inner, number, sizeof(answer.inner));
    answer.outer = outer_tid(ward->pid, answer.inner);
    ssize_t ignored = send(SOCKET_FD, &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)ignored; /* who does not fetch answers gets none */
}

static void serve(struct ward *ward)
{
    char message[JAIL_MESSAGE_MAX + 1];
    ssize_t n = read(SOCKET_FD, message, sizeof(message) - 1);
    if (n <= 0)
        return;
    message[n] = '\0';
    if (message[0] == JAIL_THREAD && n == 1 + sizeof(int))
        answer_thread(ward, message + 1);
    else if (message[0] == JAIL_CLOSED)
        ward->closed = true;
    else if (message[0] == JAIL_FILE && !ward->closed && ward->file_count < FILES_MAX)
        ward->files[ward->file_count++] = strdup(message + 1);
}

static _Noreturn void end_as(const struct ward *ward, int status)
{
    for (unsigned i = 0; i < ward->file_count; i++) {
        if (ward->files[i])
            unlink(ward->files[i]);
    }
    if (WIFEXITED(status))
        _exit(WEXITSTATUS(status));
    log_error("jail: the process inside was killed by signal %d (%s)%s", WTERMSIG(status),
              strsignal(WTERMSIG(status)),
              WTERMSIG(status) == SIGSYS ? ": it made a system call that its thread may not" : "");
    _exit(EXIT_SIGNALLED + WTERMSIG(status));
}

static void pass_on_signals(const struct ward *ward)
{
    struct signalfd_siginfo info;
    while (read(SIGNAL_FD, &info, sizeof(info)) == sizeof(info)) {
        int status;
        if (info.ssi_signo != SIGCHLD)
            kill(ward->pid, (int)info.ssi_signo);
        else if (waitpid(ward->pid, &status, WNOHANG) == ward->pid)
            end_as(ward, status);
    }
}

/* The child moves there when it closes the jail; this process needs no other one either. */
static void make_network(void)
{
    static const char type = JAIL_NETWORK;
    cleanup_fd int fd =
        unshare(CLONE_NEWNET) < 0 ? -1 : open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    fd_send(SOCKET_FD, &type, 1, &fd, fd >= 0);
}

_Noreturn void jail_wait(pid_t child, int socket)
{
    struct ward ward = {.pid = child};
    static const int passed_on[] = JAIL_SIGNALS;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (unsigned i = 0; i < ARRAY_SIZE(passed_on); i++)
        sigaddset(&set, passed_on[i]);

    /* Whatever was inherited is the child's alone. */
    if (socket != SOCKET_FD)
        dup2(socket, SOCKET_FD);
    close_range(SIGNAL_FD, ~0u, 0);
    int signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals != SIGNAL_FD) {
        kill(child, SIGKILL);
        _exit(EXIT_FAILURE);
    }
    make_network();
    struct pollfd fds[] = {
        {.fd = SIGNAL_FD, .events = POLLIN},
        {.fd = SOCKET_FD, .events = POLLIN},
    };
    for (;;) {
        if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
            continue;
        /* What was said comes before the end. */
        if (fds[1].revents & POLLIN)
            serve(&ward);
        else if (fds[0].revents)
            pass_on_signals(&ward);
        if (fds[1].revents & ~POLLIN)
            fds[1].fd = -1; /* the child is about to end; its signal says so */
    }
}
