/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verbs of virsh that this program refuses, and why. */
#include "cli/line.h"
#include "cli/verbs.h"

static const struct {
    const char *verb, *why;
} rows[] = {
    {"attach-disk", "describe it in a file and use 'attach-device'"},
    {"attach-interface", "describe it in a file and use 'attach-device'"},
    {"detach-disk", "describe it in a file and use 'detach-device'"},
    {"detach-interface", "describe it in a file and use 'detach-device'"},
    {"pool-edit", "use 'pool-dumpxml' and 'pool-define'"},
    {"find-storage-pool-sources", "sources of pools are not looked for yet"},
    {"find-storage-pool-sources-as", "sources of pools are not looked for yet"},
    {"vol-clone", "use 'kvasir-img convert'"},
    {"vol-create-from", "use 'kvasir-img convert'"},
    {"vol-upload", "contents are not copied through the daemon yet"},
    {"vol-download", "contents are not copied through the daemon yet"},
    {"change-media", "there are no drives for removable media yet"},
    {"cpu-baseline", "processors are not compared yet"},
    {"cpu-compare", "processors are not compared yet"},
    {"domif-setlink", "change the interface's description with 'update-device'"},
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
