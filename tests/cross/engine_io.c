/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The block engine driven by lines on standard input, for tests that let it
 * take turns with other programs on one image:
 *   write OFFSET LEN BYTE | compress OFFSET LEN BYTE | zero OFFSET LEN |
 *   discard OFFSET LEN | flush | read OFFSET LEN (hash of the bytes on stdout)
 * usage: engine_io FORMAT FILE <LINES. Exit status 1: an operation failed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/block.h"

static uint64_t fnv(const uint8_t *bytes, size_t len)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static int carry_out(struct block_node *node, const char *verb, uint64_t offset, uint64_t len,
                     int byte)
{
    if (strcmp(verb, "flush") == 0)
        return block_flush(node);
    if (strcmp(verb, "zero") == 0)
        return block_write_zeroes(node, offset, len, BLOCK_UNMAP);
    if (strcmp(verb, "discard") == 0)
        return block_discard(node, offset, len);
    cleanup_free uint8_t *bytes = malloc(MAX(len, (uint64_t)1));
    if (!bytes)
        return -ENOMEM;
    memset(bytes, byte, len);
    if (strcmp(verb, "write") == 0)
        return block_pwrite(node, offset, bytes, len, 0);
    if (strcmp(verb, "compress") == 0)
        return block_pwrite(node, offset, bytes, len, BLOCK_COMPRESSED);
    int rc = strcmp(verb, "read") == 0 ? block_pread(node, offset, bytes, len) : -EINVAL;
    if (rc == 0)
        printf("%016" PRIx64 "\n", fnv(bytes, len));
    return rc;
}

int main(int argc, char **argv)
{
    struct kv_error err = {0};
    struct block_node *node;
    char line[200], verb[20];
    int status = 0;
    if (argc != 3) {
        fprintf(stderr, "usage: engine_io FORMAT FILE <LINES\n");
        return 2;
    }
    const struct block_open_options options = {.path = argv[2], .format = argv[1], .discard = true};
    if (block_open(&node, &options, &err) < 0) {
        fprintf(stderr, "engine_io: %s\n", err.message);
        return 1;
    }
    while (status == 0 && fgets(line, sizeof(line), stdin)) {
        uint64_t offset = 0, len = 0;
        int byte = 0;
        if (sscanf(line, "%19s %" SCNu64 " %" SCNu64 " %d", verb, &offset, &len, &byte) < 1)
            continue;
        int rc = carry_out(node, verb, offset, len, byte);
        if (rc < 0) {
            fprintf(stderr, "engine_io: %s: %s\n", strtok(line, "\n"), strerror(-rc));
            status = 1;
        }
    }
    block_close(node);
    return status;
}
