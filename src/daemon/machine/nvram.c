/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Firmware's variables; see nvram.h. The copy gets its name when all of it is
 * on disk, so that a start that is cut short leaves no half of it.
 */
#include "daemon/machine/nvram.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"
#include "model/api_error.h"
#include "model/domain.h"

#define SIZE_MAX_BYTES MIB(16) /* as much as the monitor takes */

static int copy(int from, int to)
{
    struct stat st;
    if (fstat(from, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)SIZE_MAX_BYTES)
        return -EINVAL;
    for (off_t left = st.st_size; left > 0;) {
        ssize_t n = sendfile(to, from, NULL, (size_t)left);
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        left -= n;
    }
    return fsync(to) < 0 ? -errno : 0;
}

/* The folder of the file, which only the daemon reads. */
static int make_folder(const char *path)
{
    cleanup_free char *folder = strdup(path);
    char *slash = folder ? strrchr(folder, '/') : NULL;
    if (!slash || slash == folder)
        return 0;
    *slash = '\0';
    return mkdir(folder, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int make(const char *path, const char *from)
{
    cleanup_free char *unfinished = NULL;
    if (asprintf(&unfinished, "%s.new", path) < 0)
        return -ENOMEM;
    cleanup_fd int in = open(from, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (in < 0)
        return -errno;
    int rc = make_folder(path);
    if (rc < 0)
        return rc;
    cleanup_fd int out =
        open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return -errno;
    rc = copy(in, out);
    if (rc == 0 && rename(unfinished, path) < 0)
        rc = -errno;
    if (rc < 0)
        unlink(unfinished);
    return rc;
}

int nvram_open(const struct model_domain *domain, bool reset, struct kv_error *err)
{
    const char *path = domain->nvram, *from = domain->nvram_template;
    bool missing = access(path, F_OK) < 0 && errno == ENOENT;
    if ((missing || reset) && !from)
        return api_error(err, VIR_ERR_OPERATION_FAILED,
                         "unable to find any master var store for loader: %s; <nvram "
                         "template='...'> names one",
                         domain->loader);
    if (missing || reset) {
        int rc = make(path, from);
        if (rc < 0)
            return kv_error_errno(err, KV_ERR_CONTROL, -rc, "nvram '%s': copying '%s'", path, from);
    }
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return fd < 0 ? kv_error_errno(err, KV_ERR_CONTROL, errno, "nvram '%s'", path) : fd;
}

/* What a daemon left that ended between begin and end is no obstacle. */
static bool is_same_file(const char *a, const char *b)
{
    struct stat one, other;
    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

int nvram_rename_begin(const char *from, const char *to, struct kv_error *err)
{
    if (access(to, F_OK) == 0 && !is_same_file(from, to))
        return api_error(err, VIR_ERR_OPERATION_INVALID,
                         "nvram '%s' exists already and may be another domain's", to);
    if (link(from, to) == 0 || errno == ENOENT || errno == EEXIST)
        return 0;
    return kv_error_errno(err, KV_ERR_CONTROL, errno, "nvram '%s': naming it '%s'", from, to);
}

void nvram_rename_end(const char *from, const char *to, bool renamed)
{
    const char *old = renamed ? from : to;
    if (unlink(old) < 0 && errno != ENOENT)
        log_warning("nvram '%s' cannot be removed: %s", old, strerror(errno));
}
