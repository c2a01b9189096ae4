/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Completion, for the prompt (readline) and for shells (the hidden verb complete). */
#include "cli/complete.h"

#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/event.h"
#include "cli/line.h"
#include "cli/verbs.h"

static void add(struct candidates *out, const char *partial, const char *text)
{
    if (strncmp(text, partial, strlen(partial)) != 0)
        return;
    char **more = realloc(out->list, (out->n + 1) * sizeof(*more));
    char *copy = strdup(text);
    if (!more || !copy)
        abort();
    out->list = more;
    out->list[out->n++] = copy;
}

void complete_free(struct candidates *candidates)
{
    for (size_t i = 0; i < candidates->n; i++)
        free(candidates->list[i]);
    free(candidates->list);
    *candidates = (struct candidates){.n = 0};
}

static void add_verbs(struct candidates *out, const char *partial, bool groups)
{
    for (const struct verb_group *const *group = verb_groups; *group; group++) {
        for (const struct verb *verb = (*group)->verbs; verb->name; verb++)
            if (!(verb->flags & VERB_HIDDEN))
                add(out, partial, verb->name);
        if (groups)
            add(out, partial, (*group)->keyword);
    }
}

static bool connected(struct cli *cli)
{
    if (cli->conn)
        return true;
    bool quiet = kvasir_open(cli->uri, KVASIR_OPEN_READ_ONLY | KVASIR_OPEN_NO_START, NULL,
                             &cli->conn, NULL) == 0;
    if (!quiet)
        cli->conn = NULL;
    return quiet;
}

static void add_domains(struct cli *cli, const char *partial, struct candidates *out)
{
    /* Verbs that make sense only for machines that run, or that do not. */
    static const char *const wake[] = {"start", "restore"};
    static const char *const live[] = {"shutdown",   "destroy", "reboot",  "reset",
                                       "suspend",    "resume",  "console", "inject-nmi",
                                       "screenshot", "send-key"};
    const char *verb = cli->command->verb->name;
    unsigned flags = 0;
    for (size_t i = 0; i < ARRAY_SIZE(wake); i++)
        if (strcmp(wake[i], verb) == 0)
            flags = VIR_CONNECT_LIST_DOMAINS_INACTIVE;
    for (size_t i = 0; i < ARRAY_SIZE(live); i++)
        if (strcmp(live[i], verb) == 0)
            flags = VIR_CONNECT_LIST_DOMAINS_ACTIVE;
    const REMOTE_RET(CONNECT_LIST_ALL_DOMAINS) *all =
        CALL(cli, CONNECT_LIST_ALL_DOMAINS, .want_list = 1, .flags = flags);
    for (unsigned i = 0; all && i < all->domains.domains_len; i++)
        add(out, partial, all->domains.domains_val[i].name);
}

static void add_pools(struct cli *cli, const char *partial, struct candidates *out)
{
    const REMOTE_RET(CONNECT_LIST_ALL_STORAGE_POOLS) *all =
        CALL(cli, CONNECT_LIST_ALL_STORAGE_POOLS, .want_list = 1);
    for (unsigned i = 0; all && i < all->pools.pools_len; i++)
        add(out, partial, all->pools.pools_val[i].name);
}

static void add_networks(struct cli *cli, const char *partial, struct candidates *out)
{
    const REMOTE_RET(CONNECT_LIST_ALL_NETWORKS) *all =
        CALL(cli, CONNECT_LIST_ALL_NETWORKS, .want_list = 1);
    for (unsigned i = 0; all && i < all->nets.nets_len; i++)
        add(out, partial, all->nets.nets_val[i].name);
}

static void add_secrets(struct cli *cli, const char *partial, struct candidates *out)
{
    const REMOTE_RET(CONNECT_LIST_ALL_SECRETS) *all =
        CALL(cli, CONNECT_LIST_ALL_SECRETS, .want_list = 1);
    for (unsigned i = 0; all && i < all->secrets.secrets_len; i++)
        add(out, partial, uuid_to_text(cli, all->secrets.secrets_val[i].uuid));
}

