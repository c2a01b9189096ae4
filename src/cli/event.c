/* SPDX-License-Identifier: GPL-2.0-or-later */
/* event and its like of pools, networks, devices and secrets: waits for events and prints them. */
#include "cli/event.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "cli/args.h"
#include "cli/line.h"
#include "cli/objects.h"
#include "cli/output.h"
#include "cli/verbs.h"

static volatile sig_atomic_t interrupted;

static void note_signal(int number)
{
    interrupted = 1;
}

int event_list_names(struct cli *cli, int event_class)
{
    /* Those of libvirt 9.0, as virsh lists them; newer ones can be waited for all the same. */
    static const int last[] = {
        [KVASIR_EVENTS_DOMAIN] = KVASIR_EVENT_MEMORY_DEVICE_SIZE_CHANGE,
        [KVASIR_EVENTS_POOL] = 1,
        [KVASIR_EVENTS_NODE_DEVICE] = 1,
        [KVASIR_EVENTS_SECRET] = 1,
    };
    out_array(cli);
    for (int id = 0; kvasir_event_name(event_class, id) && id <= last[event_class]; id++) {
        out_item(cli);
        out_value(cli, "name", "%s", kvasir_event_name(event_class, id));
    }
    return 0;
}

int event_number(int event_class, const char *name)
{
    for (int id = 0; kvasir_event_name(event_class, id); id++)
        if (strcmp(kvasir_event_name(event_class, id), name) == 0)
            return id;
    return -1;
}

struct watch {
    struct cli *cli;
    const char *only; /* name of the object; NULL: any */
    unsigned count;
    bool loop, timestamp, more; /* more: what follows the event is on lines of its own */
};

static const char *stamp(struct cli *cli)
{
    struct timespec now;
    struct tm parts;
    char text[40];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts);
    return cli_text(cli, "%s.%03ld+0000: ", text, now.tv_nsec / 1000000);
}

static void print_event(struct watch *watch, const struct kvasir_event *event)
{
    struct cli *cli = watch->cli;
    const char *what = event_kind(event->event_class);
    const char *name = event_object_name(cli, event);
    const char *details = event_details(cli, event);
    if (cli->json) {
        event_print_json(cli, event);
        return;
    }
    const char *quote = event->event_class == KVASIR_EVENTS_DOMAIN ? "'" : "";
    printf("%sevent '%s' for %s %s%s%s%s\n", watch->timestamp ? stamp(cli) : "", event->name, what,
           quote, name, quote, details);
    fflush(stdout);
}

static void heard(struct kvasir_conn *conn, const struct kvasir_event *event, void *opaque)
{
    struct watch *watch = opaque;
    if (!watch->loop && watch->count)
        return;
    if (watch->only && strcmp(watch->only, event_object_name(watch->cli, event)) != 0)
        return;
    watch->count++;
    print_event(watch, event);
}

/* Until there was one (without loop), the time is over, or somebody interrupts. */
static int wait_for_events(struct watch *watch, int timeout)
{
    struct cli *cli = watch->cli;
    struct sigaction old, act = {.sa_handler = note_signal};
    int64_t end = timeout ? cli_now_ms() + 1000 * (int64_t)timeout : INT64_MAX;
    bool over = false;
    int r = 0;
    interrupted = 0;
    sigaction(SIGINT, &act, &old);
    while (r >= 0 && !interrupted && !over && (watch->loop || !watch->count)) {
        int64_t left = end - cli_now_ms();
        over = left <= 0;
        if (!over)
            r = kvasir_conn_run(cli->conn, timeout ? (int)left : -1, &cli->error);
    }
    sigaction(SIGINT, &old, NULL);
    if (interrupted)
        out_print(cli, "event loop interrupted\n");
    else if (over)
        out_print(cli, "event loop timed out\n");
    out_print(cli, "events received: %d\n", watch->count);
    return r < 0 || (!watch->count) ? -1 : 0;
}

