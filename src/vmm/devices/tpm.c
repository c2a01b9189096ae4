/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers of a TPM with a command response buffer (TCG PC Client Platform
 * TPM Profile 1.05, 6.5.3), locality 0 alone. A vCPU writes a command into the
 * buffer, which is sent to swtpm when it says so; an I/O thread reads the
 * response and puts it into the buffer. While a command is under way the buffer
 * cannot be written, and what is sent is a copy. A TPM whose process is gone
 * says so by its error bit. See tpm.h.
 */
#include "vmm/devices/tpm.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "vmm/devices/classes.h"
#include "vmm/hex_state.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/layout.h"

enum tpm_register {
    LOC_STATE = 0x00,
    LOC_CTRL = 0x08,
    LOC_STS = 0x0c,
    INTF_ID = 0x30,
    INTF_ID2 = 0x34,
    CTRL_REQ = 0x40,
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
#define VENDOR_IBM 0x1014 /* libtpms' */

#define CANCEL_MS 10000 /* until a command that was cancelled has ended */

/* Plain data, for saving. */
struct registers {
    uint8_t assigned, idle, error;
    uint8_t buffer[TPM_BUFFER_SIZE];
};

struct tpm {
    struct device device;
    struct swtpm backend;
    struct loop *loop;
    struct loop_source source;    /* responses */
    struct loop_work cancel_work; /* a vCPU may not speak to swtpm's control socket */
    pthread_mutex_t lock;         /* leaf; for what follows, and for writing commands */
    struct registers regs;
    bool busy; /* a command is under way; START reads as 1 */
    bool lost; /* the process is gone */
    uint8_t response[TPM_BUFFER_SIZE];
    size_t received;
    uint64_t commands;
};

static struct tpm *of_device(struct device *device)
{
    return container_of(device, struct tpm, device);
}

struct device *tpm_device(struct tpm *tpm)
{
    return &tpm->device;
}

/* ---------------------------------------------------------------- commands */

/* Under the lock, as all of these. */
static void end_command(struct tpm *tpm)
{
    tpm->busy = false;
    tpm->received = 0;
}

static void lose(struct tpm *tpm, const char *why)
{
    if (!tpm->lost)
        log_warning("%s: %s; it works no more", tpm->device.id, why);
    tpm->lost = true;
    tpm->regs.error = true;
    end_command(tpm);
}

/* Of a command whose size cannot be the header is sent, which the TPM refuses. */
static void start_command(struct tpm *tpm)
{
    uint8_t command[TPM_BUFFER_SIZE];
    uint32_t size = swtpm_message_size(tpm->regs.buffer);
    if (size < SWTPM_HEADER || size > sizeof(command))
        size = SWTPM_HEADER;
    memcpy(command, tpm->regs.buffer, size);
    uint32_t told = htobe32(size);
    memcpy(command + 2, &told, sizeof(told));
    tpm->busy = true;
    tpm->commands++;
    if (write(tpm->backend.data, command, size) != (ssize_t)size)
        lose(tpm, "swtpm takes no commands");
}

/* The bytes of a response come in any pieces. False: wait for more. */
static bool read_response(struct tpm *tpm)
{
    size_t want = SWTPM_HEADER;
    if (tpm->received >= SWTPM_HEADER)
        want = swtpm_message_size(tpm->response);
    if (want < SWTPM_HEADER || want > sizeof(tpm->response)) {
        lose(tpm, "swtpm's response has a size that cannot be");
        return false;
    }
    if (tpm->received == want)
        return true;
    ssize_t n = read(tpm->backend.data, tpm->response + tpm->received, want - tpm->received);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0 || !tpm->busy) {
        lose(tpm, n <= 0 ? "swtpm has ended" : "swtpm responds to no command");
        return false;
    }
    tpm->received += (size_t)n;
    return tpm->received > SWTPM_HEADER ? tpm->received == swtpm_message_size(tpm->response)
                                        : false;
}

static bool take_response(struct tpm *tpm)
{
    bool complete = false;
    for (size_t before = SIZE_MAX; !complete && !tpm->lost && tpm->received != before;) {
        before = tpm->received;
        complete = read_response(tpm);
    }
    if (!complete)
        return tpm->lost;
    memcpy(tpm->regs.buffer, tpm->response, tpm->received);
    end_command(tpm);
    return true;
}

static void on_response(void *opaque, uint32_t events)
{
    struct tpm *tpm = opaque;
    pthread_mutex_lock(&tpm->lock);
    take_response(tpm);
    if (tpm->lost)
        loop_remove(&tpm->source);
    pthread_mutex_unlock(&tpm->lock);
}

/* ---------------------------------------------------------------- registers */

