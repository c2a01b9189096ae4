/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libkvasir: a client of Kvasir's daemon, and of any other daemon that speaks libvirt's wire
 * protocol. Link with `pkg-config --libs kvasir`.
 *
 * Errors. A function that can fail returns 0 (or a count) or a negative errno nearest in meaning,
 * and fills *err, which may be NULL. A server's error arrives whole: number, domain, message.
 *
 * Threads. The library makes none, has no locks and no state outside of its objects. A connection
 * and everything that came from it is used by one thread at a time; different connections do not
 * know of each other.
 *
 * Memory. Objects are freed with their *_free(), which take NULL, in any order: a connection
 * stays in memory while objects of it do, though calls on them fail once it is closed. Text that
 * is given out as `char **` is freed with free(); `const char *` belongs to its object.
 *
 * Flags and numbers of states are libvirt's (VIR_DOMAIN_..., libvirt's reference); the usual ones
 * have names here as well.
 */
#ifndef KVASIR_KVASIR_H
#define KVASIR_KVASIR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that runs: 1000000 * major + 1000 * minor + micro. */
unsigned long kvasir_version(void);

/* ------------------------------------------------------------------ errors */

/* Numbers of libvirt's virErrorNumber; a server may send others of them. */
enum kvasir_error_code {
    KVASIR_ERR_NONE = 0,
    KVASIR_ERR_INTERNAL_ERROR = 1,
    KVASIR_ERR_NO_MEMORY = 2,
    KVASIR_ERR_NO_SUPPORT = 3,
    KVASIR_ERR_UNKNOWN_HOST = 4,
    KVASIR_ERR_NO_CONNECT = 5,
    KVASIR_ERR_INVALID_CONN = 6,
    KVASIR_ERR_INVALID_ARG = 8,
    KVASIR_ERR_OPERATION_FAILED = 9,
    KVASIR_ERR_XML_ERROR = 27,
    KVASIR_ERR_OPERATION_DENIED = 29,
    KVASIR_ERR_SYSTEM_ERROR = 38,
    KVASIR_ERR_RPC = 39,
    KVASIR_ERR_NO_DOMAIN = 42,
    KVASIR_ERR_NO_NETWORK = 43,
    KVASIR_ERR_AUTH_FAILED = 45,
    KVASIR_ERR_NO_STORAGE_POOL = 49,
    KVASIR_ERR_NO_STORAGE_VOL = 50,
    KVASIR_ERR_NO_NODE_DEVICE = 53,
    KVASIR_ERR_OPERATION_INVALID = 55,
    KVASIR_ERR_NO_SECRET = 66,
    KVASIR_ERR_CONFIG_UNSUPPORTED = 67,
    KVASIR_ERR_OPERATION_TIMEOUT = 68,
    KVASIR_ERR_OPERATION_ABORTED = 78,
    KVASIR_ERR_AUTH_CANCELLED = 79,
    KVASIR_ERR_NO_DOMAIN_METADATA = 80,
    KVASIR_ERR_AUTH_UNAVAILABLE = 94,
    KVASIR_ERR_NO_SERVER = 95,
};

struct kvasir_error {
    int code;   /* enum kvasir_error_code; 0: nothing failed */
    int domain; /* libvirt's virErrorDomain: the part that failed */
    int level;  /* 1: warning, 2: error */
    int number; /* positive errno where the system failed on this side, else 0 */
    int int1, int2;
    char message[2024];
};

/* -------------------------------------------------------------- connection */

struct kvasir_conn;

enum kvasir_open_flags {
    KVASIR_OPEN_READ_ONLY = 1 << 0,
    KVASIR_OPEN_NO_START = 1 << 1, /* do not start a session's daemon that does not run */
};

enum kvasir_credential_kind {
    KVASIR_CREDENTIAL_USERNAME = 1, /* whose rights are asked for */
    KVASIR_CREDENTIAL_AUTHNAME = 2, /* who proves it */
    KVASIR_CREDENTIAL_LANGUAGE = 3,
    KVASIR_CREDENTIAL_CNONCE = 4,
    KVASIR_CREDENTIAL_PASSPHRASE = 5, /* not to be seen when it is typed */
    KVASIR_CREDENTIAL_ECHO_PROMPT = 6,
    KVASIR_CREDENTIAL_NOECHO_PROMPT = 7,
    KVASIR_CREDENTIAL_REALM = 8,
};

