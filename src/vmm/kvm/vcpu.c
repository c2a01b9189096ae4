/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vCPU thread: runs the guest, answers its exits, and parks when the
 * control thread asks. To get a vCPU out of the guest, immediate_exit is set
 * and a signal sent: whether the thread is in KVM_RUN, on its way into it or in
 * a handler, its next KVM_RUN completes the pending access and returns EINTR
 * (api.rst, KVM_RUN), and the thread comes by vcpu_attend().
 */
#include "vmm/kvm/vcpu.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/iothread.h"
#include "base/log.h"
#include "base/util.h"
#include "vmm/machine/machine.h"

#define KICK_SIGNAL SIGRTMIN

static __thread struct vcpu *current;

static void kick_arrived(int signal)
{
}

static void install_kick(void)
{
    struct sigaction action = {.sa_handler = kick_arrived}; /* no SA_RESTART: ioctl must return */
    sigaction(KICK_SIGNAL, &action, NULL);
}

static void kick(struct vcpu *vcpu)
{
    __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (vcpu->started)
        pthread_kill(vcpu->thread, KICK_SIGNAL);
}

/* Where a vCPU is, for whoever waits for it. Only news is told: parked vCPUs wait for the same
 * condition and would wake each other for ever. Under lock. */
static void tell(struct vcpu *vcpu, bool parked)
{
    struct vcpu_control *control = &vcpu->machine->vcpu_control;

    if (vcpu->parked == parked && vcpu->seen == control->synchronization)
        return;
    vcpu->parked = parked;
    vcpu->seen = control->synchronization;
    pthread_cond_broadcast(&control->changed);
}

/* Takes note of what the control thread wants and parks as long as it wants that. False: end the
 * thread. */
static bool vcpu_attend(struct vcpu *vcpu)
{
    struct vcpu_control *control = &vcpu->machine->vcpu_control;

    pthread_mutex_lock(&control->lock);
    __atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    while (!control->stopping && (control->paused || vcpu->held || vcpu->absent)) {
        tell(vcpu, true);
        pthread_cond_wait(&control->changed, &control->lock);
    }
    tell(vcpu, false);
    bool go_on = !control->stopping;
    pthread_mutex_unlock(&control->lock);
    return go_on;
}

/* Caller owns the object. */
static json_t *log_registers(struct vcpu *vcpu)
{
    json_t *state = vcpu_describe(vcpu);
    char *text = state ? json_dumps(state, JSON_COMPACT) : NULL;
    log_error("vCPU %u: %s", vcpu->index, text ? text : "registers cannot be read");
    free(text);
    return state;
}

static void fail(struct vcpu *vcpu, const char *what, uint64_t detail)
{
    log_error("vCPU %u: %s (0x%" PRIx64 ")", vcpu->index, what, detail);
    json_t *state = log_registers(vcpu);
    machine_emit(vcpu->machine, "KVASIR_INTERNAL_ERROR",
                 json_pack("{s:i, s:s, s:I, s:o*}", "cpu-index", (int)vcpu->index, "reason", what,
                           "detail", (json_int_t)detail, "registers", state));
    machine_request(vcpu->machine, REQUEST_INTERNAL_ERROR);
}

static void exit_io(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    struct bus *bus = &vcpu->machine->pio;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    unsigned size = run->io.size;

    for (uint32_t i = 0; i < run->io.count; i++, data += size) {
        uint64_t value;
        if (run->io.direction == KVM_EXIT_IO_OUT) {
            bus_write(bus, &vcpu->pio_cache, run->io.port, load_le(data, size), size);
        } else {
            bus_read(bus, &vcpu->pio_cache, run->io.port, &value, size);
            store_le(data, value, size);
        }
    }
}

static void exit_mmio(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    struct bus *bus = &vcpu->machine->mmio;
    unsigned len = MIN(run->mmio.len, 8u);
    uint64_t value;

    if (run->mmio.is_write) {
        bus_write(bus, &vcpu->mmio_cache, run->mmio.phys_addr, load_le(run->mmio.data, len), len);
    } else {
        bus_read(bus, &vcpu->mmio_cache, run->mmio.phys_addr, &value, len);
        store_le(run->mmio.data, value, len);
    }
}

static void exit_again(struct vcpu *vcpu)
{
}

/* A triple fault. */
static void exit_shutdown(struct vcpu *vcpu)
{
    log_guest("vCPU %u: triple fault", vcpu->index);
    if (log_level >= LOG_DEBUG)
        json_decref(log_registers(vcpu));
    machine_request(vcpu->machine, REQUEST_GUEST_RESET);
}

