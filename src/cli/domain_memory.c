/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory, and what is tuned by typed parameters: without values they are shown, with values set.
 * A tune is described by a table: options with the fields they stand for.
 */
#include <errno.h>
#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/params.h"
#include "cli/verbs.h"

#define COLUMNS 15

/* KiB of a size that may have a suffix; the wire's most is a long. */
static int memory_size(struct cli *cli, uint64_t *kib)
{
    uint64_t bytes;
    int r = arg_size(cli, "size", &bytes, 1024, (uint64_t)INT64_MAX);
    if (r > 0)
        *kib = bytes / 1024 + (bytes % 1024 != 0);
    return r;
}

static int set_memory(struct cli *cli, unsigned more, bool refused_loudly)
{
    unsigned flags = more;
    uint64_t kib = 0;
    if (arg_affect(cli, &flags) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || memory_size(cli, &kib) < 0)
        return -1;
    bool plain = !arg_on(cli, "live") && !arg_on(cli, "config") && !arg_on(cli, "current");
    bool done = plain && !more ? CALL(cli, DOMAIN_SET_MEMORY, .dom = *domain, .memory = kib) != NULL
                : plain ? CALL(cli, DOMAIN_SET_MAX_MEMORY, .dom = *domain, .memory = kib) != NULL
                        : CALL(cli, DOMAIN_SET_MEMORY_FLAGS, .dom = *domain, .memory = kib,
                               .flags = flags) != NULL;
    if (!done && refused_loudly)
        return cli_error(cli, "Unable to change MaxMemorySize");
    return done ? 0 : -1;
}

int domain_set_memory(struct cli *cli)
{
    return set_memory(cli, 0, false);
}

int domain_set_max_memory(struct cli *cli)
{
    return set_memory(cli, VIR_DOMAIN_MEM_MAXIMUM, true);
}

/* NULL: told. */
static const wire_domain *domain_to_tune(struct cli *cli, unsigned *flags)
{
    return arg_affect(cli, flags) < 0 ? NULL : lookup_domain(cli);
}

/* Sizes in KiB; -1 is no limit. */
static const struct param_option memtune_options[] = {
    {"hard-limit", VIR_DOMAIN_MEMORY_HARD_LIMIT, PARAM_KIB},
    {"soft-limit", VIR_DOMAIN_MEMORY_SOFT_LIMIT, PARAM_KIB},
    {"swap-hard-limit", VIR_DOMAIN_MEMORY_SWAP_HARD_LIMIT, PARAM_KIB},
    {"min-guarantee", VIR_DOMAIN_MEMORY_MIN_GUARANTEE, PARAM_KIB},
    {NULL},
};

int domain_memtune(struct cli *cli)
{
    unsigned flags = 0;
    struct param_list set;
    const wire_domain *domain = domain_to_tune(cli, &flags);
    if (!domain)
        return -1;
    if (param_list_read(cli, memtune_options, &set) < 0)
        return -1;
    if (set.n)
        return CALL(cli, DOMAIN_SET_MEMORY_PARAMETERS, .dom = *domain, .params = {set.n, set.list},
                    .flags = flags)
                   ? 0
                   : cli_error(cli, "Unable to change memory parameters");
    const REMOTE_RET(DOMAIN_GET_MEMORY_PARAMETERS) *got =
        CALL(cli, DOMAIN_GET_MEMORY_PARAMETERS, .dom = *domain, .flags = flags);
    if (!got)
        return cli_error(cli, "Unable to get number of memory parameters");
    got = CALL(cli, DOMAIN_GET_MEMORY_PARAMETERS, .dom = *domain, .nparams = got->nparams,
               .flags = flags);
    if (!got)
        return cli_error(cli, "Unable to get memory parameters");
    for (unsigned i = 0; i < got->params.params_len; i++) {
        const wire_param *param = &got->params.params_val[i];
        bool none = param->value.type == KVASIR_PARAM_ULLONG &&
                    param->value.wire_param_value_u.ul >= VIR_DOMAIN_MEMORY_PARAM_UNLIMITED;
        if (none) {
            out_print(cli, "%-*s: %s\n", COLUMNS, param->field, "unlimited");
            out_key(cli, param->field, "unlimited");
        } else {
            out_param(cli, COLUMNS, param);
        }
    }
    return 0;
}

