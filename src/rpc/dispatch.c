/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a packet to its handler and back: finds program and procedure, refuses what may not be,
 * decodes arguments, runs the handler here or on a worker, encodes the reply.
 */
#include <errno.h>
#include <libvirt/libvirt.h>
#include <libxml/xmlstring.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "model/api_error.h"
#include "rpc/internal.h"

#define VALUE_MAX 512 /* bytes of a procedure's decoded arguments or results */

/* ------------------------------------------------------------------- errors */

/* What a message quotes may be no UTF-8, which clients' languages stumble over. */
static void make_printable(char *text)
{
    if (xmlCheckUTF8((const unsigned char *)text))
        return;
    for (; *text; text++) {
        if ((unsigned char)*text >= 0x80)
            *text = '?';
    }
}

static void fill_error(struct wire_error *out, struct kv_error *err, char **message)
{
    static char pattern[] = "%s";
    static char *pattern_at = pattern;
    api_error_convert(err);
    make_printable(err->message);
    *message = err->message;
    *out = (struct wire_error){
        .code = err->code,
        .domain = err->from,
        .message = message,
        .level = VIR_ERR_ERROR,
        .str1 = &pattern_at,
        .str2 = message,
        .int1 = -1,
        .int2 = -1,
    };
}

int dispatch_send_error(struct rpc_client *client, const struct packet_header *header,
                        struct kv_error *err, bool ends_call)
{
    struct wire_error wire;
    char *message;
    fill_error(&wire, err, &message);
    ssize_t len = reply_encode((xdrproc_t)xdr_wire_error, &wire, PACKET_HEAD);
    if (len < 0)
        return (int)len;
    uint8_t *bytes = reply_bytes_written();
    struct packet_header reply = *header;
    bool stream = header->type == PACKET_STREAM || header->type == PACKET_STREAM_HOLE;
    reply.type = stream ? PACKET_STREAM : PACKET_REPLY;
    reply.status = PACKET_ERROR;
    packet_put_head(bytes, &reply, (size_t)len);
    int r = client_send(client, bytes, PACKET_HEAD + (size_t)len, NULL, 0,
                        ends_call ? SEND_ENDS_CALL : 0);
    reply_sent();
    return r;
}

/* -------------------------------------------------------------------- calls */

