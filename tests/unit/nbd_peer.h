/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client's end of an NBD connection, by hand: says anything, right or wrong. */
#ifndef KV_TESTS_NBD_PEER_H
#define KV_TESTS_NBD_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "block/nbd_protocol.h"

struct nbd_peer {
    int fd;
    bool structured;
};

struct nbd_option_reply {
    uint32_t type, len;
    uint8_t data[8192];
};

struct nbd_reply {
    bool structured;
    uint16_t flags, type; /* of a chunk */
    uint32_t error;       /* of a simple reply */
    uint64_t cookie;
    uint32_t len; /* of a chunk's data, which nbd_peer_read() gives */
};

/* Each fails the test when the server does not do its part. */
void nbd_peer_write(struct nbd_peer *peer, const void *data, size_t len);
void nbd_peer_read(struct nbd_peer *peer, void *data, size_t len);
/* The server closes without another byte. */
void nbd_peer_expect_end(struct nbd_peer *peer);

/* Greeting, with these flags for an answer. */
void nbd_peer_greet(struct nbd_peer *peer, uint32_t flags);
void nbd_peer_option(struct nbd_peer *peer, uint32_t option, const void *data, uint32_t len);
void nbd_peer_option_reply(struct nbd_peer *peer, uint32_t option, struct nbd_option_reply *reply);
/* One option with one reply; its type. */
uint32_t nbd_peer_ask(struct nbd_peer *peer, uint32_t option, const void *data, uint32_t len);
/* The data of INFO and GO for a name without requests of information; its length. */
uint32_t nbd_peer_info_data(uint8_t *data, const char *name);
/* The data of the meta context options for an export and queries, NULL at the end. */
uint32_t nbd_peer_meta_data(uint8_t *data, const char *name, const char *const *queries);
/* From the greeting to the transmission phase; the export's size. */
uint64_t nbd_peer_go(struct nbd_peer *peer, const char *name, bool structured);

void nbd_peer_request(struct nbd_peer *peer, uint16_t type, uint16_t flags, uint64_t cookie,
                      uint64_t offset, uint32_t len);
void nbd_peer_reply(struct nbd_peer *peer, struct nbd_reply *reply);
/* A request without data either way; the error of its reply. */
uint32_t nbd_peer_command(struct nbd_peer *peer, uint16_t type, uint16_t flags, uint64_t offset,
                          uint32_t len);
/* The error of a reply that has no data. */
uint32_t nbd_peer_error(struct nbd_peer *peer, uint64_t cookie);

#endif
