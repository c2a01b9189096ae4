/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Freezing and thawing a guest's file systems (virDomainFSFreeze, FSThaw, FSTrim). That they may be
 * frozen is recorded before the guest is asked, so that no end of this daemon leaves them so.
 */
#include <errno.h>
#include <time.h>

#include "base/log.h"
#include "daemon/domain/agent.h"
#include "rpc/server.h"

/* ------------------------------------------------------------------- thawing */

static int thaw(struct agent *agent, int *count, struct kv_error *err)
{
    static const char command[] = "guest-fsfreeze-thaw";
    cleanup_json json_t *got = NULL;
    int rc = agent_run(agent, command, NULL, &got, err);
    if (rc)
        return rc;
    if (!json_is_integer(got))
        return agent_malformed(command, err);
    *count = (int)json_integer_value(got);
    agent_forget_freezer(agent->live);
    return machine_agent_set_frozen(agent->live->machine, false, err);
}

void agent_thaw(struct domain *domain, unsigned tries)
{
    const struct timespec pause = {.tv_sec = 1};
    struct kv_error err = {0};
    struct agent agent = {.domain = domain, .seconds = MACHINE_AGENT_DEFAULT};
    int count = 0, rc = -EAGAIN;
    agent.live = domain_live_get(domain, NULL);
    for (unsigned i = 0;
         rc && i < tries && agent.live && machine_agent_is_frozen(agent.live->machine); i++) {
        rc = thaw(&agent, &count, &err);
        if (rc)
            nanosleep(&pause, NULL);
    }
    if (agent.live && rc && machine_agent_is_frozen(agent.live->machine))
        log_warning("domain '%s': its file systems are frozen still: %s", domain->name,
                    err.message);
    domain_live_put(agent.live);
}

static void thaw_now(void *opaque)
{
    agent_thaw(opaque, AGENT_THAW_TRIES);
    domain_unref(opaque);
}

void agent_thaw_later(struct domains *domains, struct domain *domain)
{
    if (rpc_server_run_later(domains->daemon->server, thaw_now, domain_ref(domain)))
        domain_unref(domain);
}

/* ------------------------------------------------------------- who froze them */

/* The client is gone. Runs on a worker; owns a reference. */
static void freezer_gone(void *opaque)
{
    struct domain *domain = opaque;
    pthread_mutex_lock(&domain->lock);
    struct rpc_client *freezer = domain->live ? domain->live->freezer : NULL;
    if (freezer)
        domain->live->freezer = NULL;
    pthread_mutex_unlock(&domain->lock);
    if (freezer) {
        if (!rpc_client_said_goodbye(freezer)) {
            log_info("domain '%s': who froze its file systems was lost: they are thawed",
                     domain->name);
            agent_thaw(domain, AGENT_THAW_TRIES);
        }
        rpc_client_unref(freezer);
    }
    domain_unref(domain);
}

void agent_forget_freezer(struct domain_live *live)
{
    struct domain *domain = live->domain;
    pthread_mutex_lock(&domain->lock);
    struct rpc_client *freezer = live->freezer;
    live->freezer = NULL;
    pthread_mutex_unlock(&domain->lock);
    if (!freezer)
        return;
    if (rpc_client_off_close(freezer, freezer_gone, domain))
        domain_unref(domain);
    rpc_client_unref(freezer);
}

static int remember_freezer(struct domain_live *live, struct rpc_client *client,
                            struct kv_error *err)
{
    struct domain *domain = live->domain;
    agent_forget_freezer(live);
    pthread_mutex_lock(&domain->lock);
    live->freezer = rpc_client_ref(client);
    pthread_mutex_unlock(&domain->lock);
    if (!rpc_client_on_close(client, freezer_gone, domain_ref(domain)))
        return 0;
    agent_forget_freezer(live);
    domain_unref(domain);
    return api_error(err, VIR_ERR_OPERATION_FAILED,
                     "the connection waits for the end of too many domains");
}

/* ------------------------------------------------------------------- freezing */

static int ask_to_freeze(struct agent *agent, const REMOTE_ARGS(DOMAIN_FSFREEZE) * in, int *count,
                         struct kv_error *err)
{
    const char *command =
        in->mountpoints.mountpoints_len ? "guest-fsfreeze-freeze-list" : "guest-fsfreeze-freeze";
    json_t *arguments = NULL;
    if (in->mountpoints.mountpoints_len) {
        json_t *list = json_array();
        for (unsigned i = 0; i < in->mountpoints.mountpoints_len; i++)
            json_array_append_new(list, json_string(in->mountpoints.mountpoints_val[i]));
        arguments = json_pack("{s:o}", "mountpoints", list);
    }
    cleanup_json json_t *got = NULL;
    int rc = agent_run(agent, command, arguments, &got, err);
    if (rc == 0 && !json_is_integer(got))
        rc = agent_malformed(command, err);
    if (rc == 0)
        *count = (int)json_integer_value(got);
    return rc;
}

CALL(freeze)
{
    const REMOTE_ARGS(DOMAIN_FSFREEZE) *in = args;
    REMOTE_RET(DOMAIN_FSFREEZE) *out = ret;
    cleanup_agent struct agent agent = {0};
    if (call_check_flags(call, in->flags, 0, err) || agent_open(&agent, call, &in->dom, err))
        return -EINVAL;
    struct machine *machine = agent.live->machine;
    bool before = machine_agent_is_frozen(machine);
    if (!machine_agent_is_open(machine))
        return agent_run(&agent, "guest-fsfreeze-freeze", NULL, NULL, err);
    int rc = machine_agent_set_frozen(machine, true, err);
    if (rc == 0 && !before)
        rc = remember_freezer(agent.live, rpc_call_client(call), err);
    if (rc)
        return rc;
    rc = ask_to_freeze(&agent, in, &out->filesystems, err);
    if (rc && agent.answered && !before) {
        agent_forget_freezer(agent.live);
        machine_agent_set_frozen(machine, false, NULL);
    } else if (rc && !agent.answered) {
        agent_thaw_later(call_domains(call), agent.domain); /* it may still do it */
    }
    return rc;
}

CALL(thaw_call)
{
    const REMOTE_ARGS(DOMAIN_FSTHAW) *in = args;
    REMOTE_RET(DOMAIN_FSTHAW) *out = ret;
    cleanup_agent struct agent agent = {0};
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    if (in->mountpoints.mountpoints_len)
        return api_error(err, VIR_ERR_ARGUMENT_UNSUPPORTED,
                         "specifying mountpoints is not supported");
    if (agent_open(&agent, call, &in->dom, err))
        return -EINVAL;
    return thaw(&agent, &out->filesystems, err);
}

CALL(trim)
{
    const REMOTE_ARGS(DOMAIN_FSTRIM) *in = args;
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    if (in->mount_point)
        return api_error(err, VIR_ERR_OPERATION_UNSUPPORTED,
                         "Specifying mount point is not supported for now");
    return agent_ask(call, &in->dom, "guest-fstrim",
                     json_pack("{s:I}", "minimum", (json_int_t)MIN(in->minimum, INT64_MAX)), NULL,
                     err);
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_FSFREEZE, freeze, 0},
    {REMOTE_PROC_DOMAIN_FSTHAW, thaw_call, 0},
    {REMOTE_PROC_DOMAIN_FSTRIM, trim, 0},
};
const struct call_rows call_freeze_rows = {rows, ARRAY_SIZE(rows)};
