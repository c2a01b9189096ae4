/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables: cells are two columns apart, control characters are shown as \xNN. */
#include <ctype.h>
#include <locale.h>
#include <unistd.h>
#include <wchar.h>

#include "cli/output.h"

struct table_cells {
    struct list node;
    const char *cells[];
};

struct table {
    unsigned columns;
    size_t *widths;
    struct list rows; /* struct table_cells; the first is the heading */
};

/* Only text beyond ASCII needs the locale. */
static void need_locale(void)
{
    static bool set;
    if (!set)
        setlocale(LC_CTYPE, "");
    set = true;
}

/* The cell as it is printed, and how wide that is. */
static const char *cell_text(struct cli *cli, const char *text, size_t *width)
{
    size_t len = strlen(text);
    *width = 0;
    bool plain = true;
    for (size_t i = 0; i < len && plain; i++)
        plain = isascii((unsigned char)text[i]) && isprint((unsigned char)text[i]);
    if (plain) {
        *width = len;
        return text;
    }
    need_locale();
    char *out = cli_alloc(cli, 4 * len + 1), *to = out;
    mbstate_t state = {0};
    while (*text) {
        wchar_t wide;
        size_t n = mbrtowc(&wide, text, strlen(text), &state);
        int columns = n == (size_t)-1 || n == (size_t)-2 ? -1 : wcwidth(wide);
        if (columns < 0) {
            to += sprintf(to, "\\x%02x", (unsigned char)*text++);
            *width += 4;
            memset(&state, 0, sizeof(state));
            continue;
        }
        memcpy(to, text, n);
        to += n;
        text += n;
        *width += (size_t)columns;
    }
    return out;
}

static void add_row(struct cli *cli, struct table *table, const char *const *cells, bool measured)
{
    struct table_cells *row = cli_alloc(cli, sizeof(*row) + table->columns * sizeof(row->cells[0]));
    for (unsigned i = 0; i < table->columns; i++) {
        size_t width;
        row->cells[i] = cell_text(cli, cells[i] ? cells[i] : "", &width);
        if (measured)
            table->widths[i] = MAX(table->widths[i], width);
    }
    list_add_tail(&table->rows, &row->node);
}

struct table *table_new(struct cli *cli, unsigned columns, const char *const *titles)
{
    struct table *table = cli_alloc(cli, sizeof(*table));
    table->columns = columns;
    table->widths = cli_alloc(cli, columns * sizeof(*table->widths));
    list_init(&table->rows);
    add_row(cli, table, titles, !cli->quiet);
    out_array(cli);
    return table;
}

void table_row(struct cli *cli, struct table *table, const char *const *cells)
{
    add_row(cli, table, cells, true);
}

static void print_row(struct cli *cli, const struct table *table, const char *const *cells)
{
    for (unsigned i = 0; i < table->columns; i++) {
        size_t width;
        const char *text = cell_text(cli, cells[i], &width);
        printf(" %s", text);
        if (i + 1 < table->columns)
            printf("%*s", (int)(table->widths[i] - width + 2), "");
    }
    putchar('\n');
}

static void print_heading(struct cli *cli, const struct table *table, const char *const *titles)
{
    bool coloured = out_coloured(STDOUT_FILENO);
    if (coloured)
        fputs("\033[1m", stdout);
    print_row(cli, table, titles);
    if (coloured)
        fputs("\033[0m", stdout);
    size_t dashes = 0;
    for (unsigned i = 0; i < table->columns; i++)
        dashes += table->widths[i] + 3;
    while (dashes--)
        putchar('-');
    putchar('\n');
}

int table_print(struct cli *cli, struct table *table)
{
    struct table_cells *heading = list_entry(table->rows.next, struct table_cells, node);
    if (!cli->json && !cli->quiet)
        print_heading(cli, table, heading->cells);
    list_for_each (node, &table->rows) {
        struct table_cells *row = list_entry(node, struct table_cells, node);
        if (row == heading)
            continue;
        if (!cli->json) {
            print_row(cli, table, row->cells);
            continue;
        }
        out_item(cli);
        for (unsigned i = 0; i < table->columns; i++)
            out_key(cli, heading->cells[i], "%s", row->cells[i]);
    }
    return 0;
}
