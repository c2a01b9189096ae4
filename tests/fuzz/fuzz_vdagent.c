/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a guest's agent says anything over its port, in pieces of any
 * size, while viewers copy texts and the guest makes room or does not. Each act
 * is a kind, a size and that many bytes. What the guest receives is always in
 * whole chunks, and a text that is taken is UTF-8.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "require.h"
#include "vmm/display/vdagent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BYTES, MESSAGE, TEXT, COPY, ROOM, OPEN, KINDS };

static struct loop loop;
static struct clipboard *clipboard;
static struct chardev *port;
static size_t room;
static uint8_t header[8];
static unsigned header_len;
static uint32_t chunk_left;

static size_t can_receive(void *opaque)
{
    return room;
}

static void receive(void *opaque, const uint8_t *bytes, size_t len)
{
    require(len <= room);
    room -= len;
    for (; len; bytes++, len--) {
        if (chunk_left) {
            chunk_left--;
            continue;
        }
        header[header_len++] = *bytes;
        if (header_len < sizeof(header))
            continue;
        header_len = 0;
        chunk_left = (uint32_t)load_le(header + 4, 4);
        require(load_le(header, 4) == 1 && chunk_left && chunk_left <= 2048);
    }
}

static const struct chardev_ops device = {.can_receive = can_receive, .receive = receive};

static void stop(void *opaque)
{
    loop_stop(opaque);
}

static void turn(void)
{
    struct loop_timer timer = {0};
    loop_timer_arm(&loop, &timer, 0, stop, &loop);
    loop_run(&loop);
    loop_timer_cancel(&timer);
}

/* A message whose frame is right. */
static void say(unsigned type, const uint8_t *bytes, size_t len)
{
    uint8_t head[28] = {1, [4] = (uint8_t)(20 + len), [8] = 1, [12] = (uint8_t)type};
    head[24] = (uint8_t)len;
    chardev_write(port, head, sizeof(head));
    chardev_write(port, bytes, len);
}

static void open_port(bool open)
{
    chardev_set_guest_open(port, open);
    header_len = chunk_left = 0; /* what was on its way is gone */
}

static void act(unsigned kind, const uint8_t *bytes, size_t len)
{
    static const uint8_t types[] = {6, 7, 8, 4};
    uint8_t text[8 + 64] = {[4] = 1};
    switch (kind % KINDS) {
    case BYTES:
        chardev_write(port, bytes, len);
        break;
    case MESSAGE:
        say(types[kind / KINDS % 4], bytes, len);
        break;
    case TEXT:
        memcpy(text + 8, bytes, len);
        say(4, text, 8 + len);
        break;
    case COPY:
        clipboard_put(clipboard, CLIPBOARD_VIEWERS, bytes, len);
        break;
    case ROOM:
        room = len * len * 4;
        chardev_accept_input(port);
        turn();
        break;
    default:
        open_port(kind & 0x80);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!clipboard) {
        log_level = LOG_ERROR;
        require(loop_init(&loop, NULL) == 0);
        clipboard = clipboard_create();
        require(clipboard && vdagent_open(&port, clipboard, &loop, NULL) == 0);
        chardev_attach(port, &device, NULL);
    }
    open_port(true);
    for (; size >= 2;) {
        size_t len = MIN((size_t)data[1] % 65, size - 2);
        act(data[0], data + 2, len);
        data += 2 + len;
        size -= 2 + len;
    }
    room = SIZE_MAX;
    chardev_accept_input(port);
    turn();
    require(!header_len && !chunk_left);
    size_t len = 0;
    unsigned number;
    char *text = clipboard_get(clipboard, &len, &number);
    require(!text || clipboard_text_is_utf8(text, len));
    free(text);
    open_port(false);
    return 0;
}
