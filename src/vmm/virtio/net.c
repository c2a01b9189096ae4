/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net (virtio 1.2, 5.1): options, features, the device's life and its
 * numbers. Frames move in net_rx.c and net_tx.c, in the kernel
 * (net_vhost.c) or in another process (net_vhost_user.c).
 */
#include "vmm/virtio/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "block/block.h"
#include "vmm/machine/machine.h"
#include "vmm/virtio/classes.h"
#include "vmm/virtio/net_impl.h"
#include "vmm/virtio/net_vhost.h"
#include "vmm/virtio/net_vhost_user.h"
#include "vmm/virtio/virtio_pci.h"

#define DEVICE_NAME "virtio-net"
#define DEFAULT_QUEUE_SIZE 256
#define CTRL_QUEUE_SIZE 64
#define MTU_MIN 68
#define MTU_MAX 65521

#define RECONNECT_S 1
#define WAIT_S 10

static const char *const auto_on_off[] = {"auto", "on", "off", NULL};

static const struct option_spec net_options[] = {
    OPTION(STRING, struct net_config, id, .help = "name of the device"),
    OPTION(UINT, struct net_config, slot, .max = 30, .help = VIRTIO_PCI_SLOT_HELP),
    OPTION(UINT, struct net_config, bootindex, .min = 1, .max = BOOT_INDEX_MAX,
           .help = BOOT_INDEX_HELP),
    OPTION(STRING, struct net_config, rom,
           .help = "what a BIOS boots from the network by, of all interfaces: path or fd:N"),
    OPTION(STRING, struct net_config, tap, .help = "host interface, opened or created"),
    OPTION(FD, struct net_config, fd, .help = "inherited tap or datagram socket"),
    OPTION(STRING, struct net_config, fds, .help = "several, one a queue pair: 3:4:5"),
    OPTION_NAMED("vhost-fds", STRING, struct net_config, vhost_fds,
                 .help = "inherited /dev/vhost-net descriptors: 6:7:8"),
    OPTION_NAMED("vhost-user", STRING, struct net_config, vhost_user,
                 .help = "unix socket of a back end (switch) that moves the frames: PATH or fd:N"),
    OPTION(BOOL, struct net_config, server, .help = "vhost-user: the back end connects to us"),
    OPTION(UINT, struct net_config, reconnect, .max = 3600,
           .help = "vhost-user: seconds until a lost back end is connected to again; 0: never"),
    OPTION(UINT, struct net_config, wait, .max = 3600,
           .help = "vhost-user: seconds to wait at the start for one that connects to us"),
    OPTION(ENUM, struct net_config, packed, .help = "offer packed rings", .values = auto_on_off),
    OPTION_NAMED("vnet-hdr", BOOL, struct net_config, vnet_hdr,
                 .help = "frames on a socket begin with a 12-byte virtio-net header"),
    OPTION(MAC, struct net_config, mac, .help = "address (default: random, 52:54:00:...)"),
    OPTION(UINT, struct net_config, queues, .help = "queue pairs", .min = 1, .max = NET_PAIRS_MAX),
    OPTION_NAMED("queue-size", UINT, struct net_config, queue_size,
                 .help = "entries of a ring, a power of two", .min = 64, .max = NET_QUEUE_SIZE_MAX),
    OPTION(ENUM, struct net_config, vhost, .help = "let the kernel move the frames",
           .values = auto_on_off),
    OPTION(UINT, struct net_config, mtu, .help = "MTU that the guest is told", .min = MTU_MIN,
           .max = MTU_MAX),
    OPTION(UINT, struct net_config, speed, .help = "Mbit/s that the guest is told", .min = 1,
           .max = INT32_MAX),
    OPTION(BOOL, struct net_config, link, .help = "cable plugged at the start"),
    OPTION_NAMED("rx-rate", SIZE, struct net_config, rx_rate,
                 .help = "limit towards the guest, bytes a second"),
    OPTION_NAMED("rx-burst", SIZE, struct net_config, rx_burst, .help = "bytes at once"),
    OPTION_NAMED("rx-packet-rate", UINT, struct net_config, rx_packet_rate,
                 .help = "limit towards the guest, frames a second"),
    OPTION_NAMED("rx-packet-burst", UINT, struct net_config, rx_packet_burst,
                 .help = "frames at once"),
    OPTION_NAMED("tx-rate", SIZE, struct net_config, tx_rate,
                 .help = "limit from the guest, bytes a second"),
    OPTION_NAMED("tx-burst", SIZE, struct net_config, tx_burst, .help = "bytes at once"),
    OPTION_NAMED("tx-packet-rate", UINT, struct net_config, tx_packet_rate,
                 .help = "limit from the guest, frames a second"),
    OPTION_NAMED("tx-packet-burst", UINT, struct net_config, tx_packet_burst,
                 .help = "frames at once"),
    OPTION_END,
};

