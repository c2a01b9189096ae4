/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Volumes' bytes over streams, with holes where the client wants them. Each transfer has a thread,
 * which reads or writes the file, and a socket to the stream (rpc/stream.h says what goes
 * through it).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "block/driver.h"
#include "daemon/storage/internal.h"
#include "rpc/stream.h"

struct transfer {
    struct volume_use use;
    struct storage *storage;
    bool upload, sparse;
    int file, socket;
    uint64_t offset, left; /* bytes that may still be moved */

    pthread_mutex_t lock;
    struct rpc_stream *stream; /* lock; NULL: it is over */
    unsigned refs;             /* lock; the thread's and the stream's */
};

static void unref(struct transfer *transfer)
{
    pthread_mutex_lock(&transfer->lock);
    bool last = --transfer->refs == 0;
    pthread_mutex_unlock(&transfer->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&transfer->lock);
    free(transfer);
}

static void on_ended(void *opaque, enum rpc_stream_end how)
{
    struct transfer *transfer = opaque;
    pthread_mutex_lock(&transfer->lock);
    transfer->stream = NULL;
    pthread_mutex_unlock(&transfer->lock);
    unref(transfer);
}

static void tell_failure(struct transfer *transfer, int code)
{
    struct kv_error err = {0};
    storage_error(&err, VIR_ERR_SYSTEM_ERROR, "%s volume '%s' failed: %s",
                  transfer->upload ? "writing" : "reading", transfer->use.config.path,
                  strerror(code));
    pthread_mutex_lock(&transfer->lock);
    if (transfer->stream)
        rpc_stream_abort(transfer->stream, &err);
    pthread_mutex_unlock(&transfer->lock);
}

/* ---------------------------------------------------------------------------- messages */

