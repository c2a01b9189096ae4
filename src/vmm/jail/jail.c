/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A build without the jail: it is refused, so that nobody believes to be in one. See jail.h. */
#include "vmm/jail/jail.h"

#include <errno.h>

int jail_fork(struct kv_error *err)
{
    return kv_error_set(err, KV_ERR_JAIL, ENOTSUP, "this build has no jail; start with --no-jail");
}

int jail_enter(struct kv_error *err)
{
    return jail_fork(err);
}
