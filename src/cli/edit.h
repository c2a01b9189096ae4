/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Documents in the person's editor ($VISUAL, $EDITOR, vi). */
#ifndef KV_CLI_EDIT_H
#define KV_CLI_EDIT_H

#include "cli/cli.h"

/* What became of it (the verb's memory); NULL: told. */
char *edit_text(struct cli *cli, const char *text);

struct edit {
    const char *kind, *name; /* "Domain", "web" */
    bool quoted;             /* the name in messages */
    char *(*get)(struct cli *cli, void *opaque);
    /* The new name, NULL: refused. */
    const char *(*put)(struct cli *cli, void *opaque, char *xml);
    void *opaque;
};

/* Gets, lets edit, puts; a refused document can be edited again. */
int edit_definition(struct cli *cli, const struct edit *edit);

#endif
