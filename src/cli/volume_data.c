/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Volumes' contents: from files and to files over streams, with their holes where --sparse asks
 * for it, and copies that the daemon makes.
 */
#include <errno.h>
#include <fcntl.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/args.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "cli/xml.h"

#define PIECE_BYTES (256 << 10)

struct transfer {
    struct cli *cli;
    const wire_volume *volume;
    const char *file;
    uint64_t offset, length; /* length 0: up to the end */
    bool sparse;
    int fd;
    struct kvasir_stream *stream;
    uint64_t done, total; /* total 0: unknown */
    const char *why;      /* what failed here; NULL: the library has told */
    char *piece;
};

static int prepare(struct cli *cli, struct transfer *transfer)
{
    *transfer = (struct transfer){.cli = cli, .fd = -1, .sparse = arg_on(cli, "sparse")};
    if (arg_u64(cli, "offset", &transfer->offset) < 0 ||
        arg_u64_wrapped(cli, "length", &transfer->length) < 0)
        return -1;
    transfer->volume = lookup_volume(cli, "vol", "pool");
    if (!transfer->volume || arg_text(cli, "file", &transfer->file) < 0)
        return -1;
    transfer->piece = cli_alloc(cli, PIECE_BYTES);
    return 0;
}

static void end(struct transfer *transfer)
{
    progress_end();
    if (transfer->stream)
        kvasir_stream_free(transfer->stream);
    if (transfer->fd >= 0)
        close(transfer->fd);
}

static int fail_here(struct transfer *transfer, const char *what)
{
    transfer->why = cli_text(transfer->cli, "%s: %s", what, strerror(errno));
    return -1;
}

static void moved(struct transfer *transfer, const char *what, uint64_t bytes)
{
    transfer->done += bytes;
    progress_bytes(transfer->cli, what, transfer->done, transfer->total);
}

/* What was said, and below it why. */
static int tell(struct transfer *transfer, const char *said)
{
    if (transfer->why)
        cli_fail(transfer->cli, VIR_ERR_SYSTEM_ERROR, "%s", transfer->why);
    return cli_error(transfer->cli, "%s volume %s", said, transfer->volume->name);
}

/* --------------------------------------------------------------------- upload */

/* The bytes from here on that are all data or all a hole. 0: the file's end. */
static int next_extent(struct transfer *transfer, off_t at, off_t size, bool *hole, uint64_t *len)
{
    off_t data = transfer->sparse ? lseek(transfer->fd, at, SEEK_DATA) : at;
    if (data < 0 && errno != ENXIO)
        return fail_here(transfer, "inData handler failed");
    *hole = data != at;
    if (*hole) {
        *len = (uint64_t)((data < 0 ? size : data) - at);
        return 0;
    }
    off_t until = transfer->sparse ? lseek(transfer->fd, at, SEEK_HOLE) : size;
    *len = (uint64_t)((until < 0 ? size : until) - at);
    return 0;
}

static int send_bytes(struct transfer *transfer, off_t at, uint64_t len)
{
    struct cli *cli = transfer->cli;
    while (len) {
        ssize_t n = pread(transfer->fd, transfer->piece, MIN(len, (uint64_t)PIECE_BYTES), at);
        if (n < 0)
            return fail_here(transfer, "send handler failed");
        if (n == 0)
            return 0; /* it has become shorter */
        if (kvasir_stream_send(transfer->stream, transfer->piece, (size_t)n, 0, &cli->error) < 0)
            return -1;
        at += n;
        len -= (uint64_t)n;
        moved(transfer, "uploading", (uint64_t)n);
    }
    return 0;
}

