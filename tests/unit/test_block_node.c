/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes: opened by path, description and descriptor; windows, growth, status, protection. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "block/description.h"
#include "block/driver.h"
#include "unit.h"

static char path[] = "/tmp/kvasir-node-XXXXXX";

static int make_file(void **state)
{
    strcpy(path + strlen(path) - 6, "XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, MIB(1)), 0);
    assert_int_equal(pwrite(fd, "here", 4, KIB(64)), 4);
    close(fd);
    return 0;
}

static int remove_file(void **state)
{
    unlink(path);
    return 0;
}

static struct block_node *open_json(const char *format, const char *rest)
{
    char text[300];
    struct kv_error err = {0};
    struct block_node *node = NULL;
    snprintf(text, sizeof(text), "json:{\"driver\":\"%s\",\"file.filename\":\"%s\"%s}", format,
             path, rest);
    block_open(&node, &(struct block_open_options){.path = text}, &err);
    return node;
}

static void a_description_opens_a_window_of_a_file(void **state)
{
    char bytes[5] = "";
    struct block_node *node = open_json("raw", ",\"offset\":65536,\"size\":1024");
    assert_non_null(node);
    assert_int_equal(block_get_info(node)->size, 1024);
    assert_int_equal(block_pread(node, 0, bytes, 4), 0);
    assert_string_equal(bytes, "here");
    assert_int_equal(block_pread(node, 1020, bytes, 5), -EINVAL);
    assert_int_equal(block_resize(node, 2048, NULL), -ENOTSUP);
    block_close(node);
    assert_null(open_json("raw", ",\"offset\":65536,\"size\":1048576"));
    assert_null(open_json("raw", ",\"offset\":100"));
    assert_null(open_json("nonsense", ""));
}

static void what_is_no_known_format_is_raw(void **state)
{
    struct block_node *node;
    assert_int_equal(
        block_open(&node, &(struct block_open_options){.path = path, .readonly = true}, NULL), 0);
    assert_string_equal(block_format(node), "raw");
    assert_string_equal(block_format(block_file_child(node)), "file");
    assert_int_equal(block_pwrite(node, 0, "x", 1, 0), -EROFS);
    block_close(node);
}

static void holes_and_data_are_told_apart(void **state)
{
    struct block_extent extent;
    struct block_node *node = open_json("raw", "");
    assert_int_equal(block_status_above(node, NULL, 0, MIB(1), &extent), 0);
    assert_true(extent.flags & BLOCK_STATUS_ZERO);
    assert_int_equal(extent.len, KIB(64));
    assert_int_equal(block_status_above(node, NULL, KIB(64), KIB(1), &extent), 0);
    assert_true(extent.flags & BLOCK_STATUS_DATA);
    assert_int_equal(extent.host_offset, KIB(64));
    block_close(node);
}

static void a_protocol_grows_and_a_format_does_not(void **state)
{
    char bytes[4] = "abc";
    struct block_node *node = open_json("raw", "");
    struct block_node *file = block_file_child(node);
    assert_int_equal(block_pwrite(node, MIB(1), "new", 3, 0), -EINVAL);
    assert_int_equal(block_pread(file, MIB(2), bytes, 3), 0);
    assert_memory_equal(bytes, "\0\0\0", 3);
    assert_int_equal(block_pwrite(file, MIB(1), "new", 3, 0), 0);
    assert_int_equal(block_get_info(file)->size, MIB(1) + 512);
    assert_int_equal(block_pread(file, MIB(1), bytes, 3), 0);
    assert_memory_equal(bytes, "new", 3);
    assert_int_equal(block_write_zeroes(file, MIB(1), KIB(8), 0), 0);
    assert_int_equal(block_pread(file, MIB(1), bytes, 3), 0);
    assert_memory_equal(bytes, "\0\0\0", 3);
    block_close(node);
}

static void a_second_writer_is_refused_and_an_onlooker_is_not(void **state)
{
    struct block_node *node = open_json("raw", ""), *other = NULL;
    struct block_open_options options = {.path = path};
    assert_int_equal(block_open(&other, &options, NULL), -EAGAIN);
    options.readonly = options.unlocked = true;
    assert_int_equal(block_open(&other, &options, NULL), 0);
    block_close(other);
    block_close(node);
}

static void dotted_names_are_members_of_members(void **state)
{
    json_t *description;
    struct kv_error err = {0};
    assert_int_equal(
        description_from_options(&description,
                                 "driver=qcow2,file.filename=a,,b,file.cache.direct=on", &err),
        0);
    json_t *file = json_object_get(description, "file");
    assert_string_equal(json_string_value(json_object_get(file, "filename")), "a,b");
    bool direct = false;
    assert_true(description_bool(description, "file.cache.direct", &direct) && direct);
    json_decref(description);
    assert_int_equal(description_from_options(&description, "file=a,file.filename=b", &err),
                     -EINVAL);
    assert_int_equal(description_parse(&description, "[1]", &err), -EINVAL);
    assert_int_equal(description_parse(&description, "{\"a\":1", &err), -EINVAL);
}

/* The message of an image that is refused; '@' of its description is the file's path. */
static void expect_refused(const char *description, const char *message)
{
    char text[400];
    struct kv_error err = {0};
    struct block_node *node = NULL;
    const char *at = strchrnul(description, '@');
    snprintf(text, sizeof(text), "json:%.*s%s%s", (int)(at - description), description,
             *at ? path : "", *at ? at + 1 : "");
    assert_int_equal(block_open(&node, &(struct block_open_options){.path = text, .fd = -1}, &err),
                     -EINVAL);
    assert_non_null(strstr(err.message, message));
}

static void members_that_nobody_knows_are_refused_by_name(void **state)
{
    static const char *const unknown[][2] = {
        {"{\"driver\":\"raw\",\"file.filename\":\"@\",\"bogus\":1}",
         "Block format 'raw' does not support the option 'bogus'"},
        {"{\"file.filename\":\"@\",\"bogus\":1}",
         "Block format 'raw' does not support the option 'bogus'"},
        {"{\"driver\":\"raw\",\"file\":{\"filename\":\"@\",\"bogus\":{\"a\":1}}}",
         "Block protocol 'file' doesn't support the option 'bogus.a'"},
        {"{\"driver\":\"raw\",\"file.filename\":\"@\",\"cache\":{\"dirct\":true}}",
         "Block format 'raw' does not support the option 'cache.dirct'"},
        {"{\"driver\":\"raw\",\"file.filename\":\"@\",\"backing\":null}", "'backing'"},
        {"{\"driver\":\"raw\",\"file.filename\":\"@\",\"offset\":{\"a\":1}}", "'offset'"},
        {"{\"driver\":\"raw\",\"file.filename\":\"@\",\"offset\":\"here\"}", "uint64"},
        {"{\"driver\":\"raw\",\"file.filename\":\"@\",\"read-only\":3}", "boolean"},
        {"{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"@\","
         "\"locking\":\"never\"}}",
         "locking"},
        {"{\"driver\":\"raw\",\"file\":{\"driver\":\"file\"}}", "requires a file name"},
        {"{\"driver\":\"copy-on-read\",\"bottom\":\"x\",\"file.driver\":\"raw\","
         "\"file.file.filename\":\"@\"}",
         "'bottom'"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++)
        expect_refused(unknown[i][0], unknown[i][1]);
}

static void numbers_and_words_may_be_written_as_text(void **state)
{
    char text[300];
    json_t *description = NULL;
    struct block_node *node = NULL, *other = NULL;
    struct kv_error err = {0};
    snprintf(text, sizeof(text),
             "driver=raw,size=64K,offset=512,read-only=off,file.filename=%s,file.locking=off",
             path);
    assert_int_equal(description_from_options(&description, text, &err), 0);
    const struct block_open_options options = {.description = description, .fd = -1};
    assert_int_equal(block_open(&node, &options, &err), 0);
    assert_int_equal(block_get_info(node)->size, KIB(64));
    /* Nobody is locked out. */
    assert_int_equal(block_open(&other, &options, &err), 0);
    block_close(node);
    block_close(other);
    json_decref(description);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void a_descriptor_is_taken_over_also_on_failure(void **state)
{
    const struct {
        int flags;
        struct block_open_options options;
    } failing[] = {
        {O_RDONLY, {.format = "raw"}},        {O_WRONLY, {.format = "raw", .readonly = true}},
        {O_RDWR, {.format = "nonsense"}},     {O_RDWR, {.format = "nbd"}},
        {O_RDWR, {.format = "memory"}},       {O_RDWR, {.format = "qcow2"}},
        {O_RDWR, {.format = "throttle"}},     {O_RDWR, {.format = "vmdk"}},
        {O_RDWR | O_PATH, {.format = "raw"}},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(failing); i++) {
        struct block_node *node = NULL;
        struct kv_error err = {0};
        struct block_open_options options = failing[i].options;
        options.fd = open(path, failing[i].flags | O_CLOEXEC);
        assert_true(options.fd >= 0);
        assert_true(block_open(&node, &options, &err) < 0);
        assert_false(is_open(options.fd));
    }
    /* Somebody else has the lock. */
    struct block_node *holder = open_json("raw", ""), *node = NULL;
    struct block_open_options options = {.fd = open(path, O_RDWR | O_CLOEXEC)};
    assert_int_equal(block_open(&node, &options, NULL), -EAGAIN);
    assert_false(is_open(options.fd));
    block_close(holder);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    options.fd = ends[0];
    options.readonly = true;
    assert_int_equal(block_open(&node, &options, NULL), -EINVAL);
    assert_false(is_open(ends[0]));
    close(ends[1]);
    options.fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(block_open(&node, &options, NULL), 0);
    assert_true(is_open(options.fd));
    block_close(node);
    assert_false(is_open(options.fd));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_description_opens_a_window_of_a_file, make_file,
                                        remove_file),
        cmocka_unit_test_setup_teardown(what_is_no_known_format_is_raw, make_file, remove_file),
        cmocka_unit_test_setup_teardown(holes_and_data_are_told_apart, make_file, remove_file),
        cmocka_unit_test_setup_teardown(a_protocol_grows_and_a_format_does_not, make_file,
                                        remove_file),
        cmocka_unit_test_setup_teardown(a_second_writer_is_refused_and_an_onlooker_is_not,
                                        make_file, remove_file),
        cmocka_unit_test(dotted_names_are_members_of_members),
        cmocka_unit_test_setup_teardown(members_that_nobody_knows_are_refused_by_name, make_file,
                                        remove_file),
        cmocka_unit_test_setup_teardown(numbers_and_words_may_be_written_as_text, make_file,
                                        remove_file),
        cmocka_unit_test_setup_teardown(a_descriptor_is_taken_over_also_on_failure, make_file,
                                        remove_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
