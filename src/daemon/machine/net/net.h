/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's side of machines' network interfaces: taps on bridges, macvtaps,
 * ports of Open vSwitch, passt. Made with ioctls and rtnetlink; needs the
 * rights that the kernel asks for (CAP_NET_ADMIN), which a session's daemon
 * has only for interfaces made for its user. Worker threads; they may block.
 */
#ifndef KV_DAEMON_MACHINE_NET_H
#define KV_DAEMON_MACHINE_NET_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define NET_QUEUES_MAX 32

struct net_tap_spec {
    const char *name;   /* NULL, or with "%d" in it: the first free number */
    const char *bridge; /* a Linux bridge that it joins; NULL: none */
    const uint8_t *mac; /* the guest's; the tap's own begins with fe instead. NULL: left alone */
    unsigned mtu;       /* 0: the bridge's, or the kernel's choice */
    unsigned queues;    /* 1 ... NET_QUEUES_MAX */
    bool isolated;      /* a port of the bridge that talks to others that are not only */
    bool existing;      /* opened as it is: nothing is set */
};

/* Opens (and thereby makes) a tap: one descriptor a queue, with virtio-net headers. It vanishes
 * with its last descriptor unless it was there before. name becomes what it is called. */
int net_open_tap(const struct net_tap_spec *spec, int *fds, char name[IFNAMSIZ],
                 struct kv_error *err);

/* A name for a new interface such as "macvtap0" that is free now. */
int net_free_name(const char *pattern, char name[IFNAMSIZ], struct kv_error *err);

struct net_macvtap_spec {
    const char *name;
    const char *lower; /* the interface that it sits on */
    const char *mode;  /* vepa, bridge, private, passthrough */
    const uint8_t *mac;
    unsigned mtu; /* 0: the lower one's */
    unsigned queues;
};

/* Makes a macvtap interface, which stays until net_remove_link(), and opens its queues. */
int net_open_macvtap(const struct net_macvtap_spec *spec, int *fds, struct kv_error *err);

/* Removes an interface of that name, if it still has that MAC address ("" : any). */
void net_remove_link(const char *name, const char *mac);

struct net_ovs_spec {
    const char *bridge, *name;
    const char *mac, *interface_id, *profile_id,
        *machine_uuid; /* external-ids; profile may be NULL */
    const unsigned *vlans;
    unsigned vlan_count, native_vlan;
    bool trunk;
};

/* Adds a tap to a bridge of Open vSwitch as a port, by ovs-vsctl. */
int net_add_ovs_port(const struct net_ovs_spec *spec, struct kv_error *err);
void net_remove_ovs_port(const char *name);

/* /dev/vhost-net, one descriptor a queue. -errno without a message: there is none. */
int net_open_vhost(int *fds, unsigned queues);

#endif
