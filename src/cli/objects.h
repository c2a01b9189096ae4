/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Objects other than machines, by the option that names them. NULL: told. */
#ifndef KV_CLI_OBJECTS_H
#define KV_CLI_OBJECTS_H

#include "cli/cli.h"

const wire_network *lookup_network(struct cli *cli, bool by_uuid);
const wire_nwfilter *lookup_nwfilter(struct cli *cli);
const wire_binding *lookup_binding(struct cli *cli);
const wire_snapshot *lookup_snapshot(struct cli *cli);
const wire_checkpoint *lookup_checkpoint(struct cli *cli);
const wire_device *lookup_node_device(struct cli *cli);
/* A name, or a hardware address. */
const wire_iface *lookup_interface(struct cli *cli);
const wire_iface *lookup_interface_by(struct cli *cli, const char *option, bool name, bool mac);
const wire_secret *lookup_secret(struct cli *cli);
const wire_pool *lookup_pool(struct cli *cli, const char *option);
const wire_pool *lookup_pool_by(struct cli *cli, const char *option, bool name, bool uuid);
/* A name in the pool that is named, a key or a path. */
const wire_volume *lookup_volume(struct cli *cli, const char *option, const char *pool_option);
const wire_volume *lookup_volume_by(struct cli *cli, const char *option, const char *pool_option,
                                    bool name, bool key, bool path);

#endif
