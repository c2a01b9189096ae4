/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fills the manual page of kvasir with the tables of its verbs. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/spec.h"
#include "roff.h"

static void put_verbs(void)
{
    for (const struct verb_group *const *group = verb_groups; *group; group++) {
        roff_put_line(".SS ", (*group)->title, "\n");
        for (const struct verb *verb = (*group)->verbs; verb->name; verb++) {
            if (verb->flags & VERB_HIDDEN)
                continue;
            struct spec spec;
            char options[4096];
            spec_read(verb->synopsis, &spec);
            spec_write(&spec, options, sizeof(options));
            printf(".TP\n.B ");
            roff_put_text(verb->name);
            putchar('\n');
            roff_put_text(verb->summary);
            printf(".\n.br\n.I ");
            roff_put_text(verb->name);
            roff_put_text(options);
            printf("\n.br\n");
            roff_put_line("For example: kvasir ", verb->example, "\n");
        }
    }
}

int main(int argc, char **argv)
{
    static const struct roff_place places[] = {{"@VERBS@\n", put_verbs}, {NULL, NULL}};
    return roff_fill_template(argc, argv, places);
}
