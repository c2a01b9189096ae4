/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Programs that a connection needs: ssh or any other between us and the server, and the daemon of
 * a user's session, which is started when nobody answers.
 */
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "rpc/client/uri.h"

extern char **environ;

#define COMMAND_MOST 16384 /* bytes of what a shell gets */
#define ARGS_MOST 32

int spawn_program(struct kvasir_conn *conn, char *const argv[], struct kvasir_error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(err, errno, "sockets for '%s'", argv[0]);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, pair[1], 0);
    posix_spawn_file_actions_adddup2(&files, pair[1], 1);
    pid_t child;
    int r = posix_spawnp(&child, argv[0], &files, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    close(pair[1]);
    if (r != 0) {
        close(pair[0]);
        return error_errno(err, r, "Cannot run '%s'", argv[0]);
    }
    conn->child = child;
    return conn_use_fd(conn, pair[0], err);
}

/* ------------------------------------------------------------------------------ ssh */

/* Appends text as one word of a shell. */
static int put_quoted(struct buffer *out, const char *text)
{
    int r = buffer_append(out, "'", 1);
    for (; r == 0 && *text; text++)
        r = *text == '\'' ? buffer_append(out, "'\\''", 4) : buffer_append(out, text, 1);
    return r == 0 ? buffer_append(out, "'", 1) : r;
}

/* Sockets of the other host, the likeliest first; a session's lie where its user's shell says. */
static int put_sockets(struct buffer *out, const struct uri *uri, bool read_only)
{
    const char *below = uri->session ? "\"${XDG_RUNTIME_DIR:-$HOME/.cache}\"" : "/run";
    const char *suffix = read_only && !uri->session ? "-ro" : "";
    int r = 0;
    if (uri->socket)
        return put_quoted(out, uri->socket);
    if (!uri->ours) /* the driver's name has letters and digits only */
        r = buffer_printf(out, "%s/libvirt/virt%sd-sock%s %s/libvirt/libvirt-sock%s ", below,
                          uri->driver, suffix, below, suffix);
    return r < 0 ? r : buffer_printf(out, "%s/kvasir/libvirt-sock%s", below, suffix);
}

/* What runs on the other host: libvirt's helper if it is there, else netcat on the socket. */
static int put_script(struct buffer *out, const struct uri *uri, bool read_only)
{
    const char *proxy = uri->proxy ? uri->proxy : "auto";
    int r = 0;
    if (strcmp(proxy, "netcat") != 0 && !uri->socket && !uri->ours) {
        bool only = strcmp(proxy, "native") == 0;
        r = buffer_printf(out, "%sexec virt-ssh-helper %s",
                          only ? "" : "if command -v virt-ssh-helper >/dev/null 2>&1; then ",
                          read_only ? "-r " : "");
        if (r == 0)
            r = put_quoted(out, uri->name);
        if (r < 0 || only)
            return r;
        r = buffer_printf(out, "; fi; ");
    }
    if (r == 0)
        r = buffer_printf(out, "for s in ");
    if (r == 0)
        r = put_sockets(out, uri, read_only);
    if (r == 0)
        r = buffer_printf(out, "; do if [ -S \"$s\" ]; then break; fi; done; n=");
    if (r == 0)
        r = put_quoted(out, uri->netcat ? uri->netcat : "nc");
    /* Some of them stay when their input has ended unless they are told not to. */
    return r < 0 ? r
                 : buffer_printf(out, "; if \"$n\" -q 2>&1 | grep 'requires an argument' "
                                      ">/dev/null; then exec \"$n\" -q 0 -U \"$s\"; fi; "
                                      "exec \"$n\" -U \"$s\"");
}

struct ssh_args {
    char *argv[ARGS_MOST];
    size_t n;
};

static void add(struct ssh_args *args, const char *word)
{
    args->argv[args->n++] = (char *)(uintptr_t)word;
}

static void add_pair(struct ssh_args *args, const char *option, const char *value)
{
    if (!value)
        return;
    add(args, option);
    add(args, value);
}

static int check_ssh(const struct uri *uri, struct kvasir_error *err)
{
    const char *proxy = uri->proxy ? uri->proxy : "auto";
    const char *verify = uri->known_hosts_verify ? uri->known_hosts_verify : "normal";
    if (uri->host[0] == '-' || (uri->user && uri->user[0] == '-'))
        return error_invalid(err, "a host or user that begins with '-' would be an option of ssh");
    if (strcmp(proxy, "auto") != 0 && strcmp(proxy, "netcat") != 0 && strcmp(proxy, "native") != 0)
        return error_invalid(err, "?proxy=%s: auto, netcat and native are possible", proxy);
    if (strcmp(proxy, "native") == 0 && (uri->ours || uri->socket))
        return error_invalid(err, "?proxy=native knows libvirt's own sockets only");
    if (strcmp(verify, "normal") != 0 && strcmp(verify, "ignore") != 0 &&
        strcmp(verify, "auto") != 0)
        return error_invalid(err, "?known_hosts_verify=%s: normal, auto and ignore are possible",
                             verify);
    if (uri->sshauth)
        return error_invalid(err,
                             "?sshauth=%s is for libraries; the program ssh goes by its own "
                             "configuration",
                             uri->sshauth);
    return 0;
}

