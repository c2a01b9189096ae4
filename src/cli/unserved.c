/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Verbs whose procedures the daemon does not serve yet. They are asked of it all the same, as
 * virsh would: what it answers is told, and once it serves them the verb gets its own function.
 * A row says which object is looked up, which procedure is called and what is said when that
 * fails.
 */
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "cli/args.h"
#include "cli/line.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/verbs.h"

enum object {
    NO_OBJECT,
    DOMAIN,
    NETWORK,
    NETWORK_UUID,
    NWFILTER,
    BINDING,
    SNAPSHOT,
    CHECKPOINT,
    NODE_DEVICE,
    INTERFACE,
};

/* What the verb says when it fails: %s is the option's value. */
struct row {
    const char *verb, *when; /* when: the option that makes this row the one; NULL: any */
    const char *file;        /* file: the option that names one, or NULL */
    enum object object;
    struct kvasir_procedure (*describe)(void);
    const char *said, *option;
};

#define ROW(verb, file, object, NAME, said, option) \
    ROW_WHEN(verb, NULL, file, object, NAME, said, option)
#define ROW_WHEN(verb, when, file, object, NAME, said, option)         \
    {                                                                  \
        verb, when, file, object, kvasir_describe_##NAME, said, option \
    }

static const struct row rows[] = {
    ROW("backup-begin", NULL, DOMAIN, DOMAIN_BACKUP_BEGIN, NULL, NULL),
    ROW("backup-dumpxml", NULL, DOMAIN, DOMAIN_BACKUP_GET_XML_DESC, NULL, NULL),
    ROW("blockcommit", NULL, DOMAIN, DOMAIN_BLOCK_COMMIT, NULL, NULL),
    ROW("blockcopy", NULL, DOMAIN, DOMAIN_BLOCK_REBASE, NULL, NULL),
    ROW_WHEN("blockjob", "abort", NULL, DOMAIN, DOMAIN_BLOCK_JOB_ABORT, NULL, NULL),
    ROW_WHEN("blockjob", "bandwidth", NULL, DOMAIN, DOMAIN_BLOCK_JOB_SET_SPEED, NULL, NULL),
    ROW_WHEN("blockjob", NULL, NULL, DOMAIN, DOMAIN_GET_BLOCK_JOB_INFO, NULL, NULL),
    ROW("blockpull", NULL, DOMAIN, DOMAIN_BLOCK_PULL, NULL, NULL),
    ROW("checkpoint-create", "xmlfile", DOMAIN, DOMAIN_CHECKPOINT_CREATE_XML, NULL, NULL),
    ROW("checkpoint-create-as", NULL, DOMAIN, DOMAIN_CHECKPOINT_CREATE_XML, NULL, NULL),
    ROW("checkpoint-delete", NULL, CHECKPOINT, DOMAIN_CHECKPOINT_DELETE,
        "Failed to delete checkpoint %s", "checkpointname"),
    ROW("checkpoint-dumpxml", NULL, CHECKPOINT, DOMAIN_CHECKPOINT_GET_XML_DESC, NULL, NULL),
    ROW("checkpoint-edit", NULL, CHECKPOINT, DOMAIN_CHECKPOINT_GET_XML_DESC, NULL, NULL),
    ROW("checkpoint-info", NULL, CHECKPOINT, DOMAIN_CHECKPOINT_GET_PARENT, NULL, NULL),
    ROW("checkpoint-parent", NULL, CHECKPOINT, DOMAIN_CHECKPOINT_GET_PARENT, NULL, NULL),
    ROW("dom-fd-associate", NULL, DOMAIN, DOMAIN_FD_ASSOCIATE, NULL, NULL),
    ROW("domblkthreshold", NULL, DOMAIN, DOMAIN_SET_BLOCK_THRESHOLD, NULL, NULL),
    ROW("domdirtyrate-calc", NULL, DOMAIN, DOMAIN_START_DIRTY_RATE_CALC, NULL, NULL),
    ROW("domlaunchsecinfo", NULL, DOMAIN, DOMAIN_GET_LAUNCH_SECURITY_INFO,
        "Unable to get launch security parameters", NULL),
    ROW("domsetlaunchsecstate", NULL, DOMAIN, DOMAIN_SET_LAUNCH_SECURITY_STATE,
        "Unable to set launch security state", NULL),
    ROW("domxml-to-native", NULL, NO_OBJECT, CONNECT_DOMAIN_XML_TO_NATIVE, NULL, NULL),
    ROW("guest-agent-timeout", NULL, DOMAIN, DOMAIN_AGENT_SET_RESPONSE_TIMEOUT, NULL, NULL),
    ROW("iface-begin", NULL, NO_OBJECT, INTERFACE_CHANGE_BEGIN,
        "Failed to begin network config change transaction", NULL),
    ROW("iface-bridge", NULL, NO_OBJECT, INTERFACE_DEFINE_XML,
        "Failed to define new bridge interface %s", "bridge"),
    ROW("iface-commit", NULL, NO_OBJECT, INTERFACE_CHANGE_COMMIT,
        "Failed to commit network config change transaction", NULL),
    ROW("iface-define", "file", NO_OBJECT, INTERFACE_DEFINE_XML,
        "Failed to define interface from %s", "file"),
    ROW("iface-destroy", NULL, INTERFACE, INTERFACE_DESTROY, "Failed to destroy interface %s",
        "interface"),
    ROW("iface-edit", NULL, INTERFACE, INTERFACE_DEFINE_XML, NULL, NULL),
    ROW("iface-rollback", NULL, NO_OBJECT, INTERFACE_CHANGE_ROLLBACK,
        "Failed to rollback network config change transaction", NULL),
    ROW("iface-start", NULL, INTERFACE, INTERFACE_CREATE, "Failed to start interface %s",
        "interface"),
    ROW("iface-unbridge", NULL, INTERFACE, INTERFACE_UNDEFINE,
        "Failed to undefine bridge interface %s", "bridge"),
    ROW("iface-undefine", NULL, INTERFACE, INTERFACE_UNDEFINE, "Failed to undefine interface %s",
        "interface"),
    ROW("iothreadset", NULL, DOMAIN, DOMAIN_SET_IOTHREAD_PARAMS, NULL, NULL),
    ROW("migrate-compcache", NULL, DOMAIN, DOMAIN_MIGRATE_GET_COMPRESSION_CACHE, NULL, NULL),
    ROW("migrate-getmaxdowntime", NULL, DOMAIN, DOMAIN_MIGRATE_GET_MAX_DOWNTIME, NULL, NULL),
    ROW("migrate-getspeed", NULL, DOMAIN, DOMAIN_MIGRATE_GET_MAX_SPEED, NULL, NULL),
    ROW("migrate-postcopy", NULL, DOMAIN, DOMAIN_MIGRATE_START_POST_COPY, NULL, NULL),
    ROW("migrate-setmaxdowntime", NULL, DOMAIN, DOMAIN_MIGRATE_SET_MAX_DOWNTIME, NULL, NULL),
    ROW("migrate-setspeed", NULL, DOMAIN, DOMAIN_MIGRATE_SET_MAX_SPEED, NULL, NULL),
    ROW("net-autostart", NULL, NETWORK, NETWORK_SET_AUTOSTART,
        "failed to mark network %s as autostarted", "network"),
    ROW("net-create", "file", NO_OBJECT, NETWORK_CREATE_XML, "Failed to create network from %s",
        "file"),
    ROW("net-define", "file", NO_OBJECT, NETWORK_DEFINE_XML, "Failed to define network from %s",
        "file"),
    ROW("net-destroy", NULL, NETWORK, NETWORK_DESTROY, "Failed to destroy network %s", "network"),
    ROW("net-dhcp-leases", NULL, NETWORK, NETWORK_GET_DHCP_LEASES,
        "Failed to get leases info for %s", "network"),
    ROW("net-dumpxml", NULL, NETWORK, NETWORK_GET_XML_DESC, NULL, NULL),
    ROW("net-edit", NULL, NETWORK, NETWORK_GET_XML_DESC, NULL, NULL),
    ROW("net-info", NULL, NETWORK, NETWORK_IS_ACTIVE, NULL, NULL),
    ROW_WHEN("net-list", "inactive", NULL, NO_OBJECT, CONNECT_NUM_OF_DEFINED_NETWORKS,
             "Failed to get the number of inactive networks", NULL),
    ROW("net-list", NULL, NO_OBJECT, CONNECT_NUM_OF_NETWORKS,
        "Failed to get the number of active networks", NULL),
    ROW("net-name", NULL, NETWORK_UUID, NETWORK_IS_ACTIVE, NULL, NULL),
    ROW("net-port-create", "file", NETWORK, NETWORK_PORT_CREATE_XML,
        "Failed to create network from %s", "file"),
    ROW("net-port-delete", NULL, NETWORK, NETWORK_PORT_LOOKUP_BY_UUID, NULL, NULL),
    ROW("net-port-dumpxml", NULL, NETWORK, NETWORK_PORT_LOOKUP_BY_UUID, NULL, NULL),
    ROW("net-port-list", NULL, NETWORK, NETWORK_LIST_ALL_PORTS, NULL, NULL),
    ROW("net-start", NULL, NETWORK, NETWORK_CREATE, "Failed to start network %s", "network"),
    ROW("net-undefine", NULL, NETWORK, NETWORK_UNDEFINE, "Failed to undefine network %s",
        "network"),
    ROW("net-update", NULL, NETWORK, NETWORK_UPDATE, "Failed to update network %s", "network"),
    ROW("net-uuid", NULL, NETWORK, NETWORK_IS_ACTIVE, NULL, NULL),
    ROW("nodedev-autostart", NULL, NODE_DEVICE, NODE_DEVICE_SET_AUTOSTART,
        "failed to mark device %s as autostarted", "device"),
    ROW("nodedev-create", "file", NO_OBJECT, NODE_DEVICE_CREATE_XML,
        "Failed to create node device from %s", "file"),
    ROW("nodedev-define", "file", NO_OBJECT, NODE_DEVICE_DEFINE_XML,
        "Failed to define node device from '%s'", "file"),
    ROW("nodedev-destroy", NULL, NODE_DEVICE, NODE_DEVICE_DESTROY,
        "Failed to destroy node device '%s'", "device"),
    ROW("nodedev-detach", NULL, NODE_DEVICE, NODE_DEVICE_DETTACH, "Failed to detach device %s",
        "device"),
    ROW("nodedev-reattach", NULL, NODE_DEVICE, NODE_DEVICE_RE_ATTACH,
        "Failed to re-attach device %s", "device"),
    ROW("nodedev-reset", NULL, NODE_DEVICE, NODE_DEVICE_RESET, "Failed to reset device %s",
        "device"),
    ROW("nodedev-start", NULL, NODE_DEVICE, NODE_DEVICE_CREATE, "Failed to start device %s",
        "device"),
    ROW("nodedev-undefine", NULL, NODE_DEVICE, NODE_DEVICE_UNDEFINE,
        "Failed to undefine node device '%s'", "device"),
    ROW("nodesevinfo", NULL, NO_OBJECT, NODE_GET_SEV_INFO, "Unable to get host SEV information",
        NULL),
    ROW("nodesuspend", NULL, NO_OBJECT, NODE_SUSPEND_FOR_DURATION, "The host was not suspended",
        NULL),
    ROW("nwfilter-binding-create", "file", NO_OBJECT, NWFILTER_BINDING_CREATE_XML,
        "Failed to create network filter from %s", "file"),
    ROW("nwfilter-binding-delete", NULL, BINDING, NWFILTER_BINDING_DELETE, NULL, NULL),
    ROW("nwfilter-binding-dumpxml", NULL, BINDING, NWFILTER_BINDING_GET_XML_DESC, NULL, NULL),
    ROW("nwfilter-binding-list", NULL, NO_OBJECT, CONNECT_LIST_ALL_NWFILTER_BINDINGS,
        "Failed to list network filter bindings", NULL),
    ROW("nwfilter-define", "file", NO_OBJECT, NWFILTER_DEFINE_XML,
        "Failed to define network filter from %s", "file"),
    ROW("nwfilter-dumpxml", NULL, NWFILTER, NWFILTER_GET_XML_DESC, NULL, NULL),
    ROW("nwfilter-edit", NULL, NWFILTER, NWFILTER_GET_XML_DESC, NULL, NULL),
    ROW("nwfilter-list", NULL, NO_OBJECT, CONNECT_NUM_OF_NWFILTERS,
        "Failed to count network filters", NULL),
    ROW("nwfilter-undefine", NULL, NWFILTER, NWFILTER_UNDEFINE, NULL, NULL),
    ROW("qemu-attach", NULL, NO_OBJECT, QEMU_DOMAIN_ATTACH, "Failed to attach to pid %s", "pid"),
    ROW("qemu-monitor-event", NULL, NO_OBJECT, QEMU_CONNECT_DOMAIN_MONITOR_EVENT_REGISTER, NULL,
        NULL),
    ROW("restore", NULL, NO_OBJECT, DOMAIN_RESTORE, "Failed to restore domain from %s", "file"),
    ROW("save-image-define", "xml", NO_OBJECT, DOMAIN_SAVE_IMAGE_DEFINE_XML, "Failed to update %s",
        "file"),
    ROW("save-image-dumpxml", NULL, NO_OBJECT, DOMAIN_SAVE_IMAGE_GET_XML_DESC, NULL, NULL),
    ROW("save-image-edit", NULL, NO_OBJECT, DOMAIN_SAVE_IMAGE_GET_XML_DESC, NULL, NULL),
    ROW("send-process-signal", NULL, DOMAIN, DOMAIN_SEND_PROCESS_SIGNAL, NULL, NULL),
    ROW("setvcpu", NULL, DOMAIN, DOMAIN_SET_VCPU, NULL, NULL),
    ROW("snapshot-create", "xmlfile", DOMAIN, DOMAIN_SNAPSHOT_CREATE_XML, NULL, NULL),
    ROW("snapshot-create-as", NULL, DOMAIN, DOMAIN_SNAPSHOT_CREATE_XML, NULL, NULL),
    ROW("snapshot-delete", NULL, SNAPSHOT, DOMAIN_SNAPSHOT_DELETE, "Failed to delete snapshot %s",
        "snapshotname"),
    ROW("snapshot-dumpxml", NULL, SNAPSHOT, DOMAIN_SNAPSHOT_GET_XML_DESC, NULL, NULL),
    ROW("snapshot-edit", NULL, SNAPSHOT, DOMAIN_SNAPSHOT_GET_XML_DESC, NULL, NULL),
    ROW("snapshot-info", NULL, SNAPSHOT, DOMAIN_SNAPSHOT_GET_XML_DESC, NULL, NULL),
    ROW("snapshot-parent", NULL, SNAPSHOT, DOMAIN_SNAPSHOT_GET_PARENT, NULL, NULL),
    ROW("snapshot-revert", NULL, SNAPSHOT, DOMAIN_REVERT_TO_SNAPSHOT,
        "Failed to revert snapshot %s", "snapshotname"),
};

