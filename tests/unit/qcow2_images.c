/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images in memory for the tests of qcow2; see qcow2_images.h. */
#include "qcow2_images.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../crash/qcow2_inspect.h"
#include "base/cleanup.h"
#include "block/memory.h"
#include "unit.h"

void image_create(const char *path, const char *options)
{
    const struct block_driver *driver = block_driver_find("qcow2");
    struct kv_error err = {0};
    void *config = calloc(1, driver->create_config_size);
    assert_non_null(config);
    driver->create_defaults(config);
    int rc = options_parse_text(driver->create_options, "-o", NULL, options, config, &err);
    if (rc == 0)
        rc = driver->create(path, config, &err);
    if (rc < 0)
        print_error("%s: %s\n", options, err.message);
    assert_int_equal(rc, 0);
    options_free(driver->create_options, config);
    free(config);
}

struct block_node *image_open_with(struct block_open_options options, struct kv_error *err)
{
    struct block_node *node = NULL;
    options.fd = -1;
    if (!options.path && !options.description)
        options.path = TEST_IMAGE;
    block_open(&node, &options, err);
    return node;
}

struct block_node *image_open(void)
{
    struct kv_error err = {0};
    struct block_node *node = image_open_with((struct block_open_options){.discard = true}, &err);
    if (!node)
        print_error("%s\n", err.message);
    assert_non_null(node);
    return node;
}

void image_assert_sound(const char *path)
{
    const char *name = block_memory_name(path);
    struct qcow2_findings findings = {0};
    int64_t len = block_memory_length(name);
    assert_true(len > 0);
    cleanup_free uint8_t *bytes = malloc((size_t)len);
    assert_non_null(bytes);
    assert_int_equal(block_memory_get(name, 0, bytes, (uint64_t)len), 0);
    qcow2_inspect(bytes, (size_t)len, &findings);
    if (findings.corruptions || findings.leaks)
        print_error("%" PRIu64 " corruptions, %" PRIu64 " leaks: %s\n", findings.corruptions,
                    findings.leaks, findings.first);
    assert_int_equal(findings.corruptions, 0);
    assert_int_equal(findings.leaks, 0);
}

static void access_file(bool write, uint64_t offset, uint8_t *bytes, unsigned len)
{
    struct block_node *file = NULL;
    const struct block_open_options options = {.path = TEST_IMAGE, .fd = -1, .format = "raw"};
    assert_int_equal(block_open(&file, &options, NULL), 0);
    assert_int_equal(write ? block_pwrite(file, offset, bytes, len, 0)
                           : block_pread(file, offset, bytes, len),
                     0);
    block_close(file);
}

uint64_t image_load(uint64_t offset, unsigned bytes)
{
    uint8_t raw[8];
    uint64_t value = 0;
    access_file(false, offset, raw, bytes);
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | raw[i];
    return value;
}

void image_store(uint64_t offset, uint64_t value, unsigned bytes)
{
    uint8_t raw[8];
    for (unsigned i = 0; i < bytes; i++)
        raw[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
    access_file(true, offset, raw, bytes);
}

void images_remove(void)
{
    block_memory_remove("test.qcow2");
    block_memory_remove("base.qcow2");
    block_memory_remove("data.raw");
}
