/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every kind of device that can be asked for, a row each. */
#include <stddef.h>

#include "vmm/device.h"
#include "vmm/devices/classes.h"
#include "vmm/storage/classes.h"
#include "vmm/virtio/classes.h"

/* clang-format off */
const struct device_class *const device_classes[] = {
    &add_fd_class,
    &secret_class,
    &serial_class,
    &debugcon_class,
    &nvme_class,
    &sata_class,
    &virtio_scsi_class,
    &disk_class,
    &cdrom_class,
    &virtio_net_class,
    &virtio_console_class,
    &virtio_port_class,
    &virtio_vsock_class,
#ifdef KV_HOSTILE_TEST
    &hostile_class,
#endif
    &virtio_rng_class,
    &virtio_balloon_class,
    &watchdog_class,
    &vga_class,
    &virtio_gpu_class,
    &xhci_class,
    &input_class,
    &smbios_class,
    &tpm_class,
    &vnc_class,
    NULL,
};
/* clang-format on */
