/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VNC server over a display of the test's, and a viewer at the other end of
 * a socket: what it sends arrives at once, what it is sent is read back.
 */
#ifndef KV_TESTS_VNC_SESSION_H
#define KV_TESTS_VNC_SESSION_H

#include "fake_machine.h"
#include "vmm/display/vnc_client.h"

#define SESSION_WIDTH 80
#define SESSION_HEIGHT 40

struct session {
    struct fake_machine fake;
    struct vnc vnc;
    struct vnc_client *client;
    unsigned kind; /* enum vnc_viewer_kind, of the viewer that connects */
    int fd;        /* the viewer's */
    uint32_t pixels[SESSION_HEIGHT]
                   [SESSION_WIDTH]; /* what the display shows when it is looked at */
};

/* A machine with a display and a server. One at a time. */
void session_init(struct session *session);
void session_destroy(struct session *session);

/* A viewer connects. */
void session_connect(struct session *session);
/* Version 3.8 without a password, up to the first message. */
void session_log_in(struct session *session);
/* False: the server hung up. */
bool session_send(struct session *session, const void *bytes, size_t len);
#define SESSION_SEND(session, ...) \
    session_send(session, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
/* What has come: how much. */
size_t session_receive(struct session *session, uint8_t *bytes, size_t size);

/* Lists encodings, up to 16. */
void session_understand(struct session *session, const int32_t *encodings, unsigned count);
/* Asks for an update, of all or of what changed, and receives it; 0: there is none. */
size_t session_update(struct session *session, bool incremental, uint8_t *bytes, size_t size);

#endif
