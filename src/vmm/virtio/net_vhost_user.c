/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vhost-user for virtio-net (net.c): the connection's life; see net_vhost_user.h. */
#include "vmm/virtio/net_vhost_user.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/parse.h"
#include "vmm/jail/broker.h"
#include "vmm/jail/jail.h"
#include "vmm/virtio/net_impl.h"
#include "vmm/virtio/vhost_user_front.h"

/* A back end that is no good is heard again after this, then after twice that, and so on: each time
 * costs the loop a conversation. */
#define LISTEN_AGAIN_NS INT64_C(100000000)
#define DOUBLINGS_MAX 8

/* What the back end decides about; the rest of the device's features are our own. */
#define DATA_FEATURES                                                                            \
    (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) | \
     BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_NET_F_MRG_RXBUF) | NET_F_CSUM | NET_F_TSO | NET_F_USO)

struct net_vhost_user {
    struct vhost_user back_end;
    atomic_bool connected;
    struct virtio_device *dev;
    void (*changed)(struct virtio_device *dev);
    struct loop *loop;
    unsigned pairs;
    unsigned mtu;
    uint64_t features; /* DATA_FEATURES of the first back end */

    /* How a back end is reached. */
    char *path;
    int listen_fd; /* it connects to us; -1: we to it */
    bool bound;    /* the listener's name is ours to remove */
    struct broker broker;
    int64_t reconnect_ns; /* 0: never */
    unsigned failures;    /* back ends that were no good, one after the other */
    struct loop_source source, listener, answers;
    struct loop_timer timer;

    /* What the device's side wants. */
    bool running, link_up;
    bool handed_over; /* the rings are the back end's */
    bool unknown;     /* where packed rings stand: only what is kept tells the next back end */
    struct vhost_user_kept kept;
    unsigned active_pairs;
    struct vhost_call calls[2 * NET_PAIRS_MAX];
};

static void come_back(struct net_vhost_user *nvu);

bool net_vhost_user_connected(const struct net_vhost_user *nvu)
{
    return atomic_load(&nvu->connected);
}

uint64_t net_vhost_user_features(const struct net_vhost_user *nvu)
{
    return nvu->features | ~DATA_FEATURES;
}

/* --- Rings -------------------------------------------------------------- */

static bool ring_enabled(void *opaque, unsigned ring)
{
    const struct net_vhost_user *nvu = opaque;
    return nvu->link_up && ring / 2 < nvu->active_pairs;
}

static void drop_calls(struct net_vhost_user *nvu)
{
    for (unsigned i = 0; i < 2 * nvu->pairs; i++)
        vhost_call_drop(&nvu->calls[i]);
}

static void fail_unknown(struct net_vhost_user *nvu)
{
    nvu->unknown = false;
    virtio_fail(nvu->dev, "its vhost-user back end went away with the positions of packed rings");
}

static void disconnect(struct net_vhost_user *nvu, const char *why)
{
    struct virtio_device *dev = nvu->dev;
    log_warning("%s: the vhost-user back end at '%s' is gone: %s", dev->name, nvu->path, why);
    loop_remove(&nvu->source);
    vhost_user_close(&nvu->back_end);
    drop_calls(nvu);
    atomic_store(&nvu->connected, false);
    if (nvu->handed_over && !vhost_user_recover(dev, 2 * nvu->pairs))
        nvu->unknown = true;
    if (nvu->unknown && nvu->kept.fd < 0)
        fail_unknown(nvu);
    nvu->handed_over = false;
    nvu->changed(dev);
    come_back(nvu);
}

static void start_rings(struct net_vhost_user *nvu)
{
    struct kv_error err = {0};
    nvu->handed_over = true;
    if (vhost_user_start(&nvu->back_end, nvu->dev, nvu->calls, 2 * nvu->pairs, &nvu->kept,
                         ring_enabled, nvu, &err) < 0)
        disconnect(nvu, err.message);
    else
        nvu->unknown = false;
}

