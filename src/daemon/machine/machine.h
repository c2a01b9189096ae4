/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running machines: everything between a domain's document and its kvasir-vmm
 * process. A machine is made by machine_start() or, after the daemon was
 * restarted, by machine_reattach(); its process lives on when the daemon dies.
 *
 * Threads: each function says who may call it.
 *   [worker]  blocks (up to the monitor's timeout): worker threads, several at once, never the
 *             loop thread below and never the daemon's event loop
 *   [any]     does not block
 * Callbacks run on the loop thread of the machine_host, one at a time, and must not block nor call
 * [worker] functions; they hand over what takes time. No lock of this module is held meanwhile.
 *
 * Ownership: a struct machine belongs to whoever started or reattached it. It stays valid, also
 * after MACHINE_EVENT_DIED, until machine_free(); operations on a dead one fail with
 * VIR_ERR_OPERATION_INVALID. Errors carry libvirt's codes (model/api_error.h).
 *
 * Files, all below machine_host_config.run_dir, are named by the machine's UUID: UUID.json (the
 * record: what runs and what has to be removed at its end), UUID.pid, UUID.qmp (control socket).
 * They are made before the monitor runs, so a daemon that is killed at any moment finds
 * everything again.
 */
#ifndef KV_DAEMON_MACHINE_MACHINE_H
#define KV_DAEMON_MACHINE_MACHINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct machine;
struct machine_host;
struct model_device;
struct model_disk;
struct model_domain;
struct model_secret_ref;

/* ------------------------------------------------------------------- events */

enum machine_event_kind {
    MACHINE_EVENT_STOP,           /* the vCPUs stand still; why: paused_reason */
    MACHINE_EVENT_RESUME,         /* they run */
    MACHINE_EVENT_RESET,          /* the machine was reset (VIR_DOMAIN_EVENT_ID_REBOOT) */
    MACHINE_EVENT_POWERDOWN,      /* the power button was pressed */
    MACHINE_EVENT_SHUTDOWN,       /* the guest is off, or the process is about to end */
    MACHINE_EVENT_PANIC,          /* the guest's kernel panicked; on_crash is being carried out */
    MACHINE_EVENT_IO_ERROR,       /* a disk request failed */
    MACHINE_EVENT_BALLOON,        /* the guest has another amount of memory */
    MACHINE_EVENT_RTC_CHANGE,     /* the guest set its clock */
    MACHINE_EVENT_CHANNEL,        /* the guest opened or closed a virtio channel */
    MACHINE_EVENT_WATCHDOG,       /* the guest is silent; action: what is done */
    MACHINE_EVENT_VIEWER,         /* of the screen: it came, looks, or went */
    MACHINE_EVENT_TRAY,           /* a CD-ROM's tray opened or closed */
    MACHINE_EVENT_UNPLUGGED,      /* a device left, while machine_unplug() did not wait for it */
    MACHINE_EVENT_UNPLUG_REFUSED, /* the guest keeps a device that it was asked for */
    MACHINE_EVENT_DIED,           /* the last one: the process is gone */
};

/* Why a stopped machine stands still. */
enum machine_pause {
    MACHINE_PAUSE_NONE,
    MACHINE_PAUSE_USER,     /* machine_stop(), or started paused */
    MACHINE_PAUSE_IO_ERROR, /* a disk's error policy */
    MACHINE_PAUSE_PANIC,    /* on_crash preserve */
    MACHINE_PAUSE_SHUTDOWN, /* on_poweroff or on_reboot preserve */
    MACHINE_PAUSE_DUMP,     /* while guest memory is written */
    MACHINE_PAUSE_FAILED,   /* a vCPU cannot go on (internal error) */
    MACHINE_PAUSE_STARTING, /* between reset and going on */
    MACHINE_PAUSE_WATCHDOG,
};

/* How a machine came to its end. */
enum machine_end {
    MACHINE_END_SHUTDOWN,  /* the guest switched off (VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN) */
    MACHINE_END_DESTROYED, /* machine_kill(), or a signal from outside */
    MACHINE_END_CRASHED,   /* the guest panicked and on_crash ends it */
    MACHINE_END_FAILED,    /* the monitor died by itself; message says why */
};

enum machine_viewer_phase { /* libvirt's VIR_DOMAIN_EVENT_GRAPHICS_* numbers */
                            MACHINE_VIEWER_CONNECTED,
                            MACHINE_VIEWER_INITIALIZED,
                            MACHINE_VIEWER_DISCONNECTED,
};

