/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvasird: reads the settings, opens the sockets, starts the drivers, serves until it is told to
 * end. Machines live on when it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "base/version.h"
#include "daemon/driver.h"
#include "daemon/server/api_table.h"
#include "daemon/server/notify.h"
#include "daemon/server/settings.h"
#include "daemon/server/sockets.h"
#include "daemon/state/state.h"
#include "model/host.h"

#define DRIVERS_MOST 32
#define OPEN_FILES 65536 /* clients, and a few descriptors a machine */

enum {
    EXIT_OK = 0,
    EXIT_NOT_STARTED = 1,
    EXIT_USAGE = 2,
};

/* A directory and what is missing above it. */
static int make_dir(const char *path, mode_t mode, struct kv_error *err)
{
    char part[4096];
    if (strlen(path) >= sizeof(part))
        return kv_error_set(err, KV_ERR_CONFIG, ENAMETOOLONG, "directory '%s'", path);
    memcpy(part, path, strlen(path) + 1);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(part, 0755);
        *slash = '/';
    }
    if (mkdir(path, mode) < 0 && errno != EEXIST)
        return kv_error_errno(err, KV_ERR_CONFIG, errno, "directory '%s'", path);
    return 0;
}

/* What was given, else BASE/kvasir with the first base that is set. */
static char *choose_dir(const char *given, bool session, const char *system, const char *variable,
                        const char *below_home)
{
    const char *base = getenv(variable), *home = getenv("HOME");
    char *dir;
    int n;
    if (given)
        return strdup(given);
    if (!session)
        return strdup(system);
    if (base && *base)
        n = asprintf(&dir, "%s/kvasir", base);
    else
        n = asprintf(&dir, "%s/%s/kvasir", home ? home : "", below_home);
    return n < 0 ? NULL : dir;
}

static int make_dirs(const struct settings *settings, char **run_dir, char **state_dir,
                     struct kv_error *err)
{
    bool session = settings->session;
    *run_dir =
        choose_dir(settings->socket_dir, session, "/run/kvasir", "XDG_RUNTIME_DIR", ".cache");
    *state_dir = choose_dir(settings->state_dir, session, "/var/lib/kvasir", "XDG_DATA_HOME",
                            ".local/share");
    if (!*run_dir || !*state_dir)
        return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "directories");
    int r = make_dir(*run_dir, session ? 0700 : 0755, err);
    return r < 0 ? r : make_dir(*state_dir, 0700, err);
}

static int set_log(const struct settings *settings, struct kv_error *err)
{
    static const enum log_level by_number[] = {LOG_INFO, LOG_DEBUG, LOG_INFO, LOG_WARNING,
                                               LOG_ERROR};
    log_level = by_number[settings->log_level];
    if (settings->log && log_level_parse(settings->log, &log_level) < 0)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "--log '%s': error, warning, info, debug and trace are possible",
                            settings->log);
    return 0;
}

static void fill_config(struct rpc_server_config *config, const struct settings *settings)
{
    *config = rpc_server_defaults;
    config->services[RPC_SERVICE_MAIN] = (struct rpc_service_config){
        .clients = {.clients = settings->max_clients,
                    .unproved = settings->max_anonymous_clients,
                    .calls = MAX(settings->max_client_requests, 1)},
        .workers_min = settings->min_workers,
        .workers_max = settings->max_workers,
        .workers_priority = settings->prio_workers,
    };
    config->services[RPC_SERVICE_ADMIN].clients.clients = settings->admin_max_clients;
    config->services[RPC_SERVICE_ADMIN].clients.calls = MAX(settings->admin_max_client_requests, 1);
    config->services[RPC_SERVICE_ADMIN].workers_min = settings->admin_min_workers;
    config->services[RPC_SERVICE_ADMIN].workers_max = settings->admin_max_workers;
    config->keepalive_interval = settings->keepalive_interval;
    config->keepalive_count = settings->keepalive_count;
    config->idle_timeout = settings->timeout;
}