/* -EPIPE: the stream is over. */
static int send_piece(struct transfer *transfer, int kind, uint64_t len, void *data, size_t size)
{
    struct rpc_stream_piece piece = {.kind = kind, .len = len};
    struct iovec iov[] = {{&piece, sizeof(piece)}, {data, size}};
    ssize_t n;
    do {
        n = writev(transfer->socket, iov, size ? 2 : 1);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -EPIPE : 0;
}

/* 1: a message; 0: the client finished, or is gone. */
static int receive_piece(struct transfer *transfer, struct rpc_stream_piece *piece, void *data)
{
    struct iovec iov[] = {{piece, sizeof(*piece)}, {data, RPC_PIECE_DATA_MAX}};
    ssize_t n;
    do {
        n = readv(transfer->socket, iov, 2);
    } while (n < 0 && errno == EINTR);
    return n >= (ssize_t)sizeof(*piece);
}

/* ------------------------------------------------------------------------------ upload */

static int write_data(struct transfer *transfer, const uint8_t *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n =
            pwrite(transfer->file, data + done, len - done, (off_t)(transfer->offset + done));
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int write_zeros(struct transfer *transfer, uint64_t len)
{
    int r = 0;
    for (uint64_t done = 0; done < len && r == 0; done += MIN(len - done, BLOCK_ZEROS_SIZE)) {
        ssize_t n = pwrite(transfer->file, block_zeros(), MIN(len - done, BLOCK_ZEROS_SIZE),
                           (off_t)(transfer->offset + done));
        r = n < 0 ? -errno : 0;
    }
    return r;
}

/* What was there becomes zeros, and the file as long as the hole's end. */
static int write_hole(struct transfer *transfer, uint64_t len)
{
    struct stat st;
    uint64_t end = transfer->offset + len;
    if (fstat(transfer->file, &st) < 0)
        return -errno;
    uint64_t size = (uint64_t)st.st_size;
    if (transfer->offset < size && len &&
        fallocate(transfer->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)transfer->offset, (off_t)len) < 0) {
        if (errno != EOPNOTSUPP)
            return -errno;
        return write_zeros(transfer, len);
    }
    return end > size && ftruncate(transfer->file, (off_t)end) < 0 ? -errno : 0;
}

static int take_in(struct transfer *transfer)
{
    struct rpc_stream_piece piece;
    cleanup_free uint8_t *data = malloc(RPC_PIECE_DATA_MAX);
    int r = data ? 0 : -ENOMEM;
    while (r == 0 && receive_piece(transfer, &piece, data)) {
        if (piece.len > transfer->left)
            return -ENOSPC;
        r = piece.kind == RPC_PIECE_HOLE ? write_hole(transfer, piece.len)
                                         : write_data(transfer, data, piece.len);
        transfer->offset += piece.len;
        transfer->left -= piece.len;
    }
    return r == 0 && fdatasync(transfer->file) < 0 ? -errno : r;
}

/* ---------------------------------------------------------------------------- download */

/* Bytes from offset on that are a hole, or are none, at most what is left. */
static uint64_t extent(struct transfer *transfer, bool *hole)
{
    off_t at = (off_t)transfer->offset;
    off_t data = lseek(transfer->file, at, SEEK_DATA);
    *hole = data != at && (data >= 0 || errno == ENXIO);
    if (*hole)
        return data < 0 ? transfer->left : MIN(transfer->left, (uint64_t)(data - at));
    off_t end = data < 0 ? -1 : lseek(transfer->file, at, SEEK_HOLE);
    return end <= at ? transfer->left : MIN(transfer->left, (uint64_t)(end - at));
}

static int send_data(struct transfer *transfer, uint64_t len, uint8_t *buffer)
{
    while (len) {
        ssize_t n =
            pread(transfer->file, buffer, MIN(len, RPC_PIECE_DATA_MAX), (off_t)transfer->offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            transfer->left = n < 0 ? transfer->left : 0; /* it became shorter */
            return n < 0 ? -errno : 0;
        }
        int r = send_piece(transfer, RPC_PIECE_DATA, (uint64_t)n, buffer, (size_t)n);
        if (r < 0)
            return r;
        transfer->offset += (uint64_t)n;
        transfer->left -= (uint64_t)n;
        len -= (uint64_t)n;
    }
    return 0;
}

static int give_out(struct transfer *transfer)
{
    cleanup_free uint8_t *buffer = malloc(RPC_PIECE_DATA_MAX);
    int r = buffer ? 0 : -ENOMEM;
    while (r == 0 && transfer->left) {
        bool hole = false;
        uint64_t len = transfer->sparse ? extent(transfer, &hole) : transfer->left;
        if (!hole) {
            r = send_data(transfer, len, buffer);
            continue;
        }
        r = send_piece(transfer, RPC_PIECE_HOLE, len, NULL, 0);
        transfer->offset += len;
        transfer->left -= len;
    }
    return r;
}

/* -------------------------------------------------------------------------- the thread */

static void *run(void *opaque)
{
    struct transfer *transfer = opaque;
    struct storage *storage = transfer->storage;
    int r = transfer->upload ? take_in(transfer) : give_out(transfer);
    if (r < 0)
        tell_failure(transfer, -r);
    close(transfer->file);
    struct pool *pool = transfer->use.pool;
    pthread_mutex_lock(&storage->lock);
    pool_ref(pool);
    pthread_mutex_unlock(&storage->lock);
    volume_use_end(&transfer->use);
    if (transfer->upload)
        pool_tell_refresh(pool);
    pool_put(pool);
    /* Now that the volume is free again, the client may hear of it. */
    if (r == 0)
        send_piece(transfer, RPC_PIECE_DONE, 0, NULL, 0);
    close(transfer->socket);
    unref(transfer);
    pthread_mutex_lock(&storage->lock);
    if (--storage->transfers == 0)
        pthread_cond_broadcast(&storage->no_transfers);
    pthread_mutex_unlock(&storage->lock);
    return NULL;
}

/* Detached: the storage counts them. */
static int start_thread(struct transfer *transfer)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_mutex_lock(&transfer->storage->lock);
    transfer->storage->transfers++;
    pthread_mutex_unlock(&transfer->storage->lock);
    int code = pthread_create(&thread, &attr, run, transfer);
    pthread_attr_destroy(&attr);
    if (code) {
        pthread_mutex_lock(&transfer->storage->lock);
        transfer->storage->transfers--;
        pthread_mutex_unlock(&transfer->storage->lock);
    }
    return code;
}

/* -------------------------------------------------------------------------- beginning */

