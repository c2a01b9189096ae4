/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The switch as a whole: its bridges and ports by name, made and changed as the control socket and
 * the configuration file say. Everything here is for the control thread. There is a forwarding
 * thread for each core that the switch is given; a bridge with all that belongs to it is one
 * thread's for good, so that threads share nothing and nothing on a frame's way is locked.
 */
#ifndef KV_SWITCH_CONTROL_VSWITCH_H
#define KV_SWITCH_CONTROL_VSWITCH_H

#include <jansson.h>

#include "base/error.h"
#include "base/list.h"
#include "base/loop.h"
#include "switch/forward/forward.h"

#define VSWITCH_PORTS_MAX 4096
#define VSWITCH_THREADS_MAX 64 /* that forward frames */

/* What was done; object describes it as the function of that name got it, {"name": ...} for what
 * was removed. */
enum vswitch_change {
    VSWITCH_ADD_BRIDGE,
    VSWITCH_SET_BRIDGE,
    VSWITCH_REMOVE_BRIDGE,
    VSWITCH_ADD_PORT,
    VSWITCH_SET_PORT,
    VSWITCH_REMOVE_PORT,
    VSWITCH_SET_MIRROR,
    VSWITCH_SET_QOS,
    VSWITCH_SET_SFLOW,
    VSWITCH_SET_NETFLOW,
    VSWITCH_SET_IPFIX,
    VSWITCH_SET_ACL,
    VSWITCH_REMOVE_ACL,
    VSWITCH_SET_FILTER,
    VSWITCH_ADD_MAC,
    VSWITCH_REMOVE_MAC,
};

struct upgrade;

struct vswitch {
    struct loop loop;
    struct forward *forwards; /* forward_count, one at least */
    unsigned forward_count;
    struct list bridges;
    struct list acls; /* struct acl_set (filters.c) */
    unsigned port_count;
    uint32_t last_number;           /* of a port or bridge */
    const char *openflow_directory; /* NULL: bridges have no OpenFlow */
    json_t *config;                 /* what commands have made of it (config.h) */
    const char *config_file;        /* where each change is kept, or NULL */
    struct kv_error unsaved;        /* of the last change that could not be */
    struct upgrade *upgrade;        /* upgrade/upgrade.h; for its commands */
    /* Is told of each change; may be NULL. */
    void (*changed)(void *opaque, enum vswitch_change change, const json_t *object);
    void *changed_opaque;
    bool rows_decide; /* changes come from the database */
};

/* Each of the cores has a forwarding thread; no cores: one anywhere. */
int vswitch_init(struct vswitch *sw, const int *cores, unsigned core_count, struct kv_error *err);
/* Starts the forwarding threads; stops them: no frame moves, and none is lost. */
int vswitch_start(struct vswitch *sw, struct kv_error *err);
void vswitch_stop(struct vswitch *sw);
/* Removes ports and bridges and ends the forwarding threads. */
void vswitch_destroy(struct vswitch *sw);

/* Objects as docs/switch.md describes them. 0 or -errno with err; then nothing has changed. */
int vswitch_add_bridge(struct vswitch *sw, const json_t *bridge, struct kv_error *err);
/* With other entries it forgets what it has learned. */
int vswitch_set_bridge(struct vswitch *sw, const json_t *bridge, struct kv_error *err);
int vswitch_remove_bridge(struct vswitch *sw, const char *name, struct kv_error *err);
int vswitch_add_port(struct vswitch *sw, const json_t *port, struct kv_error *err);
int vswitch_set_port(struct vswitch *sw, const json_t *port, struct kv_error *err);
/* Copies of a port's frames go to another one of its bridge; without "to": no more. */
int vswitch_set_mirror(struct vswitch *sw, const json_t *mirror, struct kv_error *err);
/* A port's queues; without any: none any more. */
int vswitch_set_qos(struct vswitch *sw, const json_t *qos, struct kv_error *err);
/* Frames of a bridge go into a pipe (monitor/capture.h), whose descriptor is taken over. */
int vswitch_capture(struct vswitch *sw, const json_t *capture, int *fd, struct kv_error *err);
/* An sFlow agent for a bridge; without "collector": none any more. */
int vswitch_set_sflow(struct vswitch *sw, const json_t *sflow, struct kv_error *err);
int vswitch_set_netflow(struct vswitch *sw, const json_t *netflow, struct kv_error *err);
int vswitch_set_ipfix(struct vswitch *sw, const json_t *ipfix, struct kv_error *err);
/* An ACL, new or in the place of the one of its name, and how a port's frames are filtered from
 * now on. */
