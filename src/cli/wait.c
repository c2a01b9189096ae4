/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wait: until a machine is in a state, or its guest is so far: its agent has its channel open, it
 * has an address, it greets as ssh (RFC 4253, 4.2). States and channels are told by the daemon's
 * events; addresses and greetings are nobody's event and are looked for twice a second.
 */
#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/address.h"
#include "cli/args.h"
#include "cli/output.h"
#include "cli/state.h"
#include "cli/verbs.h"
#include "cli/xml.h"

#define GONE (-2)
#define AGENT_CHANNEL "org.qemu.guest_agent.0"
#define LOOK_AGAIN_MS 500
#define GREETING_MS 5000 /* then it is tried anew */

struct waiting {
    const char *missing; /* what the guest lacks still, for the message; the verb's memory */
    const char *address;
};

/* 1: so it is, 0: not yet, negative: it never will be (told). */
typedef int condition_fn(struct cli *cli, const wire_domain *domain, struct waiting *waiting);

static int agent_is_there(struct cli *cli, const wire_domain *domain, struct waiting *waiting)
{
    struct xml *xml = xml_of_domain(cli, domain, 0);
    struct xml_node *root = xml ? xml_root(xml) : NULL, *target = NULL;
    waiting->missing = "its agent has not opened its channel";
    if (!root)
        return -1;
    while ((target = xml_next(root, "devices/channel/target", target))) {
        const char *name = xml_attribute(cli, target, "name");
        const char *state = xml_attribute(cli, target, "state");
        if (name && strcmp(name, AGENT_CHANNEL) == 0)
            return state && strcmp(state, "connected") == 0;
    }
    return cli_error(cli, "machine '%s' has no channel '%s' for an agent", domain->name,
                     AGENT_CHANNEL);
}

static int address_is_known(struct cli *cli, const wire_domain *domain, struct waiting *waiting)
{
    bool any = false;
    waiting->missing = "no lease, agent or ARP entry tells its address";
    waiting->address = address_find(cli, domain, &any);
    if (!waiting->address && !any)
        return cli_error(cli, "machine '%s' has no network interface", domain->name);
    return waiting->address != NULL;
}

/* Waits for events on fd until then. */
static bool ready(int fd, short events, int64_t until)
{
    struct pollfd one = {.fd = fd, .events = events};
    int64_t left = until - cli_now_ms();
    return left > 0 && poll(&one, 1, (int)left) == 1;
}

