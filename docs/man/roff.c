/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Manual pages; see roff.h. */
#include "roff.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"

void roff_put_text(const char *text)
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

void roff_put_line(const char *before, const char *text, const char *after)
{
    fputs(before, stdout);
    roff_put_text(text);
    fputs(after, stdout);
}

int roff_fill_template(int argc, char **argv, const struct roff_place *places)
{
    char line[512];
    FILE *template = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (!template) {
        fprintf(stderr, "usage: %s TEMPLATE\n", argc ? argv[0] : "to_roff");
        return 1;
    }
    while (fgets(line, sizeof(line), template)) {
        const struct roff_place *place = places;
        while (place->line && strcmp(place->line, line) != 0)
            place++;
        char *version = strstr(line, "@VERSION@");
        if (place->line)
            place->put();
        else if (version)
            printf("%.*s%s%s", (int)(version - line), line, KVASIR_VERSION,
                   version + strlen("@VERSION@"));
        else
            fputs(line, stdout);
    }
    fclose(template);
    return ferror(stdout) ? 1 : 0;
}
