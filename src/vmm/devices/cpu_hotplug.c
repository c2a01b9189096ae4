/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers of vCPUs that are plugged and unplugged; see cpu_hotplug.h.
 * vCPU threads read and write them; what a write asks for is carried out on
 * the control thread.
 */
#include "vmm/devices/cpu_hotplug.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "vmm/devices/pm.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/layout.h"

/* What the guest is asked and has not answered. */
#define ASKED (CPU_HOTPLUG_INSERTED | CPU_HOTPLUG_WANTED_BACK)
/* What is left to do; no register shows it. */
#define GIVEN_UP 0x100 /* park the vCPU */
#define KEPT 0x200     /* tell that the guest keeps it */
#define PENDING 0x400  /* it was asked to go and is there still */

struct cpu_hotplug {
    struct device device;
    pthread_mutex_t lock; /* flags */
    uint16_t *flags;      /* of each vCPU */
    struct loop_work work;
};

static struct cpu_hotplug *to_hotplug(struct device *dev)
{
    return container_of(dev, struct cpu_hotplug, device);
}

static bool can_be_plugged(const struct cpu_hotplug *hotplug, uint64_t index)
{
    const struct machine *machine = hotplug->device.machine;
    return index >= machine->config.cpus.count && index < machine->vcpu_count;
}

static void tell(struct cpu_hotplug *hotplug, const char *event, unsigned index)
{
    machine_emit(hotplug->device.machine, event,
                 json_pack("{s:o, s:o}", "device", json_sprintf("vcpu%u", index), "path",
                           json_sprintf("/machine/peripheral/vcpu%u", index)));
}

static uint16_t take(struct cpu_hotplug *hotplug, unsigned index, unsigned flags)
{
    pthread_mutex_lock(&hotplug->lock);
    uint16_t taken = hotplug->flags[index] & flags;
    hotplug->flags[index] &= (uint16_t)~flags;
    pthread_mutex_unlock(&hotplug->lock);
    return taken;
}

static void carry_out(void *opaque)
{
    struct cpu_hotplug *hotplug = opaque;
    struct machine *machine = hotplug->device.machine;
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        uint16_t work = take(hotplug, i, GIVEN_UP | KEPT);
        if (work & GIVEN_UP) {
            vcpu_unplug(&machine->vcpus[i]);
            tell(hotplug, "DEVICE_DELETED", i);
        } else if (work & KEPT) {
            tell(hotplug, "DEVICE_UNPLUG_GUEST_ERROR", i);
        }
    }
}

static uint64_t read_registers(void *opaque, uint64_t offset, unsigned len)
{
    struct cpu_hotplug *hotplug = opaque;
    uint64_t value = 0;
    pthread_mutex_lock(&hotplug->lock);
    for (unsigned i = 0; i < len; i++)
        value |= (uint64_t)(hotplug->flags[offset + i] & 0xff) << 8 * i;
    pthread_mutex_unlock(&hotplug->lock);
    return value;
}

/* Under lock. What nobody asked for stays: whoever manages the machine counts on it. */
static void write_register(struct cpu_hotplug *hotplug, uint64_t index, uint8_t value)
{
    uint16_t *flags = &hotplug->flags[index];
    *flags &= (uint16_t) ~(value & ASKED);
    if (!(*flags & PENDING))
        return;
    if (value & CPU_HOTPLUG_EJECT)
        *flags = GIVEN_UP;
    else if (value & CPU_HOTPLUG_REFUSED)
        *flags = (uint16_t)((*flags & ~PENDING) | KEPT);
}

static void write_registers(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct cpu_hotplug *hotplug = opaque;
    bool work = false;
    pthread_mutex_lock(&hotplug->lock);
    for (unsigned i = 0; i < len; i++) {
        write_register(hotplug, offset + i, (uint8_t)(value >> 8 * i));
        work |= hotplug->flags[offset + i] & (GIVEN_UP | KEPT);
    }
    pthread_mutex_unlock(&hotplug->lock);
    if (work)
        loop_post(&hotplug->device.machine->loop, &hotplug->work);
}

static const struct bus_ops registers = {.read = read_registers, .write = write_registers};

static const struct device_ops hotplug_ops;

static struct cpu_hotplug *find(struct machine *machine, unsigned index, struct kv_error *err)
{
    struct device *dev = device_find(machine, CPU_HOTPLUG_TYPE);
    struct cpu_hotplug *hotplug = dev && dev->ops == &hotplug_ops ? to_hotplug(dev) : NULL;
    if (!hotplug || !can_be_plugged(hotplug, index)) {
        unsigned first = (unsigned)machine->config.cpus.count, count = machine->vcpu_count;
        if (first == count)
            kv_error_set(
                err, KV_ERR_DEVICE, ENOENT,
                "vCPU %u cannot be plugged: the machine has %u from the start and no place "
                "for more (--cpus max)",
                index, count);
        else
            kv_error_set(err, KV_ERR_DEVICE, ENOENT,
                         "vCPU %u cannot be plugged or unplugged; accepted: %u to %u", index, first,
                         count - 1);
        return NULL;
    }
    return hotplug;
}

