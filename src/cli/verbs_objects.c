/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verbs about interfaces, networks, devices and secrets. The synopsis is what the options are read
 * from (spec.h). */
#include "cli/verb_groups.h"
#include "cli/verbs.h"

static const struct verb interface[] = {
    {"iface-begin", "", "begin changes of the host's interfaces", "iface-begin", unserved},
    {"iface-bridge", "<interface> <bridge> [--no-stp] [--delay <number>] [--no-start]",
     "put an interface under a new bridge", "iface-bridge eth0 br0", unserved},
    {"iface-commit", "", "keep the changes of the host's interfaces", "iface-commit", unserved},
    {"iface-define", "<file> [--validate]", "keep an interface that a file describes",
     "iface-define br0.xml", unserved},
    {"iface-destroy", "<interface>", "take an interface down", "iface-destroy br0", unserved},
    {"iface-dumpxml", "<interface> [--inactive] [--xpath=<string>] [--wrap]",
     "an interface's description", "iface-dumpxml eth0", iface_xml},
    {"iface-edit", "<interface>", "change an interface's definition in an editor", "iface-edit br0",
     unserved},
    {"iface-list", "[--inactive] [--all]", "the host's network interfaces", "iface-list --all",
     iface_list},
    {"iface-mac", "<interface>", "the hardware address of an interface", "iface-mac eth0",
     iface_mac},
    {"iface-name", "<interface>", "the interface of a hardware address",
     "iface-name 52:54:00:11:22:33", iface_name},
    {"iface-rollback", "", "undo the changes of the host's interfaces", "iface-rollback", unserved},
    {"iface-start", "<interface>", "bring an interface up", "iface-start br0", unserved},
    {"iface-unbridge", "<bridge> [--no-start]", "take a bridge away from its interface",
     "iface-unbridge br0", unserved},
    {"iface-undefine", "<interface>", "forget an interface's definition", "iface-undefine br0",
     unserved},
    {NULL},
};

const struct verb_group verbs_interface = {"Interface", "interface", interface};

static const struct verb filter[] = {
    {"nwfilter-define", "<file> [--validate]", "keep a network filter that a file describes",
     "nwfilter-define filter.xml", unserved},
    {"nwfilter-dumpxml", "<nwfilter> [--xpath=<string>] [--wrap]", "a network filter's description",
     "nwfilter-dumpxml clean-traffic", unserved},
    {"nwfilter-edit", "<nwfilter>", "change a network filter in an editor",
     "nwfilter-edit clean-traffic", unserved},
    {"nwfilter-list", "", "the network filters", "nwfilter-list", unserved},
    {"nwfilter-undefine", "<nwfilter>", "forget a network filter",
     "nwfilter-undefine clean-traffic", unserved},
    {"nwfilter-binding-create", "<file> [--validate]", "put a filter on a port",
     "nwfilter-binding-create binding.xml", unserved},
    {"nwfilter-binding-delete", "<binding>", "take a filter off a port",
     "nwfilter-binding-delete vnet0", unserved},
    {"nwfilter-binding-dumpxml", "<binding> [--xpath=<string>] [--wrap]", "which filter a port has",
     "nwfilter-binding-dumpxml vnet0", unserved},
    {"nwfilter-binding-list", "", "the ports that have filters", "nwfilter-binding-list", unserved},
    {NULL},
};

const struct verb_group verbs_filter = {"Network Filter", "filter", filter};

static const struct verb network[] = {
    {"net-autostart", "<network> [--disable]",
     "start a network together with the daemon, or no longer", "net-autostart default", unserved},
    {"net-create", "<file> [--validate]", "start the network that a file describes, for this once",
     "net-create net.xml", unserved},
    {"net-define", "<file> [--validate]", "keep the network that a file describes",
     "net-define net.xml", unserved},
    {"net-destroy", "<network>", "stop a network", "net-destroy default", unserved},
    {"net-dhcp-leases", "<network> [--mac <string>]", "which addresses a network has given out",
     "net-dhcp-leases default", unserved},
    {"net-dumpxml", "<network> [--inactive] [--xpath=<string>] [--wrap]", "a network's description",
     "net-dumpxml default", unserved},
    {"net-edit", "<network>", "change a network's definition in an editor", "net-edit default",
     unserved},
    {"net-event",
     "[--network <string>] [--event <string>] [--loop] [--timeout <number>] [--list] "
     "[--timestamp]",
     "wait for events of networks", "net-event --event lifecycle --loop", event_of_objects,
     .number = KVASIR_EVENTS_NETWORK},
    {"net-info", "<network>", "what a network is", "net-info default", unserved},
    {"net-list",
     "[--inactive] [--all] [--persistent] [--transient] [--autostart] [--no-autostart] "
     "[--uuid] [--name] [--table]",
     "the networks", "net-list --all", unserved},
    {"net-name", "<network>", "the name of a network",
     "net-name 2f4f2c3e-2d6b-4b7b-8f0c-1d0a0a0a0a0a", unserved},
    {"net-start", "<network>", "start a network that is defined", "net-start default", unserved},
    {"net-undefine", "<network>", "forget a network's definition", "net-undefine default",
     unserved},
    {"net-update",
     "<network> <command> <section> <xml> [--parent-index <number>] [--config] "
     "[--live] [--current]",
     "change a part of a network", "net-update default add ip-dhcp-host host.xml", unserved},
    {"net-uuid", "<network>", "the UUID of a network", "net-uuid default", unserved},
    {"net-port-list", "<network> [--uuid] [--table]", "a network's ports", "net-port-list default",
     unserved},
    {"net-port-create", "<network> <file> [--validate]", "make a port that a file describes",
     "net-port-create default port.xml", unserved},
    {"net-port-dumpxml", "<network> <port> [--xpath=<string>] [--wrap]", "a port's description",
     "net-port-dumpxml default 2f4f2c3e-2d6b-4b7b-8f0c-1d0a0a0a0a0a", unserved},
    {"net-port-delete", "<network> <port>", "remove a port",
     "net-port-delete default 2f4f2c3e-2d6b-4b7b-8f0c-1d0a0a0a0a0a", unserved},
    {NULL},
};

