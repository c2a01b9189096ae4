/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks at a qcow2 image with no help from the engine: counts the references to
 * each cluster from all tables and compares them with the refcounts. QEMU's
 * docs/interop/qcow2.
 */
#ifndef KV_TESTS_QCOW2_INSPECT_H
#define KV_TESTS_QCOW2_INSPECT_H

#include <stddef.h>
#include <stdint.h>

struct qcow2_findings {
    uint64_t corruptions, leaks;
    char first[160]; /* the first corruption in words */
};

/* image: all bytes of the file. */
void qcow2_inspect(const uint8_t *image, size_t len, struct qcow2_findings *out);

#endif
