/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A running domain: from a document to a machine and back, and what the
 * machine tells meanwhile (machine_events.c).
 *
 * A struct domain_live is shared by references: the domain has one while it
 * runs, so has each procedure that talks to the machine. When the machine died,
 * the domain lets go at once (clients see it shut off) and the reaper, a thread
 * that may block, drops the domain's reference. Who drops the last one frees the
 * machine, tells the clients, and lets the next job go on.
 */
#include "daemon/domain/live.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/domain/agent.h"
#include "daemon/domain/call.h"
#include "daemon/secret/secret.h"
#include "daemon/storage/storage.h"
#include "model/uuid.h"

/* How an end looks to clients. */
static const struct {
    uint8_t reason; /* VIR_DOMAIN_SHUTOFF_* */
    uint8_t detail; /* VIR_DOMAIN_EVENT_STOPPED_* */
} ends[] = {
    [MACHINE_END_SHUTDOWN] = {VIR_DOMAIN_SHUTOFF_SHUTDOWN, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN},
    [MACHINE_END_DESTROYED] = {VIR_DOMAIN_SHUTOFF_DESTROYED, VIR_DOMAIN_EVENT_STOPPED_DESTROYED},
    [MACHINE_END_CRASHED] = {VIR_DOMAIN_SHUTOFF_CRASHED, VIR_DOMAIN_EVENT_STOPPED_CRASHED},
    [MACHINE_END_FAILED] = {VIR_DOMAIN_SHUTOFF_CRASHED, VIR_DOMAIN_EVENT_STOPPED_FAILED},
};

static struct domain_live *live_new(struct domains *domains, struct domain *domain,
                                    struct model_domain *document)
{
    struct domain_live *live = calloc(1, sizeof(*live));
    if (!live)
        return NULL;
    atomic_init(&live->refs, 1);
    live->domains = domains;
    live->domain = domain_ref(domain);
    live->document = document;
    live->starting = true;
    return live;
}

static void live_free(struct domain_live *live)
{
    machine_free(live->machine);
    model_domain_free(live->document);
    if (live->owner)
        rpc_client_unref(live->owner);
    domain_unref(live->domain);
    free(live);
}

struct domain_live *domain_live_ref(struct domain *domain)
{
    if (domain->live)
        atomic_fetch_add(&domain->live->refs, 1);
    return domain->live;
}

struct domain_live *domain_live_get(struct domain *domain, struct kv_error *err)
{
    pthread_mutex_lock(&domain->lock);
    struct domain_live *live = domain_live_ref(domain);
    pthread_mutex_unlock(&domain->lock);
    if (!live)
        api_error(err, VIR_ERR_OPERATION_INVALID, "domain is not running");
    return live;
}

static void destroy_with_client(void *opaque);

/* What the TPM of a domain without a definition keeps ends with it. */
static void forget_tpm(struct domain *domain, struct machine_host *host)
{
    char uuid[UUID_TEXT];
    uuid_format(domain->uuid, uuid);
    pthread_mutex_lock(&domain->lock);
    bool stays = domain->persistent;
    pthread_mutex_unlock(&domain->lock);
    if (!stays)
        machine_host_forget_tpm(host, uuid);
}

void domain_live_put(struct domain_live *live)
{
    if (!live || atomic_fetch_sub(&live->refs, 1) != 1)
        return;
    struct domains *domains = live->domains;
    struct domain *domain = domain_ref(live->domain);
    bool died = live->died;
    int detail = ends[live->end].detail;
    if (live->owner && rpc_client_off_close(live->owner, destroy_with_client, domain))
        domain_unref(domain);
    agent_forget_freezer(live);
    bool has_tpm = live->document && live->document->tpm && !live->document->tpm->persistent;
    live_free(live);
    if (died) {
        if (has_tpm)
            forget_tpm(domain, domains->host);
        /* Who is told of the end finds a transient domain gone. */
        domains_remove_unneeded(domains, domain, 1);
        domain_event_lifecycle(domains, domain, VIR_DOMAIN_EVENT_STOPPED, detail);
        pthread_mutex_lock(&domain->lock);
        domain->reaping--;
        pthread_cond_broadcast(&domain->changed);
        pthread_mutex_unlock(&domain->lock);
        domains_remove_unneeded(domains, domain, 0);
    }
    domain_unref(domain);
}

