/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See acts.h. */
#include "acts.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/storage/drive.h"

#define SAVES_MAX 2 /* in an input: one takes as long as a thousand acts */
static unsigned saves;

void acts_run(const uint8_t *data, size_t size, void (*run)(const struct act *act))
{
    struct act act;
    saves = 0;
    for (unsigned n = 0; size >= sizeof(act) && n < ACTS_MAX; n++) {
        memcpy(&act, data, sizeof(act));
        data += sizeof(act);
        size -= sizeof(act);
        run(&act);
    }
}

void acts_pause(struct device *device, bool save)
{
    struct kv_error err;
    device->ops->quiesce(device);
    if (save && saves++ < SAVES_MAX) {
        json_t *state = device->ops->save(device);
        require(device->ops->load(device, state, &err) == 0);
        json_decref(state);
    }
    device->ops->resume(device);
}

int acts_file(off_t size)
{
    int fd = memfd_create("image", MFD_CLOEXEC);
    require(ftruncate(fd, size) == 0);
    return fd;
}

void acts_tray(struct drive *drive, unsigned what, int fd)
{
    struct block_node *node;
    char path[32];
    struct kv_error err;
    if (what & 1)
        drive_open_tray(drive, what & 2, &err);
    if (what & 4)
        drive_remove_medium(drive, &err);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    const struct block_open_options options = {
        .path = path, .fd = -1, .format = "raw", .readonly = true, .share_rw = true};
    if (what & 8 && block_open(&node, &options, &err) == 0) {
        drive_insert_medium(drive, node, &err);
        block_close(node);
    }
    if (what & 16)
        drive_close_tray(drive, &err);
}
