/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the procedures on domains (call_*.c) share: finding the domain of a call, checking flags,
 * filling the wire's structs. procedures.c has the table.
 */
#ifndef KV_DAEMON_DOMAIN_CALL_H
#define KV_DAEMON_DOMAIN_CALL_H

#include "daemon/domain/domain.h"
#include "rpc/params.h"
#include "rpc/procedure.h"

/* All handlers have this shape. */
#define CALL(name) \
    static int name(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)

/* Lists of rows {procedure, handler, flags}, without an end: procedures.c joins them. */
struct call_rows {
    const struct rpc_handler *rows;
    size_t count;
};
extern const struct call_rows call_list_rows, call_define_rows, call_life_rows, call_info_rows,
    call_tune_rows, call_vcpus_rows, call_params_rows, call_cpu_rows, call_metadata_rows,
    call_stats_rows, call_bulk_rows, call_iotune_rows, call_pin_rows, call_device_rows,
    call_console_rows, call_native_rows, call_screen_rows, call_none_rows, call_agent_rows,
    call_freeze_rows, call_guest_rows;

extern struct rpc_handler domain_handlers[];            /* procedures.c */
extern const struct rpc_handler domain_qemu_handlers[]; /* call_qemu.c */

struct domains *call_domains(const struct rpc_call *call);

/* A reference to the domain that the client means; NULL with VIR_ERR_NO_DOMAIN. */
struct domain *call_domain(struct rpc_call *call, const wire_domain *dom, struct kv_error *err);

/* VIR_ERR_INVALID_ARG when there are flags beyond those supported. */
int call_check_flags(struct rpc_call *call, unsigned flags, unsigned supported,
                     struct kv_error *err);

/* What VIR_DOMAIN_AFFECT_* in flags means for the domain as it is now. */
struct call_impact {
    bool live, config;
};
int call_impact(struct domain *domain, unsigned flags, struct call_impact *impact,
                struct kv_error *err);

bool domain_is_active(struct domain *domain);

/* 0, or VIR_ERR_OPERATION_INVALID "domain is not running". */
int domain_check_active(struct domain *domain, struct kv_error *err);

/* call_domain() and domain_job_begin() in one; ends with call_end(). */
struct domain *call_begin(struct rpc_call *call, const wire_domain *dom, struct kv_error *err);
void call_end(struct rpc_call *call, struct domain *domain);

/* The document that queries look at: the live one when impact says so. A copy, to free; or the
 * parsed definition. */
struct model_domain *call_document(struct rpc_call *call, struct domain *domain, bool live,
                                   struct kv_error *err);

/* The document that the call's flags ask about: VIR_DOMAIN_AFFECT_*, and more that are supported
 * there. To free; NULL with err filled. */
struct model_domain *call_asked_document(struct rpc_call *call, const wire_domain *dom,
                                         unsigned flags, unsigned more, struct kv_error *err);

/* call_domain() with the domain's lock held, for calls that only look; ends with its scope. */
struct domain *call_domain_locked(struct rpc_call *call, const wire_domain *dom,
                                  struct kv_error *err);
static inline void cleanup_locked_fn(struct domain **domain)
{
    if (*domain)
        pthread_mutex_unlock(&(*domain)->lock);
    domain_unref(*domain);
}
#define cleanup_locked __attribute__((cleanup(cleanup_locked_fn), unused))

/* Of virConnectListAllDomains: whether it fits the flags; the flags there are. With its lock. */
bool domain_fits_list(const struct domain *domain, unsigned flags);
unsigned domain_list_flags(void);

/* Fills name (allocated), uuid, id. 0 or -ENOMEM. */
int wire_domain_fill(wire_domain *out, const struct domain *domain);

/* For replies: strdup() that fails as handlers do. */
int call_text(char **out, const char *text, struct kv_error *err);

const char *uuid_text(const uint8_t uuid[16], char text[40]);

/* params_give() for the calls that ask twice: with nparams 0 only the number is told. */
int params_reply(struct params *p, int nparams, unsigned *len, wire_param **list, int *number,
                 struct kv_error *err);

/* Figures of a guest's memory under libvirt's numbers and names; unit: what to divide bytes by. */
struct memory_figure {
    int tag; /* VIR_DOMAIN_MEMORY_STAT_* */
    const char *name;
    size_t offset; /* in struct machine_memory */
    unsigned unit;
};
extern const struct memory_figure memory_figures[];
extern const size_t memory_figure_count;

/* False when the guest does not tell it. */
bool memory_figure_value(const struct machine_memory *memory, const struct memory_figure *figure,
                         uint64_t *value);

#endif
