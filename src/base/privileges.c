/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Privileges; see privileges.h. */
#include "base/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/parse.h"
#include "base/util.h"

int privileges_find_user(const char *user, uid_t *to_uid, gid_t *to_gid, struct kv_error *err)
{
    uint64_t uid, gid;
    char text[64];
    if ((size_t)snprintf(text, sizeof(text), "%s", user) >= sizeof(text))
        return kv_error_set(err, KV_ERR_JAIL, EINVAL, "--user: '%.60s...' is too long", user);
    char *colon = strchr(text, ':');
    if (colon)
        *colon++ = '\0';
    const struct passwd *entry = NULL;
    if (parse_u64(text, &uid) < 0) {
        entry = colon ? NULL : getpwnam(text);
        if (!entry)
            return kv_error_set(err, KV_ERR_JAIL, EINVAL,
                                "--user: '%s' is no user of this host; accepted: NAME, UID[:GID]",
                                user);
        uid = entry->pw_uid;
    }
    gid = entry ? entry->pw_gid : uid;
    if ((colon && parse_u64(colon, &gid) < 0) || uid == 0 || uid >= UINT32_MAX || gid == 0 ||
        gid >= UINT32_MAX)
        return kv_error_set(err, KV_ERR_JAIL, EINVAL,
                            "--user: '%s' is not possible; accepted: a user and group other than "
                            "root",
                            user);
    *to_uid = (uid_t)uid;
    *to_gid = (gid_t)gid;
    return 0;
}

int privileges_become(uid_t uid, gid_t gid)
{
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return -errno;
    return 0;
}

void privileges_drop_bounding_set(void)
{
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

int privileges_keep(uint64_t capabilities)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
        data[i].permitted &= (uint32_t)(capabilities >> 32 * i);
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

void privileges_set_limit(__rlimit_resource_t resource, rlim_t value)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) < 0)
        return;
    limit.rlim_max = MIN(limit.rlim_max, value);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(resource, &limit);
}