void net_config_defaults(void *config)
{
    *(struct net_config *)config = (struct net_config){
        .fd = -1,
        .queue_size = DEFAULT_QUEUE_SIZE,
        .link = true,
        .reconnect = RECONNECT_S,
        .wait = WAIT_S,
    };
}

/* A feature that makes no sense without another one (5.1.3.1). */
static const struct {
    unsigned feature, needs;
} dependencies[] = {
    {VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_CSUM},
    {VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_CSUM},
    {NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_CSUM},
    {NET_F_GUEST_USO6, VIRTIO_NET_F_GUEST_CSUM},
    {VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_CSUM},
    {VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_CSUM},
    {NET_F_HOST_USO, VIRTIO_NET_F_CSUM},
    {VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VQ},
    {VIRTIO_NET_F_CTRL_RX_EXTRA, VIRTIO_NET_F_CTRL_RX},
    {VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ},
    {VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_CTRL_VQ},
};

static bool net_features_ok(struct virtio_device *dev, uint64_t features)
{
    for (unsigned i = 0; i < ARRAY_SIZE(dependencies); i++) {
        if (features & BIT(dependencies[i].feature) && !(features & BIT(dependencies[i].needs)))
            return false;
    }
    return true;
}

/* --- Limits ------------------------------------------------------------- */

static void limit_init(struct net_limit *limit, uint64_t rate, uint64_t burst, uint64_t packet_rate,
                       uint64_t packet_burst)
{
    pthread_mutex_init(&limit->lock, NULL);
    limit->set = rate || packet_rate;
    ratelimit_init(&limit->bytes, rate, burst);
    ratelimit_init(&limit->packets, packet_rate, packet_burst);
}

int64_t net_limit_wait(struct net_limit *limit)
{
    if (!limit->set)
        return 0;
    pthread_mutex_lock(&limit->lock);
    int64_t now = clock_monotonic_ns();
    int64_t wait = ratelimit_take(&limit->bytes, limit->owed_bytes, now);
    if (wait == 0) {
        limit->owed_bytes = 0;
        wait = ratelimit_take(&limit->packets, limit->owed_packets, now);
    }
    if (wait == 0)
        limit->owed_packets = 0;
    pthread_mutex_unlock(&limit->lock);
    return wait;
}

void net_limit_charge(struct net_limit *limit, uint64_t bytes)
{
    if (!limit->set)
        return;
    pthread_mutex_lock(&limit->lock);
    limit->owed_bytes += bytes;
    limit->owed_packets++;
    pthread_mutex_unlock(&limit->lock);
}

/* --- Pairs -------------------------------------------------------------- */

void net_lock_all(struct net *net)
{
    for (unsigned i = 0; i < net->pair_count; i++)
        pthread_mutex_lock(&net->pairs[i].lock);
}

void net_unlock_all(struct net *net)
{
    for (unsigned i = net->pair_count; i-- > 0;)
        pthread_mutex_unlock(&net->pairs[i].lock);
}

void net_pair_receive(void *opaque)
{
    struct net_pair *pair = opaque;
    pthread_mutex_lock(&pair->lock);
    net_rx_run(pair);
    pthread_mutex_unlock(&pair->lock);
}

void net_pair_transmit(void *opaque)
{
    struct net_pair *pair = opaque;
    pthread_mutex_lock(&pair->lock);
    net_tx_run(pair);
    pthread_mutex_unlock(&pair->lock);
}

