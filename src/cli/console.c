/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * console: bytes between a machine's serial port and the terminal, which is raw meanwhile. The
 * escape character ends it. Not a terminal's input: what comes is sent, and its end ends the
 * sending; the machine's output is followed until the stream ends.
 */
#include "cli/console.h"

#include <ctype.h>
#include <errno.h>
#include <libvirt/libvirt.h>
#include <poll.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/verbs.h"

struct session {
    struct cli *cli;
    struct kvasir_stream *stream;
    int escape; /* byte; -1: none */
    char in[4096];
    size_t in_len, in_done;
    bool in_open, over;
};

static volatile sig_atomic_t interrupted;

static void note_signal(int number)
{
    interrupted = 1;
}

/* "^]" is 0x1d. */
static int escape_byte(const struct cli *cli)
{
    if (!cli->escape[0])
        return -1;
    if (cli->escape[0] == '^' && cli->escape[1])
        return toupper((unsigned char)cli->escape[1]) ^ 0x40;
    return (unsigned char)cli->escape[0];
}

static int write_out(const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = write(STDOUT_FILENO, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, -1);
            continue;
        }
        if (n <= 0)
            return -1;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* What the machine said. */
static void receive(struct session *session)
{
    char bytes[4096];
    while (!session->over && kvasir_stream_is_readable(session->stream)) {
        ssize_t n = kvasir_stream_receive(session->stream, bytes, sizeof(bytes),
                                          KVASIR_STREAM_NO_WAIT, &session->cli->error);
        if (n == -EAGAIN)
            return;
        if (n <= 0 || write_out(bytes, (size_t)n) < 0)
            session->over = true;
    }
}

static void read_in(struct session *session)
{
    ssize_t n = read(STDIN_FILENO, session->in, sizeof(session->in));
    if (n <= 0) {
        session->in_open = n < 0 && (errno == EINTR || errno == EAGAIN);
        return;
    }
    session->in_len = (size_t)n;
    session->in_done = 0;
    const char *escape =
        session->escape >= 0 ? memchr(session->in, session->escape, session->in_len) : NULL;
    if (escape) {
        session->in_len = (size_t)(escape - session->in);
        session->in_open = false;
        session->over = true;
    }
}

static void send_in(struct session *session)
{
    if (session->in_done == session->in_len)
        return;
    ssize_t n = kvasir_stream_send(session->stream, session->in + session->in_done,
                                   session->in_len - session->in_done, KVASIR_STREAM_NO_WAIT,
                                   &session->cli->error);
    if (n > 0)
        session->in_done += (size_t)n;
    else if (n != -EAGAIN)
        session->over = true;
}

static void pass_bytes(struct session *session)
{
    struct kvasir_conn *conn = session->cli->conn;
    while (!session->over && !interrupted) {
        receive(session);
        if (session->over)
            break;
        bool wants_input = session->in_open && session->in_done == session->in_len;
        struct pollfd fds[] = {
            {.fd = kvasir_conn_fd(conn), .events = kvasir_conn_events(conn)},
            {.fd = wants_input ? STDIN_FILENO : -1, .events = POLLIN},
        };
        if (poll(fds, ARRAY_SIZE(fds), kvasir_conn_timeout(conn)) < 0 && errno != EINTR)
            break;
        if (wants_input && fds[1].revents)
            read_in(session);
        send_in(session);
        if (kvasir_conn_process(conn, &session->cli->error) < 0)
            session->over = true;
    }
}

/* What a guest, or SeaBIOS, may have left a terminal with, as it is at a prompt: attributes, the
 * character set, lines that wrap, the cursor, its keys and the keypad's, pasting in brackets. */
static void restore_screen(void)
{
    static const char modes[] = "\033[m\033(B\033[?7h\033[?25h\033[?1l\033>\033[?2004l";
    const char *kind = getenv("TERM");
    if (isatty(STDOUT_FILENO) && kind && strcmp(kind, "dumb") != 0)
        write_out(modes, strlen(modes));
}

static int run(struct cli *cli, const wire_domain *domain, const char *device, unsigned flags,
               bool resume)
{
    struct session session = {.cli = cli, .escape = escape_byte(cli), .in_open = true};
    struct kvasir_domain *object = kvasir_domain_from_wire(cli->conn, domain, &cli->error);
    if (!object)
        return -1;
    int r = kvasir_domain_open_console(object, device, flags, &session.stream, &cli->error);
    kvasir_domain_free(object);
    if (r < 0)
        return -1;
    if (resume && !CALL(cli, DOMAIN_RESUME, .dom = *domain)) {
        kvasir_stream_free(session.stream);
        return cli_error(cli, "Failed to resume domain '%s'", domain->name);
    }
    bool terminal = isatty(STDIN_FILENO);
    out_print(cli, "Connected to domain '%s'\n", domain->name);
    if (session.escape >= 0)
        out_print(cli, "Escape character is %s%s\n", cli->escape,
                  cli->escape[0] == '^' ? cli_text(cli, " (Ctrl + %c)", cli->escape[1]) : "");
    fflush(stdout);
    struct termios before, raw;
    if (terminal && tcgetattr(STDIN_FILENO, &before) == 0) {
        raw = before;
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    struct sigaction old[3], act = {.sa_handler = note_signal};
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    interrupted = 0;
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        sigaction(signals[i], &act, &old[i]);
    pass_bytes(&session);
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        sigaction(signals[i], &old[i], NULL);
    restore_screen();
    if (terminal)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    kvasir_stream_free(session.stream);
    cli_forget_error(cli);
    return 0;
}

int console_run(struct cli *cli, const wire_domain *domain, const char *device, unsigned flags)
{
    return run(cli, domain, device, flags, false);
}

int console_run_resumed(struct cli *cli, const wire_domain *domain)
{
    return run(cli, domain, NULL, 0, true);
}

int domain_console(struct cli *cli)
{
    static const struct arg_flag flags_of[] = {
        {"force", VIR_DOMAIN_CONSOLE_FORCE},
        {"safe", VIR_DOMAIN_CONSOLE_SAFE},
        {NULL},
    };
    const char *device = NULL;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || arg_text(cli, "devname", &device) < 0)
        return -1;
    const REMOTE_RET(DOMAIN_GET_STATE) *state = CALL(cli, DOMAIN_GET_STATE, .dom = *domain);
    if (!state)
        return cli_error(cli, "Unable to get domain status");
    if (state->state == VIR_DOMAIN_SHUTOFF)
        return cli_error(cli, "The domain is not running");
    if (!isatty(STDIN_FILENO))
        return cli_error(cli, "Cannot run interactive console without a controlling TTY");
    return console_run(cli, domain, device, arg_flags(cli, flags_of));
}
