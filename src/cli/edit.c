/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A temporary file, an editor, and what to do when the daemon does not like the result. */
#include "cli/edit.h"

#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/output.h"
#include "cli/program.h"

static const char *editor(void)
{
    static const char *const variables[] = {"VISUAL", "EDITOR"};
    for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
        const char *value = getenv(variables[i]);
        if (value && *value)
            return value;
    }
    return "vi";
}

/* The editor may be a command with options, so the shell takes it apart; the file's name is a
 * word of its own. */
static int run_editor(struct cli *cli, const char *path)
{
    const char *const words[] = {"sh", "-c", cli_text(cli, "%s \"$1\"", editor()),
                                 "sh", path, NULL};
    int status = program_run(cli, words);
    return status > 0 ? cli_error(cli, "the editor '%s' failed", editor()) : status;
}

static int write_all(int fd, const char *text)
{
    for (size_t len = strlen(text); len;) {
        ssize_t n = write(fd, text, len);
        if (n < 0)
            return -1;
        text += n;
        len -= (size_t)n;
    }
    return 0;
}

char *edit_text(struct cli *cli, const char *text)
{
    const char *folder = getenv("TMPDIR");
    char *path = cli_text(cli, "%s/kvasirXXXXXX.xml", folder && *folder ? folder : "/tmp");
    cleanup_fd int fd = mkstemps(path, 4);
    if (fd < 0) {
        cli_error(cli, "Failed to create '%s': %s", path, strerror(errno));
        return NULL;
    }
    char *edited = NULL;
    if (write_all(fd, text) < 0)
        cli_error(cli, "write: %s: %s", path, strerror(errno));
    else if (run_editor(cli, path) == 0)
        edited = read_text_file(cli, path);
    unlink(path);
    return edited;
}

/* 'y': edit again, 'f': try the same again, 'n': give up. */
static int ask_again(struct cli *cli)
{
    if (!isatty(STDIN_FILENO))
        return 'n';
    for (;;) {
        printf("Failed. Try again? [y,n,f,?]: ");
        fflush(stdout);
        char line[16];
        if (!fgets(line, sizeof(line), stdin))
            return 'n';
        if (strchr("ynf", line[0]))
            return line[0];
        puts("y - start the editor again\nn - throw the changes away\nf - try to define it again");
    }
}

int edit_definition(struct cli *cli, const struct edit *edit)
{
    const char *quote = edit->quoted ? "'" : "";
    char *before = edit->get(cli, edit->opaque), *after = before;
    if (!before)
        return -1;
    for (int again = 'y'; again != 'n'; again = ask_again(cli)) {
        if (again == 'y')
            after = edit_text(cli, after);
        if (!after)
            return -1;
        if (strcmp(before, after) == 0)
            return out_done(cli, "%s %s%s%s XML configuration not changed.", edit->kind, quote,
                            edit->name, quote);
        char *now = edit->get(cli, edit->opaque);
        if (!now)
            return -1;
        if (strcmp(before, now) != 0)
            return cli_error(cli, "ERROR: the XML configuration was changed by another user");
        const char *name = edit->put(cli, edit->opaque, after);
        if (name)
            return out_done(cli, "%s %s%s%s XML configuration edited.", edit->kind, quote, name,
                            quote);
        cli_report(cli);
        cli_forget_error(cli);
    }
    return -1;
}
