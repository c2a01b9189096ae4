/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From definition to running and back: start, create, define, shutdown, destroy and their like. */
#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/console.h"
#include "cli/fds.h"
#include "cli/output.h"
#include "cli/verbs.h"

#define TEXT(text) ((char *)(uintptr_t)(text))

int domain_start(struct cli *cli)
{
    static const struct arg_flag flags_of[] = {
        {"paused", VIR_DOMAIN_START_PAUSED},
        {"autodestroy", VIR_DOMAIN_START_AUTODESTROY},
        {"bypass-cache", VIR_DOMAIN_START_BYPASS_CACHE},
        {"force-boot", VIR_DOMAIN_START_FORCE_BOOT},
        {"reset-nvram", VIR_DOMAIN_START_RESET_NVRAM},
        {NULL},
    };
    const wire_domain *domain = lookup_domain_except(cli, BY_ID);
    struct fd_list fds;
    if (!domain)
        return -1;
    if (domain->id >= 0)
        return cli_error(cli, "Domain is already active");
    if (fd_list_from_option(cli, "pass-fds", &fds) < 0)
        return -1;
    unsigned flags = arg_flags(cli, flags_of);
    REMOTE_ARGS(DOMAIN_CREATE_WITH_FILES) in = {.dom = *domain, .flags = flags};
    const struct kvasir_procedure with_files = kvasir_describe_DOMAIN_CREATE_WITH_FILES();
    bool started = fds.n ? fd_list_call(cli, &fds, &with_files, &in) != NULL
                   : flags
                       ? CALL(cli, DOMAIN_CREATE_WITH_FLAGS, .dom = *domain, .flags = flags) != NULL
                       : CALL(cli, DOMAIN_CREATE, .dom = *domain) != NULL;
    if (!started)
        return cli_error(cli, "Failed to start domain '%s'", domain->name);
    out_done(cli, "Domain '%s' started", domain->name);
    return arg_on(cli, "console") ? console_run(cli, domain, NULL, 0) : 0;
}

int domain_create(struct cli *cli)
{
    static const struct arg_flag flags_of[] = {
        {"paused", VIR_DOMAIN_START_PAUSED},
        {"autodestroy", VIR_DOMAIN_START_AUTODESTROY},
        {"validate", VIR_DOMAIN_START_VALIDATE},
        {"reset-nvram", VIR_DOMAIN_START_RESET_NVRAM},
        {NULL},
    };
    const char *file = NULL;
    struct fd_list fds;
    if (arg_text(cli, "file", &file) < 0)
        return -1;
    char *xml = read_text_file(cli, file);
    if (!xml || fd_list_from_option(cli, "pass-fds", &fds) < 0)
        return -1;
    REMOTE_ARGS(DOMAIN_CREATE_XML_WITH_FILES)
    in = {.xml_desc = xml, .flags = arg_flags(cli, flags_of)};
    const struct kvasir_procedure plain = kvasir_describe_DOMAIN_CREATE_XML();
    const struct kvasir_procedure with_files = kvasir_describe_DOMAIN_CREATE_XML_WITH_FILES();
    const REMOTE_RET(DOMAIN_CREATE_XML) *ret =
        fd_list_call(cli, &fds, fds.n ? &with_files : &plain, &in);
    if (!ret)
        return cli_error(cli, "Failed to create domain from %s", file);
    out_done(cli, "Domain '%s' created from %s", ret->dom.name, file);
    return arg_on(cli, "console") ? console_run(cli, &ret->dom, NULL, 0) : 0;
}

int domain_define(struct cli *cli)
{
    const char *file = NULL;
    if (arg_text(cli, "file", &file) < 0)
        return -1;
    char *xml = read_text_file(cli, file);
    if (!xml)
        return -1;
    const REMOTE_RET(DOMAIN_DEFINE_XML) *ret =
        arg_on(cli, "validate")
            ? CALL(cli, DOMAIN_DEFINE_XML_FLAGS, .xml = xml, .flags = VIR_DOMAIN_DEFINE_VALIDATE)
            : CALL(cli, DOMAIN_DEFINE_XML, .xml = xml);
    if (!ret)
        return cli_error(cli, "Failed to define domain from %s", file);
    return out_done(cli, "Domain '%s' defined from %s", ret->dom.name, file);
}

int domain_destroy(struct cli *cli)
{
    static const struct arg_flag flags_of[] = {
        {"graceful", VIR_DOMAIN_DESTROY_GRACEFUL},
        {"remove-logs", VIR_DOMAIN_DESTROY_REMOVE_LOGS},
        {NULL},
    };
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    unsigned flags = arg_flags(cli, flags_of);
    bool done = flags ? CALL(cli, DOMAIN_DESTROY_FLAGS, .dom = *domain, .flags = flags) != NULL
                      : CALL(cli, DOMAIN_DESTROY, .dom = *domain) != NULL;
    if (!done)
        return cli_error(cli, "Failed to destroy domain '%s'", domain->name);
    return out_done(cli, "Domain '%s' destroyed", domain->name);
}

/* --mode acpi,agent: the bits are the same for shutdown and reboot. */
static int read_mode(struct cli *cli, const char *last, unsigned *flags)
{
    static const struct arg_flag modes[] = {
        {"acpi", VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN}, {"agent", VIR_DOMAIN_SHUTDOWN_GUEST_AGENT},
        {"initctl", VIR_DOMAIN_SHUTDOWN_INITCTL},     {"signal", VIR_DOMAIN_SHUTDOWN_SIGNAL},
        {"paravirt", VIR_DOMAIN_SHUTDOWN_PARAVIRT},
    };
    const char *mode = NULL;
    int r = arg_text(cli, "mode", &mode);
    if (r < 0)
        return cli_error(cli, "Invalid type");
    if (r == 0)
        return 0;
    char *words = cli_text(cli, "%s", mode);
    for (char *word; (word = strsep(&words, ","));) {
        size_t i = 0;
        while (i < ARRAY_SIZE(modes) && strcmp(modes[i].name, word) != 0)
            i++;
        if (i == ARRAY_SIZE(modes))
            return cli_error(cli,
                             "Unknown mode %s value, expecting 'acpi', 'agent', 'initctl', "
                             "'signal'%s or 'paravirt'",
                             word, last);
        *flags |= modes[i].bit;
    }
    return 0;
}