const struct verb_group verbs_network = {"Networking", "network", network};

static const struct verb nodedev[] = {
    {"nodedev-create", "<file> [--validate]", "make a device that a file describes",
     "nodedev-create mdev.xml", unserved},
    {"nodedev-destroy", "<device>", "remove a device", "nodedev-destroy mdev_1", unserved},
    {"nodedev-detach", "<device> [--driver <string>]", "take a device from the host's driver",
     "nodedev-detach pci_0000_03_00_0", unserved},
    {"nodedev-dumpxml", "<device> [--xpath=<string>] [--wrap]", "a device's description",
     "nodedev-dumpxml pci_0000_03_00_0", nodedev_xml},
    {"nodedev-list", "[--tree] [--cap <string>] [--inactive] [--all]", "the host's devices",
     "nodedev-list --tree", nodedev_list},
    {"nodedev-reattach", "<device>", "give a device back to the host's driver",
     "nodedev-reattach pci_0000_03_00_0", unserved},
    {"nodedev-reset", "<device>", "reset a device", "nodedev-reset pci_0000_03_00_0", unserved},
    {"nodedev-event",
     "[--device <string>] [--event <string>] [--loop] [--timeout <number>] [--list] "
     "[--timestamp]",
     "wait for events of devices", "nodedev-event --event lifecycle --loop", event_of_objects,
     .number = KVASIR_EVENTS_NODE_DEVICE},
    {"nodedev-define", "<file> [--validate]", "keep a device that a file describes",
     "nodedev-define mdev.xml", unserved},
    {"nodedev-undefine", "<device>", "forget a device's definition", "nodedev-undefine mdev_1",
     unserved},
    {"nodedev-start", "<device>", "start a device that is defined", "nodedev-start mdev_1",
     unserved},
    {"nodedev-autostart", "<device> [--disable]",
     "start a device together with the host, or no longer", "nodedev-autostart mdev_1", unserved},
    {"nodedev-info", "<device>", "what a device is", "nodedev-info computer", nodedev_info},
    {NULL},
};

const struct verb_group verbs_nodedev = {"Node Device", "nodedev", nodedev};

static const struct verb secret[] = {
    {"secret-define", "<file> [--validate]", "keep a secret that a file describes",
     "secret-define secret.xml", secret_define},
    {"secret-dumpxml", "<secret> [--xpath=<string>] [--wrap]", "what a secret is for",
     "secret-dumpxml 11111111-2222-3333-4444-555555555555", secret_xml},
    {"secret-event",
     "[--secret <string>] [--event <string>] [--loop] [--timeout <number>] [--list] "
     "[--timestamp]",
     "wait for events of secrets", "secret-event --event lifecycle --loop", event_of_objects,
     .number = KVASIR_EVENTS_SECRET},
    {"secret-get-value", "<secret> [--plain]", "a secret's value",
     "secret-get-value 11111111-2222-3333-4444-555555555555", secret_get_value},
    {"secret-list", "[--ephemeral] [--no-ephemeral] [--private] [--no-private]", "the secrets",
     "secret-list", secret_list},
    {"secret-set-value", "<secret> [--file=<string>] [--plain] [--interactive] [--base64 <string>]",
     "give a secret its value",
     "secret-set-value 11111111-2222-3333-4444-555555555555 --file key --plain", secret_set_value},
    {"secret-undefine", "<secret>", "forget a secret",
     "secret-undefine 11111111-2222-3333-4444-555555555555", secret_undefine},
    {NULL},
};

const struct verb_group verbs_secret = {"Secret", "secret", secret};
