/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments of commands by their tables, and the help that the same tables give. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "img/img.h"

#define MAX_OPTIONS 48
#define CODE_BASE 256 /* codes of getopt: CODE_BASE plus the row */

static unsigned count_options(const struct img_command *command)
{
    unsigned n = 0;
    while (command->options[n].help)
        n++;
    return n;
}

/* What getopt wants, out of the table. */
struct getopt_tables {
    char letters[2 * MAX_OPTIONS + 4];
    struct option names[MAX_OPTIONS + 2];
};

static void fill_tables(struct getopt_tables *tables, const struct img_command *command)
{
    char *letter = tables->letters;
    struct option *name = tables->names;
    *letter++ = ':';
    *letter++ = 'h';
    *name++ = (struct option){"help", no_argument, NULL, 'h'};
    for (unsigned i = 0; i < count_options(command) && i < MAX_OPTIONS; i++) {
        const struct img_option *option = &command->options[i];
        if (option->letter) {
            *letter++ = option->letter;
            if (option->value)
                *letter++ = ':';
        }
        if (option->name)
            *name++ = (struct option){option->name, option->value ? required_argument : no_argument,
                                      NULL, CODE_BASE + (int)i};
    }
    *letter = '\0';
    *name = (struct option){0};
}

static const struct img_option *find_option(const struct img_command *command, int code)
{
    if (code >= CODE_BASE)
        return &command->options[code - CODE_BASE];
    for (unsigned i = 0; i < count_options(command); i++) {
        if (command->options[i].letter == code)
            return &command->options[i];
    }
    return NULL;
}

static int append(struct img_list *list, const struct img_option *option, const char *value)
{
    struct img_item *items = realloc(list->items, (list->count + 1) * sizeof(*items));
    if (!items)
        return img_error("Out of memory");
    items[list->count++] = (struct img_item){option, value};
    list->items = items;
    return IMG_OK;
}

static int set_option(const struct img_option *option, void *args, const char *value)
{
    void *field = (char *)args + option->offset;
    switch (option->kind) {
    case IMG_FLAG:
        *(bool *)field = true;
        return IMG_OK;
    case IMG_TEXT:
        *(const char **)field = value;
        return IMG_OK;
    case IMG_LIST:
        break;
    }
    return append(field, option, value);
}

static void free_lists(const struct img_command *command, void *args)
{
    for (unsigned i = 0; i < count_options(command); i++) {
        struct img_list *list = (void *)((char *)args + command->options[i].offset);
        if (command->options[i].kind == IMG_LIST) {
            free(list->items);
            *list = (struct img_list){0};
        }
    }
}

/* Such as "-5" where a size is meant: resize takes it as an operand. */
static bool is_negative_size(const struct img_command *command, const char *word)
{
    return command == &img_resize && word[0] == '-' && word[1] >= '0' && word[1] <= '9';
}

static int parse(const struct img_command *command, int argc, char **argv, void *args)
{
    struct getopt_tables tables;
    fill_tables(&tables, command);
    optind = 0;
    opterr = 0;
    for (;;) {
        int code = getopt_long(argc, argv, tables.letters, tables.names, NULL);
        if (code == -1)
            return IMG_OK;
        if (code == ':')
            return img_usage_error("missing argument for option '%s'", argv[optind - 1]);
        if (code == '?')
            return img_usage_error("unrecognized option '%s'", argv[optind - 1]);
        if (code == 'h') {
            img_print_command_help(command, stdout);
            return -1;
        }
        if (set_option(find_option(command, code), args, optarg) != IMG_OK)
            return IMG_FAILED;
    }
}

int img_run(const struct img_command *command, int argc, char **argv)
{
    cleanup_free void *args = calloc(1, command->args_size);
    int hidden = argc;
    if (!args)
        return img_error("Out of memory");
    /* getopt must not take a last "-1G" for options. */
    if (argc > 1 && is_negative_size(command, argv[argc - 1]))
        hidden--;
    int status = parse(command, hidden, argv, args);
    if (status == IMG_OK && img_add_objects(&((struct img_args *)args)->objects) < 0)
        status = IMG_FAILED;
    if (status == IMG_OK)
        status = command->run(args, argv + optind, (unsigned)(argc - optind));
    free_lists(command, args);
    return status < 0 ? IMG_OK : status;
}

/* -------------------------------------------------------------------- help */

void img_option_names(char *text, size_t size, const struct img_option *option)
{
    char letter[4] = "";
    if (option->letter)
        snprintf(letter, sizeof(letter), "-%c", option->letter);
    snprintf(text, size, "%s%s%s%s%s%s", letter, option->letter && option->name ? ", " : "",
             option->name ? "--" : "", option->name ? option->name : "", option->value ? " " : "",
             option->value ? option->value : "");
}

void img_print_command_help(const struct img_command *command, FILE *to)
{
    char names[64];
    fprintf(to, "usage: %s %s [OPTION]... %s\n\n%s\n\n", img_program, command->name,
            command->operands, command->help);
    fprintf(to, "  %-30s  %s\n", "-h, --help", "print this and exit");
    for (const struct img_option *option = command->options; option->help; option++) {
        img_option_names(names, sizeof(names), option);
        fprintf(to, "  %-30s  %s\n", names, option->help);
    }
}
