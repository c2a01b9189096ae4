/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration file: libvirtd.conf's form and names; see settings.h. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "daemon/server/settings.h"

#define FILE_MOST (1u << 20) /* bytes */
#define LIST_MOST 4096

#define NUMBER(field_, most_, help_)                                                          \
    {                                                                                         \
        .name = #field_, .type = SETTING_NUMBER, .offset = offsetof(struct settings, field_), \
        .most = most_, .help = help_                                                          \
    }
#define TEXT(field_, help_)                                                                 \
    {                                                                                       \
        .name = #field_, .type = SETTING_TEXT, .offset = offsetof(struct settings, field_), \
        .help = help_                                                                       \
    }
#define LIST(field_, help_)                                                                 \
    {                                                                                       \
        .name = #field_, .type = SETTING_LIST, .offset = offsetof(struct settings, field_), \
        .help = help_                                                                       \
    }

const struct setting settings_table[] = {
    NUMBER(listen_tls, 1, "1: with --listen, serve TLS (1)"),
    NUMBER(listen_tcp, 1, "1: with --listen, serve plain TCP, with SASL (0)"),
    TEXT(listen_addr, "address to listen on (all)"),
    TEXT(tls_port, "port for TLS (16514)"),
    TEXT(tcp_port, "port for TCP (16509)"),
    NUMBER(libvirt_sockets, 1,
           "1: also listen on libvirt's own paths, unless another libvirt daemon is installed, or "
           "--socket-dir is given (1)"),
    TEXT(unix_sock_group, "group that may use the read-write socket (libvirt or kvasir, if there)"),
    TEXT(unix_sock_ro_perms, "mode of the read-only socket, octal (0777)"),
    TEXT(unix_sock_rw_perms, "mode of the read-write socket (0770; 0777 with polkit)"),
    TEXT(unix_sock_admin_perms, "mode of the admin socket (0700)"),
    TEXT(auth_unix_ro, "none, polkit or sasl (none)"),
    TEXT(auth_unix_rw, "none, polkit or sasl (polkit where it runs, else none)"),
    TEXT(auth_tcp, "none or sasl (sasl)"),
    TEXT(auth_tls, "none or sasl, beside the certificate (none)"),
    TEXT(ca_file, "certificates of the authority (/etc/pki/CA/cacert.pem)"),
    TEXT(cert_file, "the server's certificate (/etc/pki/libvirt/servercert.pem)"),
    TEXT(key_file, "its key (/etc/pki/libvirt/private/serverkey.pem)"),
    TEXT(crl_file, "revoked certificates (none)"),
    TEXT(tls_priority, "GnuTLS's priority string (NORMAL)"),
    NUMBER(tls_no_verify_certificate, 1, "1: clients need no certificate (0)"),
    LIST(tls_allowed_dn_list, "patterns of the names in certificates that are let in (all)"),
    LIST(sasl_allowed_username_list, "patterns of the SASL users that are let in (all)"),
    NUMBER(vnc_tls, 1, "1: viewers of machines that are started from now on have to use TLS (0)"),
    TEXT(vnc_tls_x509_cert_dir, "folder with ca-cert.pem, server-cert.pem and server-key.pem for "
                                "that (/etc/pki/libvirt-vnc)"),
    NUMBER(vnc_tls_x509_verify, 1, "1: viewers need a certificate that ca-cert.pem signed (0)"),
    NUMBER(max_clients, 1000000, "clients at a time (5000)"),
    NUMBER(max_anonymous_clients, 1000000, "of these, not yet authenticated (20; 0: no limit)"),
    NUMBER(max_client_requests, 1000, "calls of one client at a time (5)"),
    NUMBER(min_workers, 1024, "worker threads at the least (5)"),
    NUMBER(max_workers, 1024, "worker threads at the most (20)"),
    NUMBER(prio_workers, 1024, "and more for calls that never wait for a machine (5)"),
    NUMBER(admin_max_clients, 1000000, "the same for the admin socket (5)"),
    NUMBER(admin_max_client_requests, 1000, "(5)"),
    NUMBER(admin_min_workers, 1024, "(1)"),
    NUMBER(admin_max_workers, 1024, "(5)"),
    TEXT(metrics_listen,
         "where /metrics is told: unix:/PATH, 127.0.0.1:PORT, [::1]:PORT (nowhere)"),
    NUMBER(keepalive_interval, 86400, "seconds of silence until a client is asked (5; 0: never)"),
    NUMBER(keepalive_count, 1000, "unanswered questions until it is disconnected (5)"),
    NUMBER(log_level, 4, "1 debug, 2 information, 3 warnings, 4 errors; --log has precedence"),
    {.name = NULL},
};

/* What is left of the file, and where we are in it. */
struct reader {
    const char *path, *at;
    unsigned line;
};

static int complain(const struct reader *reader, const char *what, struct kv_error *err)
{
    return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s:%u: %s", reader->path, reader->line, what);
}

