/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img snapshot, and what other commands need of snapshots. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "img/img.h"

struct snapshot_args {
    struct img_args args;
    bool list;
    struct img_list actions; /* -a, -c, -d */
};

static const struct img_option snapshot_options[] = {
    IMG_OPTION('l', NULL, IMG_FLAG, snapshot_args, list, NULL, "list the snapshots"),
    IMG_OPTION('a', NULL, IMG_LIST, snapshot_args, actions, "SNAPSHOT",
               "set the image back to a snapshot"),
    IMG_OPTION('c', NULL, IMG_LIST, snapshot_args, actions, "SNAPSHOT", "make a snapshot"),
    IMG_OPTION('d', NULL, IMG_LIST, snapshot_args, actions, "SNAPSHOT", "delete a snapshot"),
    IMG_FORMAT('f', snapshot_args),
    IMG_OBJECT(snapshot_args),
    IMG_IMAGE_OPTS(snapshot_args),
    IMG_QUIET(snapshot_args),
    IMG_SHARE(snapshot_args),
    IMG_OPTIONS_END,
};

static void print_line(const struct block_snapshot *s)
{
    char size[16], date[32] = "", clock[64], icount[24] = "";
    struct tm tm;
    time_t seconds = (time_t)s->date_sec;
    uint64_t elapsed = s->vm_clock_nsec / 1000000000;
    img_size_text(size, sizeof(size), s->vm_state_size);
    if (localtime_r(&seconds, &tm))
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
    snprintf(clock, sizeof(clock), "%02" PRIu64 ":%02u:%02u.%03u", elapsed / 3600,
             (unsigned)(elapsed / 60 % 60), (unsigned)(elapsed % 60),
             (unsigned)(s->vm_clock_nsec / 1000000 % 1000));
    if (s->icount != UINT64_MAX)
        snprintf(icount, sizeof(icount), "%" PRIu64, s->icount);
    printf("%-9s %-16s %8s%20s%13s%11s\n", s->id, s->name, size, date, clock, icount);
}

int img_print_snapshots(struct block_node *node)
{
    cleanup_free struct block_snapshot *snapshots = NULL;
    unsigned count = 0;
    struct kv_error err = {0};
    if (!node->driver->snapshots)
        return 0;
    int rc = node->driver->snapshots->list(node, &snapshots, &count, &err);
    if (rc < 0) {
        img_error("%s", err.message);
        return rc;
    }
    if (count)
        printf("Snapshot list:\n%-9s %-16s %8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE",
               "VM CLOCK", "ICOUNT");
    for (unsigned i = 0; i < count; i++)
        print_line(&snapshots[i]);
    return 0;
}

/* ------------------------------------------------------------------ source */

/* Whether a snapshot has the id and the name; NULL fits all. */
static bool fits(const struct block_snapshot *s, const char *id, const char *name)
{
    return (!id || strcmp(s->id, id) == 0) && (!name || strcmp(s->name, name) == 0);
}

/* Splits "snapshot.id=ID,snapshot.name=NAME" in place. */
static int split_param(char *param, const char **id, const char **name)
{
    for (char *next, *word = strtok_r(param, ",", &next); word; word = strtok_r(NULL, ",", &next)) {
        if (strncmp(word, "snapshot.id=", 12) == 0) {
            *id = word + 12;
        } else if (strncmp(word, "snapshot.name=", 14) == 0) {
            *name = word + 14;
        } else {
            img_error("Invalid parameter '%.*s'", (int)strcspn(word, "="), word);
            return -EINVAL;
        }
    }
    return 0;
}

int img_load_snapshot(struct block_node *node, const char *param)
{
    const struct block_snapshot_ops *ops = node->driver->snapshots;
    cleanup_free struct block_snapshot *snapshots = NULL;
    cleanup_free char *copy = strdup(param);
    const char *id = NULL, *name = NULL;
    unsigned count = 0;
    struct kv_error err = {0};
    int rc = copy ? 0 : -ENOMEM;
    if (rc == 0 && strncmp(param, "snapshot.", 9) == 0)
        rc = split_param(copy, &id, &name);
    if (rc < 0) {
        img_error("Failed in parsing snapshot param '%s'", param);
        return rc;
    }
    if (!ops || !ops->load) {
        img_error("Failed to load snapshot: Block format '%s' used by device '' does not support "
                  "temporarily loading internal snapshots",
                  block_format(node));
        return -ENOTSUP;
    }
    rc = ops->list(node, &snapshots, &count, &err);
    const struct block_snapshot *found = NULL;
    for (unsigned i = 0; rc == 0 && i < count && !found; i++) {
        if (id || name ? fits(&snapshots[i], id, name) : fits(&snapshots[i], param, NULL))
            found = &snapshots[i];
    }
    for (unsigned i = 0; rc == 0 && i < count && !found && !id && !name; i++) {
        if (fits(&snapshots[i], NULL, param))
            found = &snapshots[i];
    }
    if (rc == 0 && !found)
        rc = kv_error_set(&err, KV_ERR_BLOCK, ENOENT, "Can't find snapshot");
    if (rc == 0)
        rc = ops->load(node, found->id, &err);
    if (rc < 0)
        img_error("Failed to load snapshot: %s", err.message);
    return rc;
}

