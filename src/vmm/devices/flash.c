/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NOR flash; see flash.h. While the chip shows its array, guests read it as
 * read-only memory of KVM's, without an exit; writes, which are commands, always
 * exit. From the first command on reads exit, too. Giving the memory back to
 * KVM takes milliseconds, so that waits until somebody reads a lot.
 *
 * What is programmed goes to the file when the guest turns to something else
 * than the next byte. The file's contents are not part of the saved state, as
 * with a disk.
 */
#include "vmm/devices/flash.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "vmm/machine/machine.h"

#define READS_UNTIL_SHOWN 16 /* one after the other, before the array is memory again */

enum command {
    COMMAND_NONE = 0,
    COMMAND_PROGRAM_ALTERNATE = 0x10,
    COMMAND_ERASE = 0x20,
    COMMAND_PROGRAM = 0x40,
    COMMAND_CLEAR_STATUS = 0x50,
    COMMAND_LOCK = 0x60,
    COMMAND_READ_STATUS = 0x70,
    COMMAND_READ_ID = 0x90,
    COMMAND_QUERY = 0x98,
    COMMAND_CONFIRM = 0xd0,
    COMMAND_AMD_RESET = 0xf0, /* of the other command set; drivers that look for a chip send it */
    COMMAND_READ_ARRAY = 0xff,
};

#define STATUS_PROGRAM_ERROR BIT(4)
#define STATUS_ERASE_ERROR BIT(5)
#define STATUS_READY BIT(7)
#define STATUS_MASK 0xff

#define ID_MAKER 0x89
#define ID_DEVICE 0x18

enum show { SHOW_ARRAY, SHOW_STATUS, SHOW_ID, SHOW_QUERY, SHOW_KINDS };

/* The answer to a query: offsets 0x10 to 0x30. Sizes are filled in. */
#define QUERY_FIRST 0x10
#define QUERY_SIZE 0x27     /* n: 2^n bytes, the next power of two */
#define QUERY_BLOCKS 0x2d   /* 2 bytes: blocks less one */
#define QUERY_EXTENDED 0x31 /* where Intel's own table begins */
static const uint8_t query_template[] = {
    'Q',
    'R',
    'Y',
    1,
    0, /* the command set: Intel, extended */
    QUERY_EXTENDED,
    0, /* its own table */
    0,
    0,
    0,
    0, /* no alternative */
    0x45,
    0x55,
    0,
    0, /* volts */
    7,
    0,
    10,
    0,
    4,
    0,
    4,
    0, /* typical and greatest times: 2^n us, 2^n ms */
    0,
    0,
    0,
    0,
    0, /* size; an 8-bit bus; no buffer for programming */
    1,
    0,
    0,
    FLASH_BLOCK / 256 % 256,
    FLASH_BLOCK / 256 / 256, /* one region of equal blocks */
    'P',
    'R',
    'I',
    '1',
    '0',
    0,
    0,
    0,
    0,
    0,
    0,
    0, /* no optional features */
};

struct flash {
    struct device device;
    uint64_t base;
    uint32_t size;
    int fd;
    unsigned slot;        /* of KVM's memory */
    pthread_mutex_t lock; /* everything below */
    uint8_t *data;        /* what KVM shows, too */
    bool shown;           /* as memory */
    unsigned reads;       /* exits since the array could be shown */
    uint8_t show, command, status;
    uint32_t dirty_start, dirty_end; /* not in the file yet */
};

static struct flash *to_flash(struct device *dev)
{
    return container_of(dev, struct flash, device);
}

/* Where KVM does not take it, every read exits. */
static void show_memory(struct flash *flash, bool on)
{
    struct kvm *kvm = &flash->device.machine->kvm;
    flash->reads = 0;
    if (flash->shown == on)
        return;
    int rc = kvm_set_memory(kvm, flash->slot, flash->base, on ? flash->size : 0, flash->data,
                            KVM_MEM_READONLY);
    if (rc == 0)
        flash->shown = on;
    else
        log_guest("%s: the memory of KVM's cannot be %s: %s", flash->device.id,
                  on ? "set" : "removed", strerror(-rc));
}

/* ---------------------------------------------------------------- the file */

static int write_out(struct flash *flash)
{
    while (flash->dirty_start < flash->dirty_end) {
        ssize_t n = pwrite(flash->fd, flash->data + flash->dirty_start,
                           flash->dirty_end - flash->dirty_start, flash->dirty_start);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            log_guest("%s: the variables' file cannot be written: %s", flash->device.id,
                      strerror(n < 0 ? errno : EIO));
            return -EIO;
        }
        flash->dirty_start += (uint32_t)n;
    }
    flash->dirty_start = flash->dirty_end = 0;
    return 0;
}

