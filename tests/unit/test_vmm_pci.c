/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI: config space, BARs, MSI-X, INTx and the two ways in, on a platform that only takes notes. */
#include <linux/pci_regs.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "fake_pci.h"
#include "unit.h"

#define BAR_SIZE 0x4000
#define TABLE 0x1000
#define PBA 0x2000
#define VECTORS 3

static struct fake_pci fake;
static struct pci_device dev;
static unsigned changes;
static bool last_mapped;
static uint64_t last_address;

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned len)
{
    if (offset >= PBA)
        return pci_msix_pba_read(opaque, offset - PBA, len);
    if (offset >= TABLE)
        return pci_msix_table_read(opaque, offset - TABLE, len);
    return 0x5a;
}

static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    if (offset >= TABLE && offset < PBA)
        pci_msix_table_write(opaque, offset - TABLE, value, len);
}

static const struct bus_ops bar_ops = {.read = bar_read, .write = bar_write};

static void bar_changed(struct pci_device *d, unsigned bar, bool mapped, uint64_t address)
{
    changes++;
    last_mapped = mapped;
    last_address = address;
}

static const struct pci_device_ops dev_ops = {.bar_changed = bar_changed};
static const struct pci_identity identity = {.vendor = 0x1af4,
                                             .device = 0x1042,
                                             .subsystem_vendor = 0x1af4,
                                             .subsystem = 0x40,
                                             .class_code = 0x018000,
                                             .revision = 1,
                                             .intx = true};

static int setup(void **state)
{
    fake_pci_init(&fake);
    memset(&dev, 0, sizeof(dev));
    changes = 0;
    pci_device_init(&dev, &identity, &dev_ops);
    strcpy(dev.device.id, "test0");
    pci_bar_init(&dev, 0, BAR_SIZE, true, true, &bar_ops, &dev);
    pci_bar_init(&dev, 2, 0x1000, false, false, &bar_ops, &dev);
    pci_bar_init_io(&dev, 3, 32, &bar_ops, &dev);
    assert_int_equal(pci_msix_init(&dev, VECTORS, 0, TABLE, PBA), 0);
    assert_int_equal(pci_bus_map_config(&fake.bus, NULL), 0);
    return pci_plug(&fake.bus, &dev, 3, NULL);
}

static int teardown(void **state)
{
    pci_unplug(&dev);
    assert_int_equal(fake.mmio.count + fake.pio.count, 2);
    for (unsigned i = 0; i < FAKE_CONNECTIONS_MAX; i++)
        assert_int_equal(fake.connections[i].eventfd, 0);
    pci_device_destroy(&dev);
    fake_pci_destroy(&fake);
    return 0;
}

static void command(uint16_t value)
{
    pci_config_write(&dev, PCI_COMMAND, value, 2);
}

static void msix_control(uint16_t value)
{
    pci_config_write(&dev, dev.msix.cap + PCI_MSIX_FLAGS, value, 2);
}

static void set_vector(unsigned vector, uint64_t address, uint32_t data, bool masked)
{
    pci_msix_table_write(&dev, vector * 16, (uint32_t)address, 4);
    pci_msix_table_write(&dev, vector * 16 + 4, address >> 32, 4);
    pci_msix_table_write(&dev, vector * 16 + 8, data, 4);
    pci_msix_table_write(&dev, vector * 16 + 12, masked, 4);
}

static unsigned connected_vectors(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < FAKE_CONNECTIONS_MAX; i++)
        n += fake.connections[i].eventfd != 0;
    return n;
}

static uint64_t eventfd_count(unsigned vector)
{
    uint64_t count = 0;
    if (read(pci_msix_eventfd(&dev, vector), &count, sizeof(count)) < 0)
        return 0;
    return count;
}

