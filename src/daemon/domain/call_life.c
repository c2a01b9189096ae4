/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures of a domain's life: start, shutdown, reboot, reset, destroy, suspend, resume. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "daemon/domain/agent.h"

#define START_FLAGS                                                                           \
    (VIR_DOMAIN_START_PAUSED | VIR_DOMAIN_START_AUTODESTROY | VIR_DOMAIN_START_BYPASS_CACHE | \
     VIR_DOMAIN_START_FORCE_BOOT | VIR_DOMAIN_START_VALIDATE | VIR_DOMAIN_START_RESET_NVRAM)

/* Descriptors that came with a call, in its order; the caller closes them. */
struct call_fds {
    int fds[32];
    unsigned count;
};

static void close_fds(struct call_fds *f)
{
    for (unsigned i = 0; i < f->count; i++)
        close(f->fds[i]);
}

static void take_fds(struct rpc_call *call, struct call_fds *f)
{
    f->count = 0;
    for (size_t i = 0; i < rpc_call_fds(call) && i < ARRAY_SIZE(f->fds); i++) {
        int fd = rpc_call_take_fd(call, i);
        if (fd >= 0)
            f->fds[f->count++] = fd;
    }
}

static int start_with(struct rpc_call *call, struct domain *domain, struct model_domain *model,
                      unsigned flags, struct kv_error *err)
{
    __attribute__((cleanup(close_fds))) struct call_fds fds;
    take_fds(call, &fds);
    struct domain_start start = {
        .flags = flags,
        .detail = VIR_DOMAIN_EVENT_STARTED_BOOTED,
        .fds = fds.fds,
        .fd_count = fds.count,
        .client = rpc_call_client(call),
    };
    return domain_start(call_domains(call), domain, model, &start, err);
}

static int create_xml(struct rpc_call *call, const char *xml, unsigned flags, wire_domain *out,
                      struct kv_error *err)
{
    struct domains *domains = call_domains(call);
    if (call_check_flags(call, flags, START_FLAGS, err))
        return -EINVAL;
    unsigned parse = MODEL_PARSE_INACTIVE;
    if (flags & VIR_DOMAIN_START_VALIDATE)
        parse |= MODEL_PARSE_VALIDATE;
    struct model_domain *model = NULL;
    if (model_domain_parse(&model, domains->model_host, xml, strlen(xml), parse, err))
        return -EINVAL;
    struct domain *domain =
        domains_reserve_job(domains, model->uuid, model->name, rpc_call_procedure(call)->name, err);
    if (!domain) {
        model_domain_free(model);
        return -EEXIST;
    }
    int ret;
    if (domain_is_active(domain)) {
        ret = api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_OPERATION_INVALID,
                             "domain '%s' is already active", model->name);
        model_domain_free(model);
    } else {
        ret = start_with(call, domain, model, flags, err);
    }
    if (!ret && wire_domain_fill(out, domain))
        ret = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    call_end(call, domain);
    return ret;
}

CALL(create_xml_call)
{
    const REMOTE_ARGS(DOMAIN_CREATE_XML) *in = args;
    REMOTE_RET(DOMAIN_CREATE_XML) *out = ret;
    return create_xml(call, in->xml_desc, in->flags, &out->dom, err);
}

