/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes the manual page of kvasird: the prose of a template, and in place of its lines
 * @OPTIONS@, @SETTINGS@ and @VERSION@ what the program's own tables say. The build runs
 * it: settings_to_roff TEMPLATE >PAGE.
 */
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "daemon/server/settings.h"
#include "roff.h"

static void put_options(void)
{
    for (const struct settings_option *option = settings_options; option->name; option++) {
        roff_put_line(".TP\n\\fB\\-\\-", option->name, "\\fR");
        if (option->argument)
            roff_put_line(" \\fI", option->argument, "\\fR");
        roff_put_line("\n", option->help, "\n");
    }
}

static void put_settings(void)
{
    for (const struct setting *setting = settings_table; setting->name; setting++) {
        roff_put_line(".TP\n\\fB", setting->name, "\\fR\n");
        roff_put_line("", setting->help, "\n");
    }
}

int main(int argc, char **argv)
{
    static const struct roff_place places[] = {
        {"@OPTIONS@\n", put_options},
        {"@SETTINGS@\n", put_settings},
        {NULL},
    };
    return roff_fill_template(argc, argv, places);
}
