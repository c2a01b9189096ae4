/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * swtpm(8), a TPM as a process: what it is told over its control socket, and
 * TPM commands over a socket that it is given. Conversations on the control
 * socket are waited for, and have an end in time; commands are not.
 */
#ifndef KV_VMM_DEVICES_SWTPM_H
#define KV_VMM_DEVICES_SWTPM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define SWTPM_HEADER 10 /* bytes of a command or a response: tag, size, code */

struct swtpm {
    int control, data; /* sockets; -1: none */
};
#define SWTPM_INIT ((struct swtpm){-1, -1})

/* where: "unix:PATH", or "fd:N" of a connected socket, which is taken over. Checks that it is a TPM
 * 2.0 and agrees on commands of up to buffer bytes. Before the jail. */
int swtpm_open(struct swtpm *tpm, const char *where, uint32_t buffer, struct kv_error *err);
void swtpm_close(struct swtpm *tpm);

/* Power off and on: what a machine's reset does. Nothing is under way. */
int swtpm_restart(struct swtpm *tpm, uint32_t buffer, struct kv_error *err);
/* Asks for the end of the command that is under way; its response still comes. */
int swtpm_cancel(struct swtpm *tpm, struct kv_error *err);

/* All that it keeps, as JSON; between commands. */
json_t *swtpm_save(struct swtpm *tpm, struct kv_error *err);
/* The opposite; it is switched on with that. */
int swtpm_load(struct swtpm *tpm, const json_t *state, uint32_t buffer, struct kv_error *err);

/* The size that a command or a response says it has, from its header. */
uint32_t swtpm_message_size(const uint8_t *header);

#endif