/* A question to the user. */
struct kvasir_credential {
    int kind; /* enum kvasir_credential_kind */
    const char *prompt;
    const char *challenge; /* NULL: none */
    const char *preset;    /* what to take when the user gives nothing; NULL: nothing */
    char *answer;          /* to be filled with malloc()ed text; the library frees it */
};

/* Answers n questions; 0, or negative to give up. */
typedef int kvasir_ask_fn(void *opaque, struct kvasir_credential *questions, size_t n);

struct kvasir_auth {
    kvasir_ask_fn *ask;
    void *opaque;
};

/*
 * Connects and proves who the user is. uri, as libvirt's (docs/libkvasir.md has all of it):
 *   qemu:///system, qemu:///session     a libvirt daemon or kvasird on this host
 *   kvasir:///system, kvasir:///session kvasird on this host
 *   qemu+unix:///system?socket=PATH     one certain socket
 *   qemu+tls://HOST/system              TLS (?pkipath=, ?no_verify=1, ?tls_priority=)
 *   qemu+tcp://HOST:PORT/system         TCP, with SASL when the server wants it
 *   qemu+ssh://USER@HOST/system         through ssh (?command=, ?keyfile=, ?netcat=, ?proxy=, ...)
 *   qemu+ext:///system?command=PROGRAM  through a program's standard input and output
 * NULL: $KVASIR_DEFAULT_URI, $LIBVIRT_DEFAULT_URI, else this host's (session for users other than
 * root). auth: who answers a server's questions; NULL: nobody. Blocks; *out is freed with
 * kvasir_close().
 */
int kvasir_open(const char *uri, unsigned flags, const struct kvasir_auth *auth,
                struct kvasir_conn **out, struct kvasir_error *err);

/* Ends the connection. Callbacks are not called any more. */
void kvasir_close(struct kvasir_conn *conn);

/* 0 once the connection has ended, by either side. */
int kvasir_conn_is_alive(const struct kvasir_conn *conn);

/* 1 when nobody can listen in (TLS, SASL's encryption, this host), 0 when somebody may. */
int kvasir_conn_is_secure(const struct kvasir_conn *conn);

/* The driver's name ("QEMU"), the server's URI of the connection, its host's name. */
int kvasir_conn_type(struct kvasir_conn *conn, char **out, struct kvasir_error *err);
int kvasir_conn_uri(struct kvasir_conn *conn, char **out, struct kvasir_error *err);
int kvasir_conn_hostname(struct kvasir_conn *conn, char **out, struct kvasir_error *err);

/* Of the hypervisor and of the server's library, as kvasir_version(). */
int kvasir_conn_versions(struct kvasir_conn *conn, unsigned long *hypervisor,
                         unsigned long *library, struct kvasir_error *err);

/* The host's capabilities as XML; what domains can have, each argument but conn may be NULL. */
int kvasir_conn_capabilities(struct kvasir_conn *conn, char **xml, struct kvasir_error *err);
int kvasir_conn_domain_capabilities(struct kvasir_conn *conn, const char *emulator,
                                    const char *arch, const char *machine, const char *virt_type,
                                    unsigned flags, char **xml, struct kvasir_error *err);

struct kvasir_node_info {
    char model[32];
    uint64_t memory_kib;
    unsigned cpus, mhz, nodes, sockets, cores, threads;
};
int kvasir_conn_node_info(struct kvasir_conn *conn, struct kvasir_node_info *out,
                          struct kvasir_error *err);

/* Asks a silent server every interval seconds whether it lives, and takes it for dead after count
 * questions without an answer. interval 0: no more. Needs kvasir_conn_process() to be called.
 * -ENOTSUP: the server does not know it. */
int kvasir_conn_set_keepalive(struct kvasir_conn *conn, unsigned interval, unsigned count,
                              struct kvasir_error *err);

enum kvasir_close_reason {
    KVASIR_CLOSE_ERROR = 0,
    KVASIR_CLOSE_EOF = 1, /* the server went away */
    KVASIR_CLOSE_KEEPALIVE = 2,
};
typedef void kvasir_close_fn(struct kvasir_conn *conn, int reason, void *opaque);

