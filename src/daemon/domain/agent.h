/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's agent, as the procedures use it: a session with it is for one call, and does not
 * need the domain's job, so that a guest that is slow holds up nobody but who asks it. What
 * the guest says is checked by who reads it: agent_*() below help.
 */
#ifndef KV_DAEMON_DOMAIN_AGENT_H
#define KV_DAEMON_DOMAIN_AGENT_H

#include <jansson.h>

#include "daemon/domain/call.h"
#include "daemon/domain/live.h"

struct agent {
    struct domain *domain;
    struct domain_live *live;
    int seconds;   /* for an answer */
    bool answered; /* the last command: it failed because the guest said so */
};

/* VIR_ERR_NO_DOMAIN; VIR_ERR_OPERATION_INVALID unless the domain runs. */
int agent_open(struct agent *agent, struct rpc_call *call, const wire_domain *dom,
               struct kv_error *err);
void agent_close(struct agent *agent);
#define cleanup_agent __attribute__((cleanup(agent_close), unused))

/*
 * Runs a command with its arguments (NULL: none; taken over). *out (may be NULL) becomes what is
 * behind "return", a new reference. -EOPNOTSUPP and answered: the agent does not have that command.
 */
int agent_run(struct agent *agent, const char *command, json_t *arguments, json_t **out,
              struct kv_error *err);

/* agent_open(), one agent_run(), agent_close(). */
int agent_ask(struct rpc_call *call, const wire_domain *dom, const char *command, json_t *arguments,
              json_t **out, struct kv_error *err);

/* For an answer that is not what its command promises. */
int agent_malformed(const char *command, struct kv_error *err);

/* A member that is text; NULL: it is not there or none. */
static inline const char *agent_text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static inline void cleanup_json_fn(json_t **json)
{
    json_decref(*json);
}
#define cleanup_json __attribute__((cleanup(cleanup_json_fn), unused))

/* A client's own request, and the agent's whole answer as text that *text points to; both for
 * free(). seconds: libvirt's VIR_DOMAIN_QEMU_AGENT_COMMAND_* numbers, or how long. */
int agent_pass(struct agent *agent, const json_t *request, int seconds, char ***text,
               struct kv_error *err);

/* As agent_run(), of a command after which the guest goes instead of answering. */
int agent_end(struct agent *agent, const char *command, json_t *arguments, struct kv_error *err);

/* Whether the domain's guest has an agent that is connected. */
bool agent_is_there(struct domain *domain);

/* vCPUs by the guest itself: how many are online; makes that many so. */
int agent_count_vcpus(struct rpc_call *call, const wire_domain *dom, bool all, int *count,
                      struct kv_error *err);
int agent_set_vcpu_count(struct rpc_call *call, const wire_domain *dom, unsigned count,
                         struct kv_error *err);

/* ------------------------------------------------------------------ freezing */

/*
 * Frozen file systems are thawed when the client that froze them is lost (one that closes its
 * connection properly, as virsh does after each command, leaves them), when the daemon ends, and
 * when it begins again. agent_thaw() tries so often, a second or more each, until the guest says
 * that it is done or the machine is gone. [blocks]
 */
#define AGENT_THAW_TRIES 120
#define AGENT_THAW_TRIES_AT_END 3 /* the next daemon goes on */
void agent_thaw(struct domain *domain, unsigned tries);

/* The same on a worker, soon. */
void agent_thaw_later(struct domains *domains, struct domain *domain);

/* The machine is gone, nothing needs a thaw. */
void agent_forget_freezer(struct domain_live *live);

#endif