/* Fills what stands first in the procedure's arguments; all have the object first. */
static int find_object(struct cli *cli, enum object object, void *args)
{
    const void *found = NULL;
    size_t size = 0;
    switch (object) {
    case DOMAIN:
        found = lookup_domain(cli);
        size = sizeof(wire_domain);
        break;
    case NETWORK:
    case NETWORK_UUID:
        found = lookup_network(cli, object == NETWORK_UUID);
        size = sizeof(wire_network);
        break;
    case NWFILTER:
        found = lookup_nwfilter(cli);
        size = sizeof(wire_nwfilter);
        break;
    case BINDING:
        found = lookup_binding(cli);
        size = sizeof(wire_binding);
        break;
    case SNAPSHOT:
        found = lookup_snapshot(cli);
        size = sizeof(wire_snapshot);
        break;
    case CHECKPOINT:
        found = lookup_checkpoint(cli);
        size = sizeof(wire_checkpoint);
        break;
    case NODE_DEVICE:
        found = lookup_node_device(cli);
        size = sizeof(wire_device);
        break;
    case INTERFACE:
        found = lookup_interface(cli);
        size = sizeof(wire_iface);
        break;
    default:
        return 0;
    }
    if (!found)
        return -1;
    memcpy(args, found, size);
    return 0;
}

