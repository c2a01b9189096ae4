/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a program that does not read the formats of other products makes of their images. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "block/driver.h"
#include "block/import_probe.h"
#include "block/memory.h"
#include "unit.h"

static const struct {
    const char *format;
    size_t at; /* of the signature */
    const char *signature;
    size_t len;
} images[] = {
    {"vdi", VDI_AT_SIGNATURE, "\x7f\x10\xda\xbe", 4},
    {"vhdx", 0, VHDX_SIGNATURE, 8},
    {"vmdk", 0, VMDK_MAGIC, 4},
    {"vmdk", 0, VMDK_COWD_MAGIC, 4},
    {"vmdk", 0, "# Disk DescriptorFile\nversion=1\n", 32},
    {"vpc", 0, VPC_COOKIE, 8},
};

static void expect_refusal(const char *format_given, const char *format, bool readonly)
{
    struct block_node *node = NULL;
    struct kv_error err = {0};
    const struct block_open_options options = {
        .path = "memory:image", .format = format_given, .readonly = readonly, .fd = -1};
    assert_int_equal(block_open(&node, &options, &err), -ENOTSUP);
    assert_non_null(strstr(err.message, format));
    assert_non_null(strstr(err.message, "kvasir-img convert"));
}

static void images_of_other_products_are_known_and_refused_with_the_way_out(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(images); i++) {
        uint8_t image[4096] = {0};
        memcpy(image + images[i].at, images[i].signature, images[i].len);
        assert_int_equal(block_memory_put("image", image, sizeof(image)), 0);
        expect_refusal(NULL, images[i].format, true);
        expect_refusal(NULL, images[i].format, false);
        expect_refusal(images[i].format, images[i].format, true);
        block_memory_remove("image");
    }
}

static void their_names_are_not_offered(void **state)
{
    struct block_node *node = NULL;
    struct kv_error err = {0};
    const struct block_open_options options = {.path = "memory:image", .format = "x", .fd = -1};
    assert_int_equal(block_open(&node, &options, &err), -EINVAL);
    assert_non_null(strstr(err.message, "qcow2"));
    assert_null(strstr(err.message, "vmdk"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_of_other_products_are_known_and_refused_with_the_way_out),
        cmocka_unit_test(their_names_are_not_offered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
