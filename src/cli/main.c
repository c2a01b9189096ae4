/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The program: options of its own, then a command line, a verb with its words, or a person.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>

#include "base/version.h"
#include "cli/cli.h"
#include "cli/interactive.h"
#include "cli/line.h"

static void print_usage(void)
{
    static const char text[] = "\nkvasir [options]... [<command_string>]"
                               "\nkvasir [options]... <command> [args...]\n\n"
                               "  options:\n"
                               "    -c | --connect=URI      the daemon to talk to\n"
                               "    -d | --debug=NUM        taken for virsh's sake [0-4]\n"
                               "    -e | --escape <char>    what leaves a console\n"
                               "    -h | --help             this help\n"
                               "    -k | --keepalive-interval=NUM\n"
                               "                            seconds between questions whether the "
                               "daemon lives, 0 for none\n"
                               "    -K | --keepalive-count=NUM\n"
                               "                            how many of them may go unanswered\n"
                               "    -l | --log=FILE         write errors to FILE as well\n"
                               "    -o | --output=FORMAT    text or json\n"
                               "    -q | --quiet            results only\n"
                               "    -r | --readonly         look, but change nothing\n"
                               "    -t | --timing           how long each command took\n"
                               "    -v                      version, short\n"
                               "    -V                      version, long\n"
                               "         --version[=TYPE]   short or long (default short)\n"
                               "  commands (non interactive mode):\n\n";
    fputs(text, stdout);
    for (const struct verb_group *const *group = verb_groups; *group; group++) {
        printf(" %s (help keyword '%s')\n", (*group)->title, (*group)->keyword);
        for (const struct verb *verb = (*group)->verbs; verb->name; verb++)
            if (!(verb->flags & VERB_HIDDEN))
                printf("    %-30s %s\n", verb->name, verb->summary);
        putchar('\n');
    }
    puts("  (specify help <group> for details about the commands in the group)");
    puts("\n  (specify help <command> for details about the command)\n");
}

static void print_long_version(void)
{
    puts("kvasir " KVASIR_VERSION ", virsh's verbs over libvirt's protocol");
}

static const struct option options[] = {
    {"connect", required_argument, NULL, 'c'},
    {"debug", required_argument, NULL, 'd'},
    {"escape", required_argument, NULL, 'e'},
    {"help", no_argument, NULL, 'h'},
    {"keepalive-interval", required_argument, NULL, 'k'},
    {"keepalive-count", required_argument, NULL, 'K'},
    {"log", required_argument, NULL, 'l'},
    {"output", required_argument, NULL, 'o'},
    {"quiet", no_argument, NULL, 'q'},
    {"readonly", no_argument, NULL, 'r'},
    {"timing", no_argument, NULL, 't'},
    {"version", optional_argument, NULL, 'v'},
    {NULL, 0, NULL, 0},
};

static void refuse(struct cli *cli, const char *fmt, const char *what)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    cli_error(cli, fmt, what);
#pragma GCC diagnostic pop
    exit(EXIT_FAILURE);
}

static const char *long_name(int letter)
{
    for (const struct option *option = options; option->name; option++)
        if (option->val == letter)
            return option->name;
    return "";
}

static int read_number(struct cli *cli, const char *option)
{
    char *end;
    errno = 0;
    long number = strtol(optarg, &end, 0);
    if (errno || *end || end == optarg)
        refuse(cli, "option %s takes a numeric argument", option);
    return (int)number;
}

static void set_escape(struct cli *cli)
{
    size_t len = strlen(optarg);
    if (len != 1 && (len != 2 || optarg[0] != '^'))
        refuse(cli, "Invalid string '%s' for escape sequence", optarg);
    snprintf(cli->escape, sizeof(cli->escape), "%s", optarg);
}

static void bad_option(struct cli *cli, int letter, char **argv)
{
    for (const struct option *option = options; letter == ':' && option->name; option++)
        if (option->val == optopt) {
            cli_error(cli, "option '-%c'/'--%s' requires an argument", optopt, option->name);
            exit(EXIT_FAILURE);
        }
    if (optopt)
        cli_error(cli,
                  letter == ':' ? "option '-%c' requires an argument"
                                : "unsupported option '-%c'. See --help.",
                  optopt);
    else
        cli_error(cli, "unsupported option '%s'. See --help.", argv[optind - 1]);
    exit(EXIT_FAILURE);
}

static void read_option(struct cli *cli, int letter, char **argv)
{
    switch (letter) {
    case 'c':
        free(cli->uri);
        cli->uri = strdup(optarg);
        break;
    case 'd':
        read_number(cli, "-d");
        break;
    case 'e':
        set_escape(cli);
        break;
    case 'h':
        print_usage();
        exit(EXIT_SUCCESS);
    case 'k':
    case 'K': {
        char option[32];
        snprintf(option, sizeof(option), letter == 'k' ? "-k/--%s" : "-K/--%s", long_name(letter));
        *(letter == 'k' ? &cli->keepalive_interval : &cli->keepalive_count) =
            read_number(cli, option);
        break;
    }
    case 'l':
        cli->log = fopen(optarg, "ae");
        if (!cli->log)
            refuse(cli, "failed to open the log file. check the log file path%s", "");
        break;
    case 'o':
        cli->json = strcmp(optarg, "json") == 0;
        if (!cli->json && strcmp(optarg, "text") != 0)
            refuse(cli, "Invalid value for option %s", "output");
        break;
    case 'q':
        cli->quiet = true;
        break;
    case 'r':
        cli->read_only = true;
        break;
    case 't':
        cli->timing = true;
        break;
    case 'v':
        if (optarg && strcmp(optarg, "long") == 0)
            print_long_version();
        else
            puts(KVASIR_VERSION);
        exit(EXIT_SUCCESS);
    case 'V':
        print_long_version();
        exit(EXIT_SUCCESS);
    default:
        bad_option(cli, letter, argv);
    }
}

int main(int argc, char **argv)
{
    struct cli cli = {.escape = "^]", .keepalive_interval = -1, .keepalive_count = -1};
    list_init(&cli.memory);
    opterr = 0;
    int letter;
    while ((letter = getopt_long(argc, argv, "+:c:d:e:hk:K:l:o:qrtvV", options, NULL)) != -1)
        read_option(&cli, letter, argv);
    int r = 0;
    bool ok = true;
    if (optind == argc) {
        cli.interactive = true;
        r = interactive_run(&cli);
    } else {
        struct cli_command *commands =
            argc - optind == 1 ? line_parse(&cli, argv[optind], &ok)
                               : line_parse_words(&cli, argv + optind, argc - optind, &ok);
        r = ok ? line_run(&cli, commands) : -1;
        line_free(commands);
    }
    cli_disconnect(&cli);
    free(cli.uri);
    if (cli.log)
        fclose(cli.log);
    if (fflush(stdout) == EOF || ferror(stdout))
        r = -1;
    return cli.status > 0 ? cli.status : r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
