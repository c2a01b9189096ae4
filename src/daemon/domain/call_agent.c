/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that a guest's agent carries out: clock, passwords, SSH keys, vCPUs, sleep. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "daemon/domain/agent.h"
#include "daemon/secret/secret.h"

#define NS_PER_S 1000000000
#define SSH_KEYS_MAX 2048 /* as clients' libraries take */

CALL(set_response_timeout)
{
    const REMOTE_ARGS(DOMAIN_AGENT_SET_RESPONSE_TIMEOUT) *in = args;
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    if (in->timeout < VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK)
        return api_error(err, VIR_ERR_INVALID_ARG,
                         "guest agent timeout '%d' is less than the minimum '%d'", in->timeout,
                         VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK);
    cleanup_locked struct domain *domain = call_domain_locked(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    domain->agent_seconds = in->timeout;
    return 0;
}

CALL(get_time)
{
    const REMOTE_ARGS(DOMAIN_GET_TIME) *in = args;
    REMOTE_RET(DOMAIN_GET_TIME) *out = ret;
    static const char command[] = "guest-get-time";
    cleanup_json json_t *got = NULL;
    if (call_check_flags(call, in->flags, 0, err) ||
        agent_ask(call, &in->dom, command, NULL, &got, err))
        return -EINVAL;
    json_int_t ns = json_integer_value(got);
    if (!json_is_integer(got) || ns < 0)
        return agent_malformed(command, err);
    out->seconds = ns / NS_PER_S;
    out->nseconds = (unsigned)(ns % NS_PER_S);
    return 0;
}

CALL(set_time)
{
    const REMOTE_ARGS(DOMAIN_SET_TIME) *in = args;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_TIME_SYNC, err))
        return -EINVAL;
    json_t *arguments = NULL;
    if (!(in->flags & VIR_DOMAIN_TIME_SYNC)) {
        if (in->seconds < 0 || in->seconds > INT64_MAX / NS_PER_S - 1 || in->nseconds >= NS_PER_S)
            return api_error(err, VIR_ERR_INVALID_ARG, "Time '%lld' is too big for guest agent",
                             (long long)in->seconds);
        arguments = json_pack("{s:I}", "time",
                              (json_int_t)in->seconds * NS_PER_S + (json_int_t)in->nseconds);
    }
    return agent_ask(call, &in->dom, "guest-set-time", arguments, NULL, err);
}

CALL(set_user_password)
{
    const REMOTE_ARGS(DOMAIN_SET_USER_PASSWORD) *in = args;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_PASSWORD_ENCRYPTED, err))
        return -EINVAL;
    if (!in->user || !in->password)
        return api_error(err, VIR_ERR_INVALID_ARG, "%s in %s must not be NULL",
                         in->user ? "password" : "user", rpc_call_procedure(call)->name);
    cleanup_free char *encoded = NULL;
    if (secret_base64(*in->password, strlen(*in->password), &encoded, err))
        return -ENOMEM;
    json_t *arguments = json_pack("{s:s, s:s, s:b}", "username", *in->user, "password", encoded,
                                  "crypted", (in->flags & VIR_DOMAIN_PASSWORD_ENCRYPTED) != 0);
    explicit_bzero(encoded, strlen(encoded));
    return agent_ask(call, &in->dom, "guest-set-user-password", arguments, NULL, err);
}

/* ------------------------------------------------------------------- SSH keys */

