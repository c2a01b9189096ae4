/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signals others' eventfds without ever waiting. An eventfd comes from a guest's front end, which
 * shares the file description: it may fill the counter and take O_NONBLOCK away whenever it likes,
 * and a write would wait for it. The kernel itself never waits when it signals an eventfd, and it
 * does so when an asynchronous read is done (io_submit(2), IOCB_FLAG_RESFD). So each signal is an
 * empty read of /dev/null, and one system call carries many. Belongs to the forwarding thread.
 */
#ifndef KV_SWITCH_FORWARD_NOTIFIER_H
#define KV_SWITCH_FORWARD_NOTIFIER_H

#include <linux/aio_abi.h>

#include "base/error.h"

#define NOTIFIER_BATCH 32

struct notifier {
    aio_context_t context;
    int null_fd;
    unsigned count;     /* of iocbs: to be signalled */
    unsigned completed; /* reads whose results nobody took yet */
    struct iocb iocbs[NOTIFIER_BATCH];
};

int notifier_init(struct notifier *notifier, struct kv_error *err);
void notifier_destroy(struct notifier *notifier);

/* The eventfd is signalled at the next flush at the latest, until which it stays open. */
void notifier_add(struct notifier *notifier, int eventfd);
void notifier_flush(struct notifier *notifier);

#endif
