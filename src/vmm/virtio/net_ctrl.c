/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control queue of virtio-net (virtio 1.2, 5.1.6.5): what the driver wants
 * to receive, its address, how many queue pairs it uses and which offloads it
 * takes. Runs on the loop of the control queue, changes the pairs under their
 * locks.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/parse.h"
#include "vmm/virtio/net_impl.h"
#include "vmm/virtio/net_vhost_user.h"

#define CTRL_SEGMENTS 64
#define CTRL_BATCH 64

struct ctrl_command {
    uint8_t class, command;
    unsigned feature; /* that offers it */
    size_t size_min;  /* bytes of data behind the command's header */
    int (*run)(struct net *net, const struct virtqueue_chain *chain, unsigned command);
};

#define DATA_OFFSET sizeof(struct virtio_net_ctrl_hdr)

static size_t data_size(const struct virtqueue_chain *chain)
{
    return (size_t)chain->out_bytes - DATA_OFFSET;
}

static int set_rx_mode(struct net *net, const struct virtqueue_chain *chain, unsigned command)
{
    bool *const flags[] = {
        [VIRTIO_NET_CTRL_RX_PROMISC] = &net->filter.promisc,
        [VIRTIO_NET_CTRL_RX_ALLMULTI] = &net->filter.allmulti,
        [VIRTIO_NET_CTRL_RX_ALLUNI] = &net->filter.alluni,
        [VIRTIO_NET_CTRL_RX_NOMULTI] = &net->filter.nomulti,
        [VIRTIO_NET_CTRL_RX_NOUNI] = &net->filter.nouni,
        [VIRTIO_NET_CTRL_RX_NOBCAST] = &net->filter.nobcast,
    };
    uint8_t on;
    virtqueue_read_out(chain, DATA_OFFSET, &on, 1);
    *flags[command] = on;
    return 0;
}

/* One of the two tables: a count and so many addresses; *offset moves behind it. */
static int read_macs(const struct virtqueue_chain *chain, size_t *offset,
                     uint8_t macs[NET_FILTER_MACS][6], unsigned *count, bool *overflow)
{
    uint8_t entries[4];
    if (virtqueue_read_out(chain, *offset, entries, sizeof(entries)) != sizeof(entries))
        return -EINVAL;
    *offset += sizeof(entries);
    uint64_t n = load_le(entries, sizeof(entries));
    if (n * 6 > chain->out_bytes - *offset)
        return -EINVAL;
    *overflow = n > NET_FILTER_MACS;
    *count = *overflow ? 0 : (unsigned)n;
    virtqueue_read_out(chain, *offset, macs, (size_t)*count * 6);
    *offset += n * 6;
    return 0;
}

static int set_mac_table(struct net *net, const struct virtqueue_chain *chain, unsigned command)
{
    struct net_filter f = net->filter;
    size_t offset = DATA_OFFSET;
    int rc = read_macs(chain, &offset, f.unicast, &f.unicast_count, &f.unicast_overflow);
    if (rc == 0)
        rc = read_macs(chain, &offset, f.multicast, &f.multicast_count, &f.multicast_overflow);
    if (rc == 0)
        net->filter = f;
    return rc;
}

static int set_mac_address(struct net *net, const struct virtqueue_chain *chain, unsigned command)
{
    if (data_size(chain) != sizeof(net->config.mac))
        return -EINVAL;
    virtqueue_read_out(chain, DATA_OFFSET, net->config.mac, sizeof(net->config.mac));
    return 0;
}

static int set_pairs(struct net *net, const struct virtqueue_chain *chain, unsigned command)
{
    uint8_t le[2];
    virtqueue_read_out(chain, DATA_OFFSET, le, sizeof(le));
    unsigned pairs = (unsigned)load_le(le, sizeof(le));
    if (pairs < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN || pairs > net->pair_count)
        return -EINVAL;
    int rc = net_tap_enable_queues(&net->tap, pairs);
    if (rc < 0) {
        log_guest("%s: tap '%s' cannot switch to %u queues: %s", net->dev.name, net->tap.name,
                  pairs, strerror(-rc));
        return rc;
    }
    net->active_pairs = pairs;
    if (net->vhost_user)
        net_vhost_user_select(net->vhost_user, pairs, atomic_load(&net->link_up));
    for (unsigned i = 0; i < net->pair_count; i++)
        loop_post(net->pairs[i].loop, &net->pairs[i].rx_work);
    return 0;
}