/* What the guest sees of the cable: it is plugged at both ends. Any thread. */
static void update_status(struct virtio_device *dev)
{
    struct net *net = net_of(dev);
    pthread_mutex_lock(&net->status_lock);
    bool up = atomic_load(&net->link_up) && !atomic_load(&net->peer_gone) &&
              (!net->vhost_user || net_vhost_user_connected(net->vhost_user));
    net->config.status = up ? VIRTIO_NET_S_LINK_UP : 0;
    pthread_mutex_unlock(&net->status_lock);
    virtio_config_changed(dev);
}

/* The program at the other end of a stream (passt) is no more; nobody comes in its place. */
static void peer_gone(struct net *net)
{
    if (atomic_exchange(&net->peer_gone, true))
        return;
    log_warning("%s: the program at the other end of its socket is gone", net->dev.name);
    update_status(&net->dev);
    if (net->dev.machine) {
        const struct virtio_pci *vp = net->dev.transport_opaque;
        machine_emit(net->dev.machine, "NETDEV_STREAM_DISCONNECTED",
                     json_pack("{s:s}", "netdev-id", vp->pci.device.id));
    }
}

static void host_ready(void *opaque, uint32_t events)
{
    struct net_pair *pair = opaque;
    if (events & EPOLLOUT && pair->tx_blocked) {
        pair->tx_blocked = false;
        loop_modify(&pair->source, EPOLLIN | EPOLLET);
        net_pair_transmit(pair);
    }
    net_pair_receive(pair);
    if (pair->stream && events & EPOLLHUP)
        peer_gone(pair->net);
}

static void net_queue_start(struct virtio_device *dev, struct virtio_queue *queue)
{
    struct net *net = net_of(dev);
    if (net_is_offloaded(net) || queue->index >= 2 * net->pair_count ||
        queue->index == net_ctrl_index(net))
        return;
    struct net_pair *pair = &net->pairs[queue->index / 2];
    if (!pair->source.loop &&
        loop_add(pair->loop, &pair->source, pair->fd, EPOLLIN | EPOLLET, host_ready, pair) < 0) {
        virtio_fail(dev, "the host's interface cannot be watched");
        return;
    }
    if (queue == pair->rx) {
        pair->rx_running = true;
        pair->rx_want = NET_HEADER_SIZE + 1518;
        net_pair_receive(pair);
    } else {
        pair->tx_running = true;
        net_pair_transmit(pair);
    }
}

static void net_queue_stop(struct virtio_device *dev, struct virtio_queue *queue)
{
    struct net *net = net_of(dev);
    if (net_is_offloaded(net) || queue->index >= 2 * net->pair_count ||
        queue->index == net_ctrl_index(net))
        return;
    struct net_pair *pair = &net->pairs[queue->index / 2];
    if (queue == pair->rx) {
        pair->rx_running = false;
        loop_timer_cancel(&pair->rx_timer);
        pthread_mutex_lock(&pair->lock);
        net_rx_release(pair);
        pthread_mutex_unlock(&pair->lock);
    } else {
        pair->tx_running = pair->tx_blocked = false;
        loop_timer_cancel(&pair->tx_timer);
    }
    if (!pair->rx_running && !pair->tx_running)
        loop_remove(&pair->source);
}

/* --- The device --------------------------------------------------------- */

static int net_start(struct virtio_device *dev)
{
    struct net *net = net_of(dev);
    uint64_t offloads = dev->driver_features & NET_F_GUEST_OFFLOADS;
    struct kv_error err = {0};
    if (!net->offloads_chosen)
        net->guest_offloads = offloads;
    int rc = net_tap_set_offloads(&net->tap, net->guest_offloads);
    if (rc == 0)
        rc = net_tap_enable_queues(&net->tap, net->active_pairs);
    if (rc == 0 && net->vhost) {
        rc = net_vhost_start(net->vhost, dev, &net->tap, &err);
        if (rc == 0 && !atomic_load(&net->link_up))
            rc = net_vhost_set_link(net->vhost, &net->tap, false);
        if (rc < 0)
            log_warning("%s: %s", dev->name, err.message);
    }
    if (rc == 0 && net->vhost_user)
        net_vhost_user_start(net->vhost_user, net->active_pairs, atomic_load(&net->link_up));
    return rc;
}