/* Has fn called by kvasir_conn_process(), once, when the connection ends other than by
 * kvasir_close(). NULL: nobody. */
void kvasir_conn_set_close_callback(struct kvasir_conn *conn, kvasir_close_fn *fn, void *opaque);

/* ---------------------------------------------------------------- poll loop */

/*
 * Events, streams and keepalive need the connection to be looked after. In a loop of the
 * program's own: poll kvasir_conn_fd() for kvasir_conn_events() (POLLIN, POLLOUT) for at most
 * kvasir_conn_timeout() milliseconds (-1: for ever, 0: there is something to do at once), then
 * kvasir_conn_process(). The values change with every call of the library.
 */
int kvasir_conn_fd(const struct kvasir_conn *conn);
short kvasir_conn_events(const struct kvasir_conn *conn);
int kvasir_conn_timeout(const struct kvasir_conn *conn);

/* Reads and writes what is possible without waiting and calls callbacks. They may use the
 * connection, also close it. 0, or negative when the connection has ended. */
int kvasir_conn_process(struct kvasir_conn *conn, struct kvasir_error *err);

/* A whole loop, for programs without one: waits at most timeout_ms (-1: for ever) for something to
 * do, does it, and returns: 1 when something was done, 0 when not (the time is over, a signal came,
 * it was keepalive's turn), negative when the connection has ended. */
int kvasir_conn_run(struct kvasir_conn *conn, int timeout_ms, struct kvasir_error *err);

/* -------------------------------------------------------- typed parameters */

enum kvasir_param_type {
    KVASIR_PARAM_INT = 1,
    KVASIR_PARAM_UINT = 2,
    KVASIR_PARAM_LLONG = 3,
    KVASIR_PARAM_ULLONG = 4,
    KVASIR_PARAM_DOUBLE = 5,
    KVASIR_PARAM_BOOLEAN = 6,
    KVASIR_PARAM_STRING = 7,
};

struct kvasir_param {
    const char *name;
    int type; /* enum kvasir_param_type */
    union {
        int i; /* also KVASIR_PARAM_BOOLEAN */
        unsigned u;
        int64_t l;
        uint64_t ul;
        double d;
        const char *s;
    } value;
};

/* The one of that name, or NULL. */
const struct kvasir_param *kvasir_param_find(const struct kvasir_param *params, size_t n,
                                             const char *name);

/* Its value as a number, whatever its integer type; fallback when it is absent or no integer. */
int64_t kvasir_param_number(const struct kvasir_param *params, size_t n, const char *name,
                            int64_t fallback);

/* Its text; NULL when it is absent or no text. */
const char *kvasir_param_text(const struct kvasir_param *params, size_t n, const char *name);

/* ------------------------------------------------------------------ domains */

/* A virtual machine of a connection. */
struct kvasir_domain;

enum kvasir_domain_state {
    KVASIR_DOMAIN_NOSTATE = 0,
    KVASIR_DOMAIN_RUNNING = 1,
    KVASIR_DOMAIN_BLOCKED = 2,
    KVASIR_DOMAIN_PAUSED = 3,
    KVASIR_DOMAIN_SHUTDOWN = 4,
    KVASIR_DOMAIN_SHUTOFF = 5,
    KVASIR_DOMAIN_CRASHED = 6,
    KVASIR_DOMAIN_PMSUSPENDED = 7,
};

enum kvasir_list_flags {
    KVASIR_LIST_ACTIVE = 1 << 0,
    KVASIR_LIST_INACTIVE = 1 << 1,
    KVASIR_LIST_PERSISTENT = 1 << 2,
    KVASIR_LIST_TRANSIENT = 1 << 3,
};

enum kvasir_xml_flags {
    KVASIR_XML_SECURE = 1 << 0, /* with passwords; read-write connections only */
    KVASIR_XML_INACTIVE = 1 << 1,
    KVASIR_XML_UPDATE_CPU = 1 << 2,
    KVASIR_XML_MIGRATABLE = 1 << 3,
};

enum kvasir_start_flags {
    KVASIR_START_PAUSED = 1 << 0,
    KVASIR_START_AUTODESTROY = 1 << 1, /* ends with this connection */
};

