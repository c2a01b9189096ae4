/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img: finds the command and runs it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/version.h"
#include "img/img.h"

static void print_help(void)
{
    printf("kvasir-img " KVASIR_VERSION "\n"
           "usage: %s [standard options] command [command options]\n"
           "Disk images, with the commands, options and output of qemu-img 7.2\n\n"
           "    -h, --help       print this and exit\n"
           "    -V, --version    print the version and exit\n\n"
           "Commands ('%s COMMAND --help' lists a command's options):\n",
           img_program, img_program);
    for (unsigned i = 0; img_commands[i]; i++)
        printf("  %-9s %s\n            %s %s\n", img_commands[i]->name, img_commands[i]->help,
               img_commands[i]->name, img_commands[i]->operands);
    printf("\nA size is bytes, or has a suffix: k (1024), M, G, T, P, E.\n"
           "CACHE is none, writeback, writethrough, directsync or unsafe.\n"
           "\nSupported formats:");
    const struct block_driver *driver;
    for (unsigned i = 0; (driver = block_driver_at(i)); i++)
        printf(" %s", driver->name);
    putchar('\n');
}

static const struct img_command *find_command(const char *name)
{
    for (unsigned i = 0; img_commands[i]; i++) {
        if (strcmp(img_commands[i]->name, name) == 0)
            return img_commands[i];
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const char *slash = argc ? strrchr(argv[0], '/') : NULL;
    img_program = !argc ? img_program : slash ? slash + 1 : argv[0];
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like others */
    log_level = LOG_WARNING;

    const char *first = argc > 1 ? argv[1] : NULL;
    if (!first)
        return img_usage_error("Not enough arguments");
    if (strcmp(first, "-h") == 0 || strcmp(first, "--help") == 0) {
        print_help();
        return IMG_OK;
    }
    if (strcmp(first, "-V") == 0 || strcmp(first, "--version") == 0) {
        puts("kvasir-img " KVASIR_VERSION);
        return IMG_OK;
    }
    if (first[0] == '-')
        return img_usage_error("unrecognized option '%s'", first);
    const struct img_command *command = find_command(first);
    if (!command)
        return img_usage_error("Command not found: %s", first);
    int status = img_run(command, argc - 1, argv + 1);
    if (fflush(stdout) == EOF || ferror(stdout))
        return img_error("the output could not be written");
    return status;
}
