/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * list. The states of many machines are not asked for one by one: the daemon lists those that
 * run, those that are paused and those that are off, and what is in none of these is asked for.
 */
#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/state.h"
#include "cli/verbs.h"

#define FEW 4 /* machines that are asked for their state one by one */
#define UNKNOWN (-1)

#define STATE_FILTERS                                                     \
    (VIR_CONNECT_LIST_DOMAINS_RUNNING | VIR_CONNECT_LIST_DOMAINS_PAUSED | \
     VIR_CONNECT_LIST_DOMAINS_SHUTOFF | VIR_CONNECT_LIST_DOMAINS_OTHER)

struct listed {
    const wire_domain *domain;
    int state;
};

static unsigned filter_flags(const struct cli *cli)
{
    static const struct arg_flag filters[] = {
        {"persistent", VIR_CONNECT_LIST_DOMAINS_PERSISTENT},
        {"transient", VIR_CONNECT_LIST_DOMAINS_TRANSIENT},
        {"with-managed-save", VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE},
        {"without-managed-save", VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE},
        {"autostart", VIR_CONNECT_LIST_DOMAINS_AUTOSTART},
        {"no-autostart", VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART},
        {"with-snapshot", VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT},
        {"without-snapshot", VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT},
        {"with-checkpoint", VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT},
        {"without-checkpoint", VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT},
        {"state-running", VIR_CONNECT_LIST_DOMAINS_RUNNING},
        {"state-paused", VIR_CONNECT_LIST_DOMAINS_PAUSED},
        {"state-shutoff", VIR_CONNECT_LIST_DOMAINS_SHUTOFF},
        {"state-other", VIR_CONNECT_LIST_DOMAINS_OTHER},
        {NULL},
    };
    unsigned flags = VIR_CONNECT_LIST_DOMAINS_ACTIVE;
    if (arg_on(cli, "inactive") || arg_on(cli, "state-shutoff"))
        flags = VIR_CONNECT_LIST_DOMAINS_INACTIVE;
    if (arg_on(cli, "all"))
        flags = VIR_CONNECT_LIST_DOMAINS_ACTIVE | VIR_CONNECT_LIST_DOMAINS_INACTIVE;
    return flags | arg_flags(cli, filters);
}

/* Gives those that the daemon lists with this filter the state. Both lists have the same order
 * unless machines came or went in between; these are asked for later. */
static void mark(struct cli *cli, struct listed *list, unsigned n, unsigned flags, unsigned filter,
                 int state)
{
    const REMOTE_RET(CONNECT_LIST_ALL_DOMAINS) *some = CALL(
        cli, CONNECT_LIST_ALL_DOMAINS, .want_list = 1, .flags = (flags & ~STATE_FILTERS) | filter);
    unsigned at = 0;
    for (unsigned i = 0; some && i < some->domains.domains_len; i++) {
        unsigned k = at;
        while (k < n && memcmp(list[k].domain->uuid, some->domains.domains_val[i].uuid,
                               sizeof(wire_uuid)) != 0)
            k++;
        if (k == n)
            continue;
        list[k].state = state;
        at = k + 1;
    }
}

static void find_states(struct cli *cli, struct listed *list, unsigned n, unsigned flags)
{
    if (n > FEW) {
        if (flags & VIR_CONNECT_LIST_DOMAINS_ACTIVE) {
            mark(cli, list, n, flags, VIR_CONNECT_LIST_DOMAINS_RUNNING, VIR_DOMAIN_RUNNING);
            mark(cli, list, n, flags, VIR_CONNECT_LIST_DOMAINS_PAUSED, VIR_DOMAIN_PAUSED);
        }
        if (flags & VIR_CONNECT_LIST_DOMAINS_INACTIVE)
            mark(cli, list, n, flags, VIR_CONNECT_LIST_DOMAINS_SHUTOFF, VIR_DOMAIN_SHUTOFF);
    }
    for (unsigned i = 0; i < n; i++) {
        if (list[i].state != UNKNOWN)
            continue;
        const REMOTE_RET(DOMAIN_GET_STATE) *state =
            CALL(cli, DOMAIN_GET_STATE, .dom = *list[i].domain);
        list[i].state = state ? state->state : UNKNOWN;
    }
}

