/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over PCI and a device's life, with a device that returns what it gets. */
#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>

#include "base/iothread.h"
#include "unit.h"
#include "virtio_guest.h"

#define QUEUES 2
#define ALL_STATUS 0x0f
#define FEATURE_ODD 3 /* the device works with it only when FEATURE_EVEN is there, too */
#define FEATURE_EVEN 4
#define COMMON VIRTIO_PCI_COMMON

struct echo {
    struct virtio_device dev;
    uint8_t config[8];
    unsigned starts, stops, resets, queue_starts, queue_stops;
    bool refuse_start;
};

static struct virtio_guest g;
static struct echo *echo;

static struct echo *of(struct virtio_device *dev)
{
    return container_of(dev, struct echo, dev);
}

static void echo_config_write(struct virtio_device *dev, unsigned offset, const void *data,
                              unsigned len)
{
    memcpy(of(dev)->config + offset, data, len);
}

static int echo_start(struct virtio_device *dev)
{
    of(dev)->starts++;
    return of(dev)->refuse_start ? -5 : 0;
}

static void echo_stop(struct virtio_device *dev)
{
    of(dev)->stops++;
}

static void echo_queue_start(struct virtio_device *dev, struct virtio_queue *queue)
{
    of(dev)->queue_starts++;
}

static void echo_queue_stop(struct virtio_device *dev, struct virtio_queue *queue)
{
    of(dev)->queue_stops++;
}

static void echo_kick(struct virtio_device *dev, struct virtio_queue *queue)
{
    struct iovec iov[16];
    struct virtqueue_chain chain = {.iov = iov, .iov_max = ARRAY_SIZE(iov)};
    do {
        while (virtqueue_pop(&queue->ring, &chain) == 1) {
            char text[64];
            size_t n = virtqueue_read_out(&chain, 0, text, sizeof(text));
            virtqueue_push(&queue->ring, &chain, (uint32_t)virtqueue_write_in(&chain, 0, text, n));
        }
    } while (virtqueue_enable_kick(&queue->ring));
    if (!virtio_queue_broken(queue))
        virtio_queue_notify(queue);
}

static void echo_reset(struct virtio_device *dev)
{
    of(dev)->resets++;
}

static bool echo_features_ok(struct virtio_device *dev, uint64_t features)
{
    return !(features & BIT(FEATURE_ODD)) || features & BIT(FEATURE_EVEN);
}

static void echo_free(struct virtio_device *dev)
{
    virtio_device_destroy(dev);
    free(of(dev));
}

static const struct virtio_device_ops echo_ops = {
    .device_id = VIRTIO_ID_BLOCK,
    .config_write = echo_config_write,
    .features_ok = echo_features_ok,
    .start = echo_start,
    .queue_start = echo_queue_start,
    .queue_stop = echo_queue_stop,
    .stop = echo_stop,
    .kick = echo_kick,
    .reset = echo_reset,
    .free = echo_free,
};

