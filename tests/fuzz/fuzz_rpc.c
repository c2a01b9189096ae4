/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libvirt's protocol. The first byte chooses the kind of socket; the rest is what a client
 * sends, in pieces whose length the second byte says. Each packet that is whole is also decoded
 * as the arguments, and as the results, of the procedure that it names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "rpc/admin_procedure.h"
#include "rpc/internal.h"
#include "rpc/qemu_procedure.h"

#define VALUE_SIZE 1024

static struct rpc_server *server;

static void decode_as(xdrproc_t code, const struct packet *packet)
{
    _Alignas(16) char value[VALUE_SIZE] = {0};
    XDR xdr;
    xdrmem_create(&xdr, (char *)(uintptr_t)packet->payload, (u_int)packet->payload_len, XDR_DECODE);
    if (code(&xdr, value)) {
        /* What was understood can be said again. */
        size_t size = xdr_sizeof(code, value);
        char *again = malloc(size ? size : 1);
        XDR out;
        xdrmem_create(&out, again, (u_int)size, XDR_ENCODE);
        if (size && !code(&out, value))
            abort();
        xdr_destroy(&out);
        free(again);
    }
    xdr_destroy(&xdr);
    xdr_free(code, value);
}

static void decode(const struct rpc_procedure *rows, unsigned n, const struct packet *packet)
{
    unsigned number = (unsigned)packet->header.procedure;
    if (number >= n || !rows[number].name)
        return;
    decode_as(rows[number].args_code, packet);
    decode_as(rows[number].ret_code, packet);
}

static void decode_packets(const uint8_t *data, size_t size)
{
    struct packet packet;
    while (packet_parse(data, size, PACKET_MAX, &packet) == 1) {
        decode(remote_procedures, REMOTE_PROC_END, &packet);
        decode(qemu_procedures, QEMU_PROC_END, &packet);
        decode(admin_procedures, ADMIN_PROC_END, &packet);
        decode_as((xdrproc_t)xdr_wire_error, &packet);
        data += packet.total;
        size -= packet.total;
    }
}

/* As a client would send it; the answers are read and thrown away. */
static void send_pieces(const uint8_t *data, size_t size, size_t piece,
                        struct rpc_listener *listener)
{
    int pair[2];
    char answers[65536];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        abort();
    if (!client_new(listener, pair[0]))
        abort();
    for (size_t at = 0; at < size; at += piece) {
        if (send(pair[1], data + at, size - at < piece ? size - at : piece, MSG_NOSIGNAL) < 0)
            break;
        uv_run(&server->loop, UV_RUN_NOWAIT);
        while (recv(pair[1], answers, sizeof(answers), 0) > 0)
            continue;
    }
    close(pair[1]);
    while (listener->service->n_clients)
        uv_run(&server->loop, UV_RUN_NOWAIT);
    uv_run(&server->loop, UV_RUN_NOWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kv_error err;
    if (!server) {
        log_level = LOG_ERROR;
        if (rpc_server_new(&server, &rpc_server_defaults, &err) < 0)
            abort();
        /* These would write files and start threads. */
        server->admin.slots[ADMIN_PROC_CONNECT_SET_LOGGING_OUTPUTS].fn = NULL;
        server->admin.slots[ADMIN_PROC_SERVER_SET_THREADPOOL_PARAMETERS].fn = NULL;
    }
    if (size < 2)
        return 0;
    struct rpc_listener listener = {
        .service = &server->services[data[0] & 1 ? RPC_SERVICE_ADMIN : RPC_SERVICE_MAIN],
        .transport = RPC_UNIX,
        .auth = data[0] & 2 ? RPC_AUTH_SASL : RPC_AUTH_NONE,
        .read_only = data[0] & 4,
    };
    size_t piece = data[1] ? data[1] * (size_t)16 : 1;
    decode_packets(data + 2, size - 2);
    send_pieces(data + 2, size - 2, piece, &listener);
    return 0;
}