/* Those that run by number, then the others by name. */
static int compare(const void *a, const void *b)
{
    const wire_domain *one = ((const struct listed *)a)->domain;
    const wire_domain *two = ((const struct listed *)b)->domain;
    if (one->id < 0 && two->id < 0)
        return strcasecmp(one->name, two->name);
    if (one->id >= 0 && two->id >= 0)
        return one->id - two->id;
    return one->id >= 0 ? -1 : 1;
}

static const char *listed_state(struct cli *cli, const struct listed *entry)
{
    if (arg_on(cli, "managed-save") && entry->state == VIR_DOMAIN_SHUTOFF) {
        const REMOTE_RET(DOMAIN_HAS_MANAGED_SAVE_IMAGE) *saved =
            CALL(cli, DOMAIN_HAS_MANAGED_SAVE_IMAGE, .dom = *entry->domain);
        if (saved && saved->result > 0)
            return "saved";
    }
    return state_text(entry->state);
}

static const char *title_of(struct cli *cli, const wire_domain *domain)
{
    const REMOTE_RET(DOMAIN_GET_METADATA) *title =
        CALL(cli, DOMAIN_GET_METADATA, .dom = *domain, .type = VIR_DOMAIN_METADATA_TITLE);
    return title ? title->metadata : "";
}

static int print_table(struct cli *cli, const struct listed *list, unsigned n)
{
    bool title = arg_on(cli, "title");
    struct table *table =
        title ? TABLE(cli, "Id", "Name", "State", "Title") : TABLE(cli, "Id", "Name", "State");
    for (unsigned i = 0; i < n; i++) {
        const wire_domain *domain = list[i].domain;
        const char *id = domain->id < 0 ? "-" : cli_text(cli, "%d", domain->id);
        TABLE_ROW(cli, table, id, domain->name, listed_state(cli, &list[i]),
                  title ? title_of(cli, domain) : NULL);
    }
    return table_print(cli, table);
}

/* --uuid, --name, --id: those that were asked for, each machine on a line. */
static int print_names(struct cli *cli, const struct listed *list, unsigned n)
{
    bool uuid = arg_on(cli, "uuid"), name = arg_on(cli, "name"), id = arg_on(cli, "id");
    out_array(cli);
    for (unsigned i = 0; i < n; i++) {
        const wire_domain *domain = list[i].domain;
        const char *separator = "";
        if (id && !name && !uuid && domain->id < 0)
            continue;
        out_item(cli);
        if (id) {
            const char *number = domain->id < 0 ? "-" : cli_text(cli, "%d", domain->id);
            out_print(cli, "%s", number);
            out_key(cli, "id", "%s", number);
            separator = " ";
        }
        if (uuid) {
            const char *text = uuid_to_text(cli, domain->uuid);
            out_print(cli, "%s%s", separator, text);
            out_key(cli, "uuid", "%s", text);
            separator = " ";
        }
        if (name) {
            out_print(cli, "%s%s", separator, domain->name);
            out_key(cli, "name", "%s", domain->name);
        }
        out_print(cli, "\n");
    }
    return 0;
}

int domain_list(struct cli *cli)
{
    static const char *const narrow[] = {"name", "uuid", "id"};
    for (size_t i = 0; i < ARRAY_SIZE(narrow); i++)
        if (arg_exclusive(cli, "table", narrow[i]) < 0)
            return -1;
    bool names = arg_on(cli, "name") || arg_on(cli, "uuid") || arg_on(cli, "id");
    unsigned flags = filter_flags(cli);
    const REMOTE_RET(CONNECT_LIST_ALL_DOMAINS) *all =
        CALL(cli, CONNECT_LIST_ALL_DOMAINS, .want_list = 1, .flags = flags);
    if (!all)
        return cli_error(cli, "Failed to list domains");
    unsigned n = all->domains.domains_len;
    struct listed *list = cli_alloc(cli, (n + 1) * sizeof(*list));
    for (unsigned i = 0; i < n; i++)
        list[i] = (struct listed){.domain = &all->domains.domains_val[i], .state = UNKNOWN};
    if (!names)
        find_states(cli, list, n, flags);
    qsort(list, n, sizeof(*list), compare);
    return names ? print_names(cli, list, n) : print_table(cli, list, n);
}
