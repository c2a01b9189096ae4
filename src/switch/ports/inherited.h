/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors and states of ports that a running switch hands to the process that takes its place
 * (upgrade/upgrade.h). The one that gives collects them in a bequest. The other one has them here
 * while it makes its bridges and ports, so that what would open something gets what is open
 * already. For the control thread.
 */
#ifndef KV_SWITCH_PORTS_INHERITED_H
#define KV_SWITCH_PORTS_INHERITED_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* --- Who gives: descriptors stay its own ---------------------------------------- */

struct bequest {
    json_t *names; /* {"KIND NAME": number of the descriptor} */
    int *fds;
    size_t count, room;
    bool failed; /* there was no memory */
};

void bequest_init(struct bequest *bequest);
void bequest_free(struct bequest *bequest);

/* The descriptor's number, as JSON; null for -1. */
json_t *bequest_add(struct bequest *bequest, int fd);
/* For inherited_take(). */
void bequest_add_named(struct bequest *bequest, const char *kind, const char *name, int fd);

/* Whether it was added. */
bool bequest_has(const struct bequest *bequest, const char *kind, const char *name);

/* --- Who takes ------------------------------------------------------------------- */

/* names as in a bequest, ports: {NAME: state}. fds are taken over. */
void inherited_begin(json_t *names, json_t *ports, int *fds, size_t count);
/* Closes what nobody took. */
void inherited_end(void);

/* The descriptor, which is the caller's then; -1: none was given, or it was taken. */
int inherited_take(const char *kind, const char *name);
int inherited_take_number(const json_t *number);
/* What was given of the port of that name, or NULL. */
const json_t *inherited_port(const char *name);

/* A socket that listens at the path: the one that was given, else a new one (fd_listen_unix). */
#define INHERITED_LISTENER "listener"
int inherited_listen_unix(const char *path, struct kv_error *err);

#endif