static void config_space_is_reached_by_ports_in_every_width(void **state)
{
    assert_true(fake_write(&fake.pio, 0xcf8, 0x80000000 | 3 << 11, 4));
    assert_int_equal(fake_read(&fake.pio, 0xcf8, 4), 0x80000000 | 3 << 11);
    assert_int_equal(fake_read(&fake.pio, 0xcfc, 4), 0x10421af4);
    assert_int_equal(fake_read(&fake.pio, 0xcfe, 2), 0x1042);
    assert_int_equal(fake_read(&fake.pio, 0xcfd, 1), 0x1a);
    fake_write(&fake.pio, 0xcf8, 0x80000000 | 4 << 11, 4);
    assert_int_equal(fake_read(&fake.pio, 0xcfc, 4), 0xffffffff);
    fake_write(&fake.pio, 0xcf8, 3 << 11, 4); /* enable bit clear */
    assert_int_equal(fake_read(&fake.pio, 0xcfc, 4), 0xffffffff);
    fake_write(&fake.pio, 0xcf8, 0x80010000 | 3 << 11, 4); /* bus 1 */
    assert_int_equal(fake_read(&fake.pio, 0xcfc, 4), 0xffffffff);
}

static void a_byte_written_beside_the_address_port_leaves_the_address_alone(void **state)
{
    fake_write(&fake.pio, 0xcf8, 0x80001800, 4);
    fake_write(&fake.pio, 0xcfb, 1, 1);
    fake_write(&fake.pio, 0xcf8, 1, 2);
    assert_int_equal(fake_read(&fake.pio, 0xcf8, 4), 0x80001800);
    assert_int_equal(fake.resets, 0);
}

static void port_cf9_resets_on_a_rising_edge_of_its_cpu_bit(void **state)
{
    fake_write(&fake.pio, 0xcf9, 0x02, 1);
    assert_int_equal(fake.resets, 0);
    fake_write(&fake.pio, 0xcf9, 0x06, 1);
    assert_int_equal(fake.resets, 1);
    fake_write(&fake.pio, 0xcf9, 0x0e, 1);
    assert_int_equal(fake.resets, 1);
    assert_int_equal(fake_read(&fake.pio, 0xcf9, 1), 0x0e);
    fake_write(&fake.pio, 0xcf9, 0, 1);
    fake_write(&fake.pio, 0xcf9, 0xff, 1);
    assert_int_equal(fake.resets, 2);
}

