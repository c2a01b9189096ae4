/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lab's agent: process 1 of an emulated host. It runs the command that
 * lab/lab sends over a virtio-serial port, carries its standard streams, and
 * reports its exit status. With several hosts it also listens on the lab's
 * management network, where `lab-on HOST COMMAND...` (the same program under
 * another name) reaches it with the same protocol.
 *
 * Frames: one byte of type, four bytes of length (little endian), payload.
 *   to the agent    R run (flags, rows, columns, counts, strings), I input,
 *                   E end of input, W window size (rows, columns), S signal,
 *                   P nothing (it is the interrupt that matters)
 *   from the agent  H ready, O output, e error output, A input consumed (count),
 *                   B alive (every HEARTBEAT_MS), X exit status
 * At most INPUT_WINDOW bytes of input are under way, so neither side ever waits
 * for the other with its own output full.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define FRAME_HEADER 5
#define FRAME_MAX (4u << 20) /* a run request may carry a long command line */
#define INPUT_WINDOW (32u << 10)
#define OUTPUT_CHUNK (64u << 10)
#define LISTEN_PORT 7
#define HEARTBEAT_MS 5000

enum { RUN_TTY = 1, RUN_SYNC = 2 };

struct session {
    int conn;         /* virtio-serial port or TCP connection */
    int sig;          /* signalfd for SIGCHLD */
    pid_t child;      /* 0 before the run request */
    int status;       /* wait status, valid when ended */
    int ended;        /* the command has ended; what it wrote is still to be read */
    unsigned flags;   /* RUN_* */
    int in, out, err; /* the command's streams; -1 when closed. With a tty, all the pty */
    int in_eof;       /* close `in` once `input` is empty */
    uint8_t input[INPUT_WINDOW];
    size_t input_len;
    int64_t next_beat; /* ms of the monotonic clock */
    uint8_t *frame;    /* partial frame from conn */
    size_t frame_len;
};

static void die(const char *what)
{
    fprintf(stderr, "lab agent: %s: %s\n", what, strerror(errno));
    exit(125);
}

static uint32_t get_u32(const uint8_t *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = v >> (8 * i);
}

static int write_all(int fd, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            poll(&wait, 1, -1);
            continue;
        }
        if (n <= 0)
            return -1;
        p += n;
        len -= n;
    }
    return 0;
}

static int send_frame(int fd, char type, const void *data, uint32_t len)
{
    uint8_t frame[FRAME_HEADER + OUTPUT_CHUNK];
    frame[0] = type;
    put_u32(frame + 1, len);
    if (len <= OUTPUT_CHUNK) {
        memcpy(frame + FRAME_HEADER, data, len);
        return write_all(fd, frame, FRAME_HEADER + len);
    }
    return write_all(fd, frame, FRAME_HEADER) || write_all(fd, data, len) ? -1 : 0;
}

static void set_window(int fd, const uint8_t *rows_columns)
{
    struct winsize size = {.ws_row = rows_columns[0] | rows_columns[1] << 8,
                           .ws_col = rows_columns[2] | rows_columns[3] << 8};
    ioctl(fd, TIOCSWINSZ, &size);
}

static int open_pty(int *terminal)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || grantpt(master) || unlockpt(master))
        die("pty");
    *terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    if (*terminal < 0)
        die("pty");
    return master;
}

