/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between two switches; see channel.h. */
#include "switch/upgrade/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"

static const char magic[8] = "KVswup1";

struct header {
    char magic[8];
    uint64_t fds, json, tables; /* descriptors, bytes, bytes */
};

int channel_set_timeout(int socket)
{
    const struct timeval timeout = {.tv_sec = CHANNEL_TIMEOUT_S};
    if (fd_set_nonblocking(socket, false) < 0 ||
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
        return -errno;
    return 0;
}

/* A byte with each batch, as descriptors do not travel alone. */
static int send_fds(int channel, const int *fds, size_t count)
{
    for (size_t done = 0; done < count; done += FD_PASS_MAX) {
        ssize_t n = fd_send(channel, "", 1, fds + done, MIN(count - done, (size_t)FD_PASS_MAX));
        if (n != 1)
            return n < 0 ? (int)n : -EPIPE;
    }
    return 0;
}

static int receive_fds(int channel, int *fds, size_t count)
{
    for (size_t done = 0; done < count;) {
        char byte;
        size_t batch = MIN(count - done, (size_t)FD_PASS_MAX), wanted = batch;
        ssize_t n = fd_receive(channel, &byte, 1, fds + done, &batch);
        if (n != 1)
            return n < 0 ? (int)n : -EPIPE;
        done += batch;
        if (batch != wanted)
            return -EPROTO;
    }
    return 0;
}

int channel_send(int channel, const json_t *state, const int *fds, size_t fd_count,
                 const struct buffer *tables, struct kv_error *err)
{
    cleanup_free char *text = json_dumps(state, JSON_COMPACT);
    if (!text || fd_count > CHANNEL_FDS_MAX)
        return kv_error_errno(err, KV_ERR_CONTROL, ENOMEM, "state of %zu descriptors", fd_count);
    struct header header = {.fds = fd_count, .json = strlen(text), .tables = tables->len};
    memcpy(header.magic, magic, sizeof(magic));
    int rc = fd_write_all(channel, &header, sizeof(header));
    if (rc == 0)
        rc = send_fds(channel, fds, fd_count);
    if (rc == 0)
        rc = fd_write_all(channel, text, header.json);
    if (rc == 0)
        rc = fd_write_all(channel, buffer_bytes(tables), header.tables);
    return rc < 0 ? kv_error_errno(err, KV_ERR_CONTROL, -rc, "the state goes nowhere") : 0;
}

static int receive_text(int channel, uint64_t len, json_t **state, struct kv_error *err)
{
    json_error_t where;
    cleanup_free char *text = malloc(len + 1);
    int rc = text ? fd_read_all(channel, text, len) : -ENOMEM;
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, -rc, "the state that is handed over");
    *state = json_loadb(text, len, 0, &where);
    return *state ? 0
                  : kv_error_set(err, KV_ERR_CONTROL, EPROTO, "the state that is handed over: %s",
                                 where.text);
}

static int receive_tables(int channel, uint64_t len, struct buffer *tables)
{
    uint8_t part[65536];
    while (len) {
        size_t n = MIN(len, sizeof(part));
        int rc = fd_read_all(channel, part, n);
        if (rc == 0)
            rc = buffer_append(tables, part, n);
        if (rc < 0)
            return rc;
        len -= n;
    }
    return 0;
}

int channel_receive(int channel, json_t **state, int **fds, size_t *fd_count, struct buffer *tables,
                    struct kv_error *err)
{
    struct header header;
    int rc = fd_read_all(channel, &header, sizeof(header));
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, -rc, "nothing is handed over");
    if (memcmp(header.magic, magic, sizeof(magic)) != 0 || header.fds > CHANNEL_FDS_MAX ||
        header.json > CHANNEL_BYTES_MAX || header.tables > CHANNEL_BYTES_MAX)
        return kv_error_set(err, KV_ERR_CONTROL, EPROTO,
                            "the running switch hands its state over in another form");
    int *list = malloc((header.fds + 1) * sizeof(*list));
    if (!list)
        return kv_error_errno(err, KV_ERR_CONTROL, ENOMEM, "descriptors");
    for (size_t i = 0; i < header.fds; i++)
        list[i] = -1;
    *fds = list;
    *fd_count = header.fds;
    rc = receive_fds(channel, list, header.fds);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, -rc, "descriptors that are handed over");
    rc = receive_text(channel, header.json, state, err);
    if (rc < 0)
        return rc;
    rc = receive_tables(channel, header.tables, tables);
    return rc < 0 ? kv_error_errno(err, KV_ERR_CONTROL, -rc, "tables that are handed over") : 0;
}

int channel_say(int channel, char byte)
{
    return fd_write_all(channel, &byte, 1);
}

int channel_hear(int channel, char byte)
{
    char said = 0;
    int rc = fd_read_all(channel, &said, 1);
    return rc < 0 ? rc : said == byte ? 0 : -EPROTO;
}
