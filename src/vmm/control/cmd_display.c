/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the screen. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "block/fdset.h"
#include "vmm/control/commands.h"
#include "vmm/display/vnc.h"
#include "vmm/machine/machine.h"

static const char *const formats[] = {
    [PICTURE_PPM] = "ppm",
    [PICTURE_PNG] = "png",
    NULL,
};

static int open_target(const char *path, struct kv_error *err)
{
    if (fdset_is_path(path))
        return fdset_open(path, false, err);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return fd < 0 ? kv_error_errno(err, KV_ERR_DEVICE, errno, "failed to open '%s'", path) : fd;
}

/* In a jail no file can be made: the name is one of a descriptor, too (getfd). */
static json_t *screendump(struct qmp_call *call)
{
    const char *path = qmp_string(call, "filename");
    struct display *display = call->machine->platform.display;
    size_t size;
    if (!display)
        return qmp_fail(call, QMP_GENERIC_ERROR, "There is no console to take a screendump from");
    cleanup_fd int fd = qmp_fd_take(call->server, path);
    if (fd < 0 && !fdset_is_path(path) && call->machine->config.jail)
        return qmp_fail(call, QMP_GENERIC_ERROR,
                        "filename '%.100s': a process in a jail makes no files; accepted: a name "
                        "given by getfd, or /dev/fdset/N",
                        path);
    if (fd < 0)
        fd = open_target(path, &call->error);
    if (fd < 0)
        return NULL;
    cleanup_free uint8_t *file = display_screenshot(
        display, (enum picture_format)qmp_enum(call, "format", PICTURE_PPM), &size, &call->error);
    if (!file)
        return NULL;
    int rc = fd_write_all(fd, file, size);
    if (rc < 0)
        return qmp_fail(call, QMP_GENERIC_ERROR, "writing '%.100s': %s", path, strerror(-rc));
    return qmp_done();
}

static json_t *query_vnc(struct qmp_call *call)
{
    struct vnc *vnc = vnc_find(call->machine);
    return vnc ? vnc_describe(vnc) : json_pack("{s:b}", "enabled", 0);
}

static json_t *set_password(struct qmp_call *call)
{
    struct vnc *vnc = vnc_find(call->machine);
    if (!vnc)
        return qmp_fail(call, QMP_DEVICE_NOT_ACTIVE, "There is no VNC server");
    return vnc_set_password(vnc, qmp_string(call, "password"), &call->error) < 0 ? NULL
                                                                                 : qmp_done();
}

/* "now", "never", "+SECONDS" from now on, or seconds since the epoch. */
static bool read_time(const char *text, int64_t *until)
{
    char *end;
    bool relative = text[0] == '+';
    if (strcmp(text, "never") == 0) {
        *until = 0;
        return true;
    }
    if (strcmp(text, "now") == 0) {
        *until = 1;
        return true;
    }
    errno = 0;
    *until = strtoll(text + relative, &end, 10);
    bool good =
        end != text + relative && !*end && !errno && *until >= 0 && *until < INT32_MAX * 8LL;
    *until = relative ? *until + time(NULL) : *until ? *until : 1;
    return good;
}

static json_t *expire_password(struct qmp_call *call)
{
    struct vnc *vnc = vnc_find(call->machine);
    int64_t until;
    if (!vnc)
        return qmp_fail(call, QMP_DEVICE_NOT_ACTIVE, "There is no VNC server");
    if (!read_time(qmp_string(call, "time"), &until))
        return qmp_fail(call, QMP_GENERIC_ERROR,
                        "time '%.40s' is no time; accepted: now, never, +SECONDS, SECONDS since "
                        "the epoch",
                        qmp_string(call, "time"));
    vnc_expire_password(vnc, until);
    return qmp_done();
}

static json_t *add_client(struct qmp_call *call)
{
    struct vnc *vnc = vnc_find(call->machine);
    bool trusted = false;
    qmp_boolean(call, "skipauth", &trusted);
    if (!vnc)
        return qmp_fail(call, QMP_DEVICE_NOT_ACTIVE, "There is no VNC server");
    int fd = qmp_fd_take(call->server, qmp_string(call, "fdname"));
    if (fd < 0)
        return qmp_fail(call, QMP_GENERIC_ERROR, "File descriptor named '%.200s' not found",
                        qmp_string(call, "fdname"));
    if (vnc_add_viewer(vnc, fd, trusted) < 0)
        return qmp_fail(call, QMP_GENERIC_ERROR, "There are %d viewers already", VNC_CLIENTS_MAX);
    return qmp_done();
}

static const char *const protocols[] = {"vnc", NULL};
static const char *const keep[] = {"keep", NULL};
static const struct qmp_argument set_password_arguments[] = {
    {"protocol", QMP_STRING, .values = protocols},
    {"password", QMP_STRING},
    {"connected", QMP_STRING, .optional = true, .values = keep},
    {NULL},
};
static const struct qmp_argument change_password_arguments[] = {
    {"password", QMP_STRING},
    {NULL},
};

static const struct qmp_argument expire_password_arguments[] = {
    {"protocol", QMP_STRING, .values = protocols},
    {"time", QMP_STRING},
    {NULL},
};
static const struct qmp_argument add_client_arguments[] = {
    {"protocol", QMP_STRING, .values = protocols},
    {"fdname", QMP_STRING},
    {"skipauth", QMP_BOOLEAN, .optional = true},
    {NULL},
};

static const struct qmp_argument screendump_arguments[] = {
    {"filename", QMP_STRING},
    {"device", QMP_STRING, .optional = true},
    {"head", QMP_INTEGER, .optional = true},
    {"format", QMP_STRING, .optional = true, .values = formats},
    {NULL},
};

const struct qmp_command qmp_display_commands[] = {
    {"screendump", "writes the screen's picture to a file or named descriptor", screendump,
     screendump_arguments},
    {"query-vnc", "where viewers of the screen connect", query_vnc},
    {"set_password", "what viewers must know from now on; 8 bytes count", set_password,
     set_password_arguments},
    {"expire_password", "until when it holds", expire_password, expire_password_arguments},
    {"add_client", "a connected descriptor named by getfd is a viewer's", add_client,
     add_client_arguments},
    {"change-vnc-password", "the same", set_password, change_password_arguments},
    {NULL},
};
