/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Joins standard input and output with a machine's console until either side ends:
 * console URI NAME. (A terminal stays in its usual mode: lines are sent when they are complete.)
 */
#include <errno.h>
#include <kvasir/kvasir.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int fail(const struct kvasir_error *err)
{
    fprintf(stderr, "error: %s\n", err->message);
    return EXIT_FAILURE;
}

/* Everything that has come. 1: the console has ended. */
static int print_received(struct kvasir_stream *stream, struct kvasir_error *err)
{
    char bytes[65536];
    ssize_t n;
    while ((n = kvasir_stream_receive(stream, bytes, sizeof(bytes), KVASIR_STREAM_NO_WAIT, err)) >
           0) {
        if (write(STDOUT_FILENO, bytes, (size_t)n) != n)
            return 1;
    }
    return n == -EAGAIN ? 0 : n < 0 ? -1 : 1;
}

static int join(struct kvasir_conn *conn, struct kvasir_stream *stream, struct kvasir_error *err)
{
    int ended;
    while ((ended = print_received(stream, err)) == 0) {
        struct pollfd fds[] = {{STDIN_FILENO, POLLIN, 0},
                               {kvasir_conn_fd(conn), kvasir_conn_events(conn), 0}};
        char bytes[4096];
        if (poll(fds, 2, kvasir_conn_timeout(conn)) < 0)
            return 0;
        if (fds[0].revents) {
            ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));
            if (n <= 0)
                return 0;
            if (kvasir_stream_send(stream, bytes, (size_t)n, 0, err) < 0)
                return -1;
        }
        if (kvasir_conn_process(conn, err) < 0)
            return -1;
    }
    return ended;
}

int main(int argc, char **argv)
{
    struct kvasir_conn *conn;
    struct kvasir_domain *domain;
    struct kvasir_stream *stream;
    struct kvasir_error err;

    if (argc != 3) {
        fprintf(stderr, "usage: console URI NAME\n");
        return EXIT_FAILURE;
    }
    if (kvasir_open(argv[1], 0, NULL, &conn, &err) < 0 ||
        kvasir_domain_lookup_by_name(conn, argv[2], &domain, &err) < 0 ||
        kvasir_domain_open_console(domain, NULL, 0, &stream, &err) < 0)
        return fail(&err);
    int r = join(conn, stream, &err);
    if (r < 0)
        fail(&err);
    else
        kvasir_stream_finish(stream, NULL);
    kvasir_stream_free(stream);
    kvasir_domain_free(domain);
    kvasir_close(conn);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
