/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this host is and what the monitor on it can do: facts that completing a domain needs, and
 * the documents that clients choose their defaults by.
 */
#ifndef KV_MODEL_HOST_H
#define KV_MODEL_HOST_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct model_host;

struct model_host_config {
    const char *emulator;  /* path of kvasir-vmm; NULL: beside this program, else /usr/bin */
    const uint8_t *uuid;   /* of the host, 16 bytes; NULL: from the firmware or /etc/machine-id */
    const char *root;      /* below which sys/ and proc/ are read; NULL: / (tests) */
    const char *nvram_dir; /* where the variables of machines' firmware lie; NULL: below /var/lib */
    bool session;          /* an ordinary user's daemon */
};

/* Reads the host once. Thread-safe afterwards: nothing of it changes. */
int model_host_create(struct model_host **out, const struct model_host_config *config,
                      struct kv_error *err);
void model_host_free(struct model_host *host);

const char *model_host_emulator(const struct model_host *host);
const char *model_host_cpu_model(const struct model_host *host); /* "Skylake-Client", ... */
const uint8_t *model_host_uuid(const struct model_host *host);   /* 16 bytes */

/* Documents, to be free()d; NULL: memory. */
char *model_host_capabilities(const struct model_host *host);

/* virConnectGetDomainCapabilities: each argument may be NULL (a default).
 * VIR_ERR_INVALID_ARG when something else than what we are is asked for. */
int model_host_domain_capabilities(const struct model_host *host, const char *emulator,
                                   const char *arch, const char *machine, const char *virttype,
                                   char **out, struct kv_error *err);

/* Names of the CPU models that <cpu><model> may have for an architecture, NULL at the end.
 * VIR_ERR_INVALID_ARG for an architecture that nobody knows; *count 0 for others than ours. */
int model_host_cpu_models(const char *arch, const char *const **out, unsigned *count,
                          struct kv_error *err);

/* The distribution's BIOS image (SeaBIOS); NULL: it is not installed. */
const char *model_host_bios(void);
/* What it boots from the network by (iPXE for virtio-net); NULL likewise. */
const char *model_host_network_rom(void);

/* UEFI firmware in flash: the image, the template of its variables. */
#define MODEL_FIRMWARE_PATH 256
struct model_uefi {
    char code[MODEL_FIRMWARE_PATH], vars[MODEL_FIRMWARE_PATH];
    bool needs_smm; /* system management mode, which machines do not have */
};

/* What is known of the image code; with NULL the one that new machines get, which needs no SMM.
 * false: none. */
bool model_host_uefi(const struct model_host *host, const char *code, struct model_uefi *out);
/* Where the variables of a UEFI machine of that name lie, unless its document says something else.
 */
void model_host_nvram(const struct model_host *host, const char *name, char path[PATH_MAX]);

/* The full name of a machine type ("pc" is "pc-i440fx-7.2"); NULL: not one of ours. */
const char *model_host_machine(const char *name);

#endif
