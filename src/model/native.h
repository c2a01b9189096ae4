/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains from the command lines of monitors (virConnectDomainXMLFromNative). */
#ifndef KV_MODEL_NATIVE_H
#define KV_MODEL_NATIVE_H

#include "base/error.h"

struct model_host;

/*
 * The completed XML of the machine that a command line would make; *out is to be free()d. format:
 * "kvasir-argv" (kvasir-vmm) or "qemu-argv" (qemu-system-x86_64, what a simple kernel-boot machine
 * needs). VIR_ERR_INVALID_ARG for other formats, VIR_ERR_CONFIG_UNSUPPORTED names an option that
 * has no counterpart.
 */
int model_domain_from_native(const struct model_host *host, const char *format, const char *text,
                             char **out, struct kv_error *err);

#endif
