/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host's firmware says of it (SMBIOS, as sysfs shows it), and the security model. */
#include <errno.h>
#include <libvirt/libvirt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/host/host.h"
#include "daemon/machine/dmi.h"
#include "model/api_error.h"

static void put_escaped(FILE *to, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", to);
            break;
        case '>':
            fputs("&gt;", to);
            break;
        case '&':
            fputs("&amp;", to);
            break;
        default:
            if ((unsigned char)*text >= ' ' && (unsigned char)*text < 0x7f)
                putc(*text, to);
        }
    }
}

static void put_section(FILE *to, const struct dmi_section *section)
{
    char value[256];
    bool open = false;
    for (const struct dmi_entry *entry = section->entries; entry->name; entry++) {
        if (!dmi_read(entry, value, sizeof(value)))
            continue;
        if (!open)
            fprintf(to, "  <%s>\n", section->name);
        open = true;
        fprintf(to, "    <entry name='%s'>", entry->name);
        put_escaped(to, value);
        fputs("</entry>\n", to);
    }
    if (open)
        fprintf(to, "  </%s>\n", section->name);
}

int host_sysinfo(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(CONNECT_GET_SYSINFO) *in = args;
    REMOTE_RET(CONNECT_GET_SYSINFO) *out = ret;
    size_t size;
    if (rpc_call_check_flags(call, VIR_FROM_QEMU, in->flags, 0, err) < 0)
        return -EINVAL;
    FILE *to = open_memstream(&out->sysinfo, &size);
    if (!to)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    fputs("<sysinfo type='smbios'>\n", to);
    for (size_t i = 0; i < DMI_SECTIONS; i++)
        put_section(to, &dmi_sections[i]);
    fputs("</sysinfo>\n", to);
    return fclose(to) == 0 ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

int host_security_model(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(NODE_GET_SECURITY_MODEL) *out = ret;
    static const char model[] = "none", interpretation[] = "0";
    out->model.model_val = malloc(sizeof(model));
    out->doi.doi_val = malloc(sizeof(interpretation));
    if (!out->model.model_val || !out->doi.doi_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    memcpy(out->model.model_val, model, sizeof(model));
    memcpy(out->doi.doi_val, interpretation, sizeof(interpretation));
    out->model.model_len = sizeof(model);
    out->doi.doi_len = sizeof(interpretation);
    return 0;
}
