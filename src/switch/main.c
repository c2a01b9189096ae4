/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvasir-switchd: reads the options, starts the forwarding threads, configures bridges and ports,
 * serves the control socket until it is told to end.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/parse.h"
#include "base/util.h"
#include "base/version.h"
#include "switch/control/commands.h"
#include "switch/jail/jail.h"
#include "switch/ovsdb/ovsdb.h"
#include "switch/ports/guard.h"
#include "switch/upgrade/upgrade.h"

enum {
    EXIT_OK = 0,
    EXIT_NOT_STARTED = 1,
    EXIT_USAGE = 2,
};

struct settings {
    const char *control, *config, *database, *ovsdb, *openflow, *log, *core, *user;
    bool save, take_over, no_jail, help, version;
};

static const struct setting_row {
    const char *name, *argument; /* NULL: a flag */
    size_t offset;
    const char *help;
} rows[] = {
    {"control", "SOCKET", offsetof(struct settings, control), "take JSON commands at SOCKET"},
    {"config", "FILE", offsetof(struct settings, config), "begin with FILE's bridges and ports"},
    {"save", NULL, offsetof(struct settings, save),
     "keep in --config's file what commands change; it need not be there"},
    {"ovsdb", "SOCKET", offsetof(struct settings, ovsdb),
     "serve Open vSwitch's tools at SOCKET (they look at /var/run/openvswitch/db.sock)"},
    {"database", "FILE", offsetof(struct settings, database),
     "keep in FILE what --ovsdb serves, and begin with it"},
    {"openflow", "DIRECTORY", offsetof(struct settings, openflow),
     "serve OpenFlow at BRIDGE.mgmt there (ovs-ofctl looks in /var/run/openvswitch)"},
    {"take-over", NULL, offsetof(struct settings, take_over),
     "take the place of the switch that has --control's socket, with its ports and guests"},
    {"core", "LIST", offsetof(struct settings, core),
     "forward frames on these processors of the host, a thread each: 2 or 2,3 or 4-7"},
    {"log", "LEVEL", offsetof(struct settings, log),
     "error, warning (unless said otherwise), info, debug or trace"},
    {"user", "NAME", offsetof(struct settings, user),
     "run as NAME, or UID[:GID], when started by root"},
    {"no-jail", NULL, offsetof(struct settings, no_jail), "give no privileges away"},
    {"help", NULL, offsetof(struct settings, help), "print this and end"},
    {"version", NULL, offsetof(struct settings, version), "print the version and end"},
};

static void print_help(void)
{
    puts("usage: kvasir-switchd --control SOCKET [OPTION...]\n"
         "The virtual switch: moves frames between guests (vhost-user) and the host (tap).\n");
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        char option[32];
        snprintf(option, sizeof(option), "--%s %s", rows[i].name,
                 rows[i].argument ? rows[i].argument : "");
        printf("  %-18s %s\n", option, rows[i].help);
    }
}

/* 0, or -EINVAL after getopt said what is wrong. */
static int read_settings(struct settings *settings, int argc, char **argv, struct kv_error *err)
{
    struct option options[ARRAY_SIZE(rows) + 1] = {0};
    int row;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        options[i] = (struct option){rows[i].name, rows[i].argument ? required_argument : 0, NULL,
                                     (int)i + 1};
    while ((row = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (row == '?')
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "--help lists what is possible");
        void *field = (char *)settings + rows[row - 1].offset;
        if (rows[row - 1].argument)
            *(const char **)field = optarg;
        else
            *(bool *)field = true;
    }
    if (optind < argc)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "'%s': only options are possible",
                            argv[optind]);
    if (!settings->help && !settings->version && !settings->control && !settings->config &&
        !settings->ovsdb)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "--control or --config is needed, or --ovsdb");
    if (settings->database && (!settings->ovsdb || settings->config))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "--database goes with --ovsdb, and instead of --config: it has the "
                            "bridges and ports");
    if (settings->save && !settings->config)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "--save goes with --config");
    if (settings->take_over && (!settings->control || (settings->config && !settings->save)))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "--take-over goes with --control, which says whose place it takes, and "
                            "without --config, unless to --save there: that one has the bridges "
                            "and ports");
    if (settings->user && settings->no_jail)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "--user and --no-jail contradict each other");
    if (settings->log && log_level_parse(settings->log, &log_level) < 0)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "--log '%s': error, warning, info, debug and trace are possible",
                            settings->log);
    return 0;
}

struct cores {
    unsigned count; /* 0: any */
    int list[VSWITCH_THREADS_MAX];
};

static int read_cores(const char *text, struct cores *cores, struct kv_error *err)
{
    uint64_t set[(FORWARD_CORE_MAX + 1) / 64] = {0};
    *cores = (struct cores){0};
    if (!text)
        return 0;
    bool good = parse_bitmap(text, set, ARRAY_SIZE(set)) == 0;
    for (int core = 0; good && core <= FORWARD_CORE_MAX; core++) {
        if (!(set[core / 64] >> core % 64 & 1))
            continue;
        good = cores->count < VSWITCH_THREADS_MAX;
        if (good)
            cores->list[cores->count++] = core;
    }
    if (!good || cores->count == 0)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "--core '%s': a list such as 2,4-7 of at most %d processors, 0 to %d, "
                            "is possible",
                            text, VSWITCH_THREADS_MAX, FORWARD_CORE_MAX);
    return 0;
}

static void on_signal(void *opaque, uint32_t events)
{
    struct vswitch *sw = opaque;
    loop_stop(&sw->loop);
}