int spawn_ssh(struct kvasir_conn *conn, const struct uri *uri, bool read_only,
              struct kvasir_error *err)
{
    int r = check_ssh(uri, err);
    if (r < 0)
        return r;
    char known_hosts[PATH_MAX];
    const char *verify = uri->known_hosts_verify ? uri->known_hosts_verify : "";
    struct ssh_args args = {.n = 0};
    add(&args, uri->command ? uri->command : "ssh");
    add_pair(&args, "-p", uri->port);
    add_pair(&args, "-l", uri->user);
    add_pair(&args, "-i", uri->keyfile);
    if (uri->known_hosts) {
        snprintf(known_hosts, sizeof(known_hosts), "UserKnownHostsFile=%s", uri->known_hosts);
        add_pair(&args, "-o", known_hosts);
    }
    if (uri->no_verify || strcmp(verify, "ignore") == 0)
        add_pair(&args, "-o", "StrictHostKeyChecking=no");
    else if (strcmp(verify, "auto") == 0)
        add_pair(&args, "-o", "StrictHostKeyChecking=accept-new");
    if (uri->no_tty)
        add_pair(&args, "-o", "BatchMode=yes");
    add(&args, "-T");
    add_pair(&args, "-e", "none");
    add(&args, "--");
    add(&args, uri->host);

    struct buffer script = BUFFER_INIT(COMMAND_MOST), line = BUFFER_INIT(COMMAND_MOST);
    r = put_script(&script, uri, read_only);
    if (r == 0)
        r = buffer_append(&script, "", 1);
    if (r == 0)
        r = buffer_printf(&line, "sh -c ");
    if (r == 0)
        r = put_quoted(&line, (char *)buffer_bytes(&script));
    if (r == 0)
        r = buffer_append(&line, "", 1);
    if (r == 0) {
        add(&args, (char *)buffer_bytes(&line));
        r = spawn_program(conn, args.argv, err);
    } else {
        error_errno(err, -r, "command for '%s'", uri->host);
    }
    buffer_free(&script);
    buffer_free(&line);
    return r;
}

/* -------------------------------------------------------------- a session's daemon */

/* folder/name, when that can be run. */
static bool is_program(char out[PATH_MAX], const char *folder, const char *name)
{
    return folder && *folder && snprintf(out, PATH_MAX, "%s/%s", folder, name) < PATH_MAX &&
           access(out, X_OK) == 0;
}

static bool find_kvasird(char out[PATH_MAX])
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n < 0 ? 0 : n] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    return is_program(out, getenv("KVASIRD_PATH"), "kvasird") || is_program(out, self, "kvasird") ||
           is_program(out, "/usr/local/sbin", "kvasird") || is_program(out, "/usr/sbin", "kvasird");
}

static bool find_libvirtd(const struct uri *uri, char out[PATH_MAX])
{
    char own[64];
    snprintf(own, sizeof(own), "virt%.32sd", uri->driver);
    const char *given = getenv("LIBVIRTD_PATH");
    const char *folders[] = {given, "/usr/sbin", "/usr/local/sbin"};
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        if (is_program(out, folders[i], own) || is_program(out, folders[i], "libvirtd"))
            return true;
    }
    return false;
}

int spawn_session_daemon(const struct uri *uri, struct kvasir_error *err)
{
    char program[PATH_MAX];
    bool ours = uri->ours || !find_libvirtd(uri, program);
    if (ours && !find_kvasird(program))
        return kvasir_error_fill(err, VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, ENOENT,
                                 "no daemon runs in this session, and none to be started is found "
                                 "beside this program, in $KVASIRD_PATH, /usr/sbin and "
                                 "/usr/local/sbin");
    /* The shell leaves at once, so that the daemon is nobody's child. */
    const char *const argv[] = {"sh",
                                "-c",
                                "\"$0\" \"$@\" </dev/null >/dev/null 2>&1 &",
                                program,
                                "--timeout=120",
                                ours ? "--session" : NULL,
                                NULL};
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    pid_t child;
    int r =
        posix_spawn(&child, "/bin/sh", NULL, &attributes, (char *const *)(uintptr_t)argv, environ);
    posix_spawnattr_destroy(&attributes);
    if (r != 0)
        return error_errno(err, r, "Cannot start '%s'", program);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
    return 0;
}