int vswitch_set_acl(struct vswitch *sw, const json_t *acl, struct kv_error *err);
int vswitch_remove_acl(struct vswitch *sw, const char *name, struct kv_error *err);
int vswitch_set_filter(struct vswitch *sw, const json_t *filter, struct kv_error *err);
int vswitch_remove_port(struct vswitch *sw, const char *name, struct kv_error *err);
/* A station is at a port, whatever is seen elsewhere; it is not any more (macs.c). */
int vswitch_add_mac(struct vswitch *sw, const json_t *mac, struct kv_error *err);
int vswitch_remove_mac(struct vswitch *sw, const json_t *mac, struct kv_error *err);
/* Those that were learned. */
int vswitch_forget_macs(struct vswitch *sw, const char *bridge, struct kv_error *err);

/* What there is, as JSON; a new reference. */
json_t *vswitch_describe(struct vswitch *sw);
json_t *vswitch_statistics(struct vswitch *sw);
/* NULL with err when there is no such bridge. */
json_t *vswitch_macs(struct vswitch *sw, const char *bridge, struct kv_error *err);

/* ACLs with their counters, all or (NULL with err when there is none) the one of that name. */
json_t *vswitch_acls(struct vswitch *sw, const char *name, struct kv_error *err);

/* What would become of the frame that is described, and which tables say so (control/trace.c). */
json_t *vswitch_trace(struct vswitch *sw, const json_t *frame, struct kv_error *err);

/* {"acls": [{...}], "bridges": [{..., "ports": [{...}]}]} */
int vswitch_configure(struct vswitch *sw, const char *file, struct kv_error *err);
/* The same from memory. What is in the object is used up. */
int vswitch_configure_object(struct vswitch *sw, json_t *root, struct kv_error *err);
/* Of such an object only the ACLs, and filters of ports that are there. */
int vswitch_configure_filters(struct vswitch *sw, const json_t *root, struct kv_error *err);

/* Shared by vswitch*.c. NULL: there is none. */
struct bridge *vswitch_find_bridge(struct vswitch *sw, const char *name);
/* With err. */
struct bridge *vswitch_get_bridge(struct vswitch *sw, const char *name, struct kv_error *err);
struct port *vswitch_find_port(struct vswitch *sw, const char *name);
/* Keeps what was changed in vswitch.config and tells vswitch.changed when rc is 0; returns rc. */
int vswitch_tell(struct vswitch *sw, enum vswitch_change change, const json_t *object, int rc);
/* The same of what was removed; 0. */
int vswitch_tell_gone(struct vswitch *sw, enum vswitch_change change, const char *name);
/* False with err: the last change is carried out, but vswitch.config_file does not have it. */
bool vswitch_was_saved(struct vswitch *sw, struct kv_error *err);
/* -ENOENT with err. */
int vswitch_not_there(const char *what, const char *name, struct kv_error *err);
/* What watches the bridge, added to its row; ended with the bridge. */
void vswitch_describe_export(const struct bridge *bridge, json_t *row);
void vswitch_end_export(struct bridge *bridge);
/* filters.c. The port is on no bridge. */
void vswitch_free_filter(struct port *port);
void vswitch_free_acls(struct vswitch *sw);
/* What set-filter was told, a new reference, or NULL. */
json_t *vswitch_describe_filter(const struct port *port);
/* What a port's copies are called, by enum port_mirror. */
extern const char *const vswitch_mirror_names[];

#endif
