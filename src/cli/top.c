/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * top: the machines that run and what they take, again every second. Keys: c, m, d, n, a sort by
 * processor, memory, disk, net and name, x by exits to the host; q ends. The table is as long as
 * the terminal. Not at a terminal: --count tables one behind the other.
 */
#include <errno.h>
#include <libvirt/libvirt.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/verbs.h"

enum column {
    CPU,
    MEMORY,
    DISK,
    NET,
    EXITS,
    COLUMNS,
};

static const struct {
    const char *name, *title;
    char key;
} columns[] = {
    [CPU] = {"cpu", "CPU %", 'c'},       [MEMORY] = {"memory", "Memory", 'm'},
    [DISK] = {"disk", "Disk/s", 'd'},    [NET] = {"net", "Net/s", 'n'},
    [EXITS] = {"exits", "Exits/s", 'x'}, [COLUMNS] = {"name", "Name", 'a'},
};

struct row {
    char name[128];
    wire_uuid uuid;
    int vcpus;
    double totals[COLUMNS]; /* as counted since the start; memory as it is */
    double rates[COLUMNS];
};

struct table_of_machines {
    struct row *rows;
    unsigned n;
    double at; /* seconds */
};

static volatile sig_atomic_t resized, interrupted;

static void note_resize(int number)
{
    resized = 1;
}

static void note_interrupt(int number)
{
    interrupted = 1;
}

static double number_of(const wire_param *param)
{
    switch (param->value.type) {
    case KVASIR_PARAM_INT:
        return param->value.wire_param_value_u.i;
    case KVASIR_PARAM_UINT:
        return param->value.wire_param_value_u.ui;
    case KVASIR_PARAM_LLONG:
        return (double)param->value.wire_param_value_u.l;
    case KVASIR_PARAM_ULLONG:
        return (double)param->value.wire_param_value_u.ul;
    default:
        return 0;
    }
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), n = strlen(end);
    return len >= n && strcmp(text + len - n, end) == 0;
}

/* "block.0.rd.bytes", "net.1.tx.bytes": added up. */
static void add_figure(struct row *row, const wire_param *param)
{
    const char *field = param->field;
    double value = number_of(param);
    if (strcmp(field, "cpu.time") == 0)
        row->totals[CPU] = value / 1e9 * 100;
    else if (strcmp(field, "balloon.rss") == 0)
        row->totals[MEMORY] = value * 1024;
    else if (strcmp(field, "vcpu.current") == 0)
        row->vcpus = (int)value;
    else if (strncmp(field, "block.", 6) == 0 &&
             (ends_with(field, ".rd.bytes") || ends_with(field, ".wr.bytes")))
        row->totals[DISK] += value;
    else if (strncmp(field, "net.", 4) == 0 && ends_with(field, "x.bytes"))
        row->totals[NET] += value;
    else if (strncmp(field, "vcpu.", 5) == 0 && ends_with(field, ".exits.sum"))
        row->totals[EXITS] += value;
}

static int look(struct cli *cli, struct table_of_machines *out)
{
    const REMOTE_RET(CONNECT_GET_ALL_DOMAIN_STATS) *all =
        CALL(cli, CONNECT_GET_ALL_DOMAIN_STATS,
             .stats = VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_BALLOON |
                      VIR_DOMAIN_STATS_VCPU | VIR_DOMAIN_STATS_INTERFACE | VIR_DOMAIN_STATS_BLOCK,
             .flags = VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE);
    if (!all)
        return -1;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    out->at = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    out->n = all->ret_stats.ret_stats_len;
    out->rows = calloc(out->n + 1, sizeof(*out->rows));
    if (!out->rows)
        abort();
    for (unsigned i = 0; i < out->n; i++) {
        const wire_stats_record *record = &all->ret_stats.ret_stats_val[i];
        struct row *row = &out->rows[i];
        snprintf(row->name, sizeof(row->name), "%s", record->dom.name);
        memcpy(row->uuid, record->dom.uuid, sizeof(row->uuid));
        for (unsigned k = 0; k < record->params.params_len; k++)
            add_figure(row, &record->params.params_val[k]);
    }
    cli_release(cli);
    return 0;
}

/* A machine's rates since the last look; of one that is new there are none yet. */
static void compare(struct table_of_machines *now, const struct table_of_machines *before)
{
    double seconds = now->at - before->at;
    for (unsigned i = 0; i < now->n; i++) {
        struct row *row = &now->rows[i];
        row->rates[MEMORY] = row->totals[MEMORY];
        for (unsigned k = 0; k < before->n; k++) {
            const struct row *old = &before->rows[k];
            if (memcmp(old->uuid, row->uuid, sizeof(row->uuid)) != 0)
                continue;
            for (int c = 0; c < COLUMNS; c++)
                if (c != MEMORY && seconds > 0)
                    row->rates[c] = MAX(0, row->totals[c] - old->totals[c]) / seconds;
        }
    }
}

static int sort_column; /* enum column, COLUMNS: by name; for the comparison */

