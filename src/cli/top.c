/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * top: the machines that run and what they take, again every second. Keys: c, m, d, n, a sort by
 * processor, memory, disk, net and name, x by exits to the host; q ends. The table is as long as
 * the terminal. Not at a terminal: --count tables one behind the other.
 */
#include <libvirt/libvirt.h>

#include "cli/args.h"
#include "cli/live.h"
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

static int read_all(struct cli *cli, struct table_of_machines *out)
{
    const REMOTE_RET(CONNECT_GET_ALL_DOMAIN_STATS) *all =
        CALL(cli, CONNECT_GET_ALL_DOMAIN_STATS,
             .stats = VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_BALLOON |
                      VIR_DOMAIN_STATS_VCPU | VIR_DOMAIN_STATS_INTERFACE | VIR_DOMAIN_STATS_BLOCK,
             .flags = VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE);
    if (!all)
        return -1;
    out->at = live_now();
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

static void print_rows(const struct table_of_machines *now, unsigned most, bool screen)
{
    printf("%s%-24s %5s  %7s  %11s  %11s  %11s  %8s%s", live_heading(screen), "Name", "vCPUs",
           "CPU %", "Memory", "Disk/s", "Net/s", "Exits/s", live_heading_end(screen));
    for (unsigned i = 0; i < now->n && i < most; i++) {
        const struct row *row = &now->rows[i];
        printf("%-24.24s %5d  %7.1f", row->name, row->vcpus, row->rates[CPU]);
        live_print_size(row->rates[MEMORY]);
        live_print_size(row->rates[DISK]);
        live_print_size(row->rates[NET]);
        printf("  %8.0f", row->rates[EXITS]);
        fputs(live_line_end(screen), stdout);
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

/* --- Again and again ----------------------------------------------------------- */

struct top {
    struct table_of_machines before, now;
};

static int look(struct cli *cli, void *opaque)
{
    struct top *top = opaque;
    struct table_of_machines next = {.n = 0};
    if (read_all(cli, &next) < 0)
        return -1;
    /* Of a short time there are no rates. */
    if (!top->before.rows || top->now.at - top->before.at > 0.5) {
        free(top->before.rows);
        top->before = top->now;
    } else {
        free(top->now.rows);
    }
    top->now = next;
    compare(&top->now, &top->before);
    qsort(top->now.rows, top->now.n, sizeof(*top->now.rows), by_column);
    return 0;
}

static void print(struct cli *cli, void *opaque, unsigned most, bool screen)
{
    const struct top *top = opaque;
    if (cli->json) {
        print_json(cli, &top->now);
        return;
    }
    if (screen)
        printf("%u machines, by %s (c m d n x a sort, q ends)%s", top->now.n,
               columns[sort_column].name, live_line_end(true));
    print_rows(&top->now, most, screen);
}

static bool sort_by_key(void *opaque, char key)
{
    for (int c = 0; c <= COLUMNS; c++) {
        if (columns[c].key == key) {
            sort_column = c;
            return true;
        }
    }
    return false;
}

int top_show(struct cli *cli)
{
    const char *sort = "cpu";
    struct top top = {{NULL}, {NULL}};
    const struct live live = {look, print, sort_by_key, &top};
    int c = 0;
    if (arg_text(cli, "sort", &sort) < 0)
        return -1;
    while (c <= COLUMNS && strcmp(columns[c].name, sort) != 0)
        c++;
    if (c > COLUMNS)
        return cli_error(
            cli, "cannot sort by '%s': cpu, memory, disk, net, exits and name are known", sort);
    sort_column = c;
    int r = live_show(cli, &live, false);
    free(top.before.rows);
    free(top.now.rows);
    return r;
}
