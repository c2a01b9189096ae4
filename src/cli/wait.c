/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wait: until a machine is in a state, told by the daemon's events and not by asking again. */
#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <time.h>

#include "cli/args.h"
#include "cli/output.h"
#include "cli/state.h"
#include "cli/verbs.h"

#define GONE (-2)

static const struct {
    const char *name;
    int state;
} targets[] = {
    {"running", VIR_DOMAIN_RUNNING},
    {"paused", VIR_DOMAIN_PAUSED},
    {"shutoff", VIR_DOMAIN_SHUTOFF},
    {"gone", GONE},
};

static void note(struct kvasir_conn *conn, const struct kvasir_event *event, void *opaque)
{
}

/* GONE: there is no such machine; -1: error. */
static int state_of(struct cli *cli, const char *name)
{
    const REMOTE_RET(DOMAIN_LOOKUP_BY_NAME) *found =
        CALL(cli, DOMAIN_LOOKUP_BY_NAME, .name = (char *)(uintptr_t)name);
    const REMOTE_RET(DOMAIN_GET_STATE) *state =
        found ? CALL(cli, DOMAIN_GET_STATE, .dom = found->dom) : NULL;
    if (state)
        return state->state;
    return cli->error.code == VIR_ERR_NO_DOMAIN ? GONE : -1;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int wait_for_machine(struct cli *cli)
{
    const char *name = NULL, *wanted = "running";
    int timeout = 0;
    if (arg_text(cli, "domain", &name) < 0 || arg_text(cli, "for", &wanted) < 0 ||
        arg_int(cli, "timeout", &timeout) < 0)
        return -1;
    size_t i = 0;
    while (i < ARRAY_SIZE(targets) && strcmp(targets[i].name, wanted) != 0)
        i++;
    if (i == ARRAY_SIZE(targets))
        return cli_error(cli, "cannot wait for '%s': running, paused, shutoff and gone are known",
                         wanted);
    int target = targets[i].state;
    /* A machine that is not there yet may still come, so it is looked for by its name. */
    if (target != GONE && target != VIR_DOMAIN_RUNNING && !lookup_domain(cli))
        return -1;
    int number = kvasir_event_register(cli->conn, KVASIR_EVENTS_DOMAIN, KVASIR_EVENT_LIFECYCLE,
                                       NULL, NULL, note, NULL, &cli->error);
    if (number < 0)
        return -1;
    int64_t end = timeout > 0 ? now_ms() + 1000 * (int64_t)timeout : INT64_MAX;
    int state, r = 0;
    while ((state = state_of(cli, name)) != target) {
        int64_t left = end - now_ms();
        if (state == -1)
            return -1;
        if (state == GONE && target != VIR_DOMAIN_RUNNING)
            return cli_error(cli, "machine '%s' is gone", name);
        cli_forget_error(cli);
        if (left <= 0)
            return cli_error(cli, "machine '%s' is %s after %d s, not %s", name,
                             state == GONE ? "gone" : state_text(state), timeout, wanted);
        r = kvasir_conn_run(cli->conn, timeout > 0 ? (int)MIN(left, INT32_MAX) : -1, &cli->error);
        if (r < 0)
            return -1;
    }
    cli_forget_error(cli);
    out_key(cli, "name", "%s", name);
    out_key(cli, "state", "%s", wanted);
    return 0;
}