static struct echo *new_echo(struct loop *loop)
{
    const uint16_t sizes[QUEUES] = {64, 16};
    struct echo *e = calloc(1, sizeof(*e));
    assert_non_null(e);
    memcpy(e->config, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    assert_int_equal(virtio_device_init(&e->dev, &echo_ops, "virtio-echo",
                                        BIT(FEATURE_ODD) | BIT(FEATURE_EVEN), e->config, 8, QUEUES,
                                        sizes, &g.mem, loop, NULL),
                     0);
    return e;
}

static int setup(void **state)
{
    virtio_guest_init(&g);
    echo = new_echo(&g.loop);
    virtio_guest_plug(&g, &echo->dev);
    virtio_guest_use_msix(&g);
    return 0;
}

static int teardown(void **state)
{
    virtio_guest_destroy(&g);
    return 0;
}

static void put(unsigned reg, unsigned len, uint64_t value)
{
    virtio_guest_write(&g, COMMON + reg, value, len);
}

static uint64_t get(unsigned reg, unsigned len)
{
    return virtio_guest_read(&g, COMMON + reg, len);
}

/* One request on queue n; true when it came back. */
static bool echoes(unsigned n)
{
    const struct vring_buffer buffers[] = {{VIRTIO_GUEST_DATA, 5, false},
                                           {VIRTIO_GUEST_DATA + 64, 9, true}};
    uint64_t token;
    uint32_t written;
    memcpy(g.memory + VIRTIO_GUEST_DATA, "hello", 5);
    memset(g.memory + VIRTIO_GUEST_DATA + 64, 0, 9);
    assert_true(vring_driver_add(&g.rings[n], buffers, 2, 0, 42));
    virtio_guest_kick(&g, n);
    virtio_guest_run(&g);
    return vring_driver_get(&g.rings[n], &token, &written) && token == 42 && written == 5 &&
           memcmp(g.memory + VIRTIO_GUEST_DATA + 64, "hello", 5) == 0;
}

static void identity_and_capabilities_are_those_of_a_modern_device(void **state)
{
    struct pci_device *pci = &g.vp->pci;
    assert_int_equal(pci_config_read(pci, 0, 4), 0x10421af4);
    assert_int_equal(pci_config_read(pci, PCI_CLASS_REVISION, 4), 0x01000001);
    unsigned seen = 0;
    for (unsigned at = pci_config_read(pci, PCI_CAPABILITY_LIST, 1); at;
         at = pci_config_read(pci, at + 1, 1)) {
        if (pci_config_read(pci, at, 1) == PCI_CAP_ID_VNDR)
            seen |= 1u << pci_config_read(pci, at + 3, 1);
    }
    assert_int_equal(seen, 1 << VIRTIO_PCI_CAP_COMMON_CFG | 1 << VIRTIO_PCI_CAP_NOTIFY_CFG |
                               1 << VIRTIO_PCI_CAP_ISR_CFG | 1 << VIRTIO_PCI_CAP_DEVICE_CFG |
                               1 << VIRTIO_PCI_CAP_PCI_CFG);
    assert_int_equal(get(VIRTIO_PCI_COMMON_NUMQ, 2), QUEUES);
}

static void a_driver_brings_the_device_up_and_requests_come_back(void **state)
{
    const uint64_t sets[] = {0, BIT(VIRTIO_RING_F_EVENT_IDX), BIT(VIRTIO_F_RING_PACKED),
                             BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_EVENT_IDX)};
    for (unsigned i = 0; i < ARRAY_SIZE(sets); i++) {
        virtio_guest_start(&g, sets[i]);
        assert_int_equal(virtio_guest_status(&g), ALL_STATUS);
        for (unsigned n = 0; n < 200; n++) {
            assert_true(echoes(n % QUEUES));
            assert_int_equal(virtio_guest_interrupts(&g, 1 + n % QUEUES), 1);
            vring_driver_enable_interrupts(&g.rings[n % QUEUES], 0);
        }
        assert_int_equal(virtio_guest_interrupts(&g, 0), 0);
        assert_int_equal(echo->starts, i + 1);
        assert_int_equal(echo->stops, i);
        assert_int_equal(echo->queue_starts, QUEUES * (i + 1));
        assert_int_equal(echo->queue_stops, QUEUES * i);
    }
}

static void features_that_are_not_offered_or_do_not_go_together_are_refused(void **state)
{
    assert_false(virtio_guest_negotiate(&g, BIT(63)));
    assert_false(virtio_guest_negotiate(&g, BIT(VIRTIO_F_ACCESS_PLATFORM)));
    assert_false(virtio_guest_negotiate(&g, BIT(FEATURE_ODD)));
    assert_true(virtio_guest_negotiate(&g, BIT(FEATURE_ODD) | BIT(FEATURE_EVEN)));
    put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
    put(VIRTIO_PCI_COMMON_STATUS, 1, 3);
    put(VIRTIO_PCI_COMMON_STATUS, 1, 11); /* without VERSION_1 */
    assert_int_equal(virtio_guest_status(&g), 3);
    put(VIRTIO_PCI_COMMON_STATUS, 1, 15);
    assert_int_equal(virtio_guest_status(&g), 3);
    assert_int_equal(echo->starts, 0);
}

