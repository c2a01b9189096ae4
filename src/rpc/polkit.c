/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asks polkit; see polkit.h. auth.c calls it on a worker.
 *
 * A rule or a group answers at once. A user who has to type a password is asked in a second
 * question, of which each user has one at a time and all together few: a user who never answers
 * holds up nobody's workers but the one.
 */
#include "rpc/polkit.h"

#include <errno.h>
#include <fcntl.h>
#include <libvirt/virterror.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "model/api_error.h"
#include "rpc/internal.h"

#define DIALOGS_MAX 8 /* passwords that are waited for */
#define LOOK_MS 200   /* how often we look whether anybody still waits for the answer */
#define RULES_S 30    /* polkit's patience for its rules is 15 s */

/* pkcheck(1), "Return value" */
enum answer {
    YES = 0,
    NO = 1,
    ASK_THE_USER = 2, /* or there is no agent who could */
    DISMISSED = 3,
};

extern char **environ;

static pthread_mutex_t dialogs_lock = PTHREAD_MUTEX_INITIALIZER;
static uid_t dialogs[DIALOGS_MAX]; /* users who are being asked; under the lock */
static unsigned n_dialogs;

static bool dialog_begin(uid_t uid)
{
    pthread_mutex_lock(&dialogs_lock);
    bool may = n_dialogs < DIALOGS_MAX;
    for (unsigned i = 0; i < n_dialogs; i++)
        may = may && dialogs[i] != uid;
    if (may)
        dialogs[n_dialogs++] = uid;
    pthread_mutex_unlock(&dialogs_lock);
    return may;
}

static void dialog_end(uid_t uid)
{
    pthread_mutex_lock(&dialogs_lock);
    for (unsigned i = 0; i < n_dialogs; i++) {
        if (dialogs[i] == uid) {
            dialogs[i] = dialogs[--n_dialogs];
            break;
        }
    }
    pthread_mutex_unlock(&dialogs_lock);
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

/* Signals are as for any program: workers have them blocked. */
static int start_tool(const char *action, const char *process, bool ask_user, pid_t *child)
{
    char *argv[] = {(char *)(uintptr_t) "pkcheck",
                    (char *)(uintptr_t) "--action-id",
                    (char *)(uintptr_t)action,
                    (char *)(uintptr_t) "--process",
                    (char *)(uintptr_t)process,
                    ask_user ? (char *)(uintptr_t) "--allow-user-interaction" : NULL,
                    NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    int r = posix_spawnp(child, argv[0], &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return -r;
}

static bool nobody_waits(struct rpc_client *client)
{
    pthread_mutex_lock(&client->lock);
    bool closed = client->closed;
    pthread_mutex_unlock(&client->lock);
    return closed || atomic_load(&client->server->stopping);
}

/* Without its tool's connection polkit drops the question, and the agent its dialog. */
static void wait_for_tool(struct rpc_client *client, pid_t child, int64_t until_ns)
{
    cleanup_fd int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    while (poll(&end, pidfd >= 0, LOOK_MS) == 0) {
        if (nobody_waits(client) || clock_monotonic_ns() > until_ns) {
            kill(child, SIGKILL);
            return;
        }
    }
}

/* An answer, or -errno. */
static int question(struct rpc_client *client, const char *action, const char *process,
                    bool ask_user)
{
    pid_t child;
    int status, r = start_tool(action, process, ask_user, &child);
    if (r < 0)
        return r;
    wait_for_tool(client, child,
                  ask_user ? INT64_MAX : clock_monotonic_ns() + RULES_S * INT64_C(1000000000));
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -ETIMEDOUT;
}

int polkit_ask(struct rpc_client *client, const char *action, struct kv_error *err)
{
    unsigned long long started;
    char process[96];
    if (client->pid == 0 || start_time(client->pid, &started) < 0)
        return api_error_from(err, VIR_FROM_POLKIT, VIR_ERR_AUTH_FAILED, NULL);
    snprintf(process, sizeof(process), "%d,%llu,%u", client->pid, started, client->uid);

    int answer = question(client, action, process, false);
    if (answer == ASK_THE_USER) {
        if (!dialog_begin(client->uid))
            return api_error_from(err, VIR_FROM_POLKIT, VIR_ERR_AUTH_FAILED,
                                  "user %u is asked for a password already", client->uid);
        atomic_store(&client->asked, true);
        answer = question(client, action, process, true);
        atomic_store(&client->asked, false);
        dialog_end(client->uid);
    }
    switch (answer) {
    case YES:
        return 0;
    case ASK_THE_USER:
        return api_error_from(err, VIR_FROM_POLKIT, VIR_ERR_AUTH_UNAVAILABLE,
                              "no polkit agent available to authenticate action '%s'", action);
    case DISMISSED:
        return api_error_from(err, VIR_FROM_POLKIT, VIR_ERR_AUTH_CANCELLED,
                              "user cancelled authentication process");
    default:
        log_info("client %llu: polkit refuses '%s' to process %d of user %u (pkcheck: %d)",
                 (unsigned long long)client->id, action, client->pid, client->uid, answer);
        return api_error_from(err, VIR_FROM_POLKIT, VIR_ERR_AUTH_FAILED, "access denied by policy");
    }
}