static void close_fds(int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

/* The payload's length, behind `before` bytes, or -errno. */
static ssize_t encode(struct rpc_call *call, void *ret, size_t before)
{
    if (!call->reply)
        return reply_encode(call->row->ret_code, ret, before);
    return call->reply->failed ? call->reply->failed : (ssize_t)(call->reply->len - before);
}

static int send_reply(struct rpc_call *call, void *ret, bool ends_call, struct kv_error *err)
{
    size_t before = PACKET_HEAD + (call->n_out_fds ? 4 : 0);
    ssize_t len = encode(call, ret, before);
    if (len == -ENOMEM)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    if (len < 0)
        return api_error_from(err, VIR_FROM_RPC, VIR_ERR_RPC,
                              "Unable to encode message payload: the reply to procedure '%s' is "
                              "longer than the protocol allows",
                              call->row->name);
    struct packet_header reply = call->header;
    reply.type = call->n_out_fds ? PACKET_REPLY_FDS : PACKET_REPLY;
    reply.status = PACKET_OK;
    len += (ssize_t)(before - PACKET_HEAD);
    uint8_t *bytes = reply_bytes_written();
    packet_put_head(bytes, &reply, (size_t)len);
    if (call->n_out_fds)
        packet_put_u32(bytes + PACKET_HEAD, call->n_out_fds);
    unsigned n_fds = call->n_out_fds;
    call->n_out_fds = 0;
    client_send(call->client, bytes, PACKET_HEAD + (size_t)len, call->out_fds, n_fds,
                (ends_call ? SEND_ENDS_CALL : 0) | (call->starts_sasl ? SEND_STARTS_SASL : 0));
    reply_sent();
    return 0;
}

/* What follows the arguments is ignored, but not from read-only connections: read_only_may()
 * looks for flags at the end. */
static bool decode(const struct rpc_call *call, void *args)
{
    XDR xdr;
    xdrmem_create(&xdr, (char *)(uintptr_t)call->payload, (u_int)call->payload_len, XDR_DECODE);
    bool good = call->row->args_code(&xdr, args) &&
                (!call->client->read_only || xdr_getpos(&xdr) == call->payload_len);
    xdr_destroy(&xdr);
    return good;
}

/* Carries it out and answers. False: it wants to be carried out by a worker. */
static bool carry_out(struct rpc_call *call, bool ends_call)
{
    _Alignas(16) char args[VALUE_MAX], ret[VALUE_MAX];
    struct kv_error err = {0};
    const struct rpc_procedure *row = call->row;
    memset(args, 0, row->args_size);
    memset(ret, 0, row->ret_size);
    int r;
    if (decode(call, args))
        r = call->slot->fn(call, args, ret, &err);
    else
        r = api_error_from(&err, VIR_FROM_RPC, VIR_ERR_RPC, "Unable to decode message payload");
    if (r >= 0) {
        if (call->stream)
            stream_attach(call);
        r = send_reply(call, ret, ends_call, &err);
        if (call->stream)
            stream_start(call);
    } else if (r != RPC_TO_WORKER) {
        log_debug("client %llu: %s: %s", (unsigned long long)call->client->id, row->name,
                  err.message);
    }
    if (r < 0 && r != RPC_TO_WORKER) {
        stream_cancel(call);
        dispatch_send_error(call->client, &call->header, &err, ends_call);
    }
    xdr_free(row->args_code, args);
    xdr_free(row->ret_code, ret);
    if (r == RPC_TO_WORKER)
        return false;
    close_fds(call->in_fds, call->n_in_fds);
    close_fds(call->out_fds, call->n_out_fds);
    if (call->afterwards)
        call->afterwards(call->afterwards_opaque);
    return true;
}

void dispatch_free_call(struct rpc_call *call)
{
    struct rpc_client *client = call->client;
    atomic_fetch_sub(&client->server->in_bytes, call->payload_len);
    free(call);
    rpc_client_unref(client);
}

static void run_call(struct pool_job *job)
{
    struct rpc_call *call = container_of(job, struct rpc_call, job);
    carry_out(call, true);
    dispatch_free_call(call);
}

static void submit(struct rpc_call *call)
{
    struct rpc_client *client = call->client;
    atomic_fetch_add(&client->in_flight, 1);
    call->job.run = run_call;
    pool_submit(client->service->pool, &call->job, call->row->flags & RPC_PRIORITY);
}

static unsigned calls_allowed(struct rpc_client *client)
{
    pthread_mutex_lock(&client->service->lock);
    unsigned calls = client->service->limits.calls;
    pthread_mutex_unlock(&client->service->lock);
    return calls;
}

void dispatch_waiting(struct rpc_client *client)
{
    unsigned allowed = calls_allowed(client);
    while (client->n_waiting && atomic_load(&client->in_flight) < allowed) {
        struct rpc_call *call = list_entry(client->waiting.next, struct rpc_call, node);
        list_del(&call->node);
        client->n_waiting--;
        client->waiting_bytes -= call->payload_len;
        submit(call);
    }
}

static int queue_call(const struct rpc_call *from)
{
    struct rpc_client *client = from->client;
    bool may = client_may_keep(client, from->payload_len);
    struct rpc_call *call = may ? malloc(sizeof(*call) + from->payload_len) : NULL;
    if (!call)
        return may ? -ENOMEM : -ENOBUFS;
    atomic_fetch_add(&client->server->in_bytes, from->payload_len);
    memcpy(call, from, sizeof(*call));
    memcpy(call->copy, from->payload, from->payload_len);
    call->payload = call->copy;
    list_init(&call->node);
    rpc_client_ref(client);
    if (!client->n_waiting && atomic_load(&client->in_flight) < calls_allowed(client)) {
        submit(call);
        return 0;
    }
    list_add_tail(&client->waiting, &call->node);
    client->n_waiting++;
    client->waiting_bytes += call->payload_len;
    atomic_store(&client->held, true);
    if (atomic_load(&client->in_flight) == 0)
        client_post(client, POST_RESUME);
    return 0;
}

/* -------------------------------------------------------- what may not be called */

/* Flags (the last number of the arguments) that read-only connections may not use. */
static const struct {
    unsigned procedure;
    unsigned words_behind; /* numbers behind the one that counts */
    uint32_t bits;
} read_only_flags[] = {
    {REMOTE_PROC_DOMAIN_GET_XML_DESC, 0, VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_MIGRATABLE},
    {REMOTE_PROC_DOMAIN_SNAPSHOT_GET_XML_DESC, 0, VIR_DOMAIN_SNAPSHOT_XML_SECURE},
    {REMOTE_PROC_DOMAIN_MANAGED_SAVE_GET_XML_DESC, 0, VIR_DOMAIN_SAVE_IMAGE_XML_SECURE},
    {REMOTE_PROC_DOMAIN_CHECKPOINT_GET_XML_DESC, 0, VIR_DOMAIN_CHECKPOINT_XML_SECURE},
    {REMOTE_PROC_DOMAIN_GET_VCPUS_FLAGS, 0, VIR_DOMAIN_VCPU_GUEST},
    {REMOTE_PROC_DOMAIN_INTERFACE_ADDRESSES, 1, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT},
};

static bool read_only_may(const struct rpc_program *program, const struct rpc_procedure *row,
                          const struct packet *packet)
{
    if (row->flags & RPC_WRITE)
        return false;
    if (program->number != REMOTE_PROGRAM)
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(read_only_flags); i++) {
        size_t behind = 4 * (read_only_flags[i].words_behind + (size_t)1);
        if (read_only_flags[i].procedure != row->number || packet->payload_len < behind)
            continue;
        uint32_t flags = packet_get_u32(packet->payload + packet->payload_len - behind);
        return !(flags & read_only_flags[i].bits);
    }
    return true;
}