static void add_devices(struct cli *cli, const char *partial, struct candidates *out)
{
    const REMOTE_RET(CONNECT_LIST_ALL_NODE_DEVICES) *all =
        CALL(cli, CONNECT_LIST_ALL_NODE_DEVICES, .want_list = 1);
    for (unsigned i = 0; all && i < all->devices.devices_len; i++)
        add(out, partial, all->devices.devices_val[i].name);
}

static void add_interfaces(struct cli *cli, const char *partial, struct candidates *out)
{
    const REMOTE_RET(CONNECT_LIST_ALL_INTERFACES) *all =
        CALL(cli, CONNECT_LIST_ALL_INTERFACES, .want_list = 1);
    for (unsigned i = 0; all && i < all->ifaces.ifaces_len; i++)
        add(out, partial, all->ifaces.ifaces_val[i].name);
}

static void add_events(struct cli *cli, const char *partial, struct candidates *out)
{
    const struct verb *verb = cli->command->verb;
    int event_class = verb->run == event_of_objects ? verb->number : KVASIR_EVENTS_DOMAIN;
    for (int id = 0; kvasir_event_name(event_class, id); id++)
        add(out, partial, kvasir_event_name(event_class, id));
}

static void add_help(struct cli *cli, const char *partial, struct candidates *out)
{
    add_verbs(out, partial, true);
}

/* Fixed words of an option, separated by spaces. */
static const struct {
    const char *verb, *option, *words; /* verb NULL: of any */
} choices[] = {
    {NULL, "output", "text json"},
    {"domxml-from-native", "format", "qemu-argv kvasir-argv"},
    {"dump", "format", "elf kdump-zlib kdump-lzo kdump-snappy win-dmp"},
    {"reboot", "mode", "acpi agent initctl signal paravirt"},
    {"set-lifecycle-action", "action",
     "destroy restart rename-restart preserve coredump-destroy coredump-restart"},
    {"set-lifecycle-action", "type", "poweroff reboot crash"},
    {"shutdown", "mode", "acpi agent initctl signal paravirt"},
    {"top", "sort", "cpu memory disk net exits name"},
    {"wait", "for", "running paused shutoff gone agent address ssh"},
};

/* Objects of an option; a verb's prefix decides where the same name means different things. */
static const struct {
    const char *prefix, *option;
    void (*add)(struct cli *cli, const char *partial, struct candidates *out);
    bool offline;
} objects[] = {
    {"", "domain", add_domains, false},
    {"", "name", NULL, true},
    {"", "pool", add_pools, false},
    {"vol-", "inputpool", add_pools, false},
    {"", "network", add_networks, false},
    {"", "secret", add_secrets, false},
    {"nodedev-", "device", add_devices, false},
    {"iface-", "interface", add_interfaces, false},
    {"", "event", add_events, true},
    {"", "command", add_help, true},
};

static const char *const file_options[] = {"file",      "xml",           "config",        "kernel",
                                           "initrd",    "disk",          "image",         "xmlfile",
                                           "backupxml", "checkpointxml", "log",           "ssh-key",
                                           "key",       "user-data",     "network-config"};

static void add_values(struct cli *cli, const char *option, const char *partial,
                       struct candidates *out)
{
    const char *verb = cli->command->verb->name;
    for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
        if ((choices[i].verb && strcmp(choices[i].verb, verb) != 0) ||
            strcmp(choices[i].option, option) != 0)
            continue;
        char *words = cli_text(cli, "%s", choices[i].words);
        for (char *word; (word = strsep(&words, " "));)
            add(out, partial, word);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
        if (strcmp(objects[i].option, option) != 0 || !objects[i].add ||
            strncmp(objects[i].prefix, verb, strlen(objects[i].prefix)) != 0)
            continue;
        if (objects[i].offline || connected(cli))
            objects[i].add(cli, partial, out);
        cli_forget_error(cli);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(file_options); i++)
        out->files = out->files || strcmp(file_options[i], option) == 0;
}

