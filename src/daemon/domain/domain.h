/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The domain driver: the list of domains, their definitions and their running
 * machines, and the procedures of the remote program that act on them.
 *
 * list.c       finding domains          job.c        one change at a time
 * config.c     definitions on disk      live.c       a running domain and its machine
 * events.c     telling the clients      driver.c     start and end of the driver
 * text.c       documents asked for often
 * call_*.c     procedures, by subject; procedures.c lists them
 *
 * Locks. domains.lock (the list) comes before domain.lock (one domain); both are
 * held for microseconds only, never while something blocks, so that procedures
 * on the loop's thread may take them. What blocks (the database, a machine) is
 * done by who has the domain's job. A definition costs a few hundred bytes of
 * memory: its document stays in the database (daemon/state).
 */
#ifndef KV_DAEMON_DOMAIN_DOMAIN_H
#define KV_DAEMON_DOMAIN_DOMAIN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "daemon/domain/text.h"
#include "daemon/driver.h"
#include "daemon/machine/machine.h"
#include "daemon/state/state.h"
#include "model/api_error.h"
#include "model/domain.h"

struct domain_live;

/* What is asked for often, of a domain's current document: answered without parsing it. */
struct domain_summary {
    uint64_t max_memory_kib, memory_kib;
    uint16_t vcpus, max_vcpus;
    uint16_t disk_count;
    char *disks; /* target NUL source NUL, for each disk */
};

/* What lists and statistics read of every domain is at the beginning, in two or three cache lines.
 */
struct domain {
    atomic_uint refs;
    uint8_t uuid[16]; /* never changes */

    pthread_mutex_t lock; /* of what follows, down to reaping */
    char *name;           /* changed with domains.lock as well: either lock is enough to read it */
    int id;               /* -1 while it does not run; changed as the name */
    bool visible;         /* false: being defined or started for the first time */
    bool persistent, autostart;
    bool updated;                  /* the running machine is not what its first document said */
    uint8_t state, reason;         /* VIR_DOMAIN_*, VIR_DOMAIN_<state>_* */
    struct domain_live *live;      /* NULL while it does not run */
    int agent_seconds;             /* for an answer of its guest's agent, or MACHINE_AGENT_* */
    struct domain_summary summary; /* of the definition; of a transient domain, of what runs */

    pthread_cond_t changed; /* job or reaping ended */
    const char *job;        /* the procedure's name ("DOMAIN_SUSPEND"), or NULL */
    unsigned reaping;       /* machines that ended and are not cleaned up yet */

    /* Under domains.lock. */
    struct domain *next_by_uuid, *next_by_name, *next_by_id;
    bool listed;

    struct domain_text_slot texts[DOMAIN_TEXT_KINDS]; /* under domains.texts.lock */
};

struct domain_index {
    struct domain **buckets;
    size_t size; /* power of two */
};

struct domains {
    struct daemon *daemon;
    struct state *state;
    struct machine_host *host;
    struct model_host *model_host;

    pthread_mutex_t lock;
    struct domain **all; /* count of them, in order of appearance; room for room */
    size_t count, room;
    struct domain_index by_uuid, by_name, by_id;
    int last_id;
    struct domain_renaming *renamings; /* under way */

    struct domain_texts texts;
    struct metrics_server *metrics; /* NULL: none */

    pthread_t reaper;
    bool reaper_runs, stopping; /* under reap_lock */
    pthread_mutex_t reap_lock;
    pthread_cond_t reap_wanted;
    struct domain_live *reap_first, **reap_last; /* ended machines, see live.c */
};

/* ------------------------------------------------------------------- list.c */

int domains_init_list(struct domains *domains, struct kv_error *err);
void domains_free_list(struct domains *domains);

/* Each returns a reference, or NULL; only visible domains are found. */
struct domain *domains_by_uuid(struct domains *domains, const uint8_t uuid[16]);
struct domain *domains_by_name(struct domains *domains, const char *name);
struct domain *domains_by_id(struct domains *domains, int id);

struct domain *domain_ref(struct domain *domain);
void domain_unref(struct domain *domain);

static inline void cleanup_domain_fn(struct domain **domain)
{
    domain_unref(*domain);
}
#define cleanup_domain __attribute__((cleanup(cleanup_domain_fn), unused))

/*
 * Finds the domain of that uuid, or makes an invisible one with uuid and name.
 * VIR_ERR_OPERATION_FAILED when name or uuid belongs to another domain.
 * NULL with err filled; else a reference.
 */
struct domain *domains_reserve(struct domains *domains, const uint8_t uuid[16], const char *name,
                               struct kv_error *err);

/* The same with its job, which domain_job_finish() ends. */
struct domain *domains_reserve_job(struct domains *domains, const uint8_t uuid[16],
                                   const char *name, const char *job, struct kv_error *err);

/* Takes it from the list when it is neither defined nor running, nobody has its job, and at most
 * that many machines of it are being reaped; else nothing. */