/* *out becomes an array of *n domains, NULL behind the last, in the server's order; flags (see
 * above, 0: all). kvasir_domains_free() frees it. */
int kvasir_domain_list(struct kvasir_conn *conn, unsigned flags, struct kvasir_domain ***out,
                       size_t *n, struct kvasir_error *err);
void kvasir_domains_free(struct kvasir_domain **domains);

int kvasir_domain_lookup_by_name(struct kvasir_conn *conn, const char *name,
                                 struct kvasir_domain **out, struct kvasir_error *err);
int kvasir_domain_lookup_by_uuid(struct kvasir_conn *conn, const uint8_t uuid[16],
                                 struct kvasir_domain **out, struct kvasir_error *err);
int kvasir_domain_lookup_by_id(struct kvasir_conn *conn, int id, struct kvasir_domain **out,
                               struct kvasir_error *err);

struct kvasir_domain *kvasir_domain_ref(struct kvasir_domain *domain);
void kvasir_domain_free(struct kvasir_domain *domain);

struct kvasir_conn *kvasir_domain_conn(const struct kvasir_domain *domain);
const char *kvasir_domain_name(const struct kvasir_domain *domain);
const uint8_t *kvasir_domain_uuid(const struct kvasir_domain *domain); /* 16 bytes */
int kvasir_domain_id(const struct kvasir_domain *domain); /* -1: it did not run when asked */

#define KVASIR_UUID_TEXT_SIZE 37
void kvasir_uuid_format(const uint8_t uuid[16], char out[KVASIR_UUID_TEXT_SIZE]);
int kvasir_uuid_parse(const char *text, uint8_t uuid[16]); /* 0 or -EINVAL */

/* Keeps a definition; starts a machine that is gone when it ends. flags: libvirt's. */
int kvasir_domain_define(struct kvasir_conn *conn, const char *xml, unsigned flags,
                         struct kvasir_domain **out, struct kvasir_error *err);
int kvasir_domain_create_xml(struct kvasir_conn *conn, const char *xml, unsigned flags,
                             struct kvasir_domain **out, struct kvasir_error *err);
int kvasir_domain_undefine(struct kvasir_domain *domain, unsigned flags, struct kvasir_error *err);

int kvasir_domain_start(struct kvasir_domain *domain, unsigned flags, struct kvasir_error *err);
int kvasir_domain_shutdown(struct kvasir_domain *domain, unsigned flags, struct kvasir_error *err);
int kvasir_domain_reboot(struct kvasir_domain *domain, unsigned flags, struct kvasir_error *err);
int kvasir_domain_reset(struct kvasir_domain *domain, unsigned flags, struct kvasir_error *err);
int kvasir_domain_destroy(struct kvasir_domain *domain, unsigned flags, struct kvasir_error *err);
int kvasir_domain_suspend(struct kvasir_domain *domain, struct kvasir_error *err);
int kvasir_domain_resume(struct kvasir_domain *domain, struct kvasir_error *err);
int kvasir_domain_inject_nmi(struct kvasir_domain *domain, unsigned flags,
                             struct kvasir_error *err);

struct kvasir_domain_info {
    int state;               /* enum kvasir_domain_state */
    uint64_t max_memory_kib; /* that it may have */
    uint64_t memory_kib;     /* that it has */
    unsigned vcpus;
    uint64_t cpu_time_ns;
};
int kvasir_domain_info(struct kvasir_domain *domain, struct kvasir_domain_info *out,
                       struct kvasir_error *err);

/* reason may be NULL; its numbers depend on the state. */
int kvasir_domain_state(struct kvasir_domain *domain, int *state, int *reason,
                        struct kvasir_error *err);
int kvasir_domain_is_active(struct kvasir_domain *domain, int *active, struct kvasir_error *err);
int kvasir_domain_is_persistent(struct kvasir_domain *domain, int *persistent,
                                struct kvasir_error *err);
int kvasir_domain_autostart(struct kvasir_domain *domain, int *on, struct kvasir_error *err);
int kvasir_domain_set_autostart(struct kvasir_domain *domain, int on, struct kvasir_error *err);

