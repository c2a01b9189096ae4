/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options by table. */
#include <errno.h>
#include <string.h>

#include "base/options.h"
#include "unit.h"

struct disk {
    char *path;
    bool readonly;
    uint64_t size, queues;
    int cache, fd;
    uint8_t mac[6];
};

static const char *const caches[] = {"none", "writeback", NULL};
static const struct option_spec specs[] = {
    OPTION(STRING, struct disk, path, .required = true, .help = "file"),
    OPTION(BOOL, struct disk, readonly),
    OPTION(SIZE, struct disk, size),
    OPTION(UINT, struct disk, queues, .min = 1, .max = 8),
    OPTION(ENUM, struct disk, cache, .values = caches),
    OPTION(FD, struct disk, fd),
    OPTION(MAC, struct disk, mac),
    OPTION_END,
};

static void text_and_json_fill_the_same_fields(void **state)
{
    struct disk a = {0}, b = {0};
    struct kv_error err;
    assert_int_equal(options_parse_text(specs, "--disk", "path",
                                        "/x,,y,readonly=on,size=4k,queues=2,cache=writeback,fd=5",
                                        &a, &err),
                     0);
    json_t *o = json_pack("{s:s, s:b, s:i, s:i, s:s, s:i}", "path", "/x,y", "readonly", 1, "size",
                          4096, "queues", 2, "cache", "writeback", "fd", 5);
    assert_int_equal(options_parse_json(specs, "disk", o, &b, &err), 0);
    json_decref(o);
    assert_string_equal(a.path, "/x,y");
    assert_string_equal(b.path, "/x,y");
    assert_true(a.readonly && b.readonly);
    assert_int_equal(a.size, 4096);
    assert_int_equal(b.size, 4096);
    assert_int_equal(a.queues + b.queues, 4);
    assert_int_equal(a.cache + b.cache, 2);
    assert_int_equal(a.fd + b.fd, 10);
    options_free(specs, &a);
    options_free(specs, &b);
    assert_null(a.path);
}

static void wrong_options_are_refused_by_name(void **state)
{
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"path=a,colour=red", "'colour'"},    {"path=a,path=b", "twice"},
        {"readonly=on", "'path' is missing"}, {"path=a,readonly=maybe", "on, off"},
        {"path=a,queues=9", "1 to 8"},        {"path=a,cache=some", "none, writeback"},
        {"path=a,size=big", "suffix"},        {"path=a,mac=1:2", "six bytes"},
        {"path=a,queues", "needs a value"},   {"path=a,fd=-1", "descriptor"},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct disk d = {0};
        struct kv_error err = {0};
        assert_int_equal(options_parse_text(specs, "--disk", "path", cases[i].text, &d, &err),
                         -EINVAL);
        assert_non_null(strstr(err.message, cases[i].word));
        assert_non_null(strstr(err.message, "--disk"));
        options_free(specs, &d);
    }
}

static void json_of_the_wrong_type_is_refused(void **state)
{
    struct disk d = {0};
    struct kv_error err = {0};
    json_t *o = json_pack("{s:s, s:i}", "path", "a", "readonly", 3);
    assert_int_equal(options_parse_json(specs, "disk", o, &d, &err), -EINVAL);
    assert_non_null(strstr(err.message, "true or false"));
    json_decref(o);
    options_free(specs, &d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_json_fill_the_same_fields),
        cmocka_unit_test(wrong_options_are_refused_by_name),
        cmocka_unit_test(json_of_the_wrong_type_is_refused),
    };
    return cmocka_run_group_tests_name("base_options", tests, NULL, NULL);
}
