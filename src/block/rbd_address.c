/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paths and descriptions of Ceph images, as QEMU has them; see rbd.h. */
#include "block/rbd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "block/description.h"
#include "block/secret.h"

const struct block_key rbd_keys[] = {
    {"auth-client-required", BLOCK_KEY_ANY},
    {"conf", BLOCK_KEY_TEXT},
    {"image", BLOCK_KEY_TEXT},
    {"key-secret", BLOCK_KEY_TEXT},
    {"namespace", BLOCK_KEY_TEXT},
    {"pool", BLOCK_KEY_TEXT},
    {"server", BLOCK_KEY_ANY},
    {"snapshot", BLOCK_KEY_TEXT},
    {"user", BLOCK_KEY_TEXT},
    {NULL, 0},
};

static int bad(struct kv_error *err, const char *what)
{
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "rbd: %s", what);
}

/* Takes value over. */
static int add_setting(struct rbd_address *a, const char *name, char *value, struct kv_error *err)
{
    if (a->setting_count == RBD_SETTINGS_MAX || !value) {
        free(value);
        return bad(err, value ? "more than 32 options" : "out of memory");
    }
    a->settings[a->setting_count].value = value;
    a->settings[a->setting_count].name = strdup(name);
    return a->settings[a->setting_count++].name ? 0 : bad(err, "out of memory");
}

/* The next part of *text up to one of the marks, which *text stands behind then, or NULL at the
 * end; what follows a backslash is meant as it is. *mark: which one ended it, 0: the end. */
static char *next_part(const char **text, const char *marks, char *mark)
{
    const char *from = *text;
    char *part = malloc(strlen(from) + 1), *to = part;
    if (!part)
        return NULL;
    while (*from && !strchr(marks, *from)) {
        if (*from == '\\' && from[1])
            from++;
        *to++ = *from++;
    }
    *to = '\0';
    *mark = *from;
    *text = *from ? from + 1 : from;
    return part;
}

static int parse_option(struct rbd_address *a, const char **text, struct kv_error *err)
{
    char mark;
    cleanup_free char *name = next_part(text, "=:", &mark);
    if (!name || mark != '=')
        return bad(err, "options are NAME=VALUE");
    char *value = next_part(text, ":", &mark);
    char **to = strcmp(name, "id") == 0 ? &a->user : strcmp(name, "conf") == 0 ? &a->conf : NULL;
    if (!to || !value)
        return add_setting(a, name, value, err);
    free(*to);
    *to = value;
    return 0;
}

static int parse_path(struct rbd_address *a, const char *text, struct kv_error *err)
{
    char mark;
    text += strlen("rbd:");
    a->pool = next_part(&text, "/", &mark);
    if (!a->pool || mark != '/' || !a->pool[0])
        return bad(err, "rbd:POOL/IMAGE[@SNAPSHOT][:OPTION=VALUE...] is expected");
    a->image = next_part(&text, "/@:", &mark);
    if (a->image && mark == '/') {
        a->namespace = a->image;
        a->image = next_part(&text, "@:", &mark);
    }
    if (mark == '@')
        a->snapshot = next_part(&text, ":", &mark);
    if (!a->image || !a->image[0])
        return bad(err, "an image's name is needed");
    while (mark == ':' && *text) {
        int rc = parse_option(a, &text, err);
        if (rc < 0)
            return rc;
        mark = ':';
    }
    return 0;
}

/* mon_host: the monitors, "host:port;[v6]:port". */
static int take_servers(struct rbd_address *a, const json_t *servers, struct kv_error *err)
{
    size_t i;
    json_t *server;
    cleanup_free char *hosts = NULL;
    if (!json_is_array(servers))
        return bad(err, "'server' is an array of objects with 'host' and 'port'");
    json_array_foreach (servers, i, server) {
        const char *host = description_text(server, "host"),
                   *port = description_text(server, "port");
        char *more = NULL;
        if (!host || !port)
            return bad(err, "each 'server' needs 'host' and 'port'");
        bool v6 = strchr(host, ':') != NULL;
        if (asprintf(&more, "%s%s%s%s%s:%s", hosts ? hosts : "", hosts ? ";" : "", v6 ? "[" : "",
                     host, v6 ? "]" : "", port) < 0)
            return bad(err, "out of memory");
        free(hosts);
        hosts = more;
    }
    return hosts ? add_setting(a, "mon_host", strdup(hosts), err) : 0;
}

static int take_key(struct rbd_address *a, const char *id, struct kv_error *err)
{
    uint8_t *data;
    size_t len;
    int rc = secret_get(id, &data, &len, err);
    if (rc < 0)
        return rc;
    char *text = strndup((char *)data, len);
    secret_release(data, len);
    return add_setting(a, "key", text, err);
}

static int take_modes(struct rbd_address *a, const json_t *modes, struct kv_error *err)
{
    char joined[32] = "";
    size_t i;
    json_t *mode;
    json_array_foreach (modes, i, mode) {
        const char *word = json_string_value(mode);
        if (!word || (strcmp(word, "cephx") != 0 && strcmp(word, "none") != 0) || i > 1)
            return bad(err, "'auth-client-required' is an array of cephx and none");
        snprintf(joined + strlen(joined), sizeof(joined) - strlen(joined), "%s%s", i ? ";" : "",
                 word);
    }
    return joined[0] ? add_setting(a, "auth_client_required", strdup(joined), err)
                     : bad(err, "'auth-client-required' is an array of cephx and none");
}

static int parse_members(struct rbd_address *a, const json_t *d, struct kv_error *err)
{
    const struct {
        const char *name;
        char **to;
    } texts[] = {
        {"pool", &a->pool},         {"namespace", &a->namespace}, {"image", &a->image},
        {"snapshot", &a->snapshot}, {"user", &a->user},           {"conf", &a->conf},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
        const char *text = description_text(d, texts[i].name);
        if (!text || *texts[i].to)
            continue;
        *texts[i].to = strdup(text);
        if (!*texts[i].to)
            return bad(err, "out of memory");
    }
    if (!a->pool || !a->image)
        return bad(err, "the description needs 'pool' and 'image'");
    const json_t *servers = description_member(d, "server"),
                 *modes = description_member(d, "auth-client-required");
    const char *secret = description_text(d, "key-secret");
    int rc = servers ? take_servers(a, servers, err) : 0;
    if (rc == 0 && modes)
        rc = take_modes(a, modes, err);
    return rc == 0 && secret ? take_key(a, secret, err) : rc;
}

int rbd_address_parse(struct rbd_address *a, const struct block_open_options *options,
                      struct kv_error *err)
{
    *a = (struct rbd_address){0};
    int rc = options->path ? parse_path(a, options->path, err) : 0;
    return rc == 0 && options->description ? parse_members(a, options->description, err) : rc;
}

void rbd_address_free(struct rbd_address *a)
{
    for (unsigned i = 0; i < a->setting_count; i++) {
        if (a->settings[i].value)
            explicit_bzero(a->settings[i].value, strlen(a->settings[i].value));
        free(a->settings[i].value);
        free(a->settings[i].name);
    }
    free(a->pool);
    free(a->namespace);
    free(a->image);
    free(a->snapshot);
    free(a->user);
    free(a->conf);
}
