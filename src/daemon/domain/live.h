/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running domains: live.c starts, ends and takes them over, machine_events.c carries what a machine
 * tells to the domain's state and to the clients.
 */
#ifndef KV_DAEMON_DOMAIN_LIVE_H
#define KV_DAEMON_DOMAIN_LIVE_H

#include "daemon/domain/domain.h"

struct domain_live {
    atomic_uint refs;
    struct domains *domains;
    struct domain *domain;         /* a reference */
    struct machine *machine;       /* NULL until the start succeeded */
    struct model_domain *document; /* under domain->lock */
    struct rpc_client *owner;      /* autodestroy: a reference, or NULL */
    struct rpc_client *freezer;    /* who froze its file systems: likewise; under domain->lock */
    bool starting;                 /* under domain->lock, as all below */
    bool died;                     /* MACHINE_EVENT_DIED came */
    bool shutting_down;            /* a shutdown event was told */
    bool destroyed;                /* by domain_destroy() */
    bool crashed;                  /* ended after a panic's core dump */
    enum machine_end end;
    struct domain_live *reap_next;
};

/* A reference to what runs; NULL with VIR_ERR_OPERATION_INVALID "domain is not running". */
struct domain_live *domain_live_get(struct domain *domain, struct kv_error *err);
struct domain_live *domain_live_ref(struct domain *domain); /* with its lock; NULL, too */
void domain_live_put(struct domain_live *live);             /* may block: workers only */

/* Of machine_events.c and for it. */
machine_event_fn domain_machine_event;
/* The machine stands still for that reason: writes a core file if the domain asked for one, and
 * goes on as it asked. Any thread. */
void domain_auto_dump(struct domain_live *live, enum machine_pause why);
/* plug.c: the guest gave a device back while nobody waited for it. Any thread. */
void domain_device_left(struct domain_live *live, const char *alias);
/* After a reattach: what left while no daemon was there. Worker. */
void domain_look_for_departed(struct domain_live *live);
void domain_live_died(struct domain_live *live, enum machine_end end);
void domain_set_state(struct domain *domain, int state, int reason);

static inline void cleanup_live_fn(struct domain_live **live)
{
    domain_live_put(*live);
}
#define cleanup_live __attribute__((cleanup(cleanup_live_fn), unused))

struct domain_start {
    unsigned flags; /* VIR_DOMAIN_START_* */
    int detail;     /* VIR_DOMAIN_EVENT_STARTED_* */
    const int *fds;
    unsigned fd_count;
    struct rpc_client *client; /* for autodestroy */
};

/* Runs model (consumed, also on failure). With the job, while it does not run. */
int domain_start(struct domains *domains, struct domain *domain, struct model_domain *model,
                 const struct domain_start *start, struct kv_error *err);

/* Ends the machine and waits until all of it is gone. With the job. */
int domain_destroy(struct domains *domains, struct domain *domain, bool graceful,
                   struct kv_error *err);

/* The same without the job: whoever has it finds the machine dead. DOMAIN_IN_TURN: it does not run,
 * is being started, or somebody ends it already; whoever still wants its end needs the job. */
#define DOMAIN_IN_TURN 1
int domain_destroy_now(struct domain *domain, bool graceful, struct kv_error *err);

/* Sets the state and tells it, unless it is that already. */
void domain_set_paused(struct domains *domains, struct domain *domain, int reason, int detail);
void domain_set_running(struct domains *domains, struct domain *domain, int reason, int detail);

/* Writes the live document to the machine's record. With the job. */
int domain_live_save(struct domain_live *live, struct kv_error *err);

/* Takes over the machines that were started by an earlier daemon. */
int domains_reattach(struct domains *domains, struct kv_error *err);

int domains_start_reaper(struct domains *domains, struct kv_error *err);
void domains_stop_reaper(struct domains *domains);

#endif