static const struct param_option blkio_options[] = {
    {"weight", VIR_DOMAIN_BLKIO_WEIGHT, PARAM_UINT},
    {"device-weights", VIR_DOMAIN_BLKIO_DEVICE_WEIGHT, PARAM_TEXT},
    {"device-read-iops-sec", VIR_DOMAIN_BLKIO_DEVICE_READ_IOPS, PARAM_TEXT},
    {"device-write-iops-sec", VIR_DOMAIN_BLKIO_DEVICE_WRITE_IOPS, PARAM_TEXT},
    {"device-read-bytes-sec", VIR_DOMAIN_BLKIO_DEVICE_READ_BPS, PARAM_TEXT},
    {"device-write-bytes-sec", VIR_DOMAIN_BLKIO_DEVICE_WRITE_BPS, PARAM_TEXT},
    {NULL},
};

int domain_blkiotune(struct cli *cli)
{
    unsigned flags = 0;
    int weight = 0;
    struct param_list set;
    const wire_domain *domain = domain_to_tune(cli, &flags);
    if (!domain)
        return -1;
    int given = arg_int(cli, "weight", &weight);
    if (given < 0)
        return -1;
    if (given > 0 && weight <= 0)
        return cli_error(cli, "Invalid value of %d for I/O weight", weight);
    if (param_list_read(cli, blkio_options, &set) < 0)
        return -1;
    if (set.n)
        return CALL(cli, DOMAIN_SET_BLKIO_PARAMETERS, .dom = *domain, .params = {set.n, set.list},
                    .flags = flags)
                   ? 0
                   : cli_error(cli, "Unable to change blkio parameters");
    const REMOTE_RET(DOMAIN_GET_BLKIO_PARAMETERS) *got =
        CALL(cli, DOMAIN_GET_BLKIO_PARAMETERS, .dom = *domain, .flags = flags);
    if (!got)
        return cli_error(cli, "Unable to get number of blkio parameters");
    got = CALL(cli, DOMAIN_GET_BLKIO_PARAMETERS, .dom = *domain, .nparams = got->nparams,
               .flags = flags);
    if (!got)
        return cli_error(cli, "Unable to get blkio parameters");
    param_list_print(cli, got->params.params_val, got->params.params_len);
    return 0;
}

static const struct param_option numa_options[] = {
    {"nodeset", VIR_DOMAIN_NUMA_NODESET, PARAM_TEXT},
    {NULL},
};

int domain_numatune(struct cli *cli)
{
    static const char *const modes[] = {"strict", "preferred", "interleave", "restrictive"};
    unsigned flags = 0;
    const char *mode = NULL;
    struct param_list set;
    if (arg_affect(cli, &flags) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || param_list_read(cli, numa_options, &set) < 0 || arg_text(cli, "mode", &mode) < 0)
        return -1;
    if (mode) {
        size_t i = 0;
        char *end;
        while (i < ARRAY_SIZE(modes) && strcmp(modes[i], mode) != 0)
            i++;
        long number = i < ARRAY_SIZE(modes) ? (long)i : strtol(mode, &end, 10);
        if (i == ARRAY_SIZE(modes) && (end == mode || *end || number < 0))
            return cli_error(cli, "Invalid mode: %s", mode);
        param_list_add_int(cli, &set, VIR_DOMAIN_NUMA_MODE, (int)number);
    }
    if (set.n)
        return CALL(cli, DOMAIN_SET_NUMA_PARAMETERS, .dom = *domain, .params = {set.n, set.list},
                    .flags = flags)
                   ? 0
                   : cli_error(cli, "Unable to change numa parameters");
    const REMOTE_RET(DOMAIN_GET_NUMA_PARAMETERS) *got =
        CALL(cli, DOMAIN_GET_NUMA_PARAMETERS, .dom = *domain, .flags = flags);
    if (!got)
        return cli_error(cli, "Unable to get number of memory parameters");
    got = CALL(cli, DOMAIN_GET_NUMA_PARAMETERS, .dom = *domain, .nparams = got->nparams,
               .flags = flags);
    if (!got)
        return cli_error(cli, "Unable to get numa parameters");
    for (unsigned i = 0; i < got->params.params_len; i++) {
        const wire_param *param = &got->params.params_val[i];
        int number = param->value.wire_param_value_u.i;
        if (strcmp(param->field, VIR_DOMAIN_NUMA_MODE) == 0 && number >= 0 &&
            (size_t)number < ARRAY_SIZE(modes)) {
            out_print(cli, "%-*s: %s\n", COLUMNS, param->field, modes[number]);
            out_key(cli, param->field, "%s", modes[number]);
        } else {
            out_param(cli, COLUMNS, param);
        }
    }
    return 0;
}

