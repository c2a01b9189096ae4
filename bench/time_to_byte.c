/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time from exec to one byte on the program's standard output, for several
 * commands in turn. usage: time_to_byte ROUNDS BYTE COMMAND... [-- COMMAND...]...
 * Prints a line a command: median and minimum in microseconds, or "failed".
 * Each child is killed and waited for by its own id after its byte.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COMMANDS_MAX 16
#define ROUNDS_MAX 1000
#define TIMEOUT_MS 60000

extern char **environ;

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Reads until the byte comes. */
static int wait_byte(int fd, char byte)
{
    double end = now_us() + TIMEOUT_MS * 1000.0;
    while (now_us() < end) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char chunk[4096];
        if (poll(&p, 1, 1000) <= 0)
            continue;
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n <= 0)
            return -1;
        if (memchr(chunk, byte, (size_t)n))
            return 0;
    }
    return -1;
}

/* Microseconds, or a negative number. */
static double measure(char **argv, char byte)
{
    int out[2];
    pid_t pid;
    posix_spawn_file_actions_t actions;

    if (pipe(out) < 0)
        return -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", 0, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_addclose(&actions, out[0]);
    posix_spawn_file_actions_addclose(&actions, out[1]);
    double start = now_us();
    int rc = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    if (rc) {
        close(out[0]);
        return -1;
    }
    rc = wait_byte(out[0], byte);
    double took = now_us() - start;
    kill(pid, SIGTERM);
    for (int i = 0; i < 200 && waitpid(pid, NULL, WNOHANG) == 0; i++) {
        if (i == 100)
            kill(pid, SIGKILL);
        usleep(5000);
    }
    close(out[0]);
    return rc < 0 ? -1 : took;
}

int main(int argc, char **argv)
{
    static double times[COMMANDS_MAX][ROUNDS_MAX];
    char **commands[COMMANDS_MAX];
    int count = 0, rounds = argc > 3 ? atoi(argv[1]) : 0;

    if (rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: %s ROUNDS BYTE COMMAND... [-- COMMAND...]...\n", argv[0]);
        return 2;
    }
    commands[count++] = argv + 3;
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "--") != 0)
            continue;
        argv[i] = NULL;
        if (count < COMMANDS_MAX)
            commands[count++] = argv + i + 1;
    }
    for (int round = 0; round < rounds; round++) {
        for (int c = 0; c < count; c++)
            times[c][round] = measure(commands[c], argv[2][0]);
    }
    for (int c = 0; c < count; c++) {
        qsort(times[c], (size_t)rounds, sizeof(double), by_value);
        if (times[c][0] < 0)
            printf("failed\n");
        else
            printf("%.0f %.0f\n", times[c][rounds / 2], times[c][0]);
    }
    return 0;
}
