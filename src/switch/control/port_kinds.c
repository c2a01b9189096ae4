/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kinds of ports and their options; see port_kinds.h. */
#include "switch/control/port_kinds.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/parse.h"
#include "base/util.h"
#include "switch/control/bonds.h"
#include "switch/control/tunnel_options.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"
#include "switch/ports/patch.h"
#include "switch/ports/pcap.h"
#include "switch/ports/tap.h"
#include "switch/ports/uplink.h"
#include "switch/ports/vhost.h"

#define DELAY_MAX 600000              /* ms */
#define STORM_MAX UINT64_C(100000000) /* frames a second */
#define VLAN_LAST 4094                /* 4095 is reserved */

const char *const port_outer_tags[] = {"802.1ad", "802.1q", NULL};

const struct option_spec port_option_specs[] = {
    OPTION(STRING, struct port_options, bridge, .required = true, .help = "the bridge"),
    OPTION(STRING, struct port_options, name, .required = true, .help = "the port's name"),
    OPTION(ENUM, struct port_options, type, .required = true, .values = port_kind_names,
           .help = "what is at its other end"),
    OPTION(STRING, struct port_options, path, .help = "socket of a vhost-user port"),
    OPTION(STRING, struct port_options, interface,
           .help = "of a tap port or an interface; its name else"),
    OPTION(STRING, struct port_options, read, .help = "of a pcap port: the file whose frames come"),
    OPTION(STRING, struct port_options, write,
           .help = "of a pcap port: the file that frames go to"),
    OPTION(STRING, struct port_options, peer, .help = "the patch at the other end of a patch"),
    OPTION_NAMED("remote-ip", STRING, struct port_options, remote_ip,
                 .help = "of a tunnel: the address of its other end"),
    OPTION_NAMED("local-ip", STRING, struct port_options, local_ip,
                 .help = "of a tunnel: its own address; whatever the host takes else"),
    OPTION(UINT, struct port_options, key, .max = TUNNEL_VNI_MAX,
           .help = "of a tunnel: the number of its network (VNI); 0 else"),
    OPTION_NAMED("dst-port", UINT, struct port_options, dst_port, .min = 1, .max = UINT16_MAX,
                 .help = "of a tunnel: the UDP port at both ends; 4789 or 6081 else"),
    OPTION(STRING, struct port_options, tos,
           .help = "of a tunnel: class of its packets (DSCP), or 'inherit'"),
    OPTION(STRING, struct port_options, ttl,
           .help = "of a tunnel: how far its packets go (64), or 'inherit'"),
    OPTION_NAMED("df-default", BOOL, struct port_options, df_default,
                 .help = "of a tunnel: its packets are not to be cut"),
    OPTION(BOOL, struct port_options, csum, .help = "of a tunnel: its packets have checksums"),
    OPTION(UINT, struct port_options, tag, .min = 1, .max = VLAN_LAST,
           .help = "an access port of that VLAN"),
    OPTION(STRING, struct port_options, trunks, .help = "a trunk of those VLANs: \"10,20-29\""),
    OPTION(UINT, struct port_options, native, .min = 1, .max = VLAN_LAST,
           .help = "the VLAN of a trunk's untagged frames"),
    OPTION_NAMED("native-tagged", BOOL, struct port_options, native_tagged,
                 .help = "frames of the native VLAN go out with a tag"),
    OPTION(BOOL, struct port_options, tunnel,
           .help = "frames keep their tags within the VLAN of tag (802.1ad)"),
    OPTION(STRING, struct port_options, customers,
           .help = "VLANs that a tunnel takes, 0: untagged frames; all else"),
    OPTION_NAMED("outer-tag", ENUM, struct port_options, outer_tag, .values = port_outer_tags,
                 .help = "what trunks get for a tunnel's frames"),
    OPTION(STRING, struct port_options, bond, .help = "the bond whose member the port is"),
    OPTION(ENUM, struct port_options, mode, .values = bond_mode_names,
           .help = "which members of a bond send"),
    OPTION(ENUM, struct port_options, lacp, .values = bond_lacp_names,
           .help = "whether a bond asks its neighbour by LACP, or answers only"),
    OPTION_NAMED("lacp-time", ENUM, struct port_options, lacp_time, .values = bond_lacp_times,
                 .help = "how often the neighbour is to say something"),
    OPTION_NAMED("lacp-fallback", BOOL, struct port_options, lacp_fallback,
                 .help = "active-backup while no neighbour speaks LACP"),
    OPTION_NAMED("lacp-system-id", MAC, struct port_options, lacp_system,
                 .help = "the bond's address to LACP"),
    OPTION_NAMED("lacp-system-priority", UINT, struct port_options, lacp_priority, .min = 1,
                 .max = 65535, .help = "its priority to LACP"),
    OPTION_NAMED("up-delay", UINT, struct port_options, up_delay, .max = DELAY_MAX,
                 .help = "ms that a member's link is up before it is used"),
    OPTION_NAMED("down-delay", UINT, struct port_options, down_delay, .max = DELAY_MAX,
                 .help = "ms that it is down before it is used no more"),
    OPTION(STRING, struct port_options, primary,
           .help = "the member that is active whenever it can be"),
    OPTION_NAMED("fast-leave", BOOL, struct port_options, fast_leave,
                 .help = "a group that is left here is not heard any more at once"),
    OPTION_NAMED("multicast-flood", BOOL, struct port_options, all_groups,
                 .help = "hears all groups, whatever is snooped"),
    OPTION_NAMED("multicast-reports", BOOL, struct port_options, all_reports,
                 .help = "hears stations' reports, as routers do"),
    OPTION_NAMED("no-rstp", BOOL, struct port_options, no_rstp,
                 .help = "takes no part in the bridge's spanning tree"),
    OPTION_NAMED("rstp-edge", BOOL, struct port_options, rstp_edge,
                 .help = "there is no bridge behind it: it forwards at once"),
    OPTION_NAMED("rstp-no-auto-edge", BOOL, struct port_options, rstp_no_auto_edge,
                 .help = "its neighbour's silence does not mean that there is none"),
    OPTION_NAMED("rstp-cost", UINT, struct port_options, rstp_cost, .min = 1, .max = 200000000,
                 .help = "of the way over its link"),
    OPTION_NAMED("rstp-priority", UINT, struct port_options, rstp_priority, .min = 16, .max = 240,
                 .help = "the lower, the sooner it forwards"),
    OPTION(BOOL, struct port_options, isolated, .help = "talks only to ports that are not"),
    OPTION(UINT, struct port_options, community, .min = PORT_ISOLATED + 1, .max = PORT_COMMUNITIES,
           .help = "talks only to ports of the same one, and to those of none"),
    OPTION_NAMED("no-flood", BOOL, struct port_options, no_flood,
                 .help = "gets only frames for stations that are known there"),
    OPTION_NAMED("storm-broadcast", UINT, struct port_options, storm.broadcast, .min = 1,
                 .max = STORM_MAX, .help = "broadcasts a second that come in at most"),
    OPTION_NAMED("storm-multicast", UINT, struct port_options, storm.multicast, .min = 1,
                 .max = STORM_MAX, .help = "multicasts a second that are flooded at most"),
    OPTION_NAMED("storm-unknown", UINT, struct port_options, storm.unknown, .min = 1,
                 .max = STORM_MAX, .help = "frames to unknown stations a second, likewise"),
    OPTION_NAMED("mac-limit", UINT, struct port_options, mac_limit, .min = 1, .max = 65536,
                 .help = "addresses that are learned at the port at most"),
    OPTION(UINT, struct port_options, ofport, .min = 1, .max = BRIDGE_PORTS_MAX,
           .help = "its number to OpenFlow, if that is free; else the lowest that is"),
    OPTION_NAMED("in-average", UINT, struct port_options, in.average, .min = 1,
                 .max = PORT_RATE_MAX, .help = "KiB a second that come in at most"),
    OPTION_NAMED("in-peak", UINT, struct port_options, in.peak, .min = 1, .max = PORT_RATE_MAX,
                 .help = "KiB a second while a burst lasts"),
    OPTION_NAMED("in-burst", UINT, struct port_options, in.burst, .min = 1, .max = PORT_BURST_MAX,
                 .help = "KiB that may be faster than the average"),
    OPTION_NAMED("out-average", UINT, struct port_options, out.average, .min = 1,
                 .max = PORT_RATE_MAX, .help = "KiB a second that go out at most"),
    OPTION_NAMED("out-peak", UINT, struct port_options, out.peak, .min = 1, .max = PORT_RATE_MAX,
                 .help = "KiB a second while a burst lasts"),
    OPTION_NAMED("out-burst", UINT, struct port_options, out.burst, .min = 1, .max = PORT_BURST_MAX,
                 .help = "KiB that may be faster than the average"),
    OPTION_END,
};
const char *const port_fixed_options[] = {"bridge",
                                          "type",
                                          "path",
                                          "interface",
                                          "read",
                                          "write",
                                          "peer",
                                          "remote-ip",
                                          "local-ip",
                                          "key",
                                          "dst-port",
                                          "tos",
                                          "ttl",
                                          "df-default",
                                          "csum",
                                          "bond",
                                          "mode",
                                          "lacp",
                                          "lacp-time",
                                          "lacp-fallback",
                                          "lacp-system-id",
                                          "lacp-system-priority",
                                          "up-delay",
                                          "down-delay",
                                          "primary",
                                          NULL};

