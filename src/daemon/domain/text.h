/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The texts of documents that were asked for last, up to a bound: clients ask for the same ones
 * again and again, and then neither the database nor a worker is needed. A definition's text is
 * as it is stored; that of what runs, as it is shown without flags.
 *
 * A text is kept with the version its reader took before it read; a change makes older versions
 * worthless. domain_texts.lock is held for a copy's time and is below all others.
 */
#ifndef KV_DAEMON_DOMAIN_TEXT_H
#define KV_DAEMON_DOMAIN_TEXT_H

#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"

struct domain;
struct domains;
struct domain_text;
struct rpc_call;

enum domain_text_kind {
    DOMAIN_TEXT_STORED,
    DOMAIN_TEXT_LIVE,
    DOMAIN_TEXT_KINDS,
};

/* In struct domains. */
struct domain_texts {
    pthread_mutex_t lock;
    struct list recent; /* the one asked for last at the end */
    size_t bytes;
};

/* In struct domain, under the lock above. */
struct domain_text_slot {
    struct domain_text *text; /* NULL: not kept */
    unsigned version;
    bool closed; /* its domain is off the list */
};

void domain_texts_init(struct domain_texts *texts);
void domain_texts_free(struct domain_texts *texts);

/* Whether an answer without VIR_DOMAIN_XML_SECURE has to leave parts of the text out. */
bool domain_text_has_secrets(const char *text);

/* Makes it the reply of the call (a procedure that returns a string); with secrets only if these
 * may be shown. False: it is not kept. Never blocks. */
bool domain_text_reply(struct domains *domains, struct domain *domain, enum domain_text_kind kind,
                       bool secrets, struct rpc_call *call);

unsigned domain_text_version(struct domains *domains, struct domain *domain,
                             enum domain_text_kind kind);
void domain_text_keep(struct domains *domains, struct domain *domain, enum domain_text_kind kind,
                      unsigned version, const char *text);

/* After each change, before anybody is told of it. */
void domain_text_changed(struct domains *domains, struct domain *domain,
                         enum domain_text_kind kind);

/* The domain went off the list. */
void domain_texts_forget(struct domains *domains, struct domain *domain);

#endif
