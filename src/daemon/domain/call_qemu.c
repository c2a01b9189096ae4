/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures of the QEMU program: commands that go to the monitor, or to the agent, as they are. */
#include <errno.h>
#include <libvirt/libvirt-qemu.h>

#include "daemon/domain/call.h"
#include "daemon/domain/live.h"
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
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    if (!domain || domain_check_active(domain, err))
        return -EINVAL;
    return api_error(err, VIR_ERR_ARGUMENT_UNSUPPORTED, "QEMU guest agent is not configured");
}

const struct rpc_handler domain_qemu_handlers[] = {
    {QEMU_PROC_DOMAIN_MONITOR_COMMAND, monitor_command, 0},
    {QEMU_PROC_DOMAIN_AGENT_COMMAND, agent_command, RPC_INLINE},
    {0},
};
