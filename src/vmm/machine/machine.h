/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One virtual machine: what it is made of, its run state, and the requests
 * that change it. machine.c builds it from a configuration and owns its life;
 * run_state.c moves it between states; memory.c backs guest memory.
 *
 * The control thread (machine->loop) owns everything here unless a field says
 * otherwise. Other threads ask through machine_request() and machine_emit().
 */
#ifndef KV_VMM_MACHINE_MACHINE_H
#define KV_VMM_MACHINE_MACHINE_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/error.h"
#include "base/iothread.h"
#include "base/list.h"
#include "base/loop.h"
#include "vmm/bus.h"
#include "vmm/device.h"
#include "vmm/display/input.h"
#include "vmm/irq.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/machine/config.h"
#include "vmm/machine/memory.h"
#include "vmm/pci/pci.h"
#include "vmm/x86/x86.h"
#include "vring/guest_mem.h"

struct control;

/* QEMU's names in QMP's RunState; run_state_name() gives the text. */
enum run_state {
    RUN_PRELAUNCH,
    RUN_RUNNING,
    RUN_PAUSED,
    RUN_SHUTDOWN,
    RUN_INTERNAL_ERROR,
    RUN_IO_ERROR,
    RUN_GUEST_PANICKED,
    RUN_WATCHDOG,
};

const char *run_state_name(enum run_state state);

/* What may be asked from any thread; carried out on the control thread. */
enum machine_request {
    REQUEST_POWERDOWN = 1 << 0,      /* press the power button */
    REQUEST_GUEST_SHUTDOWN = 1 << 1, /* the guest switched off (S5) */
    REQUEST_GUEST_RESET = 1 << 2,    /* the guest reset itself (i8042, 0xcf9, triple fault) */
    REQUEST_HOST_RESET = 1 << 3,     /* system_reset */
    REQUEST_QUIT = 1 << 4,           /* quit, SIGTERM */
    REQUEST_PANIC = 1 << 5,          /* pvpanic: the guest panicked */
    REQUEST_CRASH_LOADED = 1 << 6,   /* pvpanic: its crash kernel takes over */
    REQUEST_INTERNAL_ERROR = 1 << 7,
    REQUEST_IO_ERROR = 1 << 8, /* a disk's policy says stop */
    REQUEST_STOP = 1 << 9,
    REQUEST_CONT = 1 << 10,
    REQUEST_PVSHUTDOWN = 1 << 11, /* pvpanic: orderly shutdown without S5 */
};

struct machine {
    struct machine_config config;
    struct kvm kvm;
    struct memory memory; /* owns what mem describes */
    struct guest_mem mem;
    struct bus pio, mmio;
    struct pci_bus pci;
    struct {
        pthread_t thread;
        bool running;
        struct kv_error error; /* the thread's, valid once it was joined */
    } slow_start;
    struct list devices;     /* struct device, in order of creation */
    struct loop loop;        /* control thread */
    struct control *control; /* QMP; may be NULL */
    unsigned iothread_count; /* at least 1 */
    struct iothread *iothreads;
    unsigned next_iothread; /* round robin for machine_pick_iothread() */
    unsigned vcpu_count;    /* all there can be; vcpu_is_present() */
    struct vcpu *vcpus;
    struct x86 x86;
    struct vcpu_control vcpu_control;

    enum run_state state; /* control thread writes; others read with machine_state() */
    atomic_int state_shared;
    atomic_uint requests; /* enum machine_request bits not handled yet */
    struct loop_work request_work;
    const char *shutdown_reason; /* QMP ShutdownCause of the pending shutdown */
    int exit_status;             /* of the process */
    pthread_mutex_t events_lock;
    json_t *events; /* emitted and not sent yet; under events_lock */
    struct loop_work events_work;
    struct loop_source signals; /* signalfd: SIGTERM, SIGINT */
    int signal_fd;

    /* Hooks of platform devices that others reach by name; set by their create functions. */
    struct {
        void (*power_button)(void *opaque);
        void *power_button_opaque;
        struct pm *pm;                   /* devices/pm.h */
        struct pci_hotplug *pci_hotplug; /* pci/pci_hotplug.h; NULL: nothing comes or goes */
        struct virtio_balloon *balloon;  /* NULL while there is none */
        struct virtio_console *console;  /* takes further ports; NULL while there is none */
        struct display *display;         /* display/display.h; NULL: there is no screen */
        struct clipboard *clipboard;     /* display/clipboard.h; NULL: there is none */
        struct i8042 *i8042;             /* devices/i8042.h */
        struct input_sinks input;        /* display/input.h */
    } platform;
};

/*
 * Builds the machine: KVM, memory, platform, devices in the order of the
 * configuration, boot images loaded. Opens everything it needs. One thread goes
 * on: KVM takes milliseconds to take memory over, of which the caller can make
 * use until machine_settle(). The machine takes the configuration over (also on
 * error). On error nothing is left behind.
 */
int machine_create(struct machine **out, struct machine_config *config, struct kv_error *err);

/* Waits for that thread; there is one thread again. Before machine_start(). */
int machine_settle(struct machine *machine, struct kv_error *err);

/* Starts the threads (inside the jail by then); vCPUs run unless the configuration says stopped. */
int machine_start(struct machine *machine, struct kv_error *err);

/* Runs the control loop until the machine ends; returns the process's exit status. */
int machine_run(struct machine *machine);

void machine_free(struct machine *machine);

/* Any thread, any number of times. */
void machine_request(struct machine *machine, enum machine_request request);
enum run_state machine_state(const struct machine *machine);

/* Sends a QMP event with a timestamp to all control clients. Takes data over (may be NULL). Any
 * thread. A NULL machine (tests) drops it. */
void machine_emit(struct machine *machine, const char *event, json_t *data);

/* Control thread: vCPUs out of the guest and devices quiesced, and back. 0 or -EINVAL when the
 * state does not allow it (message says which would). */
int machine_stop(struct machine *machine, enum run_state why, struct kv_error *err);
int machine_cont(struct machine *machine, struct kv_error *err);

/* Control thread: resets CPUs, memory image and devices; leaves the run state as it was. */
int machine_reset(struct machine *machine, struct kv_error *err);

/* Control thread: an NMI to every vCPU (inject-nmi). */
int machine_inject_nmi(struct machine *machine, struct kv_error *err);

/* Returns when every vCPU has left the register handlers it was in. Not from a vCPU thread. */
void machine_synchronize(struct machine *machine);

/* The loop of the I/O thread that a new device's queue should use. */
struct loop *machine_pick_loop(struct machine *machine);

/* The same where one may be asked for: number from 1, 0: any. NULL with err filled: there is none
 * of that number. */
struct loop *machine_find_loop(struct machine *machine, uint64_t number, struct kv_error *err);

/* Counters of all vCPUs and devices (metrics file, query-stats). Caller owns the object. */
json_t *machine_metrics(struct machine *machine);

/* An interrupt line of the platform (edge or level by how it is driven). */
struct irq_line machine_irq_line(struct machine *machine, unsigned gsi);

#endif
