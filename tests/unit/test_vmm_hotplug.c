/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI hotplug's registers: what the guest is told, and what its answers do. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>

#include "fake_machine.h"
#include "vmm/pci/pci.h"
#include "vmm/pci/pci_hotplug.h"
#include "vmm/x86/layout.h"

#define SLOT 4
#define MILLISECOND INT64_C(1000000)

static struct fake_machine fake;
static struct device *hotplug;
static unsigned freed;

static void leave(struct device *device)
{
    struct pci_device *dev = container_of(device, struct pci_device, device);
    pci_unplug(dev);
    pci_device_destroy(dev);
    free(dev);
    freed++;
}

static const struct device_ops ops = {.type = "test", .free = leave};

static struct pci_device *plug(int slot, bool removable)
{
    const struct pci_identity identity = {.vendor = 0x1af4, .device = 0x1042};
    struct pci_device *dev = calloc(1, sizeof(*dev));
    struct kv_error err;
    pci_device_init(dev, &identity, NULL);
    dev->removable = removable;
    assert_int_equal(device_register(&fake.machine, &dev->device, &ops, NULL, &err), 0);
    assert_int_equal(pci_plug(&fake.machine.pci, dev, slot, &err), 0);
    return dev;
}

static int begin(void **state)
{
    static const struct pci_platform_ops none;
    struct kv_error err;
    fake_machine_init(&fake);
    freed = 0;
    fake.machine.state = RUN_RUNNING;
    pci_bus_init(&fake.machine.pci, &fake.machine.mmio, &fake.machine.pio, &none, NULL);
    assert_int_equal(pci_hotplug_create(&fake.machine, &err), 0);
    hotplug = device_find(&fake.machine, "acpi-pci-hotplug");
    return 0;
}

static int end(void **state)
{
    fake_machine_destroy(&fake);
    pci_bus_destroy(&fake.machine.pci);
    return 0;
}

static uint32_t reg(unsigned offset)
{
    return (uint32_t)port_read(&fake, (uint16_t)(PORT_PCI_HOTPLUG + offset), 4);
}

static void eject(uint32_t slots)
{
    port_write(&fake, PORT_PCI_HOTPLUG + PCI_HOTPLUG_EJECT, slots, 4);
}

static void slots_are_told_once(void **state)
{
    struct pci_device *dev = plug(SLOT, true);
    struct kv_error err;
    pci_hotplug_announce(&fake.machine, dev);
    assert_int_equal(reg(PCI_HOTPLUG_UP), 1 << SLOT);
    assert_int_equal(reg(PCI_HOTPLUG_UP), 0);
    for (unsigned asked = 0; asked < 2; asked++) {
        assert_int_equal(pci_hotplug_remove(&fake.machine, dev, false, &err), 0);
        assert_int_equal(reg(PCI_HOTPLUG_DOWN), 1 << SLOT);
        assert_int_equal(reg(PCI_HOTPLUG_DOWN), 0);
    }
    assert_int_equal(freed, 0);
}

static void what_may_leave_is_off_the_bus_at_once_and_freed_later(void **state)
{
    struct kv_error err;
    struct pci_device *stays = plug(SLOT + 1, false);
    plug(SLOT, true);
    eject(UINT32_MAX);
    assert_null(fake.machine.pci.devices[PCI_DEVFN(SLOT, 0)]);
    assert_ptr_equal(fake.machine.pci.devices[PCI_DEVFN(SLOT + 1, 0)], stays);
    assert_int_equal(freed, 0);
    eject(UINT32_MAX);
    struct pci_device *next = plug(SLOT, true); /* before the first is freed */
    eject(1 << SLOT);
    fake_machine_run(&fake, MILLISECOND);
    assert_int_equal(freed, 2);
    assert_null(pci_hotplug_find(&fake.machine, &next->device));
    assert_int_equal(pci_hotplug_remove(&fake.machine, stays, true, &err), -ENOTSUP);
}

static void a_reset_ends_what_the_guest_did_not_answer(void **state)
{
    struct kv_error err;
    struct pci_device *dev = plug(SLOT, true);
    plug(SLOT + 1, true);
    pci_hotplug_remove(&fake.machine, dev, false, &err);
    hotplug->ops->reset(hotplug);
    fake_machine_run(&fake, MILLISECOND);
    assert_int_equal(freed, 1);
    assert_int_equal(reg(PCI_HOTPLUG_DOWN), 0);
}

static void a_refusal_is_final(void **state)
{
    struct kv_error err;
    pci_hotplug_remove(&fake.machine, plug(SLOT, true), false, &err);
    port_write(&fake, PORT_PCI_HOTPLUG + PCI_HOTPLUG_OST,
               SLOT | PCI_HOTPLUG_NOTIFY_EJECT << 8 | 0x82 << 16, 4);
    hotplug->ops->reset(hotplug);
    fake_machine_run(&fake, MILLISECOND);
    assert_int_equal(freed, 0);
}

static void before_the_guest_ran_nobody_is_asked(void **state)
{
    struct kv_error err;
    fake.machine.state = RUN_PRELAUNCH;
    assert_int_equal(pci_hotplug_remove(&fake.machine, plug(SLOT, true), false, &err), 0);
    fake_machine_run(&fake, MILLISECOND);
    assert_int_equal(freed, 1);
}

static void its_state_is_saved(void **state)
{
    struct kv_error err;
    struct pci_device *dev = plug(SLOT, true);
    pci_hotplug_announce(&fake.machine, dev);
    pci_hotplug_remove(&fake.machine, dev, false, &err);
    json_t *saved = hotplug->ops->save(hotplug);
    reg(PCI_HOTPLUG_UP);
    reg(PCI_HOTPLUG_DOWN);
    assert_int_equal(hotplug->ops->load(hotplug, saved, &err), 0);
    assert_int_equal(reg(PCI_HOTPLUG_UP), 1 << SLOT);
    assert_int_equal(reg(PCI_HOTPLUG_DOWN), 1 << SLOT);
    json_object_del(saved, "waiting");
    assert_int_equal(hotplug->ops->load(hotplug, saved, &err), -EINVAL);
    json_decref(saved);
}

static void any_access_is_survived(void **state)
{
    plug(SLOT, true);
    abuse_ports(&fake, PORT_PCI_HOTPLUG, PORTS_PCI_HOTPLUG);
    fake_machine_run(&fake, MILLISECOND);
    assert_int_equal(freed, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(slots_are_told_once),
        TEST(what_may_leave_is_off_the_bus_at_once_and_freed_later),
        TEST(a_reset_ends_what_the_guest_did_not_answer),
        TEST(a_refusal_is_final),
        TEST(before_the_guest_ran_nobody_is_asked),
        TEST(its_state_is_saved),
        TEST(any_access_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
