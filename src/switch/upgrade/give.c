/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The old process's side of an upgrade in place; see upgrade.h. */
#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/version.h"
#include "switch/control/config.h"
#include "switch/control/port_kinds.h"
#include "switch/forward/bridge.h"
#include "switch/openflow/openflow.h"
#include "switch/upgrade/upgrade.h"

static void each_port(struct vswitch *sw, bool pause)
{
    list_for_each (node, &sw->bridges) {
        struct bridge *bridge = list_entry(node, struct bridge, node);
        list_for_each (inner, &bridge->ports) {
            struct port *port = list_entry(inner, struct port, node);
            (pause ? port_kind_of(port)->pause : port_kind_of(port)->resume)(port);
        }
    }
}

static void go_on(struct upgrade *upgrade)
{
    struct kv_error err = {0};
    each_port(upgrade->sw, false);
    if (vswitch_start(upgrade->sw, &err) < 0)
        log_error("%s", err.message);
    if (upgrade->ovsdb->sw)
        ovsdb_resume(upgrade->ovsdb);
}

static json_t *describe(struct upgrade *upgrade, int64_t paused_ns, int control_fd,
                        struct bequest *bequest, struct buffer *tables)
{
    struct ovsdb *ovsdb = upgrade->ovsdb;
    json_t *bridges = upgrade_describe_bridges(upgrade->sw, bequest, tables);
    json_t *rows = ovsdb->sw ? ovsdb_give(ovsdb, bequest) : json_null();
    bequest_add_named(bequest, INHERITED_LISTENER, upgrade->control, control_fd);
    return json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:O}", "version", KVASIR_VERSION, "process",
                     (json_int_t)getpid(), "paused-ns", (json_int_t)paused_ns, "config",
                     config_describe(upgrade->sw->config), "bridges", bridges, "rows", rows,
                     "names", bequest->names);
}

/* Everything goes over and the other process says that it has it; or this one goes on. */
static int give(struct upgrade *upgrade, int channel, int control_fd, struct kv_error *err)
{
    struct bequest bequest;
    struct buffer tables = BUFFER_INIT(CHANNEL_BYTES_MAX);
    int rc = channel_set_timeout(channel);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, -rc, "the descriptor is no socket");
    bequest_init(&bequest);
    int64_t paused_ns = clock_monotonic_ns();
    /* All at once: a port that stands still alone loses what others send there. */
    vswitch_stop(upgrade->sw);
    each_port(upgrade->sw, true);
    json_t *state = describe(upgrade, paused_ns, control_fd, &bequest, &tables);
    rc = !state || bequest.failed
             ? kv_error_errno(err, KV_ERR_CONTROL, ENOMEM, "state")
             : channel_send(channel, state, bequest.fds, bequest.count, &tables, err);
    if (rc == 0) {
        rc = channel_hear(channel, CHANNEL_READY);
        if (rc < 0)
            kv_error_errno(err, KV_ERR_CONTROL, -rc, "the new process did not take over");
    }
    if (rc == 0 && channel_say(channel, CHANNEL_GO) < 0)
        rc = kv_error_set(err, KV_ERR_CONTROL, EPIPE, "the new process is gone");
    if (rc < 0)
        go_on(upgrade);
    json_decref(state);
    buffer_free(&tables);
    bequest_free(&bequest);
    return rc;
}

static struct upgrade *upgrade_of(struct qmp_call *call)
{
    return ((struct vswitch *)call->machine)->upgrade;
}

static json_t *hand_over(struct qmp_call *call)
{
    struct upgrade *upgrade = upgrade_of(call);
    cleanup_fd int channel = qmp_take_descriptor(call->client);
    if (channel < 0)
        return qmp_fail(call, QMP_GENERIC_ERROR,
                        "a socket must come along, to which the state goes");
    int rc = give(upgrade, channel, call->server->fd, &call->error);
    if (rc < 0) {
        log_warning("no other process takes over: %s", call->error.message);
        return NULL;
    }
    log_info("another process has taken over");
    upgrade->given = true;
    loop_stop(&upgrade->sw->loop);
    return qmp_done();
}

static json_t *query_upgrade(struct qmp_call *call)
{
    const struct upgrade *upgrade = upgrade_of(call);
    return upgrade->report ? json_incref(upgrade->report) : json_object();
}

const struct qmp_command upgrade_commands[] = {
    {"hand-over", "hands everything to a process that takes over, by a socket that comes along",
     hand_over},
    {"query-upgrade", "what this process has taken over from another one", query_upgrade},
    {NULL},
};
