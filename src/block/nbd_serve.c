/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A server process for one image; see nbd_serve.h. */
#include "block/nbd_serve.h"
#include "block/tls_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/parse.h"

#define PORT_DEFAULT "10809"
#define CLIENTS_ANY 1024u
#define SYSTEMD_FIRST_FD 3 /* sd_listen_fds(3) */

struct serving {
    const struct nbd_serve_options *options;
    struct tls_server *tls;
    struct nbd_server *server;
    int done_fd, signal_fd;
    bool opened;
};

/* ------------------------------------------------------------------ background */

/* What the child says when it serves, or why it does not: one struct kv_error. */
static int wait_for_child(int pipe_fd, struct kv_error *err)
{
    struct kv_error said;
    int rc = fd_read_all(pipe_fd, &said, sizeof(said));
    if (rc < 0)
        return kv_error_set(err, KV_ERR_BLOCK, ECHILD,
                            "the server's process ended before it could serve");
    said.message[sizeof(said.message) - 1] = '\0';
    return said.code ? kv_error_set(err, said.domain, said.code, "%s", said.message) : 0;
}

static void detach(void)
{
    cleanup_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return;
    for (int fd = 0; fd <= 2; fd++)
        dup2(null, fd);
}

/* In the child *report_fd is where to say how the start went; -1: no background was asked for. */
static int go_background(const struct nbd_serve_options *options, bool *is_parent, int *report_fd,
                         struct kv_error *err)
{
    int ends[2];
    *is_parent = false;
    *report_fd = -1;
    if (!options->fork)
        return 0;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, errno, "pipe");
    pid_t pid = fork();
    if (pid < 0) {
        int rc = kv_error_errno(err, KV_ERR_BLOCK, errno, "fork");
        close(ends[0]);
        close(ends[1]);
        return rc;
    }
    if (pid == 0) {
        close(ends[0]);
        setsid();
        *report_fd = ends[1];
        return 0;
    }
    *is_parent = true;
    close(ends[1]);
    int rc = wait_for_child(ends[0], err);
    close(ends[0]);
    return rc;
}

/* --------------------------------------------------------------------- serving */

static void client_left(void *opaque, unsigned clients)
{
    struct serving *serving = opaque;
    if (clients == 0 && !serving->options->persistent)
        eventfd_write(serving->done_fd, 1);
}

/* The socket that systemd passed to this process, or -1. */
static int inherited_listener(void)
{
    uint64_t pid = 0, count = 0;
    const char *pid_text = getenv("LISTEN_PID"), *count_text = getenv("LISTEN_FDS");
    if (!pid_text || !count_text || parse_u64(pid_text, &pid) < 0 ||
        parse_u64(count_text, &count) < 0 || pid != (uint64_t)getpid() || count != 1)
        return -1;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    fcntl(SYSTEMD_FIRST_FD, F_SETFD, FD_CLOEXEC);
    return SYSTEMD_FIRST_FD;
}

static int listen_as_told(struct serving *serving, struct kv_error *err)
{
    const struct nbd_serve_options *options = serving->options;
    int fd = inherited_listener();
    if (fd >= 0)
        return nbd_server_listen_fd(serving->server, fd, err);
    if (options->socket)
        return nbd_server_listen_unix(serving->server, options->socket, err);
    return nbd_server_listen_tcp(serving->server, options->bind,
                                 options->port ? options->port : PORT_DEFAULT, err);
}

static int open_tls(struct serving *serving, struct kv_error *err)
{
    const struct nbd_serve_options *options = serving->options;
    char path[4096];
    if (options->tls == NBD_SERVE_PLAIN)
        return 0;
    if (options->tls == NBD_SERVE_X509)
        return tls_server_open_x509(&serving->tls, options->tls_dir, options->tls_verify_peer, err);
    if (snprintf(path, sizeof(path), "%s/keys.psk", options->tls_dir) >= (int)sizeof(path))
        return kv_error_set(err, KV_ERR_BLOCK, ENAMETOOLONG, "TLS: folder '%.64s...'",
                            options->tls_dir);
    return tls_server_open_psk(&serving->tls, path, err);
}