static struct vhost_port *vhost_of(struct port *port)
{
    return container_of(port, struct vhost_port, port);
}

static struct port *vhost_create(const struct port_options *options, struct loop *loop, bool server,
                                 struct kv_error *err)
{
    struct vhost_port *vp = vhost_port_new(loop, options->path, server, err);
    return vp ? &vp->port : NULL;
}

static struct port *create_server(const struct port_options *options, struct loop *loop,
                                  struct kv_error *err)
{
    return vhost_create(options, loop, true, err);
}

static struct port *create_client(const struct port_options *options, struct loop *loop,
                                  struct kv_error *err)
{
    return vhost_create(options, loop, false, err);
}

static int start_vhost(struct port *port, struct kv_error *err)
{
    vhost_port_start(vhost_of(port));
    return 0;
}

static void stop_vhost(struct port *port)
{
    vhost_port_stop(vhost_of(port));
}

static void free_vhost(struct port *port)
{
    vhost_port_free(vhost_of(port));
}

static const char *interface_of(const struct port_options *options)
{
    return options->interface ? options->interface : options->name;
}

static struct port *create_tap(const struct port_options *options, struct loop *loop,
                               struct kv_error *err)
{
    return tap_port_new(interface_of(options), err);
}

static struct port *create_uplink(const struct port_options *options, struct loop *loop,
                                  struct kv_error *err)
{
    return uplink_port_new(interface_of(options), err);
}

