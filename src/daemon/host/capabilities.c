/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Documents by which clients choose what they define: capabilities, and CPU models. The model
 * writes them. */
#include <libvirt/libvirt.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/host/host.h"
#include "model/api_error.h"
#include "model/cpu.h"
#include "model/host.h"

static const char *text_or_null(char *const *text)
{
    return text ? *text : NULL;
}

int host_capabilities(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const struct daemon *daemon = rpc_call_opaque(call);
    REMOTE_RET(CONNECT_GET_CAPABILITIES) *out = ret;
    out->capabilities = model_host_capabilities(daemon->host);
    return out->capabilities ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

int host_domain_capabilities(struct rpc_call *call, const void *args, void *ret,
                             struct kv_error *err)
{
    const struct daemon *daemon = rpc_call_opaque(call);
    const REMOTE_ARGS(CONNECT_GET_DOMAIN_CAPABILITIES) *in = args;
    REMOTE_RET(CONNECT_GET_DOMAIN_CAPABILITIES) *out = ret;
    int r = rpc_call_check_flags(call, VIR_FROM_QEMU, in->flags, 0, err);
    return r < 0 ? r
                 : model_host_domain_capabilities(daemon->host, text_or_null(in->emulatorbin),
                                                  text_or_null(in->arch), text_or_null(in->machine),
                                                  text_or_null(in->virttype), &out->capabilities,
                                                  err);
}

int host_cpu_models(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(CONNECT_GET_CPU_MODEL_NAMES) *in = args;
    REMOTE_RET(CONNECT_GET_CPU_MODEL_NAMES) *out = ret;
    const char *const *names;
    unsigned count;
    int r = rpc_call_check_flags(call, VIR_FROM_QEMU, in->flags, 0, err);
    if (r == 0)
        r = model_host_cpu_models(in->arch, &names, &count, err);
    if (r < 0)
        return r;
    out->result = (int)count;
    if (!in->want_list || count == 0)
        return 0;
    out->models.models_val = calloc(count, sizeof(wire_text));
    for (unsigned i = 0; out->models.models_val && i < count; i++) {
        out->models.models_val[i] = strdup(names[i]);
        if (!out->models.models_val[i])
            return api_error(err, VIR_ERR_NO_MEMORY, NULL);
        out->models.models_len++;
    }
    return out->models.models_val ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

#define BASELINE_FLAGS \
    (VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES | VIR_CONNECT_BASELINE_CPU_MIGRATABLE)

int host_baseline_cpu(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(CONNECT_BASELINE_CPU) *in = args;
    REMOTE_RET(CONNECT_BASELINE_CPU) *out = ret;
    int r = rpc_call_check_flags(call, VIR_FROM_QEMU, in->flags, BASELINE_FLAGS, err);
    return r < 0 ? r
                 : cpu_baseline(in->xml_cpus.xml_cpus_val, in->xml_cpus.xml_cpus_len, in->flags,
                                &out->cpu, err);
}

/* What the monitor gives a guest is what its host has. */
int host_baseline_hypervisor_cpu(struct rpc_call *call, const void *args, void *ret,
                                 struct kv_error *err)
{
    const struct daemon *daemon = rpc_call_opaque(call);
    const REMOTE_ARGS(CONNECT_BASELINE_HYPERVISOR_CPU) *in = args;
    REMOTE_RET(CONNECT_BASELINE_HYPERVISOR_CPU) *out = ret;
    char *capabilities = NULL;
    int r = rpc_call_check_flags(call, VIR_FROM_QEMU, in->flags, BASELINE_FLAGS, err);
    if (r == 0) /* only to check what was asked for */
        r = model_host_domain_capabilities(daemon->host, text_or_null(in->emulator),
                                           text_or_null(in->arch), text_or_null(in->machine),
                                           text_or_null(in->virttype), &capabilities, err);
    free(capabilities);
    return r < 0 ? r
                 : cpu_baseline(in->xml_cpus.xml_cpus_val, in->xml_cpus.xml_cpus_len, in->flags,
                                &out->cpu, err);
}