void net_vhost_user_start(struct net_vhost_user *nvu, unsigned active_pairs, bool link_up)
{
    nvu->running = true;
    nvu->active_pairs = active_pairs;
    nvu->link_up = link_up;
    for (unsigned i = 0; i < 2 * nvu->pairs; i++)
        nvu->dev->queues[i].kick_external = true;
    if (net_vhost_user_connected(nvu))
        start_rings(nvu);
}

void net_vhost_user_stop(struct net_vhost_user *nvu)
{
    struct kv_error err = {0};
    if (nvu->handed_over && vhost_user_stop(&nvu->back_end, nvu->dev, 2 * nvu->pairs, &err) < 0)
        disconnect(nvu, err.message);
    if (nvu->unknown)
        fail_unknown(nvu);
    /* From now on the device knows where the rings stand. */
    vhost_user_kept_drop(&nvu->kept);
    nvu->running = nvu->handed_over = false;
    drop_calls(nvu);
}

void net_vhost_user_select(struct net_vhost_user *nvu, unsigned active_pairs, bool link_up)
{
    struct kv_error err = {0};
    int rc = 0;
    nvu->active_pairs = active_pairs;
    nvu->link_up = link_up;
    for (unsigned i = 0; i < 2 * nvu->pairs && rc == 0; i++) {
        if (nvu->handed_over && nvu->dev->queues[i].ring.started)
            rc = vhost_user_enable(&nvu->back_end, i, ring_enabled(nvu, i), &err);
    }
    if (rc < 0)
        disconnect(nvu, err.message);
}

/* --- Back ends come and go ---------------------------------------------- */