/* Bytes of the array changed; those that do not touch the others wait for nobody. */
static int mark_dirty(struct flash *flash, uint32_t start, uint32_t len)
{
    bool apart = start > flash->dirty_end || start + len < flash->dirty_start;
    if (flash->dirty_start < flash->dirty_end && apart && write_out(flash) < 0)
        return -EIO;
    bool empty = flash->dirty_start == flash->dirty_end;
    flash->dirty_start = empty ? start : MIN(flash->dirty_start, start);
    flash->dirty_end = empty ? start + len : MAX(flash->dirty_end, start + len);
    return 0;
}

/* ---------------------------------------------------------------- commands */

static void turn_to(struct flash *flash, enum show show)
{
    flash->show = (uint8_t)show;
    if (show == SHOW_ARRAY)
        flash->reads = 0;
    else
        show_memory(flash, false);
    if (write_out(flash) < 0)
        flash->status |= STATUS_PROGRAM_ERROR;
}

static void begin(struct flash *flash, uint32_t offset, uint8_t command)
{
    switch (command) {
    case COMMAND_PROGRAM:
    case COMMAND_PROGRAM_ALTERNATE:
        flash->command = command;
        flash->show = SHOW_STATUS;
        show_memory(flash, false);
        break;
    case COMMAND_ERASE:
    case COMMAND_LOCK:
        flash->command = command;
        turn_to(flash, SHOW_STATUS);
        break;
    case COMMAND_CLEAR_STATUS:
        /* The ready bit, too, which a real chip keeps: OVMF knows this chip by that. */
        turn_to(flash, SHOW_ARRAY);
        flash->status = 0;
        break;
    case COMMAND_READ_STATUS:
        turn_to(flash, SHOW_STATUS);
        break;
    case COMMAND_READ_ID:
        turn_to(flash, SHOW_ID);
        break;
    case COMMAND_QUERY:
        turn_to(flash, SHOW_QUERY);
        break;
    case COMMAND_READ_ARRAY:
    case COMMAND_AMD_RESET:
        turn_to(flash, SHOW_ARRAY);
        break;
    default:
        log_guest("%s: command 0x%02x at 0x%x is unknown", flash->device.id, command, offset);
        turn_to(flash, SHOW_ARRAY);
    }
}

/* Programming clears bits; only erasing sets them. */
static void program(struct flash *flash, uint32_t offset, uint64_t value, unsigned len)
{
    flash->status |= STATUS_READY;
    if (mark_dirty(flash, offset, len) < 0) {
        flash->status |= STATUS_PROGRAM_ERROR;
        return;
    }
    for (unsigned i = 0; i < len; i++)
        flash->data[offset + i] &= (uint8_t)(value >> 8 * i);
}

static void erase(struct flash *flash, uint32_t offset, uint8_t confirmation)
{
    uint32_t block = ALIGN_DOWN(offset, FLASH_BLOCK);
    flash->status |= STATUS_READY;
    if (confirmation != COMMAND_CONFIRM) {
        flash->status |= STATUS_PROGRAM_ERROR | STATUS_ERASE_ERROR; /* a wrong sequence */
    } else if (mark_dirty(flash, block, FLASH_BLOCK) < 0) {
        flash->status |= STATUS_ERASE_ERROR;
    } else {
        memset(flash->data + block, 0xff, FLASH_BLOCK);
    }
}

static void flash_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct flash *flash = opaque;
    pthread_mutex_lock(&flash->lock);
    uint8_t command = flash->command;
    flash->command = COMMAND_NONE;
    switch (command) {
    case COMMAND_NONE:
        begin(flash, (uint32_t)offset, (uint8_t)value);
        break;
    case COMMAND_ERASE:
        erase(flash, (uint32_t)offset, (uint8_t)value);
        break;
    case COMMAND_LOCK: /* no block is ever locked */
        flash->status |= STATUS_READY;
        break;
    default:
        program(flash, (uint32_t)offset, value, len);
    }
    pthread_mutex_unlock(&flash->lock);
}

static uint8_t query_byte(const struct flash *flash, uint32_t offset)
{
    uint32_t blocks = flash->size / FLASH_BLOCK - 1;
    switch (offset) {
    case QUERY_SIZE:
        return (uint8_t)(32 - __builtin_clz(flash->size - 1));
    case QUERY_BLOCKS:
        return (uint8_t)blocks;
    case QUERY_BLOCKS + 1:
        return (uint8_t)(blocks >> 8);
    default:
        return offset - QUERY_FIRST < sizeof(query_template) ? query_template[offset - QUERY_FIRST]
                                                             : 0;
    }
}

