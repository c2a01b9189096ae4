/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command capture; see vswitch.h. */
#include <errno.h>

#include "base/cleanup.h"
#include "base/options.h"
#include "switch/control/vswitch.h"
#include "switch/monitor/capture.h"

#define BYTES_USUAL 2048

struct capture_options {
    char *bridge, *port;
    uint64_t count, bytes;
};

static const struct option_spec capture_option_specs[] = {
    OPTION(STRING, struct capture_options, bridge, .required = true, .help = "whose frames"),
    OPTION(STRING, struct capture_options, port,
           .help = "only those that come in there or go out; all else"),
    OPTION(UINT, struct capture_options, count, .min = 1, .help = "frames after which it ends"),
    OPTION(UINT, struct capture_options, bytes, .min = CAPTURE_BYTES_MIN, .max = CAPTURE_BYTES_MAX,
           .help = "of each frame that are kept"),
    OPTION_END,
};

static int start(struct vswitch *sw, const struct capture_options *options, int fd,
                 struct kv_error *err)
{
    struct bridge *bridge = vswitch_get_bridge(sw, options->bridge, err);
    struct capture_settings settings = {.count = options->count, .bytes = (unsigned)options->bytes};
    if (!bridge)
        return -err->code;
    if (options->port) {
        settings.port = vswitch_find_port(sw, options->port);
        if (!settings.port)
            return vswitch_not_there("port", options->port, err);
        if (settings.port->bridge != bridge)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "port '%s' is on bridge '%s'",
                                options->port, settings.port->bridge->name);
    }
    return capture_start(bridge, &sw->loop, &settings, fd, err);
}

int vswitch_capture(struct vswitch *sw, const json_t *object, int *fd, struct kv_error *err)
{
    struct capture_options options = {.bytes = BYTES_USUAL};
    int rc = options_parse_json(capture_option_specs, "capture", object, &options, err);
    if (rc == 0)
        rc = start(sw, &options, *fd, err);
    if (rc == 0)
        take_fd(fd);
    options_free(capture_option_specs, &options);
    return rc;
}