static void config_space_is_reached_by_ecam(void **state)
{
    uint64_t at = fake.bus.ecam_base + (3 << 15);
    assert_int_equal(fake_read(&fake.mmio, at, 4), 0x10421af4);
    assert_int_equal(fake_read(&fake.mmio, at + 2, 2), 0x1042);
    assert_true(fake_read(&fake.mmio, at, 8) >> 32 == pci_config_read(&dev, 4, 4));
    assert_int_equal(fake_read(&fake.mmio, at + 0x100, 4), 0xffffffff);
    assert_int_equal(fake_read(&fake.mmio, at + 0xffe, 4), 0xffffffff);
    assert_int_equal(fake_read(&fake.mmio, at + MIB(1), 4), 0xffffffff);
    assert_int_equal(fake_read(&fake.mmio, fake.bus.ecam_base + MIB(256) - 4, 4), 0xffffffff);
    fake_write(&fake.mmio, at + PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    assert_true(dev.bars[0].mapped);
}

static void read_only_registers_stay(void **state)
{
    for (unsigned offset = 0; offset < 0x100; offset += 4)
        if (offset != PCI_COMMAND)
            pci_config_write(&dev, offset, 0xffffffff, 4);
    assert_int_equal(pci_config_read(&dev, 0, 4), 0x10421af4);
    assert_int_equal(pci_config_read(&dev, PCI_CLASS_REVISION, 4), 0x01800001);
    assert_int_equal(pci_config_read(&dev, PCI_CAPABILITY_LIST, 1), 0x40);
    assert_int_equal(pci_config_read(&dev, PCI_ROM_ADDRESS, 4), 0);
    assert_int_equal(pci_config_read(&dev, PCI_INTERRUPT_PIN, 1), 1);
}

static void accesses_that_leave_config_space_are_ignored(void **state)
{
    assert_int_equal(pci_config_read(&dev, 0xfe, 4), 0xffffffff);
    assert_int_equal(pci_config_read(&dev, 0xffffffff, 4), 0xffffffff);
    assert_int_equal(pci_config_read(&dev, 0, 0), 0xffffffff);
    assert_int_equal(pci_config_read(&dev, 0, 8), 0xffffffff);
    pci_config_write(&dev, 0xff, 0xffffffff, 4);
    pci_config_write(&dev, 0xfffffffe, 0xffffffff, 4);
    pci_config_write(&dev, 0, 0, 400);
}

static void a_bar_answers_with_its_size(void **state)
{
    pci_config_write(&dev, PCI_BASE_ADDRESS_0, 0xffffffff, 4);
    pci_config_write(&dev, PCI_BASE_ADDRESS_1, 0xffffffff, 4);
    assert_int_equal(pci_config_read(&dev, PCI_BASE_ADDRESS_0, 4), 0xffffc00c);
    assert_int_equal(pci_config_read(&dev, PCI_BASE_ADDRESS_1, 4), 0xffffffff);
    pci_config_write(&dev, PCI_BASE_ADDRESS_2, 0xffffffff, 4);
    assert_int_equal(pci_config_read(&dev, PCI_BASE_ADDRESS_2, 4), 0xfffff000);
    pci_config_write(&dev, PCI_BASE_ADDRESS_3, 0xffffffff, 4);
    assert_int_equal(pci_config_read(&dev, PCI_BASE_ADDRESS_3, 4), 0xffffffe1);
    pci_config_write(&dev, PCI_BASE_ADDRESS_4, 0xffffffff, 4);
    assert_int_equal(pci_config_read(&dev, PCI_BASE_ADDRESS_4, 4), 0);
}

static void bars_appear_and_vanish_with_the_command_register(void **state)
{
    uint64_t at = fake.bus.mmio64_base, port = fake.bus.io_base;
    assert_int_equal(fake_read(&fake.mmio, at, 4), 0xffffffff);
    command(PCI_COMMAND_MEMORY);
    assert_int_equal(fake_read(&fake.mmio, at, 4), 0x5a);
    assert_int_equal(fake_read(&fake.mmio, fake.bus.mmio32_base, 1), 0x5a);
    assert_int_equal(fake_read(&fake.pio, port, 1), 0xff);
    command(PCI_COMMAND_IO);
    assert_int_equal(fake_read(&fake.mmio, at, 4), 0xffffffff);
    assert_int_equal(fake_read(&fake.pio, port, 1), 0x5a);
    command(0);
    assert_int_equal(fake_read(&fake.pio, port, 1), 0xff);
    assert_int_equal(changes, 6);
}

static void a_guest_moves_a_bar_within_the_windows(void **state)
{
    command(PCI_COMMAND_MEMORY);
    pci_config_write(&dev, PCI_BASE_ADDRESS_0, 0xd0000000, 4);
    pci_config_write(&dev, PCI_BASE_ADDRESS_1, 0, 4);
    assert_int_equal(fake_read(&fake.mmio, 0xd0000000, 4), 0x5a);
    assert_int_equal(fake_read(&fake.mmio, fake.bus.mmio64_base, 4), 0xffffffff);
    assert_true(last_mapped);
    assert_true(last_address == 0xd0000000);
}

static void a_bar_over_memory_or_platform_registers_is_not_mapped(void **state)
{
    static const uint64_t bad[] = {0x0,        0x10000000,    0xb0000000,       0xbfffc000,
                                   0xfec00000, 0xfee00000,    0x100000000,      0x7ffffc000,
                                   BIT(52),    0xfffffffc000, ~UINT64_C(0x3fff)};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        command(0);
        pci_config_write(&dev, PCI_BASE_ADDRESS_0, (uint32_t)bad[i], 4);
        pci_config_write(&dev, PCI_BASE_ADDRESS_1, (uint32_t)(bad[i] >> 32), 4);
        command(PCI_COMMAND_MEMORY);
        bool allowed = bad[i] == 0xfffffffc000; /* high, but a place a guest may choose */
        assert_int_equal(dev.bars[0].mapped, allowed);
    }
    pci_config_write(&dev, PCI_BASE_ADDRESS_3, 0xce0, 4);
    command(PCI_COMMAND_IO);
    assert_false(dev.bars[3].mapped);
}