static const struct rpc_program *find_program(const struct rpc_client *client,
                                              const struct packet_header *header)
{
    for (int i = 0; i < SERVICE_PROGRAMS; i++) {
        const struct rpc_program *program = client->service->programs[i];
        if (program && program->number == header->program && program->version == header->version)
            return program;
    }
    return NULL;
}

/* 0, or negative with err filled. */
static int check_call(struct rpc_call *call, const struct packet *packet, struct kv_error *err)
{
    const struct packet_header *header = &packet->header;
    struct rpc_client *client = call->client;
    if (header->status != PACKET_OK)
        return api_error_from(err, VIR_FROM_RPC, VIR_ERR_RPC, "Unexpected message status %u",
                              header->status);
    call->program = find_program(client, header);
    if (!call->program)
        return api_error_from(err, VIR_FROM_RPC, VIR_ERR_RPC, "Cannot find program %u version %u",
                              header->program, header->version);
    uint32_t number = (uint32_t)header->procedure;
    const struct rpc_procedure *row =
        number < call->program->n_rows ? &call->program->rows[number] : NULL;
    if (!row || !row->name || (row->flags & (RPC_EVENT | RPC_CALLBACK_EVENT)))
        return api_error_from(err, VIR_FROM_RPC, VIR_ERR_RPC, "unknown procedure: %d",
                              header->procedure);
    call->row = row;
    call->slot = &call->program->slots[number];
    if (!(row->flags & RPC_BEFORE_AUTH) && !atomic_load(&client->proved))
        return api_error_from(err, VIR_FROM_RPC, VIR_ERR_RPC, "authentication required");
    char name[RPC_API_NAME_SIZE];
    if (client->read_only && !read_only_may(call->program, row, packet)) {
        rpc_procedure_api_name(row, name);
        return api_error_from(err, VIR_FROM_RPC, VIR_ERR_OPERATION_DENIED,
                              "read only access prevents %s", name);
    }
    if (!call->slot->fn) {
        rpc_procedure_api_name(row, name);
        return api_error(err, VIR_ERR_NO_SUPPORT, "%s", name);
    }
    return 0;
}