static int open_export(struct serving *serving, struct kv_error *err)
{
    const struct nbd_serve_options *options = serving->options;
    struct nbd_export_options export = {0};
    int rc = options->open(options->opaque, &export, err);
    if (rc < 0)
        return rc;
    serving->opened = true;
    export.name = options->export_name ? options->export_name : "";
    export.description = options->description;
    export.readonly = export.readonly || options->readonly;
    export.allocation_depth = options->allocation_depth;
    return nbd_server_add_export(serving->server, &export, err);
}

static int write_pid_file(const char *path, struct kv_error *err)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
    /* It is removed in the end, so it must not be a device: those have no length to set. */
    int rc = fd < 0 || ftruncate(fd, 0) < 0 ? -errno : fd_write_all(fd, text, (size_t)len);
    return rc < 0 ? kv_error_errno(err, KV_ERR_BLOCK, -rc, "pid file '%s'", path) : 0;
}

static int start(struct serving *serving, struct kv_error *err)
{
    const struct nbd_serve_options *options = serving->options;
    struct nbd_server_options server = {
        .max_connections = options->shared ? options->shared : CLIENTS_ANY,
        .client_left = client_left,
        .opaque = serving,
    };
    serving->done_fd = eventfd(0, EFD_CLOEXEC);
    if (serving->done_fd < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, errno, "eventfd");
    int rc = open_tls(serving, err);
    if (rc == 0) {
        server.tls = serving->tls;
        rc = nbd_server_create(&serving->server, &server, err);
    }
    if (rc == 0)
        rc = open_export(serving, err);
    if (rc == 0)
        rc = listen_as_told(serving, err);
    if (rc == 0 && options->pid_file)
        rc = write_pid_file(options->pid_file, err);
    return rc;
}

static void wait_for_end(const struct serving *serving)
{
    struct pollfd fds[] = {{.fd = serving->done_fd, .events = POLLIN},
                           {.fd = serving->signal_fd, .events = POLLIN}};
    while (poll(fds, 2, -1) <= 0)
        ;
}

static void stop(struct serving *serving)
{
    nbd_server_free(serving->server);
    tls_server_free(serving->tls);
    if (serving->opened && serving->options->close)
        serving->options->close(serving->options->opaque);
    if (serving->done_fd >= 0)
        close(serving->done_fd);
}

/* The signals that end it are blocked before threads start, so that all of them block them. */
static int serve(const struct nbd_serve_options *options, int report_fd, struct kv_error *err)
{
    struct serving serving = {.options = options, .done_fd = -1};
    struct kv_error went_well = {0};
    sigset_t ending, before;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGHUP);
    sigprocmask(SIG_BLOCK, &ending, &before);
    cleanup_fd int signal_fd = signalfd(-1, &ending, SFD_CLOEXEC);
    serving.signal_fd = signal_fd;
    int rc =
        signal_fd < 0 ? kv_error_errno(err, KV_ERR_BLOCK, errno, "signalfd") : start(&serving, err);
    if (report_fd >= 0) {
        if (rc == 0)
            detach();
        fd_write_all(report_fd, rc < 0 ? err : &went_well, sizeof(*err));
        close(report_fd);
    }
    if (rc == 0) {
        wait_for_end(&serving);
        if (options->pid_file)
            unlink(options->pid_file);
    }
    stop(&serving);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int nbd_serve(const struct nbd_serve_options *options, bool *is_parent, struct kv_error *err)
{
    struct kv_error own = {0};
    int report_fd;
    int rc = go_background(options, is_parent, &report_fd, err);
    if (rc < 0 || *is_parent)
        return rc;
    rc = serve(options, report_fd, err ? err : &own);
    /* The parent has the message. */
    if (rc < 0 && report_fd >= 0)
        _exit(1);
    return rc;
}
