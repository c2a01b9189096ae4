/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See domain_document.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "domain_document.h"
#include "model/domain.h"

void expect_error(const char *xml, int code, const char *message)
{
    struct model_domain *d;
    struct kv_error err = {0};
    int ret = model_domain_parse(&d, NULL, xml, strlen(xml), MODEL_PARSE_INACTIVE, &err);
    if (ret >= 0)
        fail_msg("accepted instead of '%s': %s", message, xml);
    if (!strstr(err.message, message) || err.code != code)
        fail_msg("%d '%s' instead of %d '%s'", err.code, err.message, code, message);
    assert_null(d);
}
