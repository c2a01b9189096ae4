/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One viewer: greeting, password, its messages, and what is sent to it (RFC
 * 6143 7.1 to 7.6; key codes and pointer modes as in QEMU's extensions of the
 * protocol, community protocol specification 7.5.6, 7.7.5). See vnc.h.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "vmm/display/input.h"
#include "vmm/display/vnc.h"
#include "vmm/machine/machine.h"

#define VERSION "RFB 003.008\n"
#define VERSION_LEN 12
#define SECURITY_NONE 1
#define SECURITY_PASSWORD 2
#define LOGIN_NS INT64_C(10000000000) /* for the greeting and the password */
#define OUTPUT_PART (256 * 1024)      /* bytes of one update, about */
#define CUT_TEXT_MAX (1024 * 1024)
#define ENCODINGS_MAX 1024

enum encoding {
    ENCODING_RAW = 0,
    ENCODING_HEXTILE = 5,
    ENCODING_DESKTOP_SIZE = -223,
    ENCODING_POINTER_MODE = -257,
    ENCODING_KEY_CODES = -258,
};

enum message {
    SET_PIXEL_FORMAT = 0,
    SET_ENCODINGS = 2,
    UPDATE_REQUEST = 3,
    KEY_EVENT = 4,
    POINTER_EVENT = 5,
    CUT_TEXT = 6,
    QEMU_MESSAGE = 255,
};

#define POINTER_MIDDLE 0x7fff /* of movements, in relative mode */

struct vnc_client {
    struct list node;
    struct vnc *vnc;
    int fd; /* -1: none (tests) */
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
    bool trusted;   /* needs no password */
    bool ready;     /* the picture may be sent */
    bool exclusive; /* wants to be alone, and is */
    bool ending;    /* closed once what it is told has left */

    struct vnc_format format;
    bool hextile, desktop_size, pointer_mode, key_codes;
    bool tell_size, tell_pointer, tell_keys; /* pseudo-rectangles that are due */
    bool told_absolute;                      /* what the last one about pointers said */
    bool wants;                              /* asked for an update */
    unsigned width, height;                  /* that it knows */
    struct {
        uint16_t x, x_end; /* nothing: equal */
    } bands[VNC_BANDS_MAX];
    unsigned band; /* where the next update begins: all get their turn */
    unsigned x, y; /* where its pointer was */
};

struct vnc_client *vnc_client_of(struct list *node)
{
    return list_entry(node, struct vnc_client, node);
}

static uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)be16(p) << 16 | be16(p + 2);
}

static void send_bytes(struct vnc_client *client, const void *bytes, size_t len)
{
    if (buffer_append(&client->out, bytes, len) < 0)
        client->ending = true;
}

static void send_be16(struct vnc_client *client, unsigned value)
{
    uint16_t be = htobe16((uint16_t)value);
    send_bytes(client, &be, sizeof(be));
}

static void send_be32(struct vnc_client *client, uint32_t value)
{
    uint32_t be = htobe32(value);
    send_bytes(client, &be, sizeof(be));
}

static unsigned security_type(const struct vnc_client *client)
{
    return client->vnc->needs_password && !client->trusted ? SECURITY_PASSWORD : SECURITY_NONE;
}

static void tell(const struct vnc_client *client, const char *event)
{
    vnc_tell(client->vnc, event, client->fd, security_type(client) == SECURITY_PASSWORD);
}

static void expect(struct vnc_client *client, size_t needed,
                   bool (*next)(struct vnc_client *client, const uint8_t *bytes))
{
    client->needed = needed;
    client->next = next;
}

/* The message is longer than what was looked at. */
static void expect_more(struct vnc_client *client, size_t needed,
                        bool (*next)(struct vnc_client *client, const uint8_t *bytes))
{
    client->keep = true;
    expect(client, needed, next);
}

/* ---------------------------------------------------------------- messages */

static bool take_message(struct vnc_client *client, const uint8_t *bytes);

static void damage_all(struct vnc_client *client)
{
    struct display_rect all = {0, 0, client->vnc->display->width, client->vnc->display->height};
    vnc_client_damage(client, &all);
}

static bool set_pixel_format(struct vnc_client *client, const uint8_t *bytes)
{
    const uint8_t *pf = bytes + 4;
    struct vnc_format format = {.bytes = pf[0] / 8, .big_endian = pf[2]};
    bool good = (pf[0] == 8 || pf[0] == 16 || pf[0] == 32) && pf[3];
    for (unsigned i = 0; i < 3; i++) {
        format.max[i] = be16(pf + 4 + 2 * i);
        format.shift[i] = pf[10 + i];
        good = good && format.shift[i] < pf[0];
    }
    if (!good) /* colour maps: a form that viewers of this century do not ask for */
        return false;
    client->format = format;
    damage_all(client);
    expect(client, 1, take_message);
    return true;
}

