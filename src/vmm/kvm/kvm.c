/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Thin wrapper of the KVM API; see kvm.h. */
#include "vmm/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "vmm/x86/layout.h"

/* What the monitor cannot do without. */
static const struct {
    int capability;
    const char *name;
} required[] = {
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
    {KVM_CAP_PIT2, "KVM_CAP_PIT2"},
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
    {KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
    {KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
    {KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
};

static int open_kvm(struct kvm *kvm, int fd, struct kv_error *err)
{
    kvm->fd = fd >= 0 ? fd : open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm->fd < 0)
        return kv_error_errno(err, KV_ERR_KVM, errno,
                              "/dev/kvm cannot be opened (is the kvm module loaded, and may this "
                              "user use it?)");
    int version = ioctl(kvm->fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION)
        return kv_error_set(err, KV_ERR_KVM, ENOTSUP, "KVM's API has version %d; %d is needed",
                            version, KVM_API_VERSION);
    return 0;
}

static int check_required(struct kvm *kvm, struct kv_error *err)
{
    for (unsigned i = 0; i < ARRAY_SIZE(required); i++) {
        if (kvm_check_extension(kvm, required[i].capability) <= 0)
            return kv_error_set(err, KV_ERR_KVM, ENOTSUP,
                                "this host's KVM lacks %s, which is needed", required[i].name);
    }
    return 0;
}

static int create_irqchip(struct kvm *kvm, struct kv_error *err)
{
    uint64_t identity_map = LAYOUT_IDENTITY_MAP;

    if (ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0 ||
        ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, LAYOUT_TSS) < 0)
        return kv_error_errno(err, KV_ERR_KVM, errno, "KVM refuses addresses for its own pages");
    if (ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
        return kv_error_errno(err, KV_ERR_KVM, errno, "KVM_CREATE_IRQCHIP");
    return 0;
}

int kvm_create_pit(struct kvm *kvm, struct kv_error *err)
{
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    if (ioctl(kvm->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
        return kv_error_errno(err, KV_ERR_KVM, errno, "KVM_CREATE_PIT2");
    return 0;
}

/* The routes that KVM_CREATE_IRQCHIP makes by itself; setting MSI routes replaces the whole table,
 * so they are kept in ours. */
static int init_routing(struct kvm *kvm)
{
    kvm->routing_capacity = 64;
    kvm->routing =
        calloc(1, sizeof(*kvm->routing) + kvm->routing_capacity * sizeof(kvm->routing->entries[0]));
    if (!kvm->routing)
        return -ENOMEM;
    struct kvm_irq_routing_entry *e = kvm->routing->entries;
    for (unsigned gsi = 0; gsi < GSI_IOAPIC_PINS; gsi++) {
        if (gsi < 16 && gsi != 2) {
            e->gsi = gsi;
            e->type = KVM_IRQ_ROUTING_IRQCHIP;
            e->u.irqchip.irqchip = gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
            e->u.irqchip.pin = gsi % 8;
            e++;
        }
        e->gsi = gsi;
        e->type = KVM_IRQ_ROUTING_IRQCHIP;
        e->u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
        e->u.irqchip.pin = gsi;
        e++;
    }
    kvm->routing->nr = (uint32_t)(e - kvm->routing->entries);
    kvm->gsi_next = GSI_IOAPIC_PINS;
    return 0;
}

int kvm_create(struct kvm *kvm, int fd, struct kv_error *err)
{
    *kvm = (struct kvm){.fd = -1, .vm_fd = -1};
    pthread_mutex_init(&kvm->route_lock, NULL);
    int rc = open_kvm(kvm, fd, err);
    if (rc == 0)
        rc = check_required(kvm, err);
    if (rc < 0)
        goto fail;
    do {
        kvm->vm_fd = ioctl(kvm->fd, KVM_CREATE_VM, 0);
    } while (kvm->vm_fd < 0 && errno == EINTR);
    if (kvm->vm_fd < 0) {
        rc = kv_error_errno(err, KV_ERR_KVM, errno, "KVM_CREATE_VM");
        goto fail;
    }
    rc = create_irqchip(kvm, err);
    if (rc == 0 && init_routing(kvm) < 0)
        rc = kv_error_set(err, KV_ERR_KVM, ENOMEM, "out of memory");
    if (rc < 0)
        goto fail;
    int size = ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    int max = kvm_check_extension(kvm, KVM_CAP_MAX_VCPUS);
    kvm->run_size = (unsigned)MAX(size, 4096);
    kvm->max_vcpus = (unsigned)MAX(max, 4);
    return 0;
fail:
    kvm_destroy(kvm);
    return rc;
}

void kvm_destroy(struct kvm *kvm)
{
    if (kvm->vm_fd >= 0)
        close(kvm->vm_fd);
    if (kvm->fd >= 0)
        close(kvm->fd);
    kvm->fd = kvm->vm_fd = -1;
    free(kvm->routing);
    kvm->routing = NULL;
    pthread_mutex_destroy(&kvm->route_lock);
}

int kvm_check_extension(const struct kvm *kvm, int capability)
{
    int value = -1;
    if (kvm->vm_fd >= 0)
        value = ioctl(kvm->vm_fd, KVM_CHECK_EXTENSION, (long)capability);
    if (value < 0)
        value = ioctl(kvm->fd, KVM_CHECK_EXTENSION, (long)capability);
    return MAX(value, 0);
}

int kvm_enable_cap(const struct kvm *kvm, uint32_t capability, uint64_t arg0)
{
    struct kvm_enable_cap cap = {.cap = capability, .args = {arg0}};
    return ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &cap) < 0 ? -errno : 0;
}

unsigned kvm_new_slot(struct kvm *kvm)
{
    return kvm->next_slot++;
}

int kvm_set_memory(struct kvm *kvm, unsigned slot, uint64_t gpa, uint64_t size, void *hva,
                   uint32_t flags)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot,
        .flags = flags,
        .guest_phys_addr = gpa,
        .memory_size = size,
        .userspace_addr = (uintptr_t)hva,
    };
    return ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

int kvm_add_memory(struct kvm *kvm, uint64_t gpa, uint64_t size, void *hva, uint32_t flags)
{
    return kvm_set_memory(kvm, kvm_new_slot(kvm), gpa, size, hva, flags);
}

int kvm_dirty_log(struct kvm *kvm, unsigned slot, uint64_t *bitmap)
{
    struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = bitmap};
    return ioctl(kvm->vm_fd, KVM_GET_DIRTY_LOG, &log) < 0 ? -errno : 0;
}

int kvm_set_line(struct kvm *kvm, unsigned gsi, bool high)
{
    struct kvm_irq_level level = {.irq = gsi, .level = high};
    return ioctl(kvm->vm_fd, KVM_IRQ_LINE, &level) < 0 ? -errno : 0;
}

int kvm_send_msi(struct kvm *kvm, uint64_t address, uint32_t data)
{
    struct kvm_msi msi = {
        .address_lo = (uint32_t)address,
        .address_hi = (uint32_t)(address >> 32),
        .data = data,
    };
    return ioctl(kvm->vm_fd, KVM_SIGNAL_MSI, &msi) < 0 ? -errno : 0;
}

static struct kvm_irq_routing_entry *find_msi_route(struct kvm *kvm, unsigned gsi)
{
    for (unsigned i = 0; i < kvm->routing->nr; i++) {
        struct kvm_irq_routing_entry *e = &kvm->routing->entries[i];
        if (e->gsi == gsi && e->type == KVM_IRQ_ROUTING_MSI)
            return e;
    }
    return NULL;
}

/* The lowest number that no MSI route has. Under route_lock. */
static unsigned free_gsi(struct kvm *kvm)
{
    for (unsigned gsi = GSI_IOAPIC_PINS; gsi < kvm->gsi_next; gsi++) {
        if (!find_msi_route(kvm, gsi))
            return gsi;
    }
    return kvm->gsi_next++;
}

static struct kvm_irq_routing_entry *new_msi_route(struct kvm *kvm)
{
    if (kvm->routing->nr == kvm->routing_capacity) {
        unsigned capacity = kvm->routing_capacity * 2;
        struct kvm_irq_routing *grown =
            realloc(kvm->routing, sizeof(*grown) + capacity * sizeof(grown->entries[0]));
        if (!grown)
            return NULL;
        kvm->routing = grown;
        kvm->routing_capacity = capacity;
    }
    unsigned gsi = free_gsi(kvm);
    struct kvm_irq_routing_entry *e = &kvm->routing->entries[kvm->routing->nr++];
    *e = (struct kvm_irq_routing_entry){.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI};
    return e;
}

static int irqfd(struct kvm *kvm, int gsi, int eventfd, bool connect)
{
    struct kvm_irqfd request = {
        .fd = (uint32_t)eventfd,
        .gsi = (uint32_t)gsi,
        .flags = connect ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
    };
    return ioctl(kvm->vm_fd, KVM_IRQFD, &request) < 0 ? -errno : 0;
}

int kvm_msi_connect(struct kvm *kvm, int *gsi, int eventfd, uint64_t address, uint32_t data)
{
    int rc = 0;

    pthread_mutex_lock(&kvm->route_lock);
    struct kvm_irq_routing_entry *e =
        *gsi >= 0 ? find_msi_route(kvm, (unsigned)*gsi) : new_msi_route(kvm);
    if (!e) {
        rc = -ENOSPC;
    } else {
        *gsi = (int)e->gsi;
        bool same = e->u.msi.address_lo == (uint32_t)address &&
                    e->u.msi.address_hi == (uint32_t)(address >> 32) && e->u.msi.data == data;
        e->u.msi.address_lo = (uint32_t)address;
        e->u.msi.address_hi = (uint32_t)(address >> 32);
        e->u.msi.data = data;
        if (!same && ioctl(kvm->vm_fd, KVM_SET_GSI_ROUTING, kvm->routing) < 0)
            rc = -errno;
    }
    pthread_mutex_unlock(&kvm->route_lock);
    if (rc == 0)
        rc = irqfd(kvm, *gsi, eventfd, true);
    return rc == -EBUSY ? 0 : rc; /* the eventfd was connected already: only the message changed */
}

void kvm_msi_disconnect(struct kvm *kvm, int gsi, int eventfd)
{
    irqfd(kvm, gsi, eventfd, false);
}

void kvm_msi_release(struct kvm *kvm, int gsi)
{
    pthread_mutex_lock(&kvm->route_lock);
    struct kvm_irq_routing_entry *e = gsi >= 0 ? find_msi_route(kvm, (unsigned)gsi) : NULL;
    if (e)
        *e = kvm->routing->entries[--kvm->routing->nr];
    pthread_mutex_unlock(&kvm->route_lock);
}

int kvm_ioeventfd(struct kvm *kvm, bool add, bool pio, uint64_t address, unsigned len, int eventfd)
{
    struct kvm_ioeventfd request = {
        .addr = address,
        .len = len,
        .fd = eventfd,
        .flags = (pio ? KVM_IOEVENTFD_FLAG_PIO : 0) | (add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
    };
    return ioctl(kvm->vm_fd, KVM_IOEVENTFD, &request) < 0 ? -errno : 0;
}

/* /proc/cpuinfo's flags line names svm or vmx as a word. */
static bool cpu_virtualizes(void)
{
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[4096];
    bool found = false;
    while (f && !found && fgets(line, sizeof(line), f)) {
        if (strncmp(line, "flags", 5) == 0)
            found = strstr(line, " svm ") || strstr(line, " vmx ");
    }
    if (f)
        fclose(f);
    return found;
}

enum kvm_kind kvm_probe(void)
{
    cleanup_fd int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
        return KVM_NONE;
    cleanup_fd int vm = ioctl(fd, KVM_CREATE_VM, 0);
    if (vm < 0)
        return KVM_NONE;
    return cpu_virtualizes() ? KVM_HARDWARE : KVM_EMULATING;
}
