/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Texts that are copied between a viewer and the guest: cut text (RFC 6143
 * 7.5.6, 7.6.4), and the extended clipboard of the community protocol
 * specification (7.7.27), which has UTF-8 and sends a text only when it is
 * asked for. See vnc_client.h and clipboard.h.
 */
#include <stdlib.h>

#include "base/util.h"
#include "vmm/display/vnc_client.h"
#include "vmm/machine/machine.h"

#define SERVER_CUT_TEXT 3

/* The first word of an extended message. */
enum extended {
    FORMAT_TEXT = 1 << 0,
    FORMATS = 0xffff,
    ACTION_CAPABILITIES = 1 << 24,
    ACTION_REQUEST = 1 << 25,
    ACTION_PEEK = 1 << 26,
    ACTION_NOTIFY = 1 << 27,
    ACTION_PROVIDE = 1 << 28,
};

static struct clipboard *clipboard_of(const struct vnc_client *client)
{
    return client->vnc->machine->platform.clipboard;
}

/* ---------------------------------------------------------------- to the viewer */

static void put_cut_text(struct vnc_client *client, int32_t size)
{
    static const uint8_t head[4] = {SERVER_CUT_TEXT};
    vnc_send(client, head, sizeof(head));
    vnc_send_be32(client, (uint32_t)size);
}

/* An extended message has its size below zero. */
static void put_extended(struct vnc_client *client, uint32_t flags, const void *body, size_t len)
{
    put_cut_text(client, -(int32_t)(sizeof(flags) + len));
    vnc_send_be32(client, flags);
    vnc_send(client, body, len);
}

static void put_capabilities(struct vnc_client *client)
{
    static const uint8_t largest[4] = {CLIPBOARD_MAX >> 24, CLIPBOARD_MAX >> 16 & 0xff};
    put_extended(client,
                 ACTION_CAPABILITIES | ACTION_REQUEST | ACTION_PEEK | ACTION_NOTIFY |
                     ACTION_PROVIDE | FORMAT_TEXT,
                 largest, sizeof(largest));
}

static void put_request(struct vnc_client *client)
{
    put_extended(client, ACTION_REQUEST | FORMAT_TEXT, NULL, 0);
}

static void put_notice(struct vnc_client *client)
{
    enum clipboard_side from;
    bool any = clipboard_number(clipboard_of(client), &from);
    put_extended(client, ACTION_NOTIFY | (any ? FORMAT_TEXT : 0), NULL, 0);
}

/* Its size, the text with lines that end in CR LF, a zero; as a stream of its own. */
static int pack(const char *text, size_t len, struct buffer *out)
{
    struct vnc_zlib zlib = {0};
    const uint8_t size[4] = {(uint8_t)((len + 1) >> 24), (uint8_t)((len + 1) >> 16),
                             (uint8_t)((len + 1) >> 8), (uint8_t)(len + 1)};
    int rc = buffer_append(&zlib.plain, size, sizeof(size));
    if (rc == 0)
        rc = buffer_append(&zlib.plain, text, len);
    if (rc == 0)
        rc = buffer_append(&zlib.plain, "", 1);
    if (rc == 0)
        rc = vnc_zlib_finish(&zlib, out);
    vnc_zlib_end(&zlib);
    return rc;
}

static void put_extended_text(struct vnc_client *client, const char *text, size_t len)
{
    struct buffer packed = {0};
    size_t lines_len = 0;
    char *lines = clipboard_text_to_crlf(text, len, &lines_len);
    if (lines && pack(lines, lines_len, &packed) == 0)
        put_extended(client, ACTION_PROVIDE | FORMAT_TEXT, buffer_bytes(&packed), packed.len);
    buffer_free(&packed);
    free(lines);
}

static void put_plain_text(struct vnc_client *client, const char *text, size_t len)
{
    size_t plain_len = 0;
    char *plain = clipboard_text_to_latin1(text, len, &plain_len);
    if (plain) {
        put_cut_text(client, (int32_t)plain_len);
        vnc_send(client, plain, plain_len);
    }
    free(plain);
}

/* The text itself; to one who did not ask for it only what it takes unasked. */
static void put_text(struct vnc_client *client, bool asked)
{
    size_t len = 0;
    unsigned number;
    char *text = clipboard_get(clipboard_of(client), &len, &number);
    if (text && !client->clip.extended)
        put_plain_text(client, text, len);
    else if (text && (asked || len < client->clip.unasked))
        put_extended_text(client, text, len);
    free(text);
}

