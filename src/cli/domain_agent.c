/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is asked of the monitor or, through its agent, of the guest itself. */
#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/fds.h"
#include "cli/json.h"
#include "cli/keys.h"
#include "cli/output.h"
#include "cli/verbs.h"

#define TEXT(text) ((char *)(uintptr_t)(text))

static char *joined(struct cli *cli, const char *option)
{
    char *text = NULL;
    const char *word;
    for (unsigned i = 0; (word = arg_rest(cli, option, i)); i++)
        text = text ? cli_text(cli, "%s %s", text, word) : cli_text(cli, "%s", word);
    return text;
}

int domain_monitor_command(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || arg_exclusive(cli, "hmp", "pretty") < 0 ||
        arg_exclusive(cli, "hmp", "return-value") < 0)
        return -1;
    unsigned flags = arg_on(cli, "hmp") ? VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP : 0;
    struct fd_list fds;
    if (fd_list_from_option(cli, "pass-fds", &fds) < 0)
        return -1;
    const struct kvasir_procedure procedure =
        fds.n ? kvasir_describe_QEMU_DOMAIN_MONITOR_COMMAND_WITH_FILES()
              : kvasir_describe_QEMU_DOMAIN_MONITOR_COMMAND();
    const wire_monitor_command_in in = {
        .dom = *domain, .command = joined(cli, "cmd"), .flags = flags};
    const wire_monitor_command_out *got = fd_list_call(cli, &fds, &procedure, &in);
    if (!got)
        return -1;
    if (flags)
        return out_document(cli, "result", got->answer);
    return json_answer(cli, got->answer);
}

int domain_agent_command(struct cli *cli)
{
    static const char *const alone[] = {"timeout", "async", "block"};
    const wire_domain *domain = lookup_domain(cli);
    int timeout = VIR_DOMAIN_QEMU_AGENT_COMMAND_DEFAULT;
    if (!domain)
        return -1;
    int given = arg_int(cli, "timeout", &timeout);
    if (given < 0)
        return -1;
    if (given > 0 && timeout < 1)
        return cli_error(cli, "timeout must be positive");
    unsigned ways = 0;
    for (size_t i = 0; i < ARRAY_SIZE(alone); i++)
        ways += arg_on(cli, alone[i]);
    if (ways > 1)
        return cli_error(cli, "timeout, async and block options are exclusive");
    if (arg_on(cli, "async"))
        timeout = VIR_DOMAIN_QEMU_AGENT_COMMAND_NOWAIT;
    if (arg_on(cli, "block"))
        timeout = VIR_DOMAIN_QEMU_AGENT_COMMAND_BLOCK;
    const struct kvasir_procedure procedure = kvasir_describe_QEMU_DOMAIN_AGENT_COMMAND();
    const wire_agent_command_in in = {
        .dom = *domain, .command = joined(cli, "cmd"), .timeout = timeout};
    const wire_agent_command_out *got = cli_call(cli, &procedure, &in);
    if (!got)
        return -1;
    return got->answer ? json_answer(cli, *got->answer) : 0;
}

#define KEYS_MAX 16

int domain_send_key(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const char *codeset = "linux";
    unsigned holdtime = 0;
    u_int keys[KEYS_MAX], n = 0;
    if (!domain || arg_text(cli, "codeset", &codeset) < 0 ||
        arg_uint(cli, "holdtime", &holdtime) < 0)
        return -1;
    int set = key_set(codeset);
    if (set < 0)
        return cli_error(cli, "unknown codeset: '%s'", codeset);
    const char *word;
    for (unsigned i = 0; (word = arg_rest(cli, "keycode", i)); i++) {
        if (n == KEYS_MAX)
            return cli_error(cli, "too many keycodes");
        int key = key_code(set, word);
        if (key < 0)
            return cli_error(cli, "invalid keycode: '%s'", word);
        keys[n++] = (u_int)key;
    }
    return CALL(cli, DOMAIN_SEND_KEY, .dom = *domain, .codeset = (u_int)set, .holdtime = holdtime,
                .keycodes = {n, keys})
               ? 0
               : -1;
}

int domain_password(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const char *user = NULL, *password = NULL;
    if (!domain || arg_text(cli, "user", &user) < 0 || arg_text(cli, "password", &password) < 0)
        return -1;
    wire_text user_text = TEXT(user), password_text = TEXT(password);
    unsigned flags = arg_on(cli, "encrypted") ? VIR_DOMAIN_PASSWORD_ENCRYPTED : 0;
    if (!CALL(cli, DOMAIN_SET_USER_PASSWORD, .dom = *domain, .user = &user_text,
              .password = &password_text, .flags = flags))
        return -1;
    return out_done(cli, "Password set successfully for %s in %s", user, domain->name);
}

static wire_text *mountpoints(struct cli *cli, u_int *n)
{
    *n = 0;
    while (arg_rest(cli, "mountpoint", *n))
        (*n)++;
    wire_text *list = cli_alloc(cli, (*n + 1) * sizeof(*list));
    for (u_int i = 0; i < *n; i++)
        list[i] = TEXT(arg_rest(cli, "mountpoint", i));
    return list;
}

