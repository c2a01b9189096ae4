/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The prompt. Lines are edited with readline, which is loaded only here, so that single commands
 * start without it; where it is not installed lines are read plainly. The history is kept in
 * $XDG_CACHE_HOME/kvasir/history.
 */
#include "cli/interactive.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/library.h"
#include "cli/complete.h"
#include "cli/line.h"

#define HISTORY_LINES 1000

typedef char *generator_fn(const char *text, int state);
typedef char **completion_fn(const char *text, int start, int end);

static struct {
    char *(*readline)(const char *prompt);
    void (*add_history)(const char *line);
    int (*read_history)(const char *path);
    int (*write_history)(const char *path);
    void (*stifle_history)(int lines);
    char **(*matches)(const char *text, generator_fn *generator);
    char **line;
    const char **word_breaks;
    completion_fn **attempt;
    int *attempt_over;
    const char **name;
} lib;

static const struct library_symbol symbols[] = {
    {"readline", &lib.readline},
    {"add_history", &lib.add_history},
    {"read_history", &lib.read_history},
    {"write_history", &lib.write_history},
    {"stifle_history", &lib.stifle_history},
    {"rl_completion_matches", &lib.matches},
    {"rl_line_buffer", &lib.line},
    {"rl_basic_word_break_characters", &lib.word_breaks},
    {"rl_attempted_completion_function", &lib.attempt},
    {"rl_attempted_completion_over", &lib.attempt_over},
    {"rl_readline_name", &lib.name},
    {NULL, NULL},
};
static struct library readline_library =
    LIBRARY("libreadline.so.8", "libreadline8", "editing of lines", symbols);

static struct cli *at_prompt; /* whose line is being completed */
static struct candidates candidates;

/* The words of the line's last command in front of position end. */
static unsigned words_before(const char *line, int end, char ***out)
{
    char *text = strndup(line, (size_t)end), *word;
    const char *at = text;
    unsigned n = 0;
    char **list = NULL;
    enum line_token token;
    while ((token = line_word(at_prompt, &at, &word, false)) == LINE_WORD || token == LINE_NEXT) {
        if (token == LINE_NEXT) {
            while (n)
                free(list[--n]);
            continue;
        }
        char **more = realloc(list, (n + 1) * sizeof(*more));
        if (!more)
            abort();
        list = more;
        list[n++] = word;
    }
    if (token == LINE_ERROR)
        free(word);
    free(text);
    *out = list;
    return n;
}

static char *next_candidate(const char *text, int state)
{
    static size_t at;
    if (state == 0)
        at = 0;
    return at < candidates.n ? strdup(candidates.list[at++]) : NULL;
}

static char **attempt(const char *text, int start, int end)
{
    char **words;
    unsigned n = words_before(*lib.line, start, &words);
    complete_free(&candidates);
    complete_words(at_prompt, words, n, text, &candidates);
    while (n)
        free(words[--n]);
    free(words);
    cli_release(at_prompt);
    *lib.attempt_over = !candidates.files;
    return candidates.n ? lib.matches(text, next_candidate) : NULL;
}

static char *history_path(void)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *folder = NULL, *path = NULL;
    if (cache && *cache ? asprintf(&folder, "%s", cache) < 0
                        : !home || asprintf(&folder, "%s/.cache", home) < 0)
        return NULL;
    mkdir(folder, 0700);
    char *own;
    if (asprintf(&own, "%s/kvasir", folder) >= 0) {
        mkdir(own, 0700);
        if (asprintf(&path, "%s/history", own) < 0)
            path = NULL;
        free(own);
    }
    free(folder);
    return path;
}

static char *plain_line(const char *prompt)
{
    char *line = NULL;
    size_t room = 0;
    fputs(prompt, stdout);
    fflush(stdout);
    ssize_t len = getline(&line, &room, stdin);
    if (len < 0) {
        free(line);
        return NULL;
    }
    if (len && line[len - 1] == '\n')
        line[len - 1] = '\0';
    return line;
}

static bool load_readline(struct cli *cli)
{
    struct kv_error err = {0};
    if (!isatty(STDIN_FILENO) || library_load(&readline_library, &err) < 0)
        return false;
    at_prompt = cli;
    *lib.name = "kvasir";
    *lib.attempt = attempt;
    *lib.word_breaks = " \t\n;\"'";
    lib.stifle_history(HISTORY_LINES);
    return true;
}

static void run_text(struct cli *cli, const char *text)
{
    bool ok;
    struct cli_command *commands = line_parse(cli, text, &ok);
    if (ok)
        line_run(cli, commands);
    line_free(commands);
}

int interactive_run(struct cli *cli)
{
    bool person = isatty(STDIN_FILENO);
    if (person && !cli->quiet)
        printf("This is kvasir, for virtual machines.\n\n"
               "Type:  'help' for help with commands\n"
               "       'quit' to quit\n\n");
    if (cli_connect(cli) < 0) {
        cli_report(cli);
        cli_forget_error(cli);
        if (!person)
            return -1;
    }
    bool edited = load_readline(cli);
    char *history = edited ? history_path() : NULL;
    if (history)
        lib.read_history(history);
    while (!cli->quit) {
        const char *prompt = !person ? "" : cli->read_only ? "kvasir > " : "kvasir # ";
        char *line = edited ? lib.readline(prompt) : plain_line(prompt);
        if (!line)
            break;
        if (edited && *line)
            lib.add_history(line);
        run_text(cli, line);
        fflush(stdout);
        free(line);
    }
    if (person && !cli->quit)
        putchar('\n');
    if (history)
        lib.write_history(history);
    free(history);
    complete_free(&candidates);
    return 0;
}