/* ------------------------------------------------------------------- reaper */

static void *reap(void *opaque)
{
    struct domains *domains = opaque;
    pthread_mutex_lock(&domains->reap_lock);
    while (!domains->stopping || domains->reap_first) {
        struct domain_live *live = domains->reap_first;
        if (!live) {
            pthread_cond_wait(&domains->reap_wanted, &domains->reap_lock);
            continue;
        }
        domains->reap_first = live->reap_next;
        if (!domains->reap_first)
            domains->reap_last = &domains->reap_first;
        pthread_mutex_unlock(&domains->reap_lock);
        domain_live_put(live);
        pthread_mutex_lock(&domains->reap_lock);
    }
    pthread_mutex_unlock(&domains->reap_lock);
    return NULL;
}

int domains_start_reaper(struct domains *domains, struct kv_error *err)
{
    pthread_mutex_init(&domains->reap_lock, NULL);
    pthread_cond_init(&domains->reap_wanted, NULL);
    domains->reap_last = &domains->reap_first;
    int ret = pthread_create(&domains->reaper, NULL, reap, domains);
    if (ret)
        return kv_error_errno(err, KV_ERR_BASE, ret, "thread");
    domains->reaper_runs = true;
    return 0;
}

void domains_stop_reaper(struct domains *domains)
{
    if (!domains->reaper_runs)
        return;
    pthread_mutex_lock(&domains->reap_lock);
    domains->stopping = true;
    pthread_cond_signal(&domains->reap_wanted);
    pthread_mutex_unlock(&domains->reap_lock);
    pthread_join(domains->reaper, NULL);
    domains->reaper_runs = false;
}

/* The machine is dead and the start, if any, is over: the domain is shut off from now on. */
static void live_ended(struct domain_live *live)
{
    struct domains *domains = live->domains;
    struct domain *domain = live->domain;
    domains_set_id(domains, domain, -1);
    pthread_mutex_lock(&domain->lock);
    domain->live = NULL;
    domain->updated = false;
    domain->state = VIR_DOMAIN_SHUTOFF;
    domain->reason = ends[live->end].reason;
    domain->reaping++;
    pthread_mutex_unlock(&domain->lock);
    pthread_mutex_lock(&domains->reap_lock);
    live->reap_next = NULL;
    *domains->reap_last = live;
    domains->reap_last = &live->reap_next;
    pthread_cond_signal(&domains->reap_wanted);
    pthread_mutex_unlock(&domains->reap_lock);
}

void domain_live_died(struct domain_live *live, enum machine_end end)
{
    struct domain *domain = live->domain;
    pthread_mutex_lock(&domain->lock);
    bool starting = live->starting;
    live->died = true;
    live->end = live->destroyed ? MACHINE_END_DESTROYED : live->crashed ? MACHINE_END_CRASHED : end;
    pthread_mutex_unlock(&domain->lock);
    if (!starting)
        live_ended(live);
}

/* -------------------------------------------------------------------- state */

/* True when the state became another one. */
static bool set_state(struct domain *domain, int state, int reason)
{
    pthread_mutex_lock(&domain->lock);
    bool change = domain->state != state;
    domain->state = (uint8_t)state;
    domain->reason = (uint8_t)reason;
    pthread_mutex_unlock(&domain->lock);
    return change;
}

void domain_set_state(struct domain *domain, int state, int reason)
{
    set_state(domain, state, reason);
}

void domain_set_paused(struct domains *domains, struct domain *domain, int reason, int detail)
{
    if (set_state(domain, VIR_DOMAIN_PAUSED, reason))
        domain_event_lifecycle(domains, domain, VIR_DOMAIN_EVENT_SUSPENDED, detail);
}

void domain_set_running(struct domains *domains, struct domain *domain, int reason, int detail)
{
    if (set_state(domain, VIR_DOMAIN_RUNNING, reason))
        domain_event_lifecycle(domains, domain, VIR_DOMAIN_EVENT_RESUMED, detail);
}

/* --------------------------------------------------------------- start, end */

