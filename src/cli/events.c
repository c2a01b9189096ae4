/* SPDX-License-Identifier: GPL-2.0-or-later */
/* events: what happens to everything the daemon knows, as it happens; text or a JSON object a line.
 */
#include <signal.h>
#include <time.h>

#include "cli/args.h"
#include "cli/event.h"
#include "cli/output.h"
#include "cli/verbs.h"

static volatile sig_atomic_t interrupted;

static void note_signal(int number)
{
    interrupted = 1;
}

struct follow {
    struct cli *cli;
    unsigned count;
};

static void heard(struct kvasir_conn *conn, const struct kvasir_event *event, void *opaque)
{
    struct follow *follow = opaque;
    struct cli *cli = follow->cli;
    follow->count++;
    if (cli->json) {
        event_print_json(cli, event);
        return;
    }
    char at[32];
    time_t now = time(NULL);
    struct tm parts;
    localtime_r(&now, &parts);
    strftime(at, sizeof(at), "%H:%M:%S", &parts);
    const char *details = event_details(cli, event);
    printf("%s %s '%s' %s%s\n", at, event_kind(event->event_class), event_object_name(cli, event),
           event->name, details);
    fflush(stdout);
}

/* A daemon may not know a class or an event: what it does know is followed. */
static int register_all(struct cli *cli, struct kvasir_domain *domain, struct follow *follow)
{
    int n = 0;
    int last = domain ? KVASIR_EVENTS_DOMAIN : KVASIR_EVENTS_SECRET;
    for (int class = KVASIR_EVENTS_DOMAIN; class <= last; class ++)
        for (int id = 0; kvasir_event_name(class, id); id++)
            if (kvasir_event_register(cli->conn, class, id, domain, NULL, heard, follow,
                                      &cli->error) >= 0)
                n++;
    if (n)
        cli_forget_error(cli);
    return n ? 0 : -1;
}

int events_follow(struct cli *cli)
{
    struct follow follow = {.cli = cli};
    struct kvasir_domain *domain = NULL;
    int timeout = 0;
    if (arg_timeout(cli, &timeout) < 0)
        return -1;
    if (arg_raw(cli, "domain")) {
        const wire_domain *found = lookup_domain(cli);
        domain = found ? kvasir_domain_from_wire(cli->conn, found, &cli->error) : NULL;
        if (!domain)
            return -1;
    }
    int r = register_all(cli, domain, &follow);
    struct sigaction old, act = {.sa_handler = note_signal};
    int64_t end = timeout > 0 ? cli_now_ms() + 1000 * (int64_t)timeout : INT64_MAX;
    interrupted = 0;
    sigaction(SIGINT, &act, &old);
    while (r >= 0 && !interrupted && (arg_on(cli, "follow") || !follow.count)) {
        int64_t left = end - cli_now_ms();
        if (left <= 0)
            break;
        r = kvasir_conn_run(cli->conn, timeout > 0 ? (int)MIN(left, INT32_MAX) : -1, &cli->error);
    }
    sigaction(SIGINT, &old, NULL);
    kvasir_domain_free(domain);
    cli_disconnect(cli); /* and with it the registrations */
    cli->printed = true;
    return r < 0 ? -1 : 0;
}