/* Spaces and, where across_lines, comments and ends of lines. */
static void skip(struct reader *reader, bool across_lines)
{
    for (;;) {
        if (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\r') {
            reader->at++;
        } else if (across_lines && *reader->at == '\n') {
            reader->line++;
            reader->at++;
        } else if (*reader->at == '#') {
            reader->at += strcspn(reader->at, "\n");
        } else {
            return;
        }
    }
}

static int read_text(struct reader *reader, char **out, struct kv_error *err)
{
    char quote = *reader->at;
    if (quote != '"' && quote != '\'')
        return complain(reader, "a text in quotes is expected here", err);
    const char *start = ++reader->at;
    char stop[] = {quote, '\n', '\0'};
    size_t len = strcspn(start, stop);
    if (start[len] != quote)
        return complain(reader, "the text has no closing quote", err);
    reader->at += len + 1;
    *out = strndup(start, len);
    return *out ? 0 : kv_error_errno(err, KV_ERR_BASE, ENOMEM, "%s", reader->path);
}

static int read_number(struct reader *reader, const struct setting *setting, unsigned *out,
                       struct kv_error *err)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(reader->at, &end, 10);
    if (!isdigit((unsigned char)*reader->at) || errno || value > setting->most)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s:%u: %s has to be a number from 0 to %u",
                            reader->path, reader->line, setting->name, setting->most);
    *out = (unsigned)value;
    reader->at = end;
    return 0;
}

static int read_list(struct reader *reader, char ***out, struct kv_error *err)
{
    size_t n = 0;
    if (*reader->at != '[')
        return complain(reader, "a list in [ ] is expected here", err);
    reader->at++;
    char **list = calloc(1, sizeof(*list));
    *out = list;
    for (;;) {
        skip(reader, true);
        if (*reader->at == ']')
            break;
        list = n < LIST_MOST ? realloc(list, (n + 2) * sizeof(*list)) : NULL;
        if (!list)
            return complain(reader, "the list is too long", err);
        *out = list;
        list[n] = list[n + 1] = NULL;
        int r = read_text(reader, &list[n++], err);
        if (r < 0)
            return r;
        skip(reader, true);
        if (*reader->at == ',')
            reader->at++;
        else if (*reader->at != ']')
            return complain(reader, "',' or ']' is expected here", err);
    }
    reader->at++;
    return 0;
}

static int read_value(struct settings *settings, struct reader *reader,
                      const struct setting *setting, struct kv_error *err)
{
    void *field = (char *)settings + setting->offset;
    switch (setting->type) {
    case SETTING_NUMBER:
        return read_number(reader, setting, field, err);
    case SETTING_TEXT:
        free(*(char **)field);
        *(char **)field = NULL;
        return read_text(reader, field, err);
    default:
        for (char **text = *(char ***)field; text && *text; text++)
            free(*text);
        free(*(char ***)field);
        *(char ***)field = NULL;
        return read_list(reader, field, err);
    }
}

static int read_line(struct settings *settings, struct reader *reader, struct kv_error *err)
{
    size_t len = strspn(reader->at, "abcdefghijklmnopqrstuvwxyz_0123456789");
    const struct setting *setting = settings_table;
    while (setting->name &&
           (strlen(setting->name) != len || memcmp(setting->name, reader->at, len) != 0))
        setting++;
    if (!setting->name)
        return kv_error_set(
            err, KV_ERR_CONFIG, EINVAL, "%s:%u: there is no setting '%.*s'; kvasird(8) lists them",
            reader->path, reader->line, (int)(len ? len : strcspn(reader->at, "\n")), reader->at);
    reader->at += len;
    skip(reader, false);
    if (*reader->at != '=')
        return complain(reader, "'=' is expected behind the name", err);
    reader->at++;
    skip(reader, false);
    int r = read_value(settings, reader, setting, err);
    if (r < 0)
        return r;
    skip(reader, false);
    return *reader->at == '\n' || !*reader->at
               ? 0
               : complain(reader, "more behind the value; one setting a line is possible", err);
}

int settings_read_file(struct settings *settings, const char *path, struct kv_error *err)
{
    struct stat facts;
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &facts) < 0)
        return kv_error_errno(err, KV_ERR_CONFIG, errno, "configuration '%s'", path);
    if (!S_ISREG(facts.st_mode) || facts.st_size > FILE_MOST)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "configuration '%s' has to be a file of at most 1 MiB", path);
    cleanup_free char *text = calloc(1, (size_t)facts.st_size + 1);
    int r = text ? fd_read_all(fd, text, (size_t)facts.st_size) : -ENOMEM;
    if (r < 0)
        return kv_error_errno(err, KV_ERR_CONFIG, -r, "configuration '%s'", path);
    struct reader reader = {path, text, 1};
    skip(&reader, true);
    while (*reader.at) {
        r = read_line(settings, &reader, err);
        if (r < 0)
            return r;
        skip(&reader, true);
    }
    return 0;
}