/* A file that the verb reads must be there before the daemon is asked. */
static int read_file_option(struct cli *cli, const char *option)
{
    const char *path = NULL;
    int r = option ? arg_text(cli, option, &path) : 0;
    return r <= 0 ? r : read_text_file(cli, path) ? 0 : -1;
}

#define ARGS_MAX 512

/* A daemon that does not serve a procedure says so before it looks at the arguments. */
static bool_t encode_nothing(XDR *xdrs, void *args)
{
    return TRUE;
}

int unserved(struct cli *cli)
{
    const struct row *row = rows;
    while (row < rows + ARRAY_SIZE(rows) && (strcmp(row->verb, cli->command->verb->name) != 0 ||
                                             (row->when && !arg_on(cli, row->when))))
        row++;
    if (row == rows + ARRAY_SIZE(rows))
        return cli_error(cli, "command '%s' is not there yet", cli->command->verb->name);
    void *args = cli_alloc(cli, ARGS_MAX);
    if (find_object(cli, row->object, args) < 0 || read_file_option(cli, row->file) < 0)
        return -1;
    struct kvasir_procedure procedure = row->describe();
    procedure.args_code = (xdrproc_t)encode_nothing;
    if (cli_call(cli, &procedure, args) || cli->error.code != VIR_ERR_NO_SUPPORT) {
        cli_forget_error(cli);
        return cli_error(cli, "command '%s': the daemon serves it, this version of kvasir does not",
                         row->verb);
    }
    if (!row->said)
        return -1;
    const char *value = row->option ? arg_raw(cli, row->option) : NULL;
    if (!value)
        return cli_error(cli, "%s", row->said);
    const char *hole = strstr(row->said, "%s");
    return cli_error(cli, "%.*s%s%s", (int)(hole - row->said), row->said, value, hole + 2);
}
