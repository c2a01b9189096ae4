/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads URIs (RFC 3986, as far as connections need it); see uri.h. */
#include "rpc/client/uri.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define URI_MOST 4096 /* bytes */

static const struct {
    char name[8];
    enum transport transport;
} transports[] = {
    {"unix", TRANSPORT_UNIX}, {"tcp", TRANSPORT_TCP}, {"tls", TRANSPORT_TLS},
    {"ssh", TRANSPORT_SSH},   {"ext", TRANSPORT_EXT},
};

static const struct {
    char name[20];
    size_t offset;
} text_parameters[] = {
    {"socket", offsetof(struct uri, socket)},
    {"mode", offsetof(struct uri, mode)},
    {"auth", offsetof(struct uri, auth)},
    {"command", offsetof(struct uri, command)},
    {"netcat", offsetof(struct uri, netcat)},
    {"keyfile", offsetof(struct uri, keyfile)},
    {"sshauth", offsetof(struct uri, sshauth)},
    {"proxy", offsetof(struct uri, proxy)},
    {"known_hosts", offsetof(struct uri, known_hosts)},
    {"known_hosts_verify", offsetof(struct uri, known_hosts_verify)},
    {"pkipath", offsetof(struct uri, pkipath)},
    {"tls_priority", offsetof(struct uri, tls_priority)},
    {"name", offsetof(struct uri, forced_name)},
};

static const struct {
    char name[12];
    size_t offset;
} bool_parameters[] = {
    {"no_verify", offsetof(struct uri, no_verify)},
    {"no_tty", offsetof(struct uri, no_tty)},
};

