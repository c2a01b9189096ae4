/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SPICE's agent protocol as far as texts are copied (spice/vd_agent.h): messages
 * in chunks over a port's bytes. What the guest copies is asked for at once;
 * what viewers copied is offered and sent when the guest asks. Any order of any
 * bytes keeps at most one message each way. Everything on the port's loop. See
 * vdagent.h.
 */
#include "vmm/display/vdagent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/util.h"
#include "vmm/chardev_backend.h"

#define CHUNK_HEADER 8 /* port, size */
#define CHUNK_MAX 2048 /* bytes of a message in one chunk */
#define PORT_CLIENT 1
#define MESSAGE_HEADER 20 /* protocol, type, opaque (8 bytes), size */
#define PROTOCOL 1
#define MESSAGE_MAX (MESSAGE_HEADER + 8 + 2 * CLIPBOARD_MAX) /* a text may have CR LF */
#define SELECTION_FIELD 4                                    /* which one, and three zeros */

enum message {
    CLIPBOARD = 4,
    CAPABILITIES = 6,
    CLIPBOARD_GRAB = 7,
    CLIPBOARD_REQUEST = 8,
};

enum capability {
    CAP_BY_DEMAND = 5,
    CAP_SELECTION = 6, /* messages about the clipboard say which one is meant */
    CAP_CRLF = 9,      /* lines of the guest's texts end that way */
};

enum type { TYPE_NONE = 0, TYPE_UTF8 = 1 };

/* What the guest is to be told, in this order; each says how things stand when it leaves. */
enum due {
    DUE_CAPABILITIES = 1 << 0,
    DUE_GRAB = 1 << 1,
    DUE_REQUEST = 1 << 2,
    DUE_TEXT = 1 << 3,
};

struct vdagent {
    struct chardev *chardev;
    struct clipboard *clipboard;
    struct loop_work changed;
    bool there;            /* the agent has spoken of its capabilities */
    uint32_t capabilities; /* of the guest's agent */
    bool broken;           /* it speaks another protocol; until it comes anew */
    bool asked;            /* a text of the guest's is on its way */
    uint8_t header[CHUNK_HEADER];
    unsigned header_len;
    uint32_t port, chunk_left;
    uint64_t skip;         /* bytes that are left of a message that is too long */
    struct buffer message; /* of the guest's, as far as it came */
    struct buffer out;     /* on its way to the guest: one message in chunks */
    unsigned due;          /* enum due */
    unsigned told;         /* number of the viewers' text that was offered */
};

static struct vdagent *agent_of(struct chardev *chardev)
{
    return chardev->state;
}

static bool can(const struct vdagent *agent, enum capability capability)
{
    return agent->capabilities >> capability & 1;
}

/* ---------------------------------------------------------------- to the guest */

static void owe(struct vdagent *agent, enum due due)
{
    agent->due |= due;
    chardev_offer_input(agent->chardev);
}

/* Without memory the message is not sent. */
static void send_message(struct vdagent *agent, enum message type, const void *body, size_t len)
{
    uint8_t header[MESSAGE_HEADER] = {PROTOCOL};
    struct buffer whole = {0};
    store_le(header + 4, type, 4);
    store_le(header + 16, len, 4);
    int rc = buffer_append(&whole, header, sizeof(header));
    if (rc == 0)
        rc = buffer_append(&whole, body, len);
    while (rc == 0 && whole.len) {
        uint8_t chunk[CHUNK_HEADER];
        size_t part = MIN(whole.len, (size_t)CHUNK_MAX);
        store_le(chunk, PORT_CLIENT, 4);
        store_le(chunk + 4, part, 4);
        rc = buffer_append(&agent->out, chunk, sizeof(chunk));
        if (rc == 0)
            rc = buffer_append(&agent->out, buffer_bytes(&whole), part);
        buffer_consume(&whole, part);
    }
    if (rc < 0)
        buffer_consume(&agent->out, agent->out.len);
    buffer_free(&whole);
}

/* The clipboard proper is selection 0. */
static void send_clipboard(struct vdagent *agent, enum message type, enum type format,
                           const char *text, size_t len)
{
    size_t head = (can(agent, CAP_SELECTION) ? SELECTION_FIELD : 0) + 4;
    uint8_t *body = calloc(1, head + len);
    if (!body)
        return;
    store_le(body + head - 4, format, 4);
    if (len)
        memcpy(body + head, text, len);
    send_message(agent, type, body, head + len);
    free(body);
}

