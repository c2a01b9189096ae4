/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Command lines: words, quotes, several commands joined by ';', and options by a verb's
 * specification, with virsh's rules and its wording of what is wrong.
 */
#ifndef KV_CLI_LINE_H
#define KV_CLI_LINE_H

#include "cli/cli.h"
#include "cli/spec.h"

struct cli_option {
    unsigned index; /* in the specification */
    char *value;    /* NULL of switches */
};

struct cli_command {
    const struct verb *verb;
    struct spec spec;
    struct cli_option *options;
    unsigned n;
    bool json;
    struct cli_command *next;
};

/* Commands of a line, or of the program's arguments: NULL with *ok false when it is wrong (told),
 * NULL with *ok true when there is none. */
struct cli_command *line_parse(struct cli *cli, const char *text, bool *ok);
struct cli_command *line_parse_words(struct cli *cli, char **words, int n, bool *ok);
void line_free(struct cli_command *command);

/* One word of a line at *at, as the parser sees it; malloc()ed. */
enum line_token {
    LINE_END,
    LINE_WORD,
    LINE_NEXT, /* another command begins */
    LINE_ERROR,
};
enum line_token line_word(struct cli *cli, const char **at, char **word, bool tell);

/* Carries out one after the other; how the last one ended. */
int line_run(struct cli *cli, const struct cli_command *commands);

#endif
