/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network interfaces of a domain: the host's end is made and its descriptors handed over. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/util.h"
#include "daemon/machine/config.h"
#include "daemon/machine/machine_internal.h"
#include "daemon/machine/net/net.h"
#include "daemon/machine/net/passt.h"
#include "model/api_error.h"
#include "model/host.h"

/* An interface as it is put together. */
struct nic {
    struct plan *plan;
    struct model_domain *domain;
    struct model_nic *model;
    const char *alias;
    unsigned queues;
    char mac[18], name[IFNAMSIZ];
    json_t *options;
};

static int refuse(const struct nic *nic, const char *what, struct kv_error *err)
{
    return api_error(err, VIR_ERR_CONFIG_UNSUPPORTED, "interface '%s': %s", nic->alias, what);
}

/* "fd" or "fds" from the descriptors, which the plan takes over. */
static int give(struct nic *nic, const char *one, const char *several, const int *fds,
                struct kv_error *err)
{
    char list[NET_QUEUES_MAX * 12] = "";
    size_t len = 0;
    int rc = 0;
    for (unsigned i = 0; i < nic->queues; i++) {
        int added = plan_add_fd(nic->plan, fds[i], rc ? NULL : err);
        rc = rc ? rc : added;
        len += (size_t)snprintf(list + len, sizeof(list) - len, i ? ":%d" : "%d", fds[i]);
    }
    if (nic->queues == 1 && one)
        json_object_set_new(nic->options, one, json_integer(fds[0]));
    else
        config_set_text(nic->options, several, list);
    return rc;
}

/* The kernel's own data path, unless something in between has to look at the frames. */
static int add_vhost(struct nic *nic, struct kv_error *err)
{
    int fds[NET_QUEUES_MAX];
    const struct model_nic *model = nic->model;
    bool limited = model->in.average || model->out.average;
    bool wanted = model->driver && strcmp(model->driver, "vhost") == 0;
    bool never = model->driver && strcmp(model->driver, "qemu") == 0;
    int rc = never || limited ? -ENODEV : net_open_vhost(fds, nic->queues);
    if (rc == 0)
        rc = give(nic, NULL, "vhost-fds", fds, err);
    else if (wanted && !limited)
        return kv_error_errno(err, KV_ERR_NET, -rc,
                              "vhost-net was requested for an interface, but "
                              "is unavailable");
    else
        rc = 0;
    if (!json_object_get(nic->options, "vhost-fds"))
        config_set_text(nic->options, "vhost", "off");
    return rc;
}

static int add_undo(struct nic *nic, const char *kind, struct kv_error *err)
{
    return plan_add_undo(
        nic->plan, json_pack("{s:s, s:s, s:s}", "kind", kind, "name", nic->name, "mac", nic->mac),
        err);
}

/* ------------------------------------------------------------------- the kinds */

static int add_to_ovs(struct nic *nic, struct kv_error *err)
{
    const struct model_nic *model = nic->model;
    const struct net_ovs_spec port = {
        .bridge = model->source,
        .name = nic->name,
        .mac = nic->mac,
        .interface_id = model->interface_id,
        .profile_id = model->profile_id,
        .machine_uuid = nic->plan->uuid,
        .vlans = model->vlans,
        .vlan_count = model->vlan_count,
        .native_vlan = model->vlan_native,
        .trunk = model->vlan_trunk,
    };
    int rc = add_undo(nic, "ovs-port", err);
    return rc < 0 ? rc : net_add_ovs_port(&port, err);
}

static int open_tap(struct nic *nic, struct kv_error *err)
{
    int fds[NET_QUEUES_MAX];
    const struct model_nic *model = nic->model;
    bool ovs = model->virtualport && strcmp(model->virtualport, "openvswitch") == 0;
    bool bridged = model->type == MODEL_NIC_BRIDGE;
    if (model->script)
        return refuse(nic, "scripts are not run", err);
    if (model->vlan_count && !ovs)
        return refuse(nic, "VLANs are possible with Open vSwitch", err);
    const struct net_tap_spec tap = {
        .name = model->target,
        .bridge = bridged && !ovs ? model->source : NULL,
        .mac = model->mac,
        .mtu = model->mtu,
        .queues = nic->queues,
        .isolated = model->isolated,
        .existing = model->type == MODEL_NIC_ETHERNET && !model->managed,
    };
    int rc = net_open_tap(&tap, fds, nic->name, err);
    if (rc < 0)
        return rc;
    rc = give(nic, "fd", "fds", fds, err);
    if (rc == 0 && ovs)
        rc = add_to_ovs(nic, err);
    return rc < 0 ? rc : add_vhost(nic, err);
}