static int dispatch_call(struct rpc_client *client, const struct packet *packet, int *fds)
{
    struct rpc_call call;
    memset(&call, 0, sizeof(call));
    call.client = client;
    call.header = packet->header;
    call.payload = packet->payload;
    call.payload_len = packet->payload_len;
    call.n_in_fds = packet->fds;
    memcpy(call.in_fds, fds, packet->fds * sizeof(*fds));
    struct kv_error err = {0};
    if (check_call(&call, packet, &err) < 0) {
        close_fds(call.in_fds, call.n_in_fds);
        dispatch_send_error(client, &packet->header, &err, false);
        return 0;
    }
    call.on_loop = call.slot->flags & (RPC_INLINE | RPC_LOOP_FIRST);
    if (call.on_loop && carry_out(&call, false))
        return 0;
    call.on_loop = false;
    return queue_call(&call);
}

int dispatch_packet(struct rpc_client *client, const struct packet *packet, int *fds)
{
    switch (packet->header.type) {
    case PACKET_CALL:
    case PACKET_CALL_FDS:
        return dispatch_call(client, packet, fds);
    case PACKET_STREAM:
    case PACKET_STREAM_HOLE:
        return atomic_load(&client->proved) ? stream_packet(client, packet) : -EPROTO;
    case PACKET_MESSAGE:
        if (packet->header.program != KEEPALIVE_PROGRAM)
            return -EPROTO;
        keepalive_packet(client, packet);
        return 0;
    default:
        close_fds(fds, packet->fds);
        return -EPROTO;
    }
}

/* ----------------------------------------------------- what handlers ask for */

struct rpc_client *rpc_call_client(struct rpc_call *call)
{
    return call->client;
}

struct rpc_server *rpc_call_server(struct rpc_call *call)
{
    return call->client->server;
}

int rpc_call_check_flags(const struct rpc_call *call, int driver, unsigned flags, unsigned known,
                         struct kv_error *err)
{
    char name[RPC_API_NAME_SIZE];
    if (!(flags & ~known))
        return 0;
    rpc_procedure_api_name(call->row, name);
    return api_error_from(err, driver, VIR_ERR_INVALID_ARG,
                          "unsupported flags (0x%x) in function %s", flags & ~known, name);
}

bool rpc_call_on_loop(const struct rpc_call *call)
{
    return call->on_loop;
}

void *rpc_call_opaque(const struct rpc_call *call)
{
    return call->slot->opaque;
}

const struct rpc_procedure *rpc_call_procedure(const struct rpc_call *call)
{
    return call->row;
}

bool rpc_call_read_only(const struct rpc_call *call)
{
    return call->client->read_only;
}

void rpc_call_start_keepalive(struct rpc_call *call)
{
    call->client->keepalive = true;
}

void rpc_call_afterwards(struct rpc_call *call, void (*fn)(void *opaque), void *opaque)
{
    call->afterwards = fn;
    call->afterwards_opaque = opaque;
}

size_t rpc_call_fds(const struct rpc_call *call)
{
    return call->n_in_fds;
}

int rpc_call_take_fd(struct rpc_call *call, size_t index)
{
    if (index >= call->n_in_fds)
        return -1;
    int fd = call->in_fds[index];
    call->in_fds[index] = -1;
    return fd;
}

int rpc_call_give_fd(struct rpc_call *call, int fd)
{
    if (call->n_out_fds == PACKET_FDS_MAX || call->client->transport != RPC_UNIX) {
        close(fd);
        return -ENOSPC;
    }
    call->out_fds[call->n_out_fds++] = fd;
    return 0;
}
