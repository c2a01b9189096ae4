/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query-chardev: the host's ends of serial ports and consoles. */
#include "vmm/chardev.h"
#include "vmm/control/commands.h"

static json_t *query_chardev(struct qmp_call *call)
{
    json_t *list = json_array();
    struct chardev *chardev = NULL;
    while ((chardev = chardev_next(chardev)))
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:b, s:b}", "label", chardev_label(chardev),
                                        "filename", chardev_filename(chardev), "frontend-open",
                                        chardev_is_guest_open(chardev), "x-kvasir-connected",
                                        chardev_is_connected(chardev)));
    return list;
}

const struct qmp_command qmp_chardev_commands[] = {
    {"query-chardev", "host ends of serial ports and consoles", query_chardev},
    {NULL},
};
