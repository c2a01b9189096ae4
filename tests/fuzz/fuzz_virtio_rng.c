/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: virtio-rng between a driver that breaks every rule and a source
 * that has bytes now and then.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "bad_driver.h"
#include "vmm/virtio/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    SOURCE_HAS_BYTES = FUZZ_OWN,
    KINDS,
};

static struct fuzz_device f;
static int source[2];
static uint8_t bytes[65536];

static void build(void)
{
    struct rng_config config = {0};
    fuzz_device_init(&f);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, source) < 0)
        abort();
    config.fd = source[0];
    if (rng_create(&f.dev, &config, &f.mem, &f.loop, NULL) < 0)
        abort();
}

static void run(const struct fuzz_act *act)
{
    if (act->kind != SOURCE_HAS_BYTES) {
        fuzz_device_act(&f, act);
        return;
    }
    memcpy(bytes, &act->value, sizeof(act->value));
    (void)!send(source[1], bytes, act->small, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!f.dev)
        build();
    fuzz_device_input(&f, data, size, 0, KINDS, run);
    fuzz_device_end(&f);
    while (recv(source[0], bytes, sizeof(bytes), 0) > 0)
        ;
    return 0;
}
