/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain's screen: <video> (what the guest draws on), <graphics> (who looks at it), <input>, and
 * those of them that libvirt adds by itself; see read.h.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "model/read.h"

#define VRAM_MIN_KIB 4096u /* what the monitor's VGA can have */
#define VRAM_MAX_KIB 65536u
#define VRAM_DEFAULT "16384" /* as libvirt's */
#define WIDTH_MIN 640u       /* of the best mode; what the monitor can describe */
#define WIDTH_MAX 2560u
#define HEIGHT_MIN 480u
#define HEIGHT_MAX 1600u
#define USB_PORTS 8 /* of the monitor's controller */

/* --------------------------------------------------------------- completion */

bool screen_is_there(const xmlNode *devices)
{
    const xmlNode *video = xml_child(devices, "video");
    const char *model = video ? xml_child_attr(video, "model", "type") : NULL;
    return video && !(model && strcmp(model, "none") == 0);
}

static int add_video(struct read *r)
{
    return xml_add_child(r->devices, "video", NULL) ? 0 : read_no_memory(r);
}

/* What every screen has here, whether the document says so or not. */
static int add_input(struct read *r, const char *type)
{
    for (const xmlNode *n = xml_child(r->devices, "input"); n; n = xml_next_same(n)) {
        const char *is = xml_attr(n, "type"), *bus = xml_attr(n, "bus");
        if (is && strcmp(is, type) == 0 && (!bus || strcmp(bus, "ps2") == 0))
            return 0;
    }
    xmlNode *node = xml_add_child(r->devices, "input", NULL);
    if (!node || !xml_set_attr(node, "type", type) || !xml_set_attr(node, "bus", "ps2"))
        return read_no_memory(r);
    return 0;
}

int complete_screen(struct read *r)
{
    int ret = 0;
    if (xml_child(r->devices, "graphics") && !xml_child(r->devices, "video"))
        ret = add_video(r);
    if (ret < 0 || !screen_is_there(r->devices))
        return ret;
    ret = add_input(r, "mouse");
    return ret < 0 ? ret : add_input(r, "keyboard");
}

/* -------------------------------------------------------------------- video */

static int read_vram(struct read *r, xmlNode *model, struct model_video *video)
{
    char text[12];
    if (!xml_attr(model, "vram") && read_set(r, model, "vram", VRAM_DEFAULT) < 0)
        return read_no_memory(r);
    int ret = read_uint(r, model, "vram", &video->vram_kib);
    if (ret < 0)
        return ret;
    if (video->vram_kib < VRAM_MIN_KIB || video->vram_kib > VRAM_MAX_KIB)
        return read_refuse(r, model, "vram", "'%u': %u to %u KiB are accepted", video->vram_kib,
                           VRAM_MIN_KIB, VRAM_MAX_KIB);
    unsigned size = VRAM_MIN_KIB;
    while (size < video->vram_kib)
        size *= 2;
    video->vram_kib = size;
    snprintf(text, sizeof(text), "%u", size);
    return read_set(r, model, "vram", text);
}

/* libvirt's virtio has no memory of its own; what is asked for is the VGA's. */
static int read_video_memory(struct read *r, xmlNode *model, struct model_video *video)
{
    static const char *const others[] = {"ram", "vram64", "vgamem"};
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        if (xml_attr(model, others[i]))
            return read_refuse(r, model, others[i], "a VGA has 'vram' only");
    }
    return video->virtio && !xml_attr(model, "vram") ? 0 : read_vram(r, model, video);
}

static int read_resolution(struct read *r, const xmlNode *model, struct model_video *video)
{
    const xmlNode *resolution = xml_child(model, "resolution");
    if (!resolution)
        return 0;
    if (!xml_attr(resolution, "x") || !xml_attr(resolution, "y"))
        return read_xml_error(r, "missing values for resolution");
    int ret = read_positive(r, resolution, "x", &video->xres);
    if (ret == 0)
        ret = read_positive(r, resolution, "y", &video->yres);
    if (ret == 0 && (video->xres < WIDTH_MIN || video->xres > WIDTH_MAX ||
                     video->yres < HEIGHT_MIN || video->yres > HEIGHT_MAX))
        return read_refuse(r, resolution, NULL, "%u by %u: %u by %u to %u by %u are accepted",
                           video->xres, video->yres, WIDTH_MIN, HEIGHT_MIN, WIDTH_MAX, HEIGHT_MAX);
    return ret;
}

