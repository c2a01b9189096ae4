/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors with libvirt's numbers and phrases (src/model/api_error.h). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/api_error.h"

static void detail_goes_where_libvirt_puts_it(void **state)
{
    static const struct {
        int code;
        const char *message;
    } rows[] = {
        {VIR_ERR_NO_DOMAIN, "Domain not found: x"},
        {VIR_ERR_CONFIG_UNSUPPORTED, "unsupported configuration: x"},
        {VIR_ERR_XML_ERROR, "XML error: x"},
        {VIR_ERR_XML_DETAIL, "x"},
        {VIR_ERR_OPERATION_INVALID, "Requested operation is not valid: x"},
        {VIR_ERR_DOM_EXIST, "domain x exists already"},
        {VIR_ERR_OS_TYPE, "unknown OS type x"},
        {VIR_ERR_MULTIPLE_DOMAINS, "multiple matching domains found: x"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_error err = {0};
        assert_true(api_error(&err, rows[i].code, "%s", "x") < 0);
        assert_string_equal(err.message, rows[i].message);
        assert_int_equal(err.code, rows[i].code);
        assert_int_equal(err.domain, KV_ERR_API);
        assert_int_equal(err.from, VIR_FROM_QEMU);
    }
}

static void without_a_detail_the_phrase_stands_alone(void **state)
{
    struct kv_error err;
    assert_int_equal(api_error_from(&err, VIR_FROM_XML, VIR_ERR_XML_ERROR, NULL), -EINVAL);
    assert_string_equal(err.message, "XML description is invalid or not well formed");
    assert_int_equal(err.from, VIR_FROM_XML);
}

static void each_number_has_a_phrase(void **state)
{
    for (int code = 1; code <= VIR_ERR_MULTIPLE_DOMAINS; code++) {
        struct kv_error err;
        assert_true(api_error(&err, code, NULL) < 0);
        if (code != VIR_ERR_INTERNAL_ERROR)
            assert_string_not_equal(err.message, "internal error");
    }
}

static void an_unknown_number_is_an_internal_error(void **state)
{
    struct kv_error err;
    assert_int_equal(api_error(&err, 100000, "x"), -EIO);
    assert_string_equal(err.message, "internal error: x");
}

static void errors_of_other_domains_are_converted_once(void **state)
{
    struct kv_error err;
    kv_error_set(&err, KV_ERR_BASE, ENOENT, "cannot open '/x'");
    assert_int_equal(api_error_convert(&err), -ENOENT);
    assert_int_equal(err.code, VIR_ERR_SYSTEM_ERROR);
    assert_string_equal(err.message, "cannot open '/x'");
    kv_error_set(&err, KV_ERR_KVM, EBUSY, "no");
    assert_int_equal(api_error_convert(&err), -EBUSY);
    assert_string_equal(err.message, "internal error: no");
    api_error_convert(&err);
    assert_string_equal(err.message, "internal error: no");
    assert_int_equal(err.code, VIR_ERR_INTERNAL_ERROR);
}

static void a_long_detail_is_cut(void **state)
{
    struct kv_error err;
    char detail[2000];
    memset(detail, 'a', sizeof(detail) - 1);
    detail[sizeof(detail) - 1] = '\0';
    api_error(&err, VIR_ERR_NO_DOMAIN, "%s", detail);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(detail_goes_where_libvirt_puts_it),
        cmocka_unit_test(without_a_detail_the_phrase_stands_alone),
        cmocka_unit_test(each_number_has_a_phrase),
        cmocka_unit_test(an_unknown_number_is_an_internal_error),
        cmocka_unit_test(errors_of_other_domains_are_converted_once),
        cmocka_unit_test(a_long_detail_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
