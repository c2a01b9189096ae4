/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where an NBD server is: URIs as in the NBD project's doc/uri.md, QEMU's older
 * "nbd:host:port:exportname=x", and QEMU's blockdev descriptions.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "block/description.h"
#include "block/nbd_client.h"
#include "block/peers.h"
#include "block/tls_creds.h"

#define PORT_DEFAULT "10809"
#define CONTEXT_DEFAULT "base:allocation"
#define DELAY_MAX_S 86400u

static int bad(struct kv_error *err, const char *path, const char *why)
{
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                        "'%s': %s; forms are nbd://HOST[:PORT]/EXPORT, "
                        "nbd+unix:///EXPORT?socket=PATH (nbds for TLS), "
                        "nbd:HOST:PORT[:exportname=NAME], nbd:unix:PATH[:exportname=NAME]",
                        path, why);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* A part of a URI with its %XX resolved. Allocated; NULL: malformed or out of memory. */
static char *decode(const char *text, size_t len)
{
    char *out = malloc(len + 1);
    size_t n = 0;
    for (size_t i = 0; out && i < len; i++) {
        int c = (unsigned char)text[i];
        if (c == '%') {
            int high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
            c = low >= 0 ? high << 4 | low : 0;
            i += 2;
        }
        if (c == 0) {
            free(out);
            return NULL;
        }
        out[n++] = (char)c;
    }
    if (out)
        out[n] = '\0';
    return out;
}

static int set(char **to, char *value, struct kv_error *err)
{
    free(*to);
    *to = value;
    return value ? 0 : kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "NBD address: out of memory");
}

/* ------------------------------------------------------------------------ URIs */

/* HOST, HOST:PORT or [ADDRESS]:PORT, with USER@ in front, of len bytes. */
static int take_authority(struct nbd_address *address, const char *uri, const char *text,
                          size_t len, struct kv_error *err)
{
    const char *user = memchr(text, '@', len);
    if (user) {
        size_t user_len = (size_t)(user - text);
        if (!(address->tls_user = decode(text, user_len)))
            return bad(err, uri, "malformed user");
        text += user_len + 1;
        len -= user_len + 1;
    }
    if (address->kind == NBD_ADDRESS_UNIX)
        return len ? bad(err, uri, "a unix socket has no host") : 0;

    bool bracket = len && *text == '[';
    text += bracket;
    len -= bracket;
    size_t host_len = 0;
    while (host_len < len && text[host_len] != (bracket ? ']' : ':'))
        host_len++;
    size_t at = host_len + bracket;
    if (at > len || (at < len && text[at] != ':'))
        return bad(err, uri, "malformed host");
    size_t port_len = at < len ? len - at - 1 : 0;
    address->host = host_len ? decode(text, host_len) : strdup("localhost");
    address->port = port_len ? decode(text + at + 1, port_len) : strdup(PORT_DEFAULT);
    return address->host && address->port ? 0 : bad(err, uri, "malformed host or port");
}

/* One name=value of the query. Unknown ones are for others (proto: "MUST be ignored"). */
static int take_parameter(struct nbd_address *address, const char *uri, const char *text,
                          size_t len, struct kv_error *err)
{
    const struct {
        const char *name;
        char **to;
    } known[] = {
        {"socket=", &address->path},
        {"tls-certificates=", &address->tls_dir},
        {"tls-psk-file=", &address->tls_psk_file},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
        size_t name = strlen(known[i].name);
        if (len < name || strncmp(text, known[i].name, name) != 0)
            continue;
        free(*known[i].to);
        *known[i].to = decode(text + name, len - name);
        return *known[i].to ? 0 : bad(err, uri, "malformed query");
    }
    if (len == strlen("tls-verify-peer=false") && strncmp(text, "tls-verify-peer=false", len) == 0)
        address->tls_verify = false;
    return 0;
}