static int open_file(struct transfer *transfer, struct kv_error *err)
{
    const char *path = transfer->use.config.path;
    struct stat st;
    transfer->file =
        open(path, (transfer->upload ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (transfer->file < 0 || fstat(transfer->file, &st) < 0)
        return storage_error(err, VIR_ERR_SYSTEM_ERROR, "Unable to open stream for '%s': %s", path,
                             strerror(errno));
    if (!S_ISREG(st.st_mode))
        return storage_error(err, VIR_ERR_OPERATION_UNSUPPORTED, "'%s' is no regular file", path);
    if (transfer->upload)
        return image_lock(transfer->file, path, false, false, err);
    uint64_t there = (uint64_t)st.st_size - MIN((uint64_t)st.st_size, transfer->offset);
    transfer->left = MIN(transfer->left, there);
    return 0;
}

/* Takes the use over when it succeeds. */
static int open_transfer(struct rpc_call *call, struct transfer *transfer, struct kv_error *err)
{
    int sockets[2];
    int r = open_file(transfer, err);
    if (r < 0)
        return r;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        return storage_error(err, VIR_ERR_SYSTEM_ERROR, "no sockets for a stream: %s",
                             strerror(errno));
    unsigned flags =
        (transfer->upload ? RPC_PIECES_FROM_CLIENT : 0) | (transfer->sparse ? RPC_PIECES_HOLES : 0);
    transfer->socket = sockets[0];
    r = rpc_stream_join_pieces(call, sockets[1], flags, on_ended, transfer, &transfer->stream, err);
    if (r < 0)
        return r;
    transfer->refs++; /* the stream's */
    transfer->refs++; /* the thread's */
    int code = start_thread(transfer);
    if (code) {
        unref(transfer);
        return storage_error(err, VIR_ERR_SYSTEM_ERROR, "no thread for a stream: %s",
                             strerror(code));
    }
    return 0;
}

static int begin(struct rpc_call *call, const wire_volume *wire, struct transfer *transfer,
                 struct kv_error *err)
{
    struct pool *pool;
    struct volume *volume = call_volume_lock(call, wire, &pool, err);
    if (!volume)
        return -ENOENT;
    int r = volume_use_begin(&transfer->use, pool, volume, transfer->upload, err);
    pthread_mutex_unlock(&pool->storage->lock);
    pool_put(pool);
    return r;
}

static int move(struct rpc_call *call, const REMOTE_ARGS(STORAGE_VOL_UPLOAD) * in, bool upload,
                bool sparse, struct kv_error *err)
{
    if (in->offset > INT64_MAX || in->length > INT64_MAX)
        return storage_error(err, VIR_ERR_OVERFLOW, "offset %ju, length %ju", (uintmax_t)in->offset,
                             (uintmax_t)in->length);
    struct transfer *transfer = malloc(sizeof(*transfer));
    if (!transfer)
        return storage_no_memory(err);
    *transfer = (struct transfer){
        .storage = storage_of(call),
        .upload = upload,
        .sparse = sparse,
        .file = -1,
        .socket = -1,
        .offset = in->offset,
        .left = in->length ? in->length : INT64_MAX - in->offset,
        .refs = 1,
    };
    pthread_mutex_init(&transfer->lock, NULL);
    int r = begin(call, &in->volume, transfer, err);
    if (r == 0 && (r = open_transfer(call, transfer, err)) < 0) {
        if (transfer->file >= 0)
            close(transfer->file);
        if (transfer->socket >= 0)
            close(transfer->socket);
        volume_use_end(&transfer->use);
    }
    unref(transfer);
    return r;
}

CALL(upload)
{
    const REMOTE_ARGS(STORAGE_VOL_UPLOAD) *in = args;
    if (storage_check_flags(call, in->flags, VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM, err) < 0)
        return -EINVAL;
    return move(call, in, true, in->flags & VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM, err);
}

CALL(download)
{
    const REMOTE_ARGS(STORAGE_VOL_DOWNLOAD) *in = args;
    if (storage_check_flags(call, in->flags, VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM, err) < 0)
        return -EINVAL;
    return move(call, in, false, in->flags & VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM, err);
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_STORAGE_VOL_UPLOAD, upload, 0},
    {REMOTE_PROC_STORAGE_VOL_DOWNLOAD, download, 0},
};
const struct storage_rows storage_transfer_rows = {rows, ARRAY_SIZE(rows)};