int domain_shutdown(struct cli *cli)
{
    unsigned flags = 0;
    if (read_mode(cli, ",", &flags) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    bool done = flags ? CALL(cli, DOMAIN_SHUTDOWN_FLAGS, .dom = *domain, .flags = flags) != NULL
                      : CALL(cli, DOMAIN_SHUTDOWN, .dom = *domain) != NULL;
    if (!done)
        return cli_error(cli, "Failed to shutdown domain '%s'", domain->name);
    return out_done(cli, "Domain '%s' is being shutdown", domain->name);
}

int domain_reboot(struct cli *cli)
{
    unsigned flags = 0;
    if (read_mode(cli, "", &flags) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    if (!CALL(cli, DOMAIN_REBOOT, .dom = *domain, .flags = flags))
        return cli_error(cli, "Failed to reboot domain '%s'", domain->name);
    return out_done(cli, "Domain '%s' is being rebooted", domain->name);
}

int domain_reset(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    if (!CALL(cli, DOMAIN_RESET, .dom = *domain))
        return cli_error(cli, "Failed to reset domain '%s'", domain->name);
    return out_done(cli, "Domain '%s' was reset", domain->name);
}

int domain_suspend(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    if (!CALL(cli, DOMAIN_SUSPEND, .dom = *domain))
        return cli_error(cli, "Failed to suspend domain '%s'", domain->name);
    return out_done(cli, "Domain '%s' suspended", domain->name);
}

int domain_resume(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    if (!CALL(cli, DOMAIN_RESUME, .dom = *domain))
        return cli_error(cli, "Failed to resume domain '%s'", domain->name);
    return out_done(cli, "Domain '%s' resumed", domain->name);
}

int domain_autostart(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    bool on = !arg_on(cli, "disable");
    if (!domain)
        return -1;
    if (!CALL(cli, DOMAIN_SET_AUTOSTART, .dom = *domain, .autostart = on))
        return cli_error(cli,
                         on ? "Failed to mark domain '%s' as autostarted"
                            : "Failed to unmark domain '%s' as autostarted",
                         domain->name);
    return out_done(
        cli, on ? "Domain '%s' marked as autostarted" : "Domain '%s' unmarked as autostarted",
        domain->name);
}

int domain_rename(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    const char *name = NULL;
    if (!domain || arg_text(cli, "new-name", &name) < 0)
        return -1;
    wire_text new_name = TEXT(name);
    if (!CALL(cli, DOMAIN_RENAME, .dom = *domain, .new_name = &new_name))
        return -1;
    return out_done(cli, "Domain successfully renamed");
}

int domain_inject_nmi(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    return domain && CALL(cli, DOMAIN_INJECT_NMI, .dom = *domain) ? 0 : -1;
}

static int index_of(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -1;
}

int domain_set_lifecycle_action(struct cli *cli)
{
    static const char *const types[] = {"poweroff", "reboot", "crash"};
    static const char *const actions[] = {"destroy",  "restart",          "rename-restart",
                                          "preserve", "coredump-destroy", "coredump-restart"};
    unsigned flags = 0;
    const char *type_name = NULL, *action_name = NULL;
    if (arg_affect(cli, &flags) < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || arg_text(cli, "type", &type_name) < 0 ||
        arg_text(cli, "action", &action_name) < 0)
        return -1;
    int type = index_of(types, ARRAY_SIZE(types), type_name);
    if (type < 0)
        return cli_error(cli, "Invalid lifecycle type '%s'.", type_name);
    int action = index_of(actions, ARRAY_SIZE(actions), action_name);
    if (action < 0)
        return cli_error(cli, "Invalid lifecycle action '%s'.", action_name);
    if (!CALL(cli, DOMAIN_SET_LIFECYCLE_ACTION, .dom = *domain, .type = (u_int)type,
              .action = (u_int)action, .flags = flags))
        return cli_error(cli, "Unable to change lifecycle action.");
    return 0;
}

int domain_pm_suspend(struct cli *cli)
{
    static const char *const targets[] = {"mem", "disk", "hybrid"};
    const wire_domain *domain = lookup_domain(cli);
    uint64_t duration = 0;
    const char *target = NULL;
    if (!domain || arg_u64(cli, "duration", &duration) < 0 || arg_text(cli, "target", &target) < 0)
        return -1;
    int number = index_of(targets, ARRAY_SIZE(targets), target);
    if (number < 0)
        return cli_error(cli, "Invalid target");
    if (!CALL(cli, DOMAIN_PM_SUSPEND_FOR_DURATION, .dom = *domain, .target = (u_int)number,
              .duration = duration))
        return cli_error(cli, "Domain '%s' could not be suspended", domain->name);
    return out_done(cli, "Domain '%s' successfully suspended", domain->name);
}

int domain_pm_wakeup(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    if (!CALL(cli, DOMAIN_PM_WAKEUP, .dom = *domain))
        return cli_error(cli, "Domain '%s' could not be woken up", domain->name);
    return out_done(cli, "Domain '%s' successfully woken up", domain->name);
}