static int send_file(struct transfer *transfer)
{
    struct stat st;
    if (fstat(transfer->fd, &st) < 0)
        return fail_here(transfer, "send handler failed");
    off_t size = st.st_size;
    if (S_ISBLK(st.st_mode))
        size = lseek(transfer->fd, 0, SEEK_END);
    if (S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return fail_here(transfer, "send handler failed");
    }
    transfer->total = (uint64_t)size;
    for (off_t at = 0; at < size;) {
        bool hole;
        uint64_t len;
        if (next_extent(transfer, at, size, &hole, &len) < 0)
            return -1;
        if (hole && kvasir_stream_send_hole(transfer->stream, len, &transfer->cli->error) < 0)
            return -1;
        if (!hole && send_bytes(transfer, at, len) < 0)
            return -1;
        at += (off_t)len;
    }
    return 0;
}

static int upload(struct transfer *transfer)
{
    struct cli *cli = transfer->cli;
    transfer->fd = open(transfer->file, O_RDONLY | O_CLOEXEC);
    if (transfer->fd < 0)
        return cli_error(cli, "cannot read %s", transfer->file);
    const struct kvasir_procedure procedure = kvasir_describe_STORAGE_VOL_UPLOAD();
    const REMOTE_ARGS(STORAGE_VOL_UPLOAD) args = {
        .volume = *transfer->volume,
        .offset = transfer->offset,
        .length = transfer->length,
        .flags = transfer->sparse ? VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM : 0,
    };
    if (kvasir_call_stream(cli->conn, &procedure, &args, NULL, &transfer->stream, &cli->error) < 0)
        return tell(transfer, "cannot upload to");
    if (send_file(transfer) < 0)
        return tell(transfer, "cannot send data to");
    if (kvasir_stream_finish(transfer->stream, &cli->error) < 0)
        return tell(transfer, "cannot close");
    return 0;
}

int volume_upload(struct cli *cli)
{
    struct transfer transfer;
    if (prepare(cli, &transfer) < 0)
        return -1;
    int r = upload(&transfer);
    end(&transfer);
    return r;
}

/* ------------------------------------------------------------------- download */

static int take_hole(struct transfer *transfer)
{
    uint64_t len;
    if (kvasir_stream_receive_hole(transfer->stream, &len, &transfer->cli->error) < 0)
        return -1;
    off_t at = lseek(transfer->fd, (off_t)len, SEEK_CUR);
    if (at < 0 || ftruncate(transfer->fd, at) < 0)
        return fail_here(transfer, "recvHole handler failed");
    moved(transfer, "downloading", len);
    return 0;
}

static int take_bytes(struct transfer *transfer, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = write(transfer->fd, transfer->piece + done, len - done);
        if (n < 0 && errno != EINTR)
            return fail_here(transfer, "recv handler failed");
        done += n > 0 ? (size_t)n : 0;
    }
    moved(transfer, "downloading", len);
    return 0;
}

static int receive_file(struct transfer *transfer)
{
    for (;;) {
        ssize_t n = kvasir_stream_receive(transfer->stream, transfer->piece, PIECE_BYTES, 0,
                                          &transfer->cli->error);
        if (n == 0)
            return 0;
        if (n < 0 && n != -ENODATA)
            return -1;
        if (n > 0 ? take_bytes(transfer, (size_t)n) < 0 : take_hole(transfer) < 0)
            return -1;
    }
}

static int download(struct transfer *transfer)
{
    struct cli *cli = transfer->cli;
    const struct kvasir_procedure procedure = kvasir_describe_STORAGE_VOL_DOWNLOAD();
    const REMOTE_ARGS(STORAGE_VOL_DOWNLOAD) args = {
        .volume = *transfer->volume,
        .offset = transfer->offset,
        .length = transfer->length,
        .flags = transfer->sparse ? VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM : 0,
    };
    const REMOTE_RET(STORAGE_VOL_GET_INFO) *info =
        CALL(cli, STORAGE_VOL_GET_INFO, .volume = *transfer->volume);
    if (info && info->capacity > transfer->offset)
        transfer->total = info->capacity - transfer->offset;
    if (transfer->length)
        transfer->total = MIN(transfer->total, transfer->length);
    if (kvasir_call_stream(cli->conn, &procedure, &args, NULL, &transfer->stream, &cli->error) < 0)
        return tell(transfer, "cannot download from");
    if (receive_file(transfer) < 0)
        return tell(transfer, "cannot receive data from");
    if (close(transfer->fd) < 0) {
        transfer->fd = -1;
        return cli_error(cli, "cannot close file %s", transfer->file);
    }
    transfer->fd = -1;
    if (kvasir_stream_finish(transfer->stream, &cli->error) < 0)
        return tell(transfer, "cannot close");
    return 0;
}