static int by_column(const void *a, const void *b)
{
    const struct row *one = a, *two = b;
    if (sort_column < COLUMNS && one->rates[sort_column] != two->rates[sort_column])
        return one->rates[sort_column] < two->rates[sort_column] ? 1 : -1;
    return strcmp(one->name, two->name);
}

static void print_size(double bytes)
{
    const char *unit;
    double size = size_pretty((uint64_t)bytes, &unit);
    printf("  %7.1f %-3s", size, unit);
}

static void print_rows(const struct table_of_machines *now, unsigned most, bool screen)
{
    const char *end = screen ? "\033[K\n" : "\n", *bold = screen ? "\033[7m" : "";
    printf("%s%-24s %5s  %7s  %11s  %11s  %11s  %8s%s%s", bold, "Name", "vCPUs", "CPU %", "Memory",
           "Disk/s", "Net/s", "Exits/s", screen ? "\033[0m" : "", end);
    for (unsigned i = 0; i < now->n && i < most; i++) {
        const struct row *row = &now->rows[i];
        printf("%-24.24s %5d  %7.1f", row->name, row->vcpus, row->rates[CPU]);
        print_size(row->rates[MEMORY]);
        print_size(row->rates[DISK]);
        print_size(row->rates[NET]);
        printf("  %8.0f", row->rates[EXITS]);
        fputs(end, stdout);
    }
}

static void print_json(struct cli *cli, const struct table_of_machines *now)
{
    out_array(cli);
    for (unsigned i = 0; i < now->n; i++) {
        out_item(cli);
        out_key(cli, "name", "%s", now->rows[i].name);
        out_key(cli, "vcpus", "%d", now->rows[i].vcpus);
        for (int c = 0; c < COLUMNS; c++)
            out_key(cli, columns[c].name, c == CPU ? "%.1f" : "%.0f", now->rows[i].rates[c]);
    }
}

static unsigned screen_lines(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 3 ? size.ws_row : 24;
}

/* Waits for a key or the next look. True: end. */
static bool wait_for_key(double until)
{
    for (;;) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        double left = until - ((double)now.tv_sec + (double)now.tv_nsec / 1e9);
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
        for (int c = 0; c <= COLUMNS; c++)
            if (columns[c].key == key) {
                sort_column = c;
                return false;
            }
    }
}

/* --count tables, or until somebody ends it. */
static int show(struct cli *cli, int interval, int count, bool screen)
{
    struct table_of_machines before = {.n = 0}, now = {.n = 0};
    int r = look(cli, &before);
    bool over = false;
    if (r == 0 && !screen)
        sleep((unsigned)interval);
    for (int i = 0; r == 0 && !over && !interrupted && (count <= 0 || i < count); i++) {
        free(now.rows);
        now.rows = NULL;
        r = look(cli, &now);
        if (r < 0)
            break;
        compare(&now, &before);
        qsort(now.rows, now.n, sizeof(*now.rows), by_column);
        if (cli->json) {
            print_json(cli, &now);
            break;
        }
        if (screen) {
            printf("\033[H%u machines, by %s (c m d n x a sort, q ends)\033[K\n", now.n,
                   columns[sort_column].name);
            print_rows(&now, screen_lines() - 3, true);
            fputs("\033[J", stdout);
        } else {
            print_rows(&now, UINT32_MAX, false);
        }
        fflush(stdout);
        resized = 0;
        if (screen)
            over = wait_for_key(now.at + interval);
        else if (i + 1 < count)
            sleep((unsigned)interval);
        if (now.at - before.at > 0.5) {
            free(before.rows);
            before = now;
            now.rows = NULL;
        }
    }
    free(before.rows);
    free(now.rows);
    return r;
}

int top_show(struct cli *cli)
{
    const char *sort = "cpu";
    int interval = 1, count = 0, c = 0;
    if (arg_text(cli, "sort", &sort) < 0 || arg_int(cli, "interval", &interval) < 0 ||
        arg_int(cli, "count", &count) < 0)
        return -1;
    while (c <= COLUMNS && strcmp(columns[c].name, sort) != 0)
        c++;
    if (c > COLUMNS)
        return cli_error(
            cli, "cannot sort by '%s': cpu, memory, disk, net, exits and name are known", sort);
    if (interval < 1)
        return cli_error(cli, "the interval is at least one second");
    if (count < 0)
        return cli_error(cli, "--count %d: how many tables can only be 0 (without end) or more",
                         count);
    sort_column = c;
    bool screen = !cli->json && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) && count <= 0;
    struct termios before, raw;
    struct sigaction old_int, old_winch;
    if (!screen)
        return show(cli, interval, MAX(count, 1), false);
    if (tcgetattr(STDIN_FILENO, &before) < 0)
        return cli_error(cli, "the terminal: %s", strerror(errno));
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    interrupted = 0;
    sigaction(SIGINT, &(struct sigaction){.sa_handler = note_interrupt}, &old_int);
    sigaction(SIGWINCH, &(struct sigaction){.sa_handler = note_resize}, &old_winch);
    fputs("\033[?1049h\033[?25l", stdout);
    int r = show(cli, interval, 0, true);
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    sigaction(SIGINT, &old_int, NULL);
    sigaction(SIGWINCH, &old_winch, NULL);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    return r;
}
