/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verbs of virsh that this program refuses, and why. */
#include "cli/line.h"
#include "cli/verbs.h"

static const struct {
    const char *verb, *why;
} rows[] = {
    {"cpu-baseline", "processors are not compared yet"},
    {"cpu-compare", "processors are not compared yet"},
    {"get-user-sshkeys", "the guest's agent is not asked for keys yet"},
    {"hypervisor-cpu-baseline", "processors are not compared yet"},
    {"hypervisor-cpu-compare", "processors are not compared yet"},
    {"lxc-enter-namespace", "machines are no containers; use 'console'"},
    {"migrate", "machines cannot be moved yet"},
    {"set-user-sshkeys", "the guest's agent is not given keys yet"},
    {"update-memory-device", "there are no memory devices yet"},
};

int refused(struct cli *cli)
{
    const char *verb = cli->command->verb->name;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (strcmp(rows[i].verb, verb) == 0)
            return cli_error(cli, "command '%s' is not supported: %s", verb, rows[i].why);
    return cli_error(cli, "command '%s' is not supported", verb);
}
