/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains' XML from command lines of monitors. */
#include <errno.h>

#include "daemon/domain/call.h"
#include "model/native.h"

CALL(xml_from_native)
{
    const REMOTE_ARGS(CONNECT_DOMAIN_XML_FROM_NATIVE) *in = args;
    REMOTE_RET(CONNECT_DOMAIN_XML_FROM_NATIVE) *out = ret;
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    return model_domain_from_native(call_domains(call)->model_host, in->native_format,
                                    in->native_config, &out->domain_xml, err);
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_CONNECT_DOMAIN_XML_FROM_NATIVE, xml_from_native, 0},
};
const struct call_rows call_native_rows = {rows, ARRAY_SIZE(rows)};
