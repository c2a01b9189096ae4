/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's control socket: the QMP server with the machine's commands. */
#include "vmm/control/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "vmm/control/commands.h"
#include "vmm/control/qmp.h"
#include "vmm/jail/jail.h"
#include "vmm/machine/machine.h"

struct control {
    struct qmp_server server;
    struct machine *machine;
    char *path; /* bound here; NULL: inherited */
};

int control_create(struct machine *machine, const char *path, int fd, struct kv_error *err)
{
    if (path) {
        fd = fd_listen_unix(path, err);
        if (fd < 0)
            return kv_error_prefix(err, "--control");
        jail_remove_at_exit(path);
    }
    struct control *control = calloc(1, sizeof(*control));
    char *copy = path ? strdup(path) : NULL;
    if (!control || (path && !copy)) {
        close(fd);
        free(control);
        free(copy);
        return kv_error_set(err, KV_ERR_CONTROL, ENOMEM, "--control: out of memory");
    }
    control->machine = machine;
    control->path = copy;
    int rc = qmp_server_init(&control->server, &machine->loop, machine, qmp_command_tables,
                             qmp_events, fd, err);
    if (rc < 0) {
        free(copy);
        free(control);
        return rc;
    }
    machine->control = control;
    return 0;
}

void control_free(struct control *control)
{
    if (!control)
        return;
    control->machine->control = NULL;
    qmp_server_destroy(&control->server);
    if (control->path)
        unlink(control->path);
    free(control->path);
    free(control);
}

void control_broadcast(struct control *control, json_t *event)
{
    if (control)
        qmp_server_broadcast(&control->server, event);
    else
        json_decref(event);
}
