/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: virtio-vsock between a driver that breaks every rule and host
 * programs that connect, listen, talk and hang up. The broker is played here,
 * without a process.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bad_driver.h"
#include "base/util.h"
#include "vmm/jail/broker.h"
#include "vmm/virtio/vsock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOSTS 8
#define QUESTIONS 16
#define GUEST_CID 3
#define BUFFER_AREA (FUZZ_DATA + 0x40000)

enum {
    PACKET = FUZZ_OWN,
    HOST_CONNECTS,
    HOST_WRITES,
    HOST_READS,
    HOST_CLOSES,
    RECEIVE_BUFFER,
    KINDS,
};

static struct fuzz_device f;
static int listener;
static struct sockaddr_un address;
static socklen_t address_len;
static int hosts[HOSTS];
static unsigned next_host, next_buffer;

static struct {
    uint64_t id;
    uint32_t number;
} questions[QUESTIONS];
static unsigned question_count;

int broker_start(struct broker *broker, const char *prefix, struct kv_error *err)
{
    broker->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return 0;
}

/* A NIC's: no device of this kind is here. */
int broker_start_path(struct broker *broker, const char *path, struct kv_error *err)
{
    return kv_error_set(err, KV_ERR_BASE, ENOTSUP, "no connection to '%s'", path);
}

void broker_stop(struct broker *broker)
{
    close(broker->fd);
    broker->fd = -1;
}

static void remember(int fd)
{
    int *slot = &hosts[next_host++ % HOSTS];
    if (*slot >= 0)
        close(*slot);
    *slot = fd;
}

int broker_ask(struct broker *broker, uint64_t id, uint32_t number)
{
    if (question_count == QUESTIONS)
        return -EAGAIN;
    questions[question_count].id = id;
    questions[question_count++].number = number;
    return eventfd_write(broker->fd, 1);
}

/* Odd ports have somebody listening. */
int broker_answer(struct broker *broker, uint64_t *id, uint32_t *number, int *fd)
{
    int pair[2];
    eventfd_t count;
    if (question_count == 0) {
        eventfd_read(broker->fd, &count);
        return 0;
    }
    *id = questions[--question_count].id;
    *number = questions[question_count].number;
    *fd = -ECONNREFUSED;
    if (*number & 1 &&
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0) {
        remember(pair[1]);
        *fd = pair[0];
    }
    return 1;
}

static void build(void)
{
    struct vsock_config config;
    fuzz_device_init(&f);
    vsock_config_defaults(&config);
    address.sun_family = AF_UNIX; /* an address without a name: the kernel chooses one */
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
        listen(listener, 16) < 0)
        abort();
    address_len = sizeof(address);
    getsockname(listener, (struct sockaddr *)&address, &address_len);
    config.guest_cid = GUEST_CID;
    config.path = (char *)"/nowhere/fuzz";
    config.fd = listener;
    if (vsock_create(&f.dev, &config, &f.mem, &f.loop, NULL) < 0)
        abort();
    for (unsigned i = 0; i < HOSTS; i++)
        hosts[i] = -1;
}

static void host_connects(const struct fuzz_act *act)
{
    char line[64];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, address_len) < 0) {
        close(fd);
        return;
    }
    remember(fd);
    int n = snprintf(line, sizeof(line), "CONNECT %u\nxyz", act->small & 3);
    if (act->queue & 0x80)
        memcpy(line, &act->value, sizeof(act->value));
    (void)!write(fd, line, (size_t)n - (act->queue & 3));
    fuzz_device_turn(&f);
}

/* Fields that mostly make sense, so that connections come about. */
static void packet(const struct fuzz_act *act)
{
    uint32_t gpa = FUZZ_DATA + (act->queue & 0x3f) * 0x1000u;
    uint32_t len = act->queue & 0x40 ? (uint32_t)(act->value >> 32 & 0xffff) : 0;
    struct virtio_vsock_hdr header = {
        .src_cid = GUEST_CID,
        .dst_cid = 2,
        .src_port = act->small >> 4 & 3,
        .dst_port =
            act->small & 0x40 ? (1U << 30) + 1 + (act->small >> 8 & 15) : (act->small >> 8 & 7),
        .len = len,
        .type = VIRTIO_VSOCK_TYPE_STREAM,
        .op = act->small & 0xf,
        .flags = (uint32_t)act->value & 3,
        .buf_alloc = (uint32_t)(act->value >> 8 & 0xffff),
        .fwd_cnt = (uint32_t)(act->value >> 24 & 0xffff),
    };
    if (act->queue & 0x80)
        ((uint8_t *)&header)[act->value % sizeof(header)] ^= (uint8_t)(act->value >> 56);
    memcpy(f.memory + gpa, &header, sizeof(header));
    fuzz_device_add(&f, 1, gpa, (uint32_t)sizeof(header), false, len);
    if (len)
        fuzz_device_add(&f, 1, gpa + 64, len, false, false);
    fuzz_device_kick(&f, 1);
    if (header.op == VIRTIO_VSOCK_OP_REQUEST) /* the broker answers, or few connections open */
        fuzz_device_turn(&f);
}

static void run(const struct fuzz_act *act)
{
    static uint8_t bytes[70000];
    int fd = hosts[act->queue % HOSTS];
    switch (act->kind) {
    case PACKET:
        packet(act);
        break;
    case HOST_CONNECTS:
        host_connects(act);
        break;
    case HOST_WRITES:
        (void)!write(fd, bytes, act->small);
        break;
    case HOST_READS:
        (void)!read(fd, bytes, act->small);
        break;
    case HOST_CLOSES:
        if (fd >= 0 && act->small & 1) {
            shutdown(fd, act->small & 2 ? SHUT_WR : SHUT_RD);
        } else if (fd >= 0) {
            close(fd);
            hosts[act->queue % HOSTS] = -1;
        }
        break;
    case RECEIVE_BUFFER:
        fuzz_device_add(&f, 0, BUFFER_AREA + (next_buffer++ % 64) * 0x1000, 44 + act->small % 4000,
                        true, false);
        fuzz_device_kick(&f, 0);
        break;
    default:
        fuzz_device_act(&f, act);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!f.dev)
        build();
    fuzz_device_input(&f, data, size, 0xf, KINDS, run);
    for (unsigned i = 0; i < HOSTS; i++) {
        if (hosts[i] >= 0)
            close(hosts[i]);
        hosts[i] = -1;
    }
    fuzz_device_turn(&f);
    fuzz_device_end(&f);
    question_count = 0;
    return 0;
}
