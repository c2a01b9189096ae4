/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bonds on the control thread: which links work, what LACP says of them, and which are used; the
 * forwarding thread is told (forward/bond.h). A member is a port that was added with the bond's
 * name, before the bond or after it; alone it neither takes nor sends anything.
 */
#ifndef KV_SWITCH_CONTROL_BONDS_H
#define KV_SWITCH_CONTROL_BONDS_H

#include <jansson.h>

#include "switch/control/port_kinds.h"

enum bond_lacp {
    BOND_LACP_OFF,
    BOND_LACP_ACTIVE,
    BOND_LACP_PASSIVE,
};

/* By enum bond_mode, by enum bond_lacp; how often a partner is to say something. */
extern const char *const bond_mode_names[];
extern const char *const bond_lacp_names[];
extern const char *const bond_lacp_times[];

/* Of struct port_kind. */
struct port *bonds_create(const struct port_options *options, struct loop *loop,
                          struct kv_error *err);
int bonds_start(struct port *port, struct kv_error *err);
void bonds_stop(struct port *port);
void bonds_free(struct port *port);
void bonds_describe(struct port *port, json_t *row);

/* Whether a member may have the options: most are its bond's. */
int bonds_check_member(const struct port_options *options, struct kv_error *err);
/* A port that is to be a member, before it is on its bridge: it does nothing for now. */
int bonds_prepare_member(struct port *port, const struct port_options *options,
                         struct kv_error *err);
/* The port, on its bridge, joins the bond that it is to be a member of, if that is there. -ENOSPC:
 * it has as many as it can have. */
int bonds_join(struct port *port, struct kv_error *err);
/* It is about to be removed. */
void bonds_leave(struct port *port);

/* The bond has other VLANs; so have its members. On the forwarding thread. */
void bonds_pass_vlans(struct port *port);

/* A frame of a neighbour's protocol came in at the port. */
void bonds_hear(struct port *port, const uint8_t *bytes, size_t len);

#endif