/* id -1: all of the class. */
static int watch_events(struct cli *cli, int event_class, int id, struct kvasir_domain *domain,
                        const char *only, int timeout)
{
    struct watch watch = {.cli = cli,
                          .only = only,
                          .loop = arg_on(cli, "loop"),
                          .timestamp = arg_on(cli, "timestamp")};
    int numbers[64], n = 0;
    int first = id < 0 ? 0 : id, r = 0;
    for (int i = first; (id < 0 ? kvasir_event_name(event_class, i) != NULL : i == id); i++) {
        r = kvasir_event_register(cli->conn, event_class, i, domain, NULL, heard, &watch,
                                  &cli->error);
        if (r >= 0 && n < (int)ARRAY_SIZE(numbers))
            numbers[n++] = r;
        else if (id >= 0)
            break;
    }
    if (n)
        r = wait_for_events(&watch, timeout);
    while (n > 0 && cli->conn && kvasir_conn_is_alive(cli->conn))
        kvasir_event_unregister(cli->conn, numbers[--n], NULL);
    return r;
}

int event_domain(struct cli *cli)
{
    const char *name = NULL;
    int timeout = 0, id = -1;
    if (arg_exclusive(cli, "all", "event") < 0 || arg_exclusive(cli, "list", "all") < 0 ||
        arg_exclusive(cli, "list", "event") < 0)
        return -1;
    if (arg_on(cli, "list"))
        return event_list_names(cli, KVASIR_EVENTS_DOMAIN);
    if (arg_text(cli, "event", &name) < 0)
        return -1;
    if (name) {
        id = event_number(KVASIR_EVENTS_DOMAIN, name);
        if (id < 0)
            return cli_error(cli, "unknown event type %s", name);
    } else if (!arg_on(cli, "all")) {
        return cli_error(cli, "one of --list, --all, or --event <type> is required");
    }
    if (arg_timeout(cli, &timeout) < 0)
        return -1;
    struct kvasir_domain *domain = NULL;
    if (arg_raw(cli, "domain")) {
        const wire_domain *found = lookup_domain(cli);
        domain = found ? kvasir_domain_from_wire(cli->conn, found, &cli->error) : NULL;
        if (!domain)
            return -1;
    }
    int r = watch_events(cli, KVASIR_EVENTS_DOMAIN, id, domain, NULL, timeout);
    kvasir_domain_free(domain);
    return r;
}

/* The object that an option names, as its events do; *out stays when there is no such option. */
static int only_object(struct cli *cli, int event_class, const char **out)
{
    if (event_class == KVASIR_EVENTS_POOL && arg_raw(cli, "pool")) {
        const wire_pool *pool = lookup_pool(cli, "pool");
        *out = pool ? pool->name : NULL;
    } else if (event_class == KVASIR_EVENTS_NETWORK && arg_raw(cli, "network")) {
        const wire_network *network = lookup_network(cli, false);
        *out = network ? network->name : NULL;
    } else if (event_class == KVASIR_EVENTS_NODE_DEVICE && arg_raw(cli, "device")) {
        const wire_device *device = lookup_node_device(cli);
        *out = device ? device->name : NULL;
    } else if (event_class == KVASIR_EVENTS_SECRET && arg_raw(cli, "secret")) {
        const wire_secret *secret = lookup_secret(cli);
        *out = secret ? uuid_to_text(cli, secret->uuid) : NULL;
    } else {
        return 0;
    }
    return *out ? 0 : -1;
}

int event_of_objects(struct cli *cli)
{
    int event_class = cli->command->verb->number;
    const char *name = NULL;
    int timeout = 0;
    if (arg_on(cli, "list"))
        return event_list_names(cli, event_class);
    if (arg_text(cli, "event", &name) < 0)
        return -1;
    if (!name)
        return cli_error(cli, "either --list or --event <type> is required");
    int id = event_number(event_class, name);
    if (id < 0)
        return cli_error(cli, "unknown event type %s", name);
    const char *only = NULL;
    if (arg_timeout(cli, &timeout) < 0 || only_object(cli, event_class, &only) < 0)
        return -1;
    return watch_events(cli, event_class, id, NULL, only, timeout);
}
