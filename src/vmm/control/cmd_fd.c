/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about descriptors that come with requests (SCM_RIGHTS): named ones, and sets of them
 * that stand for files (block/fdset.h). */
#include <unistd.h>

#include "block/fdset.h"
#include "vmm/control/commands.h"

static json_t *getfd(struct qmp_call *call)
{
    const char *name = qmp_string(call, "fdname");
    if (name[0] >= '0' && name[0] <= '9')
        return qmp_fail(call, QMP_GENERIC_ERROR,
                        "Parameter 'fdname' expects a name not starting with a digit");
    int fd = qmp_take_descriptor(call->client);
    if (fd < 0)
        return qmp_fail(call, QMP_GENERIC_ERROR, "No file descriptor supplied via SCM_RIGHTS");
    return qmp_fd_add(call->server, name, fd, &call->error) < 0 ? NULL : qmp_done();
}

static json_t *closefd(struct qmp_call *call)
{
    const char *name = qmp_string(call, "fdname");
    int fd = qmp_fd_take(call->server, name);
    if (fd < 0)
        return qmp_fail(call, QMP_GENERIC_ERROR, "File descriptor named '%.200s' not found", name);
    close(fd);
    return qmp_done();
}

static json_t *add_fd(struct qmp_call *call)
{
    int64_t id = -1;
    if (qmp_integer(call, "fdset-id", &id) && id < 0)
        return qmp_fail(call, QMP_GENERIC_ERROR,
                        "Parameter 'fdset-id' expects a non-negative value");
    int fd = qmp_take_descriptor(call->client);
    if (fd < 0)
        return qmp_fail(call, QMP_GENERIC_ERROR, "No file descriptor supplied via SCM_RIGHTS");
    if (fdset_add(&id, fd, qmp_string(call, "opaque"), &call->error) < 0)
        return NULL;
    return json_pack("{s:I, s:i}", "fdset-id", (json_int_t)id, "fd", fd);
}

static json_t *remove_fd(struct qmp_call *call)
{
    int64_t id = -1, fd = -1;
    qmp_integer(call, "fdset-id", &id);
    if (qmp_integer(call, "fd", &fd) && (fd < 0 || fd > INT32_MAX))
        return qmp_fail(call, QMP_GENERIC_ERROR, "Parameter 'fd' expects a descriptor's number");
    return fdset_remove(id, (int)fd, &call->error) < 0 ? NULL : qmp_done();
}

static json_t *query_fdsets(struct qmp_call *call)
{
    return fdset_describe();
}

static const struct qmp_argument fdname_arguments[] = {
    {"fdname", QMP_STRING},
    {NULL},
};
static const struct qmp_argument add_arguments[] = {
    {"fdset-id", QMP_INTEGER, .optional = true},
    {"opaque", QMP_STRING, .optional = true},
    {NULL},
};
static const struct qmp_argument remove_arguments[] = {
    {"fdset-id", QMP_INTEGER},
    {"fd", QMP_INTEGER, .optional = true},
    {NULL},
};

const struct qmp_command qmp_fd_commands[] = {
    {"getfd", "names a descriptor that came with this request", getfd, fdname_arguments},
    {"closefd", "closes a named descriptor", closefd, fdname_arguments},
    {"add-fd", "puts a descriptor that came with this request into a set: '/dev/fdset/N' opens it",
     add_fd, add_arguments},
    {"remove-fd", "takes a descriptor, or all, out of a set", remove_fd, remove_arguments},
    {"query-fdsets", "the sets and what is in them", query_fdsets},
    {NULL},
};