struct machine_address {
    const char *family; /* ipv4, ipv6, unix */
    const char *node, *service;
};

struct machine_event {
    enum machine_event_kind kind;
    int64_t realtime_us;              /* when it happened */
    bool by_guest;                    /* RESET, SHUTDOWN: the guest did it */
    enum machine_pause paused_reason; /* STOP */
    enum machine_end end;             /* SHUTDOWN (expected), DIED */
    const char *alias;  /* IO_ERROR, TRAY: disk; CHANNEL: channel; UNPLUG...: device; else NULL */
    const char *action; /* IO_ERROR: "report", "ignore", "stop" */
    const char *reason; /* IO_ERROR: "" or "enospc"; DIED: one line, the monitor's last words */
    bool open;          /* CHANNEL, TRAY */
    uint64_t bytes;     /* BALLOON: what the guest has now */
    int64_t seconds;    /* RTC_CHANGE: offset to UTC */
    /* VIEWER; auth: "none" or "vnc". */
    enum machine_viewer_phase phase;
    struct machine_address local, remote;
    const char *auth;
};

/* Strings are valid during the call only. */
typedef void machine_event_fn(void *opaque, struct machine *machine,
                              const struct machine_event *event);

/* --------------------------------------------------------------------- host */

struct machine_host_config {
    const char *run_dir;  /* records, pid files, sockets: /run/kvasir/machine; made when missing */
    const char *log_dir;  /* NAME.log of each machine; made when missing */
    const char *vmm_path; /* kvasir-vmm; NULL: beside this program, else by PATH */
    const char *user;     /* whom the monitors of root's daemon become; NULL: nobody */
    const char *cgroup;   /* where machines' groups go; NULL: /sys/fs/cgroup/kvasir if possible */
    bool session;         /* an ordinary user's daemon */
    const char *tpm_dir;  /* what machines' TPMs keep, a folder each; made when it is needed */
    const char *vnc_tls_dir; /* certificates of screens; NULL: viewers come without TLS */
    bool vnc_tls_verify;     /* viewers need one, too */
};

/* What all machines share: directories, the loop thread. The strings are copied. [worker] */
int machine_host_create(struct machine_host **out, const struct machine_host_config *config,
                        struct kv_error *err);

/* Removes what the TPM of this machine keeps, if there is anything. It does not run. [worker] */
void machine_host_forget_tpm(struct machine_host *host, const char *uuid);

/* Ends the loop thread. Machines must have been freed; their processes run on. [worker] */
void machine_host_free(struct machine_host *host);

/* What a daemon that was restarted finds. */
struct machine_record {
    const char *uuid; /* as text */
    const char *name;
    int id;
    bool alive;           /* false: the process ended meanwhile; all of it was just removed */
    enum machine_end end; /* of a dead one, as far as is known */
    const char *reason;   /* of a dead one: its last words, or "" */
    const char *document; /* as of machine_set_document(), or "" */
};

/*
 * Calls fn for every record below run_dir, dead ones after what they left (taps, sockets, helpers,
 * groups) was removed. fn may call machine_reattach() for living ones, or machine_record_kill().
 * To be called once, before machines are started. [worker]
 */
int machine_host_scan(struct machine_host *host,
                      void (*fn)(void *opaque, const struct machine_record *record), void *opaque,
                      struct kv_error *err);

/* Ends a recorded process that nobody wants and removes what belongs to it. [worker] */
int machine_record_kill(struct machine_host *host, const char *uuid, struct kv_error *err);

/* --------------------------------------------------------------- start, end */

struct machine_start {
    struct model_domain *domain; /* borrowed during the call; aliases assigned already. Its live
                                    parts (ttys, target names) are filled in */
    int id;                      /* libvirt's number of the running domain */
    bool paused;
    bool reset_nvram; /* the firmware's variables begin anew */
    const int *fds;   /* descriptors that came with the request (VIR_DOMAIN_START_...), or NULL */
    unsigned fd_count;
    machine_event_fn *event; /* may be called before machine_start() returns; after a start that
                                failed, what it was told does not count */
    /* The value of a secret that an encrypted image names, as base64 text that is wiped and
     * free()d. NULL: there are no secrets. */
    int (*secret)(void *opaque, const struct model_secret_ref *ref, char **value,
                  struct kv_error *err);
    /* The file that is a volume of a storage pool, for free(). NULL: there are no pools. */
    int (*volume)(const char *pool, const char *volume, char **path, struct kv_error *err);
    void *opaque; /* of event and secret */
};