static void net_stop(struct virtio_device *dev)
{
    struct net *net = net_of(dev);
    if (net->vhost)
        net_vhost_stop(net->vhost, dev);
    if (net->vhost_user)
        net_vhost_user_stop(net->vhost_user);
}

static void net_kick(struct virtio_device *dev, struct virtio_queue *queue)
{
    struct net *net = net_of(dev);
    if (queue->index == net_ctrl_index(net)) {
        net_ctrl_run(net, queue);
        return;
    }
    if (queue->index >= 2 * net->pair_count)
        return;
    struct net_pair *pair = &net->pairs[queue->index / 2];
    if (queue == pair->rx)
        net_pair_receive(pair);
    else
        net_pair_transmit(pair);
}

static void net_reset(struct virtio_device *dev)
{
    net_ctrl_reset(net_of(dev));
}

static json_t *net_save(struct virtio_device *dev)
{
    return net_ctrl_save(net_of(dev));
}

static int net_load(struct virtio_device *dev, const json_t *state, struct kv_error *err)
{
    return net_ctrl_load(net_of(dev), state, err);
}

static json_t *stats_json(const struct net_stats *stats)
{
    return json_pack("{s:I, s:I, s:I}", "packets", (json_int_t)atomic_load(&stats->packets),
                     "bytes", (json_int_t)atomic_load(&stats->bytes), "drops",
                     (json_int_t)atomic_load(&stats->drops));
}

static void net_metrics(struct virtio_device *dev, json_t *out)
{
    struct net *net = net_of(dev);
    json_object_set_new(out, "vhost", json_boolean(net->vhost));
    json_object_set_new(out, "link", json_boolean(atomic_load(&net->link_up)));
    if (net->vhost_user)
        json_object_set_new(out, "vhost-user",
                            json_boolean(net_vhost_user_connected(net->vhost_user)));
    if (net_is_offloaded(net))
        return; /* who moves the frames does not count for us */
    json_t *pairs = json_array();
    for (unsigned i = 0; i < net->pair_count; i++)
        json_array_append_new(pairs,
                              json_pack("{s:o, s:o}", "rx", stats_json(&net->pairs[i].rx_stats),
                                        "tx", stats_json(&net->pairs[i].tx_stats)));
    json_object_set_new(out, "pairs", pairs);
}

/* What the control queue posted has run when this returns: work runs in the order of its posting.
 */
static void nothing(void *opaque)
{
}

static void net_free(struct virtio_device *dev)
{
    struct net *net = net_of(dev);
    if (dev->queues)
        virtio_device_destroy(dev);
    for (unsigned i = 0; net->pairs && i < net->pair_count; i++) {
        struct net_pair *pair = &net->pairs[i];
        loop_call(pair->loop, nothing, NULL);
        pthread_mutex_destroy(&pair->lock);
        free(pair->spill);
        net_stream_free(pair->stream);
    }
    free(net->pairs);
    net_vhost_free(net->vhost);
    net_vhost_user_free(net->vhost_user);
    net_tap_close(&net->tap);
    free(net);
}

static const struct virtio_device_ops net_ops = {
    .device_id = 1,
    .removable = true,
    .features_ok = net_features_ok,
    .start = net_start,
    .queue_start = net_queue_start,
    .queue_stop = net_queue_stop,
    .stop = net_stop,
    .kick = net_kick,
    .reset = net_reset,
    .save = net_save,
    .load = net_load,
    .metrics = net_metrics,
    .free = net_free,
};

/* --- Creation ----------------------------------------------------------- */

static uint64_t choose_features(const struct net *net, const struct net_config *config)
{
    uint64_t features = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) |
                        BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_CTRL_VQ) |
                        BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | net->tap.host_gso;
    if (!net_is_offloaded(net)) /* others do not look at addresses */
        features |= BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_RX_EXTRA);
    if (net->tap.host_gso & BIT(VIRTIO_NET_F_GUEST_CSUM) && !net->vhost_user)
        features |= BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
    if (net->pair_count > 1)
        features |= BIT(VIRTIO_NET_F_MQ);
    if (config->mtu)
        features |= BIT(VIRTIO_NET_F_MTU);
    if (config->speed)
        features |= BIT(VIRTIO_NET_F_SPEED_DUPLEX);
    return features;
}

