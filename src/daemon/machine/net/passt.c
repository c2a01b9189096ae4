/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts passt for an interface; see passt.h. Its options: passt(1). */
#include "daemon/machine/net/passt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

#define WORDS_MAX 256
#define READY_TRIES 1000 /* of 5 ms */

struct words {
    const char *argv[WORDS_MAX + 1];
    char *owned[WORDS_MAX];
    unsigned count, owned_count;
    bool failed;
};

static void add(struct words *words, const char *text)
{
    if (words->count < WORDS_MAX)
        words->argv[words->count++] = text;
    else
        words->failed = true;
}

__attribute__((format(printf, 2, 3))) static void add_text(struct words *words, const char *fmt,
                                                           ...)
{
    va_list ap;
    char *text;
    va_start(ap, fmt);
    int n = words->owned_count < WORDS_MAX ? vasprintf(&text, fmt, ap) : -1;
    va_end(ap);
    if (n < 0) {
        words->failed = true;
        return;
    }
    words->owned[words->owned_count++] = text;
    add(words, text);
}

/* "address%device/start-end:to-to", as -t and -u want it. */
static void add_forward(struct words *words, const struct model_port_forward *forward)
{
    unsigned end = forward->end ? forward->end : forward->start;
    char where[128] = "", range[32] = "", to[32] = "";
    if (forward->address || forward->device)
        snprintf(where, sizeof(where), "%s%s%s/", forward->address ? forward->address : "",
                 forward->device ? "%" : "", forward->device ? forward->device : "");
    snprintf(range, sizeof(range), end > forward->start ? "%u-%u" : "%u", forward->start, end);
    if (forward->to && !forward->exclude)
        snprintf(to, sizeof(to), end > forward->start ? ":%u-%u" : ":%u", forward->to,
                 forward->to + end - forward->start);
    add(words, forward->udp ? "--udp-ports" : "--tcp-ports");
    add_text(words, "%s%s%s%s", where, forward->exclude ? "~" : "", range, to);
}

static void build(struct words *words, const struct model_nic *nic, int socket)
{
    add(words, "passt");
    add(words, "--foreground");
    add(words, "--quiet");
    add(words, "--stderr");
    add(words, "--fd"); /* it ends when the monitor closes the other end */
    add_text(words, "%d", socket);
    add(words, "--mac-addr");
    add_text(words, "%02x:%02x:%02x:%02x:%02x:%02x", nic->mac[0], nic->mac[1], nic->mac[2],
             nic->mac[3], nic->mac[4], nic->mac[5] ^ 1); /* the gateway's, as the guest sees it */
    if (nic->mtu) {
        add(words, "--mtu");
        add_text(words, "%u", nic->mtu);
    }
    if (nic->backend_device) {
        add(words, "--interface");
        add(words, nic->backend_device);
    }
    for (unsigned i = 0; i < nic->address_count; i++) {
        const struct model_nic_address *address = &nic->addresses[i];
        add(words, "--address");
        add(words, address->address);
        if (address->prefix && !address->ipv6) {
            add(words, "--netmask");
            add_text(words, "%u", address->prefix);
        }
    }
    for (unsigned i = 0; i < nic->forward_count; i++)
        add_forward(words, &nic->forwards[i]);
}

/* The last thing that it does before it serves is to filter its system calls. */
static bool is_ready(pid_t pid)
{
    char path[64], line[128];
    int mode = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "Seccomp: %d", &mode) == 1)
            break;
    }
    if (file)
        fclose(file);
    return mode == 2;
}

static int wait_until_ready(const struct process *process)
{
    for (unsigned i = 0; i < READY_TRIES; i++) {
        if (process_wait(process, 5))
            return -ECONNRESET;
        if (is_ready(process->pid))
            return 0;
    }
    return -ETIMEDOUT;
}

/* The last line that it wrote before it ended; where no system logger runs it complains of that,
 * too. */
static int explain(int code, int from, struct kv_error *err)
{
    char text[4096] = "", *rest = NULL;
    const char *last = strerror(-code);
    fd_set_nonblocking(from, true);
    ssize_t n = read(from, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "Failed to send", 14) != 0)
            last = line;
    }
    return api_error(err, VIR_ERR_OPERATION_FAILED, "Could not start 'passt': %s", last);
}

static int run(struct plan *plan, const struct words *words, int socket, const char *log,
               struct kv_error *err)
{
    struct process process;
    int pair[2];
    if (words->failed)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    if (pipe2(pair, O_CLOEXEC) < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "passt");
    cleanup_fd int from = pair[0], to = pair[1];
    /* Its own option would let it write wherever it may; it only gets the descriptor. */
    cleanup_fd int file =
        log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (log && file < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "log '%s' of passt", log);
    const struct process_spec spec = {
        .argv = words->argv,
        .fds = &socket,
        .fd_count = 1,
        .in = -1,
        .out = -1,
        .err = log ? file : to,
        .cgroup = plan->cgroup,
    };
    int rc = process_start(&process, &spec, plan_note_process, plan, err);
    if (rc < 0)
        return rc;
    rc = wait_until_ready(&process);
    if (rc < 0) {
        explain(rc, from, err);
        process_end(&process, 0);
    }
    process_close(&process);
    return rc;
}

int passt_start(struct plan *plan, const struct model_nic *nic, struct kv_error *err)
{
    struct words words = {.count = 0};
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "passt");
    cleanup_fd int ours = pair[0], theirs = pair[1];
    build(&words, nic, theirs);
    int rc = run(plan, &words, theirs, nic->backend_log, err);
    for (unsigned i = 0; i < words.owned_count; i++)
        free(words.owned[i]);
    return rc < 0 ? rc : take_fd(&ours);
}
