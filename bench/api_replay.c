/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a client of libvirt's protocol costs by itself: stands between one client and a daemon,
 * passes each procedure's first call on, and answers all later ones with the same reply at once.
 * usage: api_replay LISTEN-SOCKET DAEMON-SOCKET
 * bench/rows_api.py runs and ends it. The packets: rpc/packet.h.
 */
#include <err.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc/packet.h"

#define PROCEDURES 1024
#define CALL_MAX (1u << 20)
#define SOCKET_BYTES (4 << 20) /* so that a reply goes out in one piece */

struct bytes {
    uint8_t *data;
    size_t len;
};

static struct bytes replies[PROCEDURES]; /* by procedure; data is NULL: none yet */

static int unix_socket(const char *path, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address->sun_path))
        errx(1, "'%s' is too long for a socket", path);
    strcpy(address->sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        err(1, "socket");
    return fd;
}

static void read_all(int fd, uint8_t *out, size_t len)
{
    while (len) {
        ssize_t n = read(fd, out, len);
        if (n <= 0)
            exit(0);
        out += n;
        len -= (size_t)n;
    }
}

static void write_all(int fd, const uint8_t *bytes, size_t len)
{
    while (len) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0)
            exit(0);
        bytes += n;
        len -= (size_t)n;
    }
}

/* A whole packet; its memory is the caller's. */
static struct bytes read_packet(int fd)
{
    uint8_t head[4];
    read_all(fd, head, sizeof(head));
    size_t len = packet_get_u32(head);
    if (len < PACKET_HEAD || len > PACKET_MAX)
        errx(1, "a packet of %zu bytes", len);
    uint8_t *data = malloc(len);
    if (!data)
        err(1, "memory");
    memcpy(data, head, sizeof(head));
    read_all(fd, data + sizeof(head), len - sizeof(head));
    return (struct bytes){data, len};
}

/* Most calls come in one piece, which costs the same one system call as in a daemon. */
static void serve(int client, int daemon)
{
    static uint8_t call[CALL_MAX];
    for (;;) {
        ssize_t n = recv(client, call, sizeof(call), 0);
        if (n < PACKET_HEAD)
            return;
        size_t len = packet_get_u32(call);
        if (len < (size_t)n || len > sizeof(call))
            errx(1, "a call of %zu bytes in %zd", len, n);
        read_all(client, call + n, len - (size_t)n);
        uint32_t procedure = packet_get_u32(call + 12);
        if (procedure >= PROCEDURES)
            errx(1, "procedure %u", procedure);
        struct bytes *reply = &replies[procedure];
        if (!reply->data) {
            write_all(daemon, call, len);
            *reply = read_packet(daemon);
        }
        memcpy(reply->data + 20, call + 20, 4); /* the serial */
        write_all(client, reply->data, reply->len);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        errx(2, "usage: api_replay LISTEN-SOCKET DAEMON-SOCKET");
    struct sockaddr_un here, there;
    int listener = unix_socket(argv[1], &here), daemon = unix_socket(argv[2], &there);
    if (bind(listener, (struct sockaddr *)&here, sizeof(here)) || listen(listener, 1))
        err(1, "%s", argv[1]);
    if (connect(daemon, (struct sockaddr *)&there, sizeof(there)))
        err(1, "%s", argv[2]);
    int client = accept(listener, NULL, NULL);
    if (client < 0)
        err(1, "accept");
    const int size = SOCKET_BYTES;
    if (setsockopt(client, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
        setsockopt(client, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    serve(client, daemon);
    return 0;
}
