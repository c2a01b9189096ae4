/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a logical unit is: "iscsi://[user[%password]@]host[:port]/target/lun", and QEMU's blockdev
 * descriptions. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "block/description.h"
#include "block/iscsi.h"
#include "block/library.h"
#include "block/secret.h"

/* QEMU's, so that a target's access list that knows one knows the other. */
#define INITIATOR "iqn.2008-11.org.linux-kvm"
#define LUN_MAX 16383 /* flat addressing, SAM-5 4.7.7.3 */
#define TIMEOUT_MAX_S 3600

static struct iscsi_library functions;

static const struct library_symbol symbols[] = {
#define X(function) {#function, &functions.function},
    ISCSI_LIBRARY(X)
#undef X
        {NULL, NULL},
};

static struct library library = LIBRARY("libiscsi.so.7", "libiscsi7", "iSCSI disks", symbols);

int iscsi_library_get(const struct iscsi_library **out, struct kv_error *err)
{
    library.alternative = "libiscsi.so.10";
    int rc = library_load(&library, err);
    if (rc == 0)
        *out = &functions;
    return rc;
}

static int set(char **to, const char *text)
{
    *to = text && *text ? strdup(text) : NULL;
    return text && *text && !*to ? -ENOMEM : 0;
}

static int parse_url(struct iscsi_address *address, const struct iscsi_library *lib,
                     const char *text, struct kv_error *err)
{
    struct iscsi_context *context = lib->iscsi_create_context(INITIATOR);
    struct iscsi_url *url = context ? lib->iscsi_parse_full_url(context, text) : NULL;
    int rc = 0;
    if (!url) {
        rc = kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                          "'%s': iscsi://[USER[%%PASSWORD]@]HOST[:PORT]/TARGET/LUN is expected",
                          text);
    } else {
        address->lun = url->lun;
        if (set(&address->portal, url->portal) < 0 || set(&address->target, url->target) < 0 ||
            set(&address->user, url->user) < 0 || set(&address->password, url->passwd) < 0)
            rc = -ENOMEM;
    }
    if (url)
        lib->iscsi_destroy_url(url);
    if (context)
        lib->iscsi_destroy_context(context);
    return rc;
}

static int read_password(struct iscsi_address *address, const char *id, struct kv_error *err)
{
    uint8_t *data;
    size_t len;
    int rc = secret_get(id, &data, &len, err);
    if (rc < 0)
        return rc;
    free(address->password);
    address->password = memchr(data, 0, len) ? NULL : strndup((char *)data, len);
    secret_release(data, len);
    return address->password ? 0
                             : kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                            "iscsi: the secret '%s' holds no text", id);
}

static int read_digest(struct iscsi_address *address, const char *word, struct kv_error *err)
{
    static const struct {
        const char *name;
        enum iscsi_header_digest digest;
    } digests[] = {
        {"crc32c", ISCSI_HEADER_DIGEST_CRC32C},
        {"none", ISCSI_HEADER_DIGEST_NONE},
        {"crc32c-none", ISCSI_HEADER_DIGEST_CRC32C_NONE},
        {"none-crc32c", ISCSI_HEADER_DIGEST_NONE_CRC32C},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(digests); i++) {
        if (strcmp(word, digests[i].name) == 0) {
            address->digest = digests[i].digest;
            return 0;
        }
    }
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                        "iscsi: 'header-digest' is crc32c, none, crc32c-none or none-crc32c, not "
                        "'%s'",
                        word);
}

static int parse_members(struct iscsi_address *address, const json_t *description,
                         struct kv_error *err)
{
    const char *transport = description_text(description, "transport");
    uint64_t lun = 0;
    description_number(description, "lun", &lun);
    if (transport && strcmp(transport, "tcp") != 0)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP, "iscsi: 'transport' is tcp, not '%s'",
                            transport);
    if (lun > LUN_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "iscsi: 'lun' is a number up to %d",
                            LUN_MAX);
    address->lun = (int)lun;
    if (set(&address->portal, description_text(description, "portal")) < 0 ||
        set(&address->target, description_text(description, "target")) < 0)
        return -ENOMEM;
    return address->portal && address->target
               ? 0
               : kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                              "iscsi: the description needs 'portal' and 'target'");
}

/* What may stand beside an URL too. */
static int parse_common(struct iscsi_address *address, const json_t *description,
                        struct kv_error *err)
{
    const char *user = description_text(description, "user");
    const char *secret = description_text(description, "password-secret");
    const char *initiator = description_text(description, "initiator-name");
    const char *digest = description_text(description, "header-digest");
    description_number(description, "timeout", &address->timeout_s);
    if (address->timeout_s > TIMEOUT_MAX_S)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "iscsi: 'timeout' is a number of seconds up to %d", TIMEOUT_MAX_S);
    if (user) {
        free(address->user);
        if (set(&address->user, user) < 0)
            return -ENOMEM;
    }
    int rc = secret ? read_password(address, secret, err) : 0;
    if (rc == 0 && digest)
        rc = read_digest(address, digest, err);
    if (rc == 0 && !address->user != !address->password)
        rc = kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                          "iscsi: CHAP needs both, 'user' and 'password-secret'");
    return rc < 0 ? rc : set(&address->initiator, initiator ? initiator : INITIATOR);
}

int iscsi_address_parse(struct iscsi_address *address, const struct iscsi_library *lib,
                        const struct block_open_options *options, struct kv_error *err)
{
    *address = (struct iscsi_address){.digest = ISCSI_HEADER_DIGEST_NONE_CRC32C};
    int rc = options->path ? parse_url(address, lib, options->path, err)
                           : parse_members(address, options->description, err);
    if (rc == 0)
        rc = parse_common(address, options->description, err);
    return rc == -ENOMEM ? kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "iscsi: out of memory") : rc;
}

void iscsi_address_free(struct iscsi_address *address)
{
    if (address->password)
        explicit_bzero(address->password, strlen(address->password));
    free(address->portal);
    free(address->target);
    free(address->initiator);
    free(address->user);
    free(address->password);
}
