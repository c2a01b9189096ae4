/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verbs about the program itself: folders, echo, connect, quit. */
#include <errno.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "cli/xml.h"

int own_cd(struct cli *cli)
{
    const char *folder = NULL;
    if (!cli->interactive)
        return cli_error(cli, "cd: command valid only in interactive mode");
    if (arg_text(cli, "dir", &folder) < 0)
        return -1;
    if (!folder)
        folder = getenv("HOME");
    if (!folder)
        folder = "/";
    return chdir(folder) < 0 ? cli_error(cli, "cd: %s: %s", strerror(errno), folder) : 0;
}

int own_pwd(struct cli *cli)
{
    char *folder = getcwd(NULL, 0);
    if (!folder)
        return cli_error(cli, "pwd: %s", strerror(errno));
    out_value(cli, "folder", "%s", folder);
    free(folder);
    return 0;
}

/* Quoted for a shell where that is needed. */
static const char *shell_text(struct cli *cli, const char *text)
{
    if (*text && !text[strcspn(text, "\r\t\n !\"#$&'()*;<>?[\\]^`{|}~")])
        return text;
    char *out = cli_alloc(cli, 4 * strlen(text) + 3), *to = out;
    *to++ = '\'';
    for (; *text; text++)
        to = *text == '\'' ? stpcpy(to, "'\\''") : (*to = *text, to + 1);
    *to = '\'';
    return out;
}

/* "a,b,,c" becomes "a\nb,c\n". */
static const char *split_text(struct cli *cli, const char *text)
{
    char *out = cli_alloc(cli, strlen(text) + 2), *to = out;
    for (const char *p = text; *p; p++) {
        bool doubled = *p == ',' && p[1] == ',';
        *to++ = *p == ',' && !doubled ? '\n' : *p;
        p += doubled;
    }
    *to++ = '\n';
    *to = '\0';
    return out;
}

int own_echo(struct cli *cli)
{
    const char *line = "", *word;
    for (unsigned i = 0; (word = arg_rest(cli, "string", i)); i++) {
        if (arg_on(cli, "split"))
            word = split_text(cli, word);
        if (arg_on(cli, "shell"))
            word = shell_text(cli, word);
        if (arg_on(cli, "xml"))
            word = xml_escape(cli, word);
        line = cli_text(cli, "%s%s%s", line, i ? " " : "", word);
    }
    if (arg_on(cli, "err")) {
        cli_error(cli, "%s", line);
        return 0;
    }
    out_key(cli, "text", "%s", line);
    out_print(cli, "%s", line);
    return 0;
}

int own_quit(struct cli *cli)
{
    cli->quit = true;
    return 0;
}

int own_connect(struct cli *cli)
{
    const char *uri = NULL;
    if (arg_text_or_empty(cli, "name", &uri) > 0) {
        free(cli->uri);
        cli->uri = *uri ? strdup(uri) : NULL;
    }
    cli->read_only = arg_on(cli, "readonly");
    cli_disconnect(cli);
    return cli_connect(cli);
}