int domain_live_save(struct domain_live *live, struct kv_error *err)
{
    pthread_mutex_lock(&live->domain->lock);
    char *text = model_domain_format(live->document, MODEL_FORMAT_SECURE);
    pthread_mutex_unlock(&live->domain->lock);
    if (!text)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    int ret = machine_set_document(live->machine, text, err);
    free(text);
    return ret;
}

/* The client that asked for autodestroy is gone. Runs on a worker; owns a reference. */
static void destroy_with_client(void *opaque)
{
    struct domain *domain = opaque;
    struct domain_live *live = domain_live_get(domain, NULL);
    if (live) {
        struct domains *domains = live->domains;
        bool wanted = live->owner;
        domain_live_put(live);
        struct kv_error err = {0};
        int ret = wanted ? domain_destroy_now(domain, false, &err) : 0;
        if (ret == DOMAIN_IN_TURN && !(ret = domain_job_begin(domain, "AUTODESTROY", &err))) {
            ret = domain_destroy(domains, domain, false, &err);
            domain_job_finish(domains, domain);
        }
        if (ret < 0)
            log_warning("domain '%s': autodestroy: %s", domain->name, err.message);
    }
    domain_unref(domain);
}

/* The machine runs, or has died already: the domain has it from now on. A state that the machine
 * told meanwhile is newer than the one given. */
static void live_publish(struct domain_live *live, struct machine *machine, int state, int reason)
{
    struct domain *domain = live->domain;
    pthread_mutex_lock(&domain->lock);
    live->machine = machine;
    domain->live = live;
    domain->visible = true;
    domain->updated = false;
    if (!domain->persistent)
        domain_summary_fill(&domain->summary, live->document);
    if (domain->state == VIR_DOMAIN_SHUTOFF) {
        domain->state = (uint8_t)state;
        domain->reason = (uint8_t)reason;
    }
    live->starting = false;
    bool died = live->died;
    domain_text_changed(live->domains, domain, DOMAIN_TEXT_LIVE);
    pthread_mutex_unlock(&domain->lock);
    if (died)
        live_ended(live);
}

/* Autodestroy: the machine ends when the client's connection does. */
static int live_bind(struct domain_live *live, struct rpc_client *client, struct kv_error *err)
{
    live->owner = rpc_client_ref(client);
    if (!rpc_client_on_close(client, destroy_with_client, domain_ref(live->domain)))
        return 0;
    domain_unref(live->domain);
    return api_error(err, VIR_ERR_OPERATION_FAILED,
                     "the connection has too many domains with autodestroy");
}

/* Undoes what a start that failed did to the domain. */
static void start_failed(struct domain_live *live)
{
    domains_set_id(live->domains, live->domain, -1);
    set_state(live->domain, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_FAILED);
    live_free(live);
}

/* The passphrase that an image's <encryption> names. */
static int find_passphrase(void *opaque, const struct model_secret_ref *ref, char **value,
                           struct kv_error *err)
{
    return secret_find_base64(ref->uuid, "volume", ref->usage, value, err);
}

static bool has_source(const struct model_image *image)
{
    char *path = NULL;
    bool there = true;
    if (image->type == MODEL_STORAGE_VOLUME)
        there = storage_find_volume(image->pool, image->volume, &path, NULL) >= 0;
    const char *file = path ? path : image->path;
    there = there && (!file || access(file, F_OK) == 0);
    free(path);
    return there;
}

/* Disks whose source is not there, and whose startup policy says that they need not be: CD-ROMs
 * become empty, disks go. */
static int drop_optional_disks(struct domains *domains, struct domain *domain,
                               struct model_domain *model, struct kv_error *err)
{
    int ret = 0;
    for (unsigned i = model->disk_count; !ret && i-- > 0;) {
        const struct model_disk *disk = &model->disks[i];
        if (!disk->startup_policy || strcmp(disk->startup_policy, "optional") != 0 ||
            has_source(&disk->image))
            continue;
        log_info("domain '%s': disk '%s' starts without its source: '%s' is not there", model->name,
                 disk->target, disk->image.path ? disk->image.path : "");
        domain_event_disk_dropped(domains, domain, disk->image.path ? disk->image.path : "",
                                  disk->device.alias ? disk->device.alias : disk->target,
                                  disk->cdrom ? VIR_DOMAIN_EVENT_DISK_CHANGE_MISSING_ON_START
                                              : VIR_DOMAIN_EVENT_DISK_DROP_MISSING_ON_START);
        ret = model_domain_drop_medium(model, disk->target, err);
    }
    return ret;
}