static uint32_t read_register(const struct tpm *tpm, unsigned at)
{
    const struct registers *regs = &tpm->regs;
    switch (at) {
    case LOC_STATE:
        return (uint32_t)(STATE_VALID | STATE_NOT_ESTABLISHED |
                          (regs->assigned ? STATE_ASSIGNED : 0));
    case LOC_STS:
        return regs->assigned ? STS_GRANTED : 0;
    case INTF_ID:
        return INTERFACE;
    case INTF_ID2:
        return VENDOR_IBM;
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

static void cancel(struct tpm *tpm)
{
    struct kv_error err;
    if (tpm->busy && !tpm->lost && swtpm_cancel(&tpm->backend, &err) < 0)
        lose(tpm, err.message);
}

static void cancel_on_loop(void *opaque)
{
    struct tpm *tpm = opaque;
    pthread_mutex_lock(&tpm->lock);
    cancel(tpm);
    pthread_mutex_unlock(&tpm->lock);
}

static void write_register(struct tpm *tpm, unsigned at, uint32_t value)
{
    struct registers *regs = &tpm->regs;
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
        if (value & 1 && tpm->busy)
            loop_post(tpm->loop, &tpm->cancel_work);
        break;
    case CTRL_START:
        if (value & 1 && !tpm->busy && assigned && !regs->idle && !tpm->lost)
            start_command(tpm);
        break;
    default:
        break;
    }
}

/* Buffer and registers may be read in pieces of any width. */
static uint64_t tpm_read(void *opaque, uint64_t offset, unsigned len)
{
    struct tpm *tpm = opaque;
    uint64_t value = 0;
    pthread_mutex_lock(&tpm->lock);
    for (unsigned i = 0; i < len; i++) {
        unsigned at = (unsigned)offset + i;
        uint64_t byte = 0;
        if (at < TPM_BUFFER)
            byte = read_register(tpm, at & ~3U) >> 8 * (at & 3) & 0xff;
        else if (at < TPM_REGION_SIZE)
            byte = tpm->regs.buffer[at - TPM_BUFFER];
        value |= byte << 8 * i;
    }
    pthread_mutex_unlock(&tpm->lock);
    return value;
}

static void tpm_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct tpm *tpm = opaque;
    pthread_mutex_lock(&tpm->lock);
    if (range_within(offset, len, TPM_BUFFER, TPM_BUFFER_SIZE)) {
        if (!tpm->busy)
            store_le(tpm->regs.buffer + (offset - TPM_BUFFER), value, len);
    } else if (offset < TPM_BUFFER && offset % 4 == 0) {
        write_register(tpm, (unsigned)offset, (uint32_t)value);
    }
    pthread_mutex_unlock(&tpm->lock);
}

const struct bus_ops tpm_bus_ops = {.read = tpm_read, .write = tpm_write};

/* ---------------------------------------------------------------- the machine's hooks */

static void power_on(struct tpm *tpm)
{
    memset(&tpm->regs, 0, sizeof(tpm->regs));
    tpm->regs.idle = true;
    tpm->regs.error = tpm->lost;
    end_command(tpm);
}

/* With the lock, which keeps the I/O thread's hands off: what is under way ends soon once it is
 * cancelled. */
static void drain(struct tpm *tpm)
{
    struct pollfd poller = {.fd = tpm->backend.data, .events = POLLIN};
    cancel(tpm);
    while (tpm->busy && poll(&poller, 1, CANCEL_MS) > 0)
        take_response(tpm);
    if (tpm->busy)
        lose(tpm, "swtpm does not end its command");
}

static void quiesce(struct device *device)
{
    struct tpm *tpm = of_device(device);
    struct pollfd poller = {.fd = tpm->backend.data, .events = POLLIN};
    pthread_mutex_lock(&tpm->lock);
    while (tpm->busy && poll(&poller, 1, CANCEL_MS) > 0)
        take_response(tpm);
    if (tpm->busy)
        drain(tpm);
    pthread_mutex_unlock(&tpm->lock);
}

static void reset(struct device *device)
{
    struct tpm *tpm = of_device(device);
    struct kv_error err;
    pthread_mutex_lock(&tpm->lock);
    if (tpm->busy)
        drain(tpm);
    if (!tpm->lost && swtpm_restart(&tpm->backend, TPM_BUFFER_SIZE, &err) < 0)
        lose(tpm, err.message);
    power_on(tpm);
    pthread_mutex_unlock(&tpm->lock);
}