/* Opens everything, runs the monitor, waits until it is ready and, unless paused, lets the guest
 * run. On failure nothing is left and err has the monitor's own reason. [worker] */
int machine_start(struct machine **out, struct machine_host *host,
                  const struct machine_start *start, struct kv_error *err);

/* Takes a recorded process over; machine_get_state() says what has become of it. What its domain
 * wants at a power-off or reboot that happened without us is carried out. -ESRCH when it is dead
 * (and was removed). [worker] */
int machine_reattach(struct machine **out, struct machine_host *host, const char *uuid,
                     machine_event_fn *event, void *opaque, struct kv_error *err);

/* Lets go of it. A living process runs on and can be reattached; of a dead one everything that was
 * made for it is removed. No event comes afterwards. NULL is fine. [worker] */
void machine_free(struct machine *machine);

/* Text that the record carries for the owner (the live document), handed back by
 * machine_host_scan(). On disk before it returns. [worker] */
int machine_set_document(struct machine *machine, const char *text, struct kv_error *err);

/* Ends the process and waits for its end; MACHINE_EVENT_DIED comes as well. graceful: SIGTERM only,
 * VIR_ERR_OPERATION_FAILED when it does not help within 15 s; else SIGKILL follows. [worker] */
int machine_kill(struct machine *machine, bool graceful, struct kv_error *err);

/* --------------------------------------------------------------- operations */

enum machine_state {
    MACHINE_RUNNING,
    MACHINE_PAUSED,
    MACHINE_SHUTDOWN, /* the guest is off, the process is about to end or kept (preserve) */
    MACHINE_CRASHED,  /* panicked, kept (preserve) */
    MACHINE_DEAD,
};

/* [any] */
enum machine_state machine_get_state(struct machine *machine, enum machine_pause *reason);
pid_t machine_get_pid(const struct machine *machine);
const char *machine_get_uuid(const struct machine *machine);
const char *machine_get_name(const struct machine *machine);
int machine_get_id(const struct machine *machine);
void *machine_get_opaque(const struct machine *machine);

/* All [worker]. Each returns 0 once the monitor carried it out. */
int machine_stop(struct machine *machine, struct kv_error *err);
int machine_cont(struct machine *machine, struct kv_error *err);
int machine_powerdown(struct machine *machine, struct kv_error *err); /* ACPI; the guest decides */
/* ACPI; when the guest is off it is reset instead of ended. */
int machine_reboot(struct machine *machine, struct kv_error *err);
int machine_reset(struct machine *machine, struct kv_error *err);
/* Resets it and lets it run, whatever state it is in (after a panic, for coredump-restart). */
int machine_restart(struct machine *machine, struct kv_error *err);
int machine_inject_nmi(struct machine *machine, struct kv_error *err);
int machine_set_link(struct machine *machine, const char *alias, bool up, struct kv_error *err);
int machine_resize_disk(struct machine *machine, const char *alias, uint64_t bytes,
                        struct kv_error *err);

/*
 * Another medium for a CD-ROM: what its image says, or none. It is opened first, so that a medium
 * that cannot be leaves the old one where it is. A tray that the guest has locked is asked for and
 * waited for a moment: VIR_ERR_OPERATION_FAILED; force takes the medium out all the same.
 */
struct machine_medium {
    const struct model_disk *disk; /* of the live document, as it is to be */
    bool force;
    int (*volume)(const char *pool, const char *volume, char **path, struct kv_error *err);
};
int machine_change_medium(struct machine *machine, const struct machine_medium *medium,
                          struct kv_error *err);

/*
 * A disk, an interface or random numbers for a machine that runs: the host's end is made, the
 * device is handed over, and what was chosen is written into the document. On failure nothing is
 * left.
 */
struct machine_plug {
    struct model_domain *domain; /* the live document as it is to be; borrowed during the call */
    struct model_device *device; /* of it, with an alias */
    int (*volume)(const char *pool, const char *volume, char **path, struct kv_error *err);
};
int machine_plug(struct machine *machine, const struct machine_plug *plug, struct kv_error *err);

/* Asks the guest to let a device go and waits 5 seconds for it. *gone: it did, and what was made
 * for the device is removed; else MACHINE_EVENT_UNPLUGGED follows, perhaps.
 * VIR_ERR_OPERATION_FAILED: the guest refused (MACHINE_EVENT_UNPLUG_REFUSED comes as well). */
