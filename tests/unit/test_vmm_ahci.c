/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AHCI driven through its registers, on fake guest memory and files in memory. */
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sata_guest.h"
#include "unit.h"

#define GOOD ATA_READY
#define FAILED(error_) ((error_) << 8 | ATA_READY | ATA_ERR)
#define DISK 0
#define CD 1

static struct sata_guest g;
static int disk_fd, cd_fd;

static int file(const char *name, off_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, size), 0);
    return fd;
}

static int setup(void **state)
{
    disk_fd = file("disk", SATA_DISK_SIZE);
    cd_fd = file("cd", SATA_CD_SIZE);
    sata_guest_init(&g, dup(disk_fd), dup(cd_fd));
    sata_start(&g, DISK);
    sata_start(&g, CD);
    return 0;
}

static int teardown(void **state)
{
    sata_guest_destroy(&g);
    close(disk_fd);
    close(cd_fd);
    return 0;
}

static void fill(uint8_t byte, size_t len)
{
    memset(g.memory + SATA_DATA, byte, len);
}

static void assert_file(int fd, off_t at, size_t len, uint8_t byte)
{
    uint8_t *data = malloc(len);
    assert_int_equal(pread(fd, data, len, at), len);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(data[i], byte);
    free(data);
}

static void restart(unsigned port)
{
    sata_write(&g, port, PX_CMD, (uint32_t)CMD_FRE);
    assert_false(sata_read(&g, port, PX_CMD) & CMD_CR);
    sata_write(&g, port, PX_IS, UINT32_MAX);
    sata_write(&g, port, PX_CMD, (uint32_t)(CMD_FRE | CMD_ST));
}

static uint32_t packet(const uint8_t cdb[12], uint32_t len)
{
    return sata_do(&g, CD, &(struct sata_command){.code = 0xa0, .packet = cdb, .data_len = len});
}

/* A command until the drive has no more news to tell. */
static uint32_t packet_past_news(const uint8_t cdb[12], uint32_t len)
{
    uint32_t status = packet(cdb, len);
    while (status == FAILED(0x60)) {
        restart(CD);
        status = packet(cdb, len);
    }
    return status;
}

static void a_disk_says_what_it_is_and_its_size(void **state)
{
    const struct sata_command identify = {.code = 0xec, .data_len = 512};
    assert_int_equal(sata_do(&g, DISK, &identify), GOOD);
    const uint8_t *data = g.memory + SATA_DATA;
    assert_int_equal(load_le(data + 200, 8), SATA_DISK_SIZE / 512);
    assert_memory_equal(data + 20, "esirla", 6); /* "serial", its bytes in pairs */
    uint8_t sum = 0;
    for (unsigned i = 0; i < 512; i++)
        sum = (uint8_t)(sum + data[i]);
    assert_int_equal(sum, 0);
    assert_true(sata_read(&g, DISK, PX_IS) & IS_PSS);
    assert_int_equal(sata_do(&g, DISK, &(struct sata_command){.code = 0xa1}), FAILED(4));
}

static void what_is_written_is_read_whatever_the_command(void **state)
{
    static const struct {
        uint8_t write, read;
        bool queued;
    } ways[] = {{0xca, 0xc8, false}, {0x35, 0x25, false}, {0x30, 0x20, false}, {0x61, 0x60, true}};
    for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
        struct sata_command c = {.code = ways[i].write,
                                 .sector = 100 + i,
                                 .count = 3,
                                 .device = 0x40,
                                 .queued = ways[i].queued,
                                 .write = true,
                                 .data_len = 1536};
        fill((uint8_t)(0x30 + i), 1536);
        assert_int_equal(sata_do(&g, DISK, &c), GOOD);
        assert_file(disk_fd, (off_t)(100 + i) * 512, 1536, (uint8_t)(0x30 + i));
        fill(0, 2048);
        c.code = ways[i].read;
        c.write = false;
        assert_int_equal(sata_do(&g, DISK, &c), GOOD);
        assert_int_equal(g.memory[SATA_DATA], 0x30 + i);
        assert_int_equal(g.memory[SATA_DATA + 1535], 0x30 + i);
        assert_int_equal(g.memory[SATA_DATA + 1536], 0);
    }
}

