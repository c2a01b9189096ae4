/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Builds a machine out of its configuration, starts its threads, runs the
 * control loop and takes everything down again.
 */
#include "vmm/machine/machine.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "vmm/control/control.h"
#include "vmm/devices/platform.h"
#include "vmm/display/clipboard.h"
#include "vmm/display/display.h"
#include "vmm/machine/machine_internal.h"
#include "vmm/x86/layout.h"
#include "vmm/x86/x86.h"

static int pci_msi_connect(void *opaque, int *gsi, int eventfd, uint64_t address, uint32_t data)
{
    struct machine *machine = opaque;
    return kvm_msi_connect(&machine->kvm, gsi, eventfd, address, data);
}

static void pci_msi_disconnect(void *opaque, int gsi, int eventfd)
{
    struct machine *machine = opaque;
    kvm_msi_disconnect(&machine->kvm, gsi, eventfd);
}

static void pci_msi_release(void *opaque, int gsi)
{
    struct machine *machine = opaque;
    kvm_msi_release(&machine->kvm, gsi);
}

static void pci_msi_send(void *opaque, uint64_t address, uint32_t data)
{
    struct machine *machine = opaque;
    kvm_send_msi(&machine->kvm, address, data);
}

static void set_line(void *opaque, unsigned gsi, bool high)
{
    struct machine *machine = opaque;
    kvm_set_line(&machine->kvm, gsi, high);
}

static int pci_ioeventfd(void *opaque, bool add, uint64_t address, int eventfd)
{
    struct machine *machine = opaque;
    return kvm_ioeventfd(&machine->kvm, add, false, address, 0, eventfd);
}

static void pci_reset_machine(void *opaque)
{
    machine_request(opaque, REQUEST_GUEST_RESET);
}

static const struct pci_platform_ops pci_platform = {
    .msi_connect = pci_msi_connect,
    .msi_disconnect = pci_msi_disconnect,
    .msi_release = pci_msi_release,
    .msi_send = pci_msi_send,
    .set_line = set_line,
    .ioeventfd = pci_ioeventfd,
    .reset = pci_reset_machine,
};

struct irq_line machine_irq_line(struct machine *machine, unsigned gsi)
{
    return (struct irq_line){.set = set_line, .opaque = machine, .gsi = gsi};
}

static void place_pci_windows(struct machine *machine)
{
    uint64_t above = ALIGN_UP(guest_mem_end(&machine->mem), GIB(1));
    machine->pci.mmio64_base = MAX(above, LAYOUT_MMIO64_MIN);
    machine->pci.mmio64_end = machine->pci.mmio64_base + LAYOUT_MMIO64_SIZE;
}

static int create_iothreads(struct machine *machine, struct kv_error *err)
{
    unsigned count = (unsigned)MAX(machine->config.iothreads, 1u);
    machine->iothreads = calloc(count, sizeof(*machine->iothreads));
    if (!machine->iothreads)
        return kv_error_set(err, KV_ERR_CONFIG, ENOMEM, "%u I/O threads: out of memory", count);
    for (unsigned i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "io%u", i);
        int rc = iothread_init(&machine->iothreads[i], name, err);
        if (rc < 0)
            return rc;
        machine->iothread_count++;
    }
    return 0;
}

struct loop *machine_pick_loop(struct machine *machine)
{
    return &machine->iothreads[machine->next_iothread++ % machine->iothread_count].loop;
}

struct loop *machine_find_loop(struct machine *machine, uint64_t number, struct kv_error *err)
{
    if (!number)
        return machine_pick_loop(machine);
    if (number <= machine->iothread_count)
        return &machine->iothreads[number - 1].loop;
    kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                 "iothread %" PRIu64 " is not there; accepted: 1 to %u (--iothreads)", number,
                 machine->iothread_count);
    return NULL;
}

static int create_devices(struct machine *machine, struct kv_error *err)
{
    for (unsigned i = 0; i < machine->config.device_count; i++) {
        struct device_config *dev = &machine->config.devices[i];
        int rc = dev->class->create(machine, dev->config, err);
        if (rc < 0) {
            kv_error_prefix(err, "--%s", dev->class->option);
            return rc;
        }
    }
    return 0;
}