static void status_bits_come_in_order_and_go_only_by_a_reset(void **state)
{
    put(VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_CONFIG_S_DRIVER_OK);
    assert_int_equal(virtio_guest_status(&g), 0);
    put(VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_CONFIG_S_DRIVER);
    assert_int_equal(virtio_guest_status(&g), 0);
    put(VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_CONFIG_S_NEEDS_RESET | 0x20);
    assert_int_equal(virtio_guest_status(&g), 0);
    assert_true(virtio_guest_negotiate(&g, 0));
    put(VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    assert_int_equal(virtio_guest_status(&g), 11);
    put(VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_CONFIG_S_FAILED);
    assert_int_equal(virtio_guest_status(&g), 0x8b);
    put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
    assert_int_equal(virtio_guest_status(&g), 0);
}

static void features_are_final_after_features_ok(void **state)
{
    assert_true(virtio_guest_negotiate(&g, 0));
    put(VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
    put(VIRTIO_PCI_COMMON_GF, 4, 0xffffffff);
    assert_int_equal(get(VIRTIO_PCI_COMMON_GF, 4), 0);
    put(VIRTIO_PCI_COMMON_GFSELECT, 4, 2);
    put(VIRTIO_PCI_COMMON_DFSELECT, 4, 0xffffffff);
    assert_int_equal(get(VIRTIO_PCI_COMMON_GF, 4), 0);
    assert_int_equal(get(VIRTIO_PCI_COMMON_DF, 4), 0);
}

static void a_queues_registers_hold_until_it_is_enabled(void **state)
{
    assert_true(virtio_guest_negotiate(&g, 0));
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
    const unsigned refused[] = {0, 3, 48, 128, 0xffff};
    for (unsigned i = 0; i < ARRAY_SIZE(refused); i++)
        put(VIRTIO_PCI_COMMON_Q_SIZE, 2, refused[i]);
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
    put(VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x9abcdef0);
    put(VIRTIO_PCI_COMMON_Q_DESCHI, 4, 0x12345678);
    assert_true(get(VIRTIO_PCI_COMMON_Q_DESCLO, 8) == 0x123456789abcdef0);
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_DESCHI, 4), 0x12345678);
    put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 2);
    put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0xffff);
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
    put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
    put(VIRTIO_PCI_COMMON_Q_DESCLO, 8, 0);
    put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 32);
    assert_true(get(VIRTIO_PCI_COMMON_Q_DESCLO, 8) == 0x123456789abcdef0);
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
    put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
    put(VIRTIO_PCI_COMMON_STATUS, 1, ALL_STATUS);
    put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 8);
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 16);
}

static void a_packed_ring_may_have_any_size_and_a_split_one_may_not(void **state)
{
    assert_true(virtio_guest_negotiate(&g, BIT(VIRTIO_F_RING_PACKED)));
    put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 48);
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 48);
    virtio_guest_start(&g, BIT(VIRTIO_F_RING_PACKED));
    assert_true(echoes(1));
}

static void queues_that_do_not_exist_read_as_nothing_and_take_nothing(void **state)
{
    assert_true(virtio_guest_negotiate(&g, 0));
    const unsigned selects[] = {QUEUES, 0xffff};
    for (unsigned i = 0; i < ARRAY_SIZE(selects); i++) {
        put(VIRTIO_PCI_COMMON_Q_SELECT, 2, selects[i]);
        put(VIRTIO_PCI_COMMON_Q_SIZE, 2, 8);
        put(VIRTIO_PCI_COMMON_Q_DESCLO, 8, 4096);
        put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 0);
        put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
        assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
        assert_int_equal(get(VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0);
        assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
        assert_int_equal(get(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
    }
    virtio_guest_write(&g, VIRTIO_PCI_NOTIFY + 4 * QUEUES, 0, 2);
    virtio_guest_write(&g, VIRTIO_PCI_NOTIFY + 2, 0, 2);
    virtio_guest_write(&g, VIRTIO_PCI_MSIX_TABLE - 4, 0, 4);
}

static void accesses_of_the_wrong_width_do_nothing(void **state)
{
    assert_true(virtio_guest_negotiate(&g, 0));
    assert_int_equal(get(VIRTIO_PCI_COMMON_STATUS, 4), 0);
    assert_int_equal(get(VIRTIO_PCI_COMMON_NUMQ, 1), 0);
    put(VIRTIO_PCI_COMMON_STATUS, 2, 0);
    put(VIRTIO_PCI_COMMON_STATUS - 1, 2, 0);
    put(VIRTIO_PCI_COMMON_Q_SELECT, 4, 1);
    put(VIRTIO_PCI_COMMON_Q_SIZE, 1, 8);
    assert_int_equal(virtio_guest_status(&g), 11);
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SELECT, 2), 0);
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
    assert_int_equal(virtio_guest_read(&g, VIRTIO_PCI_ISR_STATUS - 4, 8), 0);
}

