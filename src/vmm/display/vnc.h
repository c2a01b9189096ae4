/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VNC server (RFC 6143): who looks at the screen over a socket. vnc.c
 * listens and is the device; vnc_client.h's files speak with one viewer,
 * vnc_encode.h's make rectangles of pixels. Everything belongs to the display's
 * thread. Nothing blocks: a viewer that does not read gets fewer, larger
 * updates; what a viewer can make the server keep is bounded, and before its
 * password nothing of the screen leaves.
 */
#ifndef KV_VMM_DISPLAY_VNC_H
#define KV_VMM_DISPLAY_VNC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/list.h"
#include "base/loop.h"
#include "vmm/device.h"
#include "vmm/display/display.h"

#define VNC_CLIENTS_MAX 32
#define VNC_PASSWORD_MAX 8 /* bytes that count; that is the protocol's */
#define VNC_CHALLENGE 16
#define VNC_BAND 16 /* rows; damage is noted for each so many */
#define VNC_BANDS_MAX 256

/* What becomes of a viewer that wants to be alone. */
enum vnc_share {
    VNC_SHARE_IGNORE,          /* others stay */
    VNC_SHARE_ALLOW_EXCLUSIVE, /* others are cut off, and none comes in while it looks */
    VNC_SHARE_FORCE_SHARED,    /* it is */
};

/* A socket that viewers connect to. */
struct vnc_listener {
    struct vnc *vnc;
    int fd;        /* -1: none */
    char *address; /* as it was asked for, or NULL */
    char *path;    /* of a unix socket that is ours, or NULL */
    struct loop_source source;
};

struct vnc {
    struct device device;
    struct machine *machine;
    struct display *display;
    const char *name; /* of the desktop */
    struct vnc_listener plain, websocket;
    struct tls_server *tls;  /* NULL: none; then every viewer has to use it */
    struct loop_timer timer; /* the next look at the screen; armed while a viewer waits */
    int64_t interval_ns;
    bool changed;                /* since the last look */
    struct clipboard *clipboard; /* NULL: none, or nobody looked yet */
    struct loop_work clipboard_work;
    struct list clients;
    unsigned client_count;
    enum vnc_share share;
    bool has_passwords; /* what they need is loaded */
    bool needs_password;
    char password[VNC_PASSWORD_MAX + 1]; /* empty: nobody comes in */
    int64_t password_until;              /* seconds since the epoch; 0: for ever */
};

struct tls_server;
struct vnc_client;
struct vnc_client *vnc_client_of(struct list *node);

enum vnc_viewer_kind {
    VNC_TRUSTED = 1 << 0,   /* needs no password, and no TLS */
    VNC_WEBSOCKET = 1 << 1, /* a browser; where there is TLS it begins with it */
};

/* Takes the connected socket over. NULL: no memory or too many. */
struct vnc_client *vnc_client_add(struct vnc *vnc, int fd, unsigned kind);
void vnc_client_free(struct vnc_client *client);
/* Bytes of the viewer's arrive; false: it is to be closed. For the socket's events, and for tests.
 */
bool vnc_client_receive(struct vnc_client *client, const uint8_t *bytes, size_t len);
bool vnc_client_flush(struct vnc_client *client);
bool vnc_client_waits(const struct vnc_client *client);
/* What changed goes out if the viewer asked for it and has read what came before. */
bool vnc_client_update(struct vnc_client *client);
void vnc_client_damage(struct vnc_client *client, const struct display_rect *rect);
void vnc_client_resized(struct vnc_client *client);

/* From the first viewer on they are told of what the guest copies. */
void vnc_join_clipboard(struct vnc *vnc);

/* A viewer waits for changes, or did something that may cause some. */
void vnc_look_soon(struct vnc *vnc);

/* Loads what passwords need; before the jail. */
int vnc_password_load(struct kv_error *err);
/* The answer to a challenge. -ENOENT: that is not there. */
int vnc_respond(const char *password, const uint8_t challenge[VNC_CHALLENGE],
                uint8_t response[VNC_CHALLENGE]);

/* QEMU's name of how viewers are let in. */
const char *vnc_auth_name(bool vencrypt, bool password);
/* Tells QMP's clients of a viewer's socket. */
void vnc_tell(const struct vnc *vnc, const char *event, int fd, const char *auth, bool websocket);

/* For QMP, on the control thread. */
struct vnc *vnc_find(struct machine *machine);
int vnc_set_password(struct vnc *vnc, const char *password, struct kv_error *err);
void vnc_expire_password(struct vnc *vnc, int64_t until);
/* A viewer whose socket (taken over) came by other ways. -ENOSPC: there are too many. */
int vnc_add_viewer(struct vnc *vnc, int fd, bool trusted);
json_t *vnc_describe(struct vnc *vnc);

/* For tests: all but the socket. */
void vnc_init(struct vnc *vnc, struct machine *machine);
void vnc_end(struct vnc *vnc);

#endif