static int init_vcpus(struct machine *machine, struct kv_error *err)
{
    int rc = vcpu_create_all(machine, err);
    for (unsigned i = 0; rc == 0 && i < machine->vcpu_count; i++)
        rc = x86_vcpu_init(&machine->vcpus[i], err);
    return rc;
}

static int power_on(struct machine *machine, struct kv_error *err)
{
    int rc = x86_load_boot(machine, err);
    for (unsigned i = 0; rc == 0 && i < machine->vcpu_count; i++)
        rc = x86_vcpu_reset(&machine->vcpus[i], err);
    return rc;
}

/*
 * What KVM answers only after every reader of its tables has looked up, which
 * takes milliseconds (synchronize_srcu). Nothing else that is built needs it.
 */
static void *start_slowly(void *opaque)
{
    struct machine *machine = opaque;
    struct kv_error *err = &machine->slow_start.error;
    if (memory_attach(&machine->memory, &machine->kvm, err) == 0)
        kvm_create_pit(&machine->kvm, err);
    return NULL;
}

static int begin_slow_start(struct machine *machine, struct kv_error *err)
{
    int rc =
        thread_start(&machine->slow_start.thread, THREAD_WORKER, "start", start_slowly, machine);
    machine->slow_start.running = rc == 0;
    if (rc == 0)
        return 0;
    start_slowly(machine);
    return machine_settle(machine, err);
}

int machine_settle(struct machine *machine, struct kv_error *err)
{
    if (machine->slow_start.running)
        pthread_join(machine->slow_start.thread, NULL);
    machine->slow_start.running = false;
    if (machine->slow_start.error.code && err)
        *err = machine->slow_start.error;
    return -machine->slow_start.error.code;
}

static int build(struct machine *machine, struct kv_error *err)
{
    int rc = loop_init(&machine->loop, err);
    if (rc == 0)
        rc = kvm_create(&machine->kvm, machine->config.kvm_fd, err);
    if (rc == 0)
        rc = memory_create(&machine->memory, &machine->config.memory, &machine->mem, err);
    machine->memory.vga_window = machine_config_has(&machine->config, "vga");
    if (rc == 0)
        rc = begin_slow_start(machine, err);
    if (rc < 0)
        return rc;
    pci_bus_init(&machine->pci, &machine->mmio, &machine->pio, &pci_platform, machine);
    place_pci_windows(machine);
    rc = create_iothreads(machine, err);
    if (rc == 0)
        rc = init_vcpus(machine, err);
    if (rc == 0)
        rc = pci_host_create(machine, err);
    if (rc == 0)
        rc = platform_create(machine, err);
    if (rc == 0)
        rc = create_devices(machine, err);
    if (rc == 0)
        rc = x86_open_images(machine, err);
    if (rc == 0)
        rc = power_on(machine, err);
    return rc;
}

int machine_create(struct machine **out, struct machine_config *config, struct kv_error *err)
{
    struct machine *machine = calloc(1, sizeof(*machine));
    if (!machine) {
        machine_config_free(config);
        return kv_error_set(err, KV_ERR_CONFIG, ENOMEM, "out of memory");
    }
    machine->config = *config;
    machine_config_init(config); /* what it held is the machine's now */
    machine->kvm.fd = machine->kvm.vm_fd = -1;
    machine->memory.fd = -1;
    machine->loop.epoll_fd = machine->loop.wake_fd = -1;
    machine->signal_fd = -1;
    machine->signals = LOOP_SOURCE_INIT;
    list_init(&machine->devices);
    bus_init(&machine->pio, "port");
    bus_init(&machine->mmio, "mmio");
    pthread_mutex_init(&machine->events_lock, NULL);
    machine->request_work = (struct loop_work){.fn = machine_handle_requests, .opaque = machine};
    int rc = build(machine, err);
    if (rc < 0) {
        machine_free(machine);
        return rc;
    }
    *out = machine;
    return 0;
}

