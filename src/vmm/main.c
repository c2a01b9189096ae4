/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvasir-vmm: one virtual machine, one process. Reads the options, builds the
 * machine with everything open, gives all privileges away, runs it.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/version.h"
#include "block/block.h"
#include "vmm/control/commands.h"
#include "vmm/control/control.h"
#include "vmm/control/metrics.h"
#include "vmm/jail/broker.h"
#include "vmm/jail/jail.h"
#include "vmm/machine/machine.h"
#include "vmm/options/settings.h"

/* 3 and more come from the machine (run_state.c); --help lists them. */
enum {
    EXIT_OK = 0,
    EXIT_NOT_STARTED = 1,
    EXIT_USAGE = 2,
};

static int complain(int status, const struct kv_error *err)
{
    fprintf(stderr, "kvasir-vmm: %s\n", err->message);
    return status;
}

static int print_help(const char *topic)
{
    if (settings_help(topic, stdout) == 0)
        return EXIT_OK;
    const char *nearest = settings_nearest(topic + strspn(topic, "-"));
    fprintf(stderr, "kvasir-vmm: --help: there is no option '%s'%s%s%s\n", topic,
            nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    return EXIT_USAGE;
}

static int print_qmp(void)
{
    json_t *document = qmp_describe();
    json_dumpf(document, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(document);
    return EXIT_OK;
}

static int open_log(const struct settings *settings, struct kv_error *err)
{
    log_level = (enum log_level)settings->log_level;
    if (!settings->log_file)
        return 0;
    int fd = settings_fd(settings->log_file);
    if (fd < 0)
        fd = open(settings->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0)
        return kv_error_errno(err, KV_ERR_CONFIG, errno, "--log-file: '%s'", settings->log_file);
    log_set_fd(fd);
    return 0;
}

/* The number is that of the process whom signals reach: with a jail, the one that waits outside.
 * The descriptor stays open for its lock, which says that the process lives. */
static int write_pidfile(const char *path, struct kv_error *err)
{
    char text[16];
    int n = snprintf(text, sizeof(text), "%d\n", getpid());
    cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    int rc = fd < 0 ? -errno : 0;
    if (rc == 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
        return kv_error_set(err, KV_ERR_CONFIG, EBUSY,
                            "--pidfile: '%s' belongs to a process that runs", path);
    if (rc == 0 && ftruncate(fd, 0) < 0)
        rc = -errno;
    if (rc == 0)
        rc = fd_write_all(fd, text, (size_t)n);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_CONFIG, -rc, "--pidfile: '%s'", path);
    take_fd(&fd);
    return 0;
}

static int open_sockets(struct machine *machine, const struct settings *settings,
                        struct metrics **metrics, struct kv_error *err)
{
    int rc = 0;
    if (settings->control) {
        int fd = settings_fd(settings->control);
        rc = control_create(machine, fd < 0 ? settings->control : NULL, fd, err);
    }
    if (rc == 0 && settings->metrics) {
        int fd = settings_fd(settings->metrics);
        rc = metrics_create(metrics, machine, fd < 0 ? settings->metrics : NULL, fd, err);
    }
    return rc;
}

/* Libraries that read a file at first use: inside the jail there is none. The JSON library seeds
 * its hash tables, the C library learns the time zone. */
static void prepare_libraries(void)
{
    unsigned long seed = 0;
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed) || seed == 0)
        seed = (unsigned long)clock_monotonic_ns() | 1;
    json_object_seed(seed);
    tzset();
    /* Threads allocate seldom: an arena of 128 MiB of addresses for each would be waste. */
    mallopt(M_ARENA_MAX, 1);
}

static int run_machine(struct settings *settings, struct kv_error *err)
{
    struct machine *machine = NULL;
    struct metrics *metrics = NULL;
    bool jail = settings->machine.jail;
    int status = EXIT_NOT_STARTED;

    int rc = machine_create(&machine, &settings->machine, err);
    if (rc == 0)
        rc = open_sockets(machine, settings, &metrics, err);
    if (rc == 0 && jail)
        rc = broker_start_peers(err);
    if (rc == 0 && jail) {
        block_seal();
        rc = jail_leave_host(err);
    }
    if (rc == 0)
        rc = machine_settle(machine, err);
    if (rc == 0 && jail)
        rc = jail_enter(err);
    if (rc == 0)
        rc = machine_start(machine, err);
    if (rc == 0)
        status = machine_run(machine);
    else
        complain(status, err);
    metrics_free(metrics);
    machine_free(machine);
    return status;
}

int main(int argc, char **argv)
{
    struct settings settings;
    struct kv_error err = {0};

    prepare_libraries();
    settings_init(&settings);
    if (settings_parse(&settings, argc, argv, &err) < 0)
        return complain(EXIT_USAGE, &err);
    if (settings.help)
        return print_help(settings.help_topic);
    if (settings.version) {
        puts("kvasir-vmm " KVASIR_VERSION);
        return EXIT_OK;
    }
    if (settings.dump_qmp)
        return print_qmp();
    if (settings_check(&settings, &err) < 0)
        return complain(EXIT_USAGE, &err);

    int rc = settings.pidfile ? write_pidfile(settings.pidfile, &err) : 0;
    bool jail = settings.machine.jail, pidfile = rc == 0 && settings.pidfile;
    if (rc == 0 && jail)
        rc = jail_fork(settings.user, &err);
    if (rc == 0 && pidfile)
        jail_remove_at_exit(settings.pidfile);
    if (rc == 0)
        rc = open_log(&settings, &err);
    int status = rc < 0 ? complain(EXIT_NOT_STARTED, &err) : run_machine(&settings, &err);
    if (pidfile && (!jail || rc < 0))
        unlink(settings.pidfile);
    settings_free(&settings);
    return status;
}