void vnc_clipboard_tell(struct vnc_client *client)
{
    unsigned due = client->clip.due;
    bool notices = client->clip.extended && client->clip.actions & ACTION_NOTIFY;
    client->clip.due = 0;
    if (due & CLIP_CAPABILITIES)
        put_capabilities(client);
    if (due & CLIP_REQUEST)
        put_request(client);
    if (due & CLIP_NOTICE || (due & CLIP_CHANGED && notices))
        put_notice(client);
    if (due & CLIP_TEXT || (due & CLIP_CHANGED && !notices))
        put_text(client, due & CLIP_TEXT);
}

void vnc_clipboard_look(struct vnc_client *client)
{
    enum clipboard_side from;
    unsigned number = clipboard_of(client) ? clipboard_number(clipboard_of(client), &from) : 0;
    if (number == client->clip.told)
        return;
    client->clip.told = number;
    client->clip.due |= CLIP_CHANGED;
}

void vnc_clipboard_listed(struct vnc_client *client, bool extended)
{
    client->clip.extended = extended && clipboard_of(client) && vnc_zlib_is_there();
    client->clip.actions = ACTION_NOTIFY;
    client->clip.unasked = 0;
    if (client->clip.extended)
        client->clip.due |= CLIP_CAPABILITIES;
    vnc_clipboard_look(client);
}

/* ---------------------------------------------------------------- from the viewer */

/* What this one copied it is not told. */
static void put(struct vnc_client *client, const char *text, size_t len)
{
    unsigned number = text ? clipboard_put(clipboard_of(client), CLIPBOARD_VIEWERS, text, len) : 0;
    if (number)
        client->clip.told = number;
}

static bool take_plain_text(struct vnc_client *client, const uint8_t *bytes)
{
    size_t len = 0;
    char *text = clipboard_text_from_latin1(bytes + 8, vnc_be32(bytes + 4), &len);
    put(client, text, len);
    free(text);
    vnc_expect(client, 1, vnc_take_message);
    return true;
}

static void take_provided(struct vnc_client *client, const uint8_t *bytes, size_t len)
{
    struct buffer plain = BUFFER_INIT(4 + 2 * CLIPBOARD_MAX + 1);
    bool good = vnc_zlib_unpack(bytes, len, &plain) == 0 && plain.len >= 4;
    const uint8_t *text = buffer_bytes(&plain);
    size_t size = good ? vnc_be32(text) : 0, lines_len = 0;
    if (good && size <= plain.len - 4) {
        size -= size && text[4 + size - 1] == '\0';
        char *lines = clipboard_text_from_crlf((const char *)text + 4, size, &lines_len);
        put(client, lines, lines_len);
        free(lines);
    }
    buffer_free(&plain);
}

/* Sizes follow, one for each format in the order of their bits; text is the first. */
static void take_capabilities(struct vnc_client *client, uint32_t flags, const uint8_t *bytes,
                              size_t len)
{
    client->clip.actions = flags;
    client->clip.unasked = flags & FORMAT_TEXT && len >= 4 ? vnc_be32(bytes) : 0;
}

static bool take_extended(struct vnc_client *client, const uint8_t *bytes)
{
    size_t len = 0 - vnc_be32(bytes + 4) - sizeof(uint32_t);
    uint32_t flags = vnc_be32(bytes + 8);
    vnc_expect(client, 1, vnc_take_message);
    if (flags & ACTION_CAPABILITIES)
        take_capabilities(client, flags, bytes + 12, len);
    else if (flags & ACTION_PEEK)
        client->clip.due |= CLIP_NOTICE;
    else if (!(flags & FORMAT_TEXT))
        return true; /* other things than texts are not copied */
    else if (flags & ACTION_REQUEST)
        client->clip.due |= CLIP_TEXT;
    else if (flags & ACTION_NOTIFY)
        client->clip.due |= CLIP_REQUEST;
    else if (flags & ACTION_PROVIDE)
        take_provided(client, bytes + 12, len);
    return true;
}

bool vnc_take_cut_text(struct vnc_client *client, const uint8_t *bytes)
{
    uint32_t size = vnc_be32(bytes + 4);
    bool extended = client->clip.extended && size >> 31;
    uint32_t len = extended ? 0 - size : size;
    if (len > VNC_CUT_TEXT_MAX || (extended && len < sizeof(uint32_t)))
        return false;
    if (clipboard_of(client)) {
        vnc_expect_more(client, 8 + (size_t)len, extended ? take_extended : take_plain_text);
        return true;
    }
    client->skip = len;
    vnc_expect(client, 1, vnc_take_message);
    return true;
}
