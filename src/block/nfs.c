/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file on an NFS server without a mount: the protocol driver "nfs" over
 * libnfs (RFC 1813, RFC 7530). remote.h shares the connection among threads and
 * has it made anew when it is lost.
 *
 * The server may hold writes in its memory until it is told to commit them; one
 * that was started anew has forgotten those. So when the connection is lost
 * between a write and its flush, that flush fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <nfsc/libnfs.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/description.h"
#include "block/drivers.h"
#include "block/library.h"
#include "block/remote.h"

#define SECTOR 512u
#define PATIENCE_S 60 /* requests wait so long for a lost server */
#define REQUEST_TIMEOUT_MS 60000
#define TRANSFER_MAX MIB(1) /* bytes a request, if the server takes them */
#define ID_MAX 65534

/* clang-format off */
#define NFS_LIBRARY(X) \
    X(nfs_init_context) X(nfs_destroy_context) X(nfs_get_error) X(nfs_get_fd) \
    X(nfs_which_events) X(nfs_service) X(nfs_mount) X(nfs_open) X(nfs_close) X(nfs_fstat64) \
    X(nfs_parse_url_full) X(nfs_destroy_url) X(nfs_pread_async) X(nfs_pwrite_async) \
    X(nfs_fsync_async) X(nfs_ftruncate_async) X(nfs_fstat64_async) X(nfs_set_autoreconnect) \
    X(nfs_set_timeout) X(nfs_set_uid) X(nfs_set_gid) X(nfs_set_tcp_syncnt) X(nfs_get_readmax) \
    X(nfs_get_writemax)
/* clang-format on */

static struct {
#define X(name) __typeof__(name) *name;
    NFS_LIBRARY(X)
#undef X
} lib;

static const struct library_symbol symbols[] = {
#define X(function) {#function, &lib.function},
    NFS_LIBRARY(X)
#undef X
        {NULL, NULL},
};

static struct library library = LIBRARY("libnfs.so.13", "libnfs13", "Images over NFS", symbols);

/* A connection: remote.h's handle. */
struct mount {
    struct nfs_context *context;
    struct nfsfh *file;
};

struct nfs_disk {
    struct remote remote;
    char *url;           /* NULL: what follows */
    char *server, *path; /* path: of the file */
    char *name;          /* for the log */
    uint64_t uid, gid, syn_count;
    bool given_uid, given_gid;
    bool readonly;

    uint64_t size; /* of the first connection; bytes, any number */
    uint64_t read_max, write_max;
    bool opened;
    atomic_bool broken;    /* the library gave requests back unanswered */
    atomic_uint mounts;    /* connections made */
    atomic_uint unflushed; /* the connection of writes that were not flushed; 0: none */
};

enum nfs_command { NFS_READ, NFS_WRITE, NFS_FLUSH, NFS_RESIZE, NFS_STAT };

struct nfs_op {
    enum nfs_command command;
    uint64_t offset, len;
    uint8_t *buffer;
    uint64_t done;            /* bytes that were transferred */
    struct nfs_stat_64 *stat; /* STAT; filled */
    unsigned mount;           /* number of the connection that it went over */
    struct remote_op remote;
    struct nfs_disk *disk;
};

/* ------------------------------------------------------------------------- connecting */

static int say_why(const struct nfs_disk *disk, struct nfs_context *context, int code,
                   const char *what, struct kv_error *err)
{
    const char *why = lib.nfs_get_error(context);
    return kv_error_set(err, KV_ERR_BLOCK, code, "nfs: '%s': %s: %s", disk->name, what,
                        why ? why : "no answer");
}

/* The export's folder and the file in it. */
static int split_path(const char *path, char **folder, char **file)
{
    const char *slash = strrchr(path, '/');
    *folder = slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
    *file = strdup(slash);
    return *folder && *file ? 0 : -ENOMEM;
}

static int open_file(const struct nfs_disk *disk, struct mount *mount, const char *server,
                     const char *folder, const char *file, struct kv_error *err)
{
    struct nfs_context *context = mount->context;
    int rc = lib.nfs_mount(context, server, folder);
    if (rc < 0)
        return say_why(disk, context, -rc, "the mount failed", err);
    rc = lib.nfs_open(context, file, disk->readonly ? O_RDONLY : O_RDWR, &mount->file);
    if (rc < 0)
        return say_why(disk, context, -rc, "the file cannot be opened", err);
    return 0;
}

