/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams: bytes beside calls, both ways, over the same connection. A handler of a procedure
 * with RPC_STREAM opens one; it lives until the client finishes or aborts it, the other end
 * closes, or the connection is gone. What waits in either direction is bounded: then whoever
 * writes is not read from.
 */
#ifndef KV_RPC_STREAM_H
#define KV_RPC_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "rpc/procedure.h"

struct rpc_stream;

/* Why a stream ended. */
enum rpc_stream_end {
    RPC_STREAM_FINISHED, /* the client said that it is done */
    RPC_STREAM_ABORTED,  /* the client gave it up, or its connection is gone */
    RPC_STREAM_CLOSED,   /* the other end closed, or failed, or rpc_stream_abort() */
};

/*
 * Joins the stream with a descriptor that can be polled (socket, pty, pipe): bytes of the client
 * are written to it, bytes read from it go to the client, the end of file ends the stream.
 * The server owns fd from now on, also on error. ended(opaque), if given, runs once on the
 * loop's thread when the stream is over (fd is closed by then) and must not block. *out, if
 * wanted, may be used for rpc_stream_abort() until ended() ran. At most one stream a call.
 */
int rpc_stream_join_fd(struct rpc_call *call, int fd,
                       void (*ended)(void *opaque, enum rpc_stream_end how), void *opaque,
                       struct rpc_stream **out, struct kv_error *err);

/*
 * The same for whoever wants to know of holes, and to have the last word: fd is a SOCK_SEQPACKET
 * socket, each message a struct rpc_stream_piece and, of data, that many bytes.
 *
 * From the client, messages come until the client finished; then comes the end of file, and whoever
 * has the other end answers with RPC_PIECE_DONE once all is well: the client's finish waits for it.
 * To the client, RPC_PIECE_DONE ends the data. A socket that closes without it was not the end:
 * rpc_stream_abort() tells the client why.
 */
struct rpc_stream_piece {
    enum {
        RPC_PIECE_DATA,
        RPC_PIECE_HOLE, /* len bytes that read as zeros */
        RPC_PIECE_DONE,
    } kind;
    uint64_t len;
};
#define RPC_PIECE_DATA_MAX (64u << 10)

enum rpc_stream_pieces_flags {
    RPC_PIECES_FROM_CLIENT = 1, /* else to it */
    RPC_PIECES_HOLES = 2,       /* the client may send them */
};
int rpc_stream_join_pieces(struct rpc_call *call, int fd, unsigned flags,
                           void (*ended)(void *opaque, enum rpc_stream_end how), void *opaque,
                           struct rpc_stream **out, struct kv_error *err);

/* Ends the stream from our side with an error that the client gets to see. Any thread, until
 * ended() ran. */
void rpc_stream_abort(struct rpc_stream *stream, const struct kv_error *why);

#endif