/* --set name=value, whose type is that of the parameter which the daemon has. */
static int schedinfo_changes(struct cli *cli, const wire_param *have, unsigned n,
                             struct param_list *set)
{
    /* Options of their own once, of Xen's schedulers. */
    static const char *const older[] = {"weight", "cap"};
    const char *text;
    *set = (struct param_list){.n = 0};
    for (size_t i = 0; i < ARRAY_SIZE(older); i++) {
        const char *value = arg_raw(cli, older[i]);
        const wire_param *param = value ? param_find(have, n, older[i]) : NULL;
        if (value && !param)
            return cli_error(cli, "invalid scheduler option: %s", older[i]);
        if (value && param_list_add_as(cli, set, param, value) < 0)
            return -1;
    }
    for (unsigned i = 0; (text = arg_rest(cli, "set", i)); i++) {
        const char *equals = strchr(text, '=');
        if (!equals || equals == text)
            return cli_error(cli, "Invalid syntax for --set, expecting name=value");
        const char *name = cli_strndup(cli, text, (size_t)(equals - text));
        const wire_param *param = param_find(have, n, name);
        if (!param)
            return cli_error(cli, "invalid scheduler option: %s", name);
        if (param_list_add_as(cli, set, param, equals + 1) < 0)
            return -1;
    }
    return 0;
}

