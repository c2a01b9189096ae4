/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All groups of verbs, those about the program itself and those that virsh does not have. */
#include "cli/verbs.h"

#include "cli/help.h"
#include "cli/verb_groups.h"

static const struct verb own[] = {
    {"cd", "[--dir <string>]", "change the folder", "cd /srv", own_cd, VERB_OFFLINE},
    {"echo", "[--shell] [--xml] [--split] [--err] [<string>]...",
     "say the words again, quoted as asked", "echo --shell 'a b'", own_echo, VERB_OFFLINE},
    {"exit", "", "leave", "exit", own_quit, VERB_OFFLINE},
    {"help", "[--command <string>]", "this help", "help list", help_run, VERB_OFFLINE},
    {"pwd", "", "the folder", "pwd", own_pwd, VERB_OFFLINE},
    {"quit", "", "leave", "quit", own_quit, VERB_OFFLINE},
    {"connect", "[--name <string>] [--readonly]", "talk to another daemon",
     "connect qemu:///session", own_connect, VERB_OFFLINE},
    {"complete", "[<string>]...", "what the last word may become", "complete start w", own_complete,
     VERB_OFFLINE | VERB_HIDDEN},
    {NULL},
};
static const struct verb_group own_group = {"Kvasir itself", "kvasir", own};

