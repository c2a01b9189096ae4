/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One change at a time: procedures that change a domain, or ask its machine to
 * do something, hold its job. A machine that ended on its own counts as a change
 * until it was cleaned up.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/domain/call.h"
#include "daemon/domain/domain.h"

/* DOMAIN_SUSPEND becomes remoteDispatchDomainSuspend, which people search for. */
static void job_words(const char *name, char *out, size_t size)
{
    size_t n = 0;
    bool upper = true;
    for (; *name && n + 1 < size; name++) {
        if (*name == '_') {
            upper = true;
            continue;
        }
        bool letter = *name >= 'A' && *name <= 'Z';
        out[n++] = upper || !letter ? *name : (char)(*name + ('a' - 'A'));
        upper = false;
    }
    out[n] = '\0';
}

static void deadline(struct timespec *until)
{
    clock_gettime(CLOCK_MONOTONIC, until);
    until->tv_sec += DOMAIN_JOB_TIMEOUT_S;
}

int domain_job_begin(struct domain *domain, const char *name, struct kv_error *err)
{
    struct timespec until;
    deadline(&until);
    int ret = 0;
    pthread_mutex_lock(&domain->lock);
    while (!ret && (domain->job || domain->reaping)) {
        if (pthread_cond_timedwait(&domain->changed, &domain->lock, &until) == ETIMEDOUT &&
            (domain->job || domain->reaping)) {
            char words[64];
            job_words(domain->job ? domain->job : "REAP", words, sizeof(words));
            ret = api_error(err, VIR_ERR_OPERATION_TIMEOUT,
                            "cannot acquire state change lock (held by monitor=remoteDispatch%s)",
                            words);
        }
    }
    if (!ret)
        domain->job = name;
    pthread_mutex_unlock(&domain->lock);
    return ret;
}

void domain_job_end(struct domain *domain)
{
    pthread_mutex_lock(&domain->lock);
    domain->job = NULL;
    pthread_cond_broadcast(&domain->changed);
    pthread_mutex_unlock(&domain->lock);
}

void domain_wait_ended(struct domain *domain, const struct domain_live *live)
{
    struct timespec until;
    deadline(&until);
    pthread_mutex_lock(&domain->lock);
    while (domain->live == live || domain->reaping)
        if (pthread_cond_timedwait(&domain->changed, &domain->lock, &until) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&domain->lock);
}