int domain_start(struct domains *domains, struct domain *domain, struct model_domain *model,
                 const struct domain_start *start, struct kv_error *err)
{
    struct domain_live *live = live_new(domains, domain, model);
    if (!live) {
        model_domain_free(model);
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    bool paused = start->flags & VIR_DOMAIN_START_PAUSED;
    int id = domains_set_id(domains, domain, 0);
    struct machine_start how = {
        .domain = model,
        .id = id,
        .paused = paused,
        .reset_nvram = start->flags & VIR_DOMAIN_START_RESET_NVRAM,
        .fds = start->fds,
        .fd_count = start->fd_count,
        .event = domain_machine_event,
        .secret = find_passphrase,
        .volume = storage_find_volume,
        .opaque = live,
    };
    pthread_mutex_lock(&domain->lock);
    domain->visible = true;
    domain->state = VIR_DOMAIN_SHUTOFF;
    pthread_mutex_unlock(&domain->lock);
    struct machine *machine = NULL;
    int ret = model_domain_set_id(model, id, err);
    if (!ret)
        ret = drop_optional_disks(domains, domain, model, err);
    if (!ret)
        ret = machine_start(&machine, domains->host, &how, err);
    if (ret) {
        start_failed(live);
        return ret;
    }
    /* Our own reference: an early end is told after the start. */
    atomic_fetch_add(&live->refs, 1);
    if (!paused)
        domain_set_running(domains, domain, VIR_DOMAIN_RUNNING_BOOTED,
                           VIR_DOMAIN_EVENT_RESUMED_UNPAUSED);
    live_publish(live, machine, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER);
    struct kv_error why = {0};
    if (domain_live_save(live, &why))
        log_warning("domain '%s': what runs could not be recorded: %s", domain->name, why.message);
    domain_event_lifecycle(domains, domain, VIR_DOMAIN_EVENT_STARTED, start->detail);
    if (paused)
        domain_event_lifecycle(domains, domain, VIR_DOMAIN_EVENT_SUSPENDED,
                               VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
    if (start->client && (start->flags & VIR_DOMAIN_START_AUTODESTROY))
        ret = live_bind(live, start->client, err);
    domain_live_put(live);
    if (ret)
        domain_destroy(domains, domain, false, NULL);
    return ret;
}

/* Who called has set live->destroyed, and gives its reference. */
static int live_destroy(struct domain_live *live, bool graceful, struct kv_error *err)
{
    struct domain *domain = domain_ref(live->domain);
    int ret = machine_kill(live->machine, graceful, err);
    if (ret) {
        pthread_mutex_lock(&domain->lock);
        live->destroyed = false;
        pthread_mutex_unlock(&domain->lock);
    }
    domain_live_put(live);
    if (!ret)
        domain_wait_ended(domain, live);
    domain_unref(domain);
    return ret;
}

int domain_destroy(struct domains *domains, struct domain *domain, bool graceful,
                   struct kv_error *err)
{
    struct domain_live *live = domain_live_get(domain, err);
    if (!live)
        return -EINVAL;
    pthread_mutex_lock(&domain->lock);
    live->destroyed = true;
    pthread_mutex_unlock(&domain->lock);
    return live_destroy(live, graceful, err);
}

int domain_destroy_now(struct domain *domain, bool graceful, struct kv_error *err)
{
    pthread_mutex_lock(&domain->lock);
    struct domain_live *live =
        domain->live && !domain->live->destroyed ? domain_live_ref(domain) : NULL;
    if (live)
        live->destroyed = true;
    pthread_mutex_unlock(&domain->lock);
    return live ? live_destroy(live, graceful, err) : DOMAIN_IN_TURN;
}

/* ----------------------------------------------------------------- reattach */

/* What the machine says that it does, for one that was not watched for a while. */
static void reattached_state(struct machine *machine, int *state, int *reason)
{
    static const uint8_t paused[] = {
        [MACHINE_PAUSE_NONE] = VIR_DOMAIN_PAUSED_UNKNOWN,
        [MACHINE_PAUSE_USER] = VIR_DOMAIN_PAUSED_USER,
        [MACHINE_PAUSE_IO_ERROR] = VIR_DOMAIN_PAUSED_IOERROR,
        [MACHINE_PAUSE_PANIC] = VIR_DOMAIN_PAUSED_CRASHED,
        [MACHINE_PAUSE_SHUTDOWN] = VIR_DOMAIN_PAUSED_SHUTTING_DOWN,
        [MACHINE_PAUSE_DUMP] = VIR_DOMAIN_PAUSED_DUMP,
        [MACHINE_PAUSE_FAILED] = VIR_DOMAIN_PAUSED_UNKNOWN,
        [MACHINE_PAUSE_STARTING] = VIR_DOMAIN_PAUSED_STARTING_UP,
        [MACHINE_PAUSE_WATCHDOG] = VIR_DOMAIN_PAUSED_WATCHDOG,
    };
    enum machine_pause why = MACHINE_PAUSE_NONE;
    switch (machine_get_state(machine, &why)) {
    case MACHINE_RUNNING:
        *state = VIR_DOMAIN_RUNNING;
        *reason = VIR_DOMAIN_RUNNING_UNKNOWN;
        break;
    case MACHINE_CRASHED:
        *state = VIR_DOMAIN_CRASHED;
        *reason = VIR_DOMAIN_CRASHED_PANICKED;
        break;
    case MACHINE_SHUTDOWN:
        *state = VIR_DOMAIN_SHUTDOWN;
        *reason = VIR_DOMAIN_SHUTDOWN_UNKNOWN;
        break;
    default:
        *state = VIR_DOMAIN_PAUSED;
        *reason = paused[why];
        break;
    }
}

static int reattach_one(struct domains *domains, const struct machine_record *record,
                        struct kv_error *err)
{
    struct model_domain *model = NULL;
    int ret = model_domain_parse(&model, domains->model_host, record->document,
                                 strlen(record->document), MODEL_PARSE_STORED, err);
    if (ret)
        return ret;
    cleanup_domain struct domain *domain = domains_reserve(domains, model->uuid, model->name, err);
    struct domain_live *live = domain ? live_new(domains, domain, model) : NULL;
    if (!live) {
        model_domain_free(model);
        return domain ? api_error(err, VIR_ERR_NO_MEMORY, NULL) : -EEXIST;
    }
    domains_set_id(domains, domain, record->id);
    struct machine *machine = NULL;
    ret = machine_reattach(&machine, domains->host, record->uuid, domain_machine_event, live, err);
    if (ret) {
        domains_set_id(domains, domain, -1);
        live_free(live);
        domains_remove_unneeded(domains, domain, 0);
        return ret;
    }
    int state, reason;
    reattached_state(machine, &state, &reason);
    live_publish(live, machine, state, reason);
    domain_look_for_departed(live);
    if (machine_agent_is_frozen(machine))
        agent_thaw_later(domains, domain);
    return 0;
}

/* A machine that was started and killed with its daemon before its document was recorded is
 * nobody's: no client was told that it runs. */
static void reattach_record(void *opaque, const struct machine_record *record)
{
    struct domains *domains = opaque;
    struct kv_error err = {0};
    if (record->alive && record->document[0]) {
        if (!reattach_one(domains, record, &err)) {
            log_info("domain '%s': found running", record->name);
            return;
        }
        log_error("domain '%s': runs, but cannot be taken over: %s", record->name, err.message);
        return;
    }
    if (record->alive) {
        if (machine_record_kill(domains->host, record->uuid, &err))
            log_warning("domain '%s': cannot be ended: %s", record->name, err.message);
        return;
    }
    log_info("domain '%s': ended meanwhile%s%s", record->name, record->reason[0] ? ": " : "",
             record->reason);
    cleanup_domain struct domain *domain = domains_by_name(domains, record->name);
    if (!domain)
        return;
    pthread_mutex_lock(&domain->lock);
    domain->reason = ends[record->end].reason;
    pthread_mutex_unlock(&domain->lock);
}

int domains_reattach(struct domains *domains, struct kv_error *err)
{
    return machine_host_scan(domains->host, reattach_record, domains, err);
}
