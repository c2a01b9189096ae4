/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verbs about figures, events and the host. The synopsis is what the options are read from
 * (spec.h). */
#include "cli/verb_groups.h"
#include "cli/verbs.h"

static const struct verb monitor[] = {
    {"domblkerror", "<domain>", "disks that had errors", "domblkerror web", domain_block_error},
    {"domblkinfo", "<domain> [--device <string>] [--human] [--all]", "sizes of a disk",
     "domblkinfo web vda --human", domain_block_info},
    {"domblklist", "<domain> [--inactive] [--details]", "a machine's disks",
     "domblklist web --details", domain_block_list},
    {"domblkstat", "<domain> [--device <string>] [--human]", "figures of a disk",
     "domblkstat web vda", domain_block_stat},
    {"domcontrol", "<domain>", "whether a machine's monitor can be asked", "domcontrol web",
     domain_control},
    {"domif-getlink", "<domain> <interface> [--config]",
     "whether an interface's cable is plugged in", "domif-getlink web vnet0",
     domain_interface_link},
    {"domifaddr", "<domain> [--interface <string>] [--full] [--source <string>]",
     "the guest's network addresses", "domifaddr web", domain_interface_addresses},
    {"domiflist", "<domain> [--inactive]", "a machine's network interfaces", "domiflist web",
     domain_interface_list},
    {"domifstat", "<domain> <interface>", "figures of a network interface", "domifstat web vnet0",
     domain_interface_stat},
    {"dominfo", "<domain>", "what a machine is and has", "dominfo web", domain_info},
    {"dommemstat", "<domain> [--period=<number>] [--config] [--live] [--current]",
     "figures of a machine's memory", "dommemstat web", domain_memory_stat},
    {"domstate", "<domain> [--reason]", "whether a machine runs", "domstate web --reason",
     domain_state},
    {"domstats",
     "[--state] [--cpu-total] [--balloon] [--vcpu] [--interface] [--block] [--perf] "
     "[--iothread] [--memory] [--dirtyrate] [--vm] [--list-active] [--list-inactive] "
     "[--list-persistent] [--list-transient] [--list-running] [--list-paused] "
     "[--list-shutoff] [--list-other] [--raw] [--enforce] [--backing] [--nowait] "
     "[<domain>]...",
     "figures of machines, by group", "domstats --state --vcpu web", domain_stats},
    {"domtime", "<domain> [--now] [--pretty] [--sync] [--time <number>]",
     "show or set the guest's clock", "domtime web --pretty", domain_time},
    {"list",
     "[--inactive] [--all] [--transient] [--persistent] [--with-snapshot] "
     "[--without-snapshot] [--with-checkpoint] [--without-checkpoint] "
     "[--state-running] [--state-paused] [--state-shutoff] [--state-other] "
     "[--autostart] [--no-autostart] [--with-managed-save] [--without-managed-save] "
     "[--uuid] [--name] [--id] [--table] [--managed-save] [--title]",
     "the machines", "list --all", domain_list},
    {NULL},
};

const struct verb_group verbs_monitor = {"Domain Monitoring", "monitor", monitor};

static const struct verb events[] = {
    {"event",
     "[--domain <string>] [--event <string>] [--all] [--loop] [--timeout <number>] "
     "[--list] [--timestamp]",
     "wait for events of machines", "event --all --loop", event_domain},
    {NULL},
};

const struct verb_group verbs_events = {"Domain Events", "events", events};

static const struct verb host[] = {
    {"allocpages", "<pagesize:number> <pagecount:number> [--cellno <number>] [--add] [--all]",
     "change how many huge pages the host keeps", "allocpages 2M 512", host_alloc_pages},
    {"capabilities", "", "what the host can do", "capabilities", host_capabilities},
    {"cpu-baseline", "<file> [--features] [--migratable]",
     "the most that several processors have in common", "cpu-baseline cpus.xml", refused},
    {"cpu-compare", "<file> [--error] [--validate]", "compare a processor with the host's",
     "cpu-compare cpu.xml", refused},
    {"cpu-models", "<arch>", "processor models by name", "cpu-models x86_64", host_cpu_models},
    {"domcapabilities",
     "[--virttype <string>] [--emulatorbin <string>] [--arch <string>] [--machine "
     "<string>]",
     "what machines can have", "domcapabilities --machine q35", host_domain_capabilities},
    {"freecell", "[--cellno <number>] [--all]", "free memory, by NUMA cell", "freecell --all",
     node_free_cell},
    {"freepages", "[--cellno <number>] [--pagesize <number>] [--all]",
     "free pages, by size and cell", "freepages --all", node_free_pages},
    {"hostname", "", "the name of the daemon's host", "hostname", host_hostname},
    {"hypervisor-cpu-baseline",
     "[--file <string>] [--virttype <string>] [--emulator <string>] [--arch <string>] "
     "[--machine <string>] [--features] [--migratable] [--model <string>]",
     "the most that several processors and the hypervisor have in common",
     "hypervisor-cpu-baseline cpus.xml", refused},
    {"hypervisor-cpu-compare",
     "<file> [--virttype <string>] [--emulator <string>] [--arch <string>] [--machine "
     "<string>] [--error] [--validate]",
     "compare a processor with what the hypervisor gives", "hypervisor-cpu-compare cpu.xml",
     refused},
    {"maxvcpus", "[--type <string>]", "how many vCPUs a machine can have", "maxvcpus",
     host_max_vcpus},
    {"node-memory-tune",
     "[--shm-pages-to-scan <number>] [--shm-sleep-millisecs <number>] "
     "[--shm-merge-across-nodes <number>]",
     "show or set how the host shares equal pages", "node-memory-tune", node_memory_tune},
    {"nodecpumap", "[--pretty]", "which processors the host has and uses", "nodecpumap --pretty",
     node_cpu_map},
    {"nodecpustats", "[--cpu <number>] [--percent]", "figures of the host's processors",
     "nodecpustats --percent", node_cpu_stats},
    {"nodeinfo", "", "the host's processors and memory", "nodeinfo", node_info},
    {"nodememstats", "[--cell <number>]", "figures of the host's memory", "nodememstats",
     node_memory_stats},
    {"nodesevinfo", "", "what the host has of AMD SEV", "nodesevinfo", unserved},
    {"nodesuspend", "<target> <duration:number>", "put the host to sleep for a time",
     "nodesuspend mem 60", unserved},
    {"sysinfo", "", "what the host's firmware says about it", "sysinfo", host_sysinfo},
    {"uri", "", "the connection's address", "uri", host_uri},
    {"version", "[--daemon]", "versions on both sides", "version --daemon", host_version},
    {NULL},
};

const struct verb_group verbs_host = {"Host and Hypervisor", "host", host};
