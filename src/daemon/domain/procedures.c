/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The domain driver's procedures: the rows of all call_*.c joined to one array. */
#include "daemon/domain/call.h"

static const struct call_rows *const parts[] = {
    &call_list_rows,  &call_define_rows, &call_life_rows,   &call_info_rows,    &call_tune_rows,
    &call_vcpus_rows, &call_params_rows, &call_cpu_rows,    &call_iotune_rows,  &call_metadata_rows,
    &call_stats_rows, &call_bulk_rows,   &call_device_rows, &call_console_rows, &call_native_rows,
    &call_pin_rows,   &call_screen_rows, &call_agent_rows,  &call_freeze_rows,  &call_guest_rows,
    &call_none_rows,
};

/* A procedure has one row, and zeros end the array. */
struct rpc_handler domain_handlers[REMOTE_PROC_END + 1];

__attribute__((constructor)) static void join_rows(void)
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        for (size_t k = 0; k < parts[i]->count && n < REMOTE_PROC_END; k++)
            domain_handlers[n++] = parts[i]->rows[k];
}
