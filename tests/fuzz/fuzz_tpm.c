/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a TPM's registers, of either interface, between a guest that writes anything and a
 * process that responds with anything. The process is stood in for by the other
 * ends of its sockets.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "require.h"
#include "vmm/devices/tpm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Zeros that wait on the control socket: each is a good answer. */
#define ANSWERS_KEPT 4096
#define ANSWERS_LEAST 64 /* more than any conversation takes */

static struct loop loop;
static const struct tpm_interface *interface;
static struct tpm *tpm;
static struct swtpm peer; /* its ends of the sockets */
static unsigned answers;  /* bytes that are left of them, at least */

static void build(void)
{
    int control[2], data[2];
    struct kv_error err;
    require(socketpair(AF_UNIX, SOCK_STREAM, 0, control) == 0 &&
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, data) == 0);
    fcntl(control[1], F_SETFL, O_NONBLOCK);
    peer = (struct swtpm){control[1], data[1]};
    answers = 0;
    tpm = tpm_make(interface, &(struct swtpm){control[0], data[0]}, &loop, &err);
    require(tpm);
}

static void end(void)
{
    tpm_free(tpm);
    swtpm_close(&peer);
}

/* Before anything that may speak to the control socket. */
static void keep_answers(void)
{
    static const uint8_t zeros[ANSWERS_KEPT];
    static uint8_t heard[ANSWERS_KEPT];
    while (read(peer.control, heard, sizeof(heard)) > 0)
        continue;
    if (answers < ANSWERS_LEAST && write(peer.control, zeros, sizeof(zeros)) > 0)
        answers = ANSWERS_KEPT;
    answers -= 24; /* what a restart takes */
}

static void stop(void *opaque)
{
    loop_stop(opaque);
}

static void turn(void)
{
    struct loop_timer timer = {0};
    keep_answers();
    loop_timer_arm(&loop, &timer, 0, stop, &loop);
    loop_run(&loop);
    loop_timer_cancel(&timer);
}

/* Each has the size that it says; several may wait. */
static void take_commands(void)
{
    uint8_t header[SWTPM_HEADER], rest[TPM_BUFFER_SIZE];
    while (read(peer.data, header, sizeof(header)) > 0) {
        uint32_t size = swtpm_message_size(header);
        require(size >= SWTPM_HEADER && size <= TPM_BUFFER_SIZE);
        size -= SWTPM_HEADER;
        require(!size || read(peer.data, rest, size) == (ssize_t)size);
    }
}

static void respond(const uint8_t *bytes, size_t len, bool proper)
{
    uint8_t response[64] = {0x80, 1};
    take_commands();
    memcpy(response + 2, bytes, len);
    if (proper) {
        memset(response + 2, 0, 4);
        response[5] = (uint8_t)(len + 2);
    }
    ssize_t written = write(peer.data, response, len + 2);
    (void)written;
}

/* Through the FIFO: its header is right, or nearly. */
static void give_command(const uint8_t *bytes, size_t len)
{
    uint8_t command[SWTPM_HEADER + 8] = {0x80, 1, [5] = (uint8_t)(SWTPM_HEADER + len)};
    memcpy(command + SWTPM_HEADER, bytes, len);
    tpm_bus_ops.write(tpm, 0x00, 2, 1);
    tpm_bus_ops.write(tpm, 0x18, 0x40, 1);
    for (size_t i = 0; i < SWTPM_HEADER + len; i++)
        tpm_bus_ops.write(tpm, 0x24, command[i], 1);
    tpm_bus_ops.write(tpm, 0x18, 0x20, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!loop.epoll_fd) {
        log_level = LOG_ERROR;
        require(loop_init(&loop, NULL) == 0);
    }
    if (!size)
        return 0;
    interface = data[0] & 1 ? &tpm_fifo : &tpm_crb;
    data++;
    size--;
    build();
    while (size >= 4) {
        unsigned kind = data[0] & 7, len = 1u << (data[0] >> 3 & 3);
        uint64_t at = (data[1] | (uint64_t)data[2] << 8) & (TPM_REGION_SIZE - 1), value = 0;
        if (kind == 0 || data[0] & 0x80) /* mostly registers and headers */
            at &= 0xff;
        data += 3;
        size -= 3;
        size_t n = MIN(size, 8u);
        memcpy(&value, data, n);
        if (kind < 4) {
            tpm_bus_ops.write(tpm, at, value, len);
            n = MIN(n, (size_t)len);
        } else if (kind == 4) {
            n = 0;
            tpm_bus_ops.read(tpm, at, len);
        } else if (kind == 5) {
            n = MIN(size, 8u + (at & 31));
            respond(data, n, at & 0x80);
        } else if (kind == 6) {
            n = 0;
            turn();
        } else if (interface == &tpm_fifo) {
            n = MIN(size, 8u);
            keep_answers();
            give_command(data, n);
        } else {
            n = 0;
            keep_answers();
            tpm_bus_ops.write(tpm, 0x08, 1, 4);
            tpm_bus_ops.write(tpm, 0x40, 1, 4);
            tpm_bus_ops.write(tpm, 0x4c, 1, 4);
        }
        data += n;
        size -= n;
    }
    turn();
    end();
    return 0;
}
