/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a viewer is shown (RFC 6143 7.6 to 7.8; community protocol specification for the pseudo
 * encodings that are younger): what changed, noted by bands of rows, and what is told beside
 * pixels. See vnc_client.h.
 */
#include <string.h>

#include "base/util.h"
#include "vmm/display/input.h"
#include "vmm/display/vnc_client.h"

#define OUTPUT_PART (256 * 1024) /* bytes of one update, about */
#define PIXELS_PART (512 * 1024) /* that one update is made of: other viewers wait that long */
#define BANDS_TOGETHER 4
#define CURSOR_RAW 0 /* encoding of a pointer's pixels */
#define SCREENS 1

/* ---------------------------------------------------------------- damage */

void vnc_client_damage(struct vnc_client *client, const struct display_rect *rect)
{
    const struct display *display = client->vnc->display;
    unsigned x_end = MIN(MIN(rect->x + rect->width, display->width), UINT16_MAX);
    unsigned y_end = MIN(MIN(rect->y + rect->height, display->height), VNC_BANDS_MAX * VNC_BAND);
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

void vnc_damage_all(struct vnc_client *client)
{
    struct display_rect all = {0, 0, client->vnc->display->width, client->vnc->display->height};
    vnc_client_damage(client, &all);
}

void vnc_client_resized(struct vnc_client *client)
{
    memset(client->bands, 0, sizeof(client->bands));
    if (client->ready)
        client->due |= NOTICE_SIZE;
    vnc_damage_all(client);
}

/* ---------------------------------------------------------------- notices */

static void put_header(struct vnc_client *client, const struct display_rect *rect, int32_t encoding)
{
    vnc_send_be16(client, rect->x);
    vnc_send_be16(client, rect->y);
    vnc_send_be16(client, rect->width);
    vnc_send_be16(client, rect->height);
    vnc_send_be32(client, (uint32_t)encoding);
}

static struct display_rect whole(const struct vnc_client *client)
{
    const struct display *display = client->vnc->display;
    return (struct display_rect){0, 0, display->width, display->height};
}

/* The newer way says why, and lists screens: there is one. */
static void put_size(struct vnc_client *client)
{
    static const uint8_t head[4] = {SCREENS}, no_flags[4], id[4];
    struct display_rect rect = whole(client);
    client->width = rect.width;
    client->height = rect.height;
    if (!client->screens) {
        put_header(client, &rect, ENCODING_DESKTOP_SIZE);
        return;
    }
    struct display_rect told = {client->size_reason, client->size_status, rect.width, rect.height};
    client->size_reason = SIZE_BY_SERVER;
    client->size_status = SIZE_DONE;
    put_header(client, &told, ENCODING_SCREENS);
    vnc_send(client, head, sizeof(head));
    vnc_send(client, id, sizeof(id));
    vnc_send_be16(client, 0);
    vnc_send_be16(client, 0);
    vnc_send_be16(client, rect.width);
    vnc_send_be16(client, rect.height);
    vnc_send(client, no_flags, sizeof(no_flags));
}

static void put_keys(struct vnc_client *client)
{
    struct display_rect rect = whole(client);
    put_header(client, &rect, ENCODING_KEY_CODES);
}

static void put_pointer(struct vnc_client *client)
{
    struct display_rect rect = whole(client);
    client->told_absolute = input_is_absolute(client->vnc->machine);
    rect.x = client->told_absolute;
    put_header(client, &rect, ENCODING_POINTER_MODE);
}

static void put_lights(struct vnc_client *client)
{
    struct display_rect rect = whole(client);
    client->told_lights = input_lights(client->vnc->machine);
    uint8_t lights = (uint8_t)client->told_lights;
    put_header(client, &rect, ENCODING_LIGHTS);
    vnc_send(client, &lights, sizeof(lights));
}

/* Red, green, blue, alpha, multiplied with alpha. */
static void put_cursor_alpha(struct vnc_client *client, const struct display_cursor *cursor)
{
    vnc_send_be32(client, CURSOR_RAW);
    for (unsigned i = 0; i < cursor->width * cursor->height; i++) {
        uint32_t pixel = cursor->argb[i], alpha = pixel >> 24;
        const uint8_t bytes[] = {
            (uint8_t)((pixel >> 16 & 0xff) * alpha / 255),
            (uint8_t)((pixel >> 8 & 0xff) * alpha / 255),
            (uint8_t)((pixel & 0xff) * alpha / 255),
            (uint8_t)alpha,
        };
        vnc_send(client, bytes, sizeof(bytes));
    }
}

/* Pixels, then a bit for each that is seen, rows padded to bytes. */
static void put_cursor_mask(struct vnc_client *client, const struct display_cursor *cursor)
{
    for (unsigned y = 0; y < cursor->height; y++)
        if (vnc_put_pixels(&client->out, &client->format, cursor->argb + y * cursor->width,
                           cursor->width) < 0)
            client->ending = true;
    for (unsigned y = 0; y < cursor->height; y++) {
        uint8_t row[CURSOR_MAX / 8] = {0};
        for (unsigned x = 0; x < cursor->width; x++)
            if (cursor->argb[y * cursor->width + x] >> 31)
                row[x / 8] |= (uint8_t)(0x80 >> x % 8);
        vnc_send(client, row, (cursor->width + 7) / 8);
    }
}

static void put_cursor(struct vnc_client *client)
{
    struct display_cursor *cursor = &client->vnc->display->cursor;
    pthread_mutex_lock(&cursor->lock);
    struct display_rect rect = {cursor->hot_x, cursor->hot_y, cursor->width, cursor->height};
    client->told_cursor = cursor->serial;
    put_header(client, &rect, client->alpha ? ENCODING_CURSOR_ALPHA : ENCODING_CURSOR);
    if (client->alpha)
        put_cursor_alpha(client, cursor);
    else
        put_cursor_mask(client, cursor);
    pthread_mutex_unlock(&cursor->lock);
}

/* Rectangles that say something else than pixels. Returns how many. */
static unsigned put_notices(struct vnc_client *client)
{
    static const struct {
        enum vnc_notice notice;
        void (*put)(struct vnc_client *client);
    } rows[] = {
        {NOTICE_SIZE, put_size},     {NOTICE_KEYS, put_keys},     {NOTICE_POINTER, put_pointer},
        {NOTICE_LIGHTS, put_lights}, {NOTICE_CURSOR, put_cursor},
    };
    unsigned count = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (!(client->due & client->understands & rows[i].notice))
            continue;
        rows[i].put(client);
        count++;
    }
    client->due = 0;
    return count;
}

