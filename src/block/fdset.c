/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of descriptors that stand for files; see fdset.h. */
#include "block/fdset.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/parse.h"

#define MEMBERS_MAX 1024 /* of all sets */
#define PREFIX "/dev/fdset/"

struct member {
    struct list node;
    int64_t set;
    int fd;
    char *opaque;
};

static struct list members = {&members, &members}; /* in order of their sets' numbers */
static unsigned member_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct member *entry(const struct list *pos)
{
    return list_entry((struct list *)pos, struct member, node);
}

static int64_t first_free(void)
{
    int64_t id = 0;
    list_for_each (pos, &members) {
        if (entry(pos)->set > id)
            break;
        id = entry(pos)->set + 1;
    }
    return id;
}

static void insert(struct member *member)
{
    struct list *pos = members.next;
    while (pos != &members && entry(pos)->set <= member->set)
        pos = pos->next;
    list_add_tail(pos, &member->node);
    member_count++;
}

int fdset_add(int64_t *id, int fd, const char *opaque, struct kv_error *err)
{
    cleanup_fd int owned = fd;
    struct member *member = calloc(1, sizeof(*member));
    char *copy = opaque ? strdup(opaque) : NULL;
    pthread_mutex_lock(&lock);
    bool full = member_count >= MEMBERS_MAX;
    if (member && !full && !opaque == !copy) {
        *id = *id < 0 ? first_free() : *id;
        *member = (struct member){.set = *id, .fd = take_fd(&owned), .opaque = copy};
        insert(member);
        member = NULL;
        copy = NULL;
    }
    pthread_mutex_unlock(&lock);
    free(member);
    free(copy);
    return owned < 0 ? 0
                     : kv_error_set(err, KV_ERR_BLOCK, full ? EMFILE : ENOMEM,
                                    full ? "the sets hold %d descriptors already"
                                         : "out of memory (%d descriptors)",
                                    MEMBERS_MAX);
}

int fdset_remove(int64_t id, int fd, struct kv_error *err)
{
    bool found = false;
    pthread_mutex_lock(&lock);
    list_for_each_safe (pos, &members) {
        struct member *member = entry(pos);
        if (member->set != id || (fd >= 0 && member->fd != fd))
            continue;
        list_del(&member->node);
        member_count--;
        close(member->fd);
        free(member->opaque);
        free(member);
        found = true;
    }
    pthread_mutex_unlock(&lock);
    if (found)
        return 0;
    return kv_error_set(err, KV_ERR_BLOCK, ENOENT,
                        "File descriptor named 'fdset-id:%" PRId64 ", fd:%d' not found", id, fd);
}

json_t *fdset_describe(void)
{
    json_t *sets = json_array(), *fds = NULL;
    int64_t last = -1;
    pthread_mutex_lock(&lock);
    list_for_each (pos, &members) {
        const struct member *member = entry(pos);
        if (member->set != last) {
            fds = json_array();
            json_array_append_new(
                sets, json_pack("{s:I, s:o}", "fdset-id", (json_int_t)member->set, "fds", fds));
        }
        last = member->set;
        json_t *row = json_pack("{s:i}", "fd", member->fd);
        if (member->opaque)
            json_object_set_new(row, "opaque", json_string(member->opaque));
        json_array_append_new(fds, row);
    }
    pthread_mutex_unlock(&lock);
    return sets;
}

bool fdset_is_path(const char *path)
{
    return strncmp(path, PREFIX, strlen(PREFIX)) == 0;
}

/* Of two that will do, the one that can do no more. */
static const struct member *find(int64_t set, bool readonly)
{
    const struct member *best = NULL;
    list_for_each (pos, &members) {
        const struct member *member = entry(pos);
        int flags = member->set == set ? fcntl(member->fd, F_GETFL) : -1;
        if (flags < 0)
            continue;
        int access = flags & O_ACCMODE;
        if (access == (readonly ? O_RDONLY : O_RDWR))
            return member;
        if (readonly && access == O_RDWR && !best)
            best = member;
    }
    return best;
}

int fdset_open(const char *path, bool readonly, struct kv_error *err)
{
    uint64_t set;
    if (parse_u64(path + strlen(PREFIX), &set) < 0 || set > INT64_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s' is no " PREFIX "NUMBER", path);
    pthread_mutex_lock(&lock);
    const struct member *member = find((int64_t)set, readonly);
    int fd = member ? fcntl(member->fd, F_DUPFD_CLOEXEC, 0) : -EACCES;
    if (fd == -1)
        fd = -errno;
    pthread_mutex_unlock(&lock);
    return fd >= 0 ? fd
                   : kv_error_set(err, KV_ERR_BLOCK, -fd,
                                  "'%s': the set has no descriptor that is open for %s", path,
                                  readonly ? "reading" : "reading and writing");
}