static uint8_t id_byte(uint32_t offset)
{
    switch (offset % FLASH_BLOCK) {
    case 0:
        return ID_MAKER;
    case 1:
        return ID_DEVICE;
    default:
        return 0; /* the third: the block is not locked */
    }
}

static uint8_t byte_at(const struct flash *flash, uint32_t offset)
{
    switch (flash->show) {
    case SHOW_STATUS:
        return flash->status;
    case SHOW_ID:
        return id_byte(offset);
    case SHOW_QUERY:
        return query_byte(flash, offset % FLASH_BLOCK);
    default:
        return flash->data[offset];
    }
}

static uint64_t flash_read(void *opaque, uint64_t offset, unsigned len)
{
    struct flash *flash = opaque;
    uint64_t value = 0;
    pthread_mutex_lock(&flash->lock);
    for (unsigned i = 0; i < len; i++)
        value |= (uint64_t)byte_at(flash, (uint32_t)offset + i) << 8 * i;
    if (flash->show == SHOW_ARRAY && ++flash->reads > READS_UNTIL_SHOWN)
        show_memory(flash, true);
    pthread_mutex_unlock(&flash->lock);
    return value;
}

static const struct bus_ops flash_ops_mmio = {.read = flash_read, .write = flash_write};

/* ---------------------------------------------------------------- device */

static void flash_quiesce(struct device *dev)
{
    struct flash *flash = to_flash(dev);
    pthread_mutex_lock(&flash->lock);
    if (write_out(flash) == 0)
        fdatasync(flash->fd);
    pthread_mutex_unlock(&flash->lock);
}

/* The array keeps what it holds. */
static void flash_reset(struct device *dev)
{
    struct flash *flash = to_flash(dev);
    pthread_mutex_lock(&flash->lock);
    flash->command = COMMAND_NONE;
    flash->status = STATUS_READY;
    turn_to(flash, SHOW_ARRAY);
    show_memory(flash, true);
    pthread_mutex_unlock(&flash->lock);
}

static json_t *flash_save(struct device *dev)
{
    const struct flash *flash = to_flash(dev);
    return json_pack("{s:i, s:i, s:i}", "show", flash->show, "command", flash->command, "status",
                     flash->status);
}

static int flash_load(struct device *dev, const json_t *state, struct kv_error *err)
{
    struct flash *flash = to_flash(dev);
    int show, command, status;
    if (json_unpack((json_t *)state, "{s:i, s:i, s:i}", "show", &show, "command", &command,
                    "status", &status) < 0 ||
        show < 0 || show >= SHOW_KINDS || command < 0 || command > UINT8_MAX)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': its state is not show, command and status", dev->id);
    pthread_mutex_lock(&flash->lock);
    flash->command = (uint8_t)command;
    flash->status = (uint8_t)(status & STATUS_MASK);
    turn_to(flash, (enum show)show);
    pthread_mutex_unlock(&flash->lock);
    return 0;
}

static void flash_free(struct device *dev)
{
    struct flash *flash = to_flash(dev);
    flash_quiesce(dev);
    bus_unmap(&dev->machine->mmio, flash->base);
    show_memory(flash, false);
    munmap(flash->data, flash->size);
    pthread_mutex_destroy(&flash->lock);
    free(flash);
}

static const struct device_ops flash_ops = {
    .type = "flash",
    .quiesce = flash_quiesce,
    .reset = flash_reset,
    .save = flash_save,
    .load = flash_load,
    .free = flash_free,
};

int flash_create(struct machine *machine, const struct flash_config *config, struct kv_error *err)
{
    struct flash *flash = calloc(1, sizeof(*flash));
    if (!flash)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "flash: out of memory");
    flash->data =
        mmap(NULL, config->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (flash->data == MAP_FAILED) {
        free(flash);
        return kv_error_errno(err, KV_ERR_DEVICE, errno, "flash");
    }
    flash->base = config->base;
    flash->size = config->size;
    flash->fd = config->fd;
    flash->status = STATUS_READY;
    pthread_mutex_init(&flash->lock, NULL);
    int rc = fd_pread_all(flash->fd, flash->data, flash->size, 0);
    if (rc < 0)
        kv_error_errno(err, KV_ERR_DEVICE, -rc, "'%s': reading it", config->name);
    else
        rc = device_register(machine, &flash->device, &flash_ops, "nvram", err);
    if (rc < 0) {
        munmap(flash->data, flash->size);
        pthread_mutex_destroy(&flash->lock);
        free(flash);
        return rc;
    }
    flash->slot = kvm_new_slot(&machine->kvm);
    show_memory(flash, true);
    return bus_map(&machine->mmio,
                   &(struct bus_region){.base = flash->base,
                                        .size = flash->size,
                                        .ops = &flash_ops_mmio,
                                        .opaque = flash,
                                        .name = flash->device.id},
                   err);
}