static void signal_arrived(void *opaque, uint32_t events)
{
    struct machine *machine = opaque;
    struct signalfd_siginfo info;
    if (read(machine->signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    machine->shutdown_reason = "host-signal";
    machine_request(machine, REQUEST_QUIT);
}

static int watch_signals(struct machine *machine, struct kv_error *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    machine->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (machine->signal_fd < 0 || loop_add(&machine->loop, &machine->signals, machine->signal_fd,
                                           EPOLLIN, signal_arrived, machine) < 0)
        return kv_error_errno(err, KV_ERR_BASE, errno, "signals cannot be watched");
    return 0;
}

int machine_start(struct machine *machine, struct kv_error *err)
{
    signal(SIGPIPE, SIG_IGN);
    int rc = watch_signals(machine, err);
    for (unsigned i = 0; rc == 0 && i < machine->iothread_count; i++)
        rc = iothread_start(&machine->iothreads[i], err);
    if (rc == 0 && machine->platform.display)
        rc = display_start(machine->platform.display, err);
    if (rc == 0)
        rc = vcpu_start_all(machine, err);
    /* Before the guest runs its first instruction. */
    if (rc == 0)
        thread_enter(THREAD_CONTROL);
    if (rc == 0 && !machine->config.paused)
        rc = machine_launch(machine, err);
    return rc;
}

int machine_run(struct machine *machine)
{
    loop_run(&machine->loop);
    return machine->exit_status;
}

json_t *machine_metrics(struct machine *machine)
{
    json_t *out = json_object(), *vcpus = json_array(), *devices = json_object();

    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        if (!vcpu_is_present(&machine->vcpus[i]))
            continue;
        json_t *exits = json_object();
        for (unsigned reason = 0; reason < VCPU_EXIT_REASONS; reason++) {
            uint64_t count = atomic_load(&machine->vcpus[i].exits[reason]);
            if (count)
                json_object_set_new(exits, vcpu_exit_name(reason), json_integer((json_int_t)count));
        }
        json_array_append_new(vcpus, json_pack("{s:i, s:o}", "cpu-index", (int)i, "exits", exits));
    }
    list_for_each (pos, &machine->devices) {
        struct device *dev = list_entry(pos, struct device, node);
        if (!dev->ops->metrics)
            continue;
        json_t *object = json_object();
        dev->ops->metrics(dev, object);
        json_object_set_new(devices, dev->id, object);
    }
    json_object_set_new(out, "status", json_string(run_state_name(machine_state(machine))));
    json_object_set_new(out, "vcpus", vcpus);
    json_object_set_new(out, "devices", devices);
    return out;
}

void machine_free(struct machine *machine)
{
    if (!machine)
        return;
    machine_settle(machine, NULL);
    if (machine->vcpus)
        vcpu_stop_all(machine);
    control_stop_work();
    /* The last created first; devices may still use their loops. */
    while (!list_empty(&machine->devices)) {
        struct device *dev = list_entry(machine->devices.prev, struct device, node);
        device_unregister(dev);
        if (dev->ops->free)
            dev->ops->free(dev);
    }
    clipboard_free(machine->platform.clipboard);
    for (unsigned i = 0; i < machine->iothread_count; i++)
        iothread_stop(&machine->iothreads[i]);
    free(machine->iothreads);
    control_close_nodes();
    control_free(machine->control);
    vcpu_destroy_all(machine);
    x86_close_images(machine);
    memory_destroy(&machine->memory);
    if (machine->kvm.vm_fd >= 0)
        kvm_destroy(&machine->kvm);
    loop_remove(&machine->signals);
    if (machine->signal_fd >= 0)
        close(machine->signal_fd);
    if (machine->loop.epoll_fd >= 0)
        loop_destroy(&machine->loop);
    pci_bus_destroy(&machine->pci);
    bus_destroy(&machine->pio);
    bus_destroy(&machine->mmio);
    json_decref(machine->events);
    pthread_mutex_destroy(&machine->events_lock);
    machine_config_free(&machine->config);
    free(machine);
}
