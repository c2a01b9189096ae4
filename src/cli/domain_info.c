/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a machine is and how it is: dominfo, domstate, domid, dumpxml and their like. */
#include <libvirt/libvirt.h>
#include <time.h>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/state.h"
#include "cli/verbs.h"
#include "cli/xml.h"

#define COLUMNS 15

static void print_memory(struct cli *cli, const char *label, uint64_t kib)
{
    out_field(cli, COLUMNS, label, "%llu KiB", (unsigned long long)kib);
}

static void print_security(struct cli *cli, const wire_domain *domain)
{
    const REMOTE_RET(NODE_GET_SECURITY_MODEL) *model = CALL(cli, NODE_GET_SECURITY_MODEL);
    if (!model)
        return;
    const char *name = model->model.model_val, *doi = model->doi.doi_val;
    unsigned name_len = model->model.model_len, doi_len = model->doi.doi_len;
    if (!name_len || !name[0])
        return;
    out_field(cli, COLUMNS, "Security model:", "%.*s", (int)name_len, name);
    out_field(cli, COLUMNS, "Security DOI:", "%.*s", (int)doi_len, doi);
    const REMOTE_RET(DOMAIN_GET_SECURITY_LABEL) *label =
        CALL(cli, DOMAIN_GET_SECURITY_LABEL, .dom = *domain);
    if (label && label->label.label_len && label->label.label_val[0])
        out_field(cli, COLUMNS, "Security label:", "%.*s (%s)", (int)label->label.label_len,
                  label->label.label_val, label->enforcing ? "enforcing" : "permissive");
}

static void print_messages(struct cli *cli, const wire_domain *domain)
{
    const REMOTE_RET(DOMAIN_GET_MESSAGES) *messages =
        CALL(cli, DOMAIN_GET_MESSAGES, .dom = *domain);
    for (unsigned i = 0; messages && i < messages->msgs.msgs_len; i++) {
        if (i == 0)
            out_field(cli, COLUMNS, "Messages:", "%s", messages->msgs.msgs_val[i]);
        else
            out_print(cli, "%-*s %s\n", COLUMNS, "", messages->msgs.msgs_val[i]);
    }
}

int domain_info(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    out_field(cli, COLUMNS, "Id:", domain->id < 0 ? "-" : "%d", domain->id);
    out_field(cli, COLUMNS, "Name:", "%s", domain->name);
    out_field(cli, COLUMNS, "UUID:", "%s", uuid_to_text(cli, domain->uuid));
    const REMOTE_RET(DOMAIN_GET_OS_TYPE) *os = CALL(cli, DOMAIN_GET_OS_TYPE, .dom = *domain);
    if (os)
        out_field(cli, COLUMNS, "OS Type:", "%s", os->type);
    const REMOTE_RET(DOMAIN_GET_INFO) *info = CALL(cli, DOMAIN_GET_INFO, .dom = *domain);
    if (!info)
        return -1;
    out_field(cli, COLUMNS, "State:", "%s", state_text(info->state));
    out_field(cli, COLUMNS, "CPU(s):", "%d", info->nr_virt_cpu);
    if (info->cpu_time)
        out_field(cli, COLUMNS, "CPU time:", "%.1lfs", (double)info->cpu_time / 1e9);
    if (info->max_mem != UINT32_MAX)
        print_memory(cli, "Max memory:", info->max_mem);
    else
        out_field(cli, COLUMNS, "Max memory:", "no limit");
    print_memory(cli, "Used memory:", info->memory);
    const REMOTE_RET(DOMAIN_IS_PERSISTENT) *persistent =
        CALL(cli, DOMAIN_IS_PERSISTENT, .dom = *domain);
    out_field(cli, COLUMNS, "Persistent:", "%s",
              !persistent              ? "unknown"
              : persistent->persistent ? "yes"
                                       : "no");
    const REMOTE_RET(DOMAIN_GET_AUTOSTART) *start = CALL(cli, DOMAIN_GET_AUTOSTART, .dom = *domain);
    if (start)
        out_field(cli, COLUMNS, "Autostart:", "%s", start->autostart ? "enable" : "disable");
    const REMOTE_RET(DOMAIN_HAS_MANAGED_SAVE_IMAGE) *saved =
        CALL(cli, DOMAIN_HAS_MANAGED_SAVE_IMAGE, .dom = *domain);
    out_field(cli, COLUMNS, "Managed save:", "%s",
              !saved          ? "unknown"
              : saved->result ? "yes"
                              : "no");
    print_security(cli, domain);
    print_messages(cli, domain);
    return 0;
}

int domain_state(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const REMOTE_RET(DOMAIN_GET_STATE) *state =
        domain ? CALL(cli, DOMAIN_GET_STATE, .dom = *domain) : NULL;
    if (!state)
        return -1;
    const char *text = state_text(state->state);
    const char *reason = state_reason_text(state->state, state->reason);
    out_key(cli, "state", "%s", text);
    out_key(cli, "reason", "%s", reason);
    if (arg_on(cli, "reason"))
        out_print(cli, "%s (%s)\n", text, reason);
    else
        out_print(cli, "%s\n", text);
    return 0;
}

int domain_id(struct cli *cli)
{
    const wire_domain *domain = lookup_domain_except(cli, BY_ID);
    if (!domain)
        return -1;
    return out_value(cli, "id", domain->id < 0 ? "-" : "%d", domain->id);
}

int domain_name(struct cli *cli)
{
    const wire_domain *domain = lookup_domain_except(cli, BY_NAME);
    return domain ? out_value(cli, "name", "%s", domain->name) : -1;
}

