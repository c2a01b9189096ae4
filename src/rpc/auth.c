/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a client proves who it is: nothing to do, polkit, SASL (sasl.c has the mechanisms). */
#include <errno.h>
#include <fcntl.h>
#include <libvirt/virterror.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "model/api_error.h"
#include "rpc/internal.h"

extern char **environ;

static int auth_list(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(AUTH_LIST) *out = ret;
    struct rpc_client *client = call->client;
    /* root is let in also while polkit does not run */
    if (client->auth == RPC_AUTH_POLKIT && client->uid == 0)
        client_set_proved(client);
    out->types.types_val = malloc(sizeof(int));
    if (!out->types.types_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    out->types.types_len = 1;
    out->types.types_val[0] = atomic_load(&client->proved) ? (int)RPC_AUTH_NONE : (int)client->auth;
    return 0;
}

/* When the process was started, in ticks since boot (proc(5), field 22 of stat): with the number
 * it names a process for good. */
static int start_time(pid_t pid, unsigned long long *out)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return -ESRCH;
    text[n] = '\0';
    const char *at = strrchr(text, ')'); /* the name may hold anything */
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at && sscanf(at, " %llu", out) == 1 ? 0 : -ESRCH;
}

/* Runs polkit's own tool. Returns its exit status, or -errno. */
static int ask_polkit(const char *action, pid_t pid, unsigned long long started, uid_t uid)
{
    char process[96];
    snprintf(process, sizeof(process), "%d,%llu,%u", pid, started, uid);
    char *argv[] = {(char *)(uintptr_t) "pkcheck",
                    (char *)(uintptr_t) "--action-id",
                    (char *)(uintptr_t)action,
                    (char *)(uintptr_t) "--process",
                    process,
                    (char *)(uintptr_t) "--allow-user-interaction",
                    NULL};
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    pid_t child;
    int r = posix_spawnp(&child, argv[0], &files, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    if (r != 0)
        return -r;
    int status;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

static int auth_polkit(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(AUTH_POLKIT) *out = ret;
    struct rpc_client *client = call->client;
    const char *action = client->read_only ? "org.libvirt.unix.monitor" : "org.libvirt.unix.manage";
    unsigned long long started;
    if (client->auth != RPC_AUTH_POLKIT || client->pid == 0 ||
        start_time(client->pid, &started) < 0)
        return api_error_from(err, VIR_FROM_POLKIT, VIR_ERR_AUTH_FAILED, NULL);
    int status = ask_polkit(action, client->pid, started, client->uid);
    switch (status) {
    case 0:
        client_set_proved(client);
        out->complete = 1;
        return 0;
    case 2:
        return api_error_from(err, VIR_FROM_POLKIT, VIR_ERR_AUTH_UNAVAILABLE,
                              "no polkit agent available to authenticate action '%s'", action);
    case 3:
        return api_error_from(err, VIR_FROM_POLKIT, VIR_ERR_AUTH_CANCELLED,
                              "user cancelled authentication process");
    default:
        log_info("client %llu: polkit refuses '%s' to process %d of user %u (pkcheck: %d)",
                 (unsigned long long)client->id, action, client->pid, client->uid, status);
        return api_error_from(err, VIR_FROM_POLKIT, VIR_ERR_AUTH_FAILED, "access denied by policy");
    }
}

const struct rpc_handler auth_handlers[] = {
    {REMOTE_PROC_AUTH_LIST, auth_list, RPC_INLINE},
    {REMOTE_PROC_AUTH_POLKIT, auth_polkit, 0},
    {REMOTE_PROC_AUTH_SASL_INIT, auth_sasl_init, RPC_INLINE},
    {REMOTE_PROC_AUTH_SASL_START, auth_sasl_start, RPC_INLINE},
    {REMOTE_PROC_AUTH_SASL_STEP, auth_sasl_step, RPC_INLINE},
    {0},
};