static int choose_mac(struct net *net, const uint8_t mac[6], struct kv_error *err)
{
    static const uint8_t none[6];
    uint8_t *own = net->factory_mac;
    memcpy(own, mac, 6);
    if (memcmp(mac, none, 6) == 0) {
        if (getrandom(own, 6, 0) != 6)
            return kv_error_errno(err, KV_ERR_NET, errno, "random address");
        memcpy(own, "\x52\x54\x00", 3);
    }
    if (own[0] & 1)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "network device: mac %02x:%02x:%02x:%02x:%02x:%02x is a group address; "
                            "the first byte must be even",
                            own[0], own[1], own[2], own[3], own[4], own[5]);
    return 0;
}

/* Options that exclude one another, or NULL. */
static const char *contradiction(const struct net_config *config)
{
    bool limited =
        config->rx_rate || config->rx_packet_rate || config->tx_rate || config->tx_packet_rate;
    unsigned ends = (config->tap != NULL) + (config->fd >= 0) + (config->fds != NULL);
    if (config->vhost_user && ends)
        return "exactly one of tap, fd, fds and vhost-user is needed";
    if (config->vhost_user && limited)
        return "frames of a vhost-user interface go past the monitor: it cannot limit their rate";
    if (config->server && !config->vhost_user)
        return "'server' is possible with vhost-user";
    if (!config->vhost_user && ends != 1)
        return "exactly one of tap, fd and fds is needed";
    if (config->vhost == NET_VHOST_OFF && config->vhost_fds)
        return "vhost=off contradicts vhost-fds";
    if (config->queue_size & (config->queue_size - 1))
        return "queue-size is not a power of two";
    return NULL;
}

static void close_list(const char *list)
{
    int fds[NET_PAIRS_MAX];
    int n = list ? net_fd_list(list, fds, NET_PAIRS_MAX, "network device", NULL) : 0;
    for (int i = 0; i < n; i++)
        close(fds[i]);
}

static int refuse(const struct net_config *config, const char *why, struct kv_error *err)
{
    if (config->fd >= 0)
        close(config->fd);
    close_list(config->fds);
    close_list(config->vhost_fds);
    return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "network device: %s", why);
}

/* Why the kernel cannot move this device's frames, or NULL. */
static const char *vhost_obstacle(const struct net *net)
{
    if (!net->tap.is_tap || !net->tap.vnet_hdr)
        return "it needs a tap with packet headers";
    if (net->rx_limit.set || net->tx_limit.set)
        return "it knows no rate limits";
    return NULL;
}

static int choose_vhost(struct net *net, const struct net_config *config, struct kv_error *err)
{
    const char *obstacle = vhost_obstacle(net);
    bool must = config->vhost == NET_VHOST_ON || config->vhost_fds;
    if (!obstacle && !config->vhost_fds && block_is_sealed())
        obstacle = "in its jail the monitor opens no files; 'vhost-fds' is possible";
    if (config->vhost == NET_VHOST_OFF || (obstacle && !must))
        return 0;
    if (obstacle) {
        close_list(config->vhost_fds);
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "network device: vhost cannot be used: %s",
                            obstacle);
    }
    struct kv_error why = {0};
    int rc = net_vhost_open(&net->vhost, config->vhost_fds, net->pair_count, &why);
    if (rc < 0 && must) {
        *err = why;
        return kv_error_prefix(err, "network device");
    }
    if (rc < 0)
        log_debug("network device: %s; frames go through the monitor", why.message);
    return 0;
}

/* A back end may do all that the device knows; which of it this one does is asked later. */
static int open_vhost_user(struct net *net, const struct net_config *config, struct loop *loop,
                           struct kv_error *err)
{
    struct net_tap *tap = &net->tap;
    *tap = (struct net_tap){.host_gso = NET_F_CSUM | NET_F_TSO | NET_F_USO};
    tap->count = config->queues ? (unsigned)config->queues : 1;
    for (unsigned i = 0; i < tap->count; i++)
        tap->fds[i] = -1;
    return net_vhost_user_open(&net->vhost_user, config, loop, tap->count, err);
}

