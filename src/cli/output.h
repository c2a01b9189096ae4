/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What verbs print: for people as virsh does, with --output json as one JSON value: an object of
 * what the fields say, or an array of such objects. A field's key comes from its label ("Max
 * memory:" is max_memory).
 */
#ifndef KV_CLI_OUTPUT_H
#define KV_CLI_OUTPUT_H

#include "cli/cli.h"

/* Text for people; with JSON it is left out. */
void out_print(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A sentence of what was done; quiet mode leaves it out. {"message": ...} */
int out_done(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same without a line's end, where virsh has none. */
int out_phrase(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The verb's only result, on a line of its own. */
int out_value(struct cli *cli, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A document: as it is, and a line's end. */
int out_document(struct cli *cli, const char *key, const char *text);
/* "Label:         value", the label in so many columns. */
void out_field(struct cli *cli, int columns, const char *label, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Only for JSON. */
void out_key(struct cli *cli, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* What follows is another object: the result becomes an array. */
void out_item(struct cli *cli);
/* What follows goes into an object below key, until NULL. */
void out_below(struct cli *cli, const char *key);
/* The result is an array, even if nothing comes. */
void out_array(struct cli *cli);

void out_begin(struct cli *cli);
/* Prints the JSON, if there is any left to print, or drops it. */
void out_end(struct cli *cli, bool print);

/* Tables with a heading and columns as wide as their contents. */
struct table;
struct table *table_new(struct cli *cli, unsigned columns, const char *const *titles);
#define TABLE(cli, ...)                                              \
    table_new(cli, ARRAY_SIZE(((const char *const[]){__VA_ARGS__})), \
              (const char *const[]){__VA_ARGS__})
void table_row(struct cli *cli, struct table *table, const char *const *cells);
#define TABLE_ROW(cli, table, ...) table_row(cli, table, (const char *const[]){__VA_ARGS__})
/* Prints it; without_heading also in quiet mode. */
int table_print(struct cli *cli, struct table *table);

/* 1234567 KiB as virsh writes it: "1.18" and "GiB". */
double size_pretty(uint64_t bytes, const char **unit);

/* A typed parameter's value as text. */
char *param_text(struct cli *cli, const wire_param *param);
const wire_param *param_find(const wire_param *params, unsigned n, const char *field);
void out_param(struct cli *cli, int columns, const wire_param *param);

/* True: standard output (1) or error (2) is a terminal that wants colours. */
bool out_coloured(int fd);

#endif