int domain_schedinfo(struct cli *cli)
{
    unsigned flags = 0;
    struct param_list set;
    if (arg_affect(cli, &flags) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    const REMOTE_RET(DOMAIN_GET_SCHEDULER_TYPE) *type =
        domain ? CALL(cli, DOMAIN_GET_SCHEDULER_TYPE, .dom = *domain) : NULL;
    if (!type)
        return -1;
    bool plain = !arg_on(cli, "current") && !flags;
    bool both = arg_on(cli, "live") && arg_on(cli, "config");
    out_print(cli, "%-*s: %s\n", COLUMNS, "Scheduler", type->type);
    out_key(cli, "scheduler", "%s", type->type);
    if (both && !arg_raw(cli, "set") && !arg_raw(cli, "weight") && !arg_raw(cli, "cap"))
        return cli_error(cli, "cannot query both live and config at once");
    unsigned ask = both ? VIR_DOMAIN_AFFECT_CURRENT : flags;
    const REMOTE_RET(DOMAIN_GET_SCHEDULER_PARAMETERS_FLAGS) *got =
        CALL(cli, DOMAIN_GET_SCHEDULER_PARAMETERS_FLAGS, .dom = *domain, .nparams = type->nparams,
             .flags = ask);
    if (!got)
        return -1;
    if (schedinfo_changes(cli, got->params.params_val, got->params.params_len, &set) < 0)
        return -1;
    if (set.n) {
        bool done = plain ? CALL(cli, DOMAIN_SET_SCHEDULER_PARAMETERS, .dom = *domain,
                                 .params = {set.n, set.list}) != NULL
                          : CALL(cli, DOMAIN_SET_SCHEDULER_PARAMETERS_FLAGS, .dom = *domain,
                                 .params = {set.n, set.list}, .flags = flags) != NULL;
        got = done ? CALL(cli, DOMAIN_GET_SCHEDULER_PARAMETERS_FLAGS, .dom = *domain,
                          .nparams = type->nparams, .flags = ask)
                   : NULL;
        if (!got)
            return -1;
    }
    param_list_print(cli, got->params.params_val, got->params.params_len);
    return 0;
}

/* "average,peak,burst,floor" becomes parameters of that direction. */
static int read_rate(struct cli *cli, const char *direction, struct param_list *set)
{
    static const char *const parts[] = {"average", "peak", "burst", "floor"};
    const char *text = NULL;
    int r = arg_text(cli, direction, &text);
    if (r <= 0)
        return r;
    char *words = cli_text(cli, "%s", text);
    for (size_t i = 0; words; i++) {
        if (i == ARRAY_SIZE(parts))
            return cli_error(cli, "Rate string '%s' has too many fields", text);
        char *word = strsep(&words, ","), *end;
        if (!*word && i > 0)
            continue;
        errno = 0;
        unsigned long number = strtoul(word, &end, 10);
        if (errno || end == word || *end || number > UINT32_MAX)
            return cli_error(cli, "field '%s' is malformed", parts[i]);
        param_list_add_uint(cli, set, cli_text(cli, "%s.%s", direction, parts[i]),
                            (unsigned)number);
    }
    return 0;
}

int domain_interface_tune(struct cli *cli)
{
    unsigned flags = 0;
    const char *device = NULL;
    struct param_list set = {.n = 0};
    if (arg_affect(cli, &flags) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || arg_text(cli, "interface", &device) < 0 || read_rate(cli, "inbound", &set) < 0 ||
        read_rate(cli, "outbound", &set) < 0)
        return -1;
    wire_text name = (char *)(uintptr_t)device;
    if (set.n)
        return CALL(cli, DOMAIN_SET_INTERFACE_PARAMETERS, .dom = *domain, .device = name,
                    .params = {set.n, set.list}, .flags = flags)
                   ? 0
                   : cli_error(cli, "Unable to set interface parameters");
    const REMOTE_RET(DOMAIN_GET_INTERFACE_PARAMETERS) *got =
        CALL(cli, DOMAIN_GET_INTERFACE_PARAMETERS, .dom = *domain, .device = name, .flags = flags);
    if (!got)
        return cli_error(cli, "Unable to get number of interface parameters");
    got = CALL(cli, DOMAIN_GET_INTERFACE_PARAMETERS, .dom = *domain, .device = name,
               .nparams = got->nparams, .flags = flags);
    if (!got)
        return cli_error(cli, "Unable to get interface parameters");
    param_list_print(cli, got->params.params_val, got->params.params_len);
    return 0;
}

static void add_events(struct cli *cli, struct param_list *set, const char *option, bool on)
{
    const char *names = arg_raw(cli, option);
    char *words = names ? cli_text(cli, "%s", names) : NULL;
    for (char *word; (word = strsep(&words, ","));)
        param_list_add_bool(cli, set, word, on);
}

int domain_perf(struct cli *cli)
{
    unsigned flags = 0;
    struct param_list set = {.n = 0};
    const wire_domain *domain = domain_to_tune(cli, &flags);
    if (!domain)
        return -1;
    add_events(cli, &set, "enable", true);
    add_events(cli, &set, "disable", false);
    if (set.n)
        return CALL(cli, DOMAIN_SET_PERF_EVENTS, .dom = *domain, .params = {set.n, set.list},
                    .flags = flags)
                   ? 0
                   : cli_error(cli, "Unable to enable/disable perf events");
    const REMOTE_RET(DOMAIN_GET_PERF_EVENTS) *got =
        CALL(cli, DOMAIN_GET_PERF_EVENTS, .dom = *domain, .flags = flags);
    if (!got)
        return cli_error(cli, "Unable to get perf events");
    for (unsigned i = 0; i < got->params.params_len; i++) {
        const wire_param *param = &got->params.params_val[i];
        const char *state = param->value.wire_param_value_u.b ? "enabled" : "disabled";
        out_print(cli, "%-*s: %s\n", COLUMNS, param->field, state);
        out_key(cli, param->field, "%s", state);
    }
    return 0;
}
