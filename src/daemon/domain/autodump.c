/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Core dumps that a domain asked for in advance: after a panic (<on_crash>coredump-...) and when
 * its watchdog finds it silent (action='dump'). They go to STATEDIR/dump. machine_events.c calls it
 * once the machine stands still.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/domain/live.h"
#include "daemon/driver.h"
#include "rpc/server.h"

/* "ID-NAME-2026-01-31-12:59:00", as libvirt calls them. */
static int open_core(const struct domains *domains, const struct domain_live *live, char *path,
                     size_t size)
{
    char stamp[32];
    time_t now = time(NULL);
    struct tm local;
    snprintf(path, size, "%s/dump", domains->daemon->state_dir);
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    localtime_r(&now, &local);
    strftime(stamp, sizeof(stamp), "%F-%T", &local);
    snprintf(path, size, "%s/dump/%d-%s-%s", domains->daemon->state_dir,
             machine_get_id(live->machine), machine_get_name(live->machine), stamp);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

static void write_core(struct domain_live *live)
{
    char path[4096];
    struct kv_error err = {0};
    cleanup_fd int fd = open_core(live->domains, live, path, sizeof(path));
    if (fd < 0) {
        log_warning("domain '%s': core dump '%s': %s", machine_get_name(live->machine), path,
                    strerror(-fd));
    } else if (machine_dump(live->machine, fd, false, &err) < 0) {
        log_warning("domain '%s': core dump '%s': %s", machine_get_name(live->machine), path,
                    err.message);
        unlink(path);
    }
}

/* What follows: the domain's own word again, which may have changed meanwhile. */
static void go_on(struct domain_live *live, bool panicked)
{
    struct domain *domain = live->domain;
    struct kv_error err = {0};
    pthread_mutex_lock(&domain->lock);
    bool restart = live->document->on_crash == MODEL_ACTION_COREDUMP_RESTART;
    live->crashed = panicked && !restart;
    pthread_mutex_unlock(&domain->lock);
    int ret = !panicked ? machine_cont(live->machine, &err)
              : restart ? machine_restart(live->machine, &err)
                        : machine_kill(live->machine, false, &err);
    if (ret)
        log_warning("domain '%s' after its core dump: %s", machine_get_name(live->machine),
                    err.message);
}

static void dump_now(void *opaque)
{
    struct domain_live *live = opaque;
    enum machine_pause why = MACHINE_PAUSE_NONE;
    struct kv_error err = {0};
    if (domain_job_begin(live->domain, "dump", &err) < 0) {
        log_warning("domain '%s': no core dump: %s", live->domain->name, err.message);
    } else {
        if (live->machine) /* its start may have failed meanwhile */
            machine_get_state(live->machine, &why);
        /* Somebody may have ended or resumed it before. */
        if (why == MACHINE_PAUSE_PANIC || why == MACHINE_PAUSE_WATCHDOG) {
            write_core(live);
            go_on(live, why == MACHINE_PAUSE_PANIC);
        }
        domain_job_end(live->domain);
    }
    domain_live_put(live);
}

void domain_auto_dump(struct domain_live *live, enum machine_pause why)
{
    pthread_mutex_lock(&live->domain->lock);
    const struct model_domain *document = live->document;
    bool wanted = why == MACHINE_PAUSE_PANIC
                      ? document->on_crash == MODEL_ACTION_COREDUMP_DESTROY ||
                            document->on_crash == MODEL_ACTION_COREDUMP_RESTART
                      : why == MACHINE_PAUSE_WATCHDOG && document->watchdog &&
                            strcmp(document->watchdog->action, "dump") == 0;
    pthread_mutex_unlock(&live->domain->lock);
    if (!wanted)
        return;
    atomic_fetch_add(&live->refs, 1);
    if (rpc_server_run_later(live->domains->daemon->server, dump_now, live) < 0) {
        log_warning("domain '%s': no core dump: out of memory", live->domain->name);
        atomic_fetch_sub(&live->refs, 1); /* not the last: the machine has one */
    }
}