int volume_download(struct cli *cli)
{
    struct transfer transfer;
    bool made = true;
    if (prepare(cli, &transfer) < 0)
        return -1;
    transfer.fd = open(transfer.file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (transfer.fd < 0) {
        made = false;
        if (errno == EEXIST)
            transfer.fd = open(transfer.file, O_WRONLY | O_TRUNC | O_CLOEXEC);
    }
    if (transfer.fd < 0)
        return cli_error(cli, "cannot create %s", transfer.file);
    int r = download(&transfer);
    end(&transfer);
    if (r < 0 && made)
        unlink(transfer.file);
    return r;
}

/* --------------------------------------------------------------------- copies */

static unsigned copy_flags(const struct cli *cli)
{
    static const struct arg_flag flags[] = {
        {"prealloc-metadata", VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA},
        {"reflink", VIR_STORAGE_VOL_CREATE_REFLINK},
        {"validate", VIR_STORAGE_VOL_CREATE_VALIDATE},
        {NULL},
    };
    return arg_flags(cli, flags);
}

/* NULL with cli->error filled. */
static const wire_volume *copy(struct cli *cli, const wire_pool *pool, const char *xml,
                               const wire_volume *from)
{
    progress_start(cli, "copying", from->name);
    const REMOTE_RET(STORAGE_VOL_CREATE_XML_FROM) *made =
        CALL(cli, STORAGE_VOL_CREATE_XML_FROM, .pool = *pool, .xml = (char *)(uintptr_t)xml,
             .clonevol = *from, .flags = copy_flags(cli));
    progress_end();
    return made ? &made->volume : NULL;
}

int volume_create_from(struct cli *cli)
{
    const wire_pool *pool = lookup_pool(cli, "pool");
    const char *file = NULL;
    if (!pool || arg_text(cli, "file", &file) < 0)
        return -1;
    const wire_volume *from = lookup_volume(cli, "vol", "inputpool");
    char *xml = from ? read_text_file(cli, file) : NULL;
    if (!xml)
        return -1;
    const wire_volume *made = copy(cli, pool, xml, from);
    if (!made)
        return cli_error(cli, "Failed to create vol from %s", file);
    return out_done(cli, "Vol %s created from input vol %s", made->name, from->name);
}

int volume_clone(struct cli *cli)
{
    const char *name = NULL;
    const wire_volume *from = lookup_volume(cli, "vol", "pool");
    if (!from)
        return -1;
    const REMOTE_RET(STORAGE_POOL_LOOKUP_BY_VOLUME) *pool =
        CALL(cli, STORAGE_POOL_LOOKUP_BY_VOLUME, .volume = *from);
    if (!pool)
        return cli_error(cli, "failed to get parent pool");
    if (arg_text(cli, "newname", &name) < 0)
        return -1;
    const REMOTE_RET(STORAGE_VOL_GET_XML_DESC) *text =
        CALL(cli, STORAGE_VOL_GET_XML_DESC, .volume = *from);
    struct xml *document = text ? xml_read_as_written(cli, text->xml) : NULL;
    struct xml_node *called = document ? xml_child(xml_root(document), "name") : NULL;
    if (!called)
        return -1;
    xml_set_text(cli, called, name);
    const char *xml = xml_format(cli, xml_root(document), 0);
    if (arg_on(cli, "print-xml"))
        return out_document(cli, "xml", xml);
    const wire_volume *made = copy(cli, &pool->pool, xml, from);
    if (!made)
        return cli_error(cli, "Failed to clone vol from %s", from->name);
    return out_done(cli, "Vol %s cloned from %s", made->name, from->name);
}
