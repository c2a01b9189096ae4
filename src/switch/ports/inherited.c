/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one switch leaves to the next; see inherited.h. */
#include "switch/ports/inherited.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"

#define KEY_MAX 512

static void make_key(char key[KEY_MAX], const char *kind, const char *name)
{
    snprintf(key, KEY_MAX, "%s %s", kind, name);
}

/* --- Giving -------------------------------------------------------------------- */

void bequest_init(struct bequest *bequest)
{
    *bequest = (struct bequest){.names = json_object()};
}

void bequest_free(struct bequest *bequest)
{
    json_decref(bequest->names);
    free(bequest->fds);
}

json_t *bequest_add(struct bequest *bequest, int fd)
{
    if (fd < 0)
        return json_null();
    if (bequest->count == bequest->room) {
        size_t room = MAX(2 * bequest->room, (size_t)64);
        int *fds = reallocarray(bequest->fds, room, sizeof(*fds));
        if (!fds) {
            bequest->failed = true;
            return json_null();
        }
        bequest->fds = fds;
        bequest->room = room;
    }
    bequest->fds[bequest->count] = fd;
    return json_integer((json_int_t)bequest->count++);
}

void bequest_add_named(struct bequest *bequest, const char *kind, const char *name, int fd)
{
    char key[KEY_MAX];
    make_key(key, kind, name);
    json_object_set_new(bequest->names, key, bequest_add(bequest, fd));
}

bool bequest_has(const struct bequest *bequest, const char *kind, const char *name)
{
    char key[KEY_MAX];
    make_key(key, kind, name);
    return json_object_get(bequest->names, key) != NULL;
}

/* --- Taking -------------------------------------------------------------------- */

static struct {
    json_t *names, *ports;
    int *fds;
    size_t count;
} inherited;

void inherited_begin(json_t *names, json_t *ports, int *fds, size_t count)
{
    inherited.names = json_incref(names);
    inherited.ports = json_incref(ports);
    inherited.fds = fds;
    inherited.count = count;
}

void inherited_end(void)
{
    for (size_t i = 0; i < inherited.count; i++) {
        if (inherited.fds[i] >= 0)
            close(inherited.fds[i]);
    }
    free(inherited.fds);
    json_decref(inherited.names);
    json_decref(inherited.ports);
    inherited.names = inherited.ports = NULL;
    inherited.fds = NULL;
    inherited.count = 0;
}

int inherited_take_number(const json_t *number)
{
    json_int_t index = json_integer_value(number);
    if (!json_is_integer(number) || index < 0 || (uint64_t)index >= inherited.count)
        return -1;
    int fd = inherited.fds[index];
    inherited.fds[index] = -1;
    return fd;
}

int inherited_take(const char *kind, const char *name)
{
    char key[KEY_MAX];
    make_key(key, kind, name);
    return inherited_take_number(json_object_get(inherited.names, key));
}

const json_t *inherited_port(const char *name)
{
    return json_object_get(inherited.ports, name);
}

int inherited_listen_unix(const char *path, struct kv_error *err)
{
    int fd = inherited_take(INHERITED_LISTENER, path);
    return fd >= 0 ? fd : fd_listen_unix(path, err);
}
