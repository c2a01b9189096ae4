/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host and the daemon: capabilities, versions, names. */
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "base/version.h"
#include "cli/args.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/xml.h"

#define TEXT(text) ((char *)(uintptr_t)(text))

/* As virsh, with a line's end more than the document has. */
static int print_capabilities(struct cli *cli, const char *xml)
{
    int r = xml_print(cli, xml);
    if (r == 0 && !arg_raw(cli, "xpath"))
        out_print(cli, "\n");
    return r;
}

int host_capabilities(struct cli *cli)
{
    const REMOTE_RET(CONNECT_GET_CAPABILITIES) *got = CALL(cli, CONNECT_GET_CAPABILITIES);
    if (!got)
        return cli_error(cli, "failed to get capabilities");
    return print_capabilities(cli, got->capabilities);
}

int host_domain_capabilities(struct cli *cli)
{
    const char *options[] = {"emulatorbin", "arch", "machine", "virttype"};
    wire_text texts[ARRAY_SIZE(options)] = {NULL};
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        const char *text = NULL;
        if (arg_text(cli, options[i], &text) < 0)
            return -1;
        texts[i] = TEXT(text);
    }
    const REMOTE_RET(CONNECT_GET_DOMAIN_CAPABILITIES) *got =
        CALL(cli, CONNECT_GET_DOMAIN_CAPABILITIES, .emulatorbin = texts[0] ? &texts[0] : NULL,
             .arch = texts[1] ? &texts[1] : NULL, .machine = texts[2] ? &texts[2] : NULL,
             .virttype = texts[3] ? &texts[3] : NULL);
    if (!got)
        return cli_error(cli, "failed to get emulator capabilities");
    return print_capabilities(cli, got->capabilities);
}

int host_hostname(struct cli *cli)
{
    const REMOTE_RET(CONNECT_GET_HOSTNAME) *got = CALL(cli, CONNECT_GET_HOSTNAME);
    return got ? out_value(cli, "hostname", "%s", got->hostname)
               : cli_error(cli, "failed to get hostname");
}

int host_uri(struct cli *cli)
{
    char *uri = NULL;
    if (kvasir_conn_uri(cli->conn, &uri, &cli->error) < 0)
        return cli_error(cli, "failed to get URI");
    out_value(cli, "uri", "%s", uri);
    free(uri);
    return 0;
}

static void print_version(struct cli *cli, const char *label, const char *key, const char *name,
                          uint64_t version)
{
    const char *text =
        cli_text(cli, "%llu.%llu.%llu", (unsigned long long)(version / 1000000),
                 (unsigned long long)(version / 1000 % 1000), (unsigned long long)(version % 1000));
    out_print(cli, "%s: %s %s\n", label, name, text);
    out_key(cli, key, "%s", text);
}

int host_version(struct cli *cli)
{
    const REMOTE_RET(CONNECT_GET_TYPE) *type = CALL(cli, CONNECT_GET_TYPE);
    if (!type)
        return cli_error(cli, "failed to get hypervisor type");
    const REMOTE_RET(CONNECT_GET_LIB_VERSION) *library = CALL(cli, CONNECT_GET_LIB_VERSION);
    if (!library)
        return cli_error(cli, "failed to get the library version");
    print_version(cli, "Compiled against library", "compiled", "libkvasir", kvasir_version());
    print_version(cli, "Using library", "library", "libkvasir", kvasir_version());
    print_version(cli, "Using API", "api", type->type, library->lib_ver);
    const REMOTE_RET(CONNECT_GET_VERSION) *hypervisor = CALL(cli, CONNECT_GET_VERSION);
    if (!hypervisor)
        return cli_error(cli, "failed to get the hypervisor version");
    print_version(cli, "Running hypervisor", "hypervisor", type->type, hypervisor->hv_ver);
    if (!arg_on(cli, "daemon"))
        return 0;
    uint64_t v = library->lib_ver;
    out_print(cli, "Running against daemon: %llu.%llu.%llu\n", (unsigned long long)(v / 1000000),
              (unsigned long long)(v / 1000 % 1000), (unsigned long long)(v % 1000));
    return 0;
}

int host_sysinfo(struct cli *cli)
{
    const REMOTE_RET(CONNECT_GET_SYSINFO) *got = CALL(cli, CONNECT_GET_SYSINFO);
    return got ? xml_print(cli, got->sysinfo) : cli_error(cli, "failed to get sysinfo");
}

int host_max_vcpus(struct cli *cli)
{
    const char *type = NULL;
    if (arg_text(cli, "type", &type) < 0)
        return -1;
    wire_text text = TEXT(type);
    const REMOTE_RET(CONNECT_GET_MAX_VCPUS) *got =
        CALL(cli, CONNECT_GET_MAX_VCPUS, .type = type ? &text : NULL);
    return got ? out_value(cli, "vcpus", "%d", got->max_vcpus) : -1;
}

int host_cpu_models(struct cli *cli)
{
    const char *arch = NULL;
    if (arg_text(cli, "arch", &arch) < 0)
        return -1;
    const REMOTE_RET(CONNECT_GET_CPU_MODEL_NAMES) *got =
        CALL(cli, CONNECT_GET_CPU_MODEL_NAMES, .arch = TEXT(arch), .want_list = 1);
    if (!got)
        return cli_error(cli, "failed to get CPU model names");
    out_array(cli);
    if (!got->models.models_len)
        out_print(cli, "all CPU models are accepted\n");
    for (unsigned i = 0; i < got->models.models_len; i++) {
        out_item(cli);
        out_value(cli, "name", "%s", got->models.models_val[i]);
    }
    return 0;
}

int host_alloc_pages(struct cli *cli)
{
    const char *size_text = NULL;
    uint64_t count = 0, size = 0;
    int cell = -1;
    bool all = arg_on(cli, "all");
    if (arg_exclusive(cli, "all", "cellno") < 0 || arg_int(cli, "cellno", &cell) < 0)
        return -1;
    if (arg_size(cli, "pagesize", &size, 1024, (uint64_t)UINT32_MAX * 1024) < 0 ||
        arg_text(cli, "pagesize", &size_text) < 0 || arg_u64(cli, "pagecount", &count) < 0)
        return -1;
    unsigned flags = arg_on(cli, "add") ? VIR_NODE_ALLOC_PAGES_ADD : VIR_NODE_ALLOC_PAGES_SET;
    u_int kib = (u_int)(size / 1024);
    u_quad_t pages = count;
    u_int cells = 1;
    if (all) {
        const REMOTE_RET(NODE_GET_INFO) *info = CALL(cli, NODE_GET_INFO);
        if (!info)
            return cli_error(cli, "unable to get node capabilities");
        cell = 0;
        cells = (u_int)info->nodes;
    }
    return CALL(cli, NODE_ALLOC_PAGES, .page_sizes = {1, &kib}, .page_counts = {1, &pages},
                .start_cell = cell, .cell_count = cells, .flags = flags)
               ? 0
               : -1;
}