static void a_bar_over_another_bar_is_not_mapped_until_it_moves_away(void **state)
{
    command(PCI_COMMAND_MEMORY);
    uint64_t other = dev.bars[2].address;
    pci_config_write(&dev, PCI_BASE_ADDRESS_1, 0, 4);
    pci_config_write(&dev, PCI_BASE_ADDRESS_0, (uint32_t)other, 4);
    assert_false(dev.bars[0].mapped);
    assert_true(dev.bars[2].mapped);
    pci_config_write(&dev, PCI_BASE_ADDRESS_0, (uint32_t)other + 0x4000, 4);
    assert_true(dev.bars[0].mapped);
}

static void placing_finds_room_between_devices(void **state)
{
    struct pci_device more[2];
    for (unsigned i = 0; i < 2; i++) {
        memset(&more[i], 0, sizeof(more[i]));
        pci_device_init(&more[i], &identity, NULL);
        pci_bar_init(&more[i], 0, BAR_SIZE, true, false, &bar_ops, &more[i]);
        pci_bar_init(&more[i], 2, 0x100000, false, false, &bar_ops, &more[i]);
        assert_int_equal(pci_plug(&fake.bus, &more[i], -1, NULL), 0);
    }
    assert_int_equal(more[0].devfn, PCI_DEVFN(0, 0));
    assert_int_equal(more[1].devfn, PCI_DEVFN(1, 0));
    assert_true(more[0].bars[0].initial == fake.bus.mmio64_base + BAR_SIZE);
    assert_true(more[1].bars[0].initial == fake.bus.mmio64_base + 2 * BAR_SIZE);
    assert_true(more[1].bars[2].initial == fake.bus.mmio32_base + 0x200000);
    uint64_t freed = more[0].bars[0].initial;
    pci_unplug(&more[0]);
    assert_int_equal(pci_plug(&fake.bus, &more[0], 7, NULL), 0);
    assert_true(more[0].bars[0].initial == freed);
    struct kv_error err;
    struct pci_device third = {0};
    pci_device_init(&third, &identity, NULL);
    assert_int_equal(pci_plug(&fake.bus, &third, 7, &err), -17);
    assert_int_equal(pci_plug(&fake.bus, &third, 32, &err), -22);
    pci_bar_init(&third, 0, GIB(64), true, false, &bar_ops, &third);
    assert_int_equal(pci_plug(&fake.bus, &third, -1, &err), -28);
    pci_device_destroy(&third);
    for (unsigned i = 0; i < 2; i++) {
        pci_unplug(&more[i]);
        pci_device_destroy(&more[i]);
    }
}

static void an_unmasked_vector_is_one_write_to_its_eventfd(void **state)
{
    set_vector(1, 0xfee00000, 0x41, false);
    assert_int_equal(connected_vectors(), 0);
    msix_control(PCI_MSIX_FLAGS_ENABLE);
    assert_int_equal(connected_vectors(), 1);
    pci_msix_notify(&dev, 1);
    pci_msix_notify(&dev, 1);
    assert_int_equal(fake.sent, 0);
    assert_int_equal(eventfd_count(1), 2);
    assert_true(fake.connections[0].address == 0xfee00000);
    pci_msix_table_write(&dev, 16 + 8, 0x42, 4);
    assert_int_equal(fake.connections[0].data, 0x42);
    assert_int_equal(connected_vectors(), 1);
}

