/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the next word of a line may be. */
#ifndef KV_CLI_COMPLETE_H
#define KV_CLI_COMPLETE_H

#include "cli/cli.h"

struct candidates {
    char **list; /* malloc()ed texts, in order */
    size_t n;
    bool files; /* names of files are fine, too */
};

/* words: those of the last command of the line before the one that is being typed, which begins
 * with partial. Connects when names of objects are asked for, and is silent when that fails. */
void complete_words(struct cli *cli, char *const *words, unsigned n, const char *partial,
                    struct candidates *out);
void complete_free(struct candidates *candidates);

#endif
