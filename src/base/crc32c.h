/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CRC-32C (Castagnoli), as VHDX and iSCSI have it. */
#ifndef KV_BASE_CRC32C_H
#define KV_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* crc: 0, or what a former call returned for the bytes in front. Any thread. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);

#endif
