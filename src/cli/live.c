/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables that are shown again and again; see live.h. */
#include "cli/live.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/output.h"

static volatile sig_atomic_t resized, interrupted;

static void note_resize(int number)
{
    resized = 1;
}

static void note_interrupt(int number)
{
    interrupted = 1;
}

double live_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

const char *live_line_end(bool screen)
{
    return screen ? "\033[K\n" : "\n";
}

const char *live_heading(bool screen)
{
    return screen ? "\033[7m" : "";
}

const char *live_heading_end(bool screen)
{
    return screen ? "\033[0m\033[K\n" : "\n";
}

void live_print_size(double bytes)
{
    const char *unit;
    double size = size_pretty((uint64_t)bytes, &unit);
    printf("  %7.1f %-3s", size, unit);
}

static unsigned screen_lines(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 3 ? size.ws_row : 24;
}

/* Waits for a key or the next look. True: end. */
static bool wait_for_key(const struct live *live, double until)
{
    for (;;) {
        double left = until - live_now();
        if (left <= 0 || resized)
            return false;
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        char key;
        if (interrupted)
            return true;
        if (poll(&in, 1, (int)(left * 1000) + 1) <= 0)
            continue;
        if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q')
            return true;
        if (live->key(live->opaque, key))
            return false;
    }
}

/* On a terminal until somebody ends it. */
static int show_on_screen(struct cli *cli, const struct live *live, int interval)
{
    bool over = false;
    int r = live->look(cli, live->opaque);
    while (r == 0 && !over && !interrupted) {
        double next = live_now() + interval;
        r = live->look(cli, live->opaque);
        if (r < 0)
            break;
        fputs("\033[H", stdout);
        live->print(cli, live->opaque, screen_lines() - 3, true);
        fputs("\033[J", stdout);
        fflush(stdout);
        resized = 0;
        over = wait_for_key(live, next);
    }
    return r;
}

static int show_tables(struct cli *cli, const struct live *live, int interval, int count)
{
    int r = live->look(cli, live->opaque);
    for (int i = 0; r == 0 && i < (cli->json ? 1 : count); i++) {
        sleep((unsigned)interval);
        r = live->look(cli, live->opaque);
        if (r == 0)
            live->print(cli, live->opaque, UINT32_MAX, false);
        fflush(stdout);
    }
    return r;
}

int live_show(struct cli *cli, const struct live *live, bool batch)
{
    int interval = 1, count = 0;
    if (arg_int(cli, "interval", &interval) < 0 || arg_int(cli, "count", &count) < 0)
        return -1;
    if (interval < 1)
        return cli_error(cli, "the interval is at least one second");
    if (count < 0)
        return cli_error(cli, "--count %d: how many tables can only be 0 (without end) or more",
                         count);
    bool screen =
        !batch && !cli->json && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) && count <= 0;
    struct termios before, raw;
    struct sigaction old_int, old_winch;
    if (!screen)
        return show_tables(cli, live, interval, MAX(count, 1));
    if (tcgetattr(STDIN_FILENO, &before) < 0)
        return cli_error(cli, "the terminal: %s", strerror(errno));
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    interrupted = 0;
    sigaction(SIGINT, &(struct sigaction){.sa_handler = note_interrupt}, &old_int);
    sigaction(SIGWINCH, &(struct sigaction){.sa_handler = note_resize}, &old_winch);
    fputs("\033[?1049h\033[?25l", stdout);
    int r = show_on_screen(cli, live, interval);
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    sigaction(SIGINT, &old_int, NULL);
    sigaction(SIGWINCH, &old_winch, NULL);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    return r;
}
