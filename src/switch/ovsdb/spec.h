/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rows of the database and the objects of control/vswitch.h: what one says in terms of the
 * other. Both directions by the same tables.
 */
#ifndef KV_SWITCH_OVSDB_SPEC_H
#define KV_SWITCH_OVSDB_SPEC_H

#include "base/error.h"
#include "switch/ovsdb/database.h"

/* What vswitch_add_bridge() and vswitch_add_port() take; new references. run_dir: where sockets
 * of vhost-user lie unless said. A port: NULL with err when it cannot be. */
json_t *spec_of_bridge(const struct row *bridge);
json_t *spec_of_port(const struct row *bridge, const struct row *port, const struct row *interface,
                     const char *run_dir, struct kv_error *err);

/* A port of several interfaces is a bond; each of them is a port of its own, too. */
bool spec_is_bond(const struct row *port);
json_t *spec_of_bond(const struct row *bridge, const struct row *port);

/* A set of VLANs as "10,20", and back. */
json_t *spec_vlan_list(const struct datum *vlans);
struct datum spec_vlan_set(const char *text);

/* Sets rows to what such an object says. */
void spec_to_bridge(struct database *db, struct row *bridge, const json_t *object);
/* What set-port can change; what the object leaves out is as in a new port. */
void spec_to_port(struct database *db, struct row *port, struct row *interface,
                  const json_t *object);
/* What stays as it was when the port was added. */
void spec_to_interface(struct database *db, struct row *interface, const json_t *object);

/* The possible Interface.type, for iface_types; NULL at the end. */
extern const char *const spec_interface_types[];

#endif