static void exit_system_event(struct vcpu *vcpu)
{
    switch (vcpu->run->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
        machine_request(vcpu->machine, REQUEST_GUEST_SHUTDOWN);
        return;
    case KVM_SYSTEM_EVENT_RESET:
        machine_request(vcpu->machine, REQUEST_GUEST_RESET);
        return;
    case KVM_SYSTEM_EVENT_CRASH:
        machine_request(vcpu->machine, REQUEST_PANIC);
        return;
    default:
        fail(vcpu, "unknown system event", vcpu->run->system_event.type);
    }
}

/* TLFS 3: KVM carries out what the guest's CPUID offers; of the rest it asks here. */
static void exit_hyperv(struct vcpu *vcpu)
{
    enum { INVALID_HYPERCALL_CODE = 2 };
    struct kvm_hyperv_exit *hyperv = &vcpu->run->hyperv;
    if (hyperv->type == KVM_EXIT_HYPERV_HCALL)
        hyperv->u.hcall.result = INVALID_HYPERCALL_CODE;
    else if (hyperv->type != KVM_EXIT_HYPERV_SYNIC) /* pages moved: they are the guest's memory */
        fail(vcpu, "unknown exit for Hyper-V", hyperv->type);
}

static void exit_fail_entry(struct vcpu *vcpu)
{
    fail(vcpu, "the processor refused to enter the guest",
         vcpu->run->fail_entry.hardware_entry_failure_reason);
}

