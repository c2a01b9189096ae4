/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding devices of a domain by what people and clients call them; see domain.h. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "model/domain.h"

struct model_disk *model_domain_find_disk(const struct model_domain *domain,
                                          const char *target_or_path)
{
    for (int pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < domain->disk_count; i++) {
            struct model_disk *disk = &domain->disks[i];
            const char *name = pass == 0 ? disk->target : disk->image.path;
            if (name && strcmp(name, target_or_path) == 0)
                return disk;
        }
    }
    return NULL;
}

struct model_nic *model_domain_find_nic(const struct model_domain *domain,
                                        const char *target_or_mac)
{
    for (unsigned i = 0; i < domain->nic_count; i++) {
        struct model_nic *nic = &domain->nics[i];
        char mac[18];
        snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", nic->mac[0], nic->mac[1],
                 nic->mac[2], nic->mac[3], nic->mac[4], nic->mac[5]);
        if ((nic->target && strcmp(nic->target, target_or_mac) == 0) ||
            strcasecmp(mac, target_or_mac) == 0)
            return nic;
    }
    return NULL;
}

struct model_device *model_domain_find_alias(const struct model_domain *domain, const char *alias)
{
    for (unsigned i = 0; i < domain->device_count; i++) {
        struct model_device *device = domain->devices[i];
        if (device->alias && strcmp(device->alias, alias) == 0)
            return device;
    }
    return NULL;
}