static int read_acceleration(struct read *r, const xmlNode *model, const struct model_video *video)
{
    const xmlNode *acceleration = xml_child(model, "acceleration");
    bool accel3d = false;
    if (acceleration && !video->virtio)
        return read_refuse(r, acceleration, NULL, "a VGA has none");
    int ret = read_yes_no(r, acceleration, "accel3d", &accel3d);
    return ret == 0 && accel3d
               ? read_refuse(r, acceleration, "accel3d", "'yes': the screen has two dimensions")
               : ret;
}

static int read_vga(struct read *r, xmlNode *model, struct model_video *video)
{
    unsigned heads = 1;
    bool primary = true;
    int ret = read_video_memory(r, model, video);
    if (ret == 0)
        ret = read_positive(r, model, "heads", &heads);
    if (ret == 0 && heads != 1)
        ret = read_refuse(r, model, "heads", "'%u': '1' is accepted", heads);
    if (ret == 0)
        ret = read_yes_no(r, model, "primary", &primary);
    if (ret == 0)
        ret = read_set(r, model, "heads", "1");
    if (ret == 0)
        ret = read_set(r, model, "primary", "yes");
    if (ret == 0)
        ret = read_acceleration(r, model, video);
    return ret < 0 ? ret : read_resolution(r, model, video);
}

int read_video(struct read *r, xmlNode *node, struct model_video *video)
{
    static const char *const models[] = {"default", "vga",   "cirrus",    "vmvga",  "xen",
                                         "vbox",    "qxl",   "parallels", "virtio", "gop",
                                         "none",    "bochs", "ramfb",     NULL};
    int ret = read_device_common(r, node, MODEL_VIDEO, &video->device);
    xmlNode *model = element_child(node, "model");
    if (ret < 0 || !model)
        return ret < 0 ? ret : read_no_memory(r);
    const char *type = xml_attr(model, "type");
    if (type && !read_is_one_of(type, models))
        return read_unsupported(r, "unknown video model '%s'", type);
    if (!type || strcmp(type, "default") == 0) {
        ret = read_set(r, model, "type", "vga");
        type = "vga";
    }
    video->none = strcmp(type, "none") == 0;
    if (ret < 0 || video->none)
        return ret;
    video->virtio = strcmp(type, "virtio") == 0;
    if (!video->virtio && strcmp(type, "vga") != 0)
        return read_refuse(r, model, "type", "'%s': 'vga', 'virtio' and 'none' are accepted", type);
    return read_vga(r, model, video);
}

/* ----------------------------------------------------------------- graphics */

/* A value that <graphics> and its <listen> both may have, and then have to agree on. */
static int read_twice(struct read *r, xmlNode *node, const char *own, xmlNode *listen,
                      const char *theirs, const char **out)
{
    const char *a = xml_attr(node, own), *b = xml_attr(listen, theirs);
    a = a && *a ? a : NULL;
    b = b && *b ? b : NULL;
    if (a && b && strcmp(a, b) != 0)
        return read_xml_error(r,
                              "graphics '%s' attribute '%s' must match '%s' attribute of first "
                              "listen element (found '%s')",
                              own, a, theirs, b);
    if (a && !b && read_set(r, listen, theirs, a) < 0)
        return read_no_memory(r);
    if (!a && read_set(r, node, own, NULL) < 0)
        return read_no_memory(r);
    if (!b && !a && read_set(r, listen, theirs, NULL) < 0)
        return read_no_memory(r);
    *out = a ? a : b;
    return 0;
}

static int read_address(struct read *r, xmlNode *node, xmlNode *listen,
                        struct model_graphics *graphics)
{
    int ret = read_twice(r, node, "listen", listen, "address", &graphics->address);
    return ret < 0 || !graphics->address ? ret : read_set(r, node, "listen", graphics->address);
}

