/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a viewer says once it is let in (RFC 6143 7.5; key codes, pointer modes and sizes as in the
 * community protocol specification, 7.4.9, 7.5.6, 7.8). See vnc_client.h.
 */
#include "base/util.h"
#include "vmm/display/input.h"
#include "vmm/display/vnc_client.h"

#define SCREEN_SIZE 16        /* bytes of a screen in a wish for another size */
#define POINTER_MIDDLE 0x7fff /* of movements, in relative mode */

enum message {
    SET_PIXEL_FORMAT = 0,
    SET_ENCODINGS = 2,
    UPDATE_REQUEST = 3,
    KEY_EVENT = 4,
    POINTER_EVENT = 5,
    CUT_TEXT = 6,
    SET_DESKTOP_SIZE = 251,
    QEMU_MESSAGE = 255,
};

static bool set_pixel_format(struct vnc_client *client, const uint8_t *bytes)
{
    const uint8_t *pf = bytes + 4;
    struct vnc_format format = {.bytes = pf[0] / 8, .depth = pf[1], .big_endian = pf[2]};
    bool good = (pf[0] == 8 || pf[0] == 16 || pf[0] == 32) && pf[3];
    for (unsigned i = 0; i < 3; i++) {
        format.max[i] = vnc_be16(pf + 4 + 2 * i);
        format.shift[i] = pf[10 + i];
        good = good && format.shift[i] < pf[0];
    }
    if (!good) /* colour maps: a form that viewers of this century do not ask for */
        return false;
    client->format = format;
    client->told_cursor = 0; /* it came in the old format */
    vnc_damage_all(client);
    vnc_expect(client, 1, vnc_take_message);
    return true;
}

/* Of pixels, the first of its list that is spoken here; the rest is what it understands beside. */
static void understand(struct vnc_client *client, int32_t encoding)
{
    static const struct {
        int32_t encoding;
        enum vnc_notice notice;
    } rows[] = {
        {ENCODING_DESKTOP_SIZE, NOTICE_SIZE}, {ENCODING_SCREENS, NOTICE_SIZE},
        {ENCODING_CURSOR, NOTICE_CURSOR},     {ENCODING_CURSOR_ALPHA, NOTICE_CURSOR},
        {ENCODING_KEY_CODES, NOTICE_KEYS},    {ENCODING_POINTER_MODE, NOTICE_POINTER},
        {ENCODING_LIGHTS, NOTICE_LIGHTS},
    };
    if (client->encoding < 0 && vnc_speaks(encoding))
        client->encoding = encoding;
    client->screens |= encoding == ENCODING_SCREENS;
    client->alpha |= encoding == ENCODING_CURSOR_ALPHA;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].encoding == encoding)
            client->understands |= rows[i].notice;
}

static bool set_encodings(struct vnc_client *client, const uint8_t *bytes)
{
    unsigned count = vnc_be16(bytes + 2);
    client->encoding = -1; /* none yet */
    client->understands = 0;
    client->screens = client->alpha = false;
    bool clipboard = false;
    for (unsigned i = 0; i < count; i++) {
        int32_t encoding = (int32_t)vnc_be32(bytes + 4 + 4 * (size_t)i);
        understand(client, encoding);
        clipboard |= encoding == ENCODING_CLIPBOARD;
    }
    vnc_clipboard_listed(client, clipboard);
    if (client->encoding < 0)
        client->encoding = ENCODING_RAW;
    client->due |= client->understands & (NOTICE_KEYS | NOTICE_POINTER | NOTICE_LIGHTS);
    if (client->screens) /* that there is such a thing is told by the first one */
        client->due |= NOTICE_SIZE;
    client->told_cursor = 0;
    vnc_expect(client, 1, vnc_take_message);
    return true;
}

static bool count_encodings(struct vnc_client *client, const uint8_t *bytes)
{
    unsigned count = vnc_be16(bytes + 2);
    if (count > VNC_ENCODINGS_MAX)
        return false;
    vnc_expect_more(client, 4 + 4 * (size_t)count, set_encodings);
    return true;
}

