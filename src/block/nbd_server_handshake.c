/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NBD server: from the greeting to an export (proto.md, "Fixed newstyle
 * negotiation", "Option types"). Plain sequential code on the client's thread
 * under one deadline for all of it; an option's data is bounded, and read
 * before it is looked at.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "block/nbd_protocol.h"
#include "block/nbd_server_internal.h"

#define OPTION_MAX KIB(64) /* bytes of one option's data */
#define LIST_MAX MIB(16)   /* bytes of one answer */
#define BLOCK_PREFERRED 4096u

enum { STAY, ENTER, LEAVE }; /* what follows an option */

/* One option of a client: its data, and how far it has been read. */
struct option {
    struct nbd_connection *conn;
    struct kv_error *err;
    uint32_t type, len, pos;
    uint8_t *data;
    bool no_zeroes;
};

/* ---------------------------------------------------------------- reading data */

static uint32_t data_left(const struct option *option)
{
    return option->len - option->pos;
}

static bool take_u16(struct option *option, uint16_t *out)
{
    if (data_left(option) < 2)
        return false;
    *out = nbd_get16(option->data + option->pos);
    option->pos += 2;
    return true;
}

static bool take_u32(struct option *option, uint32_t *out)
{
    if (data_left(option) < 4)
        return false;
    *out = nbd_get32(option->data + option->pos);
    option->pos += 4;
    return true;
}

/* Into a buffer of NBD_NAME_MAX + 1 bytes. A name with a zero byte is no name. */
static bool take_text(struct option *option, uint32_t len, char *out)
{
    if (len > NBD_NAME_MAX || data_left(option) < len ||
        (len && memchr(option->data + option->pos, 0, len)))
        return false;
    memcpy(out, option->data + option->pos, len);
    out[len] = '\0';
    option->pos += len;
    return true;
}

/* -------------------------------------------------------------------- replies */

static void reply_head(uint8_t head[NBD_OPTION_REPLY_SIZE], uint32_t option, uint32_t type,
                       uint32_t len)
{
    nbd_put64(head, NBD_OPTION_REPLY_MAGIC);
    nbd_put32(head + 8, option);
    nbd_put32(head + 12, type);
    nbd_put32(head + 16, len);
}

static int reply(const struct option *option, uint32_t type, const void *data, uint32_t len)
{
    uint8_t head[NBD_OPTION_REPLY_SIZE];
    reply_head(head, option->type, type, len);
    int rc = nbd_channel_write_all(&option->conn->channel, head, sizeof(head));
    return rc < 0 ? rc : nbd_channel_write_all(&option->conn->channel, data, len);
}

/* The client stays and may try another option. */
static int refuse(const struct option *option, uint32_t type, const char *why)
{
    log_debug("nbd: client %u: option %" PRIu32 " refused: %s", option->conn->number, option->type,
              why);
    return reply(option, type, why, (uint32_t)strlen(why));
}

static int refuse_invalid(const struct option *option)
{
    return refuse(option, NBD_REP_ERR_INVALID, "malformed data of an option");
}

/* A reply of several parts is collected, so that the list of exports is not locked while a client
 * reads. */
static int collect(struct buffer *out, const struct option *option, uint32_t type,
                   const void *first, uint32_t first_len, const void *second, uint32_t second_len)
{
    uint8_t head[NBD_OPTION_REPLY_SIZE];
    reply_head(head, option->type, type, first_len + second_len);
    int rc = buffer_append(out, head, sizeof(head));
    if (rc == 0 && first_len)
        rc = buffer_append(out, first, first_len);
    if (rc == 0 && second_len)
        rc = buffer_append(out, second, second_len);
    return rc;
}

static int send_collected(const struct option *option, struct buffer *out)
{
    int rc = nbd_channel_write_all(&option->conn->channel, buffer_bytes(out), out->len);
    buffer_free(out);
    return rc;
}

/* -------------------------------------------------------------------- options */

uint16_t nbd_transmission_flags(const struct nbd_connection *conn, const struct nbd_export *export)
{
    uint16_t flags =
        NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_CACHE;
    if (export->readonly)
        flags |= NBD_FLAG_READ_ONLY;
    else
        flags |= NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
    if (conn->structured)
        flags |= NBD_FLAG_SEND_DF;
    /* All connections share one node, so what one flushes the others' flushes cover. */
    if (nbd_server_options(conn->server)->max_connections > 1)
        flags |= NBD_FLAG_CAN_MULTI_CONN;
    return flags;
}

/* Contexts that were chosen for another export do not count. */
static void drop_foreign_contexts(struct nbd_connection *conn, const struct nbd_export *export)
{
    if (conn->context_export != export)
        conn->contexts = 0;
    /* Another export may have come into the place of a removed one. */
    conn->contexts &= nbd_contexts_all(export);
}

static int option_export_name(struct option *option)
{
    struct nbd_connection *conn = option->conn;
    char name[NBD_NAME_MAX + 1];
    uint8_t out[10 + 124] = {0};
    if (!take_text(option, option->len, name))
        return kv_error_set(option->err, KV_ERR_BLOCK, EPROTO, "malformed name of an export");
    struct nbd_export *export = nbd_export_use(conn, name);
    if (!export)
        return kv_error_set(option->err, KV_ERR_BLOCK, ENOENT, "no export '%.200s'", name);
    drop_foreign_contexts(conn, export);
    nbd_put64(out, nbd_export_size(export));
    nbd_put16(out + 8, nbd_transmission_flags(conn, export));
    int rc = nbd_channel_write_all(&conn->channel, out, option->no_zeroes ? 10 : sizeof(out));
    return rc < 0 ? rc : ENTER;
}

static int option_abort(struct option *option)
{
    /* The client may have closed already. */
    reply(option, NBD_REP_ACK, NULL, 0);
    return LEAVE;
}

struct listing {
    const struct option *option;
    struct buffer out;
};

static int list_export(void *opaque, const struct nbd_export *export)
{
    struct listing *listing = opaque;
    uint8_t data[4 + NBD_NAME_MAX];
    uint32_t name = (uint32_t)strlen(export->name);
    nbd_put32(data, name);
    memcpy(data + 4, export->name, name);
    const char *description = export->description ? export->description : "";
    return collect(&listing->out, listing->option, NBD_REP_SERVER, data, 4 + name, description,
                   (uint32_t)strlen(description));
}

static int option_list(struct option *option)
{
    struct listing listing = {.option = option, .out = BUFFER_INIT(LIST_MAX)};
    if (option->len)
        return refuse_invalid(option);
    int rc = nbd_export_each(option->conn->server, list_export, &listing);
    if (rc == 0)
        rc = collect(&listing.out, option, NBD_REP_ACK, NULL, 0, NULL, 0);
    if (rc == 0)
        return send_collected(option, &listing.out);
    buffer_free(&listing.out);
    return rc;
}

static int option_starttls(struct option *option)
{
    struct nbd_connection *conn = option->conn;
    const struct tls_server *tls = nbd_server_options(conn->server)->tls;
    if (option->len)
        return refuse_invalid(option);
    if (!tls)
        return refuse(option, NBD_REP_ERR_POLICY, "this server has no TLS");
    if (conn->channel.tls)
        return refuse(option, NBD_REP_ERR_INVALID, "TLS is in use already");
    int rc = reply(option, NBD_REP_ACK, NULL, 0);
    if (rc == 0)
        rc = nbd_channel_start_tls(&conn->channel, tls, option->err);
    /* What was agreed on in the clear is void. */
    conn->structured = false;
    conn->contexts = 0;
    return rc;
}

static int send_info(const struct option *option, struct nbd_export *export, const bool asked[])
{
    uint8_t data[14];
    struct buffer out = BUFFER_INIT(LIST_MAX);
    const struct block_info *info = &export->info;

    nbd_put16(data, NBD_INFO_EXPORT);
    nbd_put64(data + 2, nbd_export_size(export));
    nbd_put16(data + 10, nbd_transmission_flags(option->conn, export));
    int rc = collect(&out, option, NBD_REP_INFO, data, 12, NULL, 0);

    nbd_put16(data, NBD_INFO_BLOCK_SIZE);
    nbd_put32(data + 2, 1);
    nbd_put32(data + 6, MAX(info->request_alignment, BLOCK_PREFERRED));
    nbd_put32(data + 10, NBD_PAYLOAD_MAX);
    if (rc == 0)
        rc = collect(&out, option, NBD_REP_INFO, data, 14, NULL, 0);

    nbd_put16(data, NBD_INFO_NAME);
    if (rc == 0 && asked[NBD_INFO_NAME])
        rc = collect(&out, option, NBD_REP_INFO, data, 2, export->name,
                     (uint32_t)strlen(export->name));
    nbd_put16(data, NBD_INFO_DESCRIPTION);
    if (rc == 0 && asked[NBD_INFO_DESCRIPTION] && export->description)
        rc = collect(&out, option, NBD_REP_INFO, data, 2, export->description,
                     (uint32_t)strlen(export->description));
    if (rc == 0)
        rc = collect(&out, option, NBD_REP_ACK, NULL, 0, NULL, 0);
    if (rc == 0)
        return send_collected(option, &out);
    buffer_free(&out);
    return rc;
}

/* INFO and GO differ in what follows. */
static int option_info(struct option *option)
{
    struct nbd_connection *conn = option->conn;
    bool asked[NBD_INFO_BLOCK_SIZE + 1] = {false};
    char name[NBD_NAME_MAX + 1];
    uint32_t name_len;
    uint16_t count, kind;
    if (!take_u32(option, &name_len) || !take_text(option, name_len, name) ||
        !take_u16(option, &count) || data_left(option) != 2u * count)
        return refuse_invalid(option);
    while (take_u16(option, &kind))
        if (kind < ARRAY_SIZE(asked))
            asked[kind] = true;
    struct nbd_export *export = nbd_export_use(conn, name);
    if (!export)
        return refuse(option, NBD_REP_ERR_UNKNOWN, "there is no export of this name");
    drop_foreign_contexts(conn, export);
    int rc = send_info(option, export, asked);
    if (rc == 0 && option->type == NBD_OPT_GO)
        return ENTER;
    nbd_export_leave(conn);
    return rc;
}

static int option_structured_reply(struct option *option)
{
    if (option->len)
        return refuse_invalid(option);
    if (option->conn->structured)
        return refuse(option, NBD_REP_ERR_INVALID, "structured replies are agreed on already");
    option->conn->structured = true;
    return reply(option, NBD_REP_ACK, NULL, 0);
}

static int send_contexts(const struct option *option, const struct nbd_export *export,
                         uint64_t contexts)
{
    char name[NBD_NAME_MAX + 64];
    struct buffer out = BUFFER_INIT(LIST_MAX);
    int rc = 0;
    for (unsigned context = 0; context < 64 && rc == 0; context++) {
        uint8_t id[4];
        if (!(contexts & BIT(context)))
            continue;
        nbd_put32(id, option->type == NBD_OPT_SET_META_CONTEXT ? context : 0);
        size_t len = nbd_context_name(export, context, name, sizeof(name));
        rc = collect(&out, option, NBD_REP_META_CONTEXT, id, sizeof(id), name, (uint32_t)len);
    }
    if (rc == 0)
        rc = collect(&out, option, NBD_REP_ACK, NULL, 0, NULL, 0);
    if (rc == 0)
        return send_collected(option, &out);
    buffer_free(&out);
    return rc;
}

/* The queries behind an export's name. False: malformed. */
static bool take_queries(struct option *option, const struct nbd_export *export, uint64_t *contexts)
{
    bool list = option->type == NBD_OPT_LIST_META_CONTEXT;
    char query[NBD_NAME_MAX + 1];
    uint32_t count, len;
    *contexts = 0;
    if (!take_u32(option, &count))
        return false;
    if (list && count == 0)
        *contexts = nbd_contexts_all(export);
    for (uint32_t i = 0; i < count; i++) {
        if (!take_u32(option, &len) || !take_text(option, len, query))
            return false;
        *contexts |= nbd_contexts_match(export, query, list);
    }
    return data_left(option) == 0;
}

static int option_meta_context(struct option *option)
{
    struct nbd_connection *conn = option->conn;
    char name[NBD_NAME_MAX + 1];
    uint32_t name_len;
    uint64_t contexts;
    bool set = option->type == NBD_OPT_SET_META_CONTEXT;
    if (!conn->structured)
        return refuse(option, NBD_REP_ERR_INVALID, "structured replies come first");
    if (set)
        conn->contexts = 0;
    if (!take_u32(option, &name_len) || !take_text(option, name_len, name))
        return refuse_invalid(option);
    struct nbd_export *export = nbd_export_use(conn, name);
    if (!export)
        return refuse(option, NBD_REP_ERR_UNKNOWN, "there is no export of this name");
    int rc;
    if (take_queries(option, export, &contexts)) {
        if (set) {
            conn->contexts = contexts;
            conn->context_export = export;
        }
        rc = send_contexts(option, export, contexts);
    } else {
        rc = refuse_invalid(option);
    }
    nbd_export_leave(conn);
    return rc;
}

static const struct {
    uint32_t type;
    bool without_tls; /* also where TLS is required and not there yet */
    int (*run)(struct option *option);
} options[] = {
    {NBD_OPT_EXPORT_NAME, false, option_export_name},
    {NBD_OPT_ABORT, true, option_abort},
    {NBD_OPT_LIST, false, option_list},
    {NBD_OPT_STARTTLS, true, option_starttls},
    {NBD_OPT_INFO, false, option_info},
    {NBD_OPT_GO, false, option_info},
    {NBD_OPT_STRUCTURED_REPLY, false, option_structured_reply},
    {NBD_OPT_LIST_META_CONTEXT, false, option_meta_context},
    {NBD_OPT_SET_META_CONTEXT, false, option_meta_context},
};

static int run_option(struct option *option)
{
    struct nbd_connection *conn = option->conn;
    bool bare = nbd_server_options(conn->server)->tls && !conn->channel.tls;
    for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
        if (options[i].type != option->type)
            continue;
        if (!bare || options[i].without_tls)
            return options[i].run(option);
        /* This option has no reply that refuses. */
        if (option->type == NBD_OPT_EXPORT_NAME)
            return kv_error_set(option->err, KV_ERR_BLOCK, EACCES, "an export without TLS");
        return refuse(option, NBD_REP_ERR_TLS_REQD, "TLS comes first");
    }
    return refuse(option, bare ? NBD_REP_ERR_TLS_REQD : NBD_REP_ERR_UNSUP, "unknown option");
}