static int open_host_end(struct net *net, const struct net_config *config, struct loop *loop,
                         struct kv_error *err)
{
    return config->vhost_user ? open_vhost_user(net, config, loop, err)
                              : net_tap_open(&net->tap, config, err);
}

static int create_pairs(struct net *net, struct loop *const *loops, unsigned loop_count,
                        struct kv_error *err)
{
    net->pairs = calloc(net->pair_count, sizeof(*net->pairs));
    if (!net->pairs)
        return kv_error_errno(err, KV_ERR_NET, ENOMEM, "%u queue pairs", net->pair_count);
    for (unsigned i = 0; i < net->pair_count; i++) {
        struct net_pair *pair = &net->pairs[i];
        *pair = (struct net_pair){
            .net = net,
            .index = i,
            .loop = loops[net_is_offloaded(net) ? 0 : i % loop_count],
            .fd = net->tap.fds[i],
            .source = LOOP_SOURCE_INIT,
            .rx_work = {.fn = net_pair_receive, .opaque = pair},
        };
        pthread_mutex_init(&pair->lock, NULL);
    }
    for (unsigned i = 0; i < net->pair_count && !net_is_offloaded(net); i++) {
        net->pairs[i].spill = malloc(NET_SPILL_SIZE);
        if (net->tap.is_stream)
            net->pairs[i].stream = net_stream_new(net->tap.fds[i]);
        if (!net->pairs[i].spill || (net->tap.is_stream && !net->pairs[i].stream))
            return kv_error_errno(err, KV_ERR_NET, ENOMEM, "%u queue pairs", net->pair_count);
    }
    return 0;
}

static void fill_config(struct net *net, const struct net_config *config)
{
    memcpy(net->config.mac, net->factory_mac, 6);
    net->config.status = config->link ? VIRTIO_NET_S_LINK_UP : 0;
    net->config.max_virtqueue_pairs = (uint16_t)net->pair_count;
    net->config.mtu = (uint16_t)config->mtu;
    net->config.speed = config->speed ? (uint32_t)config->speed : UINT32_MAX;
    net->config.duplex = 1;
}

static int init_device(struct net *net, const struct net_config *config, struct guest_mem *mem,
                       struct kv_error *err)
{
    unsigned queues = 2 * net->pair_count + 1;
    uint16_t sizes[2 * NET_PAIRS_MAX + 1];
    for (unsigned i = 0; i < queues - 1; i++)
        sizes[i] = (uint16_t)config->queue_size;
    sizes[queues - 1] = CTRL_QUEUE_SIZE;
    int rc = virtio_device_init(&net->dev, &net_ops, DEVICE_NAME, choose_features(net, config),
                                &net->config, offsetof(struct virtio_net_config, rss_max_key_size),
                                queues, sizes, mem, net->pairs[0].loop, err);
    if (rc < 0)
        return rc;
    if (net->vhost)
        net->dev.features &= net_vhost_features(net->vhost);
    if (net->vhost_user)
        net->dev.features &= net_vhost_user_features(net->vhost_user);
    if (config->packed == NET_PACKED_OFF || (config->packed == NET_PACKED_AUTO && net->vhost_user))
        net->dev.features &= ~BIT(VIRTIO_F_RING_PACKED);
    for (unsigned i = 0; i < net->pair_count; i++) {
        struct net_pair *pair = &net->pairs[i];
        pair->rx = &net->dev.queues[2 * i];
        pair->tx = &net->dev.queues[2 * i + 1];
        pair->rx->loop = pair->tx->loop = pair->loop;
    }
    return 0;
}

