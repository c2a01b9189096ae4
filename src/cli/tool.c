/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs programs that work for a verb. See tool.h. */
#include "cli/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "cli/program.h"

#define LINES_KEPT 8
#define LINE_BYTES 256
#define SAID_MAX MIB(1)
#define MORE_PLACES ":/usr/local/sbin:/usr/sbin:/sbin" /* not in every user's PATH */

extern char **environ;

/* The last lines, for a message. */
struct memory {
    char lines[LINES_KEPT][LINE_BYTES];
    unsigned count;
    char line[LINE_BYTES]; /* the one that comes */
    size_t len;
};

static pid_t running;                      /* for the signals' handler */
static volatile sig_atomic_t ended_by = 0; /* the signal that came */

static void pass_signal(int number)
{
    ended_by = number;
    if (running > 0)
        kill(running, SIGTERM);
}

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static void catch_signals(struct sigaction *before)
{
    struct sigaction action = {.sa_handler = pass_signal};
    ended_by = 0;
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        sigaction(signals[i], &action, &before[i]);
}

static void restore_signals(const struct sigaction *before)
{
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        sigaction(signals[i], &before[i], NULL);
}

/* This program's variables with the tool's in front of them: the first of a name counts. */
static char **make_environment(struct cli *cli, const struct tool *tool)
{
    const char *path = getenv("PATH");
    size_t own = 0, added = 0;
    while (environ[own])
        own++;
    while (tool->environment && tool->environment[added])
        added++;
    char **out = cli_alloc(cli, (own + added + 3) * sizeof(*out)), **to = out;
    *to++ = cli_text(cli, "PATH=%s" MORE_PLACES, path ? path : "/usr/bin:/bin");
    *to++ = cli_text(cli, "LC_ALL=C.UTF-8");
    for (size_t i = 0; i < added; i++)
        *to++ = cli_text(cli, "%s", tool->environment[i]);
    for (size_t i = 0; i < own; i++)
        if (strncmp(environ[i], "PATH=", 5) != 0 && strncmp(environ[i], "LC_ALL=", 7) != 0)
            *to++ = environ[i];
    return out;
}

static void end_line(struct cli *cli, const struct tool *tool, struct memory *memory)
{
    memory->line[memory->len] = '\0';
    if (tool->line)
        tool->line(cli, memory->line);
    if (memory->len)
        memcpy(memory->lines[memory->count++ % LINES_KEPT], memory->line, memory->len + 1);
    memory->len = 0;
}

static void take_bytes(struct cli *cli, const struct tool *tool, struct memory *memory,
                       const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '\n' || bytes[i] == '\r')
            end_line(cli, tool, memory);
        else if (memory->len + 1 < LINE_BYTES)
            memory->line[memory->len++] = bytes[i];
    }
}

/* Until the other end is closed. */
static void listen_to(struct cli *cli, const struct tool *tool, int fd, struct memory *memory)
{
    char bytes[4096];
    size_t len = 0;
    for (;;) {
        ssize_t n = read(fd, bytes, sizeof(bytes));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        take_bytes(cli, tool, memory, bytes, (size_t)n);
        if (tool->said && len + (size_t)n < SAID_MAX) {
            char *more = cli_alloc(cli, len + (size_t)n + 1);
            if (len)
                memcpy(more, *tool->said, len);
            memcpy(more + len, bytes, (size_t)n);
            *tool->said = more;
            len += (size_t)n;
        }
    }
}

static int open_input(const struct tool *tool)
{
    if (!tool->input)
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    int fd = memfd_create("input", MFD_CLOEXEC);
    if (fd >= 0 &&
        (fd_write_all(fd, tool->input, strlen(tool->input)) < 0 || lseek(fd, 0, SEEK_SET))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* 0 with running and *listen filled, or an errno. */
static int start(struct cli *cli, const struct tool *tool, int *listen)
{
    int pipes[2];
    cleanup_fd int input = open_input(tool);
    if (input < 0 || pipe2(pipes, O_CLOEXEC) < 0)
        return errno;
    cleanup_fd int reader = pipes[0], writer = pipes[1];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, writer, STDOUT_FILENO);
    if (!tool->said)
        posix_spawn_file_actions_adddup2(&actions, writer, STDERR_FILENO);
    for (unsigned i = 0; i < tool->nfds; i++)
        posix_spawn_file_actions_adddup2(&actions, tool->fds[i].fd, tool->fds[i].number);
    char **environment = make_environment(cli, tool);
    /* A group of its own: what is typed on the terminal comes by pass_signal(), once. */
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    char path[512];
    int r = program_find(tool->words[0], path, sizeof(path))
                ? posix_spawn(&running, path, &actions, &attributes,
                              (char *const *)(uintptr_t)tool->words, environment)
                : ENOENT;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (r == 0)
        *listen = take_fd(&reader);
    return r;
}

static int tell_end(struct cli *cli, const struct tool *tool, const struct memory *memory,
                    int status)
{
    const char *said = "";
    unsigned first = memory->count > LINES_KEPT ? memory->count - LINES_KEPT : 0;
    for (unsigned i = first; i < memory->count; i++)
        said = cli_text(cli, "%s\n  %s", said, memory->lines[i % LINES_KEPT]);
    const char *name =
        strrchr(tool->words[0], '/') ? strrchr(tool->words[0], '/') + 1 : tool->words[0];
    if (WIFSIGNALED(status))
        return cli_error(cli, "'%s' was ended by signal %d%s", name, WTERMSIG(status), said);
    return cli_error(cli, "'%s' failed with status %d%s%s", name, WEXITSTATUS(status),
                     *said ? "; it said last:" : "", said);
}

int tool_run(struct cli *cli, const struct tool *tool)
{
    struct sigaction before[ARRAY_SIZE(signals)];
    struct memory memory = {.count = 0};
    cleanup_fd int listen = -1;
    int status = 0;
    fflush(stdout);
    catch_signals(before);
    int r = start(cli, tool, &listen);
    if (r == 0) {
        listen_to(cli, tool, listen, &memory);
        while (waitpid(running, &status, 0) < 0 && errno == EINTR)
            ;
        running = 0;
        end_line(cli, tool, &memory);
    }
    restore_signals(before);
    if (r)
        return cli_error(cli, "cannot run '%s': %s", tool->words[0], strerror(r));
    if (ended_by) {
        cli->status = 128 + ended_by;
        return cli_error(cli, "interrupted");
    }
    return status == 0 ? 0 : tell_end(cli, tool, &memory, status);
}

bool tool_there(struct cli *cli, const char *program, const char *package)
{
    char path[512];
    if (program_find(program, path, sizeof(path)))
        return true;
    cli_error(cli, "the program '%s' is needed: package %s has it", program, package);
    cli_hint(cli, "sudo apt install %s", package);
    return false;
}

const char *tool_own(struct cli *cli, const char *program)
{
    char path[512];
    if (program_find(program, path, sizeof(path)))
        return cli_text(cli, "%s", path);
    cli_error(cli, "%s is neither beside this program nor where programs lie", program);
    return NULL;
}
