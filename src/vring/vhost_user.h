/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost-user messages: how the process that has a guest's memory (the front
 * end, the monitor) hands a device's rings to another one (the back end, a
 * switch). The protocol is QEMU's docs/interop/vhost-user.rst. Used by both
 * sides; each message is checked here for what holds for all of them, and
 * whoever asked for it checks the rest.
 */
#ifndef KV_VRING_VHOST_USER_H
#define KV_VRING_VHOST_USER_H

#include <stddef.h>
#include <stdint.h>

#define VHOST_USER_REGIONS_MAX 8 /* in one memory table */

enum vhost_user_request {
    VHOST_USER_GET_FEATURES = 1,
    VHOST_USER_SET_FEATURES = 2,
    VHOST_USER_SET_OWNER = 3,
    VHOST_USER_RESET_OWNER = 4,
    VHOST_USER_SET_MEM_TABLE = 5,
    VHOST_USER_SET_LOG_BASE = 6,
    VHOST_USER_SET_LOG_FD = 7,
    VHOST_USER_SET_VRING_NUM = 8,
    VHOST_USER_SET_VRING_ADDR = 9,
    VHOST_USER_SET_VRING_BASE = 10,
    VHOST_USER_GET_VRING_BASE = 11,
    VHOST_USER_SET_VRING_KICK = 12,
    VHOST_USER_SET_VRING_CALL = 13,
    VHOST_USER_SET_VRING_ERR = 14,
    VHOST_USER_GET_PROTOCOL_FEATURES = 15,
    VHOST_USER_SET_PROTOCOL_FEATURES = 16,
    VHOST_USER_GET_QUEUE_NUM = 17,
    VHOST_USER_SET_VRING_ENABLE = 18,
    VHOST_USER_SEND_RARP = 19,
    VHOST_USER_NET_SET_MTU = 20,
    VHOST_USER_GET_INFLIGHT_FD = 31,
    VHOST_USER_SET_INFLIGHT_FD = 32,
    VHOST_USER_SET_STATUS = 39,
    VHOST_USER_GET_STATUS = 40,
};

/* Among the device's feature bits: the protocol's own are asked for, and rings are enabled one by
 * one. The driver never sees it. */
#define VHOST_USER_F_PROTOCOL_FEATURES 30

/* Bits of GET_PROTOCOL_FEATURES. */
#define VHOST_USER_PROTOCOL_F_MQ 0
#define VHOST_USER_PROTOCOL_F_REPLY_ACK 3
#define VHOST_USER_PROTOCOL_F_NET_MTU 4
#define VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD 12
#define VHOST_USER_PROTOCOL_F_STATUS 16

#define VHOST_USER_VERSION 1U
#define VHOST_USER_FLAG_REPLY 4U
#define VHOST_USER_FLAG_NEED_REPLY 8U

/* With SET_VRING_KICK and _CALL: the ring's index, and whether there is no descriptor. */
#define VHOST_USER_VRING_INDEX_MASK 0xffU
#define VHOST_USER_VRING_NO_FD 0x100U

struct vhost_user_header {
    uint32_t request, flags, size;
};

struct vhost_user_vring_state {
    uint32_t index, num;
};

/* Addresses are the front end's own. */
struct vhost_user_vring_addr {
    uint32_t index, flags;
    uint64_t desc, used, avail, log;
};

/* Memory that outlives the back end, whose contents are the back end's alone. */
struct vhost_user_inflight {
    uint64_t mmap_size, mmap_offset;
    uint16_t queues, queue_size;
    uint32_t padding; /* is not sent */
};
#define VHOST_USER_INFLIGHT_SIZE 20

struct vhost_user_region {
    uint64_t gpa, size, address, mmap_offset;
};

struct vhost_user_memory {
    uint32_t count, padding;
    struct vhost_user_region regions[VHOST_USER_REGIONS_MAX];
};

struct vhost_user_message {
    struct vhost_user_header header;
    union {
        uint64_t number;
        struct vhost_user_vring_state state;
        struct vhost_user_vring_addr addr;
        struct vhost_user_memory memory;
        struct vhost_user_inflight inflight;
    } __attribute__((packed)) payload;
} __attribute__((packed));

/* Bytes of the table with so many regions. */
#define VHOST_USER_MEMORY_SIZE(count) (8 + (count) * sizeof(struct vhost_user_region))

/* A message that is still arriving, with its descriptors. All zero: none yet. */
struct vhost_user_inbox {
    struct vhost_user_message message;
    size_t got; /* bytes of it */
    int fds[VHOST_USER_REGIONS_MAX];
    size_t fd_count;
};

/*
 * Sends the message with the descriptors, of a non-blocking stream socket,
 * waiting for room until the deadline (CLOCK_MONOTONIC). 0, -ETIMEDOUT or
 * another -errno; then the connection is of no use any more.
 */
int vhost_user_send(int socket, const struct vhost_user_message *message, const int *fds,
                    size_t count, int64_t deadline_ns);

/*
 * Receives one message. *count is how much room fds has, then how many came;
 * they are the caller's. 0, -EPIPE at the end of the stream, -ETIMEDOUT,
 * -EPROTO when it is of another version or too long, or another -errno; then
 * no descriptors are left open.
 */
int vhost_user_receive(int socket, struct vhost_user_message *message, int *fds, size_t *count,
                       int64_t deadline_ns);

/*
 * The same for who may not wait: takes what a non-blocking socket has of the
 * next message. 1: it is complete; 0: not yet; or as vhost_user_receive().
 * After a complete one and after an error comes vhost_user_inbox_clear().
 */
int vhost_user_receive_some(int socket, struct vhost_user_inbox *inbox);

/* Makes room for the next message; closes the descriptors that nobody took (set to -1). */
void vhost_user_inbox_clear(struct vhost_user_inbox *inbox);

#endif
