/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The switch's jail, step by step; see jail.h. */
#include "switch/jail/jail.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/iothread.h"
#include "base/jail_rules.h"
#include "base/log.h"
#include "base/privileges.h"
#include "base/util.h"
#include "switch/jail/switch_filters.h"
#include "switch/ports/opener.h"

#define FDS_MAX 65536 /* each port has some, of each of its rings two or three */

static int refuse(struct kv_error *err, int code, const char *step)
{
    return kv_error_errno(err, KV_ERR_JAIL, code, "jail: %s (--no-jail does without)", step);
}

/* RULE_OWN_PID stands for a number that is known only now. */
static int set_filter(struct sock_filter *filter, size_t len)
{
    const struct sock_fprog program = {.len = (unsigned short)len, .filter = filter};
    for (size_t i = 0; i < len; i++) {
        if (filter[i].k == RULE_OWN_PID)
            filter[i].k = (uint32_t)getpid();
    }
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}

/* Going on without it would be a jail in name only. */
static void end_unless(bool done, const char *step)
{
    if (done)
        return;
    log_error("jail: %s: %s", step, strerror(errno));
    _exit(1);
}

/* On the forwarding thread, which has the control thread's filter as well. */
static void enter_thread(enum thread_kind kind)
{
    if (kind == THREAD_IO)
        end_unless(set_filter(forward_filter, ARRAY_SIZE(forward_filter)) == 0,
                   "system-call filter");
}

/* The process that opens taps and packet sockets. */
static void enter_opener(void)
{
    privileges_drop_bounding_set();
    end_unless(privileges_keep(BIT(CAP_NET_ADMIN) | BIT(CAP_NET_RAW)) == 0, "capabilities");
    end_unless(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
    end_unless(set_filter(opener_filter, ARRAY_SIZE(opener_filter)) == 0, "system-call filter");
}

int switch_jail_enter(const char *user, struct kv_error *err)
{
    uid_t uid = 0;
    gid_t gid = 0;
    int rc = user ? privileges_find_user(user, &uid, &gid, err) : 0;
    if (rc == 0 && user && geteuid() != 0)
        rc = kv_error_set(err, KV_ERR_JAIL, EPERM, "--user: only root can become somebody else");
    if (rc == 0)
        rc = opener_start(enter_opener, err);
    if (rc < 0)
        return rc;
    privileges_set_limit(RLIMIT_CORE, 0); /* guests' memory does not belong on the host's disk */
    privileges_set_limit(RLIMIT_NOFILE, FDS_MAX);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return refuse(err, errno, "no new privileges");
    privileges_drop_bounding_set();
    rc = user ? privileges_become(uid, gid) : 0;
    if (rc < 0)
        return refuse(err, -rc, "change of user");
    rc = privileges_keep(0);
    if (rc < 0)
        return refuse(err, -rc, "capabilities");
    rc = set_filter(control_filter, ARRAY_SIZE(control_filter));
    if (rc < 0)
        return refuse(err, -rc, "system-call filter");
    thread_set_enter_hook(enter_thread);
    return 0;
}
