/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between tpm.c, which carries commands to swtpm and back, and the two
 * interfaces that a guest may find: tpm_crb.c and tpm_fifo.c. Nobody else includes
 * it.
 */
#ifndef KV_VMM_DEVICES_TPM_INTERNAL_H
#define KV_VMM_DEVICES_TPM_INTERNAL_H

#include <pthread.h>

#include "vmm/devices/tpm.h"

#define TPM_VENDOR_IBM 0x1014 /* libtpms' */

/* Plain data, for saving. */
struct tpm_registers {
    uint8_t assigned, idle, error; /* a FIFO is never idle in this sense */
    uint8_t buffer[TPM_BUFFER_SIZE];
    struct { /* of a FIFO alone; a command response buffer's state ends before it */
        uint8_t state, aborted;
        uint16_t len, at; /* bytes of the buffer, and those that were read */
    } fifo;
};

struct tpm {
    struct device device;
    const struct tpm_interface *interface;
    struct swtpm backend;
    struct loop *loop;
    struct loop_source source;    /* responses */
    struct loop_work cancel_work; /* a vCPU may not speak to swtpm's control socket */
    pthread_mutex_t lock;         /* leaf; for what follows, and for writing commands */
    struct tpm_registers regs;
    bool busy; /* a command is under way */
    bool lost; /* the process is gone */
    uint8_t response[TPM_BUFFER_SIZE];
    size_t received;
    uint64_t commands;
};

/* Sends the command that is in the buffer. Under the lock, as what follows. */
void tpm_start_command(struct tpm *tpm);
/* Asks for the end of the one that is under way, soon. */
void tpm_cancel_soon(struct tpm *tpm);

#endif