static int open_macvtap(struct nic *nic, struct kv_error *err)
{
    int fds[NET_QUEUES_MAX];
    const struct model_nic *model = nic->model;
    int rc = 0;
    if (model->virtualport)
        return refuse(nic, "virtual ports (802.1Qbg, 802.1Qbh) are not possible", err);
    if (!model->source)
        return refuse(nic, "the interface below is missing", err);
    /* Those that libvirt itself made up ("macvtap0") are names of earlier runs. */
    if (model->target && strncmp(model->target, "macvtap", 7) != 0)
        snprintf(nic->name, sizeof(nic->name), "%s", model->target);
    else
        rc = net_free_name("macvtap%d", nic->name, err);
    if (rc == 0)
        rc = add_undo(nic, "link", err);
    if (rc < 0)
        return rc;
    const struct net_macvtap_spec spec = {
        .name = nic->name,
        .lower = model->source,
        .mode = model->mode ? model->mode : "vepa",
        .mac = model->mac,
        .mtu = model->mtu,
        .queues = nic->queues,
    };
    rc = net_open_macvtap(&spec, fds, err);
    if (rc == 0)
        rc = give(nic, "fd", "fds", fds, err);
    return rc < 0 ? rc : add_vhost(nic, err);
}

static int open_passt(struct nic *nic, struct kv_error *err)
{
    if (nic->queues > 1)
        return refuse(nic, "user-mode networking has one queue", err);
    int fd = passt_start(nic->plan, nic->model, err);
    return fd < 0 ? fd : give(nic, "fd", NULL, &fd, err);
}

/* A monitor that runs connects to nothing any more. */
static int open_back_end(struct nic *nic, struct kv_error *err)
{
    const struct model_nic *model = nic->model;
    if (strcmp(model->mode, "client") != 0)
        return refuse(nic, "a running machine can be the client of a back end, not its server",
                      err);
    if (model->reconnect)
        return refuse(nic, "reconnecting is not possible in a running machine", err);
    int fd = fd_connect_unix(model->socket);
    if (fd < 0)
        return kv_error_errno(err, KV_ERR_NET, -fd, "vhost-user socket '%s'", model->socket);
    json_t *text = plan_fd_text(nic->plan, fd, err);
    if (!text)
        return -ENOMEM;
    json_object_set_new(nic->options, "vhost-user", text);
    config_set_number(nic->options, "queues", model->queues);
    return 0;
}

/* The monitor connects by itself, so that it can do so again. */
static int open_vhost_user(struct nic *nic, struct kv_error *err)
{
    const struct model_nic *model = nic->model;
    if (model->in.average || model->out.average)
        return refuse(nic, "the bandwidth of vhost-user is the switch's to limit", err);
    if (nic->plan->runs)
        return open_back_end(nic, err);
    if (strcmp(model->mode, "client") == 0) {
        config_set_text(nic->options, "vhost-user", model->socket);
        json_object_set_new(nic->options, "reconnect", json_integer(model->reconnect));
    } else {
        int fd = plan_listen(nic->plan, model->socket, err);
        json_t *text = fd < 0 ? NULL : plan_fd_text(nic->plan, fd, err);
        if (!text)
            return fd < 0 ? fd : -ENOMEM;
        json_object_set_new(nic->options, "vhost-user", text);
    }
    config_set_number(nic->options, "queues", model->queues);
    return 0;
}