/* SIGTERM and SIGINT end the loop. */
static int watch_signals(struct vswitch *sw, struct loop_source *source, struct kv_error *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    int rc = fd < 0 ? -errno : loop_add(&sw->loop, source, fd, EPOLLIN, on_signal, sw);
    return rc < 0 ? kv_error_errno(err, KV_ERR_CONTROL, -rc, "signals") : 0;
}

/* Whether there can be such threads, which begin only when the other process has let go. */
static int try_cores(const struct cores *cores, struct kv_error *err)
{
    int rc = 0;
    for (unsigned i = 0; i < cores->count && rc == 0; i++) {
        struct forward trial;
        rc = forward_init(&trial, cores->list[i], err);
        if (rc == 0)
            rc = forward_start(&trial, err);
        forward_destroy(&trial);
    }
    return rc;
}

static bool is_missing(const char *file)
{
    return access(file, F_OK) < 0 && errno == ENOENT;
}

/* Bridges and ports, from wherever they come; frames move only if they come from no other process.
 */
static int make_all(struct upgrade *upgrade, const struct settings *settings, struct kv_error *err)
{
    struct vswitch *sw = upgrade->sw;
    bool takes = settings->take_over;
    int rc = takes ? upgrade_receive(upgrade, err) : vswitch_start(sw, err);
    if (rc == 0 && settings->ovsdb)
        rc = ovsdb_start(upgrade->ovsdb, sw, settings->ovsdb, settings->database,
                         json_object_get(upgrade->state, "rows"), err);
    if (rc == 0 && takes)
        rc = upgrade_configure(upgrade, err);
    bool reads = settings->config && !takes && !(settings->save && is_missing(settings->config));
    if (rc == 0 && reads)
        rc = vswitch_configure(sw, settings->config, err);
    sw->config_file = settings->save ? settings->config : NULL;
    return rc;
}

/* The other process ends, and frames move again. */
static int replace(struct upgrade *upgrade, struct kv_error *err)
{
    int rc = upgrade_finish(upgrade, err);
    if (rc == 0)
        rc = vswitch_start(upgrade->sw, err);
    if (rc == 0)
        upgrade_end(upgrade);
    return rc;
}

static const struct qmp_command *const *command_tables(void)
{
    static const struct qmp_command *tables[3];
    tables[0] = switch_command_tables[0];
    tables[1] = upgrade_commands;
    return tables;
}

static int serve(struct upgrade *upgrade, const struct settings *settings, struct kv_error *err)
{
    struct vswitch *sw = upgrade->sw;
    struct loop_source signals = LOOP_SOURCE_INIT;
    struct qmp_server server;
    int fd = -1, rc = watch_signals(sw, &signals, err);
    sw->openflow_directory = settings->openflow;
    if (rc == 0)
        rc = make_all(upgrade, settings, err);
    if (rc < 0)
        return rc;
    if (settings->control) {
        fd = inherited_listen_unix(settings->control, err);
        if (fd < 0)
            return kv_error_prefix(err, "--control");
    }
    rc = qmp_server_init(&server, &sw->loop, (struct machine *)sw, command_tables(), switch_events,
                         fd, err);
    if (rc == 0 && settings->take_over)
        rc = replace(upgrade, err);
    if (rc < 0)
        return rc;
    log_info("kvasir-switchd " KVASIR_VERSION " is ready");
    loop_run(&sw->loop);
    /* Names of sockets, guests' memory: all of it is in use by somebody else. */
    if (upgrade->given)
        _exit(EXIT_OK);
    qmp_server_destroy(&server);
    if (settings->control)
        unlink(settings->control);
    loop_remove(&signals);
    return 0;
}

static int run(const struct settings *settings, const struct cores *cores, struct kv_error *err)
{
    struct vswitch sw;
    struct ovsdb ovsdb = {0};
    struct upgrade upgrade = {.sw = &sw,
                              .ovsdb = &ovsdb,
                              .control = settings->control,
                              .control_fd = -1,
                              .channel_fd = -1,
                              .peer_fd = -1};
    guard_install();
    int rc = vswitch_init(&sw, cores->list, cores->count, err);
    sw.upgrade = &upgrade;
    if (rc == 0 && settings->take_over)
        rc = try_cores(cores, err);
    if (rc == 0 && settings->take_over)
        rc = upgrade_begin(&upgrade, err);
    if (rc == 0 && !settings->no_jail)
        rc = switch_jail_enter(settings->user, err);
    if (rc == 0)
        rc = serve(&upgrade, settings, err);
    /* What was handed over is not this process's to put an end to. */
    if (rc < 0 && settings->take_over)
        return rc;
    ovsdb_stop(&ovsdb);
    vswitch_destroy(&sw);
    json_decref(upgrade.report);
    return rc;
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    struct kv_error err = {0};
    struct cores cores;
    signal(SIGPIPE, SIG_IGN);
    log_level = LOG_WARNING;
    int status = EXIT_OK;
    if (read_settings(&settings, argc, argv, &err) < 0 ||
        read_cores(settings.core, &cores, &err) < 0)
        status = EXIT_USAGE;
    else if (settings.help)
        print_help();
    else if (settings.version)
        puts("kvasir-switchd " KVASIR_VERSION);
    else if (run(&settings, &cores, &err) < 0)
        status = EXIT_NOT_STARTED;
    if (status != EXIT_OK)
        fprintf(stderr, "kvasir-switchd: %s\n", err.message);
    return status;
}