/* flags: enum kvasir_xml_flags. */
int kvasir_domain_xml(struct kvasir_domain *domain, unsigned flags, char **out,
                      struct kvasir_error *err);

/* Title, description (uri NULL) or metadata of a namespace: type 0, 1, 2. */
int kvasir_domain_metadata(struct kvasir_domain *domain, int type, const char *uri, unsigned flags,
                           char **out, struct kvasir_error *err);

int kvasir_domain_set_memory(struct kvasir_domain *domain, uint64_t kib, unsigned flags,
                             struct kvasir_error *err);
int kvasir_domain_set_vcpus(struct kvasir_domain *domain, unsigned vcpus, unsigned flags,
                            struct kvasir_error *err);
int kvasir_domain_attach_device(struct kvasir_domain *domain, const char *xml, unsigned flags,
                                struct kvasir_error *err);
int kvasir_domain_detach_device(struct kvasir_domain *domain, const char *xml, unsigned flags,
                                struct kvasir_error *err);
int kvasir_domain_update_device(struct kvasir_domain *domain, const char *xml, unsigned flags,
                                struct kvasir_error *err);

/* Statistics of many domains in one call. */
struct kvasir_stats {
    struct kvasir_domain *domain;
    struct kvasir_param *params; /* "state.state", "cpu.time", "block.count", ... */
    size_t n_params;
};

/* domains: n of them, or NULL for all of the connection. groups: libvirt's VIR_DOMAIN_STATS_*
 * (1 state, 2 CPU, 4 balloon, 8 vCPU, 16 interface, 32 block, ...), 0: all that the server has.
 * *out becomes an array of *n_out; kvasir_stats_free() frees it. */
int kvasir_domain_stats(struct kvasir_conn *conn, struct kvasir_domain *const *domains, size_t n,
                        unsigned groups, unsigned flags, struct kvasir_stats **out, size_t *n_out,
                        struct kvasir_error *err);
void kvasir_stats_free(struct kvasir_stats *stats, size_t n);

/* ------------------------------------------------------------ other objects */

/* Networks, pools, volumes, devices, interfaces, secrets and filters share these functions. */
struct kvasir_object;

enum kvasir_object_kind {
    KVASIR_NETWORK = 1,
    KVASIR_POOL = 2,
    KVASIR_VOLUME = 3,
    KVASIR_NODE_DEVICE = 4,
    KVASIR_INTERFACE = 5,
    KVASIR_SECRET = 6,
    KVASIR_NWFILTER = 7,
};

/* As kvasir_domain_list(). Volumes are listed by kvasir_pool_volumes(). -ENOTSUP: what is asked
 * does not exist for this kind. */
int kvasir_object_list(struct kvasir_conn *conn, int kind, unsigned flags,
                       struct kvasir_object ***out, size_t *n, struct kvasir_error *err);
int kvasir_pool_volumes(struct kvasir_object *pool, unsigned flags, struct kvasir_object ***out,
                        size_t *n, struct kvasir_error *err);
void kvasir_objects_free(struct kvasir_object **objects);

/* By name; a volume by its path, a secret by its UUID's text. */
int kvasir_object_lookup(struct kvasir_conn *conn, int kind, const char *name,
                         struct kvasir_object **out, struct kvasir_error *err);
void kvasir_object_free(struct kvasir_object *object);

struct kvasir_conn *kvasir_object_conn(const struct kvasir_object *object);
int kvasir_object_kind(const struct kvasir_object *object);
const char *kvasir_object_name(const struct kvasir_object *object);    /* a secret's usage */
const uint8_t *kvasir_object_uuid(const struct kvasir_object *object); /* NULL: it has none */

/* A volume's pool and key, an interface's MAC address, NULL where there is no such thing. */
const char *kvasir_object_pool(const struct kvasir_object *object);
const char *kvasir_object_key(const struct kvasir_object *object);
const char *kvasir_object_mac(const struct kvasir_object *object);

int kvasir_object_xml(struct kvasir_object *object, unsigned flags, char **out,
                      struct kvasir_error *err);
int kvasir_object_define(struct kvasir_conn *conn, int kind, const char *xml, unsigned flags,
                         struct kvasir_object **out, struct kvasir_error *err);
