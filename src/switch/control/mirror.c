/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mirrors: ports that get copies of what others receive and send; see vswitch.h. */
#include <errno.h>
#include <stdlib.h>

#include "base/options.h"
#include "base/parse.h"
#include "switch/control/vswitch.h"
#include "switch/forward/bridge.h"

struct mirror_options {
    char *port, *to, *vlans;
    int direction; /* row of the names, less 1: of enum port_mirror */
};

/* By enum port_mirror. */
const char *const vswitch_mirror_names[] = {"", "in", "out", "both", NULL};

static const struct option_spec mirror_option_specs[] = {
    OPTION(STRING, struct mirror_options, port, .required = true, .help = "whose frames"),
    OPTION(STRING, struct mirror_options, to, .help = "the port that gets copies; else none does"),
    OPTION(ENUM, struct mirror_options, direction, .values = vswitch_mirror_names + 1,
           .help = "those that come in there, that go out, or both"),
    OPTION(STRING, struct mirror_options, vlans,
           .help = "only frames of those VLANs: \"10,20-29\""),
    OPTION_END,
};

struct mirror_task {
    struct port *port, *to;
    unsigned what;
    uint64_t *vlans; /* NULL: all; afterwards: what there was before */
};

static void set_here(void *opaque)
{
    struct mirror_task *task = opaque;
    uint64_t *before = task->port->mirror_vlans;
    bridge_mirror(task->port, task->to, task->what);
    task->port->mirror_vlans = task->vlans;
    task->vlans = before;
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

static int read_vlans(const char *text, uint64_t **vlans, struct kv_error *err)
{
    *vlans = calloc(1, sizeof(vlan_set));
    if (!*vlans)
        return kv_error_errno(err, KV_ERR_CONFIG, ENOMEM, "vlans");
    if (parse_bitmap(text, *vlans, VLAN_COUNT / 64) == 0)
        return 0;
    free(*vlans);
    *vlans = NULL;
    return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                        "vlans '%.100s': a list of VLANs such as 10,20-29 is accepted, below 4096",
                        text);
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
        if (rc == 0 && options->vlans)
            rc = read_vlans(options->vlans, &task.vlans, err);
        if (rc < 0)
            return rc;
    }
    forward_run(task.port->forward, set_here, &task);
    free(task.vlans);
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
