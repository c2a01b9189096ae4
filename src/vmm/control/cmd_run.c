/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that look at the run state and change it. */
#include "vmm/control/commands.h"
#include "vmm/machine/machine.h"

static json_t *query_status(struct qmp_call *call)
{
    enum run_state state = call->machine->state;
    return json_pack("{s:b, s:b, s:s}", "running", state == RUN_RUNNING, "singlestep", 0, "status",
                     run_state_name(state));
}

static json_t *stop(struct qmp_call *call)
{
    return machine_stop(call->machine, RUN_PAUSED, &call->error) < 0 ? NULL : qmp_done();
}

static json_t *cont(struct qmp_call *call)
{
    return machine_cont(call->machine, &call->error) < 0 ? NULL : qmp_done();
}

static json_t *system_reset(struct qmp_call *call)
{
    machine_request(call->machine, REQUEST_HOST_RESET);
    return qmp_done();
}

static json_t *system_powerdown(struct qmp_call *call)
{
    machine_request(call->machine, REQUEST_POWERDOWN);
    return qmp_done();
}

static json_t *inject_nmi(struct qmp_call *call)
{
    return machine_inject_nmi(call->machine, &call->error) < 0 ? NULL : qmp_done();
}

static json_t *quit(struct qmp_call *call)
{
    machine_request(call->machine, REQUEST_QUIT);
    return qmp_done();
}

const struct qmp_command qmp_run_commands[] = {
    {"query-status", "the run state", query_status},
    {"stop", "stops the vCPUs and the devices", stop},
    {"cont", "lets them run", cont},
    {"system_reset", "resets the machine", system_reset},
    {"system_powerdown", "presses the power button", system_powerdown},
    {"inject-nmi", "an NMI to every vCPU", inject_nmi},
    {"quit", "ends the process", quit},
    {NULL},
};
