/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that look at the run state and change it. */
#include <string.h>

#include "base/util.h"
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

static json_t *query_current_machine(struct qmp_call *call)
{
    return json_pack("{s:b}", "wakeup-suspend-support", 0);
}

/* What can be chosen for an event; QEMU's words. */
static const struct action {
    const char *event, *value;
    int on_panic;               /* enum panic_action, or -1: not about panics */
    int no_reboot, no_shutdown; /* 0, 1, or -1: not about that */
} actions[] = {
    {"reboot", "reset", -1, 0, -1},          {"reboot", "shutdown", -1, 1, -1},
    {"shutdown", "poweroff", -1, -1, 0},     {"shutdown", "pause", -1, -1, 1},
    {"panic", "pause", PANIC_PAUSE, -1, -1}, {"panic", "shutdown", PANIC_SHUTDOWN, -1, -1},
    {"panic", "none", PANIC_NONE, -1, -1},   {"panic", "exit-failure", PANIC_SHUTDOWN, -1, -1},
};

static const struct action *find_action(const char *event, const char *value)
{
    for (unsigned i = 0; i < ARRAY_SIZE(actions); i++) {
        if (strcmp(actions[i].event, event) == 0 && strcmp(actions[i].value, value) == 0)
            return &actions[i];
    }
    return NULL;
}

static json_t *set_action(struct qmp_call *call)
{
    static const char *const events[] = {"reboot", "shutdown", "panic"};
    struct machine_config *config = &call->machine->config;
    const struct action *chosen[ARRAY_SIZE(events)] = {NULL};
    for (unsigned i = 0; i < ARRAY_SIZE(events); i++) {
        const char *value = qmp_string(call, events[i]);
        chosen[i] = value ? find_action(events[i], value) : NULL;
        if (value && !chosen[i])
            return qmp_fail(call, QMP_GENERIC_ERROR,
                            "Parameter '%s' does not accept value '%.100s'", events[i], value);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(events); i++) {
        if (chosen[i] && chosen[i]->on_panic >= 0)
            config->on_panic = chosen[i]->on_panic;
        if (chosen[i] && chosen[i]->no_reboot >= 0)
            config->no_reboot = chosen[i]->no_reboot;
        if (chosen[i] && chosen[i]->no_shutdown >= 0)
            config->no_shutdown = chosen[i]->no_shutdown;
    }
    return qmp_done();
}

static const struct qmp_argument action_arguments[] = {
    {"reboot", QMP_STRING, .optional = true},
    {"shutdown", QMP_STRING, .optional = true},
    {"panic", QMP_STRING, .optional = true},
    {NULL},
};

const struct qmp_command qmp_run_commands[] = {
    {"query-status", "the run state", query_status},
    {"query-current-machine", "what the machine can do", query_current_machine},
    {"set-action", "what a guest's reset, power-off or panic leads to", set_action,
     action_arguments},
    {"stop", "stops the vCPUs and the devices", stop},
    {"cont", "lets them run", cont},
    {"system_reset", "resets the machine", system_reset},
    {"system_powerdown", "presses the power button", system_powerdown},
    {"inject-nmi", "an NMI to every vCPU", inject_nmi},
    {"quit", "ends the process", quit},
    {NULL},
};
