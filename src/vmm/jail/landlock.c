/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Landlock (Linux Documentation/userspace-api/landlock.rst): a ruleset that
 * handles every right this kernel knows and grants none.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "vmm/jail/jail_internal.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif

#define CREATE_RULESET_VERSION 1u

/* struct landlock_ruleset_attr as of ABI 6; older kernels take the front part. */
struct ruleset {
    uint64_t handled_access_fs, handled_access_net, scoped;
};

/* From which version of the ABI on there are how many rights. */
static const struct {
    int abi;
    unsigned fs, net, scoped; /* numbers of bits */
    size_t size;
} versions[] = {
    {6, 16, 2, 2, 24}, {5, 16, 2, 0, 16}, {4, 15, 2, 0, 16},
    {3, 15, 0, 0, 8},  {2, 14, 0, 0, 8},  {1, 13, 0, 0, 8},
};

int jail_landlock(void)
{
    int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
    if (abi < 1)
        return 0; /* not in this kernel, or not switched on */
    unsigned i = 0;
    while (i + 1 < ARRAY_SIZE(versions) && versions[i].abi > abi)
        i++;
    struct ruleset ruleset = {
        .handled_access_fs = BIT(versions[i].fs) - 1,
        .handled_access_net = BIT(versions[i].net) - 1,
        .scoped = BIT(versions[i].scoped) - 1,
    };
    cleanup_fd int fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, versions[i].size, 0u);
    if (fd < 0)
        return -errno;
    return syscall(SYS_landlock_restrict_self, fd, 0u) < 0 ? -errno : 0;
}
