/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots and checkpoints as far as there can be any: their lists. */
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "cli/args.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/verbs.h"

int snapshot_list(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const REMOTE_RET(DOMAIN_LIST_ALL_SNAPSHOTS) *got =
        domain ? CALL(cli, DOMAIN_LIST_ALL_SNAPSHOTS, .dom = *domain, .want_list = 1) : NULL;
    if (!got)
        return -1;
    if (arg_on(cli, "name") || arg_on(cli, "tree") || got->snapshots.snapshots_len) {
        out_array(cli);
        for (unsigned i = 0; i < got->snapshots.snapshots_len; i++) {
            out_item(cli);
            out_value(cli, "name", "%s", got->snapshots.snapshots_val[i].name);
        }
        return 0;
    }
    return table_print(cli, arg_on(cli, "parent")
                                ? TABLE(cli, "Name", "Creation Time", "State", "Parent")
                                : TABLE(cli, "Name", "Creation Time", "State"));
}

int snapshot_current(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const REMOTE_RET(DOMAIN_HAS_CURRENT_SNAPSHOT) *has =
        domain ? CALL(cli, DOMAIN_HAS_CURRENT_SNAPSHOT, .dom = *domain) : NULL;
    if (!has)
        return -1;
    if (!has->result)
        return cli_error(cli, "domain '%s' has no current snapshot", domain->name);
    const REMOTE_RET(DOMAIN_SNAPSHOT_CURRENT) *current =
        CALL(cli, DOMAIN_SNAPSHOT_CURRENT, .dom = *domain);
    return current ? out_value(cli, "name", "%s", current->snap.name) : -1;
}

int checkpoint_list(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const REMOTE_RET(DOMAIN_LIST_ALL_CHECKPOINTS) *got =
        domain ? CALL(cli, DOMAIN_LIST_ALL_CHECKPOINTS, .dom = *domain, .want_list = 1) : NULL;
    if (!got)
        return -1;
    if (arg_on(cli, "name") || arg_on(cli, "tree") || got->checkpoints.checkpoints_len) {
        out_array(cli);
        for (unsigned i = 0; i < got->checkpoints.checkpoints_len; i++) {
            out_item(cli);
            out_value(cli, "name", "%s", got->checkpoints.checkpoints_val[i].name);
        }
        return 0;
    }
    return table_print(cli, arg_on(cli, "parent") ? TABLE(cli, "Name", "Creation Time", "Parent")
                                                  : TABLE(cli, "Name", "Creation Time"));
}