static struct port *create_pcap(const struct port_options *options, struct loop *loop,
                                struct kv_error *err)
{
    return pcap_port_new(options->name, options->read, options->write, err);
}

static struct port *create_patch(const struct port_options *options, struct loop *loop,
                                 struct kv_error *err)
{
    if (strcmp(options->peer, options->name) == 0) {
        kv_error_set(err, KV_ERR_CONFIG, EINVAL, "a patch cannot be the peer of itself");
        return NULL;
    }
    return patch_port_new(options->peer, err);
}

static void describe_patch(struct port *port, json_t *row)
{
    json_object_set_new(row, "peer", json_string(patch_port_peer(port)));
}

static struct port *create_tunnel(enum tunnel_kind kind, const struct port_options *options,
                                  struct kv_error *err)
{
    struct tunnel_settings settings;
    if (tunnel_options_read(kind, options, &settings, err) < 0)
        return NULL;
    return tunnel_port_new(&settings, err);
}

static struct port *create_vxlan(const struct port_options *options, struct loop *loop,
                                 struct kv_error *err)
{
    return create_tunnel(TUNNEL_VXLAN, options, err);
}

static struct port *create_geneve(const struct port_options *options, struct loop *loop,
                                  struct kv_error *err)
{
    return create_tunnel(TUNNEL_GENEVE, options, err);
}