/* Starts a defined domain; out may be NULL. */
static int create(struct rpc_call *call, const wire_domain *dom, unsigned flags, wire_domain *out,
                  struct kv_error *err)
{
    if (call_check_flags(call, flags, START_FLAGS & ~VIR_DOMAIN_START_VALIDATE, err))
        return -EINVAL;
    struct domain *domain = call_begin(call, dom, err);
    if (!domain)
        return -ENOENT;
    int ret = -EINVAL;
    if (domain_is_active(domain)) {
        api_error(err, VIR_ERR_OPERATION_INVALID, "domain is already running");
    } else {
        struct model_domain *model = domain_config_load(call_domains(call), domain, err);
        if (model)
            ret = start_with(call, domain, model, flags, err);
        if (!ret && out && wire_domain_fill(out, domain))
            ret = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    call_end(call, domain);
    return ret;
}

CALL(create_plain)
{
    const REMOTE_ARGS(DOMAIN_CREATE) *in = args;
    return create(call, &in->dom, 0, NULL, err);
}

CALL(create_flags)
{
    const REMOTE_ARGS(DOMAIN_CREATE_WITH_FLAGS) *in = args;
    REMOTE_RET(DOMAIN_CREATE_WITH_FLAGS) *out = ret;
    return create(call, &in->dom, in->flags, &out->dom, err);
}

/* Something that the machine is asked to do, under the job. */
typedef int ask_fn(struct machine *machine, struct kv_error *err);

static int ask(struct rpc_call *call, const wire_domain *dom, ask_fn *fn, struct kv_error *err)
{
    struct domain *domain = call_begin(call, dom, err);
    if (!domain)
        return -ENOENT;
    struct domain_live *live = domain_live_get(domain, err);
    int ret = live ? fn(live->machine, err) : -EINVAL;
    domain_live_put(live);
    call_end(call, domain);
    return ret;
}

/* The guest is asked by its agent if it has one and the flags do not say otherwise, and by the
 * power button if that does not help and the flags do not say otherwise: libvirt's order. */
static int press(struct rpc_call *call, const wire_domain *dom, const char *mode, bool agent,
                 bool button, ask_fn *press_button, struct kv_error *err)
{
    cleanup_domain struct domain *domain = call_domain(call, dom, err);
    if (!domain)
        return -ENOENT;
    bool any = !agent && !button;
    if (agent || (any && agent_is_there(domain))) {
        cleanup_agent struct agent session = {0};
        int ret = agent_open(&session, call, dom, err);
        if (!ret)
            ret = agent_end(&session, "guest-shutdown", json_pack("{s:s}", "mode", mode), err);
        if (!ret || (agent && !button))
            return ret;
    }
    return ask(call, dom, press_button, err);
}

CALL(shutdown_plain)
{
    const REMOTE_ARGS(DOMAIN_SHUTDOWN) *in = args;
    return press(call, &in->dom, "powerdown", false, false, machine_powerdown, err);
}

CALL(shutdown_flags)
{
    const REMOTE_ARGS(DOMAIN_SHUTDOWN_FLAGS) *in = args;
    const unsigned button = VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN,
                   agent = VIR_DOMAIN_SHUTDOWN_GUEST_AGENT;
    if (call_check_flags(call, in->flags, button | agent, err))
        return -EINVAL;
    return press(call, &in->dom, "powerdown", in->flags & agent, in->flags & button,
                 machine_powerdown, err);
}

CALL(reboot)
{
    const REMOTE_ARGS(DOMAIN_REBOOT) *in = args;
    const unsigned button = VIR_DOMAIN_REBOOT_ACPI_POWER_BTN, agent = VIR_DOMAIN_REBOOT_GUEST_AGENT;
    if (call_check_flags(call, in->flags, button | agent, err))
        return -EINVAL;
    return press(call, &in->dom, "reboot", in->flags & agent, in->flags & button, machine_reboot,
                 err);
}

CALL(reset)
{
    const REMOTE_ARGS(DOMAIN_RESET) *in = args;
    int bad = call_check_flags(call, in->flags, 0, err);
    return bad ? bad : ask(call, &in->dom, machine_reset, err);
}

CALL(inject_nmi)
{
    const REMOTE_ARGS(DOMAIN_INJECT_NMI) *in = args;
    int bad = call_check_flags(call, in->flags, 0, err);
    return bad ? bad : ask(call, &in->dom, machine_inject_nmi, err);
}

static int destroy(struct rpc_call *call, const wire_domain *dom, unsigned flags,
                   struct kv_error *err)
{
    bool graceful = flags & VIR_DOMAIN_DESTROY_GRACEFUL;
    struct domain *domain = call_domain(call, dom, err);
    if (!domain)
        return -ENOENT;
    /* Not in turn: what has the job may wait for this very machine. */
    int ret = domain_destroy_now(domain, graceful, err);
    domain_unref(domain);
    if (ret != DOMAIN_IN_TURN)
        return ret;
    domain = call_begin(call, dom, err);
    if (!domain)
        return -ENOENT;
    ret = domain_destroy(call_domains(call), domain, graceful, err);
    call_end(call, domain);
    return ret;
}

CALL(destroy_plain)
{
    const REMOTE_ARGS(DOMAIN_DESTROY) *in = args;
    return destroy(call, &in->dom, 0, err);
}

CALL(destroy_flags)
{
    const REMOTE_ARGS(DOMAIN_DESTROY_FLAGS) *in = args;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_DESTROY_GRACEFUL, err))
        return -EINVAL;
    return destroy(call, &in->dom, in->flags, err);
}

static int state_of(struct domain *domain)
{
    pthread_mutex_lock(&domain->lock);
    int state = domain->state;
    pthread_mutex_unlock(&domain->lock);
    return state;
}

