/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The QMP server: clients, framing, negotiation, and calling commands by
 * table. It knows nothing of the machine but its pointer, which it hands to
 * the commands. Everything is for the thread of the server's loop.
 */
#ifndef KV_VMM_CONTROL_QMP_H
#define KV_VMM_CONTROL_QMP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "base/loop.h"

struct machine;
struct qmp_client;

enum qmp_error_class {
    QMP_GENERIC_ERROR,
    QMP_COMMAND_NOT_FOUND,
    QMP_DEVICE_NOT_FOUND,
    QMP_DEVICE_NOT_ACTIVE,
};

enum qmp_type {
    QMP_STRING,
    QMP_INTEGER,
    QMP_NUMBER,
    QMP_BOOLEAN,
    QMP_OBJECT,
    QMP_ARRAY,
    QMP_ANY,
};

struct qmp_argument {
    const char *name; /* NULL ends the table */
    enum qmp_type type;
    bool optional;
    const char *const *values; /* STRING: what it may be, NULL at the end; NULL: anything */
};

/* One call of a command. */
struct qmp_call {
    struct qmp_server *server;
    struct qmp_client *client;
    struct machine *machine;
    const struct qmp_command *command;
    const struct qmp_argument *specs; /* the command's table */
    const json_t *arguments;          /* an object that fits it */
    enum qmp_error_class error_class;
    struct kv_error error; /* commands that fail fill it and return NULL */
};

struct qmp_command {
    const char *name; /* NULL ends the table */
    const char *help; /* one line, for docs/qmp.json */
    /* Returns the result, a new reference, or NULL with call->error filled. */
    json_t *(*run)(struct qmp_call *call);
    const struct qmp_argument *arguments; /* NULL: none */
    bool open;                            /* takes further arguments than those */
};

struct qmp_event {
    const char *name; /* NULL ends the table */
    const char *help;
    unsigned interval_ms; /* at most one in that time, the newest wins; 0: all are sent */
    const char *key;      /* member of data that tells apart whose limit it is, or NULL */
};

/* A descriptor that a client sent and named (getfd). */
struct qmp_fd {
    struct list node;
    char *name;
    int fd;
};

/* An event whose interval runs; see struct qmp_event. */
struct qmp_throttle {
    struct list node;
    struct qmp_server *server;
    struct loop_timer timer;
    const struct qmp_event *event;
    char *key;       /* NULL: none */
    json_t *pending; /* waits for the timer, or NULL */
};

struct qmp_server {
    struct loop *loop;
    struct machine *machine;
    const struct qmp_command *const *commands; /* tables, NULL at the end */
    const struct qmp_event *events;
    int fd; /* listening */
    struct loop_source listener;
    struct loop_work flush; /* sends what waits for the clients */
    struct list clients;
    unsigned client_count;
    struct list fds;       /* struct qmp_fd */
    struct list throttles; /* struct qmp_throttle */
    unsigned throttle_count;
};

/* Takes the listening descriptor over; -1: no clients come by themselves (tests). */
int qmp_server_init(struct qmp_server *server, struct loop *loop, struct machine *machine,
                    const struct qmp_command *const *commands, const struct qmp_event *events,
                    int fd, struct kv_error *err);
void qmp_server_destroy(struct qmp_server *server);

/* A connected stream socket becomes a client; taken over. */
int qmp_server_add(struct qmp_server *server, int fd);

/* Sends the event ("event", "timestamp", maybe "data") to all negotiated clients. Takes it over. */
void qmp_server_broadcast(struct qmp_server *server, json_t *event);

const struct qmp_command *qmp_find_command(const struct qmp_server *server, const char *name);

/* What the tables say, for query-commands and docs/qmp.json. */
json_t *qmp_describe_command(const struct qmp_command *command);

/* For commands: the result {} and the error "class: message" (returns NULL). */
json_t *qmp_done(void);
json_t *qmp_fail(struct qmp_call *call, enum qmp_error_class class, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Arguments by name; NULL or false when an optional one was not given. */
const char *qmp_string(const struct qmp_call *call, const char *name);
bool qmp_integer(const struct qmp_call *call, const char *name, int64_t *out);
bool qmp_boolean(const struct qmp_call *call, const char *name, bool *out);
/* Index into the values of the argument's row, or otherwise when it was not given. */
int qmp_enum(const struct qmp_call *call, const char *name, int otherwise);
/* Whether call->arguments fit call->specs; else call->error says why not. */
bool qmp_check_arguments(struct qmp_call *call);

/* The first descriptor that came with the client's last message that had any; the caller owns it.
 * -1: none left. */
int qmp_take_descriptor(struct qmp_client *client);

/* Marks the client as negotiated (qmp_capabilities). False if it was already. */
bool qmp_negotiate(struct qmp_client *client);

/* Named descriptors. add replaces (and closes) one of the same name; take hands it over, -1 when
 * the name is unknown. */
int qmp_fd_add(struct qmp_server *server, const char *name, int fd, struct kv_error *err);
int qmp_fd_take(struct qmp_server *server, const char *name);

#endif