/* It never speaks by itself: whatever there is to read is its end, or nonsense. */
static void back_end_event(void *opaque, uint32_t events)
{
    struct net_vhost_user *nvu = opaque;
    char byte;
    ssize_t n = recv(nvu->back_end.fd, &byte, 1, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    disconnect(nvu, n == 0  ? "it closed the connection"
                    : n > 0 ? "it spoke without being asked"
                            : strerror(errno));
}

/* What the guest was told once must hold with each back end. */
static int check_back_end(const struct net_vhost_user *nvu, const struct vhost_user *back_end,
                          uint64_t needed, struct kv_error *err)
{
    uint64_t missing = needed & ~back_end->features;
    if (missing)
        return kv_error_set(err, KV_ERR_NET, ENOTSUP,
                            "vhost-user back end: it lacks the features 0x%llx, which the guest "
                            "was offered",
                            (unsigned long long)missing);
    if (nvu->unknown && !vhost_user_continues(back_end))
        return kv_error_set(err, KV_ERR_NET, ENOTSUP,
                            "vhost-user back end: it cannot go on with packed rings that another "
                            "one has left (INFLIGHT_SHMFD)");
    if (back_end->pairs_max < nvu->pairs)
        return kv_error_set(err, KV_ERR_NET, ENOTSUP,
                            "vhost-user back end: it serves %u queue pairs; %u are needed",
                            back_end->pairs_max, nvu->pairs);
    return 0;
}

static int greet(struct net_vhost_user *nvu, int fd, uint64_t needed, struct kv_error *err)
{
    int rc = vhost_user_open(&nvu->back_end, fd, err);
    if (rc == 0)
        rc = check_back_end(nvu, &nvu->back_end, needed, err);
    if (rc == 0)
        rc = vhost_user_set_mtu(&nvu->back_end, nvu->mtu, err);
    if (rc < 0)
        vhost_user_close(&nvu->back_end);
    return rc;
}

static void connected(struct net_vhost_user *nvu, int fd)
{
    struct kv_error err = {0};
    struct virtio_device *dev = nvu->dev;
    /* A driver may have read the offer already, but what it did not take it does not need. */
    uint64_t needed = nvu->running ? dev->driver_features & DATA_FEATURES : nvu->features;
    int rc = greet(nvu, fd, needed, &err);
    if (rc == 0) {
        rc = loop_add(nvu->loop, &nvu->source, nvu->back_end.fd, EPOLLIN | EPOLLRDHUP,
                      back_end_event, nvu);
        if (rc < 0) {
            kv_error_errno(&err, KV_ERR_NET, -rc, "it cannot be watched");
            vhost_user_close(&nvu->back_end);
        }
    }
    if (rc < 0) {
        log_warning("%s: '%s': %s", dev->name, nvu->path, err.message);
        nvu->failures++;
        come_back(nvu);
        return;
    }
    nvu->failures = 0;
    log_info("%s: a vhost-user back end is at '%s'", dev->name, nvu->path);
    atomic_store(&nvu->connected, true);
    if (nvu->running && !atomic_load(&dev->needs_reset))
        start_rings(nvu);
    nvu->changed(dev);
}

static void listener_event(void *opaque, uint32_t events)
{
    struct net_vhost_user *nvu = opaque;
    int fd = accept4(nvu->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    loop_remove(&nvu->listener);
    connected(nvu, fd);
}

static void listen_again(void *opaque)
{
    struct net_vhost_user *nvu = opaque;
    loop_add(nvu->loop, &nvu->listener, nvu->listen_fd, EPOLLIN, listener_event, nvu);
}

static void connect_again(void *opaque)
{
    struct net_vhost_user *nvu = opaque;
    if (broker_ask(&nvu->broker, 0, 0) < 0)
        come_back(nvu);
}

static void answers_event(void *opaque, uint32_t events)
{
    struct net_vhost_user *nvu = opaque;
    uint64_t id;
    uint32_t number;
    int fd, rc = broker_answer(&nvu->broker, &id, &number, &fd);
    if (rc < 0) {
        log_warning("%s: the helper that connects to '%s' is gone", nvu->dev->name, nvu->path);
        loop_remove(&nvu->answers);
        nvu->reconnect_ns = 0;
    } else if (rc > 0 && fd >= 0) {
        connected(nvu, fd);
    } else if (rc > 0) {
        come_back(nvu);
    }
}

static void come_back(struct net_vhost_user *nvu)
{
    int64_t delay = nvu->listen_fd >= 0 ? LISTEN_AGAIN_NS : nvu->reconnect_ns;
    if (delay)
        loop_timer_arm(nvu->loop, &nvu->timer, delay << MIN(nvu->failures, DOUBLINGS_MAX),
                       nvu->listen_fd >= 0 ? listen_again : connect_again, nvu);
}

/* --- The beginning and the end ------------------------------------------ */

/* An inherited socket: one that listens (-1 then), or one that is connected already. */
static int adopt(struct net_vhost_user *nvu, int fd, struct kv_error *err)
{
    int listens = 0;
    socklen_t len = sizeof(listens);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0) {
        int code = errno;
        close(fd);
        return kv_error_errno(err, KV_ERR_NET, code, "vhost-user descriptor %d", fd);
    }
    fd_set_nonblocking(fd, true);
    if (!listens) {
        nvu->reconnect_ns = 0;
        return fd;
    }
    nvu->listen_fd = fd;
    return -1;
}

static int wait_for_back_end(struct net_vhost_user *nvu, unsigned seconds, struct kv_error *err)
{
    struct pollfd wait = {.fd = nvu->listen_fd, .events = POLLIN};
    if (poll(&wait, 1, (int)seconds * 1000) <= 0)
        return kv_error_set(err, KV_ERR_NET, ETIMEDOUT,
                            "no vhost-user back end connected to '%s' within %u seconds", nvu->path,
                            seconds);
    int fd = accept4(nvu->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return fd < 0 ? kv_error_errno(err, KV_ERR_NET, errno, "vhost-user socket '%s'", nvu->path)
                  : fd;
}

/* The first connection's descriptor. */
static int reach(struct net_vhost_user *nvu, const struct net_config *config, struct kv_error *err)
{
    uint64_t number;
    int fd = -1;
    if (strncmp(nvu->path, "fd:", 3) == 0) {
        if (parse_u64(nvu->path + 3, &number) < 0 || number > INT32_MAX)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                                "network device: vhost-user=%s: accepted: fd:N", nvu->path);
        fd = adopt(nvu, (int)number, err);
    } else if (config->server) {
        nvu->listen_fd = fd_listen_unix(nvu->path, err);
        if (nvu->listen_fd < 0)
            return kv_error_prefix(err, "network device");
        nvu->bound = true;
        jail_remove_at_exit(nvu->path);
    } else {
        int rc = nvu->reconnect_ns ? broker_start_path(&nvu->broker, nvu->path, err) : 0;
        fd = rc < 0 ? rc : fd_connect_unix(nvu->path);
        if (rc == 0 && fd < 0)
            return kv_error_errno(err, KV_ERR_NET, -fd, "vhost-user socket '%s'", nvu->path);
    }
    return nvu->listen_fd >= 0 ? wait_for_back_end(nvu, (unsigned)config->wait, err) : fd;
}

int net_vhost_user_open(struct net_vhost_user **out, const struct net_config *config,
                        struct loop *loop, unsigned pairs, struct kv_error *err)
{
    struct net_vhost_user *nvu = calloc(1, sizeof(*nvu));
    if (!nvu)
        return kv_error_errno(err, KV_ERR_NET, ENOMEM, "vhost-user");
    *nvu = (struct net_vhost_user){
        .back_end = VHOST_USER_INIT,
        .kept = VHOST_USER_KEPT_INIT,
        .loop = loop,
        .pairs = pairs,
        .mtu = (unsigned)config->mtu,
        .path = strdup(config->vhost_user),
        .listen_fd = -1,
        .broker = BROKER_INIT,
        .reconnect_ns = (int64_t)config->reconnect * 1000000000,
        .source = LOOP_SOURCE_INIT,
        .listener = LOOP_SOURCE_INIT,
        .answers = LOOP_SOURCE_INIT,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(nvu->calls); i++)
        nvu->calls[i] = VHOST_CALL_INIT;
    int fd =
        nvu->path ? reach(nvu, config, err) : kv_error_errno(err, KV_ERR_NET, ENOMEM, "vhost-user");
    int rc = fd < 0 ? fd : greet(nvu, fd, 0, err);
    if (rc < 0) {
        net_vhost_user_free(nvu);
        return rc;
    }
    nvu->features = nvu->back_end.features & DATA_FEATURES;
    atomic_store(&nvu->connected, true);
    *out = nvu;
    return 0;
}

static void watch(void *opaque)
{
    struct net_vhost_user *nvu = opaque;
    if (nvu->broker.fd >= 0)
        loop_add(nvu->loop, &nvu->answers, nvu->broker.fd, EPOLLIN, answers_event, nvu);
    loop_add(nvu->loop, &nvu->source, nvu->back_end.fd, EPOLLIN | EPOLLRDHUP, back_end_event, nvu);
}

void net_vhost_user_attach(struct net_vhost_user *nvu, struct virtio_device *dev,
                           void (*changed)(struct virtio_device *dev))
{
    nvu->dev = dev;
    nvu->changed = changed;
    loop_call(nvu->loop, watch, nvu);
}

static void unwatch(void *opaque)
{
    struct net_vhost_user *nvu = opaque;
    loop_remove(&nvu->source);
    loop_remove(&nvu->listener);
    loop_remove(&nvu->answers);
    loop_timer_cancel(&nvu->timer);
    drop_calls(nvu);
}

void net_vhost_user_free(struct net_vhost_user *nvu)
{
    if (!nvu)
        return;
    loop_call(nvu->loop, unwatch, nvu);
    vhost_user_close(&nvu->back_end);
    vhost_user_kept_drop(&nvu->kept);
    broker_stop(&nvu->broker);
    if (nvu->listen_fd >= 0)
        close(nvu->listen_fd);
    if (nvu->bound)
        unlink(nvu->path);
    free(nvu->path);
    free(nvu);
}