int kvasir_object_create_xml(struct kvasir_conn *conn, int kind, const char *xml, unsigned flags,
                             struct kvasir_object **out, struct kvasir_error *err);
int kvasir_object_start(struct kvasir_object *object, unsigned flags, struct kvasir_error *err);
int kvasir_object_destroy(struct kvasir_object *object, unsigned flags, struct kvasir_error *err);
int kvasir_object_undefine(struct kvasir_object *object, struct kvasir_error *err);
int kvasir_object_is_active(struct kvasir_object *object, int *active, struct kvasir_error *err);
int kvasir_object_is_persistent(struct kvasir_object *object, int *persistent,
                                struct kvasir_error *err);
int kvasir_object_autostart(struct kvasir_object *object, int *on, struct kvasir_error *err);
int kvasir_object_set_autostart(struct kvasir_object *object, int on, struct kvasir_error *err);

/* A secret's value: up to 64 KiB. *value is freed with free(). */
int kvasir_secret_set_value(struct kvasir_object *secret, const void *value, size_t len,
                            unsigned flags, struct kvasir_error *err);
int kvasir_secret_value(struct kvasir_object *secret, unsigned flags, void **value, size_t *len,
                        struct kvasir_error *err);

/* ------------------------------------------------------------------ streams */

/*
 * Bytes beside calls, both ways. kvasir_conn_process() (or a call that waits) takes in what the
 * server sends; what nobody received yet is bounded, then the server is not listened to.
 */
struct kvasir_stream;

enum kvasir_stream_flags {
    KVASIR_STREAM_NO_WAIT = 1 << 0, /* -EAGAIN instead of waiting */
};

/* device: an alias of a serial port or console; NULL: the first. flags: libvirt's
 * VIR_DOMAIN_CONSOLE_* (1: force, 2: safe). */
int kvasir_domain_open_console(struct kvasir_domain *domain, const char *device, unsigned flags,
                               struct kvasir_stream **out, struct kvasir_error *err);
int kvasir_domain_open_channel(struct kvasir_domain *domain, const char *name, unsigned flags,
                               struct kvasir_stream **out, struct kvasir_error *err);

/* The picture comes over the stream, *mime says what it is. */
int kvasir_domain_screenshot(struct kvasir_domain *domain, unsigned screen, unsigned flags,
                             char **mime, struct kvasir_stream **out, struct kvasir_error *err);

/* Contents of a volume; length 0: up to its end. flags 1: with holes. */
int kvasir_volume_download(struct kvasir_object *volume, uint64_t offset, uint64_t length,
                           unsigned flags, struct kvasir_stream **out, struct kvasir_error *err);
int kvasir_volume_upload(struct kvasir_object *volume, uint64_t offset, uint64_t length,
                         unsigned flags, struct kvasir_stream **out, struct kvasir_error *err);

/* Bytes received, 0 at the end, -EAGAIN (KVASIR_STREAM_NO_WAIT), -ENODATA: a hole is next, take it
 * with kvasir_stream_receive_hole(); else negative with err filled. */
ssize_t kvasir_stream_receive(struct kvasir_stream *stream, void *data, size_t len, unsigned flags,
                              struct kvasir_error *err);
int kvasir_stream_receive_hole(struct kvasir_stream *stream, uint64_t *length,
                               struct kvasir_error *err);

/* Bytes taken, all of them unless KVASIR_STREAM_NO_WAIT. */
ssize_t kvasir_stream_send(struct kvasir_stream *stream, const void *data, size_t len,
                           unsigned flags, struct kvasir_error *err);
int kvasir_stream_send_hole(struct kvasir_stream *stream, uint64_t length,
                            struct kvasir_error *err);

/* 1 when kvasir_stream_receive() would not wait. */
int kvasir_stream_is_readable(const struct kvasir_stream *stream);

/* Says that all was sent, and waits for the server to say that it has it. */
int kvasir_stream_finish(struct kvasir_stream *stream, struct kvasir_error *err);

/* Gives it up, if it was not finished, and frees it. */
void kvasir_stream_free(struct kvasir_stream *stream);

/* ------------------------------------------------------------------- events */

enum kvasir_event_class {
    KVASIR_EVENTS_DOMAIN = 0,
    KVASIR_EVENTS_NETWORK = 1,
    KVASIR_EVENTS_POOL = 2,
    KVASIR_EVENTS_NODE_DEVICE = 3,
    KVASIR_EVENTS_SECRET = 4,
};

