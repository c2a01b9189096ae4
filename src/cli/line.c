/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parses command lines and carries them out. Words come from a text (with quotes) or from the
 * program's arguments; how options are taken from them is the same.
 */
#include "cli/line.h"

#include <ctype.h>
#include <time.h>

#include "base/cleanup.h"
#include "cli/output.h"

/* Where words come from. */
struct words {
    struct cli *cli;
    const char *at; /* of a text, else NULL */
    char **list;
    int n;
};

enum line_token line_word(struct cli *cli, const char **at, char **word, bool tell)
{
    const char *p = *at;
    bool quoted = false, single = false;
    *word = NULL;
    while (*p == ' ' || *p == '\t' || (*p == '\\' && p[1] == '\n'))
        p += 1 + (*p == '\\');
    if (*p == '\0') {
        *at = p;
        return LINE_END;
    }
    if (*p == ';' || *p == '\n') {
        *at = p + 1;
        return LINE_NEXT;
    }
    if (*p == '#') { /* up to the line's end */
        p += strcspn(p, "\n");
        *at = p + (*p == '\n');
        return LINE_NEXT;
    }
    char *out = *word = malloc(strlen(p) + 1);
    if (!out)
        abort();
    for (; *p; p++) {
        if (!quoted && !single && strchr(" \t;\n", *p))
            break;
        if (*p == '\'' && !quoted) {
            single = !single;
        } else if (*p == '"' && !single) {
            quoted = !quoted;
        } else if (*p == '\\' && !single) {
            p++;
            if (*p == '\0') {
                if (tell)
                    cli_error(cli, "dangling \\");
                *at = p;
                return LINE_ERROR;
            }
            if (*p != '\n')
                *out++ = *p;
        } else {
            *out++ = *p;
        }
    }
    *out = '\0';
    *at = p;
    if (!quoted)
        return LINE_WORD;
    if (tell)
        cli_error(cli, "missing \"");
    return LINE_ERROR;
}

static enum line_token next_word(struct words *words, char **word, bool tell)
{
    *word = NULL;
    if (words->at)
        return line_word(words->cli, &words->at, word, tell);
    if (words->n == 0)
        return LINE_END;
    words->n--;
    *word = strdup(*words->list++);
    if (!*word)
        abort();
    return LINE_WORD;
}

/* What of a command is still to come. */
struct parse {
    struct cli *cli;
    struct cli_command *command;
    uint64_t free;   /* places that data may take */
    uint64_t needed; /* options that must be given */
    uint64_t seen;
    bool data_only; /* after "--" */
    bool help;      /* --help was given */
};

static void parse_begin(struct parse *p)
{
    for (unsigned i = 0; i < p->command->spec.n; i++) {
        const struct spec_option *option = &p->command->spec.options[i];
        if (option->required)
            p->needed |= BIT(i);
        if (option->kind != SPEC_SWITCH && !option->named)
            p->free |= BIT(i);
    }
}

static void keep_option(struct parse *p, unsigned index, char *value)
{
    struct cli_command *command = p->command;
    struct cli_option *more = realloc(command->options, (command->n + 1) * sizeof(*more));
    if (!more)
        abort();
    command->options = more;
    command->options[command->n++] = (struct cli_option){.index = index, .value = value};
    p->seen |= BIT(index);
    if (command->spec.options[index].kind != SPEC_REST)
        p->free &= ~BIT(index);
}

/* The value behind an option: after '=' or the next word. NULL: wrong, told. */
static char *option_value(struct parse *p, struct words *words, const char *name,
                          enum spec_kind kind, const char *equals)
{
    char *value = NULL;
    if (equals)
        return strdup(equals);
    enum line_token token = next_word(words, &value, true);
    if (token == LINE_WORD)
        return value;
    if (token != LINE_ERROR)
        cli_error(p->cli, "expected syntax: --%s <%s>", name,
                  kind == SPEC_NUMBER ? "number" : "string");
    free(value);
    return NULL;
}