/* What comes and goes in the guest without telling: a tablet's driver, lights, the pointer. */
static void look_around(struct vnc_client *client)
{
    struct machine *machine = client->vnc->machine;
    struct display_cursor *cursor = &client->vnc->display->cursor;
    if (client->told_absolute != input_is_absolute(machine))
        client->due |= NOTICE_POINTER;
    if (client->told_lights != input_lights(machine))
        client->due |= NOTICE_LIGHTS;
    pthread_mutex_lock(&cursor->lock);
    if (client->told_cursor != cursor->serial)
        client->due |= NOTICE_CURSOR;
    pthread_mutex_unlock(&cursor->lock);
    client->due &= client->understands;
}

/* ---------------------------------------------------------------- updates */

static const struct form {
    int32_t encoding;
    bool packed; /* by zlib */
    int (*put)(struct buffer *out, const struct vnc_source *source,
               const struct display_rect *rect);
} forms[] = {
    {ENCODING_RAW, false, vnc_put_raw},
    {ENCODING_HEXTILE, false, vnc_put_hextile},
    {ENCODING_TIGHT, true, vnc_put_tight},
    {ENCODING_ZRLE, true, vnc_put_zrle},
};

static const struct form *form_of(int32_t encoding)
{
    for (unsigned i = 0; i < ARRAY_SIZE(forms); i++)
        if (forms[i].encoding == encoding && (!forms[i].packed || vnc_zlib_is_there()))
            return &forms[i];
    return NULL;
}

bool vnc_speaks(int32_t encoding)
{
    return form_of(encoding);
}

/* Bands from this one on that changed in the same columns, as one rectangle within what the viewer
 * knows of the screen, and out of the list. */
static bool take_bands(struct vnc_client *client, unsigned band, struct display_rect *rect)
{
    unsigned width = MIN(client->width, client->vnc->display->width);
    unsigned height = MIN(client->height, client->vnc->display->height);
    unsigned x = client->bands[band].x, x_end = client->bands[band].x_end, end = band;
    while (end < VNC_BANDS_MAX && end - band < BANDS_TOGETHER && client->bands[end].x == x &&
           client->bands[end].x_end == x_end)
        client->bands[end].x = client->bands[end].x_end = 0, end++;
    unsigned y = band * VNC_BAND, y_end = MIN(end * VNC_BAND, height);
    x_end = MIN(x_end, width);
    *rect = (struct display_rect){x, y, x_end - x, y_end - y};
    return x < x_end && y < y_end;
}

static bool is_damaged(const struct vnc_client *client)
{
    for (unsigned band = 0; band < VNC_BANDS_MAX; band++)
        if (client->bands[band].x != client->bands[band].x_end)
            return true;
    return client->due;
}

/* Pixels of a rectangle, in pieces no wider than every encoding can have. Returns how many, or
 * -ENOMEM. */
static int put_picture(struct vnc_client *client, const struct display_rect *rect)
{
    const struct vnc_source source = {
        .display = client->vnc->display,
        .format = &client->format,
        .zlib = client->encoding == ENCODING_ZRLE ? &client->zrle : &client->tight,
    };
    int count = 0;
    for (unsigned x = 0; x < rect->width; x += VNC_TIGHT_WIDTH, count++) {
        struct display_rect part = {rect->x + x, rect->y, MIN(rect->width - x, VNC_TIGHT_WIDTH),
                                    rect->height};
        put_header(client, &part, client->encoding);
        int rc = form_of(client->encoding)->put(&client->out, &source, &part);
        if (rc < 0)
            return rc;
    }
    return count;
}

bool vnc_client_update(struct vnc_client *client)
{
    static const uint8_t head[4]; /* type 0, padding, the count of rectangles */
    unsigned pixels = 0;
    if (client->ready && client->clip.due && !client->out.len) {
        vnc_clipboard_tell(client);
        if (client->ending || !vnc_client_flush(client))
            return false;
    }
    look_around(client);
    if (!client->ready || !client->wants || client->out.len || !client->vnc->display->pixels ||
        !is_damaged(client))
        return true;
    vnc_send(client, head, sizeof(head));
    unsigned count = put_notices(client);
    for (unsigned i = 0; i < VNC_BANDS_MAX && client->out.len < OUTPUT_PART && pixels < PIXELS_PART;
         i++) {
        struct display_rect rect;
        unsigned band = client->band;
        client->band = (client->band + 1) % VNC_BANDS_MAX;
        if (!take_bands(client, band, &rect))
            continue;
        int rectangles = put_picture(client, &rect);
        if (rectangles < 0)
            return false;
        count += (unsigned)rectangles;
        pixels += rect.width * rect.height;
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
