/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Objects by what people call them. The order in which a text is tried is virsh's. */
#include <ctype.h>
#include <errno.h>
#include <libvirt/virterror.h>

#include "cli/args.h"
#include "cli/cli.h"

static int hex_value(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* As libvirt reads them: 32 digits, dashes anywhere between bytes. */
bool uuid_from_text(const char *text, wire_uuid out)
{
    for (unsigned i = 0; i < sizeof(wire_uuid); i++) {
        while (*text == '-')
            text++;
        if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]))
            return false;
        out[i] = (char)(hex_value(text[0]) << 4 | hex_value(text[1]));
        text += 2;
    }
    return !*text;
}

char *uuid_to_text(struct cli *cli, const wire_uuid uuid)
{
    char text[KVASIR_UUID_TEXT_SIZE];
    kvasir_uuid_format((const uint8_t *)uuid, text);
    return cli_text(cli, "%s", text);
}

/* How far apart two names are: letters to change, add or leave out. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[64];
    size_t len = strlen(b);
    if (len >= ARRAY_SIZE(row))
        return UINT32_MAX;
    for (unsigned i = 0; i <= len; i++)
        row[i] = i;
    for (unsigned i = 0; a[i]; i++) {
        unsigned corner = row[0];
        row[0] = i + 1;
        for (unsigned j = 0; j < len; j++) {
            unsigned change = corner + (a[i] != b[j]);
            corner = row[j + 1];
            row[j + 1] = MIN(change, MIN(row[j], row[j + 1]) + 1);
        }
    }
    return row[len];
}

#define NEAREST 3

/* Names of machines that look like the one that was asked for. */
static void hint_names(struct cli *cli, const char *wanted)
{
    if (!cli_hints())
        return;
    const REMOTE_RET(CONNECT_LIST_ALL_DOMAINS) *all =
        CALL(cli, CONNECT_LIST_ALL_DOMAINS, .want_list = 1);
    cli_forget_error(cli);
    if (!all)
        return;
    const char *names[NEAREST] = {NULL};
    unsigned best[NEAREST] = {UINT32_MAX, UINT32_MAX, UINT32_MAX};
    for (unsigned i = 0; i < all->domains.domains_len; i++) {
        const char *name = all->domains.domains_val[i].name;
        unsigned far = distance(wanted, name);
        if (far > 1 + strlen(wanted) / 3)
            continue;
        unsigned at = NEAREST;
        while (at > 0 && far < best[at - 1])
            at--;
        for (unsigned j = NEAREST - 1; j > at; j--) {
            names[j] = names[j - 1];
            best[j] = best[j - 1];
        }
        if (at < NEAREST) {
            names[at] = name;
            best[at] = far;
        }
    }
    if (!names[0])
        cli_hint(cli, "'kvasir list --all' shows the machines that there are");
    else
        cli_hint(cli, "did you mean %s%s%s%s%s?", names[0], names[1] ? " or " : "",
                 names[1] ? names[1] : "", names[2] ? " or " : "", names[2] ? names[2] : "");
}

const wire_domain *lookup_domain_quietly(struct cli *cli, const char *name, unsigned by)
{
    const REMOTE_RET(DOMAIN_LOOKUP_BY_NAME) *found = NULL;
    char *end;
    errno = 0;
    long id = strtol(name, &end, 10);
    wire_uuid uuid;
    if ((by & BY_ID) && !*end && !errno && id == (int)id && id >= 0)
        found = CALL(cli, DOMAIN_LOOKUP_BY_ID, .id = (int)id);
    if (!found && (by & BY_UUID) && strlen(name) == KVASIR_UUID_TEXT_SIZE - 1 &&
        uuid_from_text(name, uuid)) {
        REMOTE_ARGS(DOMAIN_LOOKUP_BY_UUID) in;
        memcpy(in.uuid, uuid, sizeof(in.uuid));
        const struct kvasir_procedure by_uuid = kvasir_describe_DOMAIN_LOOKUP_BY_UUID();
        found = cli_call(cli, &by_uuid, &in);
    }
    if (!found && (by & BY_NAME))
        found = CALL(cli, DOMAIN_LOOKUP_BY_NAME, .name = (char *)(uintptr_t)name);
    if (kvasir_conn_is_alive(cli->conn))
        cli_forget_error(cli);
    return found ? &found->dom : NULL;
}

const wire_domain *lookup_domain_by(struct cli *cli, const char *name, unsigned by)
{
    const wire_domain *found = lookup_domain_quietly(cli, name, by);
    if (found)
        return found;
    cli_error(cli, "failed to get domain '%s'", name);
    if (kvasir_conn_is_alive(cli->conn))
        hint_names(cli, name);
    return NULL;
}

const wire_domain *lookup_domain_named(struct cli *cli, const char *name)
{
    return lookup_domain_by(cli, name, BY_ID | BY_UUID | BY_NAME);
}

static const wire_domain *lookup_option(struct cli *cli, unsigned by)
{
    const char *name = NULL;
    if (arg_text(cli, "domain", &name) <= 0)
        return NULL;
    return lookup_domain_by(cli, name, by);
}

const wire_domain *lookup_domain_except(struct cli *cli, unsigned not_by)
{
    return lookup_option(cli, (BY_ID | BY_UUID | BY_NAME) & ~not_by);
}

const wire_domain *lookup_domain(struct cli *cli)
{
    return lookup_option(cli, BY_ID | BY_UUID | BY_NAME);
}
