/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots and checkpoints as far as there can be any: their lists. */
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "cli/args.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/verbs.h"

static const struct arg_flag snapshot_flags[] = {
    {"leaves", VIR_DOMAIN_SNAPSHOT_LIST_LEAVES},
    {"no-leaves", VIR_DOMAIN_SNAPSHOT_LIST_NO_LEAVES},
    {"metadata", VIR_DOMAIN_SNAPSHOT_LIST_METADATA},
    {"no-metadata", VIR_DOMAIN_SNAPSHOT_LIST_NO_METADATA},
    {"inactive", VIR_DOMAIN_SNAPSHOT_LIST_INACTIVE},
    {"active", VIR_DOMAIN_SNAPSHOT_LIST_ACTIVE},
    {"disk-only", VIR_DOMAIN_SNAPSHOT_LIST_DISK_ONLY},
    {"internal", VIR_DOMAIN_SNAPSHOT_LIST_INTERNAL},
    {"external", VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL},
    {"topological", VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL},
    {NULL},
};

/* Of the machine, or below the snapshot that --from or --current names. NULL: told. */
static const REMOTE_RET(DOMAIN_LIST_ALL_SNAPSHOTS) *
    find_snapshots(struct cli *cli, const wire_domain *domain)
{
    unsigned flags = arg_flags(cli, snapshot_flags);
    const char *from = NULL;
    if (arg_text(cli, "from", &from) < 0)
        return NULL;
    if (!from && !arg_on(cli, "current")) {
        flags |= arg_on(cli, "roots") ? VIR_DOMAIN_SNAPSHOT_LIST_ROOTS : 0;
        return CALL(cli, DOMAIN_LIST_ALL_SNAPSHOTS, .dom = *domain, .want_list = 1, .flags = flags);
    }
    const REMOTE_RET(DOMAIN_SNAPSHOT_LOOKUP_BY_NAME) *start =
        from ? CALL(cli, DOMAIN_SNAPSHOT_LOOKUP_BY_NAME, .dom = *domain,
                    .name = (char *)(uintptr_t)from)
             : CALL(cli, DOMAIN_SNAPSHOT_CURRENT, .dom = *domain);
    flags |= arg_on(cli, "descendants") || arg_on(cli, "tree")
                 ? VIR_DOMAIN_SNAPSHOT_LIST_DESCENDANTS
                 : 0;
    return start ? CALL(cli, DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN, .snapshot = start->snap,
                        .want_list = 1, .flags = flags)
                 : NULL;
}

int snapshot_list(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const REMOTE_RET(DOMAIN_LIST_ALL_SNAPSHOTS) *got = domain ? find_snapshots(cli, domain) : NULL;
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
    if (arg_raw(cli, "snapshotname"))
        return cli_error(cli,
                         "snapshot-current does not make another snapshot the current one yet");
    if (!has->result)
        return cli_error(cli, "domain '%s' has no current snapshot", domain->name);
    const REMOTE_RET(DOMAIN_SNAPSHOT_CURRENT) *current =
        CALL(cli, DOMAIN_SNAPSHOT_CURRENT, .dom = *domain);
    if (!current || arg_on(cli, "name"))
        return current ? out_value(cli, "name", "%s", current->snap.name) : -1;
    const REMOTE_RET(DOMAIN_SNAPSHOT_GET_XML_DESC) *text =
        CALL(cli, DOMAIN_SNAPSHOT_GET_XML_DESC, .snap = current->snap,
             .flags = arg_on(cli, "security-info") ? VIR_DOMAIN_SNAPSHOT_XML_SECURE : 0);
    return text ? out_document(cli, "xml", text->xml) : -1;
}

static const struct arg_flag checkpoint_flags[] = {
    {"leaves", VIR_DOMAIN_CHECKPOINT_LIST_LEAVES},
    {"no-leaves", VIR_DOMAIN_CHECKPOINT_LIST_NO_LEAVES},
    {"topological", VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL},
    {NULL},
};

static const REMOTE_RET(DOMAIN_LIST_ALL_CHECKPOINTS) *
    find_checkpoints(struct cli *cli, const wire_domain *domain)
{
    unsigned flags = arg_flags(cli, checkpoint_flags);
    const char *from = NULL;
    if (arg_text(cli, "from", &from) < 0)
        return NULL;
    if (!from) {
        flags |= arg_on(cli, "roots") ? VIR_DOMAIN_CHECKPOINT_LIST_ROOTS : 0;
        return CALL(cli, DOMAIN_LIST_ALL_CHECKPOINTS, .dom = *domain, .want_list = 1,
                    .flags = flags);
    }
    const REMOTE_RET(DOMAIN_CHECKPOINT_LOOKUP_BY_NAME) *start = CALL(
        cli, DOMAIN_CHECKPOINT_LOOKUP_BY_NAME, .dom = *domain, .name = (char *)(uintptr_t)from);
    flags |= arg_on(cli, "descendants") || arg_on(cli, "tree")
                 ? VIR_DOMAIN_CHECKPOINT_LIST_DESCENDANTS
                 : 0;
    return start ? CALL(cli, DOMAIN_CHECKPOINT_LIST_ALL_CHILDREN, .checkpoint = start->checkpoint,
                        .want_list = 1, .flags = flags)
                 : NULL;
}

int checkpoint_list(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const REMOTE_RET(DOMAIN_LIST_ALL_CHECKPOINTS) *got =
        domain ? find_checkpoints(cli, domain) : NULL;
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
