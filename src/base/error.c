/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors with a message; see error.h. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 5, 0))) static void error_fill(struct kv_error *err,
                                                             enum kv_error_domain domain, int code,
                                                             const char *reason, const char *fmt,
                                                             va_list ap)
{
    if (!err)
        return;
    err->code = code;
    err->domain = domain;
    err->from = 0;
    int n = vsnprintf(err->message, sizeof(err->message), fmt, ap);
    if (reason && n >= 0 && (size_t)n < sizeof(err->message))
        snprintf(err->message + n, sizeof(err->message) - (size_t)n, ": %s", reason);
}

int kv_error_set(struct kv_error *err, enum kv_error_domain domain, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_fill(err, domain, code, NULL, fmt, ap);
    va_end(ap);
    return -code;
}

int kv_error_errno(struct kv_error *err, enum kv_error_domain domain, int code, const char *fmt,
                   ...)
{
    va_list ap;
    va_start(ap, fmt);
    error_fill(err, domain, code, strerror(code), fmt, ap);
    va_end(ap);
    return -code;
}

int kv_error_prefix(struct kv_error *err, const char *fmt, ...)
{
    if (!err)
        return 0;
    char old[sizeof(err->message)];
    memcpy(old, err->message, sizeof(old));
    va_list ap;
    va_start(ap, fmt);
    error_fill(err, err->domain, err->code, old, fmt, ap);
    va_end(ap);
    return -err->code;
}