/* Reads one option and answers it. */
static int next_option(struct nbd_connection *conn, uint32_t client_flags, struct kv_error *err)
{
    uint8_t head[NBD_OPTION_SIZE];
    cleanup_free uint8_t *data = NULL;
    int rc = nbd_channel_read_all(&conn->channel, head, sizeof(head));
    if (rc < 0)
        return rc;
    struct option option = {
        .conn = conn,
        .err = err,
        .type = nbd_get32(head + 8),
        .len = nbd_get32(head + 12),
        .no_zeroes = client_flags & NBD_FLAG_C_NO_ZEROES,
    };
    if (nbd_get64(head) != NBD_OPTION_MAGIC)
        return kv_error_set(err, KV_ERR_BLOCK, EPROTO, "an option without its magic number");
    if (option.len > OPTION_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, EPROTO,
                            "option %" PRIu32 " with %" PRIu32 " bytes; at most %" PRIu64
                            " are accepted",
                            option.type, option.len, OPTION_MAX);
    if (!(client_flags & NBD_FLAG_C_FIXED_NEWSTYLE) && option.type != NBD_OPT_EXPORT_NAME)
        return kv_error_set(err, KV_ERR_BLOCK, EPROTO,
                            "option %" PRIu32 " of a client that did not agree on fixed newstyle",
                            option.type);
    data = malloc(option.len + 1);
    if (!data)
        return -ENOMEM;
    rc = nbd_channel_read_all(&conn->channel, data, option.len);
    if (rc < 0)
        return rc;
    option.data = data;
    return run_option(&option);
}