static int mount_described(const struct nfs_disk *disk, struct mount *mount, struct kv_error *err)
{
    cleanup_free char *folder = NULL, *file = NULL;
    if (disk->given_uid)
        lib.nfs_set_uid(mount->context, (int)disk->uid);
    if (disk->given_gid)
        lib.nfs_set_gid(mount->context, (int)disk->gid);
    if (disk->syn_count)
        lib.nfs_set_tcp_syncnt(mount->context, (int)disk->syn_count);
    int rc = split_path(disk->path, &folder, &file);
    return rc < 0 ? rc : open_file(disk, mount, disk->server, folder, file, err);
}

static int mount_url(const struct nfs_disk *disk, struct mount *mount, struct kv_error *err)
{
    struct nfs_url *url = lib.nfs_parse_url_full(mount->context, disk->url);
    if (!url)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': nfs://SERVER/PATH[?uid=N&gid=N...] is expected", disk->url);
    int rc = open_file(disk, mount, url->server, url->path, url->file, err);
    lib.nfs_destroy_url(url);
    return rc;
}

static void free_mount(struct mount *mount)
{
    if (mount->context)
        lib.nfs_destroy_context(mount->context);
    free(mount);
}

static int check_file(struct nfs_disk *disk, struct mount *mount, struct kv_error *err)
{
    struct nfs_stat_64 stat;
    int rc = lib.nfs_fstat64(mount->context, mount->file, &stat);
    if (rc < 0)
        return say_why(disk, mount->context, -rc, "the file's size", err);
    if ((stat.nfs_mode & S_IFMT) != S_IFREG || stat.nfs_size > INT64_MAX - SECTOR)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "nfs: '%s' is no regular file", disk->name);
    if (disk->opened && stat.nfs_size < disk->size)
        return kv_error_set(err, KV_ERR_BLOCK, EIO, "nfs: '%s' came back smaller", disk->name);
    if (!disk->opened) {
        disk->size = stat.nfs_size;
        disk->read_max =
            MIN(MAX(lib.nfs_get_readmax(mount->context), (uint64_t)SECTOR), TRANSFER_MAX);
        disk->write_max =
            MIN(MAX(lib.nfs_get_writemax(mount->context), (uint64_t)SECTOR), TRANSFER_MAX);
    }
    return 0;
}

static int nfs_connect(void *opaque, int timeout_ms, void **out, struct kv_error *err)
{
    struct nfs_disk *disk = opaque;
    struct mount *mount = calloc(1, sizeof(*mount));
    if (mount)
        mount->context = lib.nfs_init_context();
    if (!mount || !mount->context) {
        free(mount);
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "nfs: out of memory");
    }
    lib.nfs_set_autoreconnect(mount->context, 0);
    lib.nfs_set_timeout(mount->context, timeout_ms);
    int rc = disk->url ? mount_url(disk, mount, err) : mount_described(disk, mount, err);
    if (rc == 0)
        rc = check_file(disk, mount, err);
    if (rc < 0) {
        free_mount(mount);
        return rc;
    }
    /* The parameters of an URL may have set it otherwise. */
    lib.nfs_set_autoreconnect(mount->context, 0);
    lib.nfs_set_timeout(mount->context, REQUEST_TIMEOUT_MS);
    disk->opened = true;
    atomic_store(&disk->broken, false);
    atomic_fetch_add(&disk->mounts, 1);
    *out = mount;
    return 0;
}

static void nfs_disconnect(void *opaque, void *handle)
{
    free_mount(handle);
}

static int mount_fd(void *handle)
{
    const struct mount *mount = handle;
    return lib.nfs_get_fd(mount->context);
}

static short mount_events(void *handle)
{
    const struct mount *mount = handle;
    return (short)lib.nfs_which_events(mount->context);
}

static bool mount_serve(void *opaque, void *handle, short revents)
{
    struct nfs_disk *disk = opaque;
    const struct mount *mount = handle;
    return lib.nfs_service(mount->context, revents) >= 0 && !atomic_load(&disk->broken);
}

static const struct remote_ops mount_ops = {
    .connect = nfs_connect,
    .disconnect = nfs_disconnect,
    .fd = mount_fd,
    .events = mount_events,
    .serve = mount_serve,
};

/* --------------------------------------------------------------------------- requests */

/* Under the lock, from within the library. */
static void op_over(int result, struct nfs_context *context, void *data, void *opaque)
{
    struct nfs_op *op = opaque;
    /* So the library says that there is no connection, that it was closed, or a time is over. */
    if (result == -EFAULT || result == -EINTR) {
        atomic_store(&op->disk->broken, true);
        result = -ENOTCONN;
    }
    if (result > 0) {
        op->done = MIN((uint64_t)result, op->len);
        if (op->command == NFS_READ)
            memcpy(op->buffer, data, op->done);
        result = 0;
    } else if (result == 0 && op->stat) {
        *op->stat = *(const struct nfs_stat_64 *)data;
    }
    remote_finish(&op->remote, result);
}