static void a_masked_vector_stays_pending_and_is_sent_at_the_unmasking(void **state)
{
    set_vector(2, 0xfee00000, 0x42, true);
    msix_control(PCI_MSIX_FLAGS_ENABLE);
    pci_msix_notify(&dev, 2);
    assert_int_equal(pci_msix_pba_read(&dev, 0, 8), 1 << 2);
    assert_int_equal(fake.sent, 0);
    set_vector(2, 0xfee00000, 0x42, false);
    assert_int_equal(fake.sent, 1);
    assert_int_equal(fake.sent_data, 0x42);
    assert_int_equal(pci_msix_pba_read(&dev, 0, 8), 0);
}

static void an_eventfd_written_while_masked_is_pending(void **state)
{
    uint64_t one = 1;
    set_vector(0, 0xfee01000, 0x50, false);
    msix_control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    assert_int_equal(connected_vectors(), 0);
    assert_int_equal(write(pci_msix_eventfd(&dev, 0), &one, 8), 8);
    assert_int_equal(pci_msix_pba_read(&dev, 0, 4), 1);
    assert_int_equal(pci_msix_pba_read(&dev, 0, 1), 1);
    assert_int_equal(write(pci_msix_eventfd(&dev, 0), &one, 8), 8);
    msix_control(PCI_MSIX_FLAGS_ENABLE);
    assert_int_equal(fake.sent, 1);
    assert_true(fake.sent_address == 0xfee01000);
    assert_int_equal(connected_vectors(), 1);
    assert_int_equal(eventfd_count(0), 0);
    msix_control(0);
    assert_int_equal(connected_vectors(), 0);
}

/* A platform that delivers as KVM does: what is written to a connected eventfd, at once. */
struct delivery {
    pthread_mutex_t lock;
    int eventfd; /* -1: not connected */
    atomic_uint delivered;
    atomic_bool stop;
};

static int deliver_connect(void *opaque, int *gsi, int eventfd, uint64_t address, uint32_t data)
{
    struct delivery *d = opaque;
    pthread_mutex_lock(&d->lock);
    d->eventfd = eventfd;
    *gsi = 24;
    pthread_mutex_unlock(&d->lock);
    return 0;
}

static void deliver_disconnect(void *opaque, int gsi, int eventfd)
{
    struct delivery *d = opaque;
    pthread_mutex_lock(&d->lock);
    d->eventfd = -1;
    pthread_mutex_unlock(&d->lock);
}

static void deliver_send(void *opaque, uint64_t address, uint32_t data)
{
    struct delivery *d = opaque;
    atomic_fetch_add(&d->delivered, 1);
}

static void deliver_line(void *opaque, unsigned gsi, bool high)
{
}

static const struct pci_platform_ops delivery_ops = {.msi_connect = deliver_connect,
                                                     .msi_disconnect = deliver_disconnect,
                                                     .msi_send = deliver_send,
                                                     .set_line = deliver_line};

static void *kernel_thread(void *opaque)
{
    struct delivery *d = opaque;
    while (!atomic_load(&d->stop)) {
        uint64_t count;
        pthread_mutex_lock(&d->lock);
        if (d->eventfd >= 0 && read(d->eventfd, &count, sizeof(count)) == sizeof(count))
            atomic_fetch_add(&d->delivered, 1);
        pthread_mutex_unlock(&d->lock);
        sched_yield();
    }
    return NULL;
}

/* A guest that masks and unmasks in both ways and looks at what is pending. */
static void *guest_thread(void *opaque)
{
    struct delivery *d = opaque;
    for (unsigned i = 0; !atomic_load(&d->stop); i++) {
        if (i & 1)
            msix_control(i & 2 ? PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL
                               : PCI_MSIX_FLAGS_ENABLE);
        else
            pci_msix_table_write(&dev, 12, i >> 1 & 1, 4);
        pci_msix_pba_read(&dev, 0, 8);
        sched_yield();
    }
    return NULL;
}