static json_t *save(struct device *device)
{
    struct tpm *tpm = of_device(device);
    struct kv_error err;
    pthread_mutex_lock(&tpm->lock);
    json_t *kept = swtpm_save(&tpm->backend, &err);
    json_t *out = kept ? json_pack("{s:o, s:o}", "tpm", kept, "registers",
                                   hex_state_save(&tpm->regs, sizeof(tpm->regs)))
                       : NULL;
    pthread_mutex_unlock(&tpm->lock);
    if (!out)
        log_warning("%s: its state cannot be saved: %s", device->id, err.message);
    return out;
}

static int load(struct device *device, const json_t *state, struct kv_error *err)
{
    struct tpm *tpm = of_device(device);
    struct registers regs;
    if (!hex_state_load(json_object_get(state, "registers"), &regs, sizeof(regs)))
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': its state is not that of a TPM", device->id);
    pthread_mutex_lock(&tpm->lock);
    int rc = swtpm_load(&tpm->backend, json_object_get(state, "tpm"), TPM_BUFFER_SIZE, err);
    if (rc == 0) {
        tpm->regs = regs;
        end_command(tpm);
    }
    pthread_mutex_unlock(&tpm->lock);
    return rc;
}

static void metrics(struct device *device, json_t *out)
{
    struct tpm *tpm = of_device(device);
    pthread_mutex_lock(&tpm->lock);
    json_object_set_new(out, "commands", json_integer((json_int_t)tpm->commands));
    json_object_set_new(out, "lost", json_boolean(tpm->lost));
    pthread_mutex_unlock(&tpm->lock);
}

static void stop_listening(void *opaque)
{
    struct tpm *tpm = opaque;
    loop_remove(&tpm->source);
}

void tpm_free(struct tpm *tpm)
{
    loop_call(tpm->loop, stop_listening, tpm);
    swtpm_close(&tpm->backend);
    pthread_mutex_destroy(&tpm->lock);
    free(tpm);
}

static void free_device(struct device *device)
{
    struct machine *machine = device->machine;
    bus_unmap(&machine->mmio, LAYOUT_TPM_BASE);
    tpm_free(of_device(device));
}

const struct device_ops tpm_device_ops = {
    .type = TPM_TYPE,
    .quiesce = quiesce,
    .reset = reset,
    .save = save,
    .load = load,
    .metrics = metrics,
    .free = free_device,
};

/* ---------------------------------------------------------------- creation */

struct tpm *tpm_make(const struct swtpm *backend, struct loop *loop, struct kv_error *err)
{
    struct swtpm taken = *backend;
    struct tpm *tpm = calloc(1, sizeof(*tpm));
    if (!tpm) {
        swtpm_close(&taken);
        kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "tpm: out of memory");
        return NULL;
    }
    tpm->backend = taken;
    tpm->loop = loop;
    tpm->source = LOOP_SOURCE_INIT;
    tpm->cancel_work = (struct loop_work){.fn = cancel_on_loop, .opaque = tpm};
    pthread_mutex_init(&tpm->lock, NULL);
    power_on(tpm);
    int rc = loop_add(loop, &tpm->source, taken.data, EPOLLIN, on_response, tpm);
    if (rc == 0)
        return tpm;
    kv_error_errno(err, KV_ERR_DEVICE, -rc, "tpm: swtpm's responses cannot be watched");
    tpm_free(tpm);
    return NULL;
}

struct tpm_config {
    char *id, *backend;
    int model;
};

static const char *const models[] = {"crb", NULL};

static const struct option_spec tpm_options[] = {
    OPTION(STRING, struct tpm_config, backend, .required = true,
           .help = "control socket of swtpm --tpm2: unix:PATH, or fd:N of a connected one"),
    OPTION(ENUM, struct tpm_config, model, .values = models, .help = "default: crb"),
    OPTION(STRING, struct tpm_config, id, .help = "name of the device"),
    OPTION_END,
};

static int create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct tpm_config *config = opaque;
    struct swtpm backend;
    int rc = swtpm_open(&backend, config->backend, TPM_BUFFER_SIZE, err);
    if (rc < 0)
        return rc;
    struct tpm *tpm = tpm_make(&backend, machine_pick_loop(machine), err);
    if (!tpm)
        return -ENOMEM;
    rc = device_register(machine, &tpm->device, &tpm_device_ops, config->id, err);
    if (rc < 0) {
        tpm_free(tpm);
        return rc;
    }
    return bus_map(&machine->mmio,
                   &(struct bus_region){.base = LAYOUT_TPM_BASE,
                                        .size = TPM_REGION_SIZE,
                                        .ops = &tpm_bus_ops,
                                        .opaque = tpm,
                                        .name = TPM_TYPE},
                   err);
}

const struct device_class tpm_class = {
    .option = "tpm",
    .implied = "backend",
    .help = "a TPM 2.0 that swtpm is",
    .options = tpm_options,
    .config_size = sizeof(struct tpm_config),
    .create = create,
    .max = 1,
};