int net_create(struct virtio_device **out, const struct net_config *config, struct guest_mem *mem,
               struct loop *const *loops, unsigned loop_count, struct kv_error *err)
{
    const char *wrong = contradiction(config);
    struct net *net = wrong ? NULL : calloc(1, sizeof(*net));
    if (!net)
        return refuse(config, wrong ? wrong : "out of memory", err);
    net->dev.ops = &net_ops;
    limit_init(&net->rx_limit, config->rx_rate, config->rx_burst, config->rx_packet_rate,
               config->rx_packet_burst);
    limit_init(&net->tx_limit, config->tx_rate, config->tx_burst, config->tx_packet_rate,
               config->tx_packet_burst);
    atomic_store(&net->link_up, config->link);

    pthread_mutex_init(&net->status_lock, NULL);
    int rc = open_host_end(net, config, loops[0], err);
    net->pair_count = net->tap.count;
    if (rc == 0)
        rc = choose_vhost(net, config, err);
    else
        close_list(config->vhost_fds);
    if (rc == 0)
        rc = choose_mac(net, config->mac, err);
    if (rc == 0)
        rc = create_pairs(net, loops, loop_count, err);
    if (rc == 0)
        rc = init_device(net, config, mem, err);
    if (rc < 0) {
        net_free(&net->dev);
        return rc;
    }
    fill_config(net, config);
    net_ctrl_reset(net);
    if (net->vhost_user)
        net_vhost_user_attach(net->vhost_user, &net->dev, update_status);
    *out = &net->dev;
    return 0;
}

/* How many pairs there will be, so that devices spread evenly over the I/O threads. */
static unsigned count_pairs(const struct net_config *config)
{
    unsigned count = config->queues ? (unsigned)config->queues : 1;
    for (const char *p = config->fds; p && !config->queues && (p = strchr(p, ':')); p++)
        count++;
    return MIN(count, NET_PAIRS_MAX);
}

static int net_class_create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct net_config *config = opaque;
    struct virtio_device *dev;
    struct loop *loops[NET_PAIRS_MAX];
    unsigned count = count_pairs(config);
    for (unsigned i = 0; i < count; i++)
        loops[i] = machine_pick_loop(machine);
    int rc = net_create(&dev, config, &machine->mem, loops, count, err);
    if (rc < 0)
        return rc;
    dev->machine = machine;
    dev->boot_index = (unsigned)config->bootindex;
    dev->rom = config->rom;
    return virtio_pci_create(machine, dev, config->id, config->slot, err);
}

static const char *plug_obstacle(const void *opaque)
{
    const struct net_config *config = opaque;
    bool connects = config->vhost_user && strncmp(config->vhost_user, "fd:", 3) != 0;
    if (block_is_sealed() && (config->tap || config->rom || connects))
        return "in its jail the monitor opens no files; descriptors are possible";
    return contradiction(config);
}

const struct device_class virtio_net_class = {
    .option = "net",
    .implied = "tap",
    .help = "network interface (virtio-net)",
    .options = net_options,
    .config_size = sizeof(struct net_config),
    .defaults = net_config_defaults,
    .create = net_class_create,
    .plug_obstacle = plug_obstacle,
};

/* --- The control socket's requests -------------------------------------- */

struct link_change {
    struct net *net;
    bool up;
};

static void change_link(void *opaque)
{
    struct link_change *change = opaque;
    struct net *net = change->net;
    if (net->vhost && net->dev.running)
        net_vhost_set_link(net->vhost, &net->tap, change->up);
    if (net->vhost_user)
        net_vhost_user_select(net->vhost_user, net->active_pairs, change->up);
}

void net_device_set_link(struct virtio_device *dev, bool up)
{
    struct net *net = net_of(dev);
    if (atomic_exchange(&net->link_up, up) == up)
        return;
    struct link_change change = {.net = net, .up = up};
    loop_call(dev->queues[0].loop, change_link, &change);
    update_status(dev);
    virtio_device_kick_all(dev);
}

int net_set_link(struct machine *machine, const char *id, bool up, struct kv_error *err)
{
    struct device *device = device_find(machine, id);
    if (!device || strcmp(device->ops->type, DEVICE_NAME) != 0)
        return kv_error_set(err, KV_ERR_DEVICE, ENOENT, "'%s' is not a network device", id);
    net_device_set_link(container_of(device, struct virtio_pci, pci.device)->dev, up);
    return 0;
}
