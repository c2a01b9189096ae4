/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the formats of other products are known by their first bytes. Every
 * program knows them, also one that does not read them: it must not take such
 * an image for a raw disk.
 */
#ifndef KV_BLOCK_IMPORT_PROBE_H
#define KV_BLOCK_IMPORT_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VDI_SIGNATURE 0xbeda107fu
#define VDI_AT_SIGNATURE 64
#define VDI_HEADER_SIZE 512
#define VHDX_SIGNATURE "vhdxfile"
#define VMDK_MAGIC "KDMV"
#define VMDK_COWD_MAGIC "COWD"
#define VPC_COOKIE "conectix"
#define VPC_FOOTER_SIZE 512

/* As the drivers' probe. */
int vdi_probe(const uint8_t *head, size_t len, const char *name);
int vhdx_probe(const uint8_t *head, size_t len, const char *name);
int vmdk_probe(const uint8_t *head, size_t len, const char *name);
int vpc_probe(const uint8_t *head, size_t len, const char *name);

/* Whether a text is a VMDK image's description: comments, then its version. */
bool vmdk_is_descriptor(const uint8_t *text, size_t len);

#endif