static bool set_encodings(struct vnc_client *client, const uint8_t *bytes)
{
    unsigned count = be16(bytes + 2);
    client->hextile = client->desktop_size = client->pointer_mode = client->key_codes = false;
    for (unsigned i = 0; i < count; i++) {
        int32_t encoding = (int32_t)be32(bytes + 4 + 4 * (size_t)i);
        client->hextile |= encoding == ENCODING_HEXTILE;
        client->desktop_size |= encoding == ENCODING_DESKTOP_SIZE;
        client->pointer_mode |= encoding == ENCODING_POINTER_MODE;
        client->key_codes |= encoding == ENCODING_KEY_CODES;
    }
    client->tell_pointer = client->pointer_mode;
    client->tell_keys = client->key_codes;
    expect(client, 1, take_message);
    return true;
}

static bool count_encodings(struct vnc_client *client, const uint8_t *bytes)
{
    unsigned count = be16(bytes + 2);
    if (count > ENCODINGS_MAX)
        return false;
    expect_more(client, 4 + 4 * (size_t)count, set_encodings);
    return true;
}

static bool update_request(struct vnc_client *client, const uint8_t *bytes)
{
    struct display_rect rect = {be16(bytes + 2), be16(bytes + 4), be16(bytes + 6), be16(bytes + 8)};
    if (!bytes[1])
        vnc_client_damage(client, &rect);
    client->wants = true;
    vnc_look_soon(client->vnc);
    expect(client, 1, take_message);
    return true;
}

static bool key_event(struct vnc_client *client, const uint8_t *bytes)
{
    unsigned code = input_of_keysym(be32(bytes + 4));
    if (code)
        input_key(client->vnc->machine, code, bytes[1]);
    vnc_look_soon(client->vnc);
    expect(client, 1, take_message);
    return true;
}

/* A key by its place on the keyboard; the keysym counts where there is none. */
static bool key_code_event(struct vnc_client *client, const uint8_t *bytes)
{
    unsigned code = input_of_number(be32(bytes + 8));
    if (!code)
        code = input_of_keysym(be32(bytes + 4));
    if (code)
        input_key(client->vnc->machine, code, be16(bytes + 2));
    vnc_look_soon(client->vnc);
    expect(client, 1, take_message);
    return true;
}

static unsigned axis(unsigned at, unsigned size)
{
    return size < 2 ? 0 : MIN(at, size - 1) * INPUT_AXIS_MAX / (size - 1);
}

static bool pointer_event(struct vnc_client *client, const uint8_t *bytes)
{
    struct machine *machine = client->vnc->machine;
    const struct display *display = client->vnc->display;
    unsigned buttons = bytes[1], x = be16(bytes + 2), y = be16(bytes + 4);
    bool movement = client->pointer_mode && !client->told_absolute;
    if (input_is_absolute(machine) && !movement)
        input_absolute(machine, axis(x, display->width), axis(y, display->height), buttons);
    else if (movement)
        input_relative(machine, (int)x - POINTER_MIDDLE, (int)y - POINTER_MIDDLE, buttons);
    else
        input_relative(machine, (int)x - (int)client->x, (int)y - (int)client->y, buttons);
    client->x = x;
    client->y = y;
    vnc_look_soon(client->vnc);
    expect(client, 1, take_message);
    return true;
}

static bool cut_text(struct vnc_client *client, const uint8_t *bytes)
{
    client->skip = be32(bytes + 4);
    expect(client, 1, take_message);
    return client->skip <= CUT_TEXT_MAX;
}

static bool qemu_message(struct vnc_client *client, const uint8_t *bytes)
{
    if (bytes[1] != 0)
        return false;
    expect_more(client, 12, key_code_event);
    return true;
}

static bool take_message(struct vnc_client *client, const uint8_t *bytes)
{
    static const struct {
        uint8_t type, len;
        bool (*take)(struct vnc_client *client, const uint8_t *bytes);
    } rows[] = {
        {SET_PIXEL_FORMAT, 20, set_pixel_format}, {SET_ENCODINGS, 4, count_encodings},
        {UPDATE_REQUEST, 10, update_request},     {KEY_EVENT, 8, key_event},
        {POINTER_EVENT, 6, pointer_event},        {CUT_TEXT, 8, cut_text},
        {QEMU_MESSAGE, 2, qemu_message},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].type != bytes[0])
            continue;
        expect_more(client, rows[i].len, rows[i].take);
        return true;
    }
    return false;
}

/* ---------------------------------------------------------------- greeting */