static int read_socket(struct read *r, xmlNode *node, xmlNode *listen,
                       struct model_graphics *graphics)
{
    int ret = read_twice(r, node, "socket", listen, "socket", &graphics->socket);
    if (ret < 0 || !graphics->socket)
        return ret;
    if (*graphics->socket != '/')
        return read_refuse(r, listen, "socket", "'%s': an absolute path is accepted",
                           graphics->socket);
    return read_set(r, node, "socket", graphics->socket);
}

static int read_listen(struct read *r, xmlNode *node, struct model_graphics *graphics)
{
    static const char *const types[] = {"none", "address", "network", "socket", NULL};
    xmlNode *listen = element_child(node, "listen");
    if (!listen)
        return read_no_memory(r);
    if (xml_next_same(listen))
        return read_refuse(r, xml_next_same(listen), NULL, "one <listen> is accepted");
    const char *type = xml_attr(node, "socket") ? "socket" : "address";
    int ret = xml_attr(listen, "type") ? read_choice(r, listen, "type", types, &type)
                                       : read_set(r, listen, "type", type);
    if (ret < 0)
        return ret;
    if (strcmp(type, "network") == 0)
        return read_refuse(r, listen, "type",
                           "'network': 'address', 'socket' and 'none' are accepted");
    graphics->listen = *type == 's'   ? MODEL_LISTEN_SOCKET
                       : *type == 'n' ? MODEL_LISTEN_NONE
                                      : MODEL_LISTEN_ADDRESS;
    if (graphics->listen == MODEL_LISTEN_SOCKET)
        return read_socket(r, node, listen, graphics);
    return graphics->listen == MODEL_LISTEN_ADDRESS ? read_address(r, node, listen, graphics) : 0;
}

/* "-1", "0" or nothing: chosen at the start. */
static int read_port(struct read *r, xmlNode *node, struct model_graphics *graphics)
{
    const char *text = xml_attr(node, "port");
    bool chosen = text && strcmp(text, "-1") != 0;
    graphics->autoport = !chosen;
    if (graphics->listen != MODEL_LISTEN_ADDRESS) {
        graphics->autoport = false;
        return read_set(r, node, "port", NULL) < 0 || read_set(r, node, "autoport", NULL) < 0
                   ? read_no_memory(r)
                   : 0;
    }
    int ret = chosen ? read_uint(r, node, "port", &graphics->port) : 0;
    if (ret == 0)
        ret = read_yes_no(r, node, "autoport", &graphics->autoport);
    if (ret < 0)
        return ret;
    if (graphics->autoport && r->d->id < 0)
        graphics->port = 0;
    if ((graphics->port || !graphics->autoport) &&
        (graphics->port < MODEL_VNC_PORT_FIRST || graphics->port > MODEL_VNC_PORT_LAST))
        return read_unsupported(r, "vnc port must be in range [%d,%d]", MODEL_VNC_PORT_FIRST,
                                MODEL_VNC_PORT_LAST);
    if (!graphics->port)
        ret = read_set(r, node, "port", "-1");
    return ret < 0 ? ret : read_set(r, node, "autoport", graphics->autoport ? "yes" : "no");
}

/* "-1": chosen at the start. */
static int read_websocket(struct read *r, const xmlNode *node, struct model_graphics *graphics)
{
    const char *text = xml_attr(node, "websocket");
    graphics->has_websocket = text;
    if (text && graphics->listen != MODEL_LISTEN_ADDRESS)
        return read_refuse(r, node, "websocket", "it comes with <listen type='address'>");
    if (!text || strcmp(text, "-1") == 0)
        return 0;
    int ret = read_uint(r, node, "websocket", &graphics->websocket);
    if (ret == 0 && (!graphics->websocket || graphics->websocket > MODEL_VNC_PORT_LAST))
        ret = read_refuse(r, node, "websocket", "'%s': '-1' and ports are accepted", text);
    return ret;
}