static void queued_commands_run_together_and_each_is_told(void **state)
{
    struct sata_command c = {
        .code = 0x61, .count = 8, .device = 0x40, .queued = true, .write = true, .data_len = 4096};
    fill(0x77, 4096);
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        c.sector = 8 * i;
        sata_put(&g, DISK, i, &c);
    }
    sata_write(&g, DISK, PX_SACT, UINT32_MAX);
    sata_write(&g, DISK, PX_CI, UINT32_MAX);
    for (unsigned i = 0; i < 1000 && sata_read(&g, DISK, PX_SACT); i++)
        sata_turn(&g, 200000);
    assert_int_equal(sata_read(&g, DISK, PX_SACT), 0);
    assert_int_equal(sata_read(&g, DISK, PX_CI), 0);
    assert_file(disk_fd, 0, 32 * 4096, 0x77);
}

static void a_range_behind_the_end_is_refused_and_a_queued_one_is_in_the_log(void **state)
{
    struct sata_command c = {
        .code = 0x25, .sector = SATA_DISK_SIZE / 512 - 1, .count = 2, .data_len = 1024};
    assert_int_equal(sata_do(&g, DISK, &c), FAILED(ATA_NOT_FOUND));
    assert_true(sata_read(&g, DISK, PX_IS) & IS_TFES);
    restart(DISK);
    c.code = 0x60;
    c.queued = true;
    assert_int_equal(sata_do(&g, DISK, &c), FAILED(ATA_NOT_FOUND));
    assert_int_equal(sata_read(&g, DISK, PX_SACT), 1);
    restart(DISK);
    assert_int_equal(sata_read(&g, DISK, PX_SACT), 0);
    const struct sata_command log = {.code = 0x2f, .sector = 0x10, .count = 1, .data_len = 512};
    assert_int_equal(sata_do(&g, DISK, &log), GOOD);
    assert_int_equal(g.memory[SATA_DATA], 0); /* the slot */
    assert_int_equal(g.memory[SATA_DATA + 3], ATA_NOT_FOUND);
}

static void addresses_that_are_not_memory_end_in_an_error_bit(void **state)
{
    struct sata_command c = {.code = 0x25, .count = 8, .data_len = 4096};
    sata_put(&g, DISK, 0, &c);
    store_le(g.memory + SATA_TABLES + 0x80, SATA_MEMORY - 512, 8);
    sata_write(&g, DISK, PX_CI, 1);
    sata_turn(&g, 200000);
    assert_true(sata_read(&g, DISK, PX_IS) & IS_HBDS);
    restart(DISK);
    store_le(g.memory + SATA_LIST + 8, UINT64_MAX, 8);
    sata_write(&g, DISK, PX_CI, 1);
    sata_turn(&g, 200000);
    assert_true(sata_read(&g, DISK, PX_IS) & IS_HBFS);
    sata_write(&g, DISK, PX_CMD, 0);
    sata_write(&g, DISK, PX_CLBU, UINT32_MAX);
    sata_write(&g, DISK, PX_CMD, (uint32_t)(CMD_FRE | CMD_ST));
    sata_write(&g, DISK, PX_IS, UINT32_MAX);
    sata_write(&g, DISK, PX_CI, 1);
    sata_turn(&g, 200000);
    assert_true(sata_read(&g, DISK, PX_IS) & IS_HBFS);
    sata_start(&g, DISK);
    assert_int_equal(sata_do(&g, DISK, &c), GOOD);
}

static void a_table_with_too_little_room_overflows(void **state)
{
    const struct sata_command c = {.code = 0x25, .count = 8, .data_len = 512};
    assert_int_equal(sata_do(&g, DISK, &c), FAILED(4));
    assert_true(sata_read(&g, DISK, PX_IS) & IS_OFS);
}