static int parse_uri(struct nbd_address *address, const char *uri, struct kv_error *err)
{
    static const struct {
        const char *scheme;
        bool tls, unix_socket;
    } schemes[] = {
        {"nbd://", false, false},     {"nbds://", true, false},     {"nbd+tcp://", false, false},
        {"nbd+unix://", false, true}, {"nbds+unix://", true, true},
    };
    const char *text = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(schemes) && !text; i++) {
        size_t len = strlen(schemes[i].scheme);
        if (strncmp(uri, schemes[i].scheme, len) != 0)
            continue;
        text = uri + len;
        address->tls = schemes[i].tls;
        address->kind = schemes[i].unix_socket ? NBD_ADDRESS_UNIX : NBD_ADDRESS_TCP;
    }
    if (!text)
        return bad(err, uri, "unknown kind of URI");

    size_t authority = strcspn(text, "/?#");
    int rc = take_authority(address, uri, text, authority, err);
    text += authority;
    size_t path = strcspn(text, "?#");
    if (rc == 0)
        rc = set(&address->export, path ? decode(text + 1, path - 1) : strdup(""), err);
    text += path;
    while (rc == 0 && (*text == '?' || *text == '&')) {
        size_t len = strcspn(++text, "&#");
        rc = take_parameter(address, uri, text, len, err);
        text += len;
    }
    if (rc == 0 && address->kind == NBD_ADDRESS_UNIX && !address->path)
        rc = bad(err, uri, "the query needs socket=PATH");
    return rc;
}

/* "nbd:unix:PATH" and "nbd:HOST:PORT", with ":exportname=NAME" behind. */
static int parse_old(struct nbd_address *address, const char *name, struct kv_error *err)
{
    static const char marker[] = ":exportname=";
    const char *text = name + strlen("nbd:"), *end = strstr(text, marker);
    int rc = set(&address->export, strdup(end ? end + strlen(marker) : ""), err);
    if (rc < 0)
        return rc;
    size_t len = end ? (size_t)(end - text) : strlen(text);
    if (strncmp(text, "unix:", 5) == 0) {
        address->kind = NBD_ADDRESS_UNIX;
        return len > 5 ? set(&address->path, strndup(text + 5, len - 5), err)
                       : bad(err, name, "the path of the socket is missing");
    }
    const char *colon = memrchr(text, ':', len), *host = text;
    if (!colon || colon + 1 == text + len || colon == text)
        return bad(err, name, "HOST:PORT is missing");
    size_t host_len = (size_t)(colon - text);
    if (host[0] == '[' && host_len > 2 && host[host_len - 1] == ']') {
        host++;
        host_len -= 2;
    }
    rc = set(&address->host, strndup(host, host_len), err);
    return rc < 0 ? rc
                  : set(&address->port, strndup(colon + 1, len - (size_t)(colon + 1 - text)), err);
}

/* ---------------------------------------------------------------- descriptions */

static int missing(struct kv_error *err, const char *what)
{
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "nbd: the description needs %s", what);
}

/* A port may be written as a number. */
static char *text_member(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    char *text = NULL;
    if (json_is_string(value))
        return strdup(json_string_value(value));
    if (json_is_integer(value) &&
        asprintf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(value)) < 0)
        return NULL;
    return text;
}

static int take_server(struct nbd_address *address, const json_t *server, struct kv_error *err)
{
    const char *type = json_string_value(json_object_get(server, "type"));
    if (type && strcmp(type, "unix") == 0) {
        address->kind = NBD_ADDRESS_UNIX;
        address->path = text_member(server, "path");
        return address->path ? 0 : missing(err, "'server.path'");
    }
    if (type && strcmp(type, "inet") == 0) {
        address->kind = NBD_ADDRESS_TCP;
        address->host = text_member(server, "host");
        address->port = text_member(server, "port");
        return address->host && address->port ? 0 : missing(err, "'server.host' and 'server.port'");
    }
    if (type && strcmp(type, "fd") == 0) {
        cleanup_free char *number = text_member(server, "str");
        uint64_t fd;
        if (!number || parse_u64(number, &fd) < 0 || fd > INT32_MAX)
            return missing(err, "a descriptor's number as 'server.str'");
        address->kind = NBD_ADDRESS_FD;
        address->fd = (int)fd;
        return 0;
    }
    return missing(err, "'server' with 'type' unix, inet or fd");
}

