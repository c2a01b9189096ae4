/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log files of chardevs, bounded and rotated without names: a jailed process
 * can open and rename nothing, so contents move between open files.
 */
#include "vmm/chardev_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "vmm/chardev.h"

#define COPY_CHUNK 65536

static int parse_fds(struct chardev_log *log, const char *text, struct kv_error *err)
{
    while (*text) {
        char *end;
        unsigned long fd = strtoul(text, &end, 10);
        if (end == text || fd > INT32_MAX || (*end && *end != ':') || (*end && !end[1]) ||
            log->count == CHARDEV_LOG_FILES)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                                "log-fds: '%s' is not a list of 1 to %d descriptors such as 3:4:5",
                                text, CHARDEV_LOG_FILES);
        log->fds[log->count++] = (int)fd;
        text = *end ? end + 1 : end;
    }
    return log->count ? 0
                      : kv_error_set(err, KV_ERR_CONFIG, EINVAL, "log-fds: no descriptor is given");
}

static int check_files(struct chardev_log *log, struct kv_error *err)
{
    struct stat st;
    for (unsigned i = log->count; i-- > 0;) {
        if (fstat(log->fds[i], &st) < 0 || !S_ISREG(st.st_mode) ||
            (fcntl(log->fds[i], F_GETFL) & O_ACCMODE) != O_RDWR)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                                "log-fds: descriptor %d is no regular file open for reading and "
                                "writing",
                                log->fds[i]);
        fcntl(log->fds[i], F_SETFD, FD_CLOEXEC);
        log->size = (uint64_t)st.st_size;
    }
    return 0;
}

struct chardev_log *chardev_log_open(const char *fds, uint64_t limit, struct kv_error *err)
{
    struct chardev_log *log = calloc(1, sizeof(*log));
    if (!log) {
        kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "log: out of memory");
        return NULL;
    }
    log->limit = limit;
    log->pending = BUFFER_INIT(CHARDEV_BUFFER);
    if (parse_fds(log, fds, err) < 0 || check_files(log, err) < 0) {
        chardev_log_free(log);
        return NULL;
    }
    return log;
}

void chardev_log_free(struct chardev_log *log)
{
    if (!log)
        return;
    for (unsigned i = 0; i < log->count; i++)
        close(log->fds[i]);
    buffer_free(&log->pending);
    free(log);
}

static int copy_content(int from, int to)
{
    uint8_t *bytes = malloc(COPY_CHUNK);
    off_t at = 0;
    ssize_t n = bytes ? 1 : -1;
    int rc = bytes && ftruncate(to, 0) == 0 ? 0 : -errno;
    while (rc == 0 && (n = pread(from, bytes, COPY_CHUNK, at)) > 0) {
        if (pwrite(to, bytes, (size_t)n, at) != n)
            rc = -EIO;
        at += n;
    }
    free(bytes);
    return n < 0 && rc == 0 ? -errno : rc;
}

static void rotate(struct chardev_log *log)
{
    int rc = 0;
    for (unsigned i = log->count; i-- > 1 && rc == 0;)
        rc = copy_content(log->fds[i - 1], log->fds[i]);
    if (rc < 0)
        log_guest("log of a serial port or console: %s", strerror(-rc));
    if (ftruncate(log->fds[0], 0) == 0)
        log->size = 0;
}

void chardev_log_write(struct chardev_log *log, const uint8_t *bytes, size_t len)
{
    if (log->limit && log->size && log->size + len > log->limit)
        rotate(log);
    while (len) {
        ssize_t n = pwrite(log->fds[0], bytes, len, (off_t)log->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            log_guest("log of a serial port or console: %s", strerror(errno));
            return;
        }
        log->size += (uint64_t)n;
        bytes += n;
        len -= (size_t)n;
    }
}