int cpu_hotplug_plug(struct machine *machine, unsigned index, struct kv_error *err)
{
    struct cpu_hotplug *hotplug = find(machine, index, err);
    if (!hotplug)
        return -ENOENT;
    carry_out(hotplug); /* one that is being given up is gone first */
    if (vcpu_is_present(&machine->vcpus[index]))
        return kv_error_set(err, KV_ERR_DEVICE, EEXIST, "vCPU %u is plugged already", index);
    int rc = vcpu_plug(&machine->vcpus[index], err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&hotplug->lock);
    hotplug->flags[index] = CPU_HOTPLUG_PRESENT | CPU_HOTPLUG_INSERTED;
    pthread_mutex_unlock(&hotplug->lock);
    pm_gpe_raise(machine, GPE_CPU_HOTPLUG);
    return 0;
}

int cpu_hotplug_unplug(struct machine *machine, unsigned index, struct kv_error *err)
{
    struct cpu_hotplug *hotplug = find(machine, index, err);
    if (!hotplug)
        return -ENOENT;
    pthread_mutex_lock(&hotplug->lock);
    bool present = hotplug->flags[index] & CPU_HOTPLUG_PRESENT;
    if (present)
        hotplug->flags[index] |= CPU_HOTPLUG_WANTED_BACK | PENDING;
    pthread_mutex_unlock(&hotplug->lock);
    if (!present)
        return kv_error_set(err, KV_ERR_DEVICE, ENOENT, "vCPU %u is not plugged", index);
    pm_gpe_raise(machine, GPE_CPU_HOTPLUG);
    return 0;
}

/* Whoever was to go goes now: there is no guest that holds on to it. */
static void hotplug_reset(struct device *dev)
{
    struct cpu_hotplug *hotplug = to_hotplug(dev);
    pthread_mutex_lock(&hotplug->lock);
    for (unsigned i = 0; i < dev->machine->vcpu_count; i++) {
        if (hotplug->flags[i] & (PENDING | GIVEN_UP))
            hotplug->flags[i] = GIVEN_UP;
        else
            hotplug->flags[i] &= CPU_HOTPLUG_PRESENT;
    }
    pthread_mutex_unlock(&hotplug->lock);
    carry_out(hotplug);
}

static json_t *hotplug_save(struct device *dev)
{
    const struct cpu_hotplug *hotplug = to_hotplug(dev);
    json_t *list = json_array();
    for (unsigned i = 0; i < dev->machine->vcpu_count; i++)
        json_array_append_new(list, json_integer(hotplug->flags[i]));
    return json_pack("{s:o}", "flags", list);
}

static int hotplug_load(struct device *dev, const json_t *state, struct kv_error *err)
{
    struct cpu_hotplug *hotplug = to_hotplug(dev);
    struct machine *machine = dev->machine;
    const json_t *list = json_object_get(state, "flags");
    if (json_array_size(list) != machine->vcpu_count)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': its state is of %zu vCPUs; there are %u", dev->id,
                            json_array_size(list), machine->vcpu_count);
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        unsigned flags = (unsigned)json_integer_value(json_array_get(list, i));
        bool present = i < machine->config.cpus.count || (flags & CPU_HOTPLUG_PRESENT);
        hotplug->flags[i] = (uint16_t)(flags & (ASKED | GIVEN_UP | KEPT | PENDING));
        hotplug->flags[i] |= present ? CPU_HOTPLUG_PRESENT : 0;
        if (!present && !(flags & GIVEN_UP)) {
            vcpu_unplug(&machine->vcpus[i]);
        } else if (!vcpu_is_present(&machine->vcpus[i])) {
            int rc = vcpu_plug(&machine->vcpus[i], err);
            if (rc < 0)
                return rc;
        }
    }
    carry_out(hotplug);
    return 0;
}

static void hotplug_free(struct device *dev)
{
    struct cpu_hotplug *hotplug = to_hotplug(dev);
    pthread_mutex_destroy(&hotplug->lock);
    free(hotplug->flags);
    free(hotplug);
}

static const struct device_ops hotplug_ops = {
    .type = CPU_HOTPLUG_TYPE,
    .reset = hotplug_reset,
    .save = hotplug_save,
    .load = hotplug_load,
    .free = hotplug_free,
};

int cpu_hotplug_create(struct machine *machine, struct kv_error *err)
{
    if (machine->config.cpus.max == machine->config.cpus.count)
        return 0;
    struct cpu_hotplug *hotplug = calloc(1, sizeof(*hotplug));
    if (hotplug)
        hotplug->flags = calloc(machine->vcpu_count, sizeof(*hotplug->flags));
    if (!hotplug || !hotplug->flags) {
        free(hotplug);
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "CPU hotplug: out of memory");
    }
    pthread_mutex_init(&hotplug->lock, NULL);
    hotplug->work = (struct loop_work){.fn = carry_out, .opaque = hotplug};
    for (unsigned i = 0; i < machine->config.cpus.count; i++)
        hotplug->flags[i] = CPU_HOTPLUG_PRESENT;
    int rc = device_register(machine, &hotplug->device, &hotplug_ops, CPU_HOTPLUG_TYPE, err);
    if (rc < 0) {
        hotplug->device.machine = machine;
        hotplug_free(&hotplug->device);
        return rc;
    }
    return bus_map(&machine->mmio,
                   &(struct bus_region){.base = LAYOUT_CPU_HOTPLUG_BASE,
                                        .size = machine->vcpu_count,
                                        .ops = &registers,
                                        .opaque = hotplug,
                                        .name = CPU_HOTPLUG_TYPE},
                   err); /* on error the machine frees its devices, this one too */
}