static void no_notification_is_lost_while_a_guest_masks_and_unmasks(void **state)
{
    static struct delivery d = {.lock = PTHREAD_MUTEX_INITIALIZER, .eventfd = -1};
    pthread_t kernel, guest;
    fake.bus.platform = &delivery_ops;
    fake.bus.platform_opaque = &d;
    set_vector(0, 0xfee01000, 0x50, false);
    msix_control(PCI_MSIX_FLAGS_ENABLE);
    assert_int_equal(pthread_create(&kernel, NULL, kernel_thread, &d), 0);
    assert_int_equal(pthread_create(&guest, NULL, guest_thread, &d), 0);
    unsigned lost = 0;
    for (unsigned i = 0; i < 2000 && !lost; i++) {
        unsigned before = atomic_load(&d.delivered);
        time_t deadline = time(NULL) + 20;
        pci_msix_notify(&dev, 0);
        while (atomic_load(&d.delivered) == before && !lost) {
            sched_yield();
            lost = time(NULL) > deadline;
        }
    }
    atomic_store(&d.stop, true);
    pthread_join(guest, NULL);
    pthread_join(kernel, NULL);
    assert_int_equal(lost, 0);
    msix_control(0);
    fake.bus.platform = &fake_platform_ops;
    fake.bus.platform_opaque = &fake;
}

static void without_a_route_messages_are_sent_one_by_one(void **state)
{
    fake.refuse_connections = true;
    set_vector(0, 0xfee01000, 0x50, false);
    msix_control(PCI_MSIX_FLAGS_ENABLE);
    pci_msix_notify(&dev, 0);
    pci_msix_notify(&dev, 0);
    assert_int_equal(fake.sent, 2);
}

static void nonsense_in_the_table_is_ignored(void **state)
{
    msix_control(PCI_MSIX_FLAGS_ENABLE);
    static const unsigned widths[] = {1, 2, 4, 8};
    for (uint64_t offset = 0; offset < VECTORS * 16 + 32; offset++)
        for (unsigned w = 0; w < ARRAY_SIZE(widths); w++) {
            pci_msix_table_write(&dev, offset, UINT64_MAX, widths[w]);
            pci_msix_table_read(&dev, offset, widths[w]);
            pci_msix_pba_read(&dev, offset, widths[w]);
        }
    pci_msix_table_write(&dev, UINT64_MAX - 3, 0, 4);
    assert_true(pci_msix_table_read(&dev, UINT64_MAX - 3, 4) == UINT64_MAX);
    assert_true(pci_msix_pba_read(&dev, UINT64_MAX / 8 + 1, 8) == 0);
    pci_msix_notify(&dev, VECTORS);
    pci_msix_notify(&dev, UINT32_MAX);
    assert_int_equal(pci_msix_eventfd(&dev, VECTORS), -1);
    assert_true(pci_msix_table_read(&dev, 0, 8) == ~UINT64_C(3));
    assert_int_equal(pci_msix_table_read(&dev, 12, 4), 1);
}

