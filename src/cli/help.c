/* SPDX-License-Identifier: GPL-2.0-or-later */
/* help: all verbs, those of a group, or one of them, laid out as virsh's. */
#include "cli/help.h"

#include "cli/args.h"
#include "cli/output.h"
#include "cli/spec.h"

static void print_group(struct cli *cli, const struct verb_group *group)
{
    for (const struct verb *verb = group->verbs; verb->name; verb++) {
        if (verb->flags & VERB_HIDDEN)
            continue;
        out_print(cli, "    %-30s %s\n", verb->name, verb->summary);
        out_item(cli);
        out_key(cli, "name", "%s", verb->name);
        out_key(cli, "group", "%s", group->keyword);
        out_key(cli, "summary", "%s", verb->summary);
    }
}

static void print_option(struct cli *cli, const struct verb *verb, const struct spec *spec,
                         const struct spec_option *option, bool places)
{
    const char *fmt = "--%s";
    switch (option->kind) {
    case SPEC_SWITCH:
        break;
    case SPEC_NUMBER:
        fmt = option->required ? "[--%s] <number>" : "--%s <number>";
        break;
    case SPEC_TEXT:
        fmt = "--%s <string>";
        break;
    case SPEC_DATA:
        fmt = "[--%s] <string>";
        break;
    case SPEC_REST:
        fmt = places ? "[--%s] <string>" : "<%s>";
        break;
    }
    char left[80];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(left, sizeof(left), fmt, option->name);
#pragma GCC diagnostic pop
    out_print(cli, "    %-15s  %s\n", left, spec_option_text(verb->name, option->name));
}

static int print_verb(struct cli *cli, const struct verb *verb)
{
    struct spec spec;
    char synopsis[4096];
    spec_read(verb->synopsis, &spec);
    spec_write(&spec, synopsis, sizeof(synopsis));
    out_print(cli, "  NAME\n    %s - %s\n\n  SYNOPSIS\n    %s%s\n", verb->name, verb->summary,
              verb->name, synopsis);
    if (spec.n)
        out_print(cli, "\n  OPTIONS\n");
    bool places = false;
    for (unsigned i = 0; i < spec.n; i++) {
        const struct spec_option *option = &spec.options[i];
        print_option(cli, verb, &spec, option, places);
        places = places || (option->kind != SPEC_SWITCH && !option->named);
    }
    out_print(cli, "\n  EXAMPLE\n    kvasir %s\n", verb->example);
    out_key(cli, "name", "%s", verb->name);
    out_key(cli, "summary", "%s", verb->summary);
    out_key(cli, "synopsis", "%s%s", verb->name, synopsis);
    out_key(cli, "example", "kvasir %s", verb->example);
    if (!cli->quiet)
        out_print(cli, "\n");
    return 0;
}

int help_run(struct cli *cli)
{
    const char *about = arg_raw(cli, "command");
    if (!about) {
        out_print(cli, "Grouped commands:\n\n");
        for (const struct verb_group *const *group = verb_groups; *group; group++) {
            out_print(cli, " %s (help keyword '%s'):\n", (*group)->title, (*group)->keyword);
            print_group(cli, *group);
            out_print(cli, "\n");
        }
        return 0;
    }
    const struct verb *verb = verb_find(about);
    if (verb)
        return print_verb(cli, verb);
    const struct verb_group *group = verb_group_find(about);
    if (!group)
        return cli_error(cli, "command or command group '%s' doesn't exist", about);
    out_print(cli, " %s (help keyword '%s'):\n", group->title, group->keyword);
    print_group(cli, group);
    return 0;
}
