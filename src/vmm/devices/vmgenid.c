/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VM generation ID (Microsoft's "Virtual Machine Generation ID" paper): 16
 * bytes of guest memory, to which the DSDT points, and a general-purpose event
 * when they change. Control thread only, but for the address.
 */
#include "vmm/devices/vmgenid.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/parse.h"
#include "vmm/devices/pm.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/layout.h"

#define GUID_BYTES 16

struct vmgenid {
    struct device device;
    uint8_t guid[GUID_BYTES]; /* in the order of its text */
    atomic_uint_fast64_t gpa; /* 0: firmware has not placed it yet */
};

static struct vmgenid *to_vmgenid(struct device *dev)
{
    return container_of(dev, struct vmgenid, device);
}

/* A GUID in memory has its first three fields little-endian. */
static void to_bytes(const struct vmgenid *gen, uint8_t bytes[GUID_BYTES])
{
    static const uint8_t order[GUID_BYTES] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    for (unsigned i = 0; i < GUID_BYTES; i++)
        bytes[i] = gen->guid[order[i]];
}

static int write_to_guest(struct vmgenid *gen)
{
    uint8_t bytes[GUID_BYTES];
    uint64_t gpa = atomic_load(&gen->gpa);
    to_bytes(gen, bytes);
    return gpa ? guest_mem_write(&gen->device.machine->mem, gpa, bytes, sizeof(bytes)) : 0;
}

static int choose_guid(uint8_t guid[GUID_BYTES], const char *text, struct kv_error *err)
{
    if (text && strcmp(text, "auto") != 0) {
        if (parse_uuid(text, guid) < 0)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                                "VM generation ID '%s': accepted are \"auto\" and a UUID", text);
        return 0;
    }
    if (getrandom(guid, GUID_BYTES, 0) != GUID_BYTES)
        return kv_error_errno(err, KV_ERR_DEVICE, errno, "VM generation ID: no random bytes");
    guid[6] = (uint8_t)((guid[6] & 0x0f) | 0x40); /* RFC 4122: version 4 */
    guid[8] = (uint8_t)((guid[8] & 0x3f) | 0x80);
    return 0;
}

static void format_guid(const uint8_t g[GUID_BYTES], char text[VMGENID_TEXT])
{
    snprintf(text, VMGENID_TEXT,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", g[0], g[1],
             g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11], g[12], g[13], g[14],
             g[15]);
}

static const struct device_ops vmgenid_ops;

static struct vmgenid *find(struct machine *machine)
{
    struct device *dev = device_find(machine, "vmgenid");
    return dev && dev->ops == &vmgenid_ops ? to_vmgenid(dev) : NULL;
}

int vmgenid_text(struct machine *machine, char text[VMGENID_TEXT])
{
    const struct vmgenid *gen = find(machine);
    if (!gen)
        return -ENOENT;
    format_guid(gen->guid, text);
    return 0;
}

int vmgenid_change(struct machine *machine, const char *guid, struct kv_error *err)
{
    struct vmgenid *gen = find(machine);
    if (!gen)
        return kv_error_set(err, KV_ERR_DEVICE, ENOENT, "the machine has no VM generation ID");
    int rc = choose_guid(gen->guid, guid, err);
    if (rc < 0)
        return rc;
    write_to_guest(gen);
    pm_gpe_raise(machine, GPE_VMGENID);
    return 0;
}

void vmgenid_bytes(struct machine *machine, uint8_t bytes[VMGENID_BYTES])
{
    const struct vmgenid *gen = find(machine);
    memset(bytes, 0, VMGENID_BYTES);
    if (gen)
        to_bytes(gen, bytes);
}

void vmgenid_place(struct machine *machine, uint64_t gpa)
{
    struct vmgenid *gen = find(machine);
    if (gen)
        atomic_store(&gen->gpa, gpa);
}

static void vmgenid_reset(struct device *dev)
{
    write_to_guest(to_vmgenid(dev));
}

static json_t *vmgenid_save(struct device *dev)
{
    char text[VMGENID_TEXT];
    format_guid(to_vmgenid(dev)->guid, text);
    return json_pack("{s:s, s:I}", "guid", text, "address",
                     (json_int_t)atomic_load(&to_vmgenid(dev)->gpa));
}

static int vmgenid_load(struct device *dev, const json_t *state, struct kv_error *err)
{
    const char *text = json_string_value(json_object_get(state, "guid"));
    if (!text || parse_uuid(text, to_vmgenid(dev)->guid) < 0)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL, "device '%s': no GUID in its state",
                            dev->id);
    atomic_store(&to_vmgenid(dev)->gpa,
                 (uint64_t)json_integer_value(json_object_get(state, "address")));
    write_to_guest(to_vmgenid(dev));
    return 0;
}

static void vmgenid_free(struct device *dev)
{
    free(to_vmgenid(dev));
}

static const struct device_ops vmgenid_ops = {
    .type = "vmgenid",
    .reset = vmgenid_reset,
    .save = vmgenid_save,
    .load = vmgenid_load,
    .free = vmgenid_free,
};

int vmgenid_create(struct machine *machine, struct kv_error *err)
{
    struct vmgenid *gen = calloc(1, sizeof(*gen));
    if (!gen)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "VM generation ID: out of memory");
    int rc = choose_guid(gen->guid, machine->config.vmgenid, err);
    if (rc == 0)
        rc = device_register(machine, &gen->device, &vmgenid_ops, "vmgenid", err);
    if (rc < 0) {
        free(gen);
        return rc;
    }
    atomic_init(&gen->gpa, machine_boots_firmware(&machine->config) ? 0 : LAYOUT_VMGENID);
    if (write_to_guest(gen) < 0)
        return kv_error_set(err, KV_ERR_DEVICE, EFAULT,
                            "VM generation ID: guest memory has no address 0x%llx",
                            (unsigned long long)LAYOUT_VMGENID);
    return 0;
}
