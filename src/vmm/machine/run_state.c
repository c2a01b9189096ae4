/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's run state and the requests that change it. Requests arrive
 * from any thread as bits and are carried out on the control thread, in the
 * order of the table below; events have QEMU's names and shapes.
 */
#include <errno.h>

#include "base/log.h"
#include "base/util.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/machine_internal.h"
#include "vmm/x86/x86.h"

#define EXIT_PANICKED 3
#define EXIT_INTERNAL_ERROR 4

static const char *const state_names[] = {
    [RUN_PRELAUNCH] = "prelaunch",
    [RUN_RUNNING] = "running",
    [RUN_PAUSED] = "paused",
    [RUN_SHUTDOWN] = "shutdown",
    [RUN_INTERNAL_ERROR] = "internal-error",
    [RUN_IO_ERROR] = "io-error",
    [RUN_GUEST_PANICKED] = "guest-panicked",
    [RUN_WATCHDOG] = "watchdog",
};

const char *run_state_name(enum run_state state)
{
    return state_names[state];
}

enum run_state machine_state(const struct machine *machine)
{
    return (enum run_state)atomic_load(&machine->state_shared);
}

static void set_state(struct machine *machine, enum run_state state)
{
    machine->state = state;
    atomic_store(&machine->state_shared, (int)state);
}

void machine_request(struct machine *machine, enum machine_request request)
{
    if (request & (REQUEST_GUEST_SHUTDOWN | REQUEST_GUEST_RESET | REQUEST_INTERNAL_ERROR))
        vcpu_hold_current();
    atomic_fetch_or(&machine->requests, (unsigned)request);
    loop_post(&machine->loop, &machine->request_work);
}

static void quiesce_devices(struct machine *machine)
{
    list_for_each (pos, &machine->devices) {
        struct device *dev = list_entry(pos, struct device, node);
        if (dev->ops->quiesce)
            dev->ops->quiesce(dev);
    }
}

static void resume_devices(struct machine *machine)
{
    list_for_each (pos, &machine->devices) {
        struct device *dev = list_entry(pos, struct device, node);
        if (dev->ops->resume)
            dev->ops->resume(dev);
    }
}

int machine_stop(struct machine *machine, enum run_state why, struct kv_error *err)
{
    if (machine->state != RUN_RUNNING) {
        if (why == RUN_PAUSED)
            return 0;
        set_state(machine, why); /* already stopped, now for a graver reason */
        return 0;
    }
    vcpu_pause_all(machine);
    quiesce_devices(machine);
    set_state(machine, why);
    machine_emit(machine, "STOP", NULL);
    return 0;
}

int machine_cont(struct machine *machine, struct kv_error *err)
{
    switch (machine->state) {
    case RUN_RUNNING:
        return 0;
    case RUN_SHUTDOWN:
    case RUN_INTERNAL_ERROR:
    case RUN_GUEST_PANICKED:
        return kv_error_set(err, KV_ERR_CONTROL, EINVAL,
                            "the machine is in state '%s'; system_reset is needed before cont",
                            run_state_name(machine->state));
    default:
        break;
    }
    set_state(machine, RUN_RUNNING);
    resume_devices(machine);
    machine_emit(machine, "RESUME", NULL);
    vcpu_resume_all(machine);
    return 0;
}

int machine_launch(struct machine *machine, struct kv_error *err)
{
    set_state(machine, RUN_RUNNING);
    vcpu_resume_all(machine);
    return 0;
}

int machine_reset(struct machine *machine, struct kv_error *err)
{
    bool running = machine->state == RUN_RUNNING;
    int rc;

    vcpu_pause_all(machine);
    if (running)
        quiesce_devices(machine);
    list_for_each (pos, &machine->devices) {
        struct device *dev = list_entry(pos, struct device, node);
        if (dev->ops->reset)
            dev->ops->reset(dev);
    }
    rc = x86_load_boot(machine, err);
    if (rc == 0)
        rc = x86_reset_irqchip(machine, err);
    for (unsigned i = 0; rc == 0 && i < machine->vcpu_count; i++)
        rc = x86_vcpu_reset(&machine->vcpus[i], err);
    if (rc < 0) {
        set_state(machine, RUN_INTERNAL_ERROR);
        return rc;
    }
    vcpu_release_all(machine);
    /* A reset is the way out of states that cont refuses. */
    if (machine->state == RUN_SHUTDOWN || machine->state == RUN_INTERNAL_ERROR ||
        machine->state == RUN_GUEST_PANICKED)
        set_state(machine, RUN_PAUSED);
    if (running) {
        resume_devices(machine);
        vcpu_resume_all(machine);
    }
    return 0;
}

