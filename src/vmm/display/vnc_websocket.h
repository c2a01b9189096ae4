/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A viewer in a browser: WebSocket (RFC 6455) around the bytes of its session,
 * which begins with a request of HTTP. Nothing of a frame is kept but its head:
 * what it carries goes on at once, and of pings the last one is answered.
 */
#ifndef KV_VMM_DISPLAY_VNC_WEBSOCKET_H
#define KV_VMM_DISPLAY_VNC_WEBSOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

#define WEBSOCKET_HEAD_MAX 14      /* of a frame */
#define WEBSOCKET_CONTROL_MAX 125  /* bytes that a control frame carries */
#define WEBSOCKET_REQUEST_MAX 8192 /* bytes; no browser needs that much */

struct vnc_websocket {
    bool open;   /* the request was answered */
    bool ending; /* what is due goes out, then comes the end */
    char request[WEBSOCKET_REQUEST_MAX + 1];
    unsigned request_len;
    /* The frame that arrives: its head until that is complete, then what is left of it. */
    uint8_t head[WEBSOCKET_HEAD_MAX];
    unsigned head_len;
    bool in_payload;
    bool in_message; /* a binary message whose last frame has not come */
    uint8_t opcode, mask[4];
    uint64_t at, left;
    uint8_t control[WEBSOCKET_CONTROL_MAX];
    /* What leaves before the session's bytes: an answer, a frame's head; and the pong behind the
     * frame that leaves now. */
    struct buffer out;
    uint8_t pong[2 + WEBSOCKET_CONTROL_MAX];
    unsigned pong_len;
    size_t frame_left; /* of the session's bytes, in the frame that leaves now */
};

/* Loads what the answer to a request takes; before the jail. */
int vnc_websocket_load(struct kv_error *err);
/* NULL: no memory. */
struct vnc_websocket *vnc_websocket_create(void);
void vnc_websocket_free(struct vnc_websocket *websocket);

/* Bytes of the browser's arrive; take gets those of the session. False: take said so, or there is
 * no memory. */
bool vnc_websocket_receive(struct vnc_websocket *websocket, const uint8_t *bytes, size_t len,
                           bool (*take)(void *opaque, const uint8_t *bytes, size_t len),
                           void *opaque);

/* What has to be sent next when session is what the session sends: how many bytes, from *bytes on.
 * Then those that were sent are reported. */
size_t vnc_websocket_next(struct vnc_websocket *websocket, const struct buffer *session,
                          const uint8_t **bytes);
void vnc_websocket_sent(struct vnc_websocket *websocket, struct buffer *session, size_t len);

#endif
