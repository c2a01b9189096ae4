/* SPDX-License-Identifier: GPL-2.0-or-later */
/* WebSocket's request and frames; see vnc_websocket.h. Sections are RFC 6455's. */
#include "vmm/display/vnc_websocket.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/library.h"
#include "base/util.h"

#define KEY_SUFFIX "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* 1.3 */
#define SHA1_SIZE 20
#define SHA1_CONTEXT 256 /* more than any version's struct sha1_ctx */
#define FRAME_MAX UINT16_MAX
#define FIN 0x80
#define MASKED 0x80
#define CLOSE_PROTOCOL_ERROR 1002
#define CLOSE_UNSUPPORTED 1003

enum opcode {
    OPCODE_MORE = 0,
    OPCODE_BINARY = 2,
    OPCODE_CLOSE = 8,
    OPCODE_PING = 9,
    OPCODE_PONG = 10,
};

static void (*sha1_init)(void *context);
static void (*sha1_update)(void *context, size_t len, const uint8_t *bytes);
static void (*sha1_digest)(void *context, size_t len, uint8_t *digest);

static const struct library_symbol symbols[] = {
    {"nettle_sha1_init", &sha1_init},
    {"nettle_sha1_update", &sha1_update},
    {"nettle_sha1_digest", &sha1_digest},
    {NULL, NULL},
};

static struct library library =
    LIBRARY("libnettle.so.8", "libnettle8", "viewers in browsers", symbols);

int vnc_websocket_load(struct kv_error *err)
{
    return library_open(&library, err);
}

struct vnc_websocket *vnc_websocket_create(void)
{
    return calloc(1, sizeof(struct vnc_websocket));
}

void vnc_websocket_free(struct vnc_websocket *websocket)
{
    if (!websocket)
        return;
    buffer_free(&websocket->out);
    free(websocket);
}

/* ---------------------------------------------------------------- request (4.2) */

/* A request's header: its value's beginning and length; NULL: it is not there. The request ends
 * with an empty line. */
static const char *find_header(const char *request, const char *name, size_t *len)
{
    for (const char *line = strstr(request, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, strlen(name)) != 0 || line[2 + strlen(name)] != ':')
            continue;
        const char *value = line + 2 + strlen(name) + 1;
        value += strspn(value, " \t");
        *len = strcspn(value, "\r");
        while (*len && strchr(" \t", value[*len - 1]))
            --*len;
        return value;
    }
    return NULL;
}

/* Whether the word is among those of a header, which commas part. */
static bool header_has(const char *request, const char *name, const char *word)
{
    size_t len = 0;
    const char *value = find_header(request, name, &len), *end = value ? value + len : NULL;
    while (value && value < end) {
        size_t skipped = strspn(value, ", \t");
        value += MIN(skipped, (size_t)(end - value));
        size_t part = MIN(strcspn(value, ", \t\r"), (size_t)(end - value));
        if (part == strlen(word) && strncasecmp(value, word, part) == 0)
            return true;
        value += part;
    }
    return false;
}

