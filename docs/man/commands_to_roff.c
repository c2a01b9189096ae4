/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes the manual page of kvasir-img: the prose of a template, and in place of
 * its lines @COMMANDS@ and @VERSION@ what the program's own tables say. The build
 * runs it: commands_to_roff TEMPLATE >PAGE.
 */
#include "img/img.h"
#include "roff.h"

static void put_command(const struct img_command *command)
{
    char names[64];
    roff_put_line(".SS ", command->name, " [OPTION]... ");
    roff_put_line("", command->operands, "\n");
    roff_put_line("", command->help, "\n");
    for (const struct img_option *option = command->options; option->help; option++) {
        img_option_names(names, sizeof(names), option);
        roff_put_line(".TP\n\\fB", names, "\\fR\n");
        roff_put_line("", option->help, "\n");
    }
}

static void put_commands(void)
{
    for (unsigned i = 0; img_commands[i]; i++)
        put_command(img_commands[i]);
}

int main(int argc, char **argv)
{
    static const struct roff_place places[] = {{"@COMMANDS@\n", put_commands}, {NULL, NULL}};
    return roff_fill_template(argc, argv, places);
}
