/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: virtio-net with two queue pairs and a control queue between a
 * driver that breaks every rule and a host that sends and reads frames.
 */
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "bad_driver.h"
#include "base/util.h"
#include "vmm/virtio/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAIRS 2
#define FRAME_MAX 70000

enum {
    HOST_SENDS = FUZZ_OWN,
    HOST_READS,
    SET_LINK,
    CONTROL,
    KINDS,
};

static struct fuzz_device f;
static int host[PAIRS];
static uint8_t frame[FRAME_MAX];

static void build(void)
{
    struct net_config config;
    char fds[32];
    int pair[PAIRS][2];
    struct loop *loop = &f.loop;
    fuzz_device_init(&f);
    for (unsigned i = 0; i < PAIRS; i++) {
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair[i]) < 0)
            abort();
        host[i] = pair[i][1];
        fcntl(host[i], F_SETFL, O_NONBLOCK);
    }
    net_config_defaults(&config);
    snprintf(fds, sizeof(fds), "%d:%d", pair[0][0], pair[1][0]);
    config.fds = fds;
    config.vnet_hdr = getenv("FUZZ_BARE") == NULL;
    if (net_create(&f.dev, &config, &f.mem, &loop, 1, NULL) < 0)
        abort();
}

/* A command as a driver would send it: class, command and data from the act. */
static void control(const struct fuzz_act *act)
{
    unsigned queue = virtio_has(f.dev, VIRTIO_NET_F_MQ) ? 2 * PAIRS : 2;
    uint32_t gpa = FUZZ_DATA + (act->queue & 0x0f) * 64u;
    uint8_t *p = f.memory + gpa;
    p[0] = (uint8_t)(act->small & 7);
    p[1] = (uint8_t)(act->small >> 3 & 7);
    store_le(p + 2, act->value, 8);
    fuzz_device_add(&f, queue, gpa, 2 + (act->small >> 6) % 40, false, true);
    fuzz_device_add(&f, queue, gpa + 60, 1, true, false);
    fuzz_device_kick(&f, queue);
}

static void run(const struct fuzz_act *act)
{
    unsigned pair = act->queue % PAIRS;
    switch (act->kind) {
    case HOST_SENDS:
        memcpy(frame, &act->value, sizeof(act->value));
        (void)!send(host[pair], frame, act->queue & 0x80 ? FRAME_MAX - act->small : act->small, 0);
        break;
    case HOST_READS:
        for (unsigned i = 0; i < act->small % 64; i++)
            (void)!recv(host[pair], frame, sizeof(frame), 0);
        break;
    case SET_LINK:
        net_device_set_link(f.dev, act->small & 1);
        break;
    case CONTROL:
        control(act);
        break;
    default:
        fuzz_device_act(&f, act);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!f.dev)
        build();
    fuzz_device_input(&f, data, size, UINT64_C(0xfffffff), KINDS, run);
    fuzz_device_end(&f);
    net_device_set_link(f.dev, true);
    for (unsigned i = 0; i < PAIRS; i++) {
        while (recv(host[i], frame, sizeof(frame), 0) > 0)
            ;
    }
    return 0;
}
