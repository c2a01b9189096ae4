/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors as clients of libvirt's API know them: a VIR_ERR_* number, the part of libvirt that it
 * comes from (VIR_FROM_*), and a message that begins with libvirt's phrase for that number.
 * Clients branch on the numbers, and people search for the words.
 */
#ifndef KV_MODEL_API_ERROR_H
#define KV_MODEL_API_ERROR_H

#include <libvirt/virterror.h>

#include "base/error.h"

/*
 * Fills err (which may be NULL): domain KV_ERR_API, code = vir_code, from = VIR_FROM_QEMU, message
 * = the phrase with the detail in its place ("Domain not found: no domain with matching name
 * 'x'"). fmt may be NULL: the phrase alone. Returns a negative errno, the nearest in meaning.
 */
int api_error(struct kv_error *err, int vir_code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same from another part of libvirt (VIR_FROM_*). */
int api_error_from(struct kv_error *err, int from, int vir_code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The number for an error of any domain: its own when it is KV_ERR_API, else VIR_ERR_SYSTEM_ERROR
 * (a system call's errno), VIR_ERR_NO_MEMORY or VIR_ERR_INTERNAL_ERROR. */
int api_error_code(const struct kv_error *err);

/* Makes err, when it is not of KV_ERR_API, one that is, with api_error_code()'s number and its
 * phrase in front of the message. Returns the negative errno that belongs to it. */
int api_error_convert(struct kv_error *err);

#endif