void uri_free(struct uri *uri)
{
    char *const texts[] = {uri->driver, uri->user, uri->host, uri->port, uri->path, uri->name};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
    for (size_t i = 0; i < ARRAY_SIZE(text_parameters); i++)
        free(*(char **)(void *)((char *)uri + text_parameters[i].offset));
    *uri = (struct uri){.driver = NULL};
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A copy of len bytes with %XX resolved; NULL when memory is short or a byte would be 0. */
static char *unescape(const char *text, size_t len)
{
    char *out = malloc(len + 1), *to = out;
    for (size_t i = 0; out && i < len; i++) {
        int high = text[i] == '%' && i + 2 < len ? hex(text[i + 1]) : -1;
        int low = high >= 0 ? hex(text[i + 2]) : -1;
        if (low >= 0) {
            *to++ = (char)(high << 4 | low);
            i += 2;
        } else {
            *to++ = text[i];
        }
    }
    if (!out)
        return NULL;
    *to = '\0';
    if (strlen(out) == (size_t)(to - out))
        return out;
    free(out);
    return NULL;
}

static int refuse(const char *text, const char *why, struct kvasir_error *err)
{
    return error_invalid(err, "URI '%s': %s", text, why);
}

/* "qemu+ssh" */
static int parse_scheme(const char *text, size_t len, struct uri *out, struct kvasir_error *err)
{
    const char *plus = memchr(text, '+', len);
    out->driver = strndup(text, plus ? (size_t)(plus - text) : len);
    if (!out->driver)
        return error_no_memory(err);
    if (!*out->driver ||
        strspn(out->driver, "abcdefghijklmnopqrstuvwxyz0123456789-.") != strlen(out->driver))
        return refuse(text, "the driver's name in front of '://' is missing or wrong", err);
    out->ours = strcmp(out->driver, "kvasir") == 0;
    if (!plus)
        return 0;
    size_t name_len = len - (size_t)(plus + 1 - text);
    for (size_t i = 0; i < ARRAY_SIZE(transports); i++) {
        if (strlen(transports[i].name) == name_len &&
            memcmp(transports[i].name, plus + 1, name_len) == 0) {
            out->transport = transports[i].transport;
            return 0;
        }
    }
    return refuse(text, "transports are unix, tcp, tls, ssh and ext", err);
}

/* "user@host:port", "[::1]:16509" */
static int parse_authority(const char *text, const char *at, size_t len, struct uri *out,
                           struct kvasir_error *err)
{
    const char *end = at + len, *user_end = memchr(at, '@', len);
    if (user_end) {
        out->user = unescape(at, (size_t)(user_end - at));
        if (!out->user)
            return refuse(text, "the user's name", err);
        at = user_end + 1;
    }
    const char *host_end;
    if (at < end && *at == '[') {
        host_end = memchr(at, ']', (size_t)(end - at));
        if (!host_end)
            return refuse(text, "']' is missing behind the address", err);
        out->host = unescape(at + 1, (size_t)(host_end - at - 1));
        host_end++;
    } else {
        host_end = memchr(at, ':', (size_t)(end - at));
        host_end = host_end ? host_end : end;
        if (host_end != at)
            out->host = unescape(at, (size_t)(host_end - at));
    }
    if (host_end == end)
        return 0;
    out->port = strndup(host_end + 1, (size_t)(end - host_end - 1));
    if (*host_end != ':' || !out->port || !*out->port ||
        strspn(out->port, "0123456789") != strlen(out->port) ||
        strtoul(out->port, NULL, 10) > 65535)
        return refuse(text, "the port is a number up to 65535", err);
    return 0;
}

/* Keeps one "name=value", or writes it to what the server gets. */
static int keep_parameter(const char *text, const char *parameter, size_t len, struct uri *out,
                          struct buffer *rest, struct kvasir_error *err)
{
    const char *equals = memchr(parameter, '=', len);
    size_t name_len = equals ? (size_t)(equals - parameter) : len;
    cleanup_free char *value = unescape(equals ? equals + 1 : "", equals ? len - name_len - 1 : 0);
    if (!value)
        return refuse(text, "a parameter's value cannot be read", err);
    for (size_t i = 0; i < ARRAY_SIZE(text_parameters); i++) {
        char **at = (char **)(void *)((char *)out + text_parameters[i].offset);
        if (strlen(text_parameters[i].name) == name_len &&
            memcmp(text_parameters[i].name, parameter, name_len) == 0) {
            free(*at);
            *at = take_ptr(value);
            return 0;
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(bool_parameters); i++) {
        bool *at = (bool *)((char *)out + bool_parameters[i].offset);
        if (strlen(bool_parameters[i].name) == name_len &&
            memcmp(bool_parameters[i].name, parameter, name_len) == 0) {
            *at = strcmp(value, "0") != 0;
            return 0;
        }
    }
    return buffer_printf(rest, "%c%.*s", rest->len ? '&' : '?', (int)len, parameter) < 0
               ? error_no_memory(err)
               : 0;
}

static int parse_query(const char *text, const char *query, struct uri *out, struct buffer *rest,
                       struct kvasir_error *err)
{
    while (*query) {
        size_t len = strcspn(query, "&;");
        int r = len ? keep_parameter(text, query, len, out, rest, err) : 0;
        if (r < 0)
            return r;
        query += len + (query[len] != '\0');
    }
    return 0;
}

/* Without the way to it: that is ours to know, not the server's. */
static int make_name(struct uri *out, const struct buffer *rest, struct kvasir_error *err)
{
    const char *driver = out->ours ? "qemu" : out->driver;
    int n = out->forced_name
                ? asprintf(&out->name, "%s", out->forced_name)
                : asprintf(&out->name, "%s://%s%.*s", driver, out->path, (int)rest->len,
                           rest->len ? (char *)buffer_bytes(rest) : "");
    if (n >= 0)
        return 0;
    out->name = NULL;
    return error_no_memory(err);
}

static int choose_transport(const char *text, struct uri *out, struct kvasir_error *err)
{
    if (out->transport == TRANSPORT_AUTO)
        out->transport = out->host ? TRANSPORT_TLS : TRANSPORT_UNIX;
    if (out->transport == TRANSPORT_EXT && !out->command)
        return refuse(text, "with the transport ext, ?command= says which program to run", err);
    bool needs_host = out->transport == TRANSPORT_SSH || out->transport == TRANSPORT_TCP ||
                      out->transport == TRANSPORT_TLS;
    if (needs_host && !out->host) {
        out->host = strdup("localhost");
        return out->host ? 0 : error_no_memory(err);
    }
    if (out->transport == TRANSPORT_UNIX && out->host)
        return refuse(text, "a unix socket is on this host; for another host use ssh, tls or tcp",
                      err);
    return 0;
}

int uri_parse(const char *text, struct uri *out, struct kvasir_error *err)
{
    *out = (struct uri){.driver = NULL};
    const char *colon = strstr(text, "://");
    if (strlen(text) > URI_MOST)
        return error_invalid(err, "a URI of %zu bytes; at most %d are possible", strlen(text),
                             URI_MOST);
    if (!colon)
        return refuse(text, "it has to look like qemu:///system", err);
    const char *authority = colon + 3, *path = authority + strcspn(authority, "/?#");
    size_t path_len = strcspn(path, "?#");
    const char *query = path[path_len] == '?' ? path + path_len + 1 : "";
    cleanup_free char *whole_query = strndup(query, strcspn(query, "#"));
    struct buffer rest = BUFFER_INIT(URI_MOST);
    int r = parse_scheme(text, (size_t)(colon - text), out, err);
    if (r == 0)
        r = parse_authority(text, authority, (size_t)(path - authority), out, err);
    if (r == 0) {
        out->path = unescape(path, path_len);
        r = out->path && whole_query ? parse_query(text, whole_query, out, &rest, err)
                                     : refuse(text, "the path", err);
    }
    if (r == 0)
        r = choose_transport(text, out, err);
    if (r == 0)
        r = make_name(out, &rest, err);
    out->session = r == 0 && strcmp(out->path, "/session") == 0;
    buffer_free(&rest);
    if (r < 0)
        uri_free(out);
    return r;
}
