/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * switch capture: frames of a bridge as pcapng, into a file or to standard output, for tcpdump and
 * Wireshark. The switch writes them into a pipe that it is given; ^C ends it, and so does who reads
 * standard output.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "cli/args.h"
#include "cli/output.h"
#include "cli/switch.h"
#include "cli/verbs.h"

/* All that a pipe holds: the switch writes blocks as wholes, so the file always has whole ones. */
#define PART KIB(64)

static volatile sig_atomic_t interrupted;

static void note_interrupt(int number)
{
    interrupted = 1;
}

static json_t *arguments_of(struct cli *cli)
{
    static const char *const numbers[] = {"count", "bytes"};
    const char *bridge = NULL, *port = NULL;
    if (arg_text(cli, "bridge", &bridge) < 0 || arg_text(cli, "port", &port) < 0)
        return NULL;
    json_t *arguments = json_pack("{s:s, s:s*}", "bridge", bridge, "port", port);
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
        unsigned number;
        int given = arg_uint(cli, numbers[i], &number);
        if (given < 0) {
            json_decref(arguments);
            return NULL;
        }
        if (given)
            json_object_set_new(arguments, numbers[i], json_integer(number));
    }
    return arguments;
}

/* Until the switch ends it, nobody takes any more, or ^C. */
static int copy(struct cli *cli, int from, int to, const char *path)
{
    static uint8_t part[PART];
    ssize_t n = 0;
    int r = 0;
    while (r == 0 && !interrupted && (n = read(from, part, sizeof(part))) > 0)
        r = fd_write_all(to, part, (size_t)n);
    return r == 0 || r == -EPIPE ? 0 : cli_error(cli, "'%s': %s", path, strerror(-r));
}

int switch_capture(struct cli *cli)
{
    const char *path = NULL;
    int ends[2];
    cleanup_fd int file = -1;
    if (arg_text(cli, "write", &path) < 0)
        return -1;
    if (!path && isatty(STDOUT_FILENO))
        return cli_error(cli, "a capture is no text: --write FILE, or | tcpdump -r -");
    json_t *arguments = arguments_of(cli);
    if (!arguments)
        return -1;
    if (path && (file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) < 0) {
        json_decref(arguments);
        return cli_error(cli, "'%s': %s", path, strerror(errno));
    }
    if (pipe2(ends, O_CLOEXEC) < 0) {
        json_decref(arguments);
        return cli_error(cli, "pipe: %s", strerror(errno));
    }
    sigaction(SIGINT, &(struct sigaction){.sa_handler = note_interrupt}, NULL);
    signal(SIGPIPE, SIG_IGN);
    json_t *answer = switch_ask_with(cli, "capture", arguments, ends[1]);
    close(ends[1]);
    int r = answer ? copy(cli, ends[0], path ? file : STDOUT_FILENO, path ? path : "output") : -1;
    close(ends[0]);
    json_decref(answer);
    return r;
}
