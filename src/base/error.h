/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Errors. A function that can fail returns 0 or a negative errno and, at
 * module borders, fills a struct kv_error. The message says what was asked,
 * what was found and what would be accepted. What is returned is not logged.
 */
#ifndef KV_BASE_ERROR_H
#define KV_BASE_ERROR_H

enum kv_error_domain {
    KV_ERR_BASE,
    KV_ERR_CONFIG,
    KV_ERR_KVM,
    KV_ERR_MEMORY,
    KV_ERR_BOOT,
    KV_ERR_DEVICE,
    KV_ERR_BLOCK,
    KV_ERR_NET,
    KV_ERR_CONTROL,
    KV_ERR_JAIL,
    KV_ERR_API, /* code is a VIR_ERR_* number (model/api_error.h) */
};

struct kv_error {
    int code; /* positive errno, of KV_ERR_API a VIR_ERR_* number; 0 while nothing failed */
    int from; /* of KV_ERR_API: the part of libvirt it comes from (VIR_FROM_*) */
    enum kv_error_domain domain;
    char message[480];
};

/* Fills err (which may be NULL) and returns -code, an errno. */
int kv_error_set(struct kv_error *err, enum kv_error_domain domain, int code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* As kv_error_set(), with ": " and strerror(code) behind the message. */
int kv_error_errno(struct kv_error *err, enum kv_error_domain domain, int code, const char *fmt,
                   ...) __attribute__((format(printf, 4, 5)));

/* Puts context in front of the message that err already holds. Returns -err->code. */
int kv_error_prefix(struct kv_error *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
