/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about network devices. */
#include <errno.h>

#include "vmm/control/commands.h"
#include "vmm/machine/machine.h"
#include "vmm/virtio/net.h"

static json_t *set_link(struct qmp_call *call)
{
    bool up = false;
    qmp_boolean(call, "up", &up);
    int rc = net_set_link(call->machine, qmp_string(call, "name"), up, &call->error);
    if (rc == 0)
        return qmp_done();
    call->error_class = rc == -ENOENT ? QMP_DEVICE_NOT_FOUND : QMP_GENERIC_ERROR;
    return NULL;
}

static const struct qmp_argument link_arguments[] = {
    {"name", QMP_STRING},
    {"up", QMP_BOOLEAN},
    {NULL},
};

const struct qmp_command qmp_net_commands[] = {
    {"set_link", "plugs or unplugs a network device's cable", set_link, link_arguments},
    {NULL},
};
