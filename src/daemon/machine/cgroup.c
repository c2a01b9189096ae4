/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control groups by their files; see cgroup.h and the kernel's cgroup-v2 document. */
#include "daemon/machine/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#define CGROUP2_MAGIC 0x63677270
#define REMOVE_TRIES 200 /* of 10 ms */
#define WANTED_CONTROLLERS "+cpu +memory +io +pids +cpuset"

static bool is_cgroup2(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && fs.f_type == CGROUP2_MAGIC;
}

int cgroup_write(const char *directory, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
}

/* The group that this process is in: the line "0::/path". */
static char *own_group(void)
{
    char text[4096];
    cleanup_fd int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return NULL;
    text[n] = '\0';
    char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!line)
        return NULL;
    line = strchr(line, '/');
    return line ? strndup(line, strcspn(line, "\n")) : NULL;
}

/* One by one: a controller that is in use elsewhere must not keep the others away. */
static void hand_down_controllers(const char *path)
{
    const char *at = WANTED_CONTROLLERS;
    while (*at) {
        char word[16];
        size_t len = strcspn(at, " ");
        snprintf(word, sizeof(word), "%.*s", (int)len, at);
        cgroup_write(path, "cgroup.subtree_control", word);
        at += len + strspn(at + len, " ");
    }
}

char *cgroup_find_parent(const char *parent)
{
    static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char *path = NULL;
    if (parent) {
        path = strdup(parent);
    } else {
        const char *mount = NULL;
        for (unsigned i = 0; i < ARRAY_SIZE(mounts) && !mount; i++)
            mount = is_cgroup2(mounts[i]) ? mounts[i] : NULL;
        cleanup_free char *own = geteuid() == 0 ? strdup("") : own_group();
        if (!mount || !own || asprintf(&path, "%s%s/kvasir", mount, own) < 0)
            return NULL;
    }
    if (path && ((mkdir(path, 0755) < 0 && errno != EEXIST) || !is_cgroup2(path) ||
                 access(path, W_OK) < 0)) {
        free(path);
        return NULL;
    }
    /* A group has the controllers that the one above hands down: systemd's hosts do so at the top
     * already, others do not. */
    cleanup_free char *above = path ? strndup(path, (size_t)(strrchr(path, '/') - path)) : NULL;
    if (above)
        hand_down_controllers(above);
    if (path)
        hand_down_controllers(path);
    return path;
}

int cgroup_create(const char *path)
{
    return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

int cgroup_create_threaded(const char *parent, const char *path)
{
    int rc = cgroup_create(path);
    if (rc == 0)
        rc = cgroup_write(path, "cgroup.type", "threaded");
    if (rc == 0)
        rc = cgroup_write(parent, "cgroup.subtree_control", "+cpu");
    if (rc < 0)
        rmdir(path); /* stays where threads are in it */
    return rc;
}

/* Groups of threads below it, whose threads are gone. */
static void remove_children(const char *path)
{
    char name[768];
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        rmdir(name);
    }
    if (dir)
        closedir(dir);
}

/* For kernels without cgroup.kill (before 5.14). */
static void kill_members(const char *path)
{
    char name[512];
    int pid;
    snprintf(name, sizeof(name), "%s/cgroup.procs", path);
    FILE *file = fopen(name, "re");
    while (file && fscanf(file, "%d", &pid) == 1) {
        if (pid > 1)
            kill(pid, SIGKILL);
    }
    if (file)
        fclose(file);
}

void cgroup_remove(const char *path)
{
    static const struct timespec pause = {.tv_nsec = 10000000};
    for (int i = 0; i < REMOVE_TRIES; i++) {
        if (rmdir(path) == 0 || errno == ENOENT)
            return;
        if (errno != EBUSY)
            break;
        if (cgroup_write(path, "cgroup.kill", "1") < 0)
            kill_members(path);
        remove_children(path);
        nanosleep(&pause, NULL);
    }
    log_warning("group '%s' is left behind: %s", path, strerror(errno));
}