/* Of ports that the control thread has nothing to do with while they run. */
struct start_task {
    struct port *port;
    int rc;
};

static void start_here(void *opaque)
{
    struct start_task *task = opaque;
    task->rc = task->port->ops->start(task->port);
}

static int start_there(struct port *port, struct kv_error *err)
{
    struct start_task task = {.port = port};
    forward_run(port->forward, start_here, &task);
    return task.rc < 0 ? kv_error_errno(err, KV_ERR_NET, -task.rc, "its events") : 0;
}

static void stop_here(void *opaque)
{
    struct port *port = opaque;
    port->ops->stop(port);
}

static void stop_there(struct port *port)
{
    forward_run(port->forward, stop_here, port);
}

/* --- From one process to the next --------------------------------------------- */

static void pause_vhost(struct port *port)
{
    vhost_port_pause(vhost_of(port));
}

static void resume_vhost(struct port *port)
{
    vhost_port_resume(vhost_of(port));
}

static json_t *give_vhost(struct port *port, struct bequest *bequest)
{
    return vhost_port_give(vhost_of(port), bequest);
}

static int take_vhost(struct port *port, const json_t *state, struct kv_error *err)
{
    return vhost_port_take(vhost_of(port), state, err);
}

static void start_again(struct port *port)
{
    struct kv_error err = {0};
    if (port_kind_of(port)->start(port, &err) < 0)
        log_error("port '%s': %s", port->name, err.message);
}

static json_t *give_tap(struct port *port, struct bequest *bequest)
{
    tap_port_give(port, bequest);
    return json_null();
}

static int take_tap(struct port *port, const json_t *state, struct kv_error *err)
{
    return start_there(port, err);
}

static json_t *give_uplink(struct port *port, struct bequest *bequest)
{
    return uplink_port_give(port, bequest);
}

static int take_uplink(struct port *port, const json_t *state, struct kv_error *err)
{
    uplink_port_take(port, state);
    return start_there(port, err);
}

static json_t *give_pcap(struct port *port, struct bequest *bequest)
{
    return pcap_port_give(port, bequest);
}

static int take_pcap(struct port *port, const json_t *state, struct kv_error *err)
{
    pcap_port_take(port, state);
    return start_there(port, err);
}

/* Its members pause. */
static void pause_nothing(struct port *port)
{
}

static json_t *give_nothing(struct port *port, struct bequest *bequest)
{
    return json_null();
}

static int take_nothing(struct port *port, const json_t *state, struct kv_error *err)
{
    return port_kind_of(port)->start(port, err);
}

/* In the order of the names. */
const char *const port_kind_names[] = {"vhost-user-server",
                                       "vhost-user-client",
                                       "tap",
                                       "interface",
                                       "pcap",
                                       "patch",
                                       "bond",
                                       "vxlan",
                                       "geneve",
                                       NULL};