int machine_unplug(struct machine *machine, const char *alias, bool *gone, struct kv_error *err);

/* The PCI devices that the machine has, by their aliases: calls fn for each. */
int machine_each_device(struct machine *machine, void (*fn)(void *opaque, const char *alias),
                        void *opaque, struct kv_error *err);

/* Those from first on that the document, as it is to be, has; with their pins and limits. */
int machine_plug_vcpus(struct machine *machine, const struct model_domain *domain, unsigned first,
                       struct kv_error *err);
/* VIR_ERR_OPERATION_TIMEOUT: the guest did not answer (MACHINE_EVENT_UNPLUGGED of "vcpuN" follows,
 * perhaps); VIR_ERR_OPERATION_FAILED: it keeps it. */
int machine_unplug_vcpu(struct machine *machine, unsigned index, struct kv_error *err);

/* After MACHINE_EVENT_UNPLUGGED: removes what was made for the device. */
void machine_forget_device(struct machine *machine, const char *alias);

/* Bytes of memory that the guest is to have, and seconds between its statistics (0: none). */
int machine_set_balloon(struct machine *machine, uint64_t bytes, struct kv_error *err);
int machine_set_balloon_period(struct machine *machine, unsigned seconds, struct kv_error *err);

/* The screen. *fd becomes a PNG file in memory, the caller's. */
int machine_screenshot(struct machine *machine, int *fd, struct kv_error *err);
/* Presses keys together: numbers of scan code set 1, 0x80 for the prefix e0. hold_ms 0: 100. */
int machine_send_keys(struct machine *machine, const unsigned *numbers, unsigned count,
                      unsigned hold_ms, struct kv_error *err);
/* A connected socket (which stays the caller's) becomes a viewer's; trusted: without password. */
int machine_add_viewer(struct machine *machine, int fd, bool trusted, struct kv_error *err);
/* What viewers must know; until: seconds since the epoch, while expires. */
int machine_set_password(struct machine *machine, const char *password, bool expires, int64_t until,
                         struct kv_error *err);

/* coredump-*: the machine stands still after the panic; its owner calls machine_dump() and then
 * machine_kill() or machine_restart().
 * What on_poweroff, on_reboot and on_crash do from now on: libvirt's VIR_DOMAIN_LIFECYCLE_* and
 * VIR_DOMAIN_LIFECYCLE_ACTION_* numbers. */
int machine_set_lifecycle_action(struct machine *machine, unsigned type, unsigned action,
                                 struct kv_error *err);

/* Writes guest memory as an ELF core file with the vCPUs' registers to fd (not closed). The machine
 * stands still meanwhile unless live. Progress comes through machine_dump_progress(). */
int machine_dump(struct machine *machine, int fd, bool live, struct kv_error *err);
void machine_dump_progress(struct machine *machine, uint64_t *done, uint64_t *total); /* [any] */

/* A command as it came from a client, and the monitor's answer, as text to free(). */
int machine_qmp_text(struct machine *machine, const char *command, char **answer,
                     struct kv_error *err);

/* Runs one command and returns what is behind "return" (new reference). */
int machine_qmp(struct machine *machine, const char *command, json_t *arguments, json_t **out,
                struct kv_error *err);

/* -------------------------------------------------------------------- agent */

#define MACHINE_AGENT_CHANNEL "org.qemu.guest_agent.0"

enum { /* libvirt's VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_* numbers; else seconds */
       MACHINE_AGENT_BLOCK = -2,
       MACHINE_AGENT_DEFAULT = -1,
       MACHINE_AGENT_NOWAIT = 0,
};

struct machine_agent_call {
    const char *name;      /* for messages */
    const json_t *request; /* {"execute": ..., "arguments": ...} */
    int seconds;           /* for the answer */
    bool ends_guest;       /* where it succeeds, the guest goes instead of answering */
};

/*
 * Asks the guest's agent (agent.h), one command after the other. *answer is a new reference, an
 * object with "return" or "error"; NULL with MACHINE_AGENT_NOWAIT. Fails with libvirt's errors:
 * VIR_ERR_ARGUMENT_UNSUPPORTED (no channel), VIR_ERR_AGENT_UNRESPONSIVE (not connected, silent).
 * [worker]
 */
int machine_agent_call(struct machine *machine, const struct machine_agent_call *call,
                       json_t **answer, struct kv_error *err);
bool machine_agent_is_open(struct machine *machine); /* [any] */

