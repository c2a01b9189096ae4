/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers of a TPM with a command response buffer (TCG PC Client Platform
 * TPM Profile 1.05, 6.5.3), locality 0 alone. One whose process is gone says so
 * by its error bit. See tpm_internal.h.
 */
#include "base/util.h"
#include "vmm/devices/tpm_internal.h"
#include "vmm/x86/layout.h"

enum crb_register {
    LOC_STATE = 0x00,
    LOC_CTRL = 0x08,
    LOC_STS = 0x0c,
    INTF_ID = 0x30,
    INTF_ID2 = 0x34,
    CTRL_REQ = TPM_CONTROL_AREA,
    CTRL_STS = 0x44,
    CTRL_CANCEL = 0x48,
    CTRL_START = 0x4c,
    CTRL_CMD_SIZE = 0x58,
    CTRL_CMD_LADDR = 0x5c,
    CTRL_RSP_SIZE = 0x64,
    CTRL_RSP_ADDR = 0x68,
};

#define STATE_NOT_ESTABLISHED BIT(0) /* no dynamic launch happened */
#define STATE_ASSIGNED BIT(1)
#define STATE_VALID BIT(7)
#define LOC_REQUEST BIT(0)
#define LOC_RELINQUISH BIT(1)
#define STS_GRANTED BIT(0)
#define REQ_READY BIT(0)
#define REQ_IDLE BIT(1)
#define STS_ERROR BIT(0)
#define STS_IDLE BIT(1)
/* A CRB (and no FIFO) of version 1, locality 0 alone, transfers of 64 bytes. */
#define INTERFACE (1U | 1U << 4 | 3U << 11 | 1U << 14 | 1U << 17)

static uint32_t read_register(const struct tpm *tpm, unsigned at)
{
    const struct tpm_registers *regs = &tpm->regs;
    switch (at) {
    case LOC_STATE:
        return (uint32_t)(STATE_VALID | STATE_NOT_ESTABLISHED |
                          (regs->assigned ? STATE_ASSIGNED : 0));
    case LOC_STS:
        return regs->assigned ? STS_GRANTED : 0;
    case INTF_ID:
        return INTERFACE;
    case INTF_ID2:
        return TPM_VENDOR_IBM;
    case CTRL_STS:
        return (uint32_t)((regs->error ? STS_ERROR : 0) | (regs->idle ? STS_IDLE : 0));
    case CTRL_START:
        return tpm->busy;
    case CTRL_CMD_SIZE:
    case CTRL_RSP_SIZE:
        return TPM_BUFFER_SIZE;
    case CTRL_CMD_LADDR:
    case CTRL_RSP_ADDR:
        return (uint32_t)LAYOUT_TPM_BASE + TPM_BUFFER;
    default:
        return 0;
    }
}

static void write_register(struct tpm *tpm, unsigned at, uint32_t value)
{
    struct tpm_registers *regs = &tpm->regs;
    bool assigned = regs->assigned;
    switch (at) {
    case LOC_CTRL:
        if (value & LOC_RELINQUISH)
            regs->assigned = false;
        else if (value & LOC_REQUEST)
            regs->assigned = true;
        break;
    case CTRL_REQ:
        if (tpm->busy || !assigned)
            break;
        if (value & REQ_READY)
            regs->idle = false;
        else if (value & REQ_IDLE)
            regs->idle = true;
        break;
    case CTRL_CANCEL:
        if (value & 1)
            tpm_cancel_soon(tpm);
        break;
    case CTRL_START:
        if (value & 1 && !tpm->busy && assigned && !regs->idle && !tpm->lost)
            tpm_start_command(tpm);
        break;
    default:
        break;
    }
}

/* Buffer and registers may be read in pieces of any width. */
static uint64_t crb_read(struct tpm *tpm, unsigned offset, unsigned len)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < len; i++) {
        unsigned at = offset + i;
        uint64_t byte = 0;
        if (at < TPM_BUFFER)
            byte = read_register(tpm, at & ~3U) >> 8 * (at & 3) & 0xff;
        else if (at < TPM_REGION_SIZE)
            byte = tpm->regs.buffer[at - TPM_BUFFER];
        value |= byte << 8 * i;
    }
    return value;
}

static void crb_write(struct tpm *tpm, unsigned offset, uint64_t value, unsigned len)
{
    if (range_within(offset, len, TPM_BUFFER, TPM_BUFFER_SIZE)) {
        if (!tpm->busy)
            store_le(tpm->regs.buffer + (offset - TPM_BUFFER), value, len);
    } else if (offset < TPM_BUFFER && offset % 4 == 0) {
        write_register(tpm, offset, (uint32_t)value);
    }
}

const struct tpm_interface tpm_crb = {
    .type = TPM_CRB,
    .region_size = TPM_REGION_SIZE,
    .saved = offsetof(struct tpm_registers, fifo),
    .read = crb_read,
    .write = crb_write,
};
