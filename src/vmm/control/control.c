/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's control socket: the QMP server with the machine's commands. */
#include "vmm/control/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "vmm/control/blockdev.h"
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
    job_set_listener(job_event_arrived, machine);
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

void control_stop_work(void)
{
    exports_stop();
    job_cancel_all();
    job_set_listener(NULL, NULL);
}

struct names {
    char last[BLOCK_NODE_NAME_MAX + 1], next[BLOCK_NODE_NAME_MAX + 1];
};

/* The added node whose name follows the last one's. */
static int find_next(void *opaque, struct block_node *node)
{
    struct names *names = opaque;
    const char *name = block_node_name(node);
    if (block_node_is_added(node) && strcmp(name, names->last) > 0 &&
        (!*names->next || strcmp(name, names->next) < 0))
        snprintf(names->next, sizeof(names->next), "%s", name);
    return 0;
}

void control_close_nodes(void)
{
    /* Those that others stand on go in a later round. */
    for (bool again = true; again;) {
        struct names names = {.last = ""};
        again = false;
        for (;;) {
            names.next[0] = '\0';
            block_nodes_each(find_next, &names);
            if (!*names.next)
                break;
            again |= block_node_del(names.next, NULL) == 0;
            memcpy(names.last, names.next, sizeof(names.last));
        }
    }
}

void control_broadcast(struct control *control, json_t *event)
{
    if (control)
        qmp_server_broadcast(&control->server, event);
    else
        json_decref(event);
}