static void exit_internal_error(struct vcpu *vcpu)
{
    static const char *const suberrors[] = {
        [KVM_INTERNAL_ERROR_EMULATION] = "KVM cannot emulate an instruction",
        [KVM_INTERNAL_ERROR_SIMUL_EX] = "simultaneous exceptions",
        [KVM_INTERNAL_ERROR_DELIVERY_EV] = "exit while an event was delivered",
        [KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = "unexpected exit of the processor",
    };
    uint32_t suberror = vcpu->run->internal.suberror;
    bool known = suberror < ARRAY_SIZE(suberrors) && suberrors[suberror];
    fail(vcpu, known ? suberrors[suberror] : "KVM internal error", suberror);
}

static void exit_unknown(struct vcpu *vcpu)
{
    fail(vcpu, "unknown exit of the processor", vcpu->run->hw.hardware_exit_reason);
}

/* With KVM's local APICs a halted vCPU stays in the kernel; coming here means there are none. */
static void exit_unexpected(struct vcpu *vcpu)
{
    fail(vcpu, vcpu_exit_name(vcpu->run->exit_reason), vcpu->run->exit_reason);
}

static const struct {
    const char *name;
    void (*handle)(struct vcpu *vcpu);
} exits[VCPU_EXIT_REASONS] = {
    [KVM_EXIT_UNKNOWN] = {"unknown", exit_unknown},
    [KVM_EXIT_EXCEPTION] = {"exception", exit_unexpected},
    [KVM_EXIT_IO] = {"io", exit_io},
    [KVM_EXIT_HYPERCALL] = {"hypercall", exit_unexpected},
    [KVM_EXIT_DEBUG] = {"debug", exit_unexpected},
    [KVM_EXIT_HLT] = {"hlt", exit_unexpected},
    [KVM_EXIT_MMIO] = {"mmio", exit_mmio},
    [KVM_EXIT_IRQ_WINDOW_OPEN] = {"irq-window-open", exit_again},
    [KVM_EXIT_SHUTDOWN] = {"shutdown", exit_shutdown},
    [KVM_EXIT_FAIL_ENTRY] = {"fail-entry", exit_fail_entry},
    [KVM_EXIT_INTR] = {"intr", exit_again},
    [KVM_EXIT_SET_TPR] = {"set-tpr", exit_again},
    [KVM_EXIT_TPR_ACCESS] = {"tpr-access", exit_again},
    [KVM_EXIT_NMI] = {"nmi", exit_again},
    [KVM_EXIT_INTERNAL_ERROR] = {"internal-error", exit_internal_error},
    [KVM_EXIT_SYSTEM_EVENT] = {"system-event", exit_system_event},
    [KVM_EXIT_IOAPIC_EOI] = {"ioapic-eoi", exit_again},
    [KVM_EXIT_HYPERV] = {"hyperv", exit_hyperv},
    [KVM_EXIT_X86_RDMSR] = {"rdmsr", exit_unexpected},
    [KVM_EXIT_X86_WRMSR] = {"wrmsr", exit_unexpected},
    [KVM_EXIT_DIRTY_RING_FULL] = {"dirty-ring-full", exit_unexpected},
    [KVM_EXIT_X86_BUS_LOCK] = {"bus-lock", exit_again},
    [37] = {"notify", exit_again}, /* KVM_EXIT_NOTIFY, Linux 6.0 */
};

const char *vcpu_exit_name(unsigned reason)
{
    return reason < VCPU_EXIT_REASONS && exits[reason].name ? exits[reason].name : "other";
}

static void handle_exit(struct vcpu *vcpu)
{
    uint32_t reason = vcpu->run->exit_reason;
    unsigned slot = MIN(reason, (uint32_t)VCPU_EXIT_REASONS - 1);

    atomic_store_explicit(&vcpu->exits[slot],
                          atomic_load_explicit(&vcpu->exits[slot], memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (exits[slot].handle)
        exits[slot].handle(vcpu);
    else
        fail(vcpu, "exit reason not known to this monitor", reason);
}

static void *vcpu_thread(void *opaque)
{
    struct vcpu *vcpu = opaque;
    sigset_t set;

    current = vcpu;
    atomic_store(&vcpu->tid, (int)syscall(SYS_gettid));
    sigemptyset(&set);
    sigaddset(&set, KICK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);

    bool go_on = vcpu_attend(vcpu);
    while (go_on) {
        if (ioctl(vcpu->fd, KVM_RUN, 0) == 0) {
            handle_exit(vcpu);
        } else if (errno == EINTR || errno == EAGAIN) {
            go_on = vcpu_attend(vcpu);
        } else if (vcpu->run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
            handle_exit(vcpu);
        } else {
            fail(vcpu, "KVM_RUN failed", (uint64_t)errno);
            go_on = vcpu_attend(vcpu);
        }
    }
    return NULL;
}

static int create_one(struct machine *machine, struct vcpu *vcpu, unsigned index,
                      struct kv_error *err)
{
    vcpu->machine = machine;
    vcpu->index = index;
    vcpu->absent = index >= machine->config.cpus.count;
    vcpu->fd = ioctl(machine->kvm.vm_fd, KVM_CREATE_VCPU, (long)index);
    if (vcpu->fd < 0)
        return kv_error_errno(err, KV_ERR_KVM, errno, "vCPU %u cannot be created", index);
    void *run = mmap(NULL, machine->kvm.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (run == MAP_FAILED)
        return kv_error_errno(err, KV_ERR_KVM, errno, "vCPU %u cannot be mapped", index);
    vcpu->run = run;
    vcpu_stats_open(vcpu);
    return 0;
}

int vcpu_create_all(struct machine *machine, struct kv_error *err)
{
    unsigned count = (unsigned)machine->config.cpus.max;

    pthread_mutex_init(&machine->vcpu_control.lock, NULL);
    pthread_cond_init(&machine->vcpu_control.changed, NULL);
    machine->vcpu_control.paused = true;
    if (count > machine->kvm.max_vcpus)
        return kv_error_set(err, KV_ERR_KVM, EINVAL, "%u vCPUs asked for; this host's KVM has %u",
                            count, machine->kvm.max_vcpus);
    machine->vcpus = calloc(count, sizeof(*machine->vcpus));
    if (!machine->vcpus)
        return kv_error_set(err, KV_ERR_KVM, ENOMEM, "%u vCPUs: out of memory", count);
    for (unsigned i = 0; i < count; i++)
        machine->vcpus[i].fd = machine->vcpus[i].stats_fd = -1;
    machine->vcpu_count = count;
    for (unsigned i = 0; i < count; i++) {
        int rc = create_one(machine, &machine->vcpus[i], i, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

void vcpu_destroy_all(struct machine *machine)
{
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        struct vcpu *vcpu = &machine->vcpus[i];
        if (vcpu->run)
            munmap(vcpu->run, machine->kvm.run_size);
        if (vcpu->stats_fd >= 0)
            close(vcpu->stats_fd);
        if (vcpu->fd >= 0)
            close(vcpu->fd);
    }
    free(machine->vcpus);
    machine->vcpus = NULL;
    machine->vcpu_count = 0;
}

int vcpu_start_all(struct machine *machine, struct kv_error *err)
{
    install_kick();
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        struct vcpu *vcpu = &machine->vcpus[i];
        char name[16];
        snprintf(name, sizeof(name), "vcpu%u", i);
        int rc = thread_start(&vcpu->thread, THREAD_VCPU, name, vcpu_thread, vcpu);
        if (rc < 0)
            return kv_error_errno(err, KV_ERR_KVM, -rc, "thread of vCPU %u", i);
        vcpu->started = true;
    }
    return 0;
}

void vcpu_stop_all(struct machine *machine)
{
    struct vcpu_control *control = &machine->vcpu_control;

    pthread_mutex_lock(&control->lock);
    control->stopping = true;
    pthread_cond_broadcast(&control->changed);
    pthread_mutex_unlock(&control->lock);
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        if (!machine->vcpus[i].started)
            continue;
        kick(&machine->vcpus[i]);
        pthread_join(machine->vcpus[i].thread, NULL);
        machine->vcpus[i].started = false;
    }
}

/* Kicks all and waits until each is parked, or has seen the synchronization. Under lock. */
static void kick_and_wait(struct machine *machine, bool until_parked)
{
    struct vcpu_control *control = &machine->vcpu_control;

    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        if (machine->vcpus[i].started && !machine->vcpus[i].parked)
            kick(&machine->vcpus[i]);
    }
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        struct vcpu *vcpu = &machine->vcpus[i];
        while (vcpu->started && !vcpu->parked &&
               (until_parked || vcpu->seen != control->synchronization))
            pthread_cond_wait(&control->changed, &control->lock);
    }
}

void vcpu_pause_all(struct machine *machine)
{
    pthread_mutex_lock(&machine->vcpu_control.lock);
    machine->vcpu_control.paused = true;
    kick_and_wait(machine, true);
    pthread_mutex_unlock(&machine->vcpu_control.lock);
}

void vcpu_resume_all(struct machine *machine)
{
    pthread_mutex_lock(&machine->vcpu_control.lock);
    machine->vcpu_control.paused = false;
    pthread_cond_broadcast(&machine->vcpu_control.changed);
    pthread_mutex_unlock(&machine->vcpu_control.lock);
}

bool vcpu_is_present(struct vcpu *vcpu)
{
    struct vcpu_control *control = &vcpu->machine->vcpu_control;
    pthread_mutex_lock(&control->lock);
    bool present = !vcpu->absent;
    pthread_mutex_unlock(&control->lock);
    return present;
}

unsigned vcpu_present_count(struct machine *machine)
{
    unsigned count = 0;
    for (unsigned i = 0; i < machine->vcpu_count; i++)
        count += vcpu_is_present(&machine->vcpus[i]);
    return count;
}

int vcpu_plug(struct vcpu *vcpu, struct kv_error *err)
{
    struct vcpu_control *control = &vcpu->machine->vcpu_control;
    int rc = x86_vcpu_reset(vcpu, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&control->lock);
    vcpu->absent = false;
    vcpu->held = false;
    pthread_cond_broadcast(&control->changed);
    pthread_mutex_unlock(&control->lock);
    return 0;
}

void vcpu_unplug(struct vcpu *vcpu)
{
    struct vcpu_control *control = &vcpu->machine->vcpu_control;
    pthread_mutex_lock(&control->lock);
    vcpu->absent = true;
    if (vcpu->started && !vcpu->parked)
        kick(vcpu);
    while (vcpu->started && !vcpu->parked)
        pthread_cond_wait(&control->changed, &control->lock);
    pthread_mutex_unlock(&control->lock);
}

void vcpu_synchronize_all(struct machine *machine)
{
    pthread_mutex_lock(&machine->vcpu_control.lock);
    machine->vcpu_control.synchronization++;
    kick_and_wait(machine, false);
    pthread_mutex_unlock(&machine->vcpu_control.lock);
}

void vcpu_hold_current(void)
{
    if (!current)
        return;
    pthread_mutex_lock(&current->machine->vcpu_control.lock);
    current->held = true;
    __atomic_store_n(&current->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&current->machine->vcpu_control.lock);
}

void vcpu_release_all(struct machine *machine)
{
    pthread_mutex_lock(&machine->vcpu_control.lock);
    for (unsigned i = 0; i < machine->vcpu_count; i++)
        machine->vcpus[i].held = false;
    pthread_cond_broadcast(&machine->vcpu_control.changed);
    pthread_mutex_unlock(&machine->vcpu_control.lock);
}

int vcpu_inject_nmi_all(struct machine *machine)
{
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        if (vcpu_is_present(&machine->vcpus[i]) && ioctl(machine->vcpus[i].fd, KVM_NMI) < 0)
            return -errno;
    }
    return 0;
}
