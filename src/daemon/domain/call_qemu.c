/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures of the QEMU program: commands that go to the monitor, or to the agent, as they are. */
#include <errno.h>
#include <libvirt/libvirt-qemu.h>

#include "daemon/domain/agent.h"
#include "rpc/qemu_procedure.h"

CALL(monitor_command)
{
    const QEMU_ARGS(DOMAIN_MONITOR_COMMAND) *in = args;
    QEMU_RET(DOMAIN_MONITOR_COMMAND) *out = ret;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP, err))
        return -EINVAL;
    if (in->flags & VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP)
        return api_error(err, VIR_ERR_OPERATION_UNSUPPORTED,
                         "there is no human monitor: QMP commands (JSON) are accepted");
    struct domain *domain = call_begin(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    struct domain_live *live = domain_live_get(domain, err);
    int result = live ? machine_qmp_text(live->machine, in->command, &out->answer, err) : -EINVAL;
    domain_live_put(live);
    call_end(call, domain);
    return result;
}

CALL(agent_command)
{
    const QEMU_ARGS(DOMAIN_AGENT_COMMAND) *in = args;
    QEMU_RET(DOMAIN_AGENT_COMMAND) *out = ret;
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    if (in->timeout < VIR_DOMAIN_QEMU_AGENT_COMMAND_MIN)
        return api_error(err, VIR_ERR_INVALID_ARG,
                         "guest agent timeout '%d' is less than the minimum '%d'", in->timeout,
                         VIR_DOMAIN_QEMU_AGENT_COMMAND_MIN);
    json_error_t where;
    cleanup_json json_t *request = json_loads(in->command, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(request))
        return api_error(err, VIR_ERR_INTERNAL_ERROR, "cannot parse json %s: %s", in->command,
                         request ? "an object is expected" : where.text);
    cleanup_agent struct agent agent = {0};
    if (agent_open(&agent, call, &in->dom, err))
        return -EINVAL;
    return agent_pass(&agent, request, in->timeout, &out->answer, err);
}

const struct rpc_handler domain_qemu_handlers[] = {
    {QEMU_PROC_DOMAIN_MONITOR_COMMAND, monitor_command, 0},
    {QEMU_PROC_DOMAIN_AGENT_COMMAND, agent_command, 0},
    {0},
};