static void trimmed_ranges_read_as_zeros(void **state)
{
    struct sata_command c = {
        .code = 0x06, .feature = 1, .count = 1, .write = true, .data_len = 512};
    uint8_t ones[8192];
    memset(ones, 1, sizeof(ones));
    assert_int_equal(pwrite(disk_fd, ones, sizeof(ones), 65536), sizeof(ones));
    fill(0, 512);
    store_le(g.memory + SATA_DATA, 128 | UINT64_C(16) << 48, 8);
    assert_int_equal(sata_do(&g, DISK, &c), GOOD);
    assert_file(disk_fd, 65536, 8192, 0);
    store_le(g.memory + SATA_DATA, SATA_DISK_SIZE | UINT64_C(16) << 48, 8);
    assert_int_equal(sata_do(&g, DISK, &c), FAILED(ATA_NOT_FOUND));
}

static void interrupts_come_as_a_line_or_as_a_message(void **state)
{
    const struct sata_command flush = {.code = 0xea};
    const unsigned ghc = SATA_ABAR + 4;
    unsigned gsi = pci_intx_gsi(g.ahci->pci.devfn >> 3);
    fake_write(&g.pci.mmio, ghc, 2, 4);
    assert_false(g.pci.lines[gsi]);
    assert_int_equal(sata_do(&g, DISK, &flush), GOOD);
    assert_true(g.pci.lines[gsi]);
    assert_int_equal(fake_read(&g.pci.mmio, SATA_ABAR + 8, 4), 1 << DISK);
    sata_write(&g, DISK, PX_IS, UINT32_MAX);
    assert_false(g.pci.lines[gsi]);
    unsigned cap = g.ahci->pci.config[PCI_CAPABILITY_LIST];
    assert_int_equal(g.ahci->pci.config[cap], PCI_CAP_ID_MSI);
    pci_config_write(&g.ahci->pci, cap + PCI_MSI_ADDRESS_LO, 0xfee01000, 4);
    pci_config_write(&g.ahci->pci, cap + PCI_MSI_DATA_64, 0x41, 2);
    pci_config_write(&g.ahci->pci, cap + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE, 2);
    assert_int_equal(sata_do(&g, DISK, &flush), GOOD);
    assert_false(g.pci.lines[gsi]);
    assert_true(g.pci.sent >= 1);
    assert_int_equal(g.pci.sent_address, 0xfee01000);
    assert_int_equal(g.pci.sent_data, 0x41);
}

static void a_cdrom_tells_of_its_start_and_reads(void **state)
{
    static const uint8_t ready[12] = {0x00}, inquiry[12] = {0x12, 0, 0, 0, 36},
                         capacity[12] = {0x25}, read[12] = {0x28, 0, 0, 0, 0, 16, 0, 0, 1},
                         beyond[12] = {0x28, 0, 0, 0, 0xff, 0, 0, 0, 1};
    assert_int_equal(sata_read(&g, CD, PX_SIG), 0xeb140101);
    assert_int_equal(packet(inquiry, 36), GOOD);
    assert_int_equal(g.memory[SATA_DATA], 5);
    assert_int_equal(packet(ready, 0), FAILED(0x60));
    restart(CD);
    assert_int_equal(packet(ready, 0), GOOD);
    assert_int_equal(packet(capacity, 8), GOOD);
    assert_int_equal(scsi_be(g.memory + SATA_DATA, 4), SATA_CD_SIZE / 2048 - 1);
    assert_int_equal(scsi_be(g.memory + SATA_DATA + 4, 4), 2048);
    assert_int_equal(pwrite(cd_fd, "there", 5, 16 * 2048), 5);
    assert_int_equal(packet(read, 2048), GOOD);
    assert_string_equal((char *)g.memory + SATA_DATA, "there");
    assert_int_equal(load_le(g.memory + SATA_LIST + 0x1000 + 4, 4), 2048);
    assert_int_equal(packet(beyond, 2048), FAILED(0x50));
}

