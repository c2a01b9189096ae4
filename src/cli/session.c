/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connection, its calls and errors, and the memory of the verb that runs. */
#include <errno.h>
#include <libvirt/virterror.h>
#include <unistd.h>

#include "base/loop.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/memory.h"
#include "cli/output.h"

/* A piece of memory of the verb that runs; code frees what is inside. */
struct piece {
    struct list node;
    xdrproc_t code;
    max_align_t bytes[];
};

static void *piece_new(struct cli *cli, size_t size, xdrproc_t code)
{
    struct piece *piece = calloc(1, sizeof(*piece) + size);
    if (!piece) {
        fputs("error: out of memory\n", stderr);
        exit(EXIT_FAILURE);
    }
    piece->code = code;
    list_add_tail(&cli->memory, &piece->node);
    return piece->bytes;
}

void *cli_alloc(struct cli *cli, size_t size)
{
    return piece_new(cli, size, NULL);
}

char *cli_strndup(struct cli *cli, const char *text, size_t len)
{
    len = strnlen(text, len);
    char *copy = cli_alloc(cli, len + 1);
    memcpy(copy, text, len);
    return copy;
}

char *cli_text(struct cli *cli, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = cli_alloc(cli, (size_t)len + 1);
    va_start(args, fmt);
    vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    return text;
}

int64_t cli_now_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

void cli_release(struct cli *cli)
{
    list_for_each_safe (node, &cli->memory) {
        struct piece *piece = list_entry(node, struct piece, node);
        list_del(node);
        if (piece->code)
            xdr_free(piece->code, (char *)piece->bytes);
        free(piece);
    }
}

void *memory_for_results(struct cli *cli, const struct kvasir_procedure *procedure)
{
    return piece_new(cli, procedure->ret_size, procedure->ret_code);
}

void *cli_call(struct cli *cli, const struct kvasir_procedure *procedure, const void *args)
{
    cli_forget_error(cli);
    void *ret = memory_for_results(cli, procedure);
    if (kvasir_call(cli->conn, procedure, args, ret, NULL, &cli->error) < 0)
        return NULL;
    return ret;
}

int cli_error(struct cli *cli, const char *fmt, ...)
{
    fflush(stdout);
    bool coloured = out_coloured(STDERR_FILENO);
    va_list args;
    fputs(coloured ? "\033[31merror:\033[0m " : "error: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    if (cli->log) {
        fputs("error: ", cli->log);
        va_start(args, fmt);
        vfprintf(cli->log, fmt, args);
        va_end(args);
        fputc('\n', cli->log);
        fflush(cli->log);
    }
    return -1;
}

bool cli_hints(void)
{
    return isatty(STDERR_FILENO) || getenv("KVASIR_HINTS");
}

void cli_hint(struct cli *cli, const char *fmt, ...)
{
    if (!cli_hints())
        return;
    va_list args;
    fputs("hint: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

int cli_fail(struct cli *cli, int code, const char *fmt, ...)
{
    cli->error = (struct kvasir_error){.code = code, .level = VIR_ERR_ERROR};
    va_list args;
    va_start(args, fmt);
    vsnprintf(cli->error.message, sizeof(cli->error.message), fmt, args);
    va_end(args);
    return -1;
}

void cli_forget_error(struct cli *cli)
{
    cli->error.code = 0;
    cli->error.message[0] = '\0';
}

static void hint(struct cli *cli)
{
    const struct kvasir_error *error = &cli->error;
    if (!cli_hints())
        return;
    if (!cli->conn && (error->number == ENOENT || error->number == ECONNREFUSED)) {
        cli_hint(cli, "the daemon does not run: start it with 'systemctl start kvasird', or run "
                      "'kvasird' as root ('kvasird --session' as yourself)");
    } else if (!cli->conn && (error->number == EACCES || error->number == EPERM)) {
        cli_hint(cli,
                 "the socket is not for you: 'sudo usermod -aG libvirt %s' and log in anew, "
                 "or use your own machines with -c qemu:///session",
                 getenv("USER") ? getenv("USER") : "YOU");
    } else if (error->code == VIR_ERR_OPERATION_DENIED && cli->read_only) {
        cli_hint(cli, "this connection only reads; leave --readonly out");
    }
}

void cli_report(struct cli *cli)
{
    if (!cli->error.code)
        return;
    cli_error(cli, "%s", cli->error.message);
    hint(cli);
}

static const char *default_uri(void)
{
    const char *uri = getenv("VIRSH_DEFAULT_CONNECT_URI");
    return uri && *uri ? uri : NULL;
}

int cli_connect(struct cli *cli)
{
    bool again = cli->conn;
    cli_disconnect(cli);
    const struct kvasir_auth auth = {.ask = ask_credentials};
    const char *uri = cli->uri ? cli->uri : default_uri();
    cli_forget_error(cli);
    if (kvasir_open(uri, cli->read_only ? KVASIR_OPEN_READ_ONLY : 0, &auth, &cli->conn,
                    &cli->error) < 0) {
        cli->conn = NULL;
        return cli_error(cli, "failed to connect to the hypervisor");
    }
    if (cli->keepalive_interval > 0 &&
        kvasir_conn_set_keepalive(cli->conn, (unsigned)cli->keepalive_interval,
                                  cli->keepalive_count >= 0 ? (unsigned)cli->keepalive_count : 6,
                                  &cli->error) < 0) {
        cli_disconnect(cli);
        return cli_error(cli, "Cannot setup keepalive on connection as requested, disconnecting");
    }
    if (again)
        cli_error(cli, "Reconnected to the hypervisor");
    return 0;
}

void cli_disconnect(struct cli *cli)
{
    kvasir_close(cli->conn);
    cli->conn = NULL;
}
