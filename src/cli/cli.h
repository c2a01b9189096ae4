/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvasir, the command line: virsh's verbs with virsh's options, output and exit status, and what
 * virsh lacks. main.c reads the program's options, line.c a command line, the tables verbs_*.c
 * say which verbs there are, and one function carries a verb out:
 *
 *     int domid(struct cli *cli)
 *     {
 *         const wire_domain *domain = lookup_domain(cli);
 *         if (!domain)
 *             return -1;
 *         ...
 *         return out_value(cli, "id", "%d", domain->id);
 *     }
 *
 * One thread. What a verb asks for (cli_text(), CALL(), args_*()) belongs to the verb that runs
 * and is freed when it ends.
 */
#ifndef KV_CLI_CLI_H
#define KV_CLI_CLI_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/util.h"
#include "rpc/client/call.h"

struct cli;
struct cli_command;

enum verb_flags {
    VERB_OFFLINE = 1 << 0, /* needs no connection */
    VERB_HIDDEN = 1 << 1,  /* not in the help */
    VERB_BARE = 1 << 2,    /* another program writes; nothing is added to that */
};

/* A row of a group's table. The synopsis is the definition of the options as well (spec.h). */
struct verb {
    const char *name;
    const char *synopsis;
    const char *summary;
    const char *example;
    int (*run)(struct cli *cli); /* 0, or negative: what went wrong was told with cli_error() */
    unsigned flags;
    int number; /* for functions that several rows share */
};

struct verb_group {
    const char *title, *keyword;
    const struct verb *verbs; /* a row without a name ends them */
};

extern const struct verb_group *const verb_groups[]; /* NULL at the end */
const struct verb *verb_find(const char *name);
const struct verb_group *verb_group_find(const char *title_or_keyword);

struct cli {
    struct kvasir_conn *conn; /* NULL: not yet */
    char *uri;                /* as asked for; NULL: the default one */
    bool read_only, quiet, timing, json;
    bool interactive; /* several lines from a person or a pipe */
    bool quit;
    int status;                              /* of a program that a verb ran; the last one's */
    bool printed;                            /* the verb has printed its JSON itself */
    int keepalive_interval, keepalive_count; /* -1: as the library does */
    char escape[3];                          /* of consoles, as it is written: "^]" */
    FILE *log;

    /* Of the verb that runs. */
    const struct cli_command *command;
    struct list memory;        /* freed when it ends */
    struct kvasir_error error; /* of the call that failed last */
    struct output *output;
};

/* ---------------------------------------------------------------- memory */

void *cli_alloc(struct cli *cli, size_t size); /* zeroed; ends the program when memory is short */
char *cli_text(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *cli_strndup(struct cli *cli, const char *text, size_t len);
void cli_release(struct cli *cli); /* all of it */

/* ----------------------------------------------------------------- calls */

/* The results, freed when the verb ends; NULL with cli->error filled. */
void *cli_call(struct cli *cli, const struct kvasir_procedure *procedure, const void *args);
#define CALL(cli, NAME, ...)                                                                     \
    ({                                                                                           \
        const struct kvasir_procedure procedure_ = kvasir_describe_##NAME();                     \
        (REMOTE_RET(NAME) *)cli_call(cli, &procedure_, &(const REMOTE_ARGS(NAME)){__VA_ARGS__}); \
    })

int cli_connect(struct cli *cli);
void cli_disconnect(struct cli *cli);

int64_t cli_now_ms(void); /* of a clock that only goes forward */

/* ---------------------------------------------------------------- errors */

/* "error: ..." to standard error. Returns -1. */
int cli_error(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* What the last call said, and on a terminal what could be done about it. */
void cli_report(struct cli *cli);
void cli_forget_error(struct cli *cli);
/* As a failed call would have left it. Returns -1. */
int cli_fail(struct cli *cli, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A sentence of advice; only for people (a terminal), so that scripts see virsh's words. */
bool cli_hints(void);
void cli_hint(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --------------------------------------------------------------- objects */

/* Each tells what is wrong and returns NULL when there is none. */
const wire_domain *lookup_domain(struct cli *cli); /* option "domain": id, UUID or name */
enum lookup_by {
    BY_ID = 1 << 0,
    BY_UUID = 1 << 1,
    BY_NAME = 1 << 2,
};
const wire_domain *lookup_domain_except(struct cli *cli, unsigned not_by); /* enum lookup_by */
const wire_domain *lookup_domain_by(struct cli *cli, const char *name, unsigned by);
/* The same, untold, unless the connection is lost. */
const wire_domain *lookup_domain_quietly(struct cli *cli, const char *name, unsigned by);
const wire_domain *lookup_domain_named(struct cli *cli, const char *name);
bool uuid_from_text(const char *text, wire_uuid out);
char *uuid_to_text(struct cli *cli, const wire_uuid uuid);

/* ----------------------------------------------------------------- files */

/* All of it, NULL when it cannot be read (told). */
char *read_text_file(struct cli *cli, const char *path);
/* The same of any bytes; a zero is behind the last. */
char *read_whole_file(struct cli *cli, const char *path, size_t *size);

#endif
