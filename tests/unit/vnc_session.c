/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See vnc_session.h. */
#include "vnc_session.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void draw(void *opaque, bool everything)
{
    struct session *session = opaque;
    bool there = display_resize(session->vnc.display, SESSION_WIDTH, SESSION_HEIGHT);
    for (unsigned y = 0; there && y < SESSION_HEIGHT; y++)
        display_put_row(session->vnc.display, y, session->pixels[y]);
}

static const struct display_device_ops device_ops = {.draw = draw};

void session_init(struct session *session)
{
    memset(session, 0, sizeof(*session));
    session->fd = -1;
    fake_machine_init(&session->fake);
    int rc = display_create(&session->fake.machine, &device_ops, session, NULL);
    assert(rc == 0);
    vnc_init(&session->vnc, &session->fake.machine);
}

void session_destroy(struct session *session)
{
    vnc_end(&session->vnc);
    if (session->fd >= 0)
        close(session->fd);
    display_free(&session->fake.machine);
    fake_machine_destroy(&session->fake);
}

void session_connect(struct session *session)
{
    int fds[2], rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds);
    assert(rc == 0);
    session->fd = fds[1];
    session->client = vnc_client_add(&session->vnc, fds[0], session->kind);
    assert(session->client);
}

bool session_send(struct session *session, const void *bytes, size_t len)
{
    struct vnc_client *client = session->client;
    bool stays = vnc_client_receive(client, bytes, len) && vnc_client_flush(client);
    if (stays)
        return true;
    vnc_client_free(client);
    session->client = NULL;
    return false;
}

size_t session_receive(struct session *session, uint8_t *bytes, size_t size)
{
    size_t total = 0;
    for (ssize_t n; total < size && (n = read(session->fd, bytes + total, size - total)) > 0;)
        total += (size_t)n;
    return total;
}

void session_log_in(struct session *session)
{
    uint8_t bytes[256];
    session_connect(session);
    session_send(session, VNC_VERSION, VNC_VERSION_LEN);
    SESSION_SEND(session, 1);
    SESSION_SEND(session, 1);
    session_receive(session, bytes, sizeof(bytes));
}

void session_understand(struct session *session, const int32_t *encodings, unsigned count)
{
    uint8_t bytes[4 + 4 * 16] = {2, 0, 0, (uint8_t)count};
    assert(count <= 16);
    for (unsigned i = 0; i < count; i++)
        for (unsigned k = 0; k < 4; k++)
            bytes[4 + 4 * i + k] = (uint8_t)((uint32_t)encodings[i] >> (24 - 8 * k));
    session_send(session, bytes, 4 + 4 * (size_t)count);
}

size_t session_update(struct session *session, bool incremental, uint8_t *bytes, size_t size)
{
    SESSION_SEND(session, 3, incremental, 0, 0, 0, 0, 0, SESSION_WIDTH, 0, SESSION_HEIGHT);
    display_refresh(session->vnc.display);
    bool stays = vnc_client_update(session->client);
    assert(stays);
    return session_receive(session, bytes, size);
}
