/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS credentials by name; see tls_creds.h. */
#include "block/tls_creds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/options.h"

struct entry {
    struct list node;
    int type, endpoint; /* of the tables below */
    bool sanity_check;
    struct tls_creds creds;
};

static struct list entries = {&entries, &entries};

static const char *const types[] = {"tls-creds-x509", "tls-creds-psk", NULL};
static const char *const endpoints[] = {"client", "server", NULL};

static const struct option_spec specs[] = {
    OPTION_NAMED("qom-type", ENUM, struct entry, type, .values = types, .required = true),
    OPTION_NAMED("id", STRING, struct entry, creds.id, .required = true),
    OPTION_NAMED("dir", STRING, struct entry, creds.dir, .required = true,
                 .help = "folder of the files"),
    OPTION_NAMED("endpoint", ENUM, struct entry, endpoint, .values = endpoints),
    OPTION_NAMED("verify-peer", BOOL, struct entry, creds.verify_peer),
    OPTION_NAMED("sanity-check", BOOL, struct entry, sanity_check,
                 .help = "accepted; a bad certificate is refused when it is used"),
    OPTION_NAMED("username", STRING, struct entry, creds.username, .help = "of a PSK client"),
    OPTION_END,
};

static struct entry *find(const char *id)
{
    list_for_each (node, &entries) {
        struct entry *entry = list_entry(node, struct entry, node);
        if (strcmp(entry->creds.id, id) == 0)
            return entry;
    }
    return NULL;
}

int tls_creds_add_text(const char *text, struct kv_error *err)
{
    struct entry *entry = calloc(1, sizeof(*entry));
    if (!entry)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "--object: out of memory");
    entry->creds.verify_peer = true;
    int rc = options_parse_text(specs, "--object", "qom-type", text, entry, err);
    if (rc == 0 && find(entry->creds.id))
        rc = kv_error_set(err, KV_ERR_BLOCK, EEXIST, "--object: id '%s' is taken", entry->creds.id);
    if (rc < 0) {
        options_free(specs, entry);
        free(entry);
        return rc;
    }
    entry->creds.psk = entry->type == 1;
    entry->creds.server = entry->endpoint == 1;
    list_add_tail(&entries, &entry->node);
    return 0;
}

const struct tls_creds *tls_creds_find(const char *id, bool server, struct kv_error *err)
{
    const struct entry *entry = find(id);
    if (!entry) {
        kv_error_set(err, KV_ERR_BLOCK, ENOENT, "No TLS credentials with id '%s'", id);
        return NULL;
    }
    if (entry->creds.server != server) {
        kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                     "TLS credentials '%s' are for endpoint=%s; %s is needed", id,
                     endpoints[entry->creds.server], endpoints[server]);
        return NULL;
    }
    return &entry->creds;
}

void tls_creds_clear(void)
{
    list_for_each_safe (node, &entries) {
        struct entry *entry = list_entry(node, struct entry, node);
        list_del(&entry->node);
        options_free(specs, entry);
        free(entry);
    }
}
