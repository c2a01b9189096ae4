/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: virtio-console with a console and a named port between a driver
 * that breaks every rule and hosts that send, read, or do neither.
 */
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "bad_driver.h"
#include "base/util.h"
#include "vmm/virtio/console.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PORTS 2
#define CONTROL_TX 3

enum {
    HOST_SENDS = FUZZ_OWN,
    HOST_READS,
    CONTROL,
    EMERGENCY,
    SAVE_AND_LOAD,
    KINDS,
};

static struct fuzz_device f;
static int host[PORTS];
static uint8_t bytes[65536];

static void build(void)
{
    static const char *const names[PORTS] = {NULL, "org.example.agent"};
    struct virtio_console *console;
    struct chardev *chardev;
    char spec[16];
    int pair[2];
    fuzz_device_init(&f);
    if (virtio_console_new(&console, &f.mem, &f.loop, NULL) < 0)
        abort();
    for (unsigned i = 0; i < PORTS; i++) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
            abort();
        host[i] = pair[1];
        fcntl(host[i], F_SETFL, O_NONBLOCK);
        snprintf(spec, sizeof(spec), "fd:%d", pair[0]);
        if (chardev_open(&chardev, spec, &f.loop, NULL) < 0 ||
            virtio_console_add_port(console, names[i], chardev, NULL) < 0)
            abort();
    }
    f.dev = virtio_console_device(console);
}

/* A control message as a driver would send it, its fields from the act. */
static void control(const struct fuzz_act *act)
{
    struct virtio_console_control message = {
        .id = (uint32_t)(act->value & 3 ? act->value & 1 : act->value >> 32),
        .event = act->small & 8 ? (uint16_t)(act->small >> 4) : act->small & 7,
        .value = act->small >> 8 & 1,
    };
    uint32_t gpa = FUZZ_DATA + (act->queue & 0x0f) * 64u;
    memcpy(f.memory + gpa, &message, sizeof(message));
    fuzz_device_add(&f, CONTROL_TX, gpa, act->small >> 12 ? sizeof(message) : act->value & 15,
                    false, false);
    fuzz_device_kick(&f, CONTROL_TX);
}

static void save_and_load(void)
{
    bool running = f.dev->running;
    virtio_device_stop(f.dev);
    json_t *state = f.dev->ops->save(f.dev);
    if (f.dev->ops->load(f.dev, state, NULL) < 0)
        abort();
    json_decref(state);
    if (running)
        virtio_device_start(f.dev, f.ready);
}

static void run(const struct fuzz_act *act)
{
    unsigned port = act->queue % PORTS;
    switch (act->kind) {
    case HOST_SENDS:
        memcpy(bytes, &act->value, sizeof(act->value));
        (void)!send(host[port], bytes, act->small, MSG_NOSIGNAL);
        break;
    case HOST_READS:
        (void)!recv(host[port], bytes, sizeof(bytes), 0);
        break;
    case CONTROL:
        control(act);
        break;
    case EMERGENCY:
        f.dev->ops->config_write(f.dev, act->small % f.dev->config_size, &act->value, 1);
        break;
    case SAVE_AND_LOAD:
        save_and_load();
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
    for (unsigned i = 0; i < PORTS; i++) {
        while (recv(host[i], bytes, sizeof(bytes), 0) > 0)
            fuzz_device_turn(&f);
    }
    return 0;
}
