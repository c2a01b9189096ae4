/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The screen of a running machine: pictures, keys, viewers and their password; see machine.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

#define FD_NAME_SIZE 48

/* Gives the monitor a descriptor, under a name that no other call of this daemon has. */
static int give_fd(struct machine *machine, int fd, char name[FD_NAME_SIZE], struct kv_error *err)
{
    static atomic_uint count;
    int rc = machine_check_alive(machine, err);
    snprintf(name, FD_NAME_SIZE, "kvasird-%d-%u", getpid(), atomic_fetch_add(&count, 1));
    return rc < 0 ? rc
                  : monitor_call_fd(machine->monitor, "getfd", json_pack("{s:s}", "fdname", name),
                                    fd, NULL, err);
}

/* It is the command's from now on, unless the command failed. */
static int call_with_fd(struct machine *machine, const char *command, json_t *arguments,
                        const char *name, struct kv_error *err)
{
    int rc = machine_qmp(machine, command, arguments, NULL, err);
    if (rc < 0)
        machine_qmp(machine, "closefd", json_pack("{s:s}", "fdname", name), NULL, NULL);
    return rc;
}

int machine_screenshot(struct machine *machine, int *fd, struct kv_error *err)
{
    char name[FD_NAME_SIZE];
    cleanup_fd int file = memfd_create("screenshot", MFD_CLOEXEC);
    if (file < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, errno, "screenshot");
    int rc = give_fd(machine, file, name, err);
    if (rc == 0)
        rc = call_with_fd(machine, "screendump",
                          json_pack("{s:s, s:s}", "filename", name, "format", "png"), name, err);
    if (rc == 0 && lseek(file, 0, SEEK_SET) < 0)
        rc = kv_error_errno(err, KV_ERR_CONTROL, errno, "screenshot");
    if (rc == 0)
        *fd = take_fd(&file);
    return rc;
}

int machine_add_viewer(struct machine *machine, int fd, bool trusted, struct kv_error *err)
{
    char name[FD_NAME_SIZE];
    int rc = give_fd(machine, fd, name, err);
    return rc < 0 ? rc
                  : call_with_fd(machine, "add_client",
                                 json_pack("{s:s, s:s, s:b}", "protocol", "vnc", "fdname", name,
                                           "skipauth", trusted),
                                 name, err);
}

int machine_send_keys(struct machine *machine, const unsigned *numbers, unsigned count,
                      unsigned hold_ms, struct kv_error *err)
{
    json_t *keys = json_array();
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(keys,
                              json_pack("{s:s, s:i}", "type", "number", "data", (int)numbers[i]));
    json_t *arguments = json_pack("{s:o}", "keys", keys);
    if (hold_ms)
        json_object_set_new(arguments, "hold-time", json_integer(hold_ms));
    return machine_qmp(machine, "send-key", arguments, NULL, err);
}

/* The end first: a password that is over already lets nobody in. */
int machine_set_password(struct machine *machine, const char *password, bool expires, int64_t until,
                         struct kv_error *err)
{
    json_t *end =
        expires ? json_sprintf("%" JSON_INTEGER_FORMAT, (json_int_t)until) : json_string("never");
    int rc = machine_qmp(machine, "expire_password",
                         json_pack("{s:s, s:o}", "protocol", "vnc", "time", end), NULL, err);
    return rc < 0 ? rc
                  : machine_qmp(machine, "set_password",
                                json_pack("{s:s, s:s}", "protocol", "vnc", "password", password),
                                NULL, err);
}