/* --output json, which every verb understands. */
static int parse_output(struct parse *p, struct words *words, const char *equals)
{
    char *value = option_value(p, words, "output", SPEC_TEXT, equals);
    if (!value)
        return -1;
    bool json = strcmp(value, "json") == 0;
    if (!json && strcmp(value, "text") != 0)
        cli_error(p->cli, "invalid value '%s' for option --output: 'json' or 'text' is accepted",
                  value);
    p->command->json = json;
    json = json || strcmp(value, "text") == 0;
    free(value);
    return json ? 0 : -1;
}

/* word is "--name" or "--name=value". 0, or negative (told). */
static int parse_option(struct parse *p, struct words *words, char *word)
{
    const struct verb *verb = p->command->verb;
    bool lenient = strcmp(verb->name, "help") == 0;
    char *equals = strchr(word, '=');
    if (equals)
        *equals++ = '\0';
    const char *name = spec_option_resolve(verb->name, word + 2);
    const struct spec *spec = &p->command->spec;
    unsigned i = 0;
    while (i < spec->n && strcmp(spec->options[i].name, name) != 0)
        i++;
    if (i == spec->n) {
        if (strcmp(name, "help") == 0) {
            p->help = true;
            return 0;
        }
        if (strcmp(name, "output") == 0)
            return parse_output(p, words, equals);
        return lenient ? 0
                       : cli_error(p->cli, "command '%s' doesn't support option --%s", verb->name,
                                   name);
    }
    const struct spec_option *option = &spec->options[i];
    if ((p->seen & BIT(i)) && option->kind != SPEC_REST)
        return cli_error(p->cli, "option --%s already seen", name);
    if (option->kind == SPEC_SWITCH) {
        if (equals)
            return cli_error(p->cli, "invalid '=' after option --%s", name);
        keep_option(p, i, NULL);
        return 0;
    }
    char *value = option_value(p, words, name, option->kind, equals);
    if (!value)
        return -1;
    keep_option(p, i, value);
    return 0;
}

/* Takes the word over. */
static int parse_data(struct parse *p, char *word)
{
    if (!p->free) {
        int r = 0;
        if (strcmp(p->command->verb->name, "help") != 0)
            r = cli_error(p->cli, "unexpected data '%s'", word);
        free(word);
        return r;
    }
    keep_option(p, (unsigned)__builtin_ctzll(p->free), word);
    return 0;
}

static int parse_end(struct parse *p)
{
    struct cli_command *command = p->command;
    if (p->help) {
        const char *about = command->verb->name;
        for (unsigned i = 0; i < command->n; i++)
            free(command->options[i].value);
        command->n = 0;
        command->verb = verb_find("help");
        spec_read(command->verb->synopsis, &command->spec);
        keep_option(p, 0, strdup(about));
        return 0;
    }
    uint64_t missing = p->needed & ~p->seen;
    for (unsigned i = 0; i < command->spec.n; i++) {
        const struct spec_option *option = &command->spec.options[i];
        if (!(missing & BIT(i)))
            continue;
        bool data = option->kind == SPEC_DATA || option->kind == SPEC_REST;
        cli_error(p->cli,
                  data ? "command '%s' requires <%s> option" : "command '%s' requires --%s option",
                  command->verb->name, option->name);
    }
    return missing ? -1 : 0;
}

static struct cli_command *command_new(const struct verb *verb)
{
    struct cli_command *command = calloc(1, sizeof(*command));
    if (!command)
        abort();
    command->verb = verb;
    spec_read(verb->synopsis, &command->spec);
    return command;
}

static int unknown_verb(struct cli *cli, const char *name)
{
    cli_error(cli, "unknown command: '%s'", name);
    const char *known = "'kvasir help' lists the commands";
    if (strcmp(name, "image") == 0)
        known = "'image build' and 'image import' are known";
    if (strcmp(name, "switch") == 0)
        known = "'switch show', 'switch ports', 'switch fdb', 'switch acl', 'switch acl-set', "
                "'switch acl-remove', 'switch filter' and 'switch trace' are known";
    cli_hint(cli, "%s", known);
    return -1;
}

