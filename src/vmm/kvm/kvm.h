/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Thin wrapper of the KVM API (Linux Documentation/virt/kvm/api.rst): the
 * system and VM descriptors, memory slots, interrupt routes, eventfds. vCPUs
 * are in vcpu.h. Functions return 0 or -errno unless they say otherwise.
 */
#ifndef KV_VMM_KVM_KVM_H
#define KV_VMM_KVM_KVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct kvm {
    int fd; /* /dev/kvm; closed once the vCPUs are set up */
    int vm_fd;
    unsigned run_size; /* bytes of struct kvm_run's mapping */
    unsigned max_vcpus;
    unsigned next_slot;
    pthread_mutex_t route_lock;
    struct kvm_irq_routing *routing; /* under route_lock */
    unsigned routing_capacity;
    unsigned gsi_next; /* first GSI for MSI routes that was never used */
};

/* fd -1: opens /dev/kvm; else takes the descriptor over. Creates the VM with its in-kernel
 * interrupt controllers; errors say what the host lacks. */
int kvm_create(struct kvm *kvm, int fd, struct kv_error *err);
/* The in-kernel timer. Any thread. */
int kvm_create_pit(struct kvm *kvm, struct kv_error *err);
void kvm_destroy(struct kvm *kvm);

int kvm_check_extension(const struct kvm *kvm, int capability); /* the value, 0 when absent */
int kvm_enable_cap(const struct kvm *kvm, uint32_t capability, uint64_t arg0);

/* A new slot of guest memory. flags: KVM_MEM_*. */
int kvm_add_memory(struct kvm *kvm, uint64_t gpa, uint64_t size, void *hva, uint32_t flags);
/* A slot that is changed later: kvm_set_memory() gives it memory, or none with size 0. A number is
 * taken while one thread builds the machine; the other: any thread. */
unsigned kvm_new_slot(struct kvm *kvm);
int kvm_set_memory(struct kvm *kvm, unsigned slot, uint64_t gpa, uint64_t size, void *hva,
                   uint32_t flags);

/* Which pages of a slot with KVM_MEM_LOG_DIRTY_PAGES were written since the last call, a bit each.
 */
int kvm_dirty_log(struct kvm *kvm, unsigned slot, uint64_t *bitmap);

/* Interrupts. Any thread. */
int kvm_set_line(struct kvm *kvm, unsigned gsi, bool high);
int kvm_send_msi(struct kvm *kvm, uint64_t address, uint32_t data);

/* Routes eventfd to a message; *gsi -1: a new route, else changes that route. */
int kvm_msi_connect(struct kvm *kvm, int *gsi, int eventfd, uint64_t address, uint32_t data);
void kvm_msi_disconnect(struct kvm *kvm, int gsi, int eventfd);
/* Frees the route number for others. */
void kvm_msi_release(struct kvm *kvm, int gsi);

int kvm_ioeventfd(struct kvm *kvm, bool add, bool pio, uint64_t address, unsigned len, int eventfd);

/* What runs on this host; kvasir doctor, the demo and tests tell them apart. */
enum kvm_kind {
    KVM_NONE,      /* /dev/kvm cannot be used */
    KVM_EMULATING, /* opens, but the CPU shows neither svm nor vmx */
    KVM_HARDWARE,
};
enum kvm_kind kvm_probe(void);

#endif
