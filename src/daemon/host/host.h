/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The driver of the host's facts: processors, memory, firmware's tables, capabilities. All is read
 * from proc(5) and sysfs when it is asked for. */
#ifndef KV_DAEMON_HOST_HOST_H
#define KV_DAEMON_HOST_HOST_H

#include "daemon/driver.h"

extern const struct daemon_driver host_driver;

/* capabilities.c */
rpc_handler_fn host_capabilities, host_domain_capabilities, host_cpu_models, host_baseline_cpu,
    host_baseline_hypervisor_cpu;
/* cpu.c */
rpc_handler_fn host_node_info, host_cpu_map, host_cpu_stats;
/* memory.c */
rpc_handler_fn host_memory_stats, host_free_memory, host_cells_free_memory, host_free_pages,
    host_alloc_pages, host_memory_parameters, host_set_memory_parameters;
/* firmware.c */
rpc_handler_fn host_sysinfo, host_security_model;

#endif
