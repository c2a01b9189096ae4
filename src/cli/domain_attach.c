/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices added, changed and taken away by their descriptions or aliases. */
#include "cli/attach.h"

#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/verbs.h"

int attach_check_options(struct cli *cli)
{
    return arg_exclusive(cli, "persistent", "current") < 0 ||
                   arg_exclusive(cli, "current", "live") < 0 ||
                   arg_exclusive(cli, "current", "config") < 0
               ? -1
               : 0;
}

int attach_affect(struct cli *cli, const wire_domain *domain, unsigned *flags)
{
    if (attach_check_options(cli) < 0 || arg_affect(cli, flags) < 0)
        return -1;
    if (!arg_on(cli, "persistent"))
        return 0;
    *flags |= VIR_DOMAIN_AFFECT_CONFIG;
    const REMOTE_RET(DOMAIN_IS_ACTIVE) *active = CALL(cli, DOMAIN_IS_ACTIVE, .dom = *domain);
    if (active && active->active)
        *flags |= VIR_DOMAIN_AFFECT_LIVE;
    return 0;
}

bool attach_device(struct cli *cli, const wire_domain *domain, const char *xml, unsigned flags)
{
    wire_text text = (char *)(uintptr_t)xml;
    if (flags || arg_on(cli, "current"))
        return CALL(cli, DOMAIN_ATTACH_DEVICE_FLAGS, .dom = *domain, .xml = text, .flags = flags);
    return CALL(cli, DOMAIN_ATTACH_DEVICE, .dom = *domain, .xml = text);
}

bool detach_device(struct cli *cli, const wire_domain *domain, const char *xml, unsigned flags)
{
    wire_text text = (char *)(uintptr_t)xml;
    if (flags || arg_on(cli, "current"))
        return CALL(cli, DOMAIN_DETACH_DEVICE_FLAGS, .dom = *domain, .xml = text, .flags = flags);
    return CALL(cli, DOMAIN_DETACH_DEVICE, .dom = *domain, .xml = text);
}

/* The machine, the file's contents and the flags that the verbs share. */
static const wire_domain *prepare(struct cli *cli, const char **file, char **xml, unsigned *flags)
{
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || attach_affect(cli, domain, flags) < 0 || arg_text(cli, "file", file) < 0)
        return NULL;
    *xml = read_text_file(cli, *file);
    return *xml ? domain : NULL;
}

static bool update_device(struct cli *cli, const wire_domain *domain, const char *xml,
                          unsigned flags)
{
    if (arg_on(cli, "force"))
        flags |= VIR_DOMAIN_DEVICE_MODIFY_FORCE;
    return CALL(cli, DOMAIN_UPDATE_DEVICE_FLAGS, .dom = *domain, .xml = (char *)(uintptr_t)xml,
                .flags = flags);
}

typedef bool device_fn(struct cli *cli, const wire_domain *domain, const char *xml, unsigned flags);

/* What is done with a device that a file describes. */
static int with_file(struct cli *cli, device_fn *act, const char *does, const char *did)
{
    const char *file = NULL;
    char *xml;
    unsigned flags = 0;
    const wire_domain *domain = prepare(cli, &file, &xml, &flags);
    if (!domain)
        return -1;
    if (!act(cli, domain, xml, flags))
        return cli_error(cli, "Failed to %s device from %s", does, file);
    return out_done(cli, "Device %s successfully", did);
}

int domain_attach_device(struct cli *cli)
{
    return with_file(cli, attach_device, "attach", "attached");
}

int domain_detach_device(struct cli *cli)
{
    return with_file(cli, detach_device, "detach", "detached");
}

int domain_update_device(struct cli *cli)
{
    return with_file(cli, update_device, "update", "updated");
}

int domain_detach_alias(struct cli *cli)
{
    const char *alias = NULL;
    unsigned flags = 0;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || attach_affect(cli, domain, &flags) < 0 || arg_text(cli, "alias", &alias) < 0)
        return -1;
    if (!CALL(cli, DOMAIN_DETACH_DEVICE_ALIAS, .dom = *domain, .alias = (char *)(uintptr_t)alias,
              .flags = flags))
        return cli_error(cli, "Failed to detach device with alias %s", alias);
    return out_done(cli, "Device detach request sent successfully");
}
