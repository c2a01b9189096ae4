/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ssh and cp: into a guest with the distribution's ssh and scp, by the machine's name. Its address
 * is what the daemon knows (a lease, the guest's agent, its ARP table), else what this host's own
 * ARP table says of the machine's hardware addresses. The guest's key is kept by the machine's
 * UUID, as addresses are given to other machines.
 */
#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/program.h"
#include "cli/verbs.h"
#include "cli/xml.h"

#define WORDS_MAX 256 /* of the command in the guest */

/* An address that others can reach, of one source. NULL: none. */
static const char *asked_address(struct cli *cli, const wire_domain *domain, unsigned source)
{
    const REMOTE_RET(DOMAIN_INTERFACE_ADDRESSES) *found =
        CALL(cli, DOMAIN_INTERFACE_ADDRESSES, .dom = *domain, .source = source);
    cli_forget_error(cli);
    for (unsigned i = 0; found && i < found->ifaces.ifaces_len; i++) {
        const wire_interface_addresses *nic = &found->ifaces.ifaces_val[i];
        for (unsigned k = 0; k < nic->addrs.addrs_len; k++) {
            const char *address = nic->addrs.addrs_val[k].addr;
            if (strncmp(address, "127.", 4) != 0 && strcmp(address, "::1") != 0 &&
                strncmp(address, "fe80:", 5) != 0)
                return address;
        }
    }
    return NULL;
}

/* The host's own table: "address type flags mac mask device", 2 in flags: it has answered. */
static const char *arp_address(struct cli *cli, const char *mac)
{
    char line[256], address[64], have[64];
    unsigned flags;
    const char *found = NULL;
    FILE *table = fopen("/proc/net/arp", "re");
    while (table && !found && fgets(line, sizeof(line), table))
        if (sscanf(line, "%63s %*s %x %63s", address, &flags, have) == 3 && (flags & 2) &&
            strcasecmp(have, mac) == 0)
            found = cli_text(cli, "%s", address);
    if (table)
        fclose(table);
    return found;
}

static const char *own_address(struct cli *cli, const wire_domain *domain, bool *any)
{
    struct xml *xml = xml_of_domain(cli, domain, 0);
    struct xml_node *nic = NULL, *root = xml ? xml_root(xml) : NULL;
    const char *found = NULL;
    cli_forget_error(cli);
    while (root && !found && (nic = xml_next(root, "devices/interface", nic))) {
        const char *mac = xml_attribute(cli, xml_child(nic, "mac"), "address");
        *any = true;
        found = mac ? arp_address(cli, mac) : NULL;
    }
    return found;
}

/* NULL: told. */
static const char *address_of(struct cli *cli, const wire_domain *domain)
{
    static const unsigned sources[] = {VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
                                       VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
                                       VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP};
    const char *address = NULL;
    bool any = false;
    if (domain->id < 0) {
        cli_error(cli, "machine '%s' does not run", domain->name);
        cli_hint(cli, "kvasir start %s", domain->name);
        return NULL;
    }
    for (size_t i = 0; !address && i < ARRAY_SIZE(sources); i++)
        address = asked_address(cli, domain, sources[i]);
    if (!address)
        address = own_address(cli, domain, &any);
    if (address)
        return address;
    if (!any) {
        cli_error(cli, "machine '%s' has no network interface", domain->name);
        return NULL;
    }
    cli_error(cli, "machine '%s': no lease, agent or ARP entry tells its address", domain->name);
    cli_hint(cli, "a guest is in the ARP table once it was talked to; ping its network first, or "
                  "use 'kvasir console'");
    return NULL;
}

struct command {
    const char *words[WORDS_MAX + 16];
    unsigned n;
};

static void add(struct command *command, const char *word)
{
    command->words[command->n++] = word;
}

/* The program with what both have: port, key, and the name that the guest's key is kept under. */
static int begin(struct cli *cli, struct command *command, const char *program,
                 const wire_domain *domain)
{
    const char *port = arg_raw(cli, "port"), *key = NULL;
    int number = 22;
    if (arg_int(cli, "port", &number) < 0 || arg_text(cli, "key", &key) < 0)
        return -1;
    add(command, program);
    add(command, "-o");
    add(command, cli_text(cli, "HostKeyAlias=kvasir-%s", uuid_to_text(cli, domain->uuid)));
    if (port) {
        add(command, "-o");
        add(command, cli_text(cli, "Port=%d", number));
    }
    if (key) {
        add(command, "-i");
        add(command, key);
    }
    return 0;
}

static int finish(struct cli *cli, struct command *command)
{
    add(command, NULL);
    int status = program_run(cli, command->words);
    if (status < 0)
        cli_hint(cli, "sudo apt install openssh-client");
    if (status > 0)
        cli->status = status;
    return status ? -1 : 0;
}

int ssh_login(struct cli *cli)
{
    struct command command = {.n = 0};
    const char *user = NULL, *word;
    const wire_domain *domain = lookup_domain(cli);
    const char *address = domain ? address_of(cli, domain) : NULL;
    if (!address || arg_text(cli, "user", &user) < 0 || begin(cli, &command, "ssh", domain) < 0)
        return -1;
    if (user) {
        add(&command, "-l");
        add(&command, user);
    }
    add(&command, "--");
    add(&command, address);
    for (unsigned i = 0; (word = arg_rest(cli, "command", i)); i++) {
        if (i == WORDS_MAX)
            return cli_error(cli, "a command has at most %d words", WORDS_MAX);
        add(&command, word);
    }
    return finish(cli, &command);
}

/* "machine:path" becomes "user@address:path"; what begins with a path is a file here. */
static int remote_file(struct cli *cli, const char **file, const wire_domain **domain)
{
    const char *colon = strchr(*file, ':'), *slash = strchr(*file, '/'), *user = NULL;
    if (!colon || (slash && slash < colon))
        return 0;
    if (*domain)
        return cli_error(cli, "one of the two is a file on this host");
    *domain = lookup_domain_named(cli, cli_strndup(cli, *file, (size_t)(colon - *file)));
    const char *address = *domain ? address_of(cli, *domain) : NULL;
    if (!address || arg_text(cli, "user", &user) < 0)
        return -1;
    *file = cli_text(cli, strchr(address, ':') ? "%s%s[%s]%s" : "%s%s%s%s", user ? user : "",
                     user ? "@" : "", address, colon);
    return 0;
}

int ssh_copy(struct cli *cli)
{
    struct command command = {.n = 0};
    const wire_domain *domain = NULL;
    const char *from = NULL, *to = NULL;
    if (arg_text(cli, "from", &from) < 0 || arg_text(cli, "to", &to) < 0 ||
        remote_file(cli, &from, &domain) < 0 || remote_file(cli, &to, &domain) < 0)
        return -1;
    if (!domain)
        return cli_error(cli, "a file in a machine is called machine:path");
    if (begin(cli, &command, "scp", domain) < 0)
        return -1;
    if (arg_on(cli, "recursive"))
        add(&command, "-r");
    add(&command, "--");
    add(&command, from);
    add(&command, to);
    return finish(cli, &command);
}
