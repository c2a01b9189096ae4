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

static bool take_bytes(void *opaque, const uint8_t *bytes, size_t len)
{
    struct vnc_client *client = opaque;
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

bool vnc_client_receive(struct vnc_client *client, const uint8_t *bytes, size_t len)
{
    if (!client->websocket)
        return take_bytes(client, bytes, len);
    bool stays = vnc_websocket_receive(client->websocket, bytes, len, take_bytes, client);
    client->ending |= client->websocket->ending;
    return stays;
}

/* ---------------------------------------------------------------- socket */

/* What is to leave next. */
static size_t next_bytes(struct vnc_client *client, const uint8_t **bytes)
{
    if (client->websocket)
        return vnc_websocket_next(client->websocket, &client->out, bytes);
    *bytes = buffer_bytes(&client->out);
    return client->out.len;
}

/* Nothing of the plain session may be left: who wrote it is not known. */
static bool start_tls(struct vnc_client *client)
{
    client->starts_tls = false;
    return !client->in.len && vnc_link_start_tls(&client->link, client->vnc->tls) == 0;
}

bool vnc_client_flush(struct vnc_client *client)
{
    const uint8_t *bytes = NULL;
    size_t len = next_bytes(client, &bytes);
    while (client->link.fd >= 0 && !client->link.shaking && len) {
        ssize_t n = vnc_link_write(&client->link, bytes, len);
        if (n < 0 && n != -EAGAIN)
            return false;
        if (n < 0)
            break;
        if (client->websocket)
            vnc_websocket_sent(client->websocket, &client->out, (size_t)n);
        else
            buffer_consume(&client->out, (size_t)n);
        len = next_bytes(client, &bytes);
    }
    if (client->starts_tls && !len && !start_tls(client))
        return false;
    bool writes = client->link.shaking ? vnc_link_wants_to_write(&client->link) : len;
    if (client->source.loop)
        loop_modify(&client->source, EPOLLIN | (writes ? (uint32_t)EPOLLOUT : 0));
    return len || !client->ending;
}

static bool read_some(struct vnc_client *client)
{
    uint8_t bytes[VNC_LINK_READ_MAX];
    ssize_t n = vnc_link_read(&client->link, bytes, sizeof(bytes));
    if (n == -EAGAIN)
        return true;
    return n > 0 && vnc_client_receive(client, bytes, (size_t)n);
}

static bool shake(struct vnc_client *client)
{
    int rc = vnc_link_shake(&client->link);
    return rc == 0 ? vnc_greet_under_tls(client) : rc == -EAGAIN;
}

static void on_event(void *opaque, uint32_t events)
{
    struct vnc_client *client = opaque;
    bool stays = true;
    if (client->link.shaking)
        stays = shake(client);
    else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        stays = read_some(client);
    stays = stays && vnc_client_flush(client) && vnc_client_update(client);
    if (!stays)
        vnc_client_free(client);
}

static void too_late(void *opaque)
{
    vnc_client_free(opaque);
}

/* A browser's TLS comes before everything. */
static bool begin(struct vnc_client *client, unsigned kind)
{
    if (kind & VNC_WEBSOCKET) {
        client->websocket = vnc_websocket_create();
        if (!client->websocket)
            return false;
        client->starts_tls = client->vnc->tls;
    }
    vnc_client_tell(client, "VNC_CONNECTED");
    vnc_expect(client, VNC_VERSION_LEN, vnc_greet);
    if (client->starts_tls && !start_tls(client))
        return false;
    vnc_send(client, VNC_VERSION, VNC_VERSION_LEN);
    return vnc_client_flush(client);
}

struct vnc_client *vnc_client_add(struct vnc *vnc, int fd, unsigned kind)
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
        .link = {.fd = fd},
        .trusted = kind & VNC_TRUSTED,
        .source = LOOP_SOURCE_INIT,
        .in = BUFFER_INIT(8 + VNC_CUT_TEXT_MAX + VNC_LINK_READ_MAX),
        .format = {.bytes = 4, .depth = 24, .max = {255, 255, 255}, .shift = {16, 8, 0}},
    };
    list_add_tail(&vnc->clients, &client->node);
    vnc->client_count++;
    vnc_join_clipboard(vnc);
    struct loop *loop = &vnc->display->thread.loop;
    loop_timer_arm(loop, &client->login, LOGIN_NS, too_late, client);
    bool stays = fd < 0 || loop_add(loop, &client->source, fd, EPOLLIN, on_event, client) == 0;
    if (stays && begin(client, kind))
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
    vnc_link_close(&client->link);
    vnc_websocket_free(client->websocket);
    buffer_free(&client->in);
    buffer_free(&client->out);
    vnc_zlib_end(&client->zrle);
    vnc_zlib_end(&client->tight);
    free(client);
}