int domain_freeze(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    u_int n;
    if (!domain)
        return -1;
    wire_text *list = mountpoints(cli, &n);
    const REMOTE_RET(DOMAIN_FSFREEZE) *got =
        CALL(cli, DOMAIN_FSFREEZE, .dom = *domain, .mountpoints = {n, list});
    if (!got)
        return cli_error(cli, "Unable to freeze filesystems");
    return out_done(cli, "Froze %d filesystem(s)", got->filesystems);
}

int domain_thaw(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    u_int n;
    if (!domain)
        return -1;
    wire_text *list = mountpoints(cli, &n);
    const REMOTE_RET(DOMAIN_FSTHAW) *got =
        CALL(cli, DOMAIN_FSTHAW, .dom = *domain, .mountpoints = {n, list});
    if (!got)
        return cli_error(cli, "Unable to thaw filesystems");
    return out_done(cli, "Thawed %d filesystem(s)", got->filesystems);
}

int domain_trim(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    uint64_t minimum = 0;
    const char *path = NULL;
    if (!domain || arg_u64(cli, "minimum", &minimum) < 0 || arg_text(cli, "mountpoint", &path) < 0)
        return -1;
    wire_text mountpoint = TEXT(path);
    if (!CALL(cli, DOMAIN_FSTRIM, .dom = *domain, .mount_point = path ? &mountpoint : NULL,
              .minimum = minimum))
        return cli_error(cli, "Unable to invoke fstrim");
    return 0;
}

int domain_filesystems(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    const REMOTE_RET(DOMAIN_GET_FSINFO) *got = CALL(cli, DOMAIN_GET_FSINFO, .dom = *domain);
    if (!got)
        return cli_error(cli, "Unable to get filesystem information");
    if (!got->info.info_len) {
        out_array(cli);
        return cli->json ? 0 : out_done(cli, "No filesystems are mounted in the domain");
    }
    struct table *table = TABLE(cli, "Mountpoint", "Name", "Type", "Target");
    for (unsigned i = 0; i < got->info.info_len; i++) {
        const wire_filesystem *fs = &got->info.info_val[i];
        const char *targets = "";
        for (unsigned k = 0; k < fs->dev_aliases.dev_aliases_len; k++)
            targets =
                cli_text(cli, "%s%s%s", targets, k ? "," : "", fs->dev_aliases.dev_aliases_val[k]);
        TABLE_ROW(cli, table, fs->mountpoint, fs->name, fs->fstype, targets);
    }
    return table_print(cli, table);
}

int domain_guest_info(struct cli *cli)
{
    static const struct arg_flag types[] = {
        {"user", VIR_DOMAIN_GUEST_INFO_USERS},
        {"os", VIR_DOMAIN_GUEST_INFO_OS},
        {"timezone", VIR_DOMAIN_GUEST_INFO_TIMEZONE},
        {"hostname", VIR_DOMAIN_GUEST_INFO_HOSTNAME},
        {"filesystem", VIR_DOMAIN_GUEST_INFO_FILESYSTEM},
        {"disk", VIR_DOMAIN_GUEST_INFO_DISKS},
        {"interface", VIR_DOMAIN_GUEST_INFO_INTERFACES},
        {NULL},
    };
    const wire_domain *domain = lookup_domain(cli);
    const REMOTE_RET(DOMAIN_GET_GUEST_INFO) *got =
        domain ? CALL(cli, DOMAIN_GET_GUEST_INFO, .dom = *domain, .types = arg_flags(cli, types))
               : NULL;
    if (!got)
        return -1;
    for (unsigned i = 0; i < got->params.params_len; i++) {
        const wire_param *param = &got->params.params_val[i];
        out_print(cli, "%-20s: %s\n", param->field, param_text(cli, param));
        out_key(cli, param->field, "%s", param_text(cli, param));
    }
    return 0;
}

int domain_guest_vcpus(struct cli *cli)
{
    const char *cpulist = NULL;
    if (arg_exclusive(cli, "enable", "disable") < 0 || arg_requires(cli, "enable", "cpulist") < 0 ||
        arg_requires(cli, "disable", "cpulist") < 0)
        return -1;
    if (arg_text(cli, "cpulist", &cpulist) < 0)
        return -1;
    bool enable = arg_on(cli, "enable"), disable = arg_on(cli, "disable");
    if (cpulist && !enable && !disable)
        return cli_error(cli,
                         "One of options --enable or --disable is required by option --cpulist");
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    if (cpulist)
        return CALL(cli, DOMAIN_SET_GUEST_VCPUS, .dom = *domain, .cpu_map = TEXT(cpulist),
                    .state = enable)
                   ? 0
                   : -1;
    const REMOTE_RET(DOMAIN_GET_GUEST_VCPUS) *got =
        CALL(cli, DOMAIN_GET_GUEST_VCPUS, .dom = *domain);
    if (!got)
        return -1;
    for (unsigned i = 0; i < got->params.params_len; i++)
        out_param(cli, 15, &got->params.params_val[i]);
    return 0;
}