static int (*const openers[])(struct nic *nic, struct kv_error *err) = {
    [MODEL_NIC_BRIDGE] = open_tap,           [MODEL_NIC_ETHERNET] = open_tap,
    [MODEL_NIC_DIRECT] = open_macvtap,       [MODEL_NIC_USER] = open_passt,
    [MODEL_NIC_VHOSTUSER] = open_vhost_user,
};

/* ------------------------------------------------------------------ in common */

/* The document counts kilobytes a second; in is towards the guest, our rx. */
static int set_bandwidth(struct nic *nic, struct kv_error *err)
{
    const struct {
        const struct model_bandwidth *limit;
        const char *rate, *burst;
    } ways[] = {
        {&nic->model->in, "rx-rate", "rx-burst"},
        {&nic->model->out, "tx-rate", "tx-burst"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
        if (ways[i].limit->floor)
            return refuse(nic, "a floor of bandwidth is for virtual networks", err);
        config_set_number(nic->options, ways[i].rate, ways[i].limit->average * 1024);
        config_set_number(nic->options, ways[i].burst, ways[i].limit->burst * 1024);
    }
    return 0;
}

/* A BIOS boots from the network by a ROM; UEFI has drivers of its own. */
static int set_boot(struct nic *nic, unsigned boot_index, struct kv_error *err)
{
    const struct model_nic *model = nic->model;
    const char *path = model->rom;
    json_t *text = NULL;
    config_set_number(nic->options, "bootindex", boot_index);
    if (nic->domain->kernel || nic->domain->nvram || model->no_rom || (!path && !boot_index))
        return 0;
    if (!path)
        path = model_host_network_rom();
    if (!path)
        return refuse(nic,
                      "no ROM was found to boot from the network by; package ipxe-qemu has one, "
                      "and <rom file> names another",
                      err);
    int rc = config_open_file(nic->plan, "rom", path, &text, err);
    if (rc == 0)
        json_object_set_new(nic->options, "rom", text);
    return rc;
}

static int set_common(struct nic *nic, struct kv_error *err)
{
    const struct model_nic *model = nic->model;
    config_set_slot(nic->options, &model->device);
    config_set_text(nic->options, "mac", nic->mac);
    config_set_number(nic->options, "mtu", model->mtu);
    if (model->packed != MODEL_SWITCH_ABSENT)
        config_set_text(nic->options, "packed", model->packed == MODEL_SWITCH_ON ? "on" : "off");
    config_set_number(nic->options, "queue-size", MAX(model->rx_queue_size, model->tx_queue_size));
    if (model->link_down)
        json_object_set_new(nic->options, "link", json_false());
    return set_bandwidth(nic, err);
}

static int note(struct nic *nic, struct kv_error *err)
{
    if (nic->name[0] && model_nic_set_target(nic->domain, nic->model, nic->name) < 0)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    return plan_note(nic->plan, "nics", nic->alias, json_pack("{s:s}", "target", nic->name), err);
}

int config_add_nic(struct plan *plan, struct model_domain *domain, struct model_nic *model,
                   unsigned boot_index, struct kv_error *err)
{
    char alias[32];
    snprintf(alias, sizeof(alias), "net%u", (unsigned)(model - domain->nics));
    struct nic nic = {
        .plan = plan,
        .domain = domain,
        .model = model,
        .alias = model->device.alias ? model->device.alias : alias,
        .queues = MAX(model->queues, 1u),
    };
    snprintf(nic.mac, sizeof(nic.mac), "%02x:%02x:%02x:%02x:%02x:%02x", model->mac[0],
             model->mac[1], model->mac[2], model->mac[3], model->mac[4], model->mac[5]);
    if (nic.queues > NET_QUEUES_MAX)
        return refuse(&nic, "at most 32 queues are possible", err);
    nic.options = json_pack("{s:s}", "id", nic.alias);
    plan->device = nic.alias;
    int rc = set_common(&nic, err);
    if (rc == 0)
        rc = set_boot(&nic, boot_index, err);
    if (rc == 0)
        rc = openers[model->type](&nic, err);
    if (rc == 0)
        rc = note(&nic, err);
    plan->device = NULL;
    if (rc < 0) {
        json_decref(nic.options);
        return rc;
    }
    return plan_add(plan, "net", nic.options, err);
}