static int send_op(struct remote_op *remote_op, void *handle)
{
    struct nfs_op *op = container_of(remote_op, struct nfs_op, remote);
    const struct mount *mount = handle;
    struct nfs_context *context = mount->context;
    int rc = -1;
    op->done = 0;
    op->mount = atomic_load(&op->disk->mounts);
    switch (op->command) {
    case NFS_READ:
        rc = lib.nfs_pread_async(context, mount->file, op->offset, op->len, op_over, op);
        break;
    case NFS_WRITE:
        rc = lib.nfs_pwrite_async(context, mount->file, op->offset, op->len, op->buffer, op_over,
                                  op);
        break;
    case NFS_FLUSH:
        rc = lib.nfs_fsync_async(context, mount->file, op_over, op);
        break;
    case NFS_RESIZE:
        rc = lib.nfs_ftruncate_async(context, mount->file, op->len, op_over, op);
        break;
    case NFS_STAT:
        rc = lib.nfs_fstat64_async(context, mount->file, op_over, op);
        break;
    }
    return rc == 0 ? 0 : -ENOTCONN;
}

static int run(struct nfs_disk *disk, struct nfs_op *op)
{
    op->disk = disk;
    op->remote.send = send_op;
    int rc = remote_run(&disk->remote, &op->remote);
    return rc == -ENOTCONN ? -EIO : rc;
}

static int transfer(struct nfs_disk *disk, enum nfs_command command, uint64_t offset,
                    uint8_t *buffer, uint64_t len)
{
    uint64_t max = command == NFS_READ ? disk->read_max : disk->write_max;
    while (len) {
        struct nfs_op op = {
            .command = command, .offset = offset, .len = MIN(len, max), .buffer = buffer};
        int rc = run(disk, &op);
        if (rc < 0)
            return rc;
        if (op.done == 0 && command == NFS_WRITE)
            return -EIO;
        if (op.done == 0) { /* the end of the file */
            memset(buffer, 0, len);
            return 0;
        }
        if (command == NFS_WRITE)
            atomic_store(&disk->unflushed, op.mount);
        offset += op.done;
        buffer += op.done;
        len -= op.done;
    }
    return 0;
}

static int nfs_preadv(struct block_node *node, uint64_t offset, uint64_t len,
                      const struct iovec *iov, unsigned count)
{
    if (count == 1)
        return transfer(node->state, NFS_READ, offset, iov->iov_base, len);
    cleanup_free uint8_t *buffer = malloc(len);
    int rc = buffer ? transfer(node->state, NFS_READ, offset, buffer, len) : -ENOMEM;
    if (rc == 0)
        iov_from_buffer(iov, count, 0, buffer, len);
    return rc;
}

static int nfs_flush(struct block_node *node)
{
    struct nfs_disk *disk = node->state;
    struct nfs_op op = {.command = NFS_FLUSH};
    unsigned unflushed = atomic_exchange(&disk->unflushed, 0);
    int rc = unflushed ? run(disk, &op) : 0;
    return rc == 0 && unflushed && op.mount != unflushed ? -EIO : rc;
}

static int nfs_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                       const struct iovec *iov, unsigned count, unsigned flags)
{
    cleanup_free uint8_t *buffer = NULL;
    uint8_t *data = iov->iov_base;
    if (flags & BLOCK_COMPRESSED)
        return -ENOTSUP;
    if (count > 1) {
        data = buffer = malloc(len);
        if (!buffer)
            return -ENOMEM;
        iov_to_buffer(iov, count, 0, buffer, len);
    }
    int rc = transfer(node->state, NFS_WRITE, offset, data, len);
    return rc == 0 && block_is_durable(node, flags & BLOCK_FUA) ? nfs_flush(node) : rc;
}

static int ask(struct nfs_disk *disk, struct nfs_stat_64 *stat)
{
    struct nfs_op op = {.command = NFS_STAT, .stat = stat};
    return run(disk, &op);
}

static int nfs_get_size(struct block_node *node, uint64_t *size, struct kv_error *err)
{
    struct nfs_stat_64 stat;
    int rc = ask(node->state, &stat);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': size of the file", node->name);
    *size = ALIGN_UP(stat.nfs_size, (uint64_t)SECTOR);
    return 0;
}

static int nfs_resize(struct block_node *node, uint64_t size, struct kv_error *err)
{
    struct nfs_disk *disk = node->state;
    struct nfs_op op = {.command = NFS_RESIZE, .len = size};
    int rc = run(disk, &op);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s' cannot be made %" PRIu64 " bytes",
                              node->name, size);
    disk->size = size;
    return 0;
}