/* Members of the description itself, as older tools write them: path, or host and port. */
static int take_flat(struct nbd_address *address, const json_t *description, struct kv_error *err)
{
    address->path = text_member(description, "path");
    address->host = text_member(description, "host");
    address->kind = address->path ? NBD_ADDRESS_UNIX : NBD_ADDRESS_TCP;
    if (address->host)
        address->port = json_object_get(description, "port") ? text_member(description, "port")
                                                             : strdup(PORT_DEFAULT);
    if (!address->path == !address->host)
        return missing(err, "'server' (or one of 'path' and 'host')");
    return 0;
}

static int take_creds(struct nbd_address *address, const json_t *description, struct kv_error *err)
{
    const char *id = description_text(description, "tls-creds");
    if (!id)
        return 0;
    const struct tls_creds *creds = tls_creds_find(id, false, err);
    if (!creds)
        return -err->code;
    /* libnbd holds certificates against the host it connects to, and no other name. */
    const char *name = description_text(description, "tls-hostname");
    if (name && (!address->host || strcmp(name, address->host) != 0))
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "nbd: 'tls-hostname' can only be the host of 'server'");
    address->tls = true;
    address->tls_verify = creds->verify_peer;
    int rc = 0;
    if (!creds->psk)
        return set(&address->tls_dir, strdup(creds->dir), err);
    if (asprintf(&address->tls_psk_file, "%s/keys.psk", creds->dir) < 0) {
        address->tls_psk_file = NULL;
        return -ENOMEM;
    }
    rc = set(&address->tls_user, strdup(creds->username ? creds->username : "qemu"), err);
    return rc;
}

static int take_common(struct nbd_address *address, const json_t *description, struct kv_error *err)
{
    const char *bitmap = description_text(description, "x-dirty-bitmap");
    if (description_member(description, "reconnect-delay") &&
        (!description_number(description, "reconnect-delay", &address->reconnect_delay_s) ||
         address->reconnect_delay_s > DELAY_MAX_S))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "nbd: 'reconnect-delay' is a number of seconds, 0 to %u", DELAY_MAX_S);
    int rc = bitmap ? set(&address->context, strdup(bitmap), err) : 0;
    return rc < 0 ? rc : take_creds(address, description, err);
}

/* ---------------------------------------------------------------------- border */

int nbd_address_parse(struct nbd_address *address, const struct block_open_options *options,
                      struct kv_error *err)
{
    struct kv_error own = {0};
    const json_t *description = options->description;
    *address = (struct nbd_address){.fd = -1, .peer = -1, .tls_verify = true};
    err = err ? err : &own;
    int rc = set(&address->context, strdup(CONTEXT_DEFAULT), err);
    if (rc == 0 && options->path) {
        rc = strncmp(options->path, "nbd:", 4) == 0 && strncmp(options->path, "nbd://", 6) != 0
                 ? parse_old(address, options->path, err)
                 : parse_uri(address, options->path, err);
    } else if (rc == 0 && description) {
        const json_t *server = json_object_get(description, "server");
        rc = server ? take_server(address, server, err) : take_flat(address, description, err);
        char *export = text_member(description, "export");
        if (rc == 0)
            rc = set(&address->export, export ? export : strdup(""), err);
        else
            free(export);
    } else if (rc == 0) {
        rc = kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                          "nbd: an address is needed; a connected socket is given as "
                          "'server.type=fd'");
    }
    if (rc == 0 && description)
        rc = take_common(address, description, err);
    /* A sealed process reads no certificates. */
    if (rc == 0 && address->kind != NBD_ADDRESS_FD && !address->tls)
        address->peer = peers_note(address->path ? address->path : address->host, address->port);
    return rc;
}

void nbd_address_free(struct nbd_address *address)
{
    if (address->fd >= 0)
        close(address->fd);
    free(address->path);
    free(address->host);
    free(address->port);
    free(address->export);
    free(address->context);
    free(address->tls_dir);
    free(address->tls_psk_file);
    free(address->tls_user);
    *address = (struct nbd_address){.fd = -1, .peer = -1};
}