/* Numbers of virDomainEventID; the other classes have their own, 0 is always "lifecycle". */
enum kvasir_domain_event {
    KVASIR_EVENT_LIFECYCLE = 0,
    KVASIR_EVENT_REBOOT = 1,
    KVASIR_EVENT_RTC_CHANGE = 2,
    KVASIR_EVENT_WATCHDOG = 3,
    KVASIR_EVENT_IO_ERROR = 4,
    KVASIR_EVENT_GRAPHICS = 5,
    KVASIR_EVENT_IO_ERROR_REASON = 6,
    KVASIR_EVENT_CONTROL_ERROR = 7,
    KVASIR_EVENT_BLOCK_JOB = 8,
    KVASIR_EVENT_DISK_CHANGE = 9,
    KVASIR_EVENT_TRAY_CHANGE = 10,
    KVASIR_EVENT_PMWAKEUP = 11,
    KVASIR_EVENT_PMSUSPEND = 12,
    KVASIR_EVENT_BALLOON_CHANGE = 13,
    KVASIR_EVENT_PMSUSPEND_DISK = 14,
    KVASIR_EVENT_DEVICE_REMOVED = 15,
    KVASIR_EVENT_BLOCK_JOB_2 = 16,
    KVASIR_EVENT_TUNABLE = 17,
    KVASIR_EVENT_AGENT_LIFECYCLE = 18,
    KVASIR_EVENT_DEVICE_ADDED = 19,
    KVASIR_EVENT_MIGRATION_ITERATION = 20,
    KVASIR_EVENT_JOB_COMPLETED = 21,
    KVASIR_EVENT_DEVICE_REMOVAL_FAILED = 22,
    KVASIR_EVENT_METADATA_CHANGE = 23,
    KVASIR_EVENT_BLOCK_THRESHOLD = 24,
    KVASIR_EVENT_MEMORY_FAILURE = 25,
    KVASIR_EVENT_MEMORY_DEVICE_SIZE_CHANGE = 26,
    KVASIR_EVENT_NIC_MAC_CHANGE = 27,
};

/* What happened, valid during the callback. Structs may grow at their end. */
struct kvasir_event {
    int event_class;              /* enum kvasir_event_class */
    int id;                       /* of the class */
    const char *name;             /* "lifecycle", "reboot", ... */
    struct kvasir_domain *domain; /* of KVASIR_EVENTS_DOMAIN, else NULL */
    struct kvasir_object *object; /* of the other classes, else NULL */
    /* What else it tells, by libvirt's names: of lifecycle "event" and "detail". An absent text
     * has no parameter. */
    const struct kvasir_param *params;
    size_t n_params;
};
typedef void kvasir_event_fn(struct kvasir_conn *conn, const struct kvasir_event *event,
                             void *opaque);

/* fn is called from kvasir_conn_process() for events of one id: of one domain, of one object, or
 * of all (both NULL). Returns a number for kvasir_event_unregister(), or negative. */
int kvasir_event_register(struct kvasir_conn *conn, int event_class, int id,
                          struct kvasir_domain *domain, struct kvasir_object *object,
                          kvasir_event_fn *fn, void *opaque, struct kvasir_error *err);
int kvasir_event_unregister(struct kvasir_conn *conn, int number, struct kvasir_error *err);

/* "lifecycle", "reboot", ...; NULL: there is no such event. */
const char *kvasir_event_name(int event_class, int id);

/* -------------------------------------------------------------- any procedure */

#define KVASIR_PROGRAM_REMOTE 0x20008086u
#define KVASIR_PROGRAM_QEMU 0x20008087u

/* Calls a procedure that has no function here: args are its arguments as XDR writes them. *reply
 * (freed with free()) becomes its results. Descriptors: n_fds are sent along and stay the
 * caller's. */
int kvasir_call_bytes(struct kvasir_conn *conn, uint32_t program, int procedure, const void *args,
                      size_t len, const int *fds, size_t n_fds, void **reply, size_t *reply_len,
                      struct kvasir_error *err);

#ifdef __cplusplus
}
#endif

#endif
