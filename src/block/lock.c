/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Image locking. Byte 100 + n of the file is locked by who uses permission n,
 * byte 200 + n by who does not let others use it; these are the ranges that
 * QEMU locks, so that the two exclude each other. All locks are shared OFD
 * locks: a conflict is found by asking whether an exclusive one would fit.
 * Called by file.c when a node is opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "base/log.h"
#include "base/util.h"
#include "block/driver.h"

#define USED_BASE 100
#define DENIED_BASE 200
#define HOLDER_PATIENCE_MS 1000
#define HOLDER_POLL_MS 5

enum permission {
    PERMISSION_READ = 0, /* consistent read */
    PERMISSION_WRITE = 1,
    PERMISSION_COUNT = 2,
};

/*
 * The kernel takes an io_uring down, and with it what it holds open, a moment
 * after the process that had it was killed: a holder that is going away is
 * waited for. *patience_ms is what is left of the wait.
 */
static bool held_by_others(int fd, off_t byte, int *patience_ms)
{
    for (;; *patience_ms -= HOLDER_POLL_MS) {
        struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
        if (fcntl(fd, F_OFD_GETLK, &range) < 0 || range.l_type == F_UNLCK)
            return false;
        if (*patience_ms <= 0)
            return true;
        const struct timespec pause = {.tv_nsec = HOLDER_POLL_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
}

static int hold(int fd, off_t byte)
{
    struct flock range = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &range) < 0 ? -errno : 0;
}

/* Closing is not enough: an io_uring that is being torn down keeps the file open for a while. */
void image_unlock(int fd)
{
    struct flock range = {
        .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = USED_BASE, .l_len = 2 * USED_BASE};
    fcntl(fd, F_OFD_SETLK, &range);
}

int image_lock(int fd, const char *name, bool readonly, bool share_rw, struct kv_error *err)
{
    const bool used[PERMISSION_COUNT] = {true, !readonly};
    const bool denied[PERMISSION_COUNT] = {false, !share_rw};

    /* First take, then look: of two that start together at least one sees the other. */
    for (int i = 0; i < PERMISSION_COUNT; i++) {
        int rc = used[i] ? hold(fd, USED_BASE + i) : 0;
        if (rc == 0 && denied[i])
            rc = hold(fd, DENIED_BASE + i);
        if (rc == -EAGAIN || rc == -EACCES)
            return kv_error_set(err, KV_ERR_BLOCK, EAGAIN, "'%s': locked by another process", name);
        if (rc < 0) {
            log_info("disk '%s': this file system has no OFD locks, using it unlocked", name);
            return 0;
        }
    }
    int patience_ms = HOLDER_PATIENCE_MS;
    for (int i = 0; i < PERMISSION_COUNT; i++) {
        if (used[i] && held_by_others(fd, DENIED_BASE + i, &patience_ms))
            return kv_error_set(err, KV_ERR_BLOCK, EAGAIN,
                                "'%s': another process uses it and does not let others %s it "
                                "(share-rw=on on both sides allows that)",
                                name, i == PERMISSION_WRITE ? "write" : "read");
        if (denied[i] && held_by_others(fd, USED_BASE + i, &patience_ms))
            return kv_error_set(err, KV_ERR_BLOCK, EAGAIN,
                                "'%s': another process writes to it (share-rw=on allows that)",
                                name);
    }
    return 0;
}