static int suspend_domain(struct domains *domains, struct domain *domain, struct kv_error *err)
{
    cleanup_live struct domain_live *live = domain_live_get(domain, err);
    if (!live)
        return -EINVAL;
    if (state_of(domain) == VIR_DOMAIN_PAUSED)
        return 0;
    int ret = machine_stop(live->machine, err);
    if (!ret)
        domain_set_paused(domains, domain, VIR_DOMAIN_PAUSED_USER,
                          VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
    return ret;
}

CALL(suspend)
{
    const REMOTE_ARGS(DOMAIN_SUSPEND) *in = args;
    struct domain *domain = call_begin(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    int result = suspend_domain(call_domains(call), domain, err);
    call_end(call, domain);
    return result;
}

static int resume_domain(struct domains *domains, struct domain *domain, struct kv_error *err)
{
    cleanup_live struct domain_live *live = domain_live_get(domain, err);
    if (!live)
        return -EINVAL;
    int state = state_of(domain);
    if (state == VIR_DOMAIN_RUNNING)
        return api_error(err, VIR_ERR_OPERATION_INVALID, "domain is already running");
    if (state == VIR_DOMAIN_CRASHED || state == VIR_DOMAIN_SHUTDOWN)
        return api_error(err, VIR_ERR_OPERATION_INVALID,
                         "the guest is %s: it can be reset or destroyed",
                         state == VIR_DOMAIN_CRASHED ? "crashed" : "shut down");
    int ret = machine_cont(live->machine, err);
    if (!ret)
        domain_set_running(domains, domain, VIR_DOMAIN_RUNNING_UNPAUSED,
                           VIR_DOMAIN_EVENT_RESUMED_UNPAUSED);
    return ret;
}

CALL(resume)
{
    const REMOTE_ARGS(DOMAIN_RESUME) *in = args;
    struct domain *domain = call_begin(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    int result = resume_domain(call_domains(call), domain, err);
    call_end(call, domain);
    return result;
}

static int dump(struct rpc_call *call, const wire_domain *dom, const char *to, unsigned format,
                unsigned flags, struct kv_error *err)
{
    if (call_check_flags(call, flags,
                         VIR_DUMP_CRASH | VIR_DUMP_LIVE | VIR_DUMP_BYPASS_CACHE | VIR_DUMP_RESET |
                             VIR_DUMP_MEMORY_ONLY,
                         err))
        return -EINVAL;
    if (format != VIR_DOMAIN_CORE_DUMP_FORMAT_RAW)
        return api_error(err, VIR_ERR_OPERATION_UNSUPPORTED,
                         "core dumps of format %u are asked for; only ELF (0) is written", format);
    if ((flags & VIR_DUMP_CRASH) && (flags & VIR_DUMP_LIVE))
        return api_error(err, VIR_ERR_INVALID_ARG, "crash and live flags are mutually exclusive");
    if ((flags & VIR_DUMP_CRASH) && (flags & VIR_DUMP_RESET))
        return api_error(err, VIR_ERR_INVALID_ARG, "crash and reset flags are mutually exclusive");
    if (!(flags & VIR_DUMP_MEMORY_ONLY))
        return api_error(err, VIR_ERR_OPERATION_UNSUPPORTED,
                         "a core dump of memory alone can be made (--memory-only)");
    struct domain *domain = call_begin(call, dom, err);
    if (!domain)
        return -ENOENT;
    int ret = -EINVAL;
    struct domain_live *live = domain_live_get(domain, err);
    if (live) {
        cleanup_fd int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        ret = fd < 0 ? api_error(err, VIR_ERR_OPERATION_FAILED, "failed to create '%s': %s", to,
                                 strerror(errno))
                     : machine_dump(live->machine, fd, flags & VIR_DUMP_LIVE, err);
        struct stat st;
        if (ret && fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
            unlink(to); /* never a device that was written to */
    }
    if (!ret && (flags & VIR_DUMP_RESET))
        ret = machine_reset(live->machine, err);
    domain_live_put(live);
    if (!ret && (flags & VIR_DUMP_CRASH))
        ret = domain_destroy(call_domains(call), domain, false, err);
    call_end(call, domain);
    return ret;
}

CALL(core_dump)
{
    const REMOTE_ARGS(DOMAIN_CORE_DUMP) *in = args;
    return dump(call, &in->dom, in->to, 0, in->flags, err);
}

CALL(core_dump_format)
{
    const REMOTE_ARGS(DOMAIN_CORE_DUMP_WITH_FORMAT) *in = args;
    return dump(call, &in->dom, in->to, in->dumpformat, in->flags, err);
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_CREATE_XML, create_xml_call, 0},
    {REMOTE_PROC_DOMAIN_CREATE_XML_WITH_FILES, create_xml_call, 0},
    {REMOTE_PROC_DOMAIN_CREATE, create_plain, 0},
    {REMOTE_PROC_DOMAIN_CREATE_WITH_FLAGS, create_flags, 0},
    {REMOTE_PROC_DOMAIN_CREATE_WITH_FILES, create_flags, 0},
    {REMOTE_PROC_DOMAIN_SHUTDOWN, shutdown_plain, 0},
    {REMOTE_PROC_DOMAIN_SHUTDOWN_FLAGS, shutdown_flags, 0},
    {REMOTE_PROC_DOMAIN_REBOOT, reboot, 0},
    {REMOTE_PROC_DOMAIN_RESET, reset, 0},
    {REMOTE_PROC_DOMAIN_INJECT_NMI, inject_nmi, 0},
    {REMOTE_PROC_DOMAIN_DESTROY, destroy_plain, 0},
    {REMOTE_PROC_DOMAIN_DESTROY_FLAGS, destroy_flags, 0},
    {REMOTE_PROC_DOMAIN_SUSPEND, suspend, 0},
    {REMOTE_PROC_DOMAIN_RESUME, resume, 0},
    {REMOTE_PROC_DOMAIN_CORE_DUMP, core_dump, 0},
    {REMOTE_PROC_DOMAIN_CORE_DUMP_WITH_FORMAT, core_dump_format, 0},
};
const struct call_rows call_life_rows = {rows, ARRAY_SIZE(rows)};
