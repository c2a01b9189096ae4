/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vCPUs that come to a running machine and leave it; see machine.h. */
#include <stdio.h>

#include "daemon/machine/machine_internal.h"
#include "daemon/machine/tune.h"
#include "model/api_error.h"
#include "model/domain.h"

int machine_plug_vcpus(struct machine *machine, const struct model_domain *domain, unsigned first,
                       struct kv_error *err)
{
    int rc = 0;
    for (unsigned i = first; rc == 0 && i < domain->vcpus; i++)
        rc = machine_qmp(machine, "cpu-add", json_pack("{s:i}", "id", (int)i), NULL, err);
    if (rc == 0)
        rc = machine_set_affinity(machine, domain, err);
    return rc < 0 ? rc : machine_set_limits(machine, domain, domain, err);
}

int machine_unplug_vcpu(struct machine *machine, unsigned index, struct kv_error *err)
{
    char alias[16];
    snprintf(alias, sizeof(alias), "vcpu%u", index);
    const struct machine_request request = {
        .command = "x-kvasir-cpu-remove",
        .arguments = json_pack("{s:i}", "id", (int)index),
        .alias = alias,
    };
    enum machine_unplug how;
    int rc = machine_ask_back(machine, &request, &how, err);
    if (rc == 0 && how == MACHINE_UNPLUG_ASKED)
        rc = api_error(err, VIR_ERR_OPERATION_TIMEOUT,
                       "vcpu unplug request timed out. Unplug result must be manually inspected in "
                       "the domain");
    if (rc == 0 && how == MACHINE_UNPLUG_REFUSED)
        rc = api_error(err, VIR_ERR_OPERATION_FAILED,
                       "vcpu unplug request was rejected by the guest");
    return rc;
}