static void send_capabilities(struct vdagent *agent)
{
    uint8_t body[8] = {!agent->there};
    store_le(body + 4, BIT(CAP_BY_DEMAND) | BIT(CAP_SELECTION), 4);
    send_message(agent, CAPABILITIES, body, sizeof(body));
}

static void send_grab(struct vdagent *agent)
{
    enum clipboard_side from;
    if (clipboard_number(agent->clipboard, &from) && from == CLIPBOARD_VIEWERS)
        send_clipboard(agent, CLIPBOARD_GRAB, TYPE_UTF8, NULL, 0);
}

static void send_request(struct vdagent *agent)
{
    agent->asked = true;
    send_clipboard(agent, CLIPBOARD_REQUEST, TYPE_UTF8, NULL, 0);
}

static void send_text(struct vdagent *agent)
{
    enum clipboard_side from;
    size_t len = 0;
    unsigned number = clipboard_number(agent->clipboard, &from);
    char *text =
        number && from == CLIPBOARD_VIEWERS ? clipboard_get(agent->clipboard, &len, &number) : NULL;
    if (text && can(agent, CAP_CRLF)) {
        char *lines = clipboard_text_to_crlf(text, len, &len);
        free(text);
        text = lines;
    }
    send_clipboard(agent, CLIPBOARD, text ? TYPE_UTF8 : TYPE_NONE, text, text ? len : 0);
    free(text);
}

static bool has_input(struct chardev *chardev)
{
    struct vdagent *agent = agent_of(chardev);
    return agent->out.len || agent->due;
}

static size_t read_input(struct chardev *chardev, uint8_t *bytes, size_t room)
{
    static void (*const sends[])(struct vdagent *) = {send_capabilities, send_grab, send_request,
                                                      send_text};
    struct vdagent *agent = agent_of(chardev);
    for (unsigned i = 0; i < ARRAY_SIZE(sends) && !agent->out.len; i++) {
        if (agent->due >> i & 1) {
            agent->due &= ~(1u << i);
            sends[i](agent);
        }
    }
    size_t len = MIN(room, agent->out.len);
    if (len)
        memcpy(bytes, buffer_bytes(&agent->out), len);
    buffer_consume(&agent->out, len);
    return len;
}

/* What viewers copied is offered; what the guest copied is its own. */
static void offer(void *opaque)
{
    struct vdagent *agent = opaque;
    enum clipboard_side from;
    unsigned number = clipboard_number(agent->clipboard, &from);
    if (!agent->there || !number || from != CLIPBOARD_VIEWERS || number == agent->told)
        return;
    agent->told = number;
    owe(agent, DUE_GRAB);
}

/* ---------------------------------------------------------------- from the guest */

static void take_capabilities(struct vdagent *agent, const uint8_t *body, size_t len)
{
    if (len < 8)
        return;
    agent->capabilities = (uint32_t)load_le(body + 4, 4);
    agent->there = true;
    if (load_le(body, 4))
        owe(agent, DUE_CAPABILITIES);
    offer(agent);
}

static void take_grab(struct vdagent *agent, const uint8_t *body, size_t len)
{
    for (size_t at = 0; at + 4 <= len; at += 4) {
        if (load_le(body + at, 4) == TYPE_UTF8) {
            owe(agent, DUE_REQUEST);
            return;
        }
    }
}

static void take_request(struct vdagent *agent, const uint8_t *body, size_t len)
{
    owe(agent, DUE_TEXT);
}

static void take_text(struct vdagent *agent, const uint8_t *body, size_t len)
{
    if (!agent->asked || len < 4)
        return;
    agent->asked = false;
    if (load_le(body, 4) != TYPE_UTF8)
        return;
    size_t text_len;
    char *text = clipboard_text_from_crlf((const char *)body + 4, len - 4, &text_len);
    if (text && !clipboard_put(agent->clipboard, CLIPBOARD_GUEST, text, text_len))
        log_guest("vdagent: a copied text of %zu bytes is no UTF-8 or too long", text_len);
    free(text);
}

/* Of the clipboard's messages only those about selection 0 count. */
static void take_message(struct vdagent *agent, uint32_t type, const uint8_t *body, size_t len)
{
    static const struct {
        enum message type;
        bool selects;
        void (*take)(struct vdagent *agent, const uint8_t *body, size_t len);
    } rows[] = {
        {CAPABILITIES, false, take_capabilities},
        {CLIPBOARD_GRAB, true, take_grab},
        {CLIPBOARD_REQUEST, true, take_request},
        {CLIPBOARD, true, take_text},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].type != type)
            continue;
        size_t field = rows[i].selects && can(agent, CAP_SELECTION) ? SELECTION_FIELD : 0;
        if (len >= field && (!field || body[0] == 0))
            rows[i].take(agent, body + field, len - field);
    }
}

