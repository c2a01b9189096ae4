/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mirrors: ports that get copies of what others receive and send; see vswitch.h. */
#include <errno.h>

#include "base/options.h"
#include "switch/control/vswitch.h"
#include "switch/forward/bridge.h"

struct mirror_options {
    char *port, *to;
    int direction; /* row of the names, less 1: of enum port_mirror */
};

/* By enum port_mirror. */
const char *const vswitch_mirror_names[] = {"", "in", "out", "both", NULL};

static const struct option_spec mirror_option_specs[] = {
    OPTION(STRING, struct mirror_options, port, .required = true, .help = "whose frames"),
    OPTION(STRING, struct mirror_options, to, .help = "the port that gets copies; else none does"),
    OPTION(ENUM, struct mirror_options, direction, .values = vswitch_mirror_names + 1,
           .help = "those that come in there, that go out, or both"),
    OPTION_END,
};

struct mirror_task {
    struct port *port, *to;
    unsigned what;
};

static void set_here(void *opaque)
{
    const struct mirror_task *task = opaque;
    bridge_mirror(task->port, task->to, task->what);
}

static int check(const struct mirror_task *task, struct kv_error *err)
{
    const struct port *port = task->port, *to = task->to;
    if (port->bridge != to->bridge)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "port '%s' is on bridge '%s' and '%s' on '%s'; a mirror is on one",
                            port->name, port->bridge->name, to->name, to->bridge->name);
    if (port == to || port->mirrors || to->mirror)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "port '%s': a port that gets copies cannot be mirrored itself",
                            port == to || port->mirrors ? port->name : to->name);
    return 0;
}

static int set_mirror(struct vswitch *sw, const struct mirror_options *options,
                      struct kv_error *err)
{
    struct mirror_task task = {.port = vswitch_find_port(sw, options->port)};
    if (!task.port)
        return vswitch_not_there("port", options->port, err);
    if (options->to) {
        task.to = vswitch_find_port(sw, options->to);
        task.what = (unsigned)options->direction + 1;
        if (!task.to)
            return vswitch_not_there("port", options->to, err);
        int rc = check(&task, err);
        if (rc < 0)
            return rc;
    }
    forward_run(task.port->forward, set_here, &task);
    return 0;
}

int vswitch_set_mirror(struct vswitch *sw, const json_t *object, struct kv_error *err)
{
    struct mirror_options options = {.direction = (MIRROR_IN | MIRROR_OUT) - 1};
    int rc = options_parse_json(mirror_option_specs, "mirror", object, &options, err);
    if (rc == 0)
        rc = set_mirror(sw, &options, err);
    options_free(mirror_option_specs, &options);
    return vswitch_tell(sw, VSWITCH_SET_MIRROR, object, rc);
}
