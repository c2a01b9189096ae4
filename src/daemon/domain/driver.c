/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start and end of the domain driver: opens the state, reads the definitions,
 * finds what runs, starts what is to be started with the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/domain/agent.h"
#include "daemon/domain/call.h"
#include "daemon/domain/live.h"
#include "daemon/domain/metrics.h"
#include "daemon/domain/procedures.h"

static void autostart_one(struct domains *domains, struct domain *domain)
{
    struct kv_error err = {0};
    int ret = domain_job_begin(domain, "AUTOSTART", &err);
    if (!ret && !domain_is_active(domain)) {
        struct domain_start start = {.detail = VIR_DOMAIN_EVENT_STARTED_BOOTED};
        struct model_domain *model = domain_config_load(domains, domain, &err);
        ret = model ? domain_start(domains, domain, model, &start, &err) : -EINVAL;
    }
    if (ret)
        log_error("domain '%s': autostart: %s", domain->name, err.message);
    domain_job_finish(domains, domain);
}

static void autostart(void *opaque)
{
    struct domains *domains = opaque;
    size_t count;
    struct domain **all = domains_snapshot(domains, &count);
    for (size_t i = 0; all && i < count; i++)
        if (all[i]->autostart)
            autostart_one(domains, all[i]);
    domains_release(all, count);
}

/* Autostart is for the start of the host: a file in the run directory, which a reboot empties,
 * tells whether it was done. */
static bool first_start(const struct daemon *daemon)
{
    cleanup_free char *path = NULL;
    if (asprintf(&path, "%s/autostarted", daemon->run_dir) < 0)
        return false;
    cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd >= 0;
}

static void domain_driver_stop(void *opaque)
{
    struct domains *domains = opaque;
    metrics_server_stop(domains->metrics);
    /* Running machines run on: what the daemon knows of them is let go. */
    size_t count;
    struct domain **all = domains_snapshot(domains, &count);
    for (size_t i = 0; all && i < count; i++) {
        agent_thaw(all[i], AGENT_THAW_TRIES_AT_END);
        pthread_mutex_lock(&all[i]->lock);
        struct domain_live *live = take_ptr(all[i]->live);
        pthread_mutex_unlock(&all[i]->lock);
        domain_live_put(live);
    }
    domains_release(all, count);
    domains_stop_reaper(domains);
    machine_host_free(domains->host);
    domains_free_list(domains);
    free(domains);
}

static int start_host(struct domains *domains, struct kv_error *err)
{
    const struct daemon *daemon = domains->daemon;
    cleanup_free char *run_dir = NULL, *log_dir = NULL, *tpm_dir = NULL;
    if (asprintf(&run_dir, "%s/machine", daemon->run_dir) < 0 ||
        asprintf(&log_dir, "%s/log", daemon->state_dir) < 0 ||
        asprintf(&tpm_dir, "%s/tpm", daemon->state_dir) < 0)
        return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "start");
    struct machine_host_config config = {
        .run_dir = run_dir,
        .log_dir = log_dir,
        .tpm_dir = tpm_dir,
        .session = daemon->session,
        .vnc_tls_dir = daemon->vnc_tls_dir,
        .vnc_tls_verify = daemon->vnc_tls_verify,
    };
    return machine_host_create(&domains->host, &config, err);
}

static int domain_driver_start(struct daemon *daemon, void **opaque, struct kv_error *err)
{
    struct domains *domains = calloc(1, sizeof(*domains));
    if (!domains)
        return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "start");
    domains->daemon = daemon;
    domains->state = daemon->state;
    domains->model_host = daemon->host;
    int ret = domains_init_list(domains, err);
    if (!ret)
        ret = domains_start_reaper(domains, err);
    if (!ret)
        ret = start_host(domains, err);
    if (!ret)
        ret = domains_load(domains, err);
    if (!ret)
        ret = domains_reattach(domains, err);
    if (!ret && daemon->metrics)
        ret = metrics_server_start(&domains->metrics, daemon->metrics, domain_metrics_page, domains,
                                   err);
    if (!ret && first_start(daemon))
        ret = rpc_server_run_later(daemon->server, autostart, domains);
    if (ret) {
        domain_driver_stop(domains);
        return ret;
    }
    *opaque = domains;
    return 0;
}

const struct daemon_driver domain_driver = {
    .name = "domain",
    .handlers = domain_handlers,
    .qemu_handlers = domain_qemu_handlers,
    .start = domain_driver_start,
    .stop = domain_driver_stop,
};
