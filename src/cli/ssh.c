/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ssh and cp: into a guest with the distribution's ssh and scp, by the machine's name (address.h).
 * The guest's key is kept by the machine's UUID, as addresses are given to other machines.
 */
#include "cli/address.h"
#include "cli/args.h"
#include "cli/program.h"
#include "cli/verbs.h"

#define WORDS_MAX 256 /* of the command in the guest */

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
    if (number < 1 || number > UINT16_MAX)
        return cli_error(cli, "port %d: 1 to %d", number, UINT16_MAX);
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