static int set_offloads(struct net *net, const struct virtqueue_chain *chain, unsigned command)
{
    uint8_t le[8];
    virtqueue_read_out(chain, DATA_OFFSET, le, sizeof(le));
    uint64_t offloads = load_le(le, sizeof(le));
    if (offloads & ~(net->dev.driver_features & NET_F_GUEST_OFFLOADS))
        return -EINVAL;
    int rc = net_tap_set_offloads(&net->tap, offloads);
    if (rc < 0)
        return rc;
    net->guest_offloads = offloads;
    net->offloads_chosen = true;
    return 0;
}

static const struct ctrl_command commands[] = {
    {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, VIRTIO_NET_F_CTRL_RX, 1, set_rx_mode},
    {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, VIRTIO_NET_F_CTRL_RX, 1, set_rx_mode},
    {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, set_rx_mode},
    {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, set_rx_mode},
    {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, set_rx_mode},
    {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, set_rx_mode},
    {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, VIRTIO_NET_F_CTRL_RX, 8, set_mac_table},
    {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, VIRTIO_NET_F_CTRL_MAC_ADDR, 6,
     set_mac_address},
    {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, VIRTIO_NET_F_MQ, 2, set_pairs},
    {VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
     VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, 8, set_offloads},
};

static uint8_t run_command(struct net *net, const struct virtqueue_chain *chain)
{
    struct virtio_net_ctrl_hdr header;
    int rc = -EOPNOTSUPP;
    if (virtqueue_read_out(chain, 0, &header, sizeof(header)) != sizeof(header))
        return VIRTIO_NET_ERR;
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        const struct ctrl_command *c = &commands[i];
        if (c->class != header.class || c->command != header.cmd ||
            !virtio_has(&net->dev, c->feature) || data_size(chain) < c->size_min)
            continue;
        net_lock_all(net);
        rc = c->run(net, chain, header.cmd);
        net_unlock_all(net);
        break;
    }
    return rc < 0 ? VIRTIO_NET_ERR : VIRTIO_NET_OK;
}

/* The driver's own doorbell brings us back after the others of this loop had their turn. */
static void again(struct virtio_queue *queue)
{
    uint64_t one = 1;
    ssize_t ignored = write(queue->kick_fd, &one, sizeof(one));
    (void)ignored; /* EAGAIN: the count is full, so that the edge was there */
}

void net_ctrl_run(struct net *net, struct virtio_queue *queue)
{
    struct virtqueue *vq = &queue->ring;
    struct iovec iov[CTRL_SEGMENTS];
    struct virtqueue_chain chain = {.iov = iov, .iov_max = CTRL_SEGMENTS};
    unsigned budget = CTRL_BATCH;
    bool pushed = false;
    int rc;
    virtqueue_disable_kick(vq);
    for (;;) {
        rc = virtqueue_pop(vq, &chain);
        if (rc < 0 || (rc == 0 && !virtqueue_enable_kick(vq)))
            break;
        if (rc == 0) {
            virtqueue_disable_kick(vq);
            continue;
        }
        if (chain.in_bytes < sizeof(virtio_net_ctrl_ack)) {
            virtqueue_unpop(vq, &chain);
            virtqueue_break(vq, "a control command has no room for its answer");
            break;
        }
        uint8_t ack = run_command(net, &chain);
        virtqueue_write_in(&chain, 0, &ack, sizeof(ack));
        virtqueue_push(vq, &chain, sizeof(ack));
        pushed = true;
        if (--budget == 0) {
            again(queue);
            break;
        }
    }
    if (pushed)
        virtio_queue_notify(queue);
    virtio_queue_broken(queue);
}