static bool update_request(struct vnc_client *client, const uint8_t *bytes)
{
    struct display_rect rect = {vnc_be16(bytes + 2), vnc_be16(bytes + 4), vnc_be16(bytes + 6),
                                vnc_be16(bytes + 8)};
    if (!bytes[1])
        vnc_client_damage(client, &rect);
    client->wants = true;
    vnc_look_soon(client->vnc);
    vnc_expect(client, 1, vnc_take_message);
    return true;
}

static bool key_event(struct vnc_client *client, const uint8_t *bytes)
{
    unsigned code = input_of_keysym(vnc_be32(bytes + 4));
    if (code)
        input_key(client->vnc->machine, code, bytes[1]);
    vnc_look_soon(client->vnc);
    vnc_expect(client, 1, vnc_take_message);
    return true;
}

/* A key by its place on the keyboard; the keysym counts where there is none. */
static bool key_code_event(struct vnc_client *client, const uint8_t *bytes)
{
    unsigned code = input_of_number(vnc_be32(bytes + 8));
    if (!code)
        code = input_of_keysym(vnc_be32(bytes + 4));
    if (code)
        input_key(client->vnc->machine, code, vnc_be16(bytes + 2));
    vnc_look_soon(client->vnc);
    vnc_expect(client, 1, vnc_take_message);
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
    unsigned buttons = bytes[1], x = vnc_be16(bytes + 2), y = vnc_be16(bytes + 4);
    bool movement = client->understands & NOTICE_POINTER && !client->told_absolute;
    if (input_is_absolute(machine) && !movement)
        input_absolute(machine, axis(x, display->width), axis(y, display->height), buttons);
    else if (movement)
        input_relative(machine, (int)x - POINTER_MIDDLE, (int)y - POINTER_MIDDLE, buttons);
    else
        input_relative(machine, (int)x - (int)client->x, (int)y - (int)client->y, buttons);
    client->x = x;
    client->y = y;
    vnc_look_soon(client->vnc);
    vnc_expect(client, 1, vnc_take_message);
    return true;
}

/* The answer says what became of the wish; the size itself changes when the guest changes it. */
static bool set_desktop_size(struct vnc_client *client, const uint8_t *bytes)
{
    const struct display *display = client->vnc->display;
    unsigned width = vnc_be16(bytes + 2), height = vnc_be16(bytes + 4);
    bool wanted = display->device->want_size && width && height &&
                  display->device->want_size(display->device_opaque, width, height);
    client->size_reason = SIZE_BY_VIEWER;
    client->size_status = wanted ? SIZE_DONE : SIZE_PROHIBITED;
    client->due |= NOTICE_SIZE;
    client->skip = (size_t)bytes[6] * SCREEN_SIZE;
    vnc_expect(client, 1, vnc_take_message);
    return client->screens;
}

static bool qemu_message(struct vnc_client *client, const uint8_t *bytes)
{
    if (bytes[1] != 0)
        return false;
    vnc_expect_more(client, 12, key_code_event);
    return true;
}

bool vnc_take_message(struct vnc_client *client, const uint8_t *bytes)
{
    static const struct {
        uint8_t type, len;
        bool (*take)(struct vnc_client *client, const uint8_t *bytes);
    } rows[] = {
        {SET_PIXEL_FORMAT, 20, set_pixel_format}, {SET_ENCODINGS, 4, count_encodings},
        {UPDATE_REQUEST, 10, update_request},     {KEY_EVENT, 8, key_event},
        {POINTER_EVENT, 6, pointer_event},        {CUT_TEXT, 8, vnc_take_cut_text},
        {SET_DESKTOP_SIZE, 8, set_desktop_size},  {QEMU_MESSAGE, 2, qemu_message},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].type != bytes[0])
            continue;
        vnc_expect_more(client, rows[i].len, rows[i].take);
        return true;
    }
    return false;
}
