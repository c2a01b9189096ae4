/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes the manual page of kvasir-img: the prose of a template, and in place of
 * its lines @COMMANDS@ and @VERSION@ what the program's own tables say. The build
 * runs it: commands_to_roff TEMPLATE >PAGE.
 */
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "img/img.h"

/* Plain text, so that roff takes nothing in it for a request. */
static void put_text(const char *text)
{
    for (const char *at = text; *at; at++) {
        if (*at == '-')
            fputs("\\-", stdout);
        else if (*at == '\\')
            fputs("\\e", stdout);
        else if (at == text && (*at == '.' || *at == '\''))
            printf("\\&%c", *at);
        else
            putchar(*at);
    }
}

static void put_line(const char *before, const char *text, const char *after)
{
    fputs(before, stdout);
    put_text(text);
    fputs(after, stdout);
}

static void put_command(const struct img_command *command)
{
    char names[64];
    put_line(".SS ", command->name, " [OPTION]... ");
    put_line("", command->operands, "\n");
    put_line("", command->help, "\n");
    for (const struct img_option *option = command->options; option->help; option++) {
        img_option_names(names, sizeof(names), option);
        put_line(".TP\n\\fB", names, "\\fR\n");
        put_line("", option->help, "\n");
    }
}

int main(int argc, char **argv)
{
    char line[512];
    FILE *template = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (!template) {
        fputs("usage: commands_to_roff TEMPLATE\n", stderr);
        return 1;
    }
    while (fgets(line, sizeof(line), template)) {
        char *version = strstr(line, "@VERSION@");
        if (strcmp(line, "@COMMANDS@\n") == 0) {
            for (unsigned i = 0; img_commands[i]; i++)
                put_command(img_commands[i]);
        } else if (version) {
            printf("%.*s%s%s", (int)(version - line), line, KVASIR_VERSION,
                   version + strlen("@VERSION@"));
        } else {
            fputs(line, stdout);
        }
    }
    fclose(template);
    return ferror(stdout) ? 1 : 0;
}