void domains_remove_unneeded(struct domains *domains, struct domain *domain, unsigned reaping);

/* A domain that gets another name: nobody gets its old one until the new one is stored. */
struct domain_renaming {
    struct domain *domain;
    char *old;
    struct domain_renaming *next;
};

/* With the domain's job. VIR_ERR_OPERATION_INVALID when the name is taken; else *renaming is the
 * list's until domains_rename_end(), which gives the old name back when the new one is not stored.
 */
int domains_rename_begin(struct domains *domains, struct domain_renaming *renaming,
                         struct domain *domain, const char *name, struct kv_error *err);
void domains_rename_end(struct domains *domains, struct domain_renaming *renaming, bool stored);

/* Gives it the next number, or id when that is above 0 (reattached); -1 takes it away. */
int domains_set_id(struct domains *domains, struct domain *domain, int id);

/* All visible ones, as references in an array of *count to free with domains_release(). NULL when
 * there is no memory. */
struct domain **domains_snapshot(struct domains *domains, size_t *count);
void domains_release(struct domain **array, size_t count);

/* Who goes through domains one after another begins to fetch the one a few places ahead of i. */
static inline void domain_fetch_ahead(struct domain *const *array, size_t count, size_t i)
{
    const size_t ahead = 8;
    if (i + ahead >= count)
        return;
    const char *next = (const char *)array[i + ahead];
    for (size_t at = 0; at < offsetof(struct domain, changed); at += 64)
        __builtin_prefetch(next + at);
}

/* -------------------------------------------------------------------- job.c */

/* How long a change waits for the one before it. */
#define DOMAIN_JOB_TIMEOUT_S 30

/* Waits until nothing else changes the domain. VIR_ERR_OPERATION_TIMEOUT; VIR_ERR_NO_DOMAIN when it
 * went away meanwhile. name lives forever. */
int domain_job_begin(struct domain *domain, const char *name, struct kv_error *err);
void domain_job_end(struct domain *domain);

/* Ends the job and drops a domain from the list that is neither defined nor running. */
void domain_job_finish(struct domains *domains, struct domain *domain);

/* With a job: waits until that machine, known to be dead, was cleaned up. live is only compared. */
void domain_wait_ended(struct domain *domain, const struct domain_live *live);

/* ----------------------------------------------------------------- config.c */

/* Of a parsed document. 0 or -ENOMEM. */
int domain_summary_fill(struct domain_summary *summary, const struct model_domain *model);
void domain_summary_free(struct domain_summary *summary);

/* A definition's text, parsed. NULL with err filled. */
struct model_domain *domain_config_parse(struct domains *domains, const char *text,
                                         struct kv_error *err);

/* The definition, parsed; for who has the job, and for readers. NULL with err filled. */
struct model_domain *domain_config_load(struct domains *domains, struct domain *domain,
                                        struct kv_error *err);

/* Makes model the definition, on disk; the domain becomes persistent and visible. With the job. */
int domain_config_store(struct domains *domains, struct domain *domain,
                        const struct model_domain *model, struct kv_error *err);

/* VIR_ERR_NO_DOMAIN: it went away since it was looked up. */
int domain_gone(struct domain *domain, struct kv_error *err);

/* The definition's text as it is in the database; to free(). */
int domain_config_text(struct domains *domains, struct domain *domain, char **text,
                       struct kv_error *err);

/* Reads all definitions. */
int domains_load(struct domains *domains, struct kv_error *err);

/* ----------------------------------------------------------------- events.c */

void domain_event_lifecycle(struct domains *domains, struct domain *domain, int event, int detail);

/* Gone under its former name, there under the new one. */
void domain_event_renamed(struct domains *domains, struct domain *domain,
                          const wire_domain *before);

/* Events whose only contents is the domain (reboot, control error). */
void domain_event_plain(struct domains *domains, struct domain *domain, int id);
void domain_event_io_error(struct domains *domains, struct domain *domain, const char *path,
                           const char *alias, int action, const char *reason);
void domain_event_watchdog(struct domains *domains, struct domain *domain, int action);
/* Of MACHINE_EVENT_VIEWER. */
void domain_event_graphics(struct domains *domains, struct domain *domain,
                           const struct machine_event *event);
/* VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, _REMOVED, _REMOVAL_FAILED. */
void domain_event_device(struct domains *domains, struct domain *domain, int id, const char *alias);
void domain_event_tray(struct domains *domains, struct domain *domain, const char *alias,
                       int reason);
void domain_event_disk_dropped(struct domains *domains, struct domain *domain, const char *path,
                               const char *alias, int reason);
void domain_event_balloon(struct domains *domains, struct domain *domain, uint64_t kib);
void domain_event_rtc(struct domains *domains, struct domain *domain, int64_t offset);
void domain_event_metadata(struct domains *domains, struct domain *domain, int type,
                           const char *uri);
void domain_event_agent(struct domains *domains, struct domain *domain, int state, int reason);

#endif