static void put_base64(char *to, const uint8_t *bytes, unsigned len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (unsigned i = 0; i < len; i += 3) {
        uint32_t value = (uint32_t)bytes[i] << 16 |
                         (i + 1 < len ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (i + 2 < len ? bytes[i + 2] : 0);
        for (unsigned k = 0; k < 4; k++)
            *to++ = i + k > len ? '=' : digits[value >> (18 - 6 * k) & 63];
    }
    *to = '\0';
}

static int answer(struct vnc_websocket *websocket, const char *request)
{
    uint8_t digest[SHA1_SIZE];
    _Alignas(16) uint8_t context[SHA1_CONTEXT];
    char accept[SHA1_SIZE * 4 / 3 + 4];
    size_t key_len = 0;
    const char *key = find_header(request, "Sec-WebSocket-Key", &key_len);
    if (strncmp(request, "GET ", 4) != 0 || !key || !key_len ||
        !header_has(request, "Upgrade", "websocket") ||
        !header_has(request, "Connection", "Upgrade") ||
        !header_has(request, "Sec-WebSocket-Version", "13")) {
        websocket->ending = true;
        return buffer_printf(&websocket->out,
                             "HTTP/1.1 400 Bad Request\r\nSec-WebSocket-Version: 13\r\n"
                             "Connection: close\r\nContent-Length: 0\r\n\r\n");
    }
    sha1_init(context);
    sha1_update(context, key_len, (const uint8_t *)key);
    sha1_update(context, strlen(KEY_SUFFIX), (const uint8_t *)KEY_SUFFIX);
    sha1_digest(context, sizeof(digest), digest);
    put_base64(accept, digest, sizeof(digest));
    websocket->open = true;
    return buffer_printf(&websocket->out,
                         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                         "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
                         accept,
                         header_has(request, "Sec-WebSocket-Protocol", "binary")
                             ? "Sec-WebSocket-Protocol: binary\r\n"
                             : "");
}

static void take_request(struct vnc_websocket *websocket, uint8_t byte)
{
    if (websocket->request_len == WEBSOCKET_REQUEST_MAX) {
        websocket->ending = true;
        return;
    }
    websocket->request[websocket->request_len++] = (char)byte;
    const char *end = websocket->request + websocket->request_len;
    if (websocket->request_len < 4 || memcmp(end - 4, "\r\n\r\n", 4) != 0)
        return;
    if (answer(websocket, websocket->request) < 0)
        websocket->ending = true;
}

/* ---------------------------------------------------------------- frames that come (5.2) */

static void close_with(struct vnc_websocket *websocket, unsigned status)
{
    const uint8_t frame[] = {FIN | OPCODE_CLOSE, 2, (uint8_t)(status >> 8), (uint8_t)status};
    websocket->ending = true;
    if (!websocket->frame_left)
        buffer_append(&websocket->out, frame, sizeof(frame));
}

static unsigned head_size(const uint8_t *head)
{
    unsigned length = head[1] & 0x7f;
    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + (head[1] & MASKED ? 4 : 0);
}

/* 0, or what is wrong with the head. */
static unsigned check_head(struct vnc_websocket *websocket)
{
    const uint8_t *head = websocket->head;
    bool fin = head[0] & FIN, control = head[0] & 8;
    uint8_t opcode = head[0] & 15;
    if (head[0] & 0x70 || !(head[1] & MASKED) || websocket->left >> 63)
        return CLOSE_PROTOCOL_ERROR;
    if (control && (!fin || websocket->left > WEBSOCKET_CONTROL_MAX))
        return CLOSE_PROTOCOL_ERROR;
    if (control)
        return opcode > OPCODE_PONG ? CLOSE_PROTOCOL_ERROR : 0;
    if (opcode != OPCODE_MORE && opcode != OPCODE_BINARY)
        return CLOSE_UNSUPPORTED;
    if (websocket->in_message != (opcode == OPCODE_MORE))
        return CLOSE_PROTOCOL_ERROR;
    websocket->in_message = !fin;
    return 0;
}

static void begin_frame(struct vnc_websocket *websocket)
{
    const uint8_t *head = websocket->head;
    unsigned length = head[1] & 0x7f, bytes = length == 126 ? 2 : length == 127 ? 8 : 0;
    websocket->left = bytes ? 0 : length;
    for (unsigned i = 0; i < bytes; i++)
        websocket->left = websocket->left << 8 | head[2 + i];
    memcpy(websocket->mask, head + 2 + bytes, sizeof(websocket->mask));
    websocket->opcode = head[0] & 15;
    websocket->at = 0;
    websocket->head_len = 0;
    websocket->in_payload = true;
    unsigned wrong = check_head(websocket);
    if (wrong)
        close_with(websocket, wrong);
}

static void take_head(struct vnc_websocket *websocket, uint8_t byte)
{
    websocket->head[websocket->head_len++] = byte;
    if (websocket->head_len >= 2 && websocket->head_len == head_size(websocket->head))
        begin_frame(websocket);
}

static void end_frame(struct vnc_websocket *websocket)
{
    websocket->in_payload = false;
    if (websocket->opcode == OPCODE_CLOSE) {
        unsigned status = websocket->at >= 2
                              ? (unsigned)(websocket->control[0] << 8 | websocket->control[1])
                              : 1000;
        close_with(websocket, status);
    } else if (websocket->opcode == OPCODE_PING) {
        websocket->pong[0] = FIN | OPCODE_PONG;
        websocket->pong[1] = (uint8_t)websocket->at;
        memcpy(websocket->pong + 2, websocket->control, websocket->at);
        websocket->pong_len = 2 + (unsigned)websocket->at;
    }
}

/* How many of the bytes belong to the frame; 0: take said no. */
static size_t take_payload(struct vnc_websocket *websocket, const uint8_t *bytes, size_t len,
                           bool (*take)(void *opaque, const uint8_t *bytes, size_t len),
                           void *opaque)
{
    uint8_t plain[4096];
    size_t part = MIN(MIN(len, sizeof(plain)), websocket->left);
    for (size_t i = 0; i < part; i++)
        plain[i] = bytes[i] ^ websocket->mask[(websocket->at + i) % 4];
    if (websocket->opcode & 8)
        memcpy(websocket->control + websocket->at, plain, part);
    else if (!take(opaque, plain, part))
        return 0;
    websocket->at += part;
    websocket->left -= part;
    return part;
}

bool vnc_websocket_receive(struct vnc_websocket *websocket, const uint8_t *bytes, size_t len,
                           bool (*take)(void *opaque, const uint8_t *bytes, size_t len),
                           void *opaque)
{
    while (len && !websocket->ending) {
        size_t part = 1;
        if (!websocket->open)
            take_request(websocket, *bytes);
        else if (!websocket->in_payload)
            take_head(websocket, *bytes);
        else
            part = take_payload(websocket, bytes, len, take, opaque);
        if (!part)
            return false;
        bytes += part;
        len -= part;
        if (websocket->in_payload && !websocket->left && !websocket->ending)
            end_frame(websocket);
    }
    return true;
}

/* ---------------------------------------------------------------- frames that leave */

static void put_head(struct vnc_websocket *websocket, size_t len)
{
    const uint8_t head[] = {FIN | OPCODE_BINARY, 126, (uint8_t)(len >> 8), (uint8_t)len};
    const uint8_t small[] = {FIN | OPCODE_BINARY, (uint8_t)len};
    int rc = len < 126 ? buffer_append(&websocket->out, small, sizeof(small))
                       : buffer_append(&websocket->out, head, sizeof(head));
    if (rc == 0)
        websocket->frame_left = len;
    else
        websocket->ending = true;
}

size_t vnc_websocket_next(struct vnc_websocket *websocket, const struct buffer *session,
                          const uint8_t **bytes)
{
    if (!websocket->out.len && !websocket->frame_left && !websocket->ending && websocket->open) {
        if (websocket->pong_len)
            buffer_append(&websocket->out, websocket->pong, websocket->pong_len);
        websocket->pong_len = 0;
        if (session->len)
            put_head(websocket, MIN(session->len, FRAME_MAX));
    }
    if (websocket->out.len) {
        *bytes = buffer_bytes(&websocket->out);
        return websocket->out.len;
    }
    if (websocket->ending)
        return 0;
    *bytes = buffer_bytes(session);
    return MIN(websocket->frame_left, session->len);
}

void vnc_websocket_sent(struct vnc_websocket *websocket, struct buffer *session, size_t len)
{
    if (websocket->out.len) {
        buffer_consume(&websocket->out, len);
        return;
    }
    buffer_consume(session, len);
    websocket->frame_left -= len;
}