const struct port_kind port_kinds[] = {
    {.has = PORT_HAS_PATH,
     .create = create_server,
     .start = start_vhost,
     .stop = stop_vhost,
     .free = free_vhost,
     .pause = pause_vhost,
     .resume = resume_vhost,
     .give = give_vhost,
     .take = take_vhost},
    {.has = PORT_HAS_PATH,
     .create = create_client,
     .start = start_vhost,
     .stop = stop_vhost,
     .free = free_vhost,
     .pause = pause_vhost,
     .resume = resume_vhost,
     .give = give_vhost,
     .take = take_vhost},
    {.has = PORT_HAS_INTERFACE,
     .create = create_tap,
     .start = start_there,
     .stop = stop_there,
     .free = tap_port_free,
     .pause = stop_there,
     .resume = start_again,
     .give = give_tap,
     .take = take_tap},
    {.has = PORT_HAS_INTERFACE,
     .carrier = true,
     .create = create_uplink,
     .start = start_there,
     .stop = stop_there,
     .free = uplink_port_free,
     .pause = stop_there,
     .resume = start_again,
     .give = give_uplink,
     .take = take_uplink},
    {.has = PORT_HAS_FILES,
     .create = create_pcap,
     .start = start_there,
     .stop = stop_there,
     .free = pcap_port_free,
     .pause = stop_there,
     .resume = start_again,
     .give = give_pcap,
     .take = take_pcap},
    {.has = PORT_HAS_PEER,
     .unlimited = true,
     .create = create_patch,
     .start = patch_port_start,
     .stop = patch_port_stop,
     .free = patch_port_free,
     .pause = patch_port_stop,
     .resume = start_again,
     .give = give_nothing,
     .take = take_nothing,
     .describe = describe_patch},
    {.has = PORT_HAS_MEMBERS,
     .create = bonds_create,
     .start = bonds_start,
     .stop = bonds_stop,
     .free = bonds_free,
     .pause = pause_nothing,
     .resume = pause_nothing,
     .give = give_nothing,
     .take = take_nothing,
     .describe = bonds_describe},
    {.has = PORT_HAS_TUNNEL,
     .create = create_vxlan,
     .start = tunnel_port_start,
     .stop = tunnel_port_stop,
     .free = tunnel_port_free,
     .pause = tunnel_port_stop,
     .resume = start_again,
     .give = tunnel_port_give,
     .take = take_nothing,
     .describe = tunnel_options_describe},
    {.has = PORT_HAS_TUNNEL,
     .create = create_geneve,
     .start = tunnel_port_start,
     .stop = tunnel_port_stop,
     .free = tunnel_port_free,
     .pause = tunnel_port_stop,
     .resume = start_again,
     .give = tunnel_port_give,
     .take = take_nothing,
     .describe = tunnel_options_describe},
};

const struct port_kind *port_kind_named(const char *name)
{
    unsigned i = 0;
    while (strcmp(port_kind_names[i], name) != 0)
        i++;
    return &port_kinds[i];
}

const struct port_kind *port_kind_of(const struct port *port)
{
    return &port_kinds[port->kind];
}

/* Who has which options. */
static const struct option_owner {
    const char *name;
    unsigned group; /* of enum port_option_group */
    bool required;
} owners[] = {
    {"path", PORT_HAS_PATH, .required = true},
    {"interface", PORT_HAS_INTERFACE},
    {"read", PORT_HAS_FILES},
    {"write", PORT_HAS_FILES},
    {"peer", PORT_HAS_PEER, .required = true},
    {"mode", PORT_HAS_MEMBERS},
    {"lacp", PORT_HAS_MEMBERS},
    {"lacp-time", PORT_HAS_MEMBERS},
    {"lacp-fallback", PORT_HAS_MEMBERS},
    {"lacp-system-id", PORT_HAS_MEMBERS},
    {"lacp-system-priority", PORT_HAS_MEMBERS},
    {"up-delay", PORT_HAS_MEMBERS},
    {"down-delay", PORT_HAS_MEMBERS},
    {"primary", PORT_HAS_MEMBERS},
    {"remote-ip", PORT_HAS_TUNNEL, .required = true},
    {"local-ip", PORT_HAS_TUNNEL},
    {"key", PORT_HAS_TUNNEL},
    {"dst-port", PORT_HAS_TUNNEL},
    {"tos", PORT_HAS_TUNNEL},
    {"ttl", PORT_HAS_TUNNEL},
    {"df-default", PORT_HAS_TUNNEL},
    {"csum", PORT_HAS_TUNNEL},
};

