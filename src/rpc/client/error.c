/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors of this side, in libvirt's numbers and words, and errors that a server sent. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "rpc/client/internal.h"

__attribute__((format(printf, 6, 0))) static int fill(struct kvasir_error *err, int code,
                                                      int domain, int number, const char *reason,
                                                      const char *fmt, va_list ap)
{
    if (!err)
        return -number;
    *err = (struct kvasir_error){
        .code = code, .domain = domain, .level = VIR_ERR_ERROR, .number = number};
    int n = vsnprintf(err->message, sizeof(err->message), fmt, ap);
    if (reason && n >= 0 && (size_t)n < sizeof(err->message))
        snprintf(err->message + n, sizeof(err->message) - (size_t)n, ": %s", reason);
    return -number;
}

int kvasir_error_fill(struct kvasir_error *err, int code, int domain, int number_errno,
                      const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = fill(err, code, domain, number_errno, NULL, fmt, ap);
    va_end(ap);
    return r;
}

int error_errno(struct kvasir_error *err, int number, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = fill(err, VIR_ERR_SYSTEM_ERROR, VIR_FROM_RPC, number, strerror(number), fmt, ap);
    va_end(ap);
    return r;
}

int error_invalid(struct kvasir_error *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = fill(err, VIR_ERR_INVALID_ARG, VIR_FROM_NONE, EINVAL, NULL, fmt, ap);
    va_end(ap);
    return r;
}

int error_no_memory(struct kvasir_error *err)
{
    return kvasir_error_fill(err, VIR_ERR_NO_MEMORY, VIR_FROM_NONE, ENOMEM, "out of memory");
}

/* The errno nearest in meaning to one of libvirt's numbers. */
static int nearest_errno(int code)
{
    static const struct {
        short code, number;
    } rows[] = {
        {VIR_ERR_NO_MEMORY, ENOMEM},
        {VIR_ERR_NO_SUPPORT, ENOTSUP},
        {VIR_ERR_CONFIG_UNSUPPORTED, ENOTSUP},
        {VIR_ERR_OPERATION_UNSUPPORTED, ENOTSUP},
        {VIR_ERR_ARGUMENT_UNSUPPORTED, ENOTSUP},
        {VIR_ERR_INVALID_ARG, EINVAL},
        {VIR_ERR_XML_ERROR, EINVAL},
        {VIR_ERR_XML_DETAIL, EINVAL},
        {VIR_ERR_OPERATION_DENIED, EPERM},
        {VIR_ERR_ACCESS_DENIED, EPERM},
        {VIR_ERR_AUTH_FAILED, EACCES},
        {VIR_ERR_AUTH_CANCELLED, ECANCELED},
        {VIR_ERR_OPERATION_INVALID, EBUSY},
        {VIR_ERR_OPERATION_TIMEOUT, ETIMEDOUT},
        {VIR_ERR_OPERATION_ABORTED, ECANCELED},
        {VIR_ERR_DOM_EXIST, EEXIST},
        {VIR_ERR_NETWORK_EXIST, EEXIST},
        {VIR_ERR_NO_DOMAIN, ENOENT},
        {VIR_ERR_NO_NETWORK, ENOENT},
        {VIR_ERR_NO_STORAGE_POOL, ENOENT},
        {VIR_ERR_NO_STORAGE_VOL, ENOENT},
        {VIR_ERR_NO_NODE_DEVICE, ENOENT},
        {VIR_ERR_NO_INTERFACE, ENOENT},
        {VIR_ERR_NO_SECRET, ENOENT},
        {VIR_ERR_NO_NWFILTER, ENOENT},
        {VIR_ERR_NO_DOMAIN_SNAPSHOT, ENOENT},
        {VIR_ERR_NO_DOMAIN_METADATA, ENOENT},
        {VIR_ERR_NO_DOMAIN_CHECKPOINT, ENOENT},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].code == code)
            return rows[i].number;
    }
    return EIO;
}

int call_server_error(const void *payload, size_t len, struct kvasir_error *err)
{
    wire_error wire = {0};
    int r = call_decode((xdrproc_t)xdr_wire_error, payload, len, &wire, err);
    if (r < 0)
        return r;
    r = -nearest_errno(wire.code);
    if (err) {
        *err = (struct kvasir_error){
            .code = wire.code ? wire.code : VIR_ERR_INTERNAL_ERROR,
            .domain = wire.domain,
            .level = wire.level,
            .int1 = wire.int1,
            .int2 = wire.int2,
        };
        snprintf(err->message, sizeof(err->message), "%s",
                 wire.message ? *wire.message
                              : "Library function returned error but did not set virError");
    }
    xdr_free((xdrproc_t)xdr_wire_error, (char *)&wire);
    return r;
}