/* Whether the guest's file systems may be frozen: kept on disk for the next daemon. [worker] */
int machine_agent_set_frozen(struct machine *machine, bool frozen, struct kv_error *err);
bool machine_agent_is_frozen(struct machine *machine); /* [any] */

/* ------------------------------------------------------------------ queries */

/*
 * Questions that were sent already, so that many machines can be asked before the first answer is
 * waited for: machine_ask() sends what the queries below need, each of them then takes its answers,
 * and machine_asked_free() forgets the rest. NULL everywhere: each question is asked when its turn
 * comes. [worker]
 */
enum machine_question {
    MACHINE_ASK_VCPUS = 1,
    MACHINE_ASK_MEMORY = 2,
    MACHINE_ASK_DISKS = 4,
    MACHINE_ASK_NICS = 8,
};
struct machine_asked;
struct machine_asked *machine_ask(struct machine *machine, unsigned questions);
void machine_asked_free(struct machine_asked *asked);

/* All [worker]. */

struct machine_vcpu {
    unsigned index;
    pid_t tid;        /* on the host; 0: unknown */
    uint64_t time_ns; /* used on the host */
    uint64_t user_ns, system_ns, wait_ns;
    int host_cpu; /* where it ran last; -1: unknown */
    bool halted;
    /* KVM's counters, UINT64_MAX where the host's kernel has none. */
    uint64_t exits, halt_exits, io_exits, irq_exits, mmio_exits, signal_exits;
};

/* *vcpus is to be free()d. */
int machine_query_vcpus(struct machine *machine, struct machine_asked *asked,
                        struct machine_vcpu **vcpus, unsigned *count, struct kv_error *err);

struct machine_iothread {
    unsigned id; /* the domain's */
    pid_t tid;
};
int machine_query_iothreads(struct machine *machine, const struct model_domain *domain,
                            struct machine_iothread **iothreads, unsigned *count,
                            struct kv_error *err);

/* Processor time of all the machine's processes. Needs no answer of the monitor. [any] */
struct machine_cpu_time {
    uint64_t total_ns, user_ns, system_ns;
};
int machine_query_cpu_time(struct machine *machine, struct machine_cpu_time *out,
                           struct kv_error *err);

/* Memory; UINT64_MAX where the guest tells nothing. Bytes. */
struct machine_memory {
    uint64_t actual; /* what the balloon leaves */
    uint64_t rss;    /* on the host */
    uint64_t swap_in, swap_out, major_faults, minor_faults, unused, available, usable, disk_caches,
        hugetlb_pgalloc, hugetlb_pgfail;
    uint64_t last_update; /* seconds since the epoch */
};
int machine_query_memory(struct machine *machine, struct machine_asked *asked,
                         struct machine_memory *out, struct kv_error *err);

struct machine_disk {
    char alias[64];
    bool has_backing;
    uint64_t capacity, allocation, physical; /* bytes; of the topmost image */
    uint64_t rd_ops, rd_bytes, rd_ns, wr_ops, wr_bytes, wr_ns, flush_ops, flush_ns, discard_ops,
        discard_bytes, failed;
    bool io_error; /* the last request that failed was not repeated yet */
};
int machine_query_disks(struct machine *machine, struct machine_asked *asked,
                        struct machine_disk **disks, unsigned *count, struct kv_error *err);

/* As seen by the guest: rx is what it received. */
struct machine_nic {
    char alias[64];
    char target[32]; /* interface on the host, or "" */
    uint64_t rx_bytes, rx_packets, rx_errors, rx_drops, tx_bytes, tx_packets, tx_errors, tx_drops;
    bool link_up;
};
int machine_query_nics(struct machine *machine, struct machine_asked *asked,
                       struct machine_nic **nics, unsigned *count, struct kv_error *err);

/* ----------------------------------------------------------------- consoles */

enum {
    MACHINE_CONSOLE_FORCE = 1, /* who is connected is cut off */
    MACHINE_CONSOLE_SAFE = 2,  /* refuse rather than share a terminal with programs outside */
};

/*
 * Connects to a serial port, console or channel by its alias (NULL: the first console). *fd becomes
 * a non-blocking stream socket, the caller's: bytes of the guest come out, what is written goes to
 * it, closing it disconnects; its end of file says that the machine ended or that another one took
 * over by force. VIR_ERR_OPERATION_FAILED when somebody is connected already. [worker]
 */
int machine_open_console(struct machine *machine, const char *alias, unsigned flags, int *fd,
                         struct kv_error *err);

#endif