/* What was typed of a verb's words: which options, and which the partial word belongs to. */
struct typed {
    uint64_t seen;
    int value_of; /* the option before the word wants a value; -1: none */
};

static struct typed look_at(const struct spec *spec, char *const *words, unsigned n)
{
    struct typed typed = {.value_of = -1};
    uint64_t places = 0;
    for (unsigned i = 0; i < spec->n; i++)
        if (spec->options[i].kind != SPEC_SWITCH && !spec->options[i].named)
            places |= BIT(i);
    for (unsigned k = 0; k < n; k++) {
        typed.value_of = -1;
        if (strncmp(words[k], "--", 2) == 0) {
            size_t len = strcspn(words[k] + 2, "=");
            for (unsigned i = 0; i < spec->n; i++) {
                const struct spec_option *option = &spec->options[i];
                if (strlen(option->name) != len || memcmp(option->name, words[k] + 2, len) != 0)
                    continue;
                typed.seen |= BIT(i);
                if (option->kind != SPEC_REST)
                    places &= ~BIT(i);
                if (option->kind != SPEC_SWITCH && !words[k][2 + len] && k + 1 == n)
                    typed.value_of = (int)i;
                if (option->kind != SPEC_SWITCH && !words[k][2 + len])
                    k++;
            }
        } else if (places) {
            unsigned i = (unsigned)__builtin_ctzll(places);
            typed.seen |= BIT(i);
            if (spec->options[i].kind != SPEC_REST)
                places &= ~BIT(i);
        }
    }
    if (typed.value_of < 0 && places)
        typed.value_of = (int)__builtin_ctzll(places);
    return typed;
}

void complete_words(struct cli *cli, char *const *words, unsigned n, const char *partial,
                    struct candidates *out)
{
    *out = (struct candidates){.n = 0};
    if (n == 0) {
        add_verbs(out, partial, false);
        return;
    }
    const struct verb *verb = verb_find(words[0]);
    if (!verb)
        return;
    struct cli_command command = {.verb = verb};
    const struct cli_command *kept = cli->command;
    spec_read(verb->synopsis, &command.spec);
    cli->command = &command;
    struct typed typed = look_at(&command.spec, words + 1, n - 1);
    bool output = n > 1 && strcmp(words[n - 1], "--output") == 0;
    bool named_value = n > 1 && strncmp(words[n - 1], "--", 2) == 0 && typed.value_of >= 0 &&
                       strcmp(words[n - 1] + 2, command.spec.options[typed.value_of].name) == 0;
    if (output) {
        add_values(cli, "output", partial, out);
    } else if (*partial == '-' && !named_value) {
        for (unsigned i = 0; i < command.spec.n; i++)
            if (!(typed.seen & BIT(i)))
                add(out, partial, cli_text(cli, "--%s", command.spec.options[i].name));
        add(out, partial, "--help");
        add(out, partial, "--output");
    } else if (typed.value_of >= 0) {
        add_values(cli, command.spec.options[typed.value_of].name, partial, out);
    }
    cli->command = kept;
}

/* complete WORD...: the last word is the one that is being typed. */
int own_complete(struct cli *cli)
{
    unsigned n = 0;
    while (arg_rest(cli, "string", n))
        n++;
    char **words = cli_alloc(cli, (n + 1) * sizeof(*words));
    for (unsigned i = 0; i < n; i++)
        words[i] = (char *)(uintptr_t)arg_rest(cli, "string", i);
    struct candidates found;
    cli->quiet = true;
    complete_words(cli, words, n ? n - 1 : 0, n ? words[n - 1] : "", &found);
    for (size_t i = 0; i < found.n; i++)
        puts(found.list[i]);
    if (found.files)
        puts("<files>");
    complete_free(&found);
    return 0;
}
