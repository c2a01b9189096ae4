/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What KVM itself counts of a vCPU: exits that never reach us are among it. Its file of statistics
 * (KVM API, 4.133, KVM_GET_STATS_FD; Linux 5.14) is opened with the vCPU, since the call waits for
 * one that runs, and says where each figure lies. Control thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "vmm/kvm/vcpu.h"

#define DESCRIPTORS_MAX 1024
#define NAME_MAX_BYTES 256

static const char *const names[VCPU_STATS] = {
    "exits", "halt_exits", "io_exits", "irq_exits", "mmio_exits", "signal_exits",
};

void vcpu_stats_open(struct vcpu *vcpu)
{
    vcpu->stats_fd = ioctl(vcpu->fd, KVM_GET_STATS_FD, 0);
}

static void note_place(struct vcpu *vcpu, const struct kvm_stats_header *header,
                       const struct kvm_stats_desc *desc)
{
    bool counts = (desc->flags & KVM_STATS_TYPE_MASK) == KVM_STATS_TYPE_CUMULATIVE &&
                  (desc->flags & KVM_STATS_UNIT_MASK) == KVM_STATS_UNIT_NONE && desc->size == 1;
    for (unsigned i = 0; counts && i < VCPU_STATS; i++)
        if (strncmp(desc->name, names[i], header->name_size) == 0)
            vcpu->stats_at[i] = (uint64_t)header->data_offset + desc->offset;
}

/* 0 and -errno; the places of figures that this kernel does not have stay 0. */
static int find_places(struct vcpu *vcpu)
{
    struct kvm_stats_header header;
    if (pread(vcpu->stats_fd, &header, sizeof(header), 0) != sizeof(header) ||
        header.num_desc > DESCRIPTORS_MAX || header.name_size > NAME_MAX_BYTES)
        return -EIO;
    size_t step = sizeof(struct kvm_stats_desc) + header.name_size, len = step * header.num_desc;
    cleanup_free char *descs = malloc(len + 1);
    if (!descs)
        return -ENOMEM;
    if (pread(vcpu->stats_fd, descs, len, header.desc_offset) != (ssize_t)len)
        return -EIO;
    for (unsigned i = 0; i < header.num_desc; i++)
        note_place(vcpu, &header, (const struct kvm_stats_desc *)(descs + i * step));
    return 0;
}

json_t *vcpu_stats(struct vcpu *vcpu)
{
    json_t *out = json_object();
    if (vcpu->stats_fd < 0)
        return out;
    if (!vcpu->stats_found && find_places(vcpu) < 0) {
        close(vcpu->stats_fd);
        vcpu->stats_fd = -1;
        return out;
    }
    vcpu->stats_found = true;
    for (unsigned i = 0; i < VCPU_STATS; i++) {
        uint64_t value;
        if (vcpu->stats_at[i] &&
            pread(vcpu->stats_fd, &value, sizeof(value), (off_t)vcpu->stats_at[i]) == sizeof(value))
            json_object_set_new(out, names[i], json_integer((json_int_t)value));
    }
    return out;
}
