/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: bytes of a viewer's arrive at the VNC server, in pieces of any
 * size, with a password or without, while a second viewer looks and the screen
 * changes. Before the password nothing but the greeting may leave.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "fake_machine.h"
#include "vmm/display/vnc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Version, types, challenge, result, reason. */
#define GREETING_MAX (12 + 2 + 16 + 4 + 4 + 64)

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int sockets[2];
    size_t sent = 0;
    if (!fake.machine.platform.display) {
        log_level = LOG_ERROR;
        fake_machine_init(&fake);
        if (display_create(&fake.machine, &device_ops, NULL, NULL) < 0)
            abort();
    }
    if (size < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets) < 0)
        return 0;
    struct vnc vnc = {.needs_password = data[0] & 1, .password = "secret"};
    unsigned piece = data[1] % 32 + 1U;
    vnc_password_load(NULL);
    vnc_init(&vnc, &fake.machine);
    struct vnc_client *client = vnc_client_add(&vnc, sockets[0], false);
    for (data += 2, size -= 2; client && size;) {
        size_t part = MIN(piece, size);
        bool stays = vnc_client_receive(client, data, part) && vnc_client_flush(client);
        if (stays && frame % 2)
            display_refresh(vnc.display);
        if (!stays || !vnc_client_update(client)) {
            vnc_client_free(client);
            client = NULL;
        }
        sent += drain(sockets[1]);
        data += part;
        size -= part;
    }
    if (vnc.needs_password && sent > GREETING_MAX)
        abort();
    vnc_end(&vnc);
    close(sockets[1]);
    return 0;
}
