/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a guest that writes and reads the flash of firmware's variables,
 * while it is saved, loaded and reset. Each 8 bytes of input are one act. An
 * array that is shown has the bytes of a model beside it: programming clears
 * bits, a confirmed erasure sets those of one block; in the end the file has
 * them, too.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "fake_machine.h"
#include "require.h"
#include "vmm/devices/flash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BASE UINT64_C(0xffc00000)
#define SIZE (4 * FLASH_BLOCK)

struct act {
    uint8_t kind, width;
    uint16_t where;
    uint32_t value;
} __attribute__((packed));

static struct fake_machine fake;
static struct bus_cache cache;
static struct device *flash;
static int file;
static uint8_t model[SIZE], pending; /* the command that waits for its second write */

static void build(void)
{
    log_level = LOG_ERROR;
    file = memfd_create("vars", MFD_CLOEXEC);
    require(ftruncate(file, SIZE) == 0);
    fake_machine_init(&fake);
    const struct flash_config config = {.name = "vars", .fd = file, .base = BASE, .size = SIZE};
    require(flash_create(&fake.machine, &config, NULL) == 0);
    flash = list_entry(fake.machine.devices.next, struct device, node);
}

static void put(uint32_t offset, uint64_t value, unsigned len)
{
    if (!bus_write(&fake.machine.mmio, &cache, BASE + offset, value, len))
        return;
    uint8_t first = (uint8_t)value, command = pending;
    bool waits = first == 0x10 || first == 0x40 || first == 0x20 || first == 0x60;
    pending = !command && waits ? first : 0;
    if (command == 0x10 || command == 0x40)
        for (unsigned i = 0; i < len; i++)
            model[offset + i] &= (uint8_t)(value >> 8 * i);
    if (command == 0x20 && first == 0xd0)
        memset(model + ALIGN_DOWN(offset, FLASH_BLOCK), 0xff, FLASH_BLOCK);
}

static void compare_array(uint32_t offset, unsigned len)
{
    uint64_t value = 0;
    if (pending || offset + len > SIZE)
        return;
    put(0, 0xff, 1);
    require(bus_read(&fake.machine.mmio, &cache, BASE + offset, &value, len));
    require(memcmp(&value, model + offset, len) == 0);
}

static void compare_file(void)
{
    static uint8_t bytes[SIZE];
    flash->ops->quiesce(flash);
    require(pread(file, bytes, SIZE, 0) == SIZE && memcmp(bytes, model, SIZE) == 0);
}

static void perform(const struct act *act)
{
    unsigned len = 1u << act->width % 4;
    uint32_t offset = act->where % SIZE;
    uint64_t value;
    switch (act->kind % 8) {
    case 0:
    case 1:
    case 2:
        put(offset, act->value * UINT64_C(0x100000001), len);
        break;
    case 3: /* as drivers do */
        put(offset, 0x20, 1);
        put(offset, 0xd0, 1);
        break;
    case 4:
        bus_read(&fake.machine.mmio, &cache, BASE + offset, &value, len);
        break;
    case 5:
        compare_array(offset, len);
        break;
    case 6:
        save_reset_load(flash);
        compare_file();
        break;
    default:
        flash->ops->reset(flash);
        pending = 0;
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool built;
    if (!built)
        build();
    built = true;
    for (size_t at = 0; at + sizeof(struct act) <= size; at += sizeof(struct act)) {
        struct act act;
        memcpy(&act, data + at, sizeof(act));
        perform(&act);
    }
    flash->ops->reset(flash);
    pending = 0;
    compare_file();
    for (uint32_t offset = 0; offset < SIZE; offset += 512)
        compare_array(offset, 8);
    return 0;
}
