/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Prints what happens to a server's machines, in a poll loop of its own, until its input ends or
 * the server goes away: events [URI]
 */
#include <kvasir/kvasir.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void print_event(struct kvasir_conn *conn, const struct kvasir_event *event, void *opaque)
{
    (void)conn;
    (void)opaque;
    printf("%s of %s:", event->name, kvasir_domain_name(event->domain));
    for (size_t i = 0; i < event->n_params; i++) {
        const struct kvasir_param *param = &event->params[i];
        if (param->type == KVASIR_PARAM_STRING)
            printf(" %s=%s", param->name, param->value.s);
        else
            printf(" %s=%lld", param->name,
                   (long long)kvasir_param_number(event->params, event->n_params, param->name, 0));
    }
    printf("\n");
    fflush(stdout);
}

static void print_close(struct kvasir_conn *conn, int reason, void *opaque)
{
    static const char *const reasons[] = {"error", "end of file", "keepalive"};
    (void)conn;
    (void)opaque;
    printf("connection closed: %s\n", reason >= 0 && reason < 3 ? reasons[reason] : "?");
    fflush(stdout);
}

static int fail(const struct kvasir_error *err)
{
    fprintf(stderr, "error: %s\n", err->message);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct kvasir_conn *conn;
    struct kvasir_error err;

    if (kvasir_open(argc > 1 ? argv[1] : NULL, 0, NULL, &conn, &err) < 0)
        return fail(&err);
    for (int id = KVASIR_EVENT_LIFECYCLE; kvasir_event_name(KVASIR_EVENTS_DOMAIN, id); id++) {
        /* A server may be older than some events. */
        if (kvasir_event_register(conn, KVASIR_EVENTS_DOMAIN, id, NULL, NULL, print_event, NULL,
                                  &err) < 0 &&
            id == KVASIR_EVENT_LIFECYCLE)
            return fail(&err);
    }
    kvasir_conn_set_close_callback(conn, print_close, NULL);
    kvasir_conn_set_keepalive(conn, 5, 3, NULL);
    printf("ready\n");
    fflush(stdout);

    for (;;) {
        struct pollfd fds[] = {{STDIN_FILENO, POLLIN, 0},
                               {kvasir_conn_fd(conn), kvasir_conn_events(conn), 0}};
        char bytes[256];
        if (poll(fds, 2, kvasir_conn_timeout(conn)) < 0)
            break;
        if (fds[0].revents && read(STDIN_FILENO, bytes, sizeof(bytes)) <= 0)
            break;
        if (kvasir_conn_process(conn, &err) < 0)
            break;
    }
    kvasir_close(conn);
    return EXIT_SUCCESS;
}