int domain_uuid(struct cli *cli)
{
    const wire_domain *domain = lookup_domain_except(cli, BY_UUID);
    return domain ? out_value(cli, "uuid", "%s", uuid_to_text(cli, domain->uuid)) : -1;
}

int domain_control(struct cli *cli)
{
    static const char *const states[] = {"ok", "background job", "occupied", "error"};
    static const char *const errors[] = {"", "unknown", "monitor failure",
                                         "internal (locking) error"};
    const wire_domain *domain = lookup_domain(cli);
    const REMOTE_RET(DOMAIN_GET_CONTROL_INFO) *info =
        domain ? CALL(cli, DOMAIN_GET_CONTROL_INFO, .dom = *domain) : NULL;
    if (!info)
        return -1;
    const char *state = info->state < ARRAY_SIZE(states) ? states[info->state] : "unknown";
    out_key(cli, "state", "%s", state);
    if (info->state == VIR_DOMAIN_CONTROL_OK || !info->state) {
        out_print(cli, "%s\n", state);
    } else if (info->state == VIR_DOMAIN_CONTROL_ERROR) {
        const char *why = info->details < ARRAY_SIZE(errors) ? errors[info->details] : "unknown";
        out_print(cli, "%s: %s\n", state, why);
        out_key(cli, "details", "%s", why);
    } else {
        out_print(cli, "%s (%0.3fs)\n", state, (double)info->state_time / 1e3);
    }
    return 0;
}

int domain_xml(struct cli *cli)
{
    static const struct arg_flag flags_of[] = {
        {"inactive", VIR_DOMAIN_XML_INACTIVE},
        {"security-info", VIR_DOMAIN_XML_SECURE},
        {"update-cpu", VIR_DOMAIN_XML_UPDATE_CPU},
        {"migratable", VIR_DOMAIN_XML_MIGRATABLE},
        {NULL},
    };
    const wire_domain *domain = lookup_domain(cli);
    const REMOTE_RET(DOMAIN_GET_XML_DESC) *xml =
        domain ? CALL(cli, DOMAIN_GET_XML_DESC, .dom = *domain, .flags = arg_flags(cli, flags_of))
               : NULL;
    return xml ? xml_print(cli, xml->xml) : -1;
}

int domain_from_native(struct cli *cli)
{
    const char *format = NULL, *file = NULL;
    if (arg_text(cli, "format", &format) < 0 || arg_text(cli, "config", &file) < 0)
        return -1;
    char *config = read_text_file(cli, file);
    if (!config)
        return -1;
    const REMOTE_RET(CONNECT_DOMAIN_XML_FROM_NATIVE) *ret =
        CALL(cli, CONNECT_DOMAIN_XML_FROM_NATIVE, .native_format = (char *)(uintptr_t)format,
             .native_config = config);
    return ret ? out_document(cli, "xml", ret->domain_xml) : -1;
}

int domain_hostname(struct cli *cli)
{
    static const struct arg_flag sources[] = {
        {"lease", VIR_DOMAIN_GET_HOSTNAME_LEASE},
        {"agent", VIR_DOMAIN_GET_HOSTNAME_AGENT},
    };
    const wire_domain *domain = lookup_domain(cli);
    const char *source = NULL;
    unsigned flags = 0;
    if (!domain || arg_text(cli, "source", &source) < 0)
        return -1;
    for (size_t i = 0; source && i < ARRAY_SIZE(sources); i++)
        if (strcmp(source, sources[i].name) == 0)
            flags = sources[i].bit;
    if (source && !flags)
        return cli_error(cli, "Unknown data source '%s'", source);
    const REMOTE_RET(DOMAIN_GET_HOSTNAME) *host =
        CALL(cli, DOMAIN_GET_HOSTNAME, .dom = *domain, .flags = flags);
    if (!host)
        return cli_error(cli, "failed to get hostname");
    return out_value(cli, "hostname", "%s", host->hostname);
}

static int set_time(struct cli *cli, const wire_domain *domain, int64_t seconds)
{
    bool sync = arg_on(cli, "sync");
    if (arg_on(cli, "now"))
        seconds = time(NULL);
    return CALL(cli, DOMAIN_SET_TIME, .dom = *domain, .seconds = sync ? 0 : seconds,
                .flags = sync ? VIR_DOMAIN_TIME_SYNC : 0)
               ? 0
               : -1;
}

int domain_time(struct cli *cli)
{
    if (arg_exclusive(cli, "time", "now") < 0 || arg_exclusive(cli, "time", "sync") < 0 ||
        arg_exclusive(cli, "now", "sync") < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    int64_t seconds = 0;
    int given = domain ? arg_i64(cli, "time", &seconds) : -1;
    if (given < 0)
        return -1;
    if (given || arg_on(cli, "now") || arg_on(cli, "sync"))
        return set_time(cli, domain, seconds);
    const REMOTE_RET(DOMAIN_GET_TIME) *now = CALL(cli, DOMAIN_GET_TIME, .dom = *domain);
    if (!now)
        return -1;
    char text[64] = "";
    time_t at = (time_t)now->seconds;
    struct tm parts;
    if (arg_on(cli, "pretty") && gmtime_r(&at, &parts))
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts);
    out_key(cli, "time", "%lld", (long long)now->seconds);
    out_print(cli, "Time: %s\n", *text ? text : cli_text(cli, "%lld", (long long)now->seconds));
    return 0;
}
