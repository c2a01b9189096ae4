/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starts swtpm for a machine; see tpm.h. swtpm_setup(8) makes what a new TPM
 * keeps: its endorsement keys. The two programs run as the daemon's user, swtpm
 * with its own filter of system calls; the monitor gets a socket.
 */
#include "daemon/machine/tpm.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/machine/config.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"
#include "model/domain.h"

#define SETUP_MS 60000               /* keys of RSA take some time on a busy host */
#define STATE_FILE "tpm2-00.permall" /* what a TPM that was set up has */

static int describe_folder(const struct machine_host *host, const char *uuid, char **out,
                           struct kv_error *err)
{
    if (asprintf(out, "%s/%s", host->tpm_dir, uuid) >= 0)
        return 0;
    *out = NULL;
    return api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

/* Its files alone: the folder is ours. */
static int remove_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT ? 0 : -errno;
    for (const struct dirent *entry; (entry = readdir(dir));)
        unlinkat(dirfd(dir), entry->d_name, 0); /* "." and "..": refused */
    closedir(dir);
    return rmdir(path) < 0 ? -errno : 0;
}

void machine_host_forget_tpm(struct machine_host *host, const char *uuid)
{
    struct kv_error err;
    cleanup_free char *folder = NULL;
    if (describe_folder(host, uuid, &folder, &err) < 0)
        return;
    int rc = remove_folder(folder);
    if (rc < 0)
        log_warning("the TPM's state '%s' cannot be removed: %s", folder, strerror(-rc));
}

static int make_folder(const char *path, struct kv_error *err)
{
    return mkdir(path, 0700) < 0 && errno != EEXIST
               ? kv_error_errno(err, KV_ERR_CONTROL, errno, "the TPM's state '%s'", path)
               : 0;
}

/* A start that was cut short leaves no state, so that the next one makes it. */
static int set_up(const char *folder, struct kv_error *err)
{
    cleanup_free char *state = NULL;
    if (asprintf(&state, "%s/" STATE_FILE, folder) < 0)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    if (access(state, F_OK) == 0)
        return 0;
    const char *const argv[] = {"swtpm_setup",     "--tpm2",      "--tpmstate", folder,
                                "--createek",      "--pcr-banks", "sha256",     "--lock-nvram",
                                "--not-overwrite", NULL};
    int rc = process_run(argv, SETUP_MS, err);
    if (rc < 0)
        remove_folder(folder);
    return rc;
}

static int run(struct plan *plan, const char *folder, int socket, struct kv_error *err)
{
    struct process process;
    cleanup_free char *state = NULL, *control = NULL;
    if (asprintf(&state, "dir=%s,mode=0600", folder) < 0 ||
        asprintf(&control, "type=unixio,clientfd=%d", socket) < 0)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    const char *const argv[] = {"swtpm", "socket", "--tpm2", "--tpmstate",
                                state,   "--ctrl", control,  NULL};
    const struct process_spec spec = {.argv = argv,
                                      .fds = &socket,
                                      .fd_count = 1,
                                      .in = -1,
                                      .out = -1,
                                      .err = -1,
                                      .cgroup = plan->cgroup};
    int rc = process_start(&process, &spec, plan_note_process, plan, err);
    if (rc == 0)
        process_close(&process);
    return rc;
}

int config_add_tpm(struct plan *plan, const struct model_domain *domain, struct kv_error *err)
{
    cleanup_free char *folder = NULL;
    int pair[2];
    if (!domain->tpm)
        return 0;
    int rc = describe_folder(plan->host, plan->uuid, &folder, err);
    if (rc == 0)
        rc = make_folder(plan->host->tpm_dir, err);
    if (rc == 0)
        rc = make_folder(folder, err);
    if (rc == 0)
        rc = set_up(folder, err);
    if (rc < 0)
        return rc;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, errno, "swtpm");
    cleanup_fd int ours = pair[0], theirs = pair[1];
    rc = run(plan, folder, theirs, err);
    if (rc < 0)
        return rc;
    json_t *options = json_pack("{s:o?}", "backend", plan_fd_text(plan, take_fd(&ours), err));
    config_set_text(options, "id", domain->tpm->device.alias);
    config_set_text(options, "model", domain->tpm->model + strlen("tpm-"));
    return options ? plan_add(plan, "tpm", options, err) : -ENOMEM;
}