/* In the child: become the command. Exit statuses 126 and 127 as shells have them. */
static void exec_command(const char *cwd, char **argv, char **env, int in, int out, int err,
                         int tty)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setsid();
    if (tty)
        ioctl(in, TIOCSCTTY, 0);
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    close_range(3, ~0U, 0);
    if (chdir(cwd)) {
        fprintf(stderr, "lab: %s: %s; starting in /\n", cwd, strerror(errno));
        if (chdir("/"))
            _exit(126);
    }
    environ = env;
    execvp(argv[0], argv);
    fprintf(stderr, "lab: %s: %s\n", argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

/* Payload: flags, rows, columns, number of arguments, number of variables (u16 each), cwd, strings.
 */
static void start_command(struct session *s, const uint8_t *p, uint32_t len)
{
    if (len < 11 || p[len - 1] != 0 || s->child)
        exit(125);
    unsigned nargs = p[6] | p[7] << 8, nenv = p[8] | p[9] << 8;
    const uint8_t *at = p + 10, *end = p + len;
    const char *cwd = (const char *)at;
    char **argv = calloc(nargs + 1, sizeof *argv), **env = calloc(nenv + 1, sizeof *env);
    if (!argv || !env || !nargs)
        exit(125);
    for (unsigned i = 0; i <= nargs + nenv; i++) {
        if (at >= end)
            exit(125);
        if (i > nargs)
            env[i - 1 - nargs] = (char *)at;
        else if (i > 0)
            argv[i - 1] = (char *)at;
        at += strlen((const char *)at) + 1;
    }
    s->flags = p[0] | p[1] << 8;

    int in[2], out[2], err[2];
    if (s->flags & RUN_TTY) {
        s->in = s->out = open_pty(&in[0]);
        out[1] = err[1] = in[0];
        set_window(s->in, p + 2);
    } else {
        if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
            die("pipe");
        s->in = in[1];
        s->out = out[0];
        s->err = err[0];
        fcntl(s->err, F_SETFL, O_NONBLOCK);
    }
    fcntl(s->in, F_SETFL, O_NONBLOCK);
    fcntl(s->out, F_SETFL, O_NONBLOCK);
    s->child = fork();
    if (s->child < 0)
        die("fork");
    if (s->child == 0)
        exec_command(cwd, argv, env, in[0], out[1], err[1], s->flags & RUN_TTY);
    close(in[0]);
    if (!(s->flags & RUN_TTY)) {
        close(out[1]);
        close(err[1]);
    }
    free(argv);
    free(env);
}

static void acknowledge(struct session *s, uint32_t count)
{
    uint8_t payload[4];
    put_u32(payload, count);
    send_frame(s->conn, 'A', payload, sizeof payload);
}

static void close_input(struct session *s)
{
    if (s->in >= 0 && s->in != s->out)
        close(s->in);
    s->in = -1;
    if (s->input_len)
        acknowledge(s, s->input_len);
    s->input_len = 0;
}

static void take_frame(struct session *s, char type, const uint8_t *p, uint32_t len)
{
    if (type == 'R')
        start_command(s, p, len);
    else if (type == 'I' && len <= INPUT_WINDOW - s->input_len) {
        memcpy(s->input + s->input_len, p, len);
        s->input_len += len;
        if (s->in < 0)
            close_input(s);
    } else if (type == 'E')
        s->in_eof = 1;
    else if (type == 'W' && len == 4 && s->flags & RUN_TTY)
        set_window(s->out, p);
    else if (type == 'S' && len == 4 && s->child && !s->ended)
        kill(-s->child, get_u32(p));
}

/* Read what has arrived and act on every whole frame. Nonzero: the other side is gone. */
static int read_frames(struct session *s)
{
    ssize_t n = read(s->conn, s->frame + s->frame_len, FRAME_HEADER + FRAME_MAX - s->frame_len);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n <= 0)
        return -1;
    s->frame_len += n;
    size_t at = 0;
    while (s->frame_len - at >= FRAME_HEADER) {
        uint32_t len = get_u32(s->frame + at + 1);
        if (len > FRAME_MAX)
            return -1;
        if (s->frame_len - at < FRAME_HEADER + len)
            break;
        take_frame(s, s->frame[at], s->frame + at + FRAME_HEADER, len);
        at += FRAME_HEADER + len;
    }
    memmove(s->frame, s->frame + at, s->frame_len - at);
    s->frame_len -= at;
    return 0;
}

static void write_input(struct session *s)
{
    ssize_t n = write(s->in, s->input, s->input_len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        close_input(s); /* the command reads no more */
        return;
    }
    memmove(s->input, s->input + n, s->input_len - n);
    s->input_len -= n;
    acknowledge(s, n);
}

/* Pass on what the command wrote. Returns 1 while there may be more at once. */
static int forward_output(struct session *s, int *fd, char type)
{
    static uint8_t chunk[OUTPUT_CHUNK];
    if (*fd < 0)
        return 0;
    ssize_t n = read(*fd, chunk, sizeof chunk);
    if (n > 0)
        return send_frame(s->conn, type, chunk, n) == 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (*fd == s->in)
        s->in = -1;
    close(*fd); /* end of the pipe, or EIO from a pty whose last user is gone */
    *fd = -1;
    return 0;
}

