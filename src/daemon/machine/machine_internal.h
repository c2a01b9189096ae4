/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of src/daemon/machine share; nobody else includes it. See machine.h. */
#ifndef KV_DAEMON_MACHINE_INTERNAL_H
#define KV_DAEMON_MACHINE_INTERNAL_H

#include <libvirt/libvirt.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/loop.h"
#include "daemon/machine/agent.h"
#include "daemon/machine/machine.h"
#include "daemon/machine/monitor.h"
#include "daemon/machine/process.h"
#include "daemon/machine/record.h"

struct machine_host {
    char *run_dir, *log_dir, *vmm_path, *user;
    char *cgroup;      /* parent of the machines' groups; NULL: none are made */
    char *tpm_dir;     /* as in machine_host_config */
    char *vnc_tls_dir; /* as in machine_host_config */
    bool session, vnc_tls_verify;
    struct loop loop;
    pthread_t thread;
    pthread_mutex_t lock;
    struct list machines; /* under lock */
};

#define MACHINE_PROCESSES 2 /* outside the jail, and in it */
#define MACHINE_LIFECYCLE 3 /* VIR_DOMAIN_LIFECYCLE_* */

struct console_session;

/* What has become of a device that machine_unplug() waits for. */
enum machine_unplug {
    MACHINE_UNPLUG_ASKED,
    MACHINE_UNPLUG_GONE,
    MACHINE_UNPLUG_REFUSED,
};

struct machine {
    struct machine_host *host;
    struct list node; /* of host->machines */
    char *uuid, *name;
    int id;
    machine_event_fn *event;
    void *opaque;
    char *control_path, *log_path;
    unsigned cid;    /* of its vsock; 0: none */
    off_t log_start; /* where this run's log begins */
    struct process processes[MACHINE_PROCESSES];
    struct monitor *monitor; /* set before the machine is its owner's, freed at the end */

    /* Loop thread. */
    struct loop_source deaths[MACHINE_PROCESSES];
    struct list sessions; /* struct console_session */

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t changed;
    struct record record;
    enum machine_state state;
    enum machine_pause pause;
    enum machine_pause expected_pause; /* what the next STOP is for */
    bool dead;
    bool off;       /* the guest is off: SHUTDOWN came and no reset since */
    bool end_known; /* end says how, whatever happens now */
    enum machine_end end;
    bool restarting;                       /* a reset was asked for, the guest runs on after it */
    bool reboot_pending;                   /* when the guest is off it is reset */
    unsigned lifecycle[MACHINE_LIFECYCLE]; /* VIR_DOMAIN_LIFECYCLE_ACTION_* */
    enum machine_unplug unplug;
    const char *unplug_alias; /* of the device that is waited for; NULL: none */
    char reason[256];         /* last words */
    struct machine_agent agent;

    _Atomic uint64_t dump_done, dump_total;
};

/* start.c: a machine with nothing running, in the host's list; -EEXIST when there is one with this
 * UUID. */
int machine_new(struct machine **out, struct machine_host *host, const char *uuid, const char *name,
                int id, machine_event_fn *event, void *opaque, struct kv_error *err);
/* Takes it out of the list and frees it; its process is not touched. */
void machine_delete(struct machine *machine);

/* death.c: watches the processes (both set already). */
int machine_watch(struct machine *machine, struct kv_error *err);
void machine_unwatch(struct machine *machine);
/* The last lines of this run's log that say why, in one line; "" when there are none. */
void machine_last_words(const char *log_path, off_t from, char *out, size_t size);

/* events.c: the handler for monitor_connect(). */
struct monitor_handler machine_handler(struct machine *machine);
void machine_report(struct machine *machine, const struct machine_event *event);
void machine_begin_restart(struct machine *machine); /* loop thread */
/* Reports which channels the guest has open, before the next command is answered. */
void machine_ask_channels(struct machine *machine);
/* Carries out what its state asks for after a reattach. */
void machine_catch_up(struct machine *machine, const char *run_state);

/* plug.c: has the monitor ask the guest for a device, by a command, and waits 5 seconds for it. */
struct machine_request {
    const char *command, *alias;
    json_t *arguments; /* taken over */
};
int machine_ask_back(struct machine *machine, const struct machine_request *request,
                     enum machine_unplug *how, struct kv_error *err);

/* plug.c: a device left or stays. False: nobody waits for it. */
bool machine_note_unplug(struct machine *machine, const char *alias, enum machine_unplug how);

/* config.c: the monitor's words for the lifecycle actions, as arguments of set-action. */
json_t *machine_lifecycle_options(const unsigned lifecycle[MACHINE_LIFECYCLE]);

/* console.c: loop thread. */
void console_close_all(struct machine *machine);

/* VIR_ERR_OPERATION_INVALID when the process is gone. */
int machine_check_alive(struct machine *machine, struct kv_error *err);

#endif
