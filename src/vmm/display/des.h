/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The Data Encryption Standard (FIPS 46-3), one block: VNC's password check (RFC 6143 7.2.2) is
 * made of it. Nothing else may be. */
#ifndef KV_VMM_DISPLAY_DES_H
#define KV_VMM_DISPLAY_DES_H

#include <stdint.h>

void des_encrypt(const uint8_t key[8], const uint8_t in[8], uint8_t out[8]);

#endif