/* Says now and then that this host lives: an emulated one may freeze. */
static void beat(struct session *s)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ms = now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
    if (ms < s->next_beat)
        return;
    s->next_beat = ms + HEARTBEAT_MS;
    send_frame(s->conn, 'B', "", 0);
}

static void reap(struct session *s)
{
    struct signalfd_siginfo info;
    ssize_t got = read(s->sig, &info, sizeof info);
    (void)got;
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == s->child) {
            s->status = status;
            s->ended = 1;
        }
    }
}

/* Serve one command on conn. Returns when its status is reported or the other side is gone. */
static void serve(int conn)
{
    struct session s = {.conn = conn, .in = -1, .out = -1, .err = -1};
    s.frame = malloc(FRAME_HEADER + FRAME_MAX);
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, NULL);
    s.sig = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
    if (!s.frame || s.sig < 0)
        die("session");
    send_frame(conn, 'H', "", 0);
    while (!s.ended) {
        struct pollfd fds[] = {
            {.fd = conn, .events = POLLIN},
            {.fd = s.sig, .events = POLLIN},
            {.fd = s.out, .events = POLLIN},
            {.fd = s.err, .events = POLLIN},
            {.fd = s.input_len ? s.in : -1, .events = POLLOUT},
        };
        if (poll(fds, 5, HEARTBEAT_MS) < 0 && errno != EINTR)
            die("poll");
        beat(&s);
        if (fds[0].revents && read_frames(&s)) {
            if (s.child)
                kill(-s.child, SIGHUP);
            return;
        }
        if (fds[2].revents)
            forward_output(&s, &s.out, 'O');
        if (fds[3].revents)
            forward_output(&s, &s.err, 'e');
        if (fds[4].revents)
            write_input(&s);
        if (s.in_eof && !s.input_len && s.in >= 0 && !(s.flags & RUN_TTY))
            close_input(&s);
        if (fds[1].revents)
            reap(&s);
    }
    /* Everything it wrote before it ended is in the pipes now. What its
     * background processes write later is not waited for. */
    while (forward_output(&s, &s.out, 'O'))
        ;
    while (forward_output(&s, &s.err, 'e'))
        ;
    if (s.flags & RUN_SYNC)
        sync();
    uint8_t code[4];
    put_u32(code, WIFSIGNALED(s.status) ? 128 + WTERMSIG(s.status) : WEXITSTATUS(s.status));
    send_frame(conn, 'X', code, sizeof code);
}

static void listen_for_others(const char *address)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(LISTEN_PORT)};
    inet_pton(AF_INET, address, &addr.sin_addr);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) || listen(fd, 16))
        die("listen");
    if (fork())
        return;
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (conn >= 0 && fork() == 0) {
            close(fd);
            signal(SIGCHLD, SIG_DFL);
            serve(conn);
            exit(0);
        }
        close(conn);
    }
}

/*
 * A virtual machine that never runs, kept as long as the host lives. With the
 * first machine and the last one the kernel rewrites its own scheduler (static
 * keys of preemption notifiers and of local APICs), and emulated processors that
 * run the code meanwhile may stand still for good.
 */
static void hold_machine(void)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int machine = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
    if (machine < 0 || ioctl(machine, KVM_CREATE_IRQCHIP, 0) < 0 ||
        ioctl(machine, KVM_CREATE_VCPU, 0) < 0)
        fprintf(stderr, "lab agent: /dev/kvm: %s\n", strerror(errno));
}

/* Process 1: agent init PORT-DEVICE [LISTEN-ADDRESS] */
static _Noreturn void run_init(const char *device, const char *address)
{
    signal(SIGPIPE, SIG_IGN);
    if (address)
        listen_for_others(address);
    int port = open(device, O_RDWR | O_CLOEXEC);
    if (port < 0)
        die(device);
    hold_machine();
    serve(port);
    for (;;) /* process 1 must not end; lab/lab ends the machine */
        if (wait(NULL) < 0)
            pause();
}