/* "image build" is the verb image-build: *words then goes on behind the second word. */
static const struct verb *find_joined(struct words *words, const char *first)
{
    static const char *const families[] = {"image", "switch"};
    struct words ahead = *words;
    cleanup_free char *second = NULL, *name = NULL;
    const struct verb *verb = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(families) && !second; i++)
        if (strcmp(first, families[i]) == 0 && next_word(&ahead, &second, false) == LINE_WORD &&
            asprintf(&name, "%s-%s", first, second) > 0)
            verb = verb_find(name);
    if (verb)
        *words = ahead;
    return verb;
}

/* One command. *last: how it ended. NULL with *ok true: there was none. */
static struct cli_command *parse_command(struct words *words, enum line_token *last, bool *ok)
{
    struct parse p = {.cli = words->cli};
    char *word;
    int r = 0;
    while (r == 0 && (*last = next_word(words, &word, true)) == LINE_WORD) {
        if (!p.command) {
            const struct verb *verb = verb_find(word);
            if (!verb)
                verb = find_joined(words, word);
            if (verb) {
                p.command = command_new(verb);
                parse_begin(&p);
            } else {
                r = unknown_verb(words->cli, word);
            }
        } else if (!p.data_only && strcmp(word, "--") == 0) {
            p.data_only = true;
        } else if (!p.data_only && strncmp(word, "--", 2) == 0 && isalnum((unsigned char)word[2])) {
            r = parse_option(&p, words, word);
        } else {
            r = parse_data(&p, take_ptr(word));
        }
        free(word);
    }
    if (*last == LINE_ERROR) {
        free(word);
        r = -1;
    }
    if (r == 0 && p.command)
        r = parse_end(&p);
    *ok = r == 0;
    if (r == 0)
        return p.command;
    line_free(p.command);
    return NULL;
}

static struct cli_command *parse_all(struct words *words, bool *ok)
{
    struct cli_command *first = NULL, **tail = &first;
    enum line_token last;
    do {
        struct cli_command *command = parse_command(words, &last, ok);
        if (!*ok) {
            line_free(first);
            return NULL;
        }
        if (command) {
            *tail = command;
            tail = &command->next;
        }
    } while (last != LINE_END);
    return first;
}

struct cli_command *line_parse(struct cli *cli, const char *text, bool *ok)
{
    return parse_all(&(struct words){.cli = cli, .at = text}, ok);
}

struct cli_command *line_parse_words(struct cli *cli, char **words, int n, bool *ok)
{
    return parse_all(&(struct words){.cli = cli, .list = words, .n = n}, ok);
}

void line_free(struct cli_command *command)
{
    while (command) {
        struct cli_command *next = command->next;
        for (unsigned i = 0; i < command->n; i++)
            free(command->options[i].value);
        free(command->options);
        free(command);
        command = next;
    }
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int run_command(struct cli *cli, const struct cli_command *command)
{
    cli->command = command;
    cli->status = 0;
    bool json = cli->json;
    cli->json = json || command->json;
    double began = now_ms();
    out_begin(cli);
    int r = 0;
    if (!(command->verb->flags & VERB_OFFLINE) && !(cli->conn && kvasir_conn_is_alive(cli->conn)))
        r = cli_connect(cli);
    if (r == 0)
        r = command->verb->run(cli);
    if (r < 0)
        cli_report(cli);
    out_end(cli, r >= 0);
    if (cli->timing && !cli->quit)
        printf("\n(Time: %.3f ms)\n\n", now_ms() - began);
    else if (!cli->quiet && !cli->json && !cli->quit && !(command->verb->flags & VERB_BARE))
        putchar('\n');
    cli_forget_error(cli);
    cli_release(cli);
    cli->json = json;
    cli->command = NULL;
    return r;
}

int line_run(struct cli *cli, const struct cli_command *commands)
{
    int r = 0;
    for (; commands; commands = commands->next) {
        r = run_command(cli, commands);
        if (cli->quit)
            break;
    }
    return r;
}
