/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2 images in memory for unit tests: made, opened, looked at, damaged. */
#ifndef KV_TESTS_QCOW2_IMAGES_H
#define KV_TESTS_QCOW2_IMAGES_H

#include "block/driver.h"

#define TEST_IMAGE "memory:test.qcow2"

/* options: as behind qemu-img's -o, with size. Asserts that it works. */
void image_create(const char *path, const char *options);
/* NULL with error filled. flags of struct block_open_options as given; path is TEST_IMAGE unless it
 * is set. */
struct block_node *image_open_with(struct block_open_options options, struct kv_error *err);
/* Writable, with discards; asserts that it works. */
struct block_node *image_open(void);
/* Asserts that a file in memory is a sound image without leaks. */
void image_assert_sound(const char *path);
/* Big-endian words of TEST_IMAGE. */
uint64_t image_load(uint64_t offset, unsigned bytes);
void image_store(uint64_t offset, uint64_t value, unsigned bytes);
void images_remove(void);

#endif