static int read_password(struct read *r, const xmlNode *node, struct model_graphics *graphics)
{
    static const char *const actions[] = {"fail", "disconnect", "keep", NULL};
    const char *connected = NULL, *until = xml_attr(node, "passwdValidTo");
    struct tm tm = {0};
    char more;
    graphics->password = xml_attr(node, "passwd");
    if (graphics->password && strlen(graphics->password) > MODEL_VNC_PASSWORD_MAX)
        return read_unsupported(r, "VNC password is %zu characters long, only %d permitted",
                                strlen(graphics->password), MODEL_VNC_PASSWORD_MAX);
    int ret = read_choice(r, node, "connected", actions, &connected);
    if (ret == 0 && connected && strcmp(connected, "keep") != 0)
        ret = read_refuse(r, node, "connected", "'%s': 'keep' is accepted", connected);
    if (ret < 0 || !until || !graphics->password)
        return ret;
    if (sscanf(until, "%4d-%2d-%2dT%2d:%2d:%2d%c", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &more) != 6)
        return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_INTERNAL_ERROR,
                              "cannot parse password validity time '%s', expect "
                              "YYYY-MM-DDTHH:MM:SS",
                              until);
    tm.tm_year -= 1900;
    tm.tm_mon--;
    graphics->password_until = timegm(&tm);
    graphics->expires = true;
    return 0;
}

/* What <graphics> may say of other types, and of VNC elsewhere. */
static int refuse_others(struct read *r, const xmlNode *node)
{
    static const char *const others[] = {"tlsPort",     "defaultMode", "display",
                                         "xauth",       "fullscreen",  "multiUser",
                                         "replaceUser", "p2p",         "address"};
    int ret = 0;
    for (unsigned i = 0; ret == 0 && i < ARRAY_SIZE(others); i++) {
        if (xml_attr(node, others[i]))
            ret = read_refuse(r, node, others[i], "VNC has no such thing");
    }
    for (const xmlNode *n = xml_first(node); ret == 0 && n; n = xml_next(n)) {
        if (!xml_is(n, "listen"))
            ret = read_refuse(r, n, NULL, "of <graphics type='vnc'> 'listen' is accepted");
    }
    return ret;
}

static int read_choices(struct read *r, const xmlNode *node, struct model_graphics *graphics)
{
    static const char *const policies[] = {"allow-exclusive", "force-shared", "ignore", NULL};
    const char *keymap = xml_attr(node, "keymap");
    bool power = false;
    int ret = read_choice(r, node, "sharePolicy", policies, &graphics->share_policy);
    if (ret == 0)
        ret = read_yes_no(r, node, "powerControl", &power);
    if (ret == 0 && power)
        ret = read_refuse(r, node, "powerControl", "'yes': viewers cannot switch the machine off");
    if (ret == 0 && keymap && strcmp(keymap, "en-us") != 0)
        ret =
            read_refuse(r, node, "keymap",
                        "'%s': 'en-us' is accepted; viewers that send key codes need none", keymap);
    return ret;
}

int read_graphics(struct read *r, xmlNode *node, struct model_graphics *graphics)
{
    static const char *const types[] = {"sdl",   "vnc",          "rdp",  "desktop",
                                        "spice", "egl-headless", "dbus", NULL};
    const char *type = NULL;
    int ret = read_device_common(r, node, MODEL_GRAPHICS, &graphics->device);
    if (ret == 0)
        ret = read_choice(r, node, "type", types, &type);
    if (ret < 0)
        return ret;
    if (!type)
        return api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                              "Missing required attribute 'type' in element 'graphics'");
    if (strcmp(type, "vnc") != 0)
        return read_refuse(r, node, "type", "'%s': 'vnc' is accepted", type);
    ret = refuse_others(r, node);
    if (ret == 0)
        ret = read_listen(r, node, graphics);
    if (ret == 0)
        ret = read_port(r, node, graphics);
    if (ret == 0)
        ret = read_websocket(r, node, graphics);
    if (ret == 0)
        ret = read_choices(r, node, graphics);
    return ret < 0 ? ret : read_password(r, node, graphics);
}

