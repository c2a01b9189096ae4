/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signals that do not wait; see notifier.h. */
#include "switch/forward/notifier.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Results that the kernel keeps for us; they are taken when half of the room is used. */
#define RESULTS_MAX (4 * NOTIFIER_BATCH)

int notifier_init(struct notifier *notifier, struct kv_error *err)
{
    *notifier = (struct notifier){.null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC)};
    if (notifier->null_fd < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "/dev/null");
    if (syscall(SYS_io_setup, RESULTS_MAX, &notifier->context) < 0)
        return kv_error_errno(err, KV_ERR_NET, errno,
                              "guests are signalled by io_submit(), which the kernel must have "
                              "(CONFIG_AIO) and /proc/sys/fs/aio-max-nr leave room for");
    return 0;
}

void notifier_destroy(struct notifier *notifier)
{
    if (notifier->context)
        syscall(SYS_io_destroy, notifier->context);
    if (notifier->null_fd >= 0)
        close(notifier->null_fd);
}

void notifier_add(struct notifier *notifier, int eventfd)
{
    if (notifier->count == NOTIFIER_BATCH)
        notifier_flush(notifier);
    notifier->iocbs[notifier->count++] = (struct iocb){
        .aio_lio_opcode = IOCB_CMD_PREAD,
        .aio_fildes = (uint32_t)notifier->null_fd,
        .aio_flags = IOCB_FLAG_RESFD,
        .aio_resfd = (uint32_t)eventfd,
    };
}

static void take_results(struct notifier *notifier)
{
    struct io_event results[RESULTS_MAX];
    struct timespec now = {0};
    syscall(SYS_io_getevents, notifier->context, 0L, (long)RESULTS_MAX, results, &now);
    notifier->completed = 0;
}

void notifier_flush(struct notifier *notifier)
{
    struct iocb *list[NOTIFIER_BATCH];
    for (unsigned i = 0; i < notifier->count; i++)
        list[i] = &notifier->iocbs[i];
    for (unsigned i = 0; i < notifier->count;) {
        if (notifier->completed >= RESULTS_MAX / 2)
            take_results(notifier);
        long done =
            syscall(SYS_io_submit, notifier->context, (long)(notifier->count - i), &list[i]);
        /* One that cannot be signalled stands for itself. */
        i += done > 0 ? (unsigned)done : 1;
        notifier->completed += done > 0 ? (unsigned)done : 0;
    }
    notifier->count = 0;
}
