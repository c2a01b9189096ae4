/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's SMBIOS texts; see dmi.h. */
#include "daemon/machine/dmi.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

const struct dmi_section dmi_sections[DMI_SECTIONS] = {
    {"bios",
     {{"vendor", "bios_vendor"},
      {"version", "bios_version"},
      {"date", "bios_date"},
      {"release", "bios_release"}}},
    {"system",
     {{"manufacturer", "sys_vendor"},
      {"product", "product_name"},
      {"version", "product_version"},
      {"serial", "product_serial"},
      {"uuid", "product_uuid"},
      {"sku", "product_sku"},
      {"family", "product_family"}}},
    {"baseBoard",
     {{"manufacturer", "board_vendor"},
      {"product", "board_name"},
      {"version", "board_version"},
      {"serial", "board_serial"},
      {"asset", "board_asset_tag"}}},
    {"chassis",
     {{"manufacturer", "chassis_vendor"},
      {"version", "chassis_version"},
      {"serial", "chassis_serial"},
      {"asset", "chassis_asset_tag"}}},
};

bool dmi_read(const struct dmi_entry *entry, char *text, size_t size)
{
    char path[80];
    snprintf(path, sizeof(path), "/sys/class/dmi/id/%s", entry->file);
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return *text;
}