static int64_t nfs_allocated_size(const struct block_node *node)
{
    struct nfs_stat_64 stat;
    int rc = ask(node->state, &stat);
    return rc < 0 ? rc : (int64_t)stat.nfs_used;
}

/* The server does not say where holes are. */
static int nfs_status(struct block_node *node, uint64_t offset, uint64_t len,
                      struct block_extent *out)
{
    out->len = len;
    out->flags = BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET | BLOCK_STATUS_DATA;
    out->host_offset = offset;
    out->file = node;
    return 0;
}

/* ------------------------------------------------------------------------ open, close */

static int parse(struct nfs_disk *disk, const struct block_open_options *options,
                 struct kv_error *err)
{
    const json_t *d = options->description;
    const char *type = description_text(d, "server.type"),
               *host = description_text(d, "server.host"), *path = description_text(d, "path");
    if (options->path) {
        disk->url = strdup(options->path);
        disk->name = strdup(options->path);
        return disk->url && disk->name ? 0 : -ENOMEM;
    }
    if (!type || strcmp(type, "inet") != 0 || !host || !path || path[0] != '/' || !path[1])
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "nfs: the description needs 'server' with 'type' inet and 'host', and "
                            "'path' from the root on");
    disk->given_uid = description_number(d, "user", &disk->uid);
    disk->given_gid = description_number(d, "group", &disk->gid);
    description_number(d, "tcp-syn-count", &disk->syn_count);
    if (disk->uid > ID_MAX || disk->gid > ID_MAX || disk->syn_count > 255)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "nfs: 'user' and 'group' are numbers up to %d, 'tcp-syn-count' up to "
                            "255",
                            ID_MAX);
    disk->server = strdup(host);
    disk->path = strdup(path);
    disk->name = strdup(path);
    return disk->server && disk->path && disk->name ? 0 : -ENOMEM;
}

static void disk_free(struct nfs_disk *disk)
{
    free(disk->url);
    free(disk->server);
    free(disk->path);
    free(disk->name);
    free(disk);
}

static void nfs_driver_close(struct block_node *node)
{
    struct nfs_disk *disk = node->state;
    struct mount *mount = disk->remote.handle;
    if (!node->info.readonly && node->options.cache != BLOCK_CACHE_UNSAFE)
        nfs_flush(node);
    if (mount && !atomic_load(&disk->broken)) {
        lib.nfs_set_timeout(mount->context, 1000);
        lib.nfs_close(mount->context, mount->file);
    }
    remote_close(&disk->remote);
    disk_free(disk);
}

static int nfs_driver_open(struct block_node *node, const struct block_open_options *options,
                           struct kv_error *err)
{
    struct nfs_disk *disk = calloc(1, sizeof(*disk));
    if (!disk)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    disk->readonly = options->readonly;
    int rc = library_load(&library, err);
    if (rc == 0)
        rc = parse(disk, options, err);
    if (rc == -ENOMEM)
        kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    if (rc == 0)
        rc = remote_open(&disk->remote, &mount_ops, disk, 0, err);
    if (rc < 0) {
        disk_free(disk);
        return rc;
    }
    disk->remote.what = disk->name;
    disk->remote.patience_s = PATIENCE_S;
    node->state = disk;
    node->info = (struct block_info){
        .size = ALIGN_UP(disk->size, (uint64_t)SECTOR),
        .request_alignment = 1,
        .logical_block = SECTOR,
        .physical_block = 4096,
        .readonly = options->readonly,
        .growable = !options->readonly,
        .discard_alignment = SECTOR,
        .volatile_cache =
            options->cache == BLOCK_CACHE_WRITEBACK || options->cache == BLOCK_CACHE_NONE,
    };
    return 0;
}

static const char *const prefixes[] = {"nfs:", NULL};

static const struct block_key nfs_keys[] = {
    {"group", BLOCK_KEY_NUMBER},
    {"path", BLOCK_KEY_TEXT},
    {"server.host", BLOCK_KEY_TEXT},
    {"server.type", BLOCK_KEY_TEXT},
    {"tcp-syn-count", BLOCK_KEY_NUMBER},
    {"user", BLOCK_KEY_NUMBER},
    {NULL, 0},
};

const struct block_driver block_nfs_driver = {
    .name = "nfs",
    .keys = nfs_keys,
    .is_protocol = true,
    .prefixes = prefixes,
    .open = nfs_driver_open,
    .close = nfs_driver_close,
    .get_size = nfs_get_size,
    .resize = nfs_resize,
    .allocated_size = nfs_allocated_size,
    .preadv = nfs_preadv,
    .pwritev = nfs_pwritev,
    .flush = nfs_flush,
    .status = nfs_status,
};
