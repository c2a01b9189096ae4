/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host's firmware says of it (SMBIOS, as sysfs shows it): for clients, and for guests that
 * are to say the same. */
#ifndef KV_DAEMON_MACHINE_DMI_H
#define KV_DAEMON_MACHINE_DMI_H

#include <stdbool.h>
#include <stddef.h>

#define DMI_SECTIONS 4 /* by the type of the structure, 0 to 3 */
#define DMI_TEXT_MAX 256

/* An entry as <sysinfo> names it, and the file that it is in. */
struct dmi_entry {
    const char *name, *file;
};

extern const struct dmi_section {
    const char *name;
    struct dmi_entry entries[8]; /* a name of NULL ends them */
} dmi_sections[DMI_SECTIONS];

/* False: the host does not say. */
bool dmi_read(const struct dmi_entry *entry, char *text, size_t size);

#endif