static int greet(struct nbd_connection *conn, uint32_t *client_flags, struct kv_error *err)
{
    uint8_t greeting[NBD_GREETING_SIZE], answer[4];
    nbd_put64(greeting, NBD_MAGIC);
    nbd_put64(greeting + 8, NBD_OPTION_MAGIC);
    nbd_put16(greeting + 16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    int rc = nbd_channel_write_all(&conn->channel, greeting, sizeof(greeting));
    if (rc == 0)
        rc = nbd_channel_read_all(&conn->channel, answer, sizeof(answer));
    if (rc < 0)
        return rc;
    *client_flags = nbd_get32(answer);
    if (*client_flags & ~(uint32_t)(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES))
        return kv_error_set(err, KV_ERR_BLOCK, EPROTO, "unknown client flags 0x%" PRIx32,
                            *client_flags);
    return 0;
}

int nbd_handshake(struct nbd_connection *conn, struct kv_error *err)
{
    uint32_t client_flags = 0;
    int rc = greet(conn, &client_flags, err);
    while (rc == STAY) {
        if (clock_monotonic_ns() > conn->channel.deadline_ns)
            rc = -ETIMEDOUT;
        else
            rc = next_option(conn, client_flags, err);
    }
    if (rc == -ETIMEDOUT)
        kv_error_set(err, KV_ERR_BLOCK, ETIMEDOUT, "it did not choose an export in %u s",
                     nbd_server_options(conn->server)->handshake_timeout_s);
    else if (rc == -EPIPE && !err->code)
        kv_error_set(err, KV_ERR_BLOCK, EPIPE, "it left before it chose an export");
    if (rc != ENTER)
        nbd_export_leave(conn);
    return rc < 0 ? rc : 0;
}