static int connect_host(const char *host)
{
    char address[32];
    if (strncmp(host, "lab", 3) == 0)
        host += 3;
    char *end;
    long number = strtol(host, &end, 10);
    if (*end || number < 1 || number > 250) {
        fprintf(stderr, "lab-on: host '%s': expected a number or labNUMBER\n", host);
        exit(125);
    }
    snprintf(address, sizeof address, "198.51.100.%ld", number);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(LISTEN_PORT)};
    inet_pton(AF_INET, address, &addr.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr)) {
        fprintf(stderr, "lab-on: lab%ld: %s\n", number, strerror(errno));
        exit(125);
    }
    return fd;
}

static void send_run(int conn, char **argv)
{
    char *cwd = getcwd(NULL, 0);
    unsigned nargs = 0, nenv = 0;
    size_t len = 10 + strlen(cwd ? cwd : "/") + 1;
    while (argv[nargs])
        len += strlen(argv[nargs++]) + 1;
    while (environ[nenv])
        len += strlen(environ[nenv++]) + 1;
    uint8_t *payload = calloc(1, len), *at = payload + 10;
    if (!payload)
        die("command");
    payload[6] = nargs, payload[7] = nargs >> 8;
    payload[8] = nenv, payload[9] = nenv >> 8;
    at = (uint8_t *)stpcpy((char *)at, cwd ? cwd : "/") + 1;
    for (unsigned i = 0; i < nargs; i++)
        at = (uint8_t *)stpcpy((char *)at, argv[i]) + 1;
    for (unsigned i = 0; i < nenv; i++)
        at = (uint8_t *)stpcpy((char *)at, environ[i]) + 1;
    if (len > FRAME_MAX || send_frame(conn, 'R', payload, len))
        die("command");
    free(payload);
    free(cwd);
}

/* lab-on HOST COMMAND...: run it there with our streams, directory and environment. */
static int run_on(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: lab-on HOST COMMAND...\n");
        return 125;
    }
    int conn = connect_host(argv[1]);
    uint8_t *frame = malloc(FRAME_HEADER + FRAME_MAX);
    uint8_t chunk[INPUT_WINDOW];
    size_t frame_len = 0, window = INPUT_WINDOW;
    int input = 0;
    send_run(conn, argv + 2);
    for (;;) {
        struct pollfd fds[] = {{.fd = conn, .events = POLLIN},
                               {.fd = window ? input : -1, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[1].revents) {
            ssize_t n = read(input, chunk, window);
            if (n > 0) {
                window -= n;
                send_frame(conn, 'I', chunk, n);
            } else {
                send_frame(conn, 'E', "", 0);
                input = -1;
            }
        }
        if (!fds[0].revents)
            continue;
        ssize_t n = read(conn, frame + frame_len, FRAME_HEADER + FRAME_MAX - frame_len);
        if (n <= 0) {
            fprintf(stderr, "lab-on: %s: the host is gone\n", argv[1]);
            return 125;
        }
        frame_len += n;
        while (frame_len >= FRAME_HEADER && frame_len - FRAME_HEADER >= get_u32(frame + 1)) {
            uint32_t len = get_u32(frame + 1);
            const uint8_t *payload = frame + FRAME_HEADER;
            if (frame[0] == 'O' || frame[0] == 'e')
                write_all(frame[0] == 'O' ? 1 : 2, payload, len);
            else if (frame[0] == 'A')
                window += get_u32(payload);
            else if (frame[0] == 'X')
                return get_u32(payload);
            memmove(frame, payload + len, frame_len - FRAME_HEADER - len);
            frame_len -= FRAME_HEADER + len;
        }
    }
}

int main(int argc, char **argv)
{
    const char *name = strrchr(argv[0], '/');
    if (strcmp(name ? name + 1 : argv[0], "lab-on") == 0)
        return run_on(argc, argv);
    if (argc >= 3 && strcmp(argv[1], "init") == 0)
        run_init(argv[2], argc > 3 ? argv[3] : NULL);
    fprintf(stderr, "usage: agent init PORT [ADDRESS]\n");
    return 125;
}
