/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: bytes of a viewer's arrive at the VNC server, in pieces of any
 * size, with a password or without, plain, as a WebSocket's or with VeNCrypt,
 * while the screen and the pointer's shape change. Before the password nothing
 * but the greeting may leave.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "block/tls_server.h"
#include "fake_machine.h"
#include "require.h"
#include "vmm/display/vnc_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of an input's first byte. */
#define PASSWORD 1
#define WEBSOCKET 2
#define VENCRYPT 4

/* Version, types, challenge, result, reason; the answer to a browser's request, and a head for each
 * of the others; VeNCrypt's version and types, and what TLS says to bytes that are none of its. */
#define GREETING_MAX (12 + 2 + 16 + 4 + 4 + 64)
#define ANSWER_MAX (200 + 8 * 2 + 127)
#define VENCRYPT_MAX (2 + 2 + 4 + 1 + 4096)

static struct tls_server *tls;
static struct fake_machine fake;
static unsigned frame;

/* A picture that moves, and sometimes has another size. */
static void draw(void *opaque, bool everything)
{
    struct display *display = fake.machine.platform.display;
    uint32_t row[64];
    unsigned width = frame % 16 == 15 ? 64 : 48;
    if (!display_resize(display, width, 40))
        return;
    for (unsigned x = 0; x < width; x++)
        row[x] = (x / (frame % 9 + 1)) * 0x030507;
    display_put_row(display, frame++ % 40, row);
}

static const struct display_device_ops device_ops = {.draw = draw};

static size_t drain(int fd)
{
    char bytes[4096];
    size_t total = 0;
    for (ssize_t n; (n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0;)
        total += (size_t)n;
    return total;
}

/* Keys serve as well as certificates: the handshake is never completed. */
static void build(void)
{
    static const char keys[] = "user:0123456789abcdef\n";
    char path[32];
    int fd = memfd_create("keys", MFD_CLOEXEC);
    log_level = LOG_ERROR;
    require(write(fd, keys, sizeof(keys) - 1) == sizeof(keys) - 1);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    fake_machine_init(&fake);
    require(display_create(&fake.machine, &device_ops, NULL, NULL) == 0);
    require(vnc_password_load(NULL) == 0 && vnc_zlib_load(NULL) == 0 &&
            vnc_websocket_load(NULL) == 0 &&
            (fake.machine.platform.clipboard = clipboard_create()) &&
            tls_server_open_psk(&tls, path, NULL) == 0);
}

/* Bytes arrive; false: the session is over. */
static bool arrive(struct vnc_client *client, int peer, const uint8_t *bytes, size_t len)
{
    if (!client->link.shaking)
        return vnc_client_receive(client, bytes, len) && vnc_client_flush(client);
    require(send(peer, bytes, len, 0) == (ssize_t)len);
    return vnc_link_shake(&client->link) == -EAGAIN;
}

static void change(const struct vnc *vnc, struct vnc_client *client)
{
    vnc_clipboard_look(client);
    static const uint32_t shape[] = {0xff00ff00, 0x80123456, 0, 0xffffffff};
    if (frame % 2)
        display_refresh(vnc->display);
    if (frame % 4 == 1)
        clipboard_put(vnc->clipboard, CLIPBOARD_GUEST, frame % 8 ? "one\n" : "two", 3);
    if (frame % 8 == 0)
        display_set_cursor(vnc->display, 2, frame % 16 ? 2 : 1, 1, 0, frame % 24 ? shape : NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int sockets[2];
    size_t sent = 0;
    if (!tls)
        build();
    if (size < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets) < 0)
        return 0;
    unsigned kind = data[0], piece = data[1] % 32 + 1U;
    struct vnc vnc = {.needs_password = kind & PASSWORD, .password = "secret"};
    size_t most = GREETING_MAX + (kind & WEBSOCKET ? ANSWER_MAX : 0);
    vnc_init(&vnc, &fake.machine);
    if (kind & VENCRYPT && !(kind & WEBSOCKET)) {
        vnc.tls = tls;
        most += VENCRYPT_MAX;
    }
    struct vnc_client *client =
        vnc_client_add(&vnc, sockets[0], kind & WEBSOCKET ? VNC_WEBSOCKET : 0);
    for (data += 2, size -= 2; client && size;) {
        size_t part = MIN(piece, size);
        bool stays = arrive(client, sockets[1], data, part);
        if (stays)
            change(&vnc, client);
        if (!stays || !vnc_client_update(client)) {
            vnc_client_free(client);
            client = NULL;
        }
        sent += drain(sockets[1]);
        data += part;
        size -= part;
    }
    require(sent <= most || !(vnc.needs_password || vnc.tls));
    vnc_end(&vnc);
    close(sockets[1]);
    return 0;
}