static const struct verb beyond[] = {
    {"cp", "<from> <to> [--user=<string>] [--port=<number>] [--key=<string>] [--recursive]",
     "copy a file into a guest or out of it with scp", "cp web:/etc/hostname .", ssh_copy,
     VERB_BARE},
    {"doctor", "", "what this host can do for machines, and what mends what it cannot", "doctor",
     doctor_run, VERB_OFFLINE},
    {"events", "[--domain <string>] [--follow] [--timeout <number>]",
     "what happens to machines, pools, secrets and devices", "events --follow --output json",
     events_follow},
    {"image-build",
     "<system> [--file <string>] [--size=<string>] [--suite=<string>] [--mirror=<string>] "
     "[--packages=<string>] [--hostname=<string>] [--user=<string>] [--ssh-key=<string>] "
     "[--root-password=<string>] [--kernel=<string>]",
     "a disk image with Debian that starts by BIOS and UEFI",
     "image build debian web.qcow2 --packages nginx --ssh-key ~/.ssh/id_ed25519.pub", image_build,
     VERB_OFFLINE},
    {"image-import", "<image> <file> [--format=<string>] [--xml]",
     "a disk image of another system (VMDK, OVA, VHD, VHDX, VDI) as one of ours",
     "image import appliance.ova appliance.qcow2 --xml", image_import, VERB_OFFLINE},
    {"logs", "<domain> [--lines <number>]", "the last lines of a machine's log", "logs web",
     logs_show},
    {"run",
     "<image> [--name=<string>] [--cpus=<number>] [--memory=<string>] [--kernel=<string>] "
     "[--initrd=<string>] [--cmdline=<string>] [--disk=<string>] [--network=<string>] "
     "[--user=<string>] [--ssh-key=<string>] [--hostname=<string>] [--user-data=<string>] "
     "[--network-config=<string>] [--share=<string>] [--console] [--rm] [--keep] [--print-xml]",
     "from a disk image or a kernel to a machine in one line",
     "run debian.qcow2 --network user --user me --ssh-key ~/.ssh/id_ed25519.pub", run_machine},
    {"ssh", "<domain> [--user=<string>] [--port=<number>] [--key=<string>] [<command>]...",
     "log in to a guest, or run a command in it", "ssh web --user root -- uname -a", ssh_login,
     VERB_BARE},
    {"switch-acl", "[<acl>] [--socket=<string>]",
     "the switch's ACLs, or one's rules and how many frames they decided", "switch acl web",
     switch_acl, VERB_OFFLINE},
    {"switch-acl-remove", "<acl> [--socket=<string>]", "remove an ACL that no port uses",
     "switch acl-remove web", switch_acl_remove, VERB_OFFLINE},
    {"switch-acl-set", "<file> [--socket=<string>]",
     "make an ACL of a file with JSON, or replace the one of its name", "switch acl-set web.json",
     switch_acl_set, VERB_OFFLINE},
    {"switch-capture",
     "<bridge> [--port=<string>] [--count=<number>] [--bytes=<number>] [--write=<string>] "
     "[--socket=<string>]",
     "frames that come in at a bridge of the switch, as pcapng",
     "switch capture br0 | tcpdump -r -", switch_capture, VERB_OFFLINE},
    {"switch-fdb", "<bridge> [--socket=<string>]", "addresses that a bridge of the switch knows",
     "switch fdb br0", switch_fdb, VERB_OFFLINE},
    {"switch-fdb-add", "<port> <mac> [--vlan=<number>] [--socket=<string>]",
     "tell the switch at which port a station is", "switch fdb-add web 52:54:00:12:34:56",
     switch_fdb_add, VERB_OFFLINE},
    {"switch-fdb-remove", "<port> <mac> [--vlan=<number>] [--socket=<string>]",
     "take back what fdb-add said", "switch fdb-remove web 52:54:00:12:34:56", switch_fdb_remove,
     VERB_OFFLINE},
    {"switch-filter",
     "<port> [--acl=<string>] [--macs=<string>] [--addresses=<string>] [--connections=<number>] "
     "[--dhcp-guard] [--router-guard] [--socket=<string>]",
     "check a port's frames by an ACL and port security, or no more",
     "switch filter web --acl web --macs 52:54:00:12:34:56", switch_filter, VERB_OFFLINE},
    {"switch-ports", "[--socket=<string>]",
     "what went through the switch's ports, and why frames were dropped", "switch ports",
     switch_ports, VERB_OFFLINE},
    {"switch-show", "[--socket=<string>]", "the switch's bridges and ports", "switch show",
     switch_show, VERB_OFFLINE},
    {"switch-top",
     "[--sort=<string>] [--interval=<number>] [--count=<number>] [--batch] [--socket=<string>]",
     "the switch's ports and what goes through them, live", "switch top --sort drops", switch_top,
     VERB_OFFLINE},
    {"switch-trace",
     "<port> [--type=<string>] [--protocol=<string>] [--from=<string>] [--to=<string>] "
     "[--from-port=<number>] [--to-port=<number>] [--from-mac=<string>] [--to-mac=<string>] "
     "[--vlan=<number>] [--icmp-type=<number>] [--icmp-code=<number>] [--tcp-flags=<number>] "
     "[--dscp=<number>] [--socket=<string>]",
     "which tables and rules of the switch decide on a frame",
     "switch trace web --protocol tcp --from 192.0.2.1 --to 192.0.2.2 --to-port 22", switch_trace,
     VERB_OFFLINE},
    {"top", "[--sort=<string>] [--interval=<number>] [--count=<number>]",
     "the machines that run and what they take, live", "top --sort memory", top_show},
    {"wait", "<domain> [--for=<string>] [--timeout=<number>]",
     "wait until a machine is in a state or its guest can be reached",
     "wait web --for ssh --timeout 60", wait_for_machine},
    {NULL},
};
static const struct verb_group beyond_group = {"Beyond virsh", "beyond", beyond};

const struct verb_group *const verb_groups[] = {
    &beyond_group,  &verbs_domain,     &verbs_monitor,   &verbs_events,
    &verbs_host,    &verbs_checkpoint, &verbs_interface, &verbs_filter,
    &verbs_network, &verbs_nodedev,    &verbs_secret,    &verbs_snapshot,
    &verbs_backup,  &verbs_pool,       &verbs_volume,    &own_group,
    NULL,
};

/* Names of libvirt's older releases. */
static const struct {
    const char *old, *name;
} renamed[] = {
    {"nodedev-dettach", "nodedev-detach"},
};

const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(renamed); i++)
        if (strcmp(renamed[i].old, name) == 0)
            name = renamed[i].name;
    for (const struct verb_group *const *group = verb_groups; *group; group++)
        for (const struct verb *verb = (*group)->verbs; verb->name; verb++)
            if (strcmp(verb->name, name) == 0)
                return verb;
    return NULL;
}

const struct verb_group *verb_group_find(const char *name)
{
    if (strcmp(name, "virsh") == 0)
        return &own_group;
    for (const struct verb_group *const *group = verb_groups; *group; group++)
        if (strcmp((*group)->title, name) == 0 || strcmp((*group)->keyword, name) == 0)
            return *group;
    return NULL;
}