void net_ctrl_reset(struct net *net)
{
    net->filter = (struct net_filter){.promisc = true};
    net->active_pairs = 1;
    net->guest_offloads = 0;
    net->offloads_chosen = false;
    memcpy(net->config.mac, net->factory_mac, sizeof(net->config.mac));
}

/* Addresses as one string of hexadecimal digits. */
static json_t *save_macs(const uint8_t macs[][6], unsigned count)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *m = macs[i];
        json_array_append_new(list, json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2],
                                                 m[3], m[4], m[5]));
    }
    return list;
}

static int load_macs(const json_t *list, uint8_t macs[][6], unsigned *count)
{
    size_t n = json_array_size(list);
    if (n > NET_FILTER_MACS)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (!text || parse_mac(text, macs[i]) < 0)
            return -EINVAL;
    }
    *count = (unsigned)n;
    return 0;
}

struct mode_name {
    const char *name;
    size_t offset;
};

static const struct mode_name modes[] = {
    {"promiscuous", offsetof(struct net_filter, promisc)},
    {"all-multicast", offsetof(struct net_filter, allmulti)},
    {"all-unicast", offsetof(struct net_filter, alluni)},
    {"no-multicast", offsetof(struct net_filter, nomulti)},
    {"no-unicast", offsetof(struct net_filter, nouni)},
    {"no-broadcast", offsetof(struct net_filter, nobcast)},
    {"unicast-overflow", offsetof(struct net_filter, unicast_overflow)},
    {"multicast-overflow", offsetof(struct net_filter, multicast_overflow)},
};

json_t *net_ctrl_save(const struct net *net)
{
    const struct net_filter *f = &net->filter;
    json_t *state =
        json_pack("{s:i, s:b, s:I, s:o, s:o}", "pairs", (int)net->active_pairs, "offloads-chosen",
                  net->offloads_chosen, "offloads", (json_int_t)net->guest_offloads, "unicast",
                  save_macs(f->unicast, f->unicast_count), "multicast",
                  save_macs(f->multicast, f->multicast_count));
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
        json_object_set_new(state, modes[i].name,
                            json_boolean(*(const bool *)((const char *)f + modes[i].offset)));
    return state;
}

int net_ctrl_load(struct net *net, const json_t *state, struct kv_error *err)
{
    struct net_filter f = {0};
    json_int_t pairs = json_integer_value(json_object_get(state, "pairs"));
    json_int_t offloads = json_integer_value(json_object_get(state, "offloads"));
    if (pairs < 1 || pairs > net->pair_count ||
        (uint64_t)offloads & ~(net->dev.driver_features & NET_F_GUEST_OFFLOADS) ||
        load_macs(json_object_get(state, "unicast"), f.unicast, &f.unicast_count) < 0 ||
        load_macs(json_object_get(state, "multicast"), f.multicast, &f.multicast_count) < 0)
        return kv_error_set(err, KV_ERR_NET, EINVAL, "%s: its saved state does not fit this device",
                            net->dev.name);
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
        *(bool *)((char *)&f + modes[i].offset) =
            json_is_true(json_object_get(state, modes[i].name));
    net->filter = f;
    net->active_pairs = (unsigned)pairs;
    net->guest_offloads = (uint64_t)offloads;
    net->offloads_chosen = json_is_true(json_object_get(state, "offloads-chosen"));
    return 0;
}

static bool listed(const uint8_t macs[][6], unsigned count, const uint8_t mac[6])
{
    for (unsigned i = 0; i < count; i++) {
        if (memcmp(macs[i], mac, 6) == 0)
            return true;
    }
    return false;
}

bool net_filter_accepts(const struct net *net, const uint8_t mac[6])
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const struct net_filter *f = &net->filter;
    if (f->promisc)
        return true;
    if (memcmp(mac, broadcast, 6) == 0)
        return !f->nobcast;
    if (mac[0] & 1)
        return !f->nomulti && (f->allmulti || f->multicast_overflow ||
                               listed(f->multicast, f->multicast_count, mac));
    return !f->nouni && (f->alluni || f->unicast_overflow || memcmp(mac, net->config.mac, 6) == 0 ||
                         listed(f->unicast, f->unicast_count, mac));
}
