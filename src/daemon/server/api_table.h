/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of all procedures and who serves them, as docs/libvirt-api.md has it. */
#ifndef KV_DAEMON_SERVER_API_TABLE_H
#define KV_DAEMON_SERVER_API_TABLE_H

#include <stdio.h>

#include "daemon/driver.h"

/* drivers: NULL at the end. */
void api_table_print(const struct daemon_driver *const *drivers, FILE *to);

#endif