/* Starts them in order. *started: how many have to be stopped. */
static int start_drivers(struct daemon *daemon, void **opaques, unsigned *started,
                         struct kv_error *err)
{
    for (unsigned i = 0; daemon_drivers[i] && i < DRIVERS_MOST; i++) {
        const struct daemon_driver *driver = daemon_drivers[i];
        opaques[i] = NULL;
        int r = driver->start ? driver->start(daemon, &opaques[i], err) : 0;
        if (r == 0) {
            *started = i + 1;
            r = rpc_server_register(daemon->server, driver->handlers, opaques[i], err);
        }
        if (r == 0 && driver->qemu_handlers) {
            r = rpc_server_register_qemu(daemon->server, driver->qemu_handlers, opaques[i], err);
        }
        if (r < 0) {
            kv_error_prefix(err, "%s", driver->name);
            return r;
        }
    }
    return 0;
}

static void on_ready(void *opaque)
{
    notify_state("READY=1");
    log_info("kvasird " KVASIR_VERSION " is ready");
}

static int serve(const struct settings *settings, struct daemon *daemon, struct kv_error *err)
{
    struct rpc_server_config config;
    void *opaques[DRIVERS_MOST];
    unsigned started = 0;
    fill_config(&config, settings);
    int r = rpc_server_new(&daemon->server, &config, err);
    if (r < 0)
        return r;
    r = sockets_open(daemon->server, settings, daemon->run_dir, err);
    if (r == 0)
        r = start_drivers(daemon, opaques, &started, err);
    if (r == 0) {
        r = rpc_server_run(daemon->server, on_ready, NULL, err);
        notify_state("STOPPING=1");
    }
    while (started--) {
        if (daemon_drivers[started]->stop)
            daemon_drivers[started]->stop(opaques[started]);
    }
    rpc_server_free(daemon->server);
    return r;
}

static int run(const struct settings *settings, struct kv_error *err)
{
    cleanup_free char *run_dir = NULL, *state_dir = NULL, *nvram_dir = NULL;
    struct rlimit files;
    int r = set_log(settings, err);
    if (r == 0)
        r = make_dirs(settings, &run_dir, &state_dir, err);
    if (r < 0)
        return r;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < OPEN_FILES) {
        files.rlim_cur = MIN(files.rlim_max, (rlim_t)OPEN_FILES);
        setrlimit(RLIMIT_NOFILE, &files);
    }
    struct daemon daemon = {
        .state_dir = state_dir,
        .run_dir = run_dir,
        .uri = settings->session ? "qemu:///session" : "qemu:///system",
        .session = settings->session,
        .vnc_tls_dir = settings->vnc_tls ? settings->vnc_tls_x509_cert_dir : NULL,
        .vnc_tls_verify = settings->vnc_tls_x509_verify,
        .metrics = settings->metrics_listen,
    };
    if (asprintf(&nvram_dir, "%s/nvram", state_dir) < 0)
        return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "start");
    struct model_host_config host = {.nvram_dir = nvram_dir, .session = settings->session};
    r = state_open(&daemon.state, state_dir, err);
    if (r == 0)
        r = model_host_create(&daemon.host, &host, err);
    if (r == 0)
        r = serve(settings, &daemon, err);
    model_host_free(daemon.host);
    state_close(daemon.state);
    return r;
}

int main(int argc, char **argv)
{
    struct settings settings;
    struct kv_error err = {0};
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_ARENA_MAX, 2); /* workers share: memory is worth more here than their speed */
    int r = settings_read(&settings, argc, argv, &err), status = EXIT_OK;
    if (r < 0) {
        status = EXIT_USAGE;
    } else if (settings.help) {
        settings_help(stdout);
    } else if (settings.version) {
        puts("kvasird " KVASIR_VERSION);
    } else if (settings.dump_api) {
        api_table_print(daemon_drivers, stdout);
    } else if (run(&settings, &err) < 0) {
        status = EXIT_NOT_STARTED;
    }
    if (status != EXIT_OK)
        fprintf(stderr, "kvasird: %s\n", err.message);
    settings_free(&settings);
    return status;
}