int port_options_check(const struct port_options *options, const json_t *object,
                       struct kv_error *err)
{
    const char *type = port_kind_names[options->type];
    unsigned has = port_kinds[options->type].has;
    for (const struct option_owner *owner = owners; owner < owners + ARRAY_SIZE(owners); owner++) {
        bool given = json_object_get(object, owner->name) != NULL;
        if (given && !(has & owner->group))
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "port '%s': %s has no '%s'",
                                options->name, type, owner->name);
        if (!given && owner->required && has & owner->group)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "port '%s': %s needs '%s'",
                                options->name, type, owner->name);
    }
    if (has & PORT_HAS_MEMBERS && options->bond)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "port '%s': a bond is no member of another",
                            options->name);
    if (has & PORT_HAS_FILES && !options->read && !options->write)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "port '%s': %s needs 'read' or 'write'",
                            options->name, type);
    return 0;
}

/* Text NULL: all. */
static int read_vlans(const char *what, const char *text, uint64_t *set, struct kv_error *err)
{
    memset(set, text ? 0 : 0xff, sizeof(vlan_set));
    if (text && parse_bitmap(text, set, VLAN_COUNT / 64) < 0)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "%s '%s': a list of VLANs such as 10,20-29 is accepted, below 4095",
                            what, text);
    set[VLAN_ID_MASK / 64] &= ~BIT(VLAN_ID_MASK % 64);
    return 0;
}

/* Options that need others, and those that exclude each other. */
static int check_vlans(const struct port_options *options, struct kv_error *err)
{
    if (options->tag && (options->trunks || options->native))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "'tag' makes an access port, 'trunks' and 'native' a trunk; only one "
                            "of the two is possible");
    if (options->native_tagged && !options->native)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "'native-tagged' needs 'native'");
    if (options->tunnel && !options->tag)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "'tunnel' needs 'tag', the outer VLAN");
    if (!options->tunnel && (options->customers || options->outer_tag))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "'customers' and 'outer-tag' need 'tunnel'");
    if (options->isolated && options->community)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "a port is 'isolated' or of a 'community'; only one is possible");
    return 0;
}

static int make_tunnel(const struct port_options *options, struct port_vlans *vlans,
                       struct kv_error *err)
{
    vlans->service = options->outer_tag == 0;
    vlans->customers = malloc(sizeof(vlan_set));
    if (!vlans->customers)
        return kv_error_errno(err, KV_ERR_NET, ENOMEM, "VLANs of a customer");
    int rc = read_vlans("customers", options->customers, vlans->customers, err);
    if (rc < 0)
        free(vlans->customers);
    return rc;
}

int port_options_vlans(const struct port_options *options, struct port_vlans *vlans,
                       struct kv_error *err)
{
    *vlans = (struct port_vlans){.access = options->tag != 0};
    int rc = check_vlans(options, err);
    if (rc == 0 && options->tag) {
        vlans->native = vlans->untagged = (uint16_t)options->tag;
        vlans->carried[options->tag / 64] = BIT(options->tag % 64);
        return options->tunnel ? make_tunnel(options, vlans, err) : 0;
    }
    if (rc == 0)
        rc = read_vlans("trunks", options->trunks, vlans->carried, err);
    if (rc == 0 && options->native) {
        /* Untagged frames are the native VLAN's, so there are none without a VLAN. */
        vlans->native = (uint16_t)options->native;
        vlans->untagged = options->native_tagged ? 0 : vlans->native;
        vlans->carried[options->native / 64] |= BIT(options->native % 64);
        vlans->carried[0] &= ~UINT64_C(1);
    }
    return rc;
}