/* Whether the viewer may look, as it wants to be alone or not. */
static bool share(struct vnc_client *client, bool alone)
{
    struct vnc *vnc = client->vnc;
    if (alone && vnc->share == VNC_SHARE_FORCE_SHARED)
        return false;
    if (vnc->share != VNC_SHARE_ALLOW_EXCLUSIVE)
        return true;
    list_for_each_safe (node, &vnc->clients) {
        struct vnc_client *other = vnc_client_of(node);
        if (other == client || !other->ready)
            continue;
        if (alone)
            vnc_client_free(other);
        else if (other->exclusive)
            return false;
    }
    client->exclusive = alone;
    return true;
}

static bool client_init(struct vnc_client *client, const uint8_t *bytes)
{
    static const uint8_t format[16] = {32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0};
    struct display *display = client->vnc->display;
    size_t len = strlen(client->vnc->name);
    loop_timer_cancel(&client->login);
    if (!share(client, !bytes[0]))
        return false;
    display_refresh(display);
    client->width = display->width;
    client->height = display->height;
    send_be16(client, display->width);
    send_be16(client, display->height);
    send_bytes(client, format, sizeof(format));
    send_be32(client, (uint32_t)len);
    send_bytes(client, client->vnc->name, len);
    client->ready = true;
    tell(client, "VNC_INITIALIZED");
    expect(client, 1, take_message);
    return true;
}

static bool begin_session(struct vnc_client *client)
{
    expect(client, 1, client_init);
    return true;
}

static bool check_password(struct vnc_client *client, const uint8_t *bytes)
{
    static const char reason[] = "the password is wrong";
    const struct vnc *vnc = client->vnc;
    uint8_t expected[VNC_CHALLENGE],
        differs = vnc_respond(vnc->password, client->challenge, expected) < 0;
    for (unsigned i = 0; i < VNC_CHALLENGE; i++)
        differs |= expected[i] ^ bytes[i];
    bool right =
        !differs && vnc->password[0] && (!vnc->password_until || time(NULL) < vnc->password_until);
    send_be32(client, !right);
    if (right)
        return begin_session(client);
    log_info("vnc: a viewer was refused: %s", reason);
    if (client->minor >= 8) {
        send_be32(client, sizeof(reason) - 1);
        send_bytes(client, reason, sizeof(reason) - 1);
    }
    client->ending = true;
    return true;
}

static bool begin_security(struct vnc_client *client, unsigned type)
{
    if (type == SECURITY_PASSWORD) {
        if (getrandom(client->challenge, VNC_CHALLENGE, 0) != VNC_CHALLENGE)
            return false;
        send_bytes(client, client->challenge, VNC_CHALLENGE);
        expect(client, VNC_CHALLENGE, check_password);
        return true;
    }
    if (client->minor >= 8)
        send_be32(client, 0);
    return begin_session(client);
}

static bool choose_security(struct vnc_client *client, const uint8_t *bytes)
{
    return bytes[0] == security_type(client) && begin_security(client, bytes[0]);
}

