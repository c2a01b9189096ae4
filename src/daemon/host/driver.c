/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host driver's handlers; see host.h. */
#include "daemon/host/host.h"

static int start(struct daemon *daemon, void **opaque, struct kv_error *err)
{
    *opaque = daemon;
    return 0;
}

static const struct rpc_handler handlers[] = {
    {REMOTE_PROC_CONNECT_GET_CAPABILITIES, host_capabilities, 0},
    {REMOTE_PROC_CONNECT_GET_DOMAIN_CAPABILITIES, host_domain_capabilities, 0},
    {REMOTE_PROC_CONNECT_GET_CPU_MODEL_NAMES, host_cpu_models, 0},
    {REMOTE_PROC_CONNECT_BASELINE_CPU, host_baseline_cpu, 0},
    {REMOTE_PROC_CONNECT_BASELINE_HYPERVISOR_CPU, host_baseline_hypervisor_cpu, 0},
    {REMOTE_PROC_NODE_GET_INFO, host_node_info, 0},
    {REMOTE_PROC_NODE_GET_CPU_MAP, host_cpu_map, 0},
    {REMOTE_PROC_NODE_GET_CPU_STATS, host_cpu_stats, 0},
    {REMOTE_PROC_NODE_GET_MEMORY_STATS, host_memory_stats, 0},
    {REMOTE_PROC_NODE_GET_FREE_MEMORY, host_free_memory, 0},
    {REMOTE_PROC_NODE_GET_CELLS_FREE_MEMORY, host_cells_free_memory, 0},
    {REMOTE_PROC_NODE_GET_FREE_PAGES, host_free_pages, 0},
    {REMOTE_PROC_NODE_ALLOC_PAGES, host_alloc_pages, 0},
    {REMOTE_PROC_NODE_GET_MEMORY_PARAMETERS, host_memory_parameters, 0},
    {REMOTE_PROC_NODE_SET_MEMORY_PARAMETERS, host_set_memory_parameters, 0},
    {REMOTE_PROC_CONNECT_GET_SYSINFO, host_sysinfo, 0},
    {REMOTE_PROC_NODE_GET_SECURITY_MODEL, host_security_model, RPC_INLINE},
    {0},
};

const struct daemon_driver host_driver = {
    .name = "host",
    .handlers = handlers,
    .start = start,
};
