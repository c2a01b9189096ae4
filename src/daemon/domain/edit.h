/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A change of a domain's document, in the definition, in what runs, or both: what most procedures
 * that set something share.
 */
#ifndef KV_DAEMON_DOMAIN_EDIT_H
#define KV_DAEMON_DOMAIN_EDIT_H

#include "daemon/domain/call.h"
#include "daemon/domain/live.h"

/* The machine took the request, but it is not carried out yet: the live document stays as it is. */
#define EDIT_LATER 1

struct domain_plug; /* plug.h */

struct edit {
    /* Asks the machine for it before the live document changes: 0, an error, or EDIT_LATER; NULL:
     * the document only. */
    int (*machine)(struct machine *machine, void *opaque, struct kv_error *err);
    /* Changes a document. live tells which of the two. */
    int (*document)(struct model_domain *model, bool live, void *opaque, struct kv_error *err);
    /* VIR_ERR_OPERATION_UNSUPPORTED with this detail for what runs; NULL: it can be done. */
    const char *live_refused;
    void *opaque;
    const struct domain_plug *plug; /* whose event call_edit() tells the clients; NULL: none */
};

/* With the job. First all checks (the definition as a copy), then the machine, then both documents.
 */
int domain_edit(struct rpc_call *call, struct domain *domain, const struct call_impact *impact,
                const struct edit *edit, struct kv_error *err);

/* The same for what runs alone. With the job. */
int domain_edit_live(struct domain_live *live, const struct edit *edit, struct kv_error *err);

/* call_begin(), call_impact() of flags, domain_edit(), call_end(). */
int call_edit(struct rpc_call *call, const wire_domain *dom, unsigned flags,
              const struct edit *edit, struct kv_error *err);

#endif
