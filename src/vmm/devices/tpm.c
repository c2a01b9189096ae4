/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A TPM's commands: a vCPU writes one into the buffer by way of the interface's
 * registers, it is sent to swtpm when they say so; an I/O thread reads the
 * response and puts it into the buffer. While a command is under way the buffer
 * cannot be written, and what is sent is a copy. See tpm.h and tpm_internal.h.
 */

#include "vmm/devices/tpm_internal.h"

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

#define CANCEL_MS 10000 /* until a command that was cancelled has ended */

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
    bool ended = tpm->busy;
    tpm->busy = false;
    tpm->received = 0;
    if (ended && tpm->interface->ended)
        tpm->interface->ended(tpm);
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
void tpm_start_command(struct tpm *tpm)
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

void tpm_cancel_soon(struct tpm *tpm)
{
    if (tpm->busy)
        loop_post(tpm->loop, &tpm->cancel_work);
}

/* ---------------------------------------------------------------- registers */

static uint64_t tpm_read(void *opaque, uint64_t offset, unsigned len)
{
    struct tpm *tpm = opaque;
    pthread_mutex_lock(&tpm->lock);
    uint64_t value = tpm->interface->read(tpm, (unsigned)offset, len);
    pthread_mutex_unlock(&tpm->lock);
    return value;
}

static void tpm_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct tpm *tpm = opaque;
    pthread_mutex_lock(&tpm->lock);
    tpm->interface->write(tpm, (unsigned)offset, value, len);
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
                                   hex_state_save(&tpm->regs, tpm->interface->saved))
                       : NULL;
    pthread_mutex_unlock(&tpm->lock);
    if (!out)
        log_warning("%s: its state cannot be saved: %s", device->id, err.message);
    return out;
}

static int load(struct device *device, const json_t *state, struct kv_error *err)
{
    struct tpm *tpm = of_device(device);
    struct tpm_registers regs = {0};
    if (!hex_state_load(json_object_get(state, "registers"), &regs, tpm->interface->saved) ||
        (tpm->interface->check && !tpm->interface->check(&regs)))
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

#define DEVICE_OPS(type_)                                                                \
    {                                                                                    \
        .type = (type_), .quiesce = quiesce, .reset = reset, .save = save, .load = load, \
        .metrics = metrics, .free = free_device,                                         \
    }

enum tpm_model { MODEL_CRB, MODEL_TIS };

static const struct {
    const struct tpm_interface *interface;
    struct device_ops ops;
} kinds[] = {
    [MODEL_CRB] = {&tpm_crb, DEVICE_OPS(TPM_CRB)},
    [MODEL_TIS] = {&tpm_fifo, DEVICE_OPS(TPM_TIS)},
};

const struct device_ops *tpm_device_ops(const struct tpm_interface *interface)
{
    return &kinds[interface == &tpm_fifo ? MODEL_TIS : MODEL_CRB].ops;
}

/* ---------------------------------------------------------------- creation */

struct tpm *tpm_make(const struct tpm_interface *interface, const struct swtpm *backend,
                     struct loop *loop, struct kv_error *err)
{
    struct swtpm taken = *backend;
    struct tpm *tpm = calloc(1, sizeof(*tpm));
    if (!tpm) {
        swtpm_close(&taken);
        kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "tpm: out of memory");
        return NULL;
    }
    tpm->interface = interface;
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

static const char *const models[] = {[MODEL_CRB] = "crb", [MODEL_TIS] = "tis", NULL};

static const struct option_spec tpm_options[] = {
    OPTION(STRING, struct tpm_config, backend, .required = true,
           .help = "control socket of swtpm --tpm2: unix:PATH, or fd:N of a connected one"),
    OPTION(ENUM, struct tpm_config, model, .values = models,
           .help = "what the guest finds: a command response buffer (the default), or a FIFO"),
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
    const struct tpm_interface *interface = kinds[config->model].interface;
    struct tpm *tpm = tpm_make(interface, &backend, machine_pick_loop(machine), err);
    if (!tpm)
        return -ENOMEM;
    rc = device_register(machine, &tpm->device, &kinds[config->model].ops, config->id, err);
    if (rc < 0) {
        tpm_free(tpm);
        return rc;
    }
    return bus_map(&machine->mmio,
                   &(struct bus_region){.base = LAYOUT_TPM_BASE,
                                        .size = interface->region_size,
                                        .ops = &tpm_bus_ops,
                                        .opaque = tpm,
                                        .name = interface->type},
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