/* 3.3 is told the type; later ones choose from a list, of one. */
static bool take_version(struct vnc_client *client, const uint8_t *bytes)
{
    char text[VERSION_LEN + 1] = {0};
    unsigned major;
    memcpy(text, bytes, VERSION_LEN);
    if (sscanf(text, "RFB %3u.%3u\n", &major, &client->minor) != 2 || major != 3)
        return false;
    const uint8_t list[] = {1, (uint8_t)security_type(client)};
    if (client->minor < 7) {
        client->minor = 3;
        send_be32(client, list[1]);
        return begin_security(client, list[1]);
    }
    send_bytes(client, list, sizeof(list));
    expect(client, 1, choose_security);
    return true;
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

/* ---------------------------------------------------------------- updates */

void vnc_client_damage(struct vnc_client *client, const struct display_rect *rect)
{
    const struct display *display = client->vnc->display;
    unsigned x_end = MIN(rect->x + rect->width, display->width);
    unsigned y_end = MIN(rect->y + rect->height, display->height);
    if (rect->x >= x_end || rect->y >= y_end)
        return;
    for (unsigned band = rect->y / VNC_BAND; band <= (y_end - 1) / VNC_BAND; band++) {
        bool empty = client->bands[band].x == client->bands[band].x_end;
        unsigned x = empty ? rect->x : MIN(client->bands[band].x, rect->x);
        unsigned end = empty ? x_end : MAX(client->bands[band].x_end, x_end);
        client->bands[band].x = (uint16_t)x;
        client->bands[band].x_end = (uint16_t)end;
    }
}

void vnc_client_resized(struct vnc_client *client)
{
    memset(client->bands, 0, sizeof(client->bands));
    client->tell_size = client->ready;
    damage_all(client);
}

static void put_header(struct vnc_client *client, const struct display_rect *rect, int32_t encoding)
{
    send_be16(client, rect->x);
    send_be16(client, rect->y);
    send_be16(client, rect->width);
    send_be16(client, rect->height);
    send_be32(client, (uint32_t)encoding);
}

/* Rectangles that say something else than pixels. Returns how many. */
static unsigned put_notices(struct vnc_client *client)
{
    const struct display *display = client->vnc->display;
    struct display_rect rect = {0, 0, display->width, display->height};
    unsigned count = 0;
    if (client->tell_size && client->desktop_size) {
        put_header(client, &rect, ENCODING_DESKTOP_SIZE);
        client->width = display->width;
        client->height = display->height;
        count++;
    }
    if (client->tell_keys) {
        put_header(client, &rect, ENCODING_KEY_CODES);
        count++;
    }
    if (client->tell_pointer) {
        client->told_absolute = input_is_absolute(client->vnc->machine);
        rect.x = client->told_absolute;
        put_header(client, &rect, ENCODING_POINTER_MODE);
        count++;
    }
    client->tell_size = client->tell_keys = client->tell_pointer = false;
    return count;
}

/* The rectangle of a band within what the viewer knows of the screen, and out of the list. */
static bool take_band(struct vnc_client *client, unsigned band, struct display_rect *rect)
{
    unsigned width = MIN(client->width, client->vnc->display->width);
    unsigned height = MIN(client->height, client->vnc->display->height);
    unsigned x = client->bands[band].x, x_end = MIN((unsigned)client->bands[band].x_end, width);
    unsigned y = band * VNC_BAND, y_end = MIN(y + VNC_BAND, height);
    client->bands[band].x = client->bands[band].x_end = 0;
    *rect = (struct display_rect){x, y, x_end - x, y_end - y};
    return x < x_end && y < y_end;
}

static bool is_damaged(const struct vnc_client *client)
{
    for (unsigned band = 0; band < VNC_BANDS_MAX; band++)
        if (client->bands[band].x != client->bands[band].x_end)
            return true;
    return client->tell_size || client->tell_keys || client->tell_pointer;
}

/* A guest's driver for a tablet comes and goes. */
static void notice_pointer(struct vnc_client *client)
{
    if (client->pointer_mode && client->told_absolute != input_is_absolute(client->vnc->machine))
        client->tell_pointer = true;
}

bool vnc_client_update(struct vnc_client *client)
{
    const struct display *display = client->vnc->display;
    static const uint8_t head[4]; /* type 0, padding, the count of rectangles */
    notice_pointer(client);
    if (!client->ready || !client->wants || client->out.len || !display->pixels ||
        !is_damaged(client))
        return true;
    send_bytes(client, head, sizeof(head));
    unsigned count = put_notices(client);
    for (unsigned i = 0; i < VNC_BANDS_MAX && client->out.len < OUTPUT_PART; i++) {
        struct display_rect rect;
        unsigned band = client->band;
        client->band = (client->band + 1) % VNC_BANDS_MAX;
        if (!take_band(client, band, &rect))
            continue;
        put_header(client, &rect, client->hextile ? ENCODING_HEXTILE : ENCODING_RAW);
        int rc = client->hextile ? vnc_put_hextile(&client->out, &client->format, display, &rect)
                                 : vnc_put_raw(&client->out, &client->format, display, &rect);
        if (rc < 0)
            return false;
        count++;
    }
    if (client->ending)
        return false;
    uint8_t *start = buffer_bytes(&client->out);
    start[2] = (uint8_t)(count >> 8);
    start[3] = (uint8_t)count;
    if (count)
        client->wants = false;
    else
        buffer_consume(&client->out, client->out.len);
    return vnc_client_flush(client);
}

bool vnc_client_waits(const struct vnc_client *client)
{
    return client->ready && client->wants;
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
        .in = BUFFER_INIT(4 + 4 * ENCODINGS_MAX + 4096),
        .format = {.bytes = 4, .max = {255, 255, 255}, .shift = {16, 8, 0}},
    };
    list_add_tail(&vnc->clients, &client->node);
    vnc->client_count++;
    tell(client, "VNC_CONNECTED");
    struct loop *loop = &vnc->display->thread.loop;
    if (fd >= 0 && loop_add(loop, &client->source, fd, EPOLLIN, on_event, client) < 0) {
        vnc_client_free(client);
        return NULL;
    }
    loop_timer_arm(loop, &client->login, LOGIN_NS, too_late, client);
    send_bytes(client, VERSION, VERSION_LEN);
    expect(client, VERSION_LEN, take_version);
    if (vnc_client_flush(client))
        return client;
    vnc_client_free(client);
    return NULL;
}

void vnc_client_free(struct vnc_client *client)
{
    tell(client, "VNC_DISCONNECTED");
    loop_remove(&client->source);
    loop_timer_cancel(&client->login);
    list_del(&client->node);
    client->vnc->client_count--;
    if (client->fd >= 0)
        close(client->fd);
    buffer_free(&client->in);
    buffer_free(&client->out);
    free(client);
}