static void two_bytes_of_a_field_of_four_are_its_low_half(void **state)
{
    put(VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
    uint32_t whole = get(VIRTIO_PCI_COMMON_DF, 4);
    assert_true(whole & BIT(VIRTIO_F_VERSION_1 - 32));
    assert_int_equal(get(VIRTIO_PCI_COMMON_DF, 2), whole & 0xffff);
    assert_int_equal(get(VIRTIO_PCI_COMMON_DF + 2, 2), 0);
}

static void vectors_that_do_not_exist_become_no_vector(void **state)
{
    put(VIRTIO_PCI_COMMON_MSIX, 2, QUEUES);
    assert_int_equal(get(VIRTIO_PCI_COMMON_MSIX, 2), QUEUES);
    put(VIRTIO_PCI_COMMON_MSIX, 2, QUEUES + 1);
    assert_int_equal(get(VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
    put(VIRTIO_PCI_COMMON_Q_MSIX, 2, 0x7fff);
    assert_int_equal(get(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
}

static void without_msix_the_line_is_high_until_isr_is_read(void **state)
{
    struct pci_device *pci = &g.vp->pci;
    pci_config_write(pci, pci->msix.cap + PCI_MSIX_FLAGS, 0, 2);
    virtio_guest_start(&g, 0);
    unsigned gsi = pci_intx_gsi(pci->devfn >> 3);
    assert_true(echoes(0));
    assert_true(g.fake.lines[gsi]);
    virtio_config_changed(&echo->dev);
    assert_int_equal(virtio_guest_read(&g, VIRTIO_PCI_ISR_STATUS, 4), 0);
    assert_int_equal(virtio_guest_read(&g, VIRTIO_PCI_ISR_STATUS, 1), 3);
    assert_false(g.fake.lines[gsi]);
    assert_int_equal(virtio_guest_read(&g, VIRTIO_PCI_ISR_STATUS, 1), 0);
    assert_true(echoes(0));
    assert_true(g.fake.lines[gsi]);
    put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
    assert_false(g.fake.lines[gsi]);
}

static void configuration_space_is_read_and_written_within_its_size(void **state)
{
    assert_int_equal(virtio_guest_read(&g, VIRTIO_PCI_DEVICE, 8), 0x0807060504030201);
    virtio_guest_write(&g, VIRTIO_PCI_DEVICE + 6, 0xaabb, 2);
    assert_int_equal(virtio_guest_read(&g, VIRTIO_PCI_DEVICE + 6, 2), 0xaabb);
    virtio_guest_write(&g, VIRTIO_PCI_DEVICE + 7, 0xffff, 2);
    assert_int_equal(virtio_guest_read(&g, VIRTIO_PCI_DEVICE + 7, 1), 0xaa);
    assert_int_equal(virtio_guest_read(&g, VIRTIO_PCI_DEVICE + 7, 2), 0);
    assert_int_equal(virtio_guest_read(&g, VIRTIO_PCI_NOTIFY - 1, 1), 0);
}

static void a_changed_configuration_has_a_new_generation_and_interrupts(void **state)
{
    virtio_guest_start(&g, 0);
    uint64_t before = get(VIRTIO_PCI_COMMON_CFGGENERATION, 1);
    virtio_config_changed(&echo->dev);
    assert_int_equal(get(VIRTIO_PCI_COMMON_CFGGENERATION, 1), before + 1);
    assert_int_equal(virtio_guest_interrupts(&g, 0), 1);
}

static void a_broken_ring_needs_a_reset_and_a_reset_helps(void **state)
{
    virtio_guest_start(&g, 0);
    vring_split_avail(&g.rings[0])[1] = 1000;
    virtio_guest_write(&g, VIRTIO_PCI_NOTIFY, 0, 2);
    virtio_guest_run(&g);
    assert_int_equal(virtio_guest_status(&g), ALL_STATUS | VIRTIO_CONFIG_S_NEEDS_RESET);
    assert_int_equal(virtio_guest_interrupts(&g, 0), 1);
    assert_false(echoes(1));
    virtio_guest_start(&g, 0);
    assert_int_equal(virtio_guest_status(&g), ALL_STATUS);
    assert_true(echoes(0));
    assert_true(echoes(1));
}

static void rings_outside_memory_need_a_reset(void **state)
{
    assert_true(virtio_guest_negotiate(&g, 0));
    virtio_guest_set_queue(&g, 0, 8);
    put(VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
    put(VIRTIO_PCI_COMMON_Q_DESCLO, 8, UINT64_MAX & ~15);
    put(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    virtio_guest_driver_ok(&g);
    assert_int_equal(virtio_guest_status(&g), ALL_STATUS | VIRTIO_CONFIG_S_NEEDS_RESET);
    assert_int_equal(echo->starts, 0);
    assert_false(echo->dev.running);
    virtio_guest_start(&g, 0);
    assert_true(echoes(1));
}

static void a_device_that_cannot_start_needs_a_reset(void **state)
{
    echo->refuse_start = true;
    virtio_guest_start(&g, 0);
    assert_int_equal(virtio_guest_status(&g), ALL_STATUS | VIRTIO_CONFIG_S_NEEDS_RESET);
    assert_int_equal(echo->stops, 0);
    echo->refuse_start = false;
    virtio_guest_start(&g, 0);
    assert_true(echoes(0));
}

/* Through the capability: bar, offset, length, then data (4.1.4.9). */
static void window_set(unsigned cap, unsigned bar, uint32_t offset, uint32_t length)
{
    pci_config_write(&g.vp->pci, cap + 4, bar, 1);
    pci_config_write(&g.vp->pci, cap + 8, offset, 4);
    pci_config_write(&g.vp->pci, cap + 12, length, 4);
}

static void the_window_in_config_space_reaches_the_bar_and_nothing_else(void **state)
{
    struct pci_device *pci = &g.vp->pci;
    unsigned cap = g.vp->cfg_cap;
    window_set(cap, 0, VIRTIO_PCI_COMMON_NUMQ, 2);
    assert_int_equal(pci_config_read(pci, cap + 16, 2), QUEUES);
    window_set(cap, 0, VIRTIO_PCI_COMMON_STATUS, 1);
    pci_config_write(pci, cap + 16, 1, 1);
    assert_int_equal(virtio_guest_status(&g), 1);
    const struct {
        unsigned bar;
        uint32_t offset, length;
    } bad[] = {{1, VIRTIO_PCI_COMMON_STATUS, 1},
               {0xff, VIRTIO_PCI_COMMON_STATUS, 1},
               {0, VIRTIO_PCI_COMMON_STATUS, 0},
               {0, VIRTIO_PCI_COMMON_STATUS, 3},
               {0, VIRTIO_PCI_COMMON_STATUS, 8},
               {0, VIRTIO_PCI_COMMON_STATUS, 0xffffffff},
               {0, VIRTIO_PCI_BAR_SIZE, 4},
               {0, VIRTIO_PCI_BAR_SIZE - 2, 4},
               {0, 0xfffffffc, 4},
               {0, VIRTIO_PCI_COMMON_STATUS - 1, 2}};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        window_set(cap, bad[i].bar, bad[i].offset, bad[i].length);
        pci_config_write(pci, cap + 16, 0, 4);
        assert_int_equal(pci_config_read(pci, cap + 16, 4), 0);
        assert_int_equal(virtio_guest_status(&g), 1);
    }
    /* All of its header is read-only. */
    pci_config_write(pci, cap, 0xffffffff, 4);
    assert_int_equal(pci_config_read(pci, cap, 1), PCI_CAP_ID_VNDR);
    assert_int_equal(pci_config_read(pci, cap + 3, 1), VIRTIO_PCI_CAP_PCI_CFG);
}

static void a_quiesced_device_goes_on_after_the_resume(void **state)
{
    const struct vring_buffer buffer = {VIRTIO_GUEST_DATA, 1, true};
    struct device *device = &g.vp->pci.device;
    uint64_t token;
    uint32_t written;
    virtio_guest_start(&g, BIT(VIRTIO_F_RING_PACKED));
    assert_true(echoes(0));
    device->ops->quiesce(device);
    assert_true(vring_driver_add(&g.rings[0], &buffer, 1, 0, 7));
    virtio_guest_kick(&g, 0);
    virtio_guest_run(&g);
    assert_false(vring_driver_get(&g.rings[0], &token, &written));
    device->ops->resume(device);
    virtio_guest_run(&g);
    assert_true(vring_driver_get(&g.rings[0], &token, &written));
    assert_true(echoes(0));
    device->ops->reset(device);
    assert_false(g.vp->pci.bars[0].mapped);
    assert_int_equal(echo->dev.status, 0);
}

static void a_saved_device_goes_on_in_another_one(void **state)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        virtio_guest_start(&g, packed ? BIT(VIRTIO_F_RING_PACKED) : BIT(VIRTIO_RING_F_EVENT_IDX));
        for (unsigned i = 0; i < 100; i++)
            assert_true(echoes(0));
        virtio_guest_write(&g, VIRTIO_PCI_DEVICE, 0x55, 1);
        struct device *device = &g.vp->pci.device;
        device->ops->quiesce(device);
        json_t *state_of = device->ops->save(device);
        assert_non_null(state_of);
        device->ops->free(device);
        echo = new_echo(&g.loop);
        virtio_guest_plug(&g, &echo->dev);
        device = &g.vp->pci.device;
        struct kv_error err = {0};
        if (device->ops->load(device, state_of, &err) < 0)
            fail_msg("%s", err.message);
        json_decref(state_of);
        device->ops->resume(device);
        assert_int_equal(virtio_guest_status(&g), ALL_STATUS);
        assert_int_equal(virtio_guest_read(&g, VIRTIO_PCI_DEVICE, 1), 0x55);
        virtio_guest_run(&g);
        /* Whether the driver heard of all that finished before is not known any more. */
        assert_int_not_equal(virtio_guest_interrupts(&g, 1), 0);
        for (unsigned i = 0; i < 100; i++)
            assert_true(echoes(i % QUEUES));
    }
}

static void a_device_is_loaded_in_the_midst_of_negotiation(void **state)
{
    struct device *device = &g.vp->pci.device;
    put(VIRTIO_PCI_COMMON_GF, 4, 0xffffffff); /* more than is offered */
    json_t *saved = device->ops->save(device);
    put(VIRTIO_PCI_COMMON_STATUS, 1, 0);
    assert_int_equal(device->ops->load(device, saved, NULL), 0);
    assert_int_equal(get(VIRTIO_PCI_COMMON_GF, 4), 0xffffffff);
    json_decref(saved);
}

static void states_that_do_not_fit_are_refused(void **state)
{
    struct device *device = &g.vp->pci.device;
    assert_true(virtio_guest_negotiate(&g, 0));
    json_t *saved = device->ops->save(device);
    const struct {
        const char *at;
        json_t *value;
    } bad[] = {
        {"features", json_integer(INT64_MAX)},
        {"config", json_string("0102")},
        {"config", json_string("01020304050607zz")},
        {"queues", json_array()},
        {"queues", json_pack("[{}, {}]")},
        {"queues",
         json_pack("[{s:i,s:i,s:i,s:i}, {}]", "size", 65, "desc", 0, "driver", 0, "device", 0)},
        {"status", json_null()},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct kv_error err = {0};
        json_t *copy = json_deep_copy(saved);
        json_object_set_new(json_object_get(copy, "virtio"), bad[i].at, bad[i].value);
        assert_true(device->ops->load(device, copy, &err) < 0);
        assert_string_not_equal(err.message, "");
        json_decref(copy);
    }
    json_decref(saved);
}

/* vCPUs reset and start the device again and again while its I/O threads are busy. */
static void resets_from_a_vcpu_do_not_deadlock_with_busy_io_threads(void **state)
{
    struct iothread threads[QUEUES];
    virtio_guest_destroy(&g);
    virtio_guest_init(&g);
    for (unsigned i = 0; i < QUEUES; i++)
        assert_int_equal(iothread_init(&threads[i], "io", NULL), 0);
    echo = new_echo(&threads[0].loop);
    echo->dev.queues[1].loop = &threads[1].loop;
    virtio_guest_plug(&g, &echo->dev);
    for (unsigned i = 0; i < QUEUES; i++)
        assert_int_equal(iothread_start(&threads[i], NULL), 0);
    const struct vring_buffer buffer = {VIRTIO_GUEST_DATA, 1, true};
    for (unsigned round = 0; round < 300; round++) {
        if (round % 2)
            virtio_guest_use_msix(&g);
        virtio_guest_start(&g, round % 3 ? 0 : BIT(VIRTIO_F_RING_PACKED));
        for (unsigned i = 0; i < 32; i++) {
            vring_driver_add(&g.rings[i % QUEUES], &buffer, 1, 0, i);
            virtio_guest_write(&g, VIRTIO_PCI_NOTIFY + 4 * (i % QUEUES), 0, 2);
        }
        if (round % 5 == 0) {
            struct device *device = &g.vp->pci.device;
            device->ops->quiesce(device);
            device->ops->resume(device);
        }
        virtio_guest_write(&g, VIRTIO_PCI_COMMON_STATUS, 0, 1);
        assert_int_equal(virtio_guest_status(&g), 0);
    }
    struct device *device = &g.vp->pci.device;
    device->ops->free(device);
    g.vp = NULL;
    for (unsigned i = 0; i < QUEUES; i++)
        iothread_stop(&threads[i]);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(identity_and_capabilities_are_those_of_a_modern_device),
        TEST(a_driver_brings_the_device_up_and_requests_come_back),
        TEST(features_that_are_not_offered_or_do_not_go_together_are_refused),
        TEST(status_bits_come_in_order_and_go_only_by_a_reset),
        TEST(features_are_final_after_features_ok),
        TEST(a_queues_registers_hold_until_it_is_enabled),
        TEST(a_packed_ring_may_have_any_size_and_a_split_one_may_not),
        TEST(queues_that_do_not_exist_read_as_nothing_and_take_nothing),
        TEST(accesses_of_the_wrong_width_do_nothing),
        TEST(two_bytes_of_a_field_of_four_are_its_low_half),
        TEST(vectors_that_do_not_exist_become_no_vector),
        TEST(without_msix_the_line_is_high_until_isr_is_read),
        TEST(configuration_space_is_read_and_written_within_its_size),
        TEST(a_changed_configuration_has_a_new_generation_and_interrupts),
        TEST(a_broken_ring_needs_a_reset_and_a_reset_helps),
        TEST(rings_outside_memory_need_a_reset),
        TEST(a_device_that_cannot_start_needs_a_reset),
        TEST(the_window_in_config_space_reaches_the_bar_and_nothing_else),
        TEST(a_quiesced_device_goes_on_after_the_resume),
        TEST(a_saved_device_goes_on_in_another_one),
        TEST(a_device_is_loaded_in_the_midst_of_negotiation),
        TEST(states_that_do_not_fit_are_refused),
        TEST(resets_from_a_vcpu_do_not_deadlock_with_busy_io_threads),
    };
    return cmocka_run_group_tests_name("virtio_pci", tests, NULL, NULL);
}
