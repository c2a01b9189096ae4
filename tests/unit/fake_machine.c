/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See fake_machine.h. */
#include "fake_machine.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fake_machine *current;

void fake_machine_init(struct fake_machine *fake)
{
    memset(fake, 0, sizeof(*fake));
    struct machine *machine = &fake->machine;
    bus_init(&machine->pio, "port");
    bus_init(&machine->mmio, "mmio");
    list_init(&machine->devices);
    int rc = loop_init(&machine->loop, NULL);
    machine->memory.low_size = FAKE_MEMORY_SIZE;
    machine->config.firmware_fd = -1;
    machine->kvm.fd = machine->kvm.vm_fd = -1;
    struct guest_mem_region region = {
        .size = FAKE_MEMORY_SIZE, .hva = calloc(1, FAKE_MEMORY_SIZE), .fd = -1};
    rc |= guest_mem_add(&machine->mem, &region);
    assert(rc == 0);
    current = fake;
}

void fake_machine_destroy(struct fake_machine *fake)
{
    struct machine *machine = &fake->machine;
    while (!list_empty(&machine->devices)) {
        struct device *dev = list_entry(machine->devices.prev, struct device, node);
        device_unregister(dev);
        dev->ops->free(dev);
    }
    assert(machine->pio.count == 0 && machine->mmio.count == 0);
    free(machine->mem.regions[0].hva);
    loop_destroy(&machine->loop);
    bus_destroy(&machine->pio);
    bus_destroy(&machine->mmio);
    current = NULL;
}

int device_register(struct machine *machine, struct device *dev, const struct device_ops *ops,
                    const char *id, struct kv_error *err)
{
    dev->ops = ops;
    dev->machine = machine;
    snprintf(dev->id, sizeof(dev->id), "%s", id ? id : ops->type);
    list_add_tail(&machine->devices, &dev->node);
    return 0;
}

void device_unregister(struct device *dev)
{
    list_del(&dev->node);
}

struct device *device_find(struct machine *machine, const char *id)
{
    list_for_each (pos, &machine->devices) {
        struct device *dev = list_entry(pos, struct device, node);
        if (strcmp(dev->id, id) == 0)
            return dev;
    }
    return NULL;
}

static void set_line(void *opaque, unsigned gsi, bool high)
{
    struct fake_machine *fake = opaque;
    assert(gsi < 32);
    fake->edges[gsi] += high && !fake->lines[gsi];
    fake->lines[gsi] = high;
}

struct irq_line machine_irq_line(struct machine *machine, unsigned gsi)
{
    return (struct irq_line){.set = set_line, .opaque = current, .gsi = gsi};
}

void machine_emit(struct machine *machine, const char *event, json_t *data)
{
    json_decref(data);
}

void machine_request(struct machine *machine, enum machine_request request)
{
    current->requests |= (unsigned)request;
}

uint64_t port_read(struct fake_machine *fake, uint16_t port, unsigned len)
{
    struct bus_cache cache = {0};
    uint64_t value;
    bus_read(&fake->machine.pio, &cache, port, &value, len);
    return value;
}

void port_write(struct fake_machine *fake, uint16_t port, uint64_t value, unsigned len)
{
    struct bus_cache cache = {0};
    bus_write(&fake->machine.pio, &cache, port, value, len);
}

static void stop(void *opaque)
{
    loop_stop(opaque);
}

void fake_machine_run(struct fake_machine *fake, int64_t ns)
{
    struct loop_timer timer = {0};
    loop_timer_arm(&fake->machine.loop, &timer, ns, stop, &fake->machine.loop);
    loop_run(&fake->machine.loop);
}

void abuse_ports(struct fake_machine *fake, uint16_t first, unsigned count)
{
    static const uint64_t values[] = {UINT64_MAX, 0, UINT64_C(0x8000000080000000),
                                      UINT64_C(0x5555555555555555)};
    for (unsigned v = 0; v < ARRAY_SIZE(values); v++)
        for (uint16_t port = first; port < first + count; port++)
            for (unsigned len = 1; len <= 8; len *= 2) {
                port_write(fake, port, values[v], len);
                port_read(fake, port, len);
            }
}

void save_reset_load(struct device *dev)
{
    json_t *state = dev->ops->save(dev);
    char *text = json_dumps(state, 0);
    assert(text);
    json_decref(state);
    dev->ops->reset(dev);
    state = json_loads(text, 0, NULL);
    free(text);
    int rc = dev->ops->load(dev, state, NULL);
    assert(rc == 0);
    json_decref(state);
}

/* There are no vCPUs. */
void machine_synchronize(struct machine *machine)
{
}