/* As far as it came; what is too long is not kept. */
static void take_bytes(struct vdagent *agent, const uint8_t *bytes, size_t len)
{
    while (len && !agent->broken) {
        size_t known = agent->message.len, wanted = MESSAGE_HEADER - known;
        if (agent->skip) {
            size_t part = (size_t)MIN(agent->skip, len);
            agent->skip -= part;
            bytes += part;
            len -= part;
            continue;
        }
        if (known >= MESSAGE_HEADER)
            wanted = MESSAGE_HEADER + load_le(buffer_bytes(&agent->message) + 16, 4) - known;
        size_t part = MIN(wanted, len);
        agent->broken = buffer_append(&agent->message, bytes, part) < 0;
        bytes += part;
        len -= part;
        const uint8_t *head = buffer_bytes(&agent->message);
        if (agent->broken || agent->message.len < MESSAGE_HEADER)
            continue;
        uint64_t size = load_le(head + 16, 4);
        if (load_le(head, 4) != PROTOCOL) {
            agent->broken = true;
        } else if (MESSAGE_HEADER + size > MESSAGE_MAX) {
            log_guest("vdagent: a message of %llu bytes is not looked at",
                      (unsigned long long)size);
            agent->skip = size;
            buffer_consume(&agent->message, agent->message.len);
        } else if (agent->message.len == MESSAGE_HEADER + size) {
            take_message(agent, (uint32_t)load_le(head + 4, 4), head + MESSAGE_HEADER, size);
            buffer_consume(&agent->message, agent->message.len);
        }
    }
}

/* Takes everything, always. */
static size_t write_output(struct chardev *chardev, const uint8_t *bytes, size_t len)
{
    struct vdagent *agent = agent_of(chardev);
    for (size_t left = len, part; left && !agent->broken; bytes += part, left -= part) {
        if (agent->chunk_left) {
            part = MIN(left, (size_t)agent->chunk_left);
            agent->chunk_left -= (uint32_t)part;
            if (agent->port == PORT_CLIENT)
                take_bytes(agent, bytes, part);
            continue;
        }
        part = MIN(left, CHUNK_HEADER - (size_t)agent->header_len);
        memcpy(agent->header + agent->header_len, bytes, part);
        agent->header_len += (unsigned)part;
        if (agent->header_len < CHUNK_HEADER)
            continue;
        agent->header_len = 0;
        agent->port = (uint32_t)load_le(agent->header, 4);
        agent->chunk_left = (uint32_t)load_le(agent->header + 4, 4);
    }
    return len;
}

/* ---------------------------------------------------------------- comes and goes */

static void guest_open(struct chardev *chardev, bool open)
{
    struct vdagent *agent = agent_of(chardev);
    buffer_consume(&agent->message, agent->message.len);
    buffer_consume(&agent->out, agent->out.len);
    agent->header_len = agent->chunk_left = 0;
    agent->skip = 0;
    agent->there = agent->broken = agent->asked = false;
    agent->capabilities = agent->due = agent->told = 0;
    if (open)
        owe(agent, DUE_CAPABILITIES);
}

static void close_agent(struct chardev *chardev)
{
    struct vdagent *agent = agent_of(chardev);
    clipboard_leave(agent->clipboard, CLIPBOARD_GUEST);
    buffer_free(&agent->message);
    buffer_free(&agent->out);
    free(agent);
}

static const struct chardev_backend backend = {
    .name = VDAGENT,
    .guest_open = guest_open,
    .write = write_output,
    .has_input = has_input,
    .read = read_input,
    .close = close_agent,
};

int vdagent_open(struct chardev **out, struct clipboard *clipboard, struct loop *loop,
                 struct kv_error *err)
{
    struct vdagent *agent = calloc(1, sizeof(*agent));
    if (!agent)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "vdagent: out of memory");
    int rc = chardev_open_backend(out, &backend, agent, loop, err);
    if (rc < 0) {
        free(agent);
        return rc;
    }
    agent->chardev = *out;
    agent->clipboard = clipboard;
    agent->changed = (struct loop_work){.fn = offer, .opaque = agent};
    clipboard_join(clipboard, CLIPBOARD_GUEST, loop, &agent->changed);
    return 0;
}