static void a_medium_is_changed_with_the_tray_open(void **state)
{
    static const uint8_t ready[12] = {0x00}, lock[12] = {0x1e, 0, 0, 0, 1},
                         event[12] = {0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}, capacity[12] = {0x25};
    struct drive *drive = &g.ahci->ports[CD]->unit.drive;
    struct kv_error err = {0};
    struct block_node *node;
    char path[64];
    int other = file("other", 3 << 20);
    assert_int_equal(packet_past_news(ready, 0), GOOD);
    assert_int_equal(packet(lock, 0), GOOD);
    assert_int_equal(drive_open_tray(drive, false, &err), -16); /* EBUSY */
    assert_int_equal(packet(event, 8), GOOD);
    assert_int_equal(g.memory[SATA_DATA + 4], 1); /* somebody wants it out */
    assert_int_equal(drive_open_tray(drive, true, &err), 0);
    assert_int_equal(drive_remove_medium(drive, &err), 0);
    assert_int_equal(packet(ready, 0), FAILED(0x20));
    restart(CD);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", other);
    const struct block_open_options options = {
        .path = path, .fd = -1, .format = "raw", .readonly = true};
    assert_int_equal(block_open(&node, &options, &err), 0);
    assert_int_equal(drive_insert_medium(drive, node, &err), 0);
    block_close(node);
    assert_int_equal(drive_close_tray(drive, &err), 0);
    assert_int_equal(packet(ready, 0), FAILED(0x60));
    restart(CD);
    assert_int_equal(packet(capacity, 8), GOOD);
    assert_int_equal(scsi_be(g.memory + SATA_DATA, 4), (3 << 20) / 2048 - 1);
    close(other);
}

static void a_saved_controller_is_as_it_was_when_loaded(void **state)
{
    struct device *device = &g.ahci->pci.device;
    struct kv_error err = {0};
    device->ops->quiesce(device);
    json_t *saved = device->ops->save(device);
    device->ops->reset(device);
    assert_int_equal(device->ops->load(device, saved, &err), 0);
    json_decref(saved);
    device->ops->resume(device);
    assert_int_equal(sata_read(&g, DISK, PX_CLB), SATA_LIST);
    assert_int_equal(
        sata_do(&g, DISK, &(struct sata_command){.code = 0x25, .count = 1, .data_len = 512}), GOOD);
}

static void a_reset_of_the_controller_ends_and_shows_the_devices(void **state)
{
    const unsigned ghc = SATA_ABAR + 4;
    const struct sata_command c = {.code = 0x25, .count = 1, .data_len = 512};
    sata_put(&g, DISK, 0, &c);
    sata_write(&g, DISK, PX_CI, 1);
    fake_write(&g.pci.mmio, ghc, 1, 4);
    for (unsigned i = 0; i < 100 && fake_read(&g.pci.mmio, ghc, 4) & 1; i++)
        sata_turn(&g, 200000);
    assert_int_equal(fake_read(&g.pci.mmio, ghc, 4), 0x80000000);
    assert_int_equal(sata_read(&g, DISK, PX_CI), 0);
    assert_int_equal(sata_read(&g, DISK, PX_SIG), 0x101);
    sata_start(&g, DISK);
    assert_int_equal(sata_do(&g, DISK, &c), GOOD);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_disk_says_what_it_is_and_its_size),
        TEST(what_is_written_is_read_whatever_the_command),
        TEST(queued_commands_run_together_and_each_is_told),
        TEST(a_range_behind_the_end_is_refused_and_a_queued_one_is_in_the_log),
        TEST(addresses_that_are_not_memory_end_in_an_error_bit),
        TEST(a_table_with_too_little_room_overflows),
        TEST(trimmed_ranges_read_as_zeros),
        TEST(interrupts_come_as_a_line_or_as_a_message),
        TEST(a_cdrom_tells_of_its_start_and_reads),
        TEST(a_medium_is_changed_with_the_tray_open),
        TEST(a_saved_controller_is_as_it_was_when_loaded),
        TEST(a_reset_of_the_controller_ends_and_shows_the_devices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
