/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One viewer, for the files that speak with it: vnc_greeting.c lets it in,
 * vnc_message.c takes what it says, vnc_update.c makes what it is shown,
 * vnc_client.c carries the bytes. On the display's thread.
 */
#ifndef KV_VMM_DISPLAY_VNC_CLIENT_H
#define KV_VMM_DISPLAY_VNC_CLIENT_H

#include "vmm/display/clipboard.h"
#include "vmm/display/vnc.h"
#include "vmm/display/vnc_encode.h"
#include "vmm/display/vnc_link.h"
#include "vmm/display/vnc_websocket.h"

/* Things that a viewer understands, by the encodings that it lists: real ones and the pseudo
 * encodings of what else can be told it. */
enum vnc_encoding {
    ENCODING_RAW = 0,
    ENCODING_HEXTILE = 5,
    ENCODING_TIGHT = 7,
    ENCODING_ZRLE = 16,
    ENCODING_DESKTOP_SIZE = -223,
    ENCODING_CURSOR = -239,
    ENCODING_POINTER_MODE = -257,
    ENCODING_KEY_CODES = -258,
    ENCODING_LIGHTS = -261,
    ENCODING_SCREENS = -308, /* ExtendedDesktopSize */
    ENCODING_CURSOR_ALPHA = -314,
    ENCODING_CLIPBOARD = -1063131698, /* 0xc0a1e5ce: the extended one */
};

/* Pseudo-rectangles, as bits: of what a viewer understands, and of what is due. */
enum vnc_notice {
    NOTICE_SIZE = 1 << 0,    /* by whichever of the two ways it knows */
    NOTICE_KEYS = 1 << 1,    /* that it may send key codes */
    NOTICE_POINTER = 1 << 2, /* absolute or relative */
    NOTICE_LIGHTS = 1 << 3,
    NOTICE_CURSOR = 1 << 4,
};

/* What a viewer is owed about the clipboard, as bits. */
enum vnc_clip_due {
    CLIP_CAPABILITIES = 1 << 0, /* what we can */
    CLIP_REQUEST = 1 << 1,      /* it has a text, which we want */
    CLIP_NOTICE = 1 << 2,       /* whether there is one */
    CLIP_TEXT = 1 << 3,         /* the one that it asked for */
    CLIP_CHANGED = 1 << 4,      /* that there is another one, or that one itself */
};

/* Why a size is told, and what became of a wish (community protocol specification, 7.8.2.4). */
enum vnc_size_reason { SIZE_BY_SERVER, SIZE_BY_VIEWER };
enum vnc_size_status { SIZE_DONE, SIZE_PROHIBITED };

struct vnc_client {
    struct list node;
    struct vnc *vnc;
    struct vnc_link link;
    struct vnc_websocket *websocket; /* NULL: the session's bytes go as they are */
    bool starts_tls;                 /* once what it was told has left */
    struct loop_source source;
    struct loop_timer login;
    struct buffer in, out;
    /* What is done with the next bytes once there are enough, and how many those are. */
    bool (*next)(struct vnc_client *client, const uint8_t *bytes);
    size_t needed;
    bool keep;   /* it only looked at them: there are more of the message */
    size_t skip; /* bytes of a text that nobody wants */
    unsigned minor;
    uint8_t challenge[VNC_CHALLENGE];
    bool trusted;   /* needs no password, and no TLS */
    bool ready;     /* the picture may be sent */
    bool exclusive; /* wants to be alone, and is */
    bool ending;    /* closed once what it is told has left */

    struct vnc_format format;
    int32_t encoding; /* of pixels */
    struct vnc_zlib zrle, tight;
    unsigned understands;   /* enum vnc_notice */
    bool screens, alpha;    /* the newer way to tell of sizes, of pointers */
    unsigned due;           /* enum vnc_notice */
    bool wants;             /* asked for an update */
    unsigned width, height; /* that it knows */
    uint8_t size_reason, size_status;
    bool told_absolute; /* what the last notice of each kind said */
    unsigned told_lights;
    unsigned told_cursor; /* serial */
    struct {
        uint16_t x, x_end; /* nothing: equal */
    } bands[VNC_BANDS_MAX];
    unsigned band; /* where the next update begins: all get their turn */
    unsigned x, y; /* where its pointer was */
    struct {
        bool extended;
        uint32_t actions; /* that it understands */
        uint32_t unasked; /* the largest text that it takes without having asked for it */
        unsigned due;     /* enum vnc_clip_due */
        unsigned told;    /* number of the text that it knows of */
    } clip;
};

/* Waits for so many bytes, which next takes. */
void vnc_expect(struct vnc_client *client, size_t needed,
                bool (*next)(struct vnc_client *client, const uint8_t *bytes));
/* The message is longer than what was looked at. */
void vnc_expect_more(struct vnc_client *client, size_t needed,
                     bool (*next)(struct vnc_client *client, const uint8_t *bytes));

/* Without memory the viewer's end comes. */
void vnc_send(struct vnc_client *client, const void *bytes, size_t len);
void vnc_send_be16(struct vnc_client *client, unsigned value);
void vnc_send_be32(struct vnc_client *client, uint32_t value);

/* vnc_greeting.c: takes the version, then the rest of the greeting. */
bool vnc_greet(struct vnc_client *client, const uint8_t *bytes);
#define VNC_VERSION "RFB 003.008\n"
#define VNC_VERSION_LEN 12
/* Its TLS stands. False: it is to be closed. */
bool vnc_greet_under_tls(struct vnc_client *client);
/* Tells QMP's clients. */
void vnc_client_tell(const struct vnc_client *client, const char *event);

/* vnc_message.c: takes the first byte of a message, then the rest. */
bool vnc_take_message(struct vnc_client *client, const uint8_t *bytes);
#define VNC_ENCODINGS_MAX 1024

/* vnc_clipboard.c: takes a message with a text, of at most so many bytes. */
bool vnc_take_cut_text(struct vnc_client *client, const uint8_t *bytes);
#define VNC_CUT_TEXT_MAX (CLIPBOARD_MAX + 4096) /* packed ones may grow */
/* It has listed its encodings, the clipboard's among them or not. */
void vnc_clipboard_listed(struct vnc_client *client, bool extended);
/* Whether there is another text; then it is due. */
void vnc_clipboard_look(struct vnc_client *client);
/* What is due goes out; nothing else waits. */
void vnc_clipboard_tell(struct vnc_client *client);

/* vnc_update.c: whether pixels can be sent in it. */
bool vnc_speaks(int32_t encoding);
/* All of the picture is damage. */
void vnc_damage_all(struct vnc_client *client);

static inline uint16_t vnc_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t vnc_be32(const uint8_t *p)
{
    return (uint32_t)vnc_be16(p) << 16 | vnc_be16(p + 2);
}

#endif
