/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One viewer's connection: its socket, its bytes, its end; see vnc_client.h. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/util.h"
#include "vmm/display/vnc_client.h"

#define LOGIN_NS INT64_C(10000000000) /* for the greeting and the password */

struct vnc_client *vnc_client_of(struct list *node)
{
    return list_entry(node, struct vnc_client, node);
}

void vnc_send(struct vnc_client *client, const void *bytes, size_t len)
{
    if (buffer_append(&client->out, bytes, len) < 0)
        client->ending = true;
}

void vnc_send_be16(struct vnc_client *client, unsigned value)
{
    uint16_t be = htobe16((uint16_t)value);
    vnc_send(client, &be, sizeof(be));
}

void vnc_send_be32(struct vnc_client *client, uint32_t value)
{
    uint32_t be = htobe32(value);
    vnc_send(client, &be, sizeof(be));
}

void vnc_expect(struct vnc_client *client, size_t needed,
                bool (*next)(struct vnc_client *client, const uint8_t *bytes))
{
    client->needed = needed;
    client->next = next;
}

void vnc_expect_more(struct vnc_client *client, size_t needed,
                     bool (*next)(struct vnc_client *client, const uint8_t *bytes))
{
    client->keep = true;
    vnc_expect(client, needed, next);
}

bool vnc_client_receive(struct vnc_client *client, const uint8_t *bytes, size_t len)
{
    if (buffer_append(&client->in, bytes, len) < 0)
        return false;
    while (!client->ending && client->in.len) {
        size_t skip = MIN(client->skip, client->in.len);
        client->skip -= skip;
        buffer_consume(&client->in, skip);
        if (client->in.len < client->needed || client->skip)
            break;
        bool (*next)(struct vnc_client *, const uint8_t *) = client->next;
        size_t needed = client->needed;
        client->keep = false;
        if (!next(client, buffer_bytes(&client->in)))
            return false;
        if (!client->keep)
            buffer_consume(&client->in, needed);
    }
    return true;
}

/* ---------------------------------------------------------------- socket */

bool vnc_client_flush(struct vnc_client *client)
{
    while (client->fd >= 0 && client->out.len) {
        ssize_t n = write(client->fd, buffer_bytes(&client->out), client->out.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n < 0)
            break;
        buffer_consume(&client->out, (size_t)n);
    }
    if (client->source.loop)
        loop_modify(&client->source, EPOLLIN | (client->out.len ? (uint32_t)EPOLLOUT : 0));
    return client->out.len || !client->ending;
}

static bool read_some(struct vnc_client *client)
{
    uint8_t bytes[4096];
    ssize_t n = read(client->fd, bytes, sizeof(bytes));
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    return n > 0 && vnc_client_receive(client, bytes, (size_t)n);
}

static void on_event(void *opaque, uint32_t events)
{
    struct vnc_client *client = opaque;
    bool stays = true;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        stays = read_some(client);
    stays = stays && vnc_client_flush(client) && vnc_client_update(client);
    if (!stays)
        vnc_client_free(client);
}

static void too_late(void *opaque)
{
    vnc_client_free(opaque);
}

struct vnc_client *vnc_client_add(struct vnc *vnc, int fd, bool trusted)
{
    struct vnc_client *client =
        vnc->client_count < VNC_CLIENTS_MAX ? calloc(1, sizeof(*client)) : NULL;
    if (!client) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    *client = (struct vnc_client){
        .vnc = vnc,
        .fd = fd,
        .trusted = trusted,
        .source = LOOP_SOURCE_INIT,
        .in = BUFFER_INIT(4 + 4 * VNC_ENCODINGS_MAX + 4096),
        .format = {.bytes = 4, .depth = 24, .max = {255, 255, 255}, .shift = {16, 8, 0}},
    };
    list_add_tail(&vnc->clients, &client->node);
    vnc->client_count++;
    vnc_client_tell(client, "VNC_CONNECTED");
    struct loop *loop = &vnc->display->thread.loop;
    if (fd >= 0 && loop_add(loop, &client->source, fd, EPOLLIN, on_event, client) < 0) {
        vnc_client_free(client);
        return NULL;
    }
    loop_timer_arm(loop, &client->login, LOGIN_NS, too_late, client);
    vnc_send(client, VNC_VERSION, VNC_VERSION_LEN);
    vnc_expect(client, VNC_VERSION_LEN, vnc_greet);
    if (vnc_client_flush(client))
        return client;
    vnc_client_free(client);
    return NULL;
}

void vnc_client_free(struct vnc_client *client)
{
    vnc_client_tell(client, "VNC_DISCONNECTED");
    loop_remove(&client->source);
    loop_timer_cancel(&client->login);
    list_del(&client->node);
    client->vnc->client_count--;
    if (client->fd >= 0)
        close(client->fd);
    buffer_free(&client->in);
    buffer_free(&client->out);
    vnc_zlib_end(&client->zrle);
    vnc_zlib_end(&client->tight);
    free(client);
}
