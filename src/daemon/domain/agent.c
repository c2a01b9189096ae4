/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sessions with a guest's agent, and commands that several procedures need; see agent.h. */
#include "daemon/domain/agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SHUTDOWN_S 60 /* until the guest goes, as libvirt has it */

static int open_domain(struct agent *agent, struct kv_error *err)
{
    pthread_mutex_lock(&agent->domain->lock);
    agent->live =
        agent->domain->state == VIR_DOMAIN_RUNNING ? domain_live_ref(agent->domain) : NULL;
    agent->seconds = agent->domain->agent_seconds;
    pthread_mutex_unlock(&agent->domain->lock);
    return agent->live ? 0 : api_error(err, VIR_ERR_OPERATION_INVALID, "domain is not running");
}

int agent_open(struct agent *agent, struct rpc_call *call, const wire_domain *dom,
               struct kv_error *err)
{
    *agent = (struct agent){.domain = call_domain(call, dom, err)};
    return agent->domain ? open_domain(agent, err) : -ENOENT;
}

void agent_close(struct agent *agent)
{
    domain_live_put(agent->live);
    domain_unref(agent->domain);
}

/* The classes of "the agent cannot do that" (QEMU qapi/error.json). */
static bool is_unsupported(const json_t *error)
{
    const char *class = agent_text(error, "class");
    return class &&
           (strcmp(class, "CommandNotFound") == 0 || strcmp(class, "CommandDisabled") == 0);
}

/* An answer that is an error fails. */
static int check_answer(struct agent *agent, const char *command, const json_t *answer,
                        struct kv_error *err)
{
    const json_t *error = json_object_get(answer, "error");
    if (!error)
        return 0;
    const char *why = agent_text(error, "desc");
    agent->answered = true;
    int rc = api_error(err, VIR_ERR_INTERNAL_ERROR, "unable to execute QEMU agent command '%s'%s%s",
                       command, why ? ": " : "", why ? why : "");
    return is_unsupported(error) ? -EOPNOTSUPP : rc;
}

static int run(struct agent *agent, struct machine_agent_call *how, json_t *arguments, json_t **out,
               struct kv_error *err)
{
    cleanup_json json_t *request = json_pack("{s:s}", "execute", how->name);
    if (arguments)
        json_object_set_new(request, "arguments", arguments);
    cleanup_json json_t *answer = NULL;
    how->request = request;
    agent->answered = false;
    if (!request)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    int rc = machine_agent_call(agent->live->machine, how, &answer, err);
    if (rc == 0)
        rc = check_answer(agent, how->name, answer, err);
    if (rc == 0 && out)
        *out = json_incref(json_object_get(answer, "return"));
    return rc;
}

int agent_pass(struct agent *agent, const json_t *request, int seconds, char ***text,
               struct kv_error *err)
{
    const char *name = agent_text(request, "execute");
    struct machine_agent_call how = {
        .name = name ? name : "", .request = request, .seconds = seconds};
    cleanup_json json_t *answer = NULL;
    int rc = machine_agent_call(agent->live->machine, &how, &answer, err);
    if (rc == 0)
        rc = check_answer(agent, how.name, answer, err);
    if (rc)
        return rc;
    *text = calloc(1, sizeof(**text));
    if (*text) /* nothing was waited for: nothing is known */
        **text = answer ? json_dumps(answer, JSON_COMPACT) : strdup("{}");
    return *text && **text ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

int agent_run(struct agent *agent, const char *command, json_t *arguments, json_t **out,
              struct kv_error *err)
{
    struct machine_agent_call how = {.name = command, .seconds = agent->seconds};
    return run(agent, &how, arguments, out, err);
}

int agent_ask(struct rpc_call *call, const wire_domain *dom, const char *command, json_t *arguments,
              json_t **out, struct kv_error *err)
{
    cleanup_agent struct agent agent = {0};
    if (agent_open(&agent, call, dom, err)) {
        json_decref(arguments);
        return -EINVAL;
    }
    return agent_run(&agent, command, arguments, out, err);
}

int agent_malformed(const char *command, struct kv_error *err)
{
    return api_error(err, VIR_ERR_INTERNAL_ERROR,
                     "the guest agent's answer to '%s' is not what the command promises", command);
}

int agent_end(struct agent *agent, const char *command, json_t *arguments, struct kv_error *err)
{
    struct machine_agent_call how = {.name = command, .seconds = SHUTDOWN_S, .ends_guest = true};
    return run(agent, &how, arguments, NULL, err);
}

bool agent_is_there(struct domain *domain)
{
    struct domain_live *live = domain_live_get(domain, NULL);
    bool there = live && machine_agent_is_open(live->machine);
    domain_live_put(live);
    return there;
}
