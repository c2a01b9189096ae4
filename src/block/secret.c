/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Secrets by name, for encrypted images. Wiped when they are given back or forgotten. */
#include "block/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/options.h"
#include "base/util.h"

#define MAX_LEN MIB(1) /* of a secret; larger files are not what was meant */

struct secret {
    struct list node;
    char *id;
    uint8_t *data;
    size_t len;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list secrets = {&secrets, &secrets}; /* under lock */

void secret_release(uint8_t *data, size_t len)
{
    if (data)
        explicit_bzero(data, len);
    free(data);
}

static void destroy(struct secret *secret)
{
    secret_release(secret->data, secret->len);
    free(secret->id);
    free(secret);
}

/* Under lock. */
static struct secret *find(const char *id)
{
    list_for_each (node, &secrets) {
        struct secret *secret = list_entry(node, struct secret, node);
        if (strcmp(secret->id, id) == 0)
            return secret;
    }
    return NULL;
}

static uint8_t *copy_bytes(const void *data, size_t len)
{
    uint8_t *copy = malloc(len + 1);
    if (copy) {
        memcpy(copy, data, len);
        copy[len] = 0;
    }
    return copy;
}

int secret_add(const char *id, const void *data, size_t len, struct kv_error *err)
{
    struct secret *secret = calloc(1, sizeof(*secret));
    if (secret) {
        list_init(&secret->node);
        secret->id = strdup(id);
        secret->data = copy_bytes(data, len);
        secret->len = len;
    }
    if (!secret || !secret->id || !secret->data) {
        if (secret)
            destroy(secret);
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "out of memory for secret '%s'", id);
    }
    pthread_mutex_lock(&lock);
    bool taken = find(id) != NULL;
    if (!taken)
        list_add_tail(&secrets, &secret->node);
    pthread_mutex_unlock(&lock);
    if (!taken)
        return 0;
    destroy(secret);
    return kv_error_set(err, KV_ERR_BLOCK, EEXIST, "there is a secret '%s' already", id);
}

int secret_get(const char *id, uint8_t **data, size_t *len, struct kv_error *err)
{
    pthread_mutex_lock(&lock);
    const struct secret *secret = find(id);
    uint8_t *copy = secret ? copy_bytes(secret->data, secret->len) : NULL;
    size_t copy_len = secret ? secret->len : 0;
    pthread_mutex_unlock(&lock);
    if (!secret)
        return kv_error_set(err, KV_ERR_BLOCK, ENOENT, "No secret with id '%s'", id);
    if (!copy)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "out of memory for secret '%s'", id);
    *data = copy;
    *len = copy_len;
    return 0;
}

void secret_remove(const char *id)
{
    pthread_mutex_lock(&lock);
    struct secret *secret = find(id);
    if (secret) {
        list_del(&secret->node);
        destroy(secret);
    }
    pthread_mutex_unlock(&lock);
}

void secret_clear(void)
{
    pthread_mutex_lock(&lock);
    list_for_each_safe (node, &secrets) {
        list_del(node);
        destroy(list_entry(node, struct secret, node));
    }
    pthread_mutex_unlock(&lock);
}

/* ---------------------------------------------------------------- options */

enum { FORMAT_RAW, FORMAT_BASE64 };
static const char *const formats[] = {"raw", "base64", NULL};
static const char *const types[] = {"secret", NULL};

struct description {
    int type;
    char *id, *data, *file, *keyid, *iv;
    int format;
};

static const struct option_spec specs[] = {
    OPTION_NAMED("qom-type", ENUM, struct description, type, .values = types,
                 .help = "kind of object"),
    OPTION(STRING, struct description, id, .required = true, .help = "name of the secret"),
    OPTION(STRING, struct description, data, .help = "the secret itself"),
    OPTION(STRING, struct description, file, .help = "file that holds the secret"),
    OPTION(ENUM, struct description, format, .values = formats, .help = "of data or file"),
    OPTION(STRING, struct description, keyid, .help = "not supported: encrypted secrets"),
    OPTION(STRING, struct description, iv, .help = "not supported: encrypted secrets"),
    OPTION_END,
};

/* *out: allocated, also by growing over a file whose size is not known. */
static int read_file(const char *path, uint8_t **out, size_t *len, struct kv_error *err)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, errno, "secret file '%s'", path);
    size_t room = KIB(4), used = 0;
    uint8_t *data = malloc(room);
    ssize_t n = 1;
    while (data && used < MAX_LEN && (n = read(fd, data + used, room - used)) > 0) {
        used += (size_t)n;
        if (used < room)
            continue;
        uint8_t *larger = malloc(2 * room);
        if (larger)
            memcpy(larger, data, used);
        secret_release(data, used);
        data = larger;
        room *= 2;
    }
    int code = !data ? ENOMEM : n < 0 ? errno : used >= MAX_LEN ? EFBIG : 0;
    if (code) {
        secret_release(data, data ? used : 0);
        return kv_error_errno(err, KV_ERR_BLOCK, code, "secret file '%s'", path);
    }
    *out = data;
    *len = used;
    return 0;
}

static int base64_digit(uint8_t c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* In place; white space is skipped. Bytes that come out, or -EINVAL. */
static ssize_t decode_base64(uint8_t *data, size_t len)
{
    size_t out = 0, digits = 0, padding = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < len; i++) {
        if (strchr(" \t\r\n", data[i]) && data[i])
            continue;
        if (data[i] == '=') {
            padding++;
            continue;
        }
        int digit = base64_digit(data[i]);
        if (digit < 0 || padding)
            return -EINVAL;
        bits = bits << 6 | (uint32_t)digit;
        if (++digits % 4 != 1)
            data[out++] = (uint8_t)(bits >> (4 - digits % 4) * 2 % 8);
    }
    if (padding > 2 || (digits + padding) % 4 != 0)
        return -EINVAL;
    return (ssize_t)out;
}

static int add_described(const struct description *d, struct kv_error *err)
{
    if (d->keyid || d->iv)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "secret '%s': secrets that are encrypted themselves (keyid, iv) are "
                            "not supported",
                            d->id);
    if (!d->data == !d->file)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "secret '%s': one of data and file is wanted", d->id);
    uint8_t *bytes = NULL;
    size_t len = 0;
    if (d->file) {
        int r = read_file(d->file, &bytes, &len, err);
        if (r < 0)
            return r;
    } else {
        len = strlen(d->data);
        bytes = copy_bytes(d->data, len);
        if (!bytes)
            return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "out of memory for secret '%s'", d->id);
    }
    ssize_t used = d->format == FORMAT_BASE64 ? decode_base64(bytes, len) : (ssize_t)len;
    int r = used < 0 ? kv_error_set(err, KV_ERR_BLOCK, EINVAL, "secret '%s' is no base64", d->id)
                     : secret_add(d->id, bytes, (size_t)used, err);
    secret_release(bytes, len);
    return r;
}

int secret_add_text(const char *text, struct kv_error *err)
{
    struct description d = {0};
    int r = options_parse_text(specs, "--object secret", "qom-type", text, &d, err);
    if (r == 0)
        r = add_described(&d, err);
    if (d.data)
        explicit_bzero(d.data, strlen(d.data));
    options_free(specs, &d);
    return r;
}