CALL(get_ssh_keys)
{
    const REMOTE_ARGS(DOMAIN_AUTHORIZED_SSH_KEYS_GET) *in = args;
    REMOTE_RET(DOMAIN_AUTHORIZED_SSH_KEYS_GET) *out = ret;
    static const char command[] = "guest-ssh-get-authorized-keys";
    cleanup_json json_t *got = NULL;
    if (call_check_flags(call, in->flags, 0, err) ||
        agent_ask(call, &in->dom, command, json_pack("{s:s}", "username", in->user), &got, err))
        return -EINVAL;
    const json_t *keys = json_object_get(got, "keys"), *key;
    size_t i;
    if (!json_is_array(keys) || json_array_size(keys) > SSH_KEYS_MAX)
        return agent_malformed(command, err);
    out->keys.keys_val = calloc(json_array_size(keys) + 1, sizeof(wire_text));
    if (!out->keys.keys_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    json_array_foreach ((json_t *)(uintptr_t)keys, i, key) {
        const char *text = json_string_value(key);
        if (!text)
            return agent_malformed(command, err);
        if (call_text(&out->keys.keys_val[i], text, err))
            return -ENOMEM;
        out->keys.keys_len++;
    }
    return 0;
}

CALL(set_ssh_keys)
{
    const REMOTE_ARGS(DOMAIN_AUTHORIZED_SSH_KEYS_SET) *in = args;
    const unsigned append = VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND,
                   removal = VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_REMOVE;
    if (call_check_flags(call, in->flags, append | removal, err))
        return -EINVAL;
    if ((in->flags & append) && (in->flags & removal))
        return api_error(err, VIR_ERR_INVALID_ARG,
                         "flags 'append' and 'remove' in %s are mutually exclusive",
                         rpc_call_procedure(call)->name);
    json_t *keys = json_array();
    for (unsigned i = 0; i < in->keys.keys_len; i++)
        json_array_append_new(keys, json_string(in->keys.keys_val[i]));
    if (in->flags & removal)
        return agent_ask(call, &in->dom, "guest-ssh-remove-authorized-keys",
                         json_pack("{s:s, s:o}", "username", in->user, "keys", keys), NULL, err);
    return agent_ask(call, &in->dom, "guest-ssh-add-authorized-keys",
                     json_pack("{s:s, s:o, s:b}", "username", in->user, "keys", keys, "reset",
                               !(in->flags & append)),
                     NULL, err);
}

/* ---------------------------------------------------------------------- vCPUs */

/* libvirt's bound for what an agent says. */
#define VCPU_ID_MAX 4096
#define VCPU_WORDS (VCPU_ID_MAX / 64)

struct guest_vcpus {
    uint64_t there[VCPU_WORDS], online[VCPU_WORDS], offlinable[VCPU_WORDS];
    unsigned count, online_count;
};

static bool in_set(const uint64_t *set, unsigned id)
{
    return set[id / 64] & BIT(id % 64);
}

static int get_vcpus(struct agent *agent, struct guest_vcpus *vcpus, struct kv_error *err)
{
    static const char command[] = "guest-get-vcpus";
    cleanup_json json_t *got = NULL;
    if (agent_run(agent, command, NULL, &got, err))
        return -EINVAL;
    size_t i;
    json_t *vcpu;
    if (!json_is_array(got))
        return agent_malformed(command, err);
    *vcpus = (struct guest_vcpus){.count = 0};
    json_array_foreach (got, i, vcpu) {
        const json_t *number = json_object_get(vcpu, "logical-id"),
                     *online = json_object_get(vcpu, "online");
        json_int_t id = json_integer_value(number);
        if (!json_is_integer(number) || !json_is_boolean(online) || id < 0 || id >= VCPU_ID_MAX ||
            in_set(vcpus->there, (unsigned)id))
            return agent_malformed(command, err);
        vcpus->there[id / 64] |= BIT(id % 64);
        vcpus->count++;
        vcpus->online_count += json_is_true(online);
        if (json_is_true(online))
            vcpus->online[id / 64] |= BIT(id % 64);
        if (json_is_true(json_object_get(vcpu, "can-offline")))
            vcpus->offlinable[id / 64] |= BIT(id % 64);
    }
    return 0;
}

/* The guest may do the first ones only and say how many, so it is asked until all are done. */
static int switch_vcpus(struct agent *agent, const uint64_t *ids, bool online, struct kv_error *err)
{
    static const char command[] = "guest-set-vcpus";
    cleanup_json json_t *list = json_array();
    for (unsigned id = 0; id < VCPU_ID_MAX; id++)
        if (in_set(ids, id))
            json_array_append_new(list,
                                  json_pack("{s:i, s:b}", "logical-id", (int)id, "online", online));
    while (json_array_size(list)) {
        cleanup_json json_t *got = NULL;
        if (agent_run(agent, command, json_pack("{s:O}", "vcpus", list), &got, err))
            return -EINVAL;
        json_int_t done = json_integer_value(got);
        if (!json_is_integer(got) || done <= 0 || (size_t)done > json_array_size(list))
            return agent_malformed(command, err);
        while (done-- > 0)
            json_array_remove(list, 0);
    }
    return 0;
}

CALL(get_guest_vcpus)
{
    const REMOTE_ARGS(DOMAIN_GET_GUEST_VCPUS) *in = args;
    REMOTE_RET(DOMAIN_GET_GUEST_VCPUS) *out = ret;
    cleanup_agent struct agent agent = {0};
    struct guest_vcpus vcpus;
    if (call_check_flags(call, in->flags, 0, err) || agent_open(&agent, call, &in->dom, err) ||
        get_vcpus(&agent, &vcpus, err))
        return -EINVAL;
    const struct {
        const char *name;
        const uint64_t *set;
    } sets[] = {{"vcpus", vcpus.there}, {"online", vcpus.online}, {"offlinable", vcpus.offlinable}};
    struct params p = PARAMS_INIT;
    char text[VCPU_ID_MAX * 5];
    for (unsigned i = 0; i < ARRAY_SIZE(sets); i++) {
        format_bitmap(sets[i].set, VCPU_WORDS, text, sizeof(text));
        params_add_text(&p, sets[i].name, text);
    }
    return params_give(&p, &out->params.params_val, &out->params.params_len, err);
}

CALL(set_guest_vcpus)
{
    const REMOTE_ARGS(DOMAIN_SET_GUEST_VCPUS) *in = args;
    cleanup_agent struct agent agent = {0};
    struct guest_vcpus vcpus;
    uint64_t wanted[VCPU_WORDS] = {0};
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    if (in->state != 0 && in->state != 1)
        return api_error(err, VIR_ERR_INVALID_ARG, "unsupported state value");
    if (parse_bitmap(in->cpu_map, wanted, VCPU_WORDS))
        return api_error(err, VIR_ERR_INVALID_ARG, "Failed to parse bitmap '%s'", in->cpu_map);
    if (agent_open(&agent, call, &in->dom, err) || get_vcpus(&agent, &vcpus, err))
        return -EINVAL;
    for (unsigned id = 0; id < VCPU_ID_MAX; id++) {
        if (!in_set(wanted, id))
            continue;
        if (!in_set(vcpus.there, id))
            return api_error(err, VIR_ERR_INVALID_ARG, "guest is missing vCPU '%u'", id);
        if (!in->state && !in_set(vcpus.offlinable, id))
            return api_error(err, VIR_ERR_INVALID_ARG, "vCPU '%u' is not offlinable", id);
        if (in_set(vcpus.online, id) == (in->state == 1))
            wanted[id / 64] &= ~BIT(id % 64);
    }
    return switch_vcpus(&agent, wanted, in->state == 1, err);
}

int agent_count_vcpus(struct rpc_call *call, const wire_domain *dom, bool all, int *count,
                      struct kv_error *err)
{
    cleanup_agent struct agent agent = {0};
    struct guest_vcpus vcpus;
    if (agent_open(&agent, call, dom, err) || get_vcpus(&agent, &vcpus, err))
        return -EINVAL;
    *count = (int)(all ? vcpus.count : vcpus.online_count);
    return 0;
}

int agent_set_vcpu_count(struct rpc_call *call, const wire_domain *dom, unsigned count,
                         struct kv_error *err)
{
    cleanup_agent struct agent agent = {0};
    struct guest_vcpus vcpus;
    uint64_t wanted[VCPU_WORDS] = {0};
    if (agent_open(&agent, call, dom, err) || get_vcpus(&agent, &vcpus, err))
        return -EINVAL;
    if (count > vcpus.count)
        return api_error(err, VIR_ERR_INVALID_ARG,
                         "requested vcpu count is greater than the count of enabled vcpus in the "
                         "domain: %u > %u",
                         count, vcpus.count);
    bool more = count > vcpus.online_count;
    unsigned left = more ? count - vcpus.online_count : vcpus.online_count - count;
    for (unsigned i = 0; left && i < VCPU_ID_MAX; i++) {
        unsigned id = more ? i : VCPU_ID_MAX - 1 - i; /* the last ones go first */
        bool fits = more ? in_set(vcpus.there, id) && !in_set(vcpus.online, id)
                         : in_set(vcpus.online, id) && in_set(vcpus.offlinable, id);
        if (!fits)
            continue;
        wanted[id / 64] |= BIT(id % 64);
        left--;
    }
    if (left)
        return api_error(err, VIR_ERR_OPERATION_INVALID,
                         "the guest cannot take %u more of its vCPUs offline", left);
    return switch_vcpus(&agent, wanted, more, err);
}

/* ---------------------------------------------------------------------- sleep */

CALL(suspend_for_duration)
{
    const REMOTE_ARGS(DOMAIN_PM_SUSPEND_FOR_DURATION) *in = args;
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    if (in->duration)
        return api_error(err, VIR_ERR_ARGUMENT_UNSUPPORTED,
                         "Duration not supported. Use 0 for now");
    if (in->target == VIR_NODE_SUSPEND_TARGET_MEM || in->target == VIR_NODE_SUSPEND_TARGET_HYBRID)
        return api_error(err, VIR_ERR_OPERATION_UNSUPPORTED,
                         "Domain does not have suspend support");
    if (in->target != VIR_NODE_SUSPEND_TARGET_DISK)
        return api_error(err, VIR_ERR_INVALID_ARG, "Unknown suspend target: %u", in->target);
    cleanup_agent struct agent agent = {0};
    if (agent_open(&agent, call, &in->dom, err))
        return -EINVAL;
    return agent_end(&agent, "guest-suspend-disk", NULL, err);
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_AGENT_SET_RESPONSE_TIMEOUT, set_response_timeout, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_GET_TIME, get_time, 0},
    {REMOTE_PROC_DOMAIN_SET_TIME, set_time, 0},
    {REMOTE_PROC_DOMAIN_SET_USER_PASSWORD, set_user_password, 0},
    {REMOTE_PROC_DOMAIN_AUTHORIZED_SSH_KEYS_GET, get_ssh_keys, 0},
    {REMOTE_PROC_DOMAIN_AUTHORIZED_SSH_KEYS_SET, set_ssh_keys, 0},
    {REMOTE_PROC_DOMAIN_GET_GUEST_VCPUS, get_guest_vcpus, 0},
    {REMOTE_PROC_DOMAIN_SET_GUEST_VCPUS, set_guest_vcpus, 0},
    {REMOTE_PROC_DOMAIN_PM_SUSPEND_FOR_DURATION, suspend_for_duration, 0},
};
const struct call_rows call_agent_rows = {rows, ARRAY_SIZE(rows)};