/* ------------------------------------------------------- inputs, all of them */

enum input_bus { INPUT_PS2, INPUT_USB, INPUT_VIRTIO, INPUT_BUSES };

static const char *const input_buses[] = {"ps2", "usb", "virtio", "xen", "parallels", "none", NULL};
static const char *const input_types[] = {"mouse",       "tablet", "keyboard",
                                          "passthrough", "evdev",  NULL};

static unsigned place_of(const char *const *list, const char *text)
{
    unsigned i = 0;
    while (list[i] && strcmp(list[i], text) != 0)
        i++;
    return i;
}

static int check_input_model(struct read *r, const xmlNode *node, unsigned bus)
{
    static const char *const models[] = {"virtio", "virtio-transitional", "virtio-non-transitional",
                                         NULL};
    const char *model = NULL;
    int ret = read_choice(r, node, "model", models, &model);
    if (ret < 0 || !model)
        return ret;
    if (bus != INPUT_VIRTIO)
        return read_unsupported(r, "only bus 'virtio' has models of input devices");
    return strcmp(model, "virtio-transitional") == 0
               ? read_refuse(r, node, "model",
                             "'%s': 'virtio' and 'virtio-non-transitional' are accepted", model)
               : 0;
}

int read_input(struct read *r, xmlNode *node, struct model_input *input)
{
    const char *type = NULL, *bus = NULL;
    int ret = read_device_common(r, node, MODEL_INPUT, &input->device);
    if (ret == 0)
        ret = read_choice(r, node, "type", input_types, &type);
    if (ret == 0)
        ret = read_choice(r, node, "bus", input_buses, &bus);
    if (ret < 0)
        return ret;
    input->type = type ? place_of(input_types, type) : MODEL_INPUT_KEYBOARD + 1;
    if (input->type <= MODEL_INPUT_KEYBOARD && !bus)
        bus = input->type == MODEL_INPUT_TABLET ? "usb" : "ps2";
    unsigned number = bus ? place_of(input_buses, bus) : INPUT_BUSES;
    if (number >= INPUT_BUSES || input->type > MODEL_INPUT_KEYBOARD)
        return read_refuse(r, node, NULL,
                           "type '%s' on bus '%s': 'keyboard', 'mouse' and 'tablet' on bus "
                           "'usb' and 'virtio', 'keyboard' and 'mouse' on bus 'ps2' are accepted",
                           type ? type : "", bus ? bus : "");
    ret = read_set(r, node, "bus", bus);
    if (ret == 0)
        ret = check_input_model(r, node, number);
    input->virtio = number == INPUT_VIRTIO;
    if (ret < 0 || input->virtio)
        return ret;
    if (number == INPUT_USB) {
        const char *port = xml_child_attr(node, "address", "port");
        uint64_t at = 0;
        if (!usb_input_is_there(r->devices, node))
            return read_left_out(r, node,
                                 "there is no screen, or it is on no controller of model "
                                 "'qemu-xhci' or 'nec-xhci'");
        input->usb = true;
        input->port = port && xml_number(port, USB_PORTS, &at) ? (unsigned)at : 0;
        return 0;
    }
    if (input->type == MODEL_INPUT_TABLET)
        return read_unsupported(r, "ps2 bus does not support %s input device", type);
    return screen_is_there(r->devices)
               ? 0
               : read_left_out(r, node, "there is no screen that it would belong to");
}

static int refuse_second(struct read *r, const char *name)
{
    const xmlNode *node = xml_child(r->devices, name);
    const xmlNode *second = node ? xml_next_same(node) : NULL;
    return second ? read_refuse(r, second, NULL, "a machine has one screen at most") : 0;
}

int read_screen(struct read *r)
{
    const struct model_domain *d = r->d;
    int ret = refuse_second(r, "graphics");
    if (ret == 0)
        ret = refuse_second(r, "video");
    if (ret == 0 && d->graphics && d->video && d->video->none)
        ret = read_refuse(r, d->graphics->device.node, NULL,
                          "there is no screen to be seen: the video model is 'none'");
    return ret;
}