int machine_inject_nmi(struct machine *machine, struct kv_error *err)
{
    bool running = machine->state == RUN_RUNNING;

    vcpu_pause_all(machine);
    int rc = vcpu_inject_nmi_all(machine);
    if (running)
        vcpu_resume_all(machine);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_KVM, -rc, "NMI");
    return 0;
}

void machine_synchronize(struct machine *machine)
{
    vcpu_synchronize_all(machine);
}

/* Ends the process, or only the guest where the configuration wants it kept. */
static void end_machine(struct machine *machine, bool guest, const char *reason, bool keep)
{
    machine_emit(machine, "SHUTDOWN", json_pack("{s:b, s:s}", "guest", guest, "reason", reason));
    machine_stop(machine, RUN_SHUTDOWN, NULL);
    if (!keep)
        loop_stop(&machine->loop);
}

static void on_quit(struct machine *machine)
{
    const char *reason = machine->shutdown_reason ? machine->shutdown_reason : "host-qmp-quit";
    end_machine(machine, false, reason, false);
}

static void on_internal_error(struct machine *machine)
{
    machine_stop(machine, RUN_INTERNAL_ERROR, NULL);
    if (machine->control)
        return; /* whoever manages it looks at it and decides */
    machine->exit_status = EXIT_INTERNAL_ERROR;
    loop_stop(&machine->loop);
}

static void on_guest_shutdown(struct machine *machine)
{
    end_machine(machine, true, "guest-shutdown", machine->config.no_shutdown);
}

static void reset_with_event(struct machine *machine, bool guest, const char *reason)
{
    struct kv_error err = {0};
    if (machine_reset(machine, &err) < 0) {
        log_error("reset: %s", err.message);
        on_internal_error(machine);
        return;
    }
    machine_emit(machine, "RESET", json_pack("{s:b, s:s}", "guest", guest, "reason", reason));
}

static void on_guest_reset(struct machine *machine)
{
    if (machine->config.no_reboot)
        end_machine(machine, true, "guest-reset", machine->config.no_shutdown);
    else
        reset_with_event(machine, true, "guest-reset");
}

static void on_host_reset(struct machine *machine)
{
    reset_with_event(machine, false, "host-qmp-system-reset");
}

static void on_panic(struct machine *machine)
{
    static const char *const actions[] = {
        [PANIC_SHUTDOWN] = "poweroff", [PANIC_PAUSE] = "pause", [PANIC_NONE] = "run"};
    int action = machine->config.on_panic;

    log_warning("the guest panicked");
    machine_emit(machine, "GUEST_PANICKED", json_pack("{s:s}", "action", actions[action]));
    if (action == PANIC_PAUSE)
        machine_stop(machine, RUN_GUEST_PANICKED, NULL);
    if (action == PANIC_SHUTDOWN) {
        machine->exit_status = EXIT_PANICKED;
        end_machine(machine, true, "guest-panic", machine->config.no_shutdown);
    }
}

static void on_crash_loaded(struct machine *machine)
{
    machine_emit(machine, "GUEST_CRASHLOADED", json_pack("{s:s}", "action", "run"));
}

static void on_powerdown(struct machine *machine)
{
    if (machine->platform.power_button)
        machine->platform.power_button(machine->platform.power_button_opaque);
    machine_emit(machine, "POWERDOWN", NULL);
}

static void on_io_error(struct machine *machine)
{
    machine_stop(machine, RUN_IO_ERROR, NULL);
}

static void on_stop(struct machine *machine)
{
    machine_stop(machine, RUN_PAUSED, NULL);
}

static void on_cont(struct machine *machine)
{
    struct kv_error err = {0};
    if (machine_cont(machine, &err) < 0)
        log_warning("%s", err.message);
}

static const struct {
    enum machine_request request;
    void (*handle)(struct machine *machine);
} handlers[] = {
    {REQUEST_QUIT, on_quit},
    {REQUEST_INTERNAL_ERROR, on_internal_error},
    {REQUEST_CRASH_LOADED, on_crash_loaded},
    {REQUEST_PANIC, on_panic},
    {REQUEST_GUEST_SHUTDOWN, on_guest_shutdown},
    {REQUEST_PVSHUTDOWN, on_guest_shutdown},
    {REQUEST_GUEST_RESET, on_guest_reset},
    {REQUEST_HOST_RESET, on_host_reset},
    {REQUEST_POWERDOWN, on_powerdown},
    {REQUEST_IO_ERROR, on_io_error},
    {REQUEST_STOP, on_stop},
    {REQUEST_CONT, on_cont},
};

void machine_handle_requests(void *opaque)
{
    struct machine *machine = opaque;
    unsigned bits = atomic_exchange(&machine->requests, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(handlers); i++) {
        if (bits & (unsigned)handlers[i].request)
            handlers[i].handle(machine);
    }
}