static int connect_to(const char *address, const char *port, int64_t until)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int error = 0;
    socklen_t size = sizeof(error);
    if (getaddrinfo(address, port, &hints, &found))
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r = fd < 0 ? -1 : connect(fd, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (r < 0 && fd >= 0 &&
        (errno != EINPROGRESS || !ready(fd, POLLOUT, until) ||
         getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Other lines may come before the one that begins with SSH-. */
static bool greets(const char *address, const char *port, int64_t until)
{
    char text[4096] = "\n";
    size_t len = 1;
    cleanup_fd int fd = connect_to(address, port, until);
    while (fd >= 0 && len + 1 < sizeof(text) && ready(fd, POLLIN, until)) {
        ssize_t n = read(fd, text + len, sizeof(text) - 1 - len);
        if (n <= 0)
            return false;
        len += (size_t)n;
        if (memmem(text, len, "\nSSH-", 5))
            return true;
    }
    return false;
}

static int ssh_is_there(struct cli *cli, const wire_domain *domain, struct waiting *waiting)
{
    int r = address_is_known(cli, domain, waiting);
    if (r != 1)
        return r;
    waiting->missing = cli_text(cli, "nothing greets as ssh at %s", waiting->address);
    return greets(waiting->address, "22", cli_now_ms() + GREETING_MS);
}

static const struct target {
    const char *name;
    int state;
    condition_fn *condition; /* of a machine that is in the state; NULL: none */
    bool untold;             /* no event tells it */
} targets[] = {
    {"running", VIR_DOMAIN_RUNNING},
    {"paused", VIR_DOMAIN_PAUSED},
    {"shutoff", VIR_DOMAIN_SHUTOFF},
    {"gone", GONE},
    {"agent", VIR_DOMAIN_RUNNING, agent_is_there},
    {"address", VIR_DOMAIN_RUNNING, address_is_known, true},
    {"ssh", VIR_DOMAIN_RUNNING, ssh_is_there, true},
};

static void note(struct kvasir_conn *conn, const struct kvasir_event *event, void *opaque)
{
}

/* GONE: there is no such machine; -1: error. */
static int state_of(struct cli *cli, const char *name, const wire_domain **domain)
{
    const REMOTE_RET(DOMAIN_LOOKUP_BY_NAME) *found =
        CALL(cli, DOMAIN_LOOKUP_BY_NAME, .name = (char *)(uintptr_t)name);
    const REMOTE_RET(DOMAIN_GET_STATE) *state =
        found ? CALL(cli, DOMAIN_GET_STATE, .dom = found->dom) : NULL;
    if (!state && cli->error.code != VIR_ERR_NO_DOMAIN)
        return -1;
    cli_forget_error(cli);
    *domain = state ? &found->dom : NULL;
    return state ? state->state : GONE;
}

static int time_is_over(struct cli *cli, const char *name, int state, const struct target *target,
                        const struct waiting *waiting, int timeout)
{
    if (state == target->state)
        return cli_error(cli, "machine '%s': %s after %d s", name, waiting->missing, timeout);
    return cli_error(cli, "machine '%s' is %s after %d s, not %s", name,
                     state == GONE ? "gone" : state_text(state), timeout,
                     target->condition ? "running" : target->name);
}

/* 0: it is as wanted. */
static int wait_for(struct cli *cli, const char *name, const struct target *target, int timeout)
{
    int64_t end = timeout > 0 ? cli_now_ms() + 1000 * (int64_t)timeout : INT64_MAX;
    bool seen = false;
    for (;;) {
        struct waiting waiting = {.missing = NULL};
        const wire_domain *domain = NULL;
        int state = state_of(cli, name, &domain), met = state == target->state;
        if (met && target->condition)
            met = target->condition(cli, domain, &waiting);
        if (state == -1 || met < 0)
            return -1;
        if (met) {
            out_key(cli, "name", "%s", name);
            out_key(cli, "state", "%s", target->name);
            if (waiting.address)
                out_value(cli, "address", "%s", waiting.address);
            return 0;
        }
        if (state == GONE && (target->state != VIR_DOMAIN_RUNNING || (target->condition && seen)))
            return cli_error(cli, "machine '%s' is gone", name);
        seen |= state != GONE;
        int64_t left = end - cli_now_ms();
        if (left <= 0)
            return time_is_over(cli, name, state, target, &waiting, timeout);
        if (target->untold && state == target->state)
            left = MIN(left, LOOK_AGAIN_MS);
        int patience = left > INT32_MAX ? -1 : (int)left;
        if (kvasir_conn_run(cli->conn, patience, &cli->error) < 0)
            return -1;
        cli_release(cli);
    }
}

static const struct target *find_target(struct cli *cli, const char *wanted)
{
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
        if (strcmp(targets[i].name, wanted) == 0)
            return &targets[i];
    cli_error(
        cli,
        "cannot wait for '%s': running, paused, shutoff, gone, agent, address and ssh are known",
        wanted);
    return NULL;
}

int wait_for_machine(struct cli *cli)
{
    const char *name = NULL, *wanted = "running";
    int timeout = 0;
    if (arg_text(cli, "domain", &name) < 0 || arg_text(cli, "for", &wanted) < 0 ||
        arg_timeout(cli, &timeout) < 0)
        return -1;
    const struct target *target = find_target(cli, wanted);
    if (!target)
        return -1;
    const wire_domain *domain = lookup_domain_quietly(cli, name, BY_ID | BY_UUID | BY_NAME);
    /* A machine that is not there yet may still come, so it is looked for by its name. */
    if (!domain && target->state != GONE && target->state != VIR_DOMAIN_RUNNING &&
        !lookup_domain(cli))
        return -1;
    cleanup_free char *kept = strdup(domain ? domain->name : name);
    if (!kept)
        abort();
    static const int events[] = {KVASIR_EVENT_LIFECYCLE, KVASIR_EVENT_AGENT_LIFECYCLE};
    int numbers[ARRAY_SIZE(events)], r = 0;
    size_t n = 0;
    for (; r >= 0 && n < (target->condition == agent_is_there ? 2 : 1); n += r >= 0)
        r = numbers[n] = kvasir_event_register(cli->conn, KVASIR_EVENTS_DOMAIN, events[n], NULL,
                                               NULL, note, NULL, &cli->error);
    if (r >= 0)
        r = wait_for(cli, kept, target, timeout);
    while (n > 0 && kvasir_conn_is_alive(cli->conn))
        kvasir_event_unregister(cli->conn, numbers[--n], NULL);
    return r;
}