static void intx_lines_are_shared_and_can_be_disabled(void **state)
{
    struct pci_device other = {0};
    pci_device_init(&other, &identity, NULL);
    assert_int_equal(pci_plug(&fake.bus, &other, 11, NULL), 0); /* the same line as slot 3 */
    assert_int_equal(pci_intx_gsi(3), 19);
    pci_intx_set(&dev, true);
    pci_intx_set(&other, true);
    assert_true(fake.lines[19]);
    assert_int_equal(pci_config_read(&dev, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT,
                     PCI_STATUS_INTERRUPT);
    pci_intx_set(&dev, false);
    assert_true(fake.lines[19]);
    pci_config_write(&other, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, 2);
    assert_false(fake.lines[19]);
    assert_int_equal(pci_config_read(&other, PCI_STATUS, 1) & PCI_STATUS_INTERRUPT,
                     PCI_STATUS_INTERRUPT);
    pci_config_write(&other, PCI_COMMAND, 0, 2);
    assert_true(fake.lines[19]);
    pci_unplug(&other);
    assert_false(fake.lines[19]);
    pci_device_destroy(&other);
}

static void msix_silences_the_pin(void **state)
{
    pci_intx_set(&dev, true);
    assert_true(fake.lines[19]);
    msix_control(PCI_MSIX_FLAGS_ENABLE);
    assert_false(fake.lines[19]);
    msix_control(0);
    assert_true(fake.lines[19]);
}

static void reset_brings_power_on_state_back(void **state)
{
    command(PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
    set_vector(0, 0xfee01000, 0x50, false);
    msix_control(PCI_MSIX_FLAGS_ENABLE);
    pci_intx_set(&dev, true);
    pci_config_write(&dev, PCI_BASE_ADDRESS_2, 0xe0000000, 4);
    pci_device_reset(&dev);
    assert_int_equal(pci_config_read(&dev, PCI_COMMAND, 2), 0);
    assert_int_equal(pci_config_read(&dev, PCI_BASE_ADDRESS_2, 4), fake.bus.mmio32_base);
    assert_false(dev.bars[0].mapped || dev.bars[2].mapped || dev.bars[3].mapped);
    assert_int_equal(connected_vectors(), 0);
    assert_int_equal(pci_msix_table_read(&dev, 12, 4), 1);
    assert_int_equal(pci_msix_table_read(&dev, 0, 4), 0);
    assert_int_equal(pci_config_read(&dev, dev.msix.cap + PCI_MSIX_FLAGS, 2), VECTORS - 1);
    assert_false(fake.lines[19]);
}

static void state_goes_into_json_and_back(void **state)
{
    command(PCI_COMMAND_MEMORY);
    pci_config_write(&dev, PCI_BASE_ADDRESS_2, 0xe0000000, 4);
    set_vector(0, 0xfee01000, 0x50, false);
    set_vector(1, 0xfee02000, 0x51, true);
    msix_control(PCI_MSIX_FLAGS_ENABLE);
    pci_msix_notify(&dev, 1);
    json_t *saved = pci_device_save(&dev);
    char *text = json_dumps(saved, 0);
    json_decref(saved);
    pci_device_reset(&dev);

    saved = json_loads(text, 0, NULL);
    struct kv_error err;
    assert_int_equal(pci_device_load(&dev, saved, &err), 0);
    assert_true(dev.bars[2].mapped && dev.bars[2].address == 0xe0000000);
    assert_int_equal(connected_vectors(), 1);
    assert_int_equal(pci_msix_pba_read(&dev, 0, 8), 2);
    set_vector(1, 0xfee02000, 0x51, false);
    assert_int_equal(fake.sent_data, 0x51);

    json_object_set_new(saved, "config", json_string("00"));
    assert_int_equal(pci_device_load(&dev, saved, &err), -22);
    assert_int_equal(pci_device_load(&dev, NULL, &err), -22);
    json_decref(saved);
    free(text);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(config_space_is_reached_by_ports_in_every_width),
        T(a_byte_written_beside_the_address_port_leaves_the_address_alone),
        T(port_cf9_resets_on_a_rising_edge_of_its_cpu_bit),
        T(config_space_is_reached_by_ecam),
        T(read_only_registers_stay),
        T(accesses_that_leave_config_space_are_ignored),
        T(a_bar_answers_with_its_size),
        T(bars_appear_and_vanish_with_the_command_register),
        T(a_guest_moves_a_bar_within_the_windows),
        T(a_bar_over_memory_or_platform_registers_is_not_mapped),
        T(a_bar_over_another_bar_is_not_mapped_until_it_moves_away),
        T(placing_finds_room_between_devices),
        T(an_unmasked_vector_is_one_write_to_its_eventfd),
        T(a_masked_vector_stays_pending_and_is_sent_at_the_unmasking),
        T(an_eventfd_written_while_masked_is_pending),
        T(no_notification_is_lost_while_a_guest_masks_and_unmasks),
        T(without_a_route_messages_are_sent_one_by_one),
        T(nonsense_in_the_table_is_ignored),
        T(intx_lines_are_shared_and_can_be_disabled),
        T(msix_silences_the_pin),
        T(reset_brings_power_on_state_back),
        T(state_goes_into_json_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
