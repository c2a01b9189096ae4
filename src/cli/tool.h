/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Programs of the distribution that work for a verb while it waits: what they say is kept back and
 * told only when they fail. A signal that ends this program ends them first, so that the verb can
 * clean up.
 */
#ifndef KV_CLI_TOOL_H
#define KV_CLI_TOOL_H

#include "cli/cli.h"

#define TOOL_FDS_MAX 4

struct tool {
    const char *const *words;       /* the program and its arguments; NULL ends them */
    const char *const *environment; /* "NAME=VALUE" to add; NULL ends them; may be NULL */
    const char *input;              /* what it reads; NULL: nothing */
    /* Descriptors that it inherits, and their numbers there. */
    struct {
        int fd, number;
    } fds[TOOL_FDS_MAX];
    unsigned nfds;
    /* What it says; NULL: kept for a message only. */
    void (*line)(struct cli *cli, const char *line);
    char **said; /* all of its standard output, in the verb's memory; NULL: not wanted */
};

/* 0, or negative when it could not be run or did not end well (told, with what it said last). */
int tool_run(struct cli *cli, const struct tool *tool);

/* Whether the program is where programs are; else told, with the package that has it. */
bool tool_there(struct cli *cli, const char *program, const char *package);

/* A program of this project: beside this one, or where programs lie. NULL: told. */
const char *tool_own(struct cli *cli, const char *program);

#endif