/* ----------------------------------------------------------------- actions */

static int create(struct block_node *node, const char *name)
{
    struct block_snapshot snapshot = {.icount = 0};
    struct kv_error err = {0};
    struct timeval now;
    if (!node->driver->snapshots)
        return img_error("Could not create snapshot '%s': %d (%s)", name, -ENOTSUP,
                         strerror(ENOTSUP));
    if (strlen(name) >= sizeof(snapshot.name))
        return img_error("Could not create snapshot '%s': the name is longer than %zu bytes", name,
                         sizeof(snapshot.name) - 1);
    gettimeofday(&now, NULL);
    snapshot.date_sec = (uint64_t)now.tv_sec;
    snapshot.date_nsec = (uint32_t)now.tv_usec * 1000;
    memcpy(snapshot.name, name, strlen(name) + 1);
    snapshot.disk_size = block_get_info(node)->size;
    int rc = node->driver->snapshots->create(node, &snapshot, &err);
    return rc < 0 ? img_error("Could not create snapshot '%s': %d (%s)", name, rc,
                              err.message[0] ? err.message : strerror(-rc))
                  : IMG_OK;
}

static int apply(struct block_node *node, const char *name)
{
    struct kv_error err = {0};
    if (!node->driver->snapshots)
        return img_error("Could not apply snapshot '%s': Block driver does not support snapshots",
                         name);
    int rc = node->driver->snapshots->apply(node, name, &err);
    if (rc == -ENOENT)
        return img_error("Could not apply snapshot '%s': Failed to load snapshot: %s", name,
                         strerror(ENOENT));
    return rc < 0 ? img_error("Could not apply snapshot '%s': %s", name, err.message) : IMG_OK;
}

/* By its name alone: an id that looks like another one's name must not lose that one's data. */
static int remove_named(struct block_node *node, const char *name)
{
    const struct block_snapshot_ops *ops = node->driver->snapshots;
    cleanup_free struct block_snapshot *snapshots = NULL;
    unsigned count = 0;
    struct kv_error err = {0};
    int rc = ops ? ops->list(node, &snapshots, &count, &err) : 0;
    const struct block_snapshot *found = NULL;
    for (unsigned i = 0; i < count && !found; i++) {
        if (fits(&snapshots[i], NULL, name))
            found = &snapshots[i];
    }
    if (rc == 0 && !found)
        return img_error("Could not delete snapshot '%s': snapshot not found", name);
    if (rc == 0)
        rc = ops->remove(node, found->id, &err);
    return rc < 0 ? img_error("Could not delete snapshot '%s': %s", name, err.message) : IMG_OK;
}

static int run(void *opaque, char **operands, unsigned count)
{
    const struct snapshot_args *args = opaque;
    if (args->actions.count + args->list > 1)
        return img_usage_error("Cannot mix '-l', '-a', '-c', '-d'");
    if (count != 1)
        return img_usage_error("Expecting one image file name");
    const struct img_item *action = args->actions.count ? args->actions.items : NULL;
    struct img_open how = img_open_from(&args->args, operands[0]);
    how.writable = action != NULL;
    how.no_backing = !action;
    cleanup_image struct block_node *node = img_open_image(&how);
    if (!node)
        return IMG_FAILED;
    if (!action)
        return args->list && img_print_snapshots(node) < 0 ? IMG_FAILED : IMG_OK;
    switch (action->option->letter) {
    case 'c':
        return create(node, action->value);
    case 'a':
        return apply(node, action->value);
    default:
        return remove_named(node, action->value);
    }
}

const struct img_command img_snapshot = {
    .name = "snapshot",
    .operands = "FILE",
    .help = "list, make, apply and delete snapshots inside an image",
    .options = snapshot_options,
    .args_size = sizeof(struct snapshot_args),
    .run = run,
};
