/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Chardevs on standard input and output. A terminal becomes raw and is set
 * back when the machine ends, also by a fatal signal. Its size is reported.
 * Descriptors are reopened where possible, because O_NONBLOCK on the ones that
 * were inherited would hit every program that shares them (the user's shell).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "vmm/chardev_backend.h"

#define ESCAPE 0x01 /* Ctrl-A */

/* There is one standard input, and signal handlers must find this. */
static struct {
    struct chardev *owner; /* NULL: stdio is free */
    volatile sig_atomic_t raw;
    struct termios saved;     /* of the terminal at descriptor 0 */
    bool made_nonblocking[2]; /* descriptors 0 and 1, shared with others: undone at the end */
    bool escaped;             /* the last key was Ctrl-A */
    int resize_fd;            /* eventfd, written by the SIGWINCH handler */
    struct loop_source resize;
} stdio = {.resize_fd = -1, .resize = LOOP_SOURCE_INIT};

static const int fatal_signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGSEGV, SIGBUS,
                                    SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};

static void restore_terminal(void)
{
    if (!stdio.raw)
        return;
    stdio.raw = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &stdio.saved);
}

/* Installed with SA_RESETHAND and SA_NODEFER: the second one is the signal's own end. */
static void on_fatal_signal(int signal)
{
    restore_terminal();
    raise(signal);
    _exit(128 + signal);
}

static void on_resize_signal(int signal)
{
    int saved = errno;
    uint64_t one = 1;
    ssize_t ignored = write(stdio.resize_fd, &one, sizeof(one));
    (void)ignored;
    errno = saved;
}

static void report_size(struct chardev *chardev)
{
    struct winsize size;
    if (chardev->ops && chardev->ops->resized && stdio.raw &&
        ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row)
        chardev->ops->resized(chardev->opaque, size.ws_col, size.ws_row);
}

static void on_resize(void *opaque, uint32_t events)
{
    uint64_t count;
    if (read(stdio.resize_fd, &count, sizeof(count)) == sizeof(count))
        report_size(opaque);
}

/* Only where nobody else has taken the signal. */
static void handle_signal(int signal, void (*fn)(int), int flags)
{
    struct sigaction old, action = {.sa_handler = fn, .sa_flags = flags};
    if (sigaction(signal, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
        sigaction(signal, &action, NULL);
}

static int make_terminal_raw(struct chardev *chardev)
{
    struct termios raw;
    if (tcgetattr(STDIN_FILENO, &stdio.saved) < 0)
        return -errno;
    raw = stdio.saved;
    /* Output keeps its post-processing: the log goes to the same screen. */
    raw.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN | ISIG);
    raw.c_cflag = (raw.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    stdio.raw = 1;
    for (unsigned i = 0; i < ARRAY_SIZE(fatal_signals); i++)
        handle_signal(fatal_signals[i], on_fatal_signal, (int)(SA_RESETHAND | SA_NODEFER));
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0) {
        stdio.raw = 0;
        return -errno;
    }
    static bool at_exit;
    if (!at_exit)
        atexit(restore_terminal);
    at_exit = true;
    stdio.resize_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stdio.resize_fd < 0)
        return -errno;
    handle_signal(SIGWINCH, on_resize_signal, SA_RESTART);
    return loop_add(chardev->loop, &stdio.resize, stdio.resize_fd, EPOLLIN, on_resize, chardev);
}

/* A descriptor of our own for standard descriptor number, that does not block. */
static int reopen(int number, int mode)
{
    struct stat st;
    if (fstat(number, &st) < 0)
        return -errno;
    if (S_ISFIFO(st.st_mode) || isatty(number)) {
        char path[32];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", number);
        int fd = open(path, mode | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (fd >= 0)
            return fd;
    }
    cleanup_fd int copy = fcntl(number, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return -errno;
    int flags = fcntl(copy, F_GETFL);
    if (!S_ISREG(st.st_mode) && flags >= 0 && !(flags & O_NONBLOCK)) {
        int rc = fd_set_nonblocking(copy, true);
        if (rc < 0)
            return rc;
        stdio.made_nonblocking[number] = true;
    }
    return take_fd(&copy);
}

static void stdio_close(struct chardev *chardev)
{
    if (stdio.owner != chardev)
        return;
    restore_terminal();
    for (int i = 0; i < 2; i++) {
        if (stdio.made_nonblocking[i])
            fd_set_nonblocking(i, false);
        stdio.made_nonblocking[i] = false;
    }
    loop_remove(&stdio.resize);
    /* The handler stays, a jail lets nobody change it; it writes to nowhere from now on. */
    int resize_fd = stdio.resize_fd;
    stdio.resize_fd = -1;
    if (resize_fd >= 0)
        close(resize_fd);
    stdio.owner = NULL;
}

static int stdio_open(struct chardev *chardev, const char *arg, struct kv_error *err)
{
    if (stdio.owner)
        return kv_error_set(err, KV_ERR_CONFIG, EBUSY,
                            "chardev 'stdio': another device has it; one may");
    stdio.owner = chardev;
    stdio.escaped = false;
    cleanup_fd int in = reopen(STDIN_FILENO, O_RDONLY);
    cleanup_fd int out = reopen(STDOUT_FILENO, O_WRONLY);
    if (in < 0 || out < 0)
        return kv_error_errno(err, KV_ERR_DEVICE, in < 0 ? -in : -out,
                              "chardev 'stdio': standard %s", in < 0 ? "input" : "output");
    if (isatty(STDIN_FILENO)) {
        int rc = make_terminal_raw(chardev);
        if (rc < 0)
            return kv_error_errno(err, KV_ERR_DEVICE, -rc, "chardev 'stdio': terminal");
    }
    chardev_connect(chardev, take_fd(&in), take_fd(&out));
    return 0;
}

static void run_escape(struct chardev *chardev, uint8_t key)
{
    static const char help[] = "\r\n"
                               "Ctrl-A x       end the machine\r\n"
                               "Ctrl-A h       this help\r\n"
                               "Ctrl-A Ctrl-A  send Ctrl-A (Ctrl-A a too)\r\n"
                               "Anything else is done on the control socket.\r\n";
    if (key == 'x' || key == 'X')
        syscall(SYS_tgkill, getpid(), getpid(), SIGTERM); /* the control thread waits for it */
    else
        chardev_write(chardev, help, sizeof(help) - 1);
}

static size_t stdio_filter(struct chardev *chardev, uint8_t *bytes, size_t len)
{
    size_t kept = 0;
    if (!stdio.raw)
        return len;
    for (size_t i = 0; i < len; i++) {
        uint8_t key = bytes[i];
        if (!stdio.escaped && key == ESCAPE) {
            stdio.escaped = true;
            continue;
        }
        if (stdio.escaped && key != ESCAPE && key != 'a' && key != 'A')
            run_escape(chardev, key);
        else
            bytes[kept++] = stdio.escaped ? ESCAPE : key;
        stdio.escaped = false;
    }
    return kept;
}

const struct chardev_backend chardev_stdio = {
    .name = "stdio",
    .open = stdio_open,
    .attached = report_size,
    .filter = stdio_filter,
    .close = stdio_close,
};
