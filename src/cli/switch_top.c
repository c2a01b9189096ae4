/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * switch top: the switch's ports and what goes through them a second, busiest first. Keys: i, o, t,
 * d, a sort by bytes in, out and both, by drops, and by name; see live.h for the rest.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/args.h"
#include "cli/live.h"
#include "cli/output.h"
#include "cli/switch.h"
#include "cli/verbs.h"

enum figure {
    IN_FRAMES,
    IN_BYTES,
    OUT_FRAMES,
    OUT_BYTES,
    DROPS,
    FIGURES,
};

static const char *const figure_names[FIGURES] = {"in-frames", "in-bytes", "out-frames",
                                                  "out-bytes", "drops"};

struct talker {
    char bridge[64], name[64], why[24]; /* most frames were dropped */
    double totals[FIGURES], rates[FIGURES];
};

struct talkers {
    struct talker *list;
    size_t count;
    double at; /* seconds */
};

static double of_total(const struct talker *talker)
{
    return talker->rates[IN_BYTES] + talker->rates[OUT_BYTES];
}

static double of_in(const struct talker *talker)
{
    return talker->rates[IN_BYTES];
}

static double of_out(const struct talker *talker)
{
    return talker->rates[OUT_BYTES];
}

static double of_drops(const struct talker *talker)
{
    return talker->rates[DROPS];
}

static double of_name(const struct talker *talker)
{
    return 0;
}

static const struct order {
    const char *name;
    char key;
    double (*value)(const struct talker *talker); /* the largest first, then by name */
} orders[] = {
    {"total", 't', of_total}, {"in", 'i', of_in},     {"out", 'o', of_out},
    {"drops", 'd', of_drops}, {"name", 'a', of_name},
};

static const struct order *order = orders; /* for the comparison */

static int by_order(const void *a, const void *b)
{
    const struct talker *one = a, *two = b;
    double x = order->value(one), y = order->value(two);
    if (x != y)
        return x < y ? 1 : -1;
    int bridges = strcmp(one->bridge, two->bridge);
    return bridges ? bridges : strcmp(one->name, two->name);
}

/* --- Figures -------------------------------------------------------------------- */

static void read_one(struct talker *talker, const json_t *port)
{
    const char *why;
    json_t *count;
    json_int_t most = 0;
    snprintf(talker->bridge, sizeof(talker->bridge), "%s",
             json_string_value(json_object_get(port, "bridge")) ?: "");
    snprintf(talker->name, sizeof(talker->name), "%s",
             json_string_value(json_object_get(port, "name")) ?: "");
    for (unsigned i = 0; i < DROPS; i++)
        talker->totals[i] = (double)json_integer_value(json_object_get(port, figure_names[i]));
    json_object_foreach (json_object_get(port, "drops"), why, count) {
        json_int_t number = json_integer_value(count);
        talker->totals[DROPS] += (double)number;
        if (number > most)
            snprintf(talker->why, sizeof(talker->why), "%s", why);
        most = MAX(most, number);
    }
}

/* A port's rates since the last look; of one that is new there are none yet. */
static void compare(struct talkers *now, const struct talkers *before)
{
    double seconds = now->at - before->at;
    for (size_t i = 0; i < now->count; i++) {
        struct talker *talker = &now->list[i];
        for (size_t k = 0; k < before->count; k++) {
            const struct talker *old = &before->list[k];
            if (strcmp(old->name, talker->name) != 0)
                continue;
            for (unsigned f = 0; f < FIGURES && seconds > 0; f++)
                talker->rates[f] = MAX(0, talker->totals[f] - old->totals[f]) / seconds;
        }
    }
}

struct top {
    struct talkers before, now;
};

static int look(struct cli *cli, void *opaque)
{
    struct top *top = opaque;
    json_t *list = switch_ask(cli, "query-statistics", NULL);
    if (!list)
        return -1;
    struct talkers next = {.count = json_array_size(list), .at = live_now()};
    next.list = calloc(next.count + 1, sizeof(*next.list));
    if (!next.list)
        abort();
    for (size_t i = 0; i < next.count; i++)
        read_one(&next.list[i], json_array_get(list, i));
    json_decref(list);
    /* Of a short time there are no rates. */
    if (!top->before.list || top->now.at - top->before.at > 0.5) {
        free(top->before.list);
        top->before = top->now;
    } else {
        free(top->now.list);
    }
    top->now = next;
    compare(&top->now, &top->before);
    qsort(top->now.list, top->now.count, sizeof(*top->now.list), by_order);
    return 0;
}

/* --- Printing ------------------------------------------------------------------- */

static void print_json(struct cli *cli, const struct talkers *now)
{
    out_array(cli);
    for (size_t i = 0; i < now->count; i++) {
        out_item(cli);
        out_key(cli, "bridge", "%s", now->list[i].bridge);
        out_key(cli, "name", "%s", now->list[i].name);
        for (unsigned f = 0; f < FIGURES; f++)
            out_key(cli, figure_names[f], "%.0f", now->list[i].rates[f]);
    }
}

static void print(struct cli *cli, void *opaque, unsigned most, bool screen)
{
    const struct talkers *now = &((struct top *)opaque)->now;
    if (cli->json) {
        print_json(cli, now);
        return;
    }
    if (screen)
        printf("%zu ports, by %s (i o t d a sort, q ends)%s", now->count, order->name,
               live_line_end(true));
    printf("%s%-12s %-16s %10s  %11s  %10s  %11s  %10s  %-16s%s", live_heading(screen), "Bridge",
           "Port", "Frames in/s", "Bytes in/s", "Frames out/s", "Bytes out/s", "Dropped/s",
           "Most of all", live_heading_end(screen));
    for (size_t i = 0; i < now->count && i < most; i++) {
        const struct talker *talker = &now->list[i];
        printf("%-12.12s %-16.16s %11.0f", talker->bridge, talker->name, talker->rates[IN_FRAMES]);
        live_print_size(talker->rates[IN_BYTES]);
        printf("  %11.0f", talker->rates[OUT_FRAMES]);
        live_print_size(talker->rates[OUT_BYTES]);
        printf("  %10.0f  %s%s", talker->rates[DROPS], *talker->why ? talker->why : "-",
               live_line_end(screen));
    }
}

static bool sort_by_key(void *opaque, char key)
{
    for (unsigned i = 0; i < ARRAY_SIZE(orders); i++) {
        if (orders[i].key == key) {
            order = &orders[i];
            return true;
        }
    }
    return false;
}

int switch_top(struct cli *cli)
{
    const char *sort = "total";
    struct top top = {{NULL}, {NULL}};
    const struct live live = {look, print, sort_by_key, &top};
    unsigned i = 0;
    if (arg_text(cli, "sort", &sort) < 0)
        return -1;
    while (i < ARRAY_SIZE(orders) && strcmp(orders[i].name, sort) != 0)
        i++;
    if (i == ARRAY_SIZE(orders))
        return cli_error(cli, "cannot sort by '%s': total, in, out, drops and name are known",
                         sort);
    order = &orders[i];
    int r = live_show(cli, &live, arg_on(cli, "batch"));
    free(top.before.list);
    free(top.now.list);
    return r;
}
