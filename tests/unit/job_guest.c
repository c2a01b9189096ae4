/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest that writes while jobs run; see job_guest.h. */
#include "job_guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../crash/qcow2_inspect.h"
#include "base/iothread.h"
#include "base/util.h"
#include "block/driver.h"
#include "qcow2_images.h"
#include "unit.h"

#define SLOTS 8
#define REQUEST_MAX KIB(96)
#define SECTOR 512u
/* Each request in flight has its own stripes of the disk, so that what they leave is known. */
#define STRIPE KIB(128)

struct slot {
    struct block_request request;
    struct guest *guest;
    struct iovec iov;
    uint8_t *buffer;
    bool active;
};

struct guest {
    struct iothread io;
    struct block_root *root;
    struct block_queue *queue;
    uint8_t *model;
    struct slot slots[SLOTS];
    unsigned random;
    struct loop_work start;
    bool resting; /* the loop's */
    atomic_uint done;
    atomic_int failures, misread;
};

static unsigned next_random(struct guest *g)
{
    g->random = g->random * 1103515245 + 12345;
    return g->random >> 8;
}

static void submit(struct slot *slot);

static void request_done(struct block_request *request, int result)
{
    struct slot *slot = container_of(request, struct slot, request);
    struct guest *g = slot->guest;
    slot->active = false;
    if (result < 0)
        atomic_fetch_add(&g->failures, 1);
    else if (request->op == BLOCK_READ &&
             memcmp(slot->buffer, g->model + request->offset, request->len) != 0)
        atomic_fetch_add(&g->misread, 1);
    atomic_fetch_add(&g->done, 1);
}

static void go(void *opaque)
{
    struct guest *g = opaque;
    for (unsigned i = 0; i < SLOTS && !g->resting; i++) {
        if (!g->slots[i].active)
            submit(&g->slots[i]);
    }
    block_kick(g->queue);
}

static void batch_done(void *opaque)
{
    struct guest *g = opaque;
    /* From the loop, so that one that is always busy still hears others. */
    loop_post(&g->io.loop, &g->start);
}

static void submit(struct slot *slot)
{
    struct guest *g = slot->guest;
    unsigned index = (unsigned)(slot - g->slots), kind = next_random(g) % 16;
    uint64_t stripes = GUEST_DISK / STRIPE / SLOTS;
    uint64_t base = (next_random(g) % stripes * SLOTS + index) * STRIPE;
    uint64_t at = next_random(g) % (STRIPE / SECTOR) * SECTOR;
    uint64_t len = (1 + next_random(g) % (REQUEST_MAX / SECTOR)) * SECTOR;
    /* Aligned ones take the fast way more often. */
    if (kind & 1) {
        at = ALIGN_DOWN(at, KIB(4));
        len = ALIGN_UP(len, KIB(4));
    }
    len = MIN(len, STRIPE - at);
    slot->request = (struct block_request){
        .op = kind < 9    ? BLOCK_WRITE
              : kind < 14 ? BLOCK_READ
              : kind < 15 ? BLOCK_WRITE_ZEROES
                          : BLOCK_FLUSH,
        .offset = base + at,
        .len = len,
        .iov = &slot->iov,
        .iov_count = 1,
        .unmap = kind == 14,
        .done = request_done,
    };
    slot->iov = (struct iovec){slot->buffer, len};
    if (slot->request.op == BLOCK_WRITE) {
        memset(slot->buffer, (int)(next_random(g) & 0xff), len);
        memcpy(slot->buffer, &g->random, sizeof(g->random));
        memcpy(g->model + slot->request.offset, slot->buffer, len);
    } else if (slot->request.op == BLOCK_WRITE_ZEROES) {
        memset(g->model + slot->request.offset, 0, len);
    } else if (slot->request.op == BLOCK_FLUSH) {
        slot->request.offset = slot->request.len = 0;
    }
    slot->active = true;
    block_submit(g->queue, &slot->request);
}

static void rest(void *opaque)
{
    struct guest *g = opaque;
    g->resting = true;
    block_drain(g->queue);
}

static void resume(void *opaque)
{
    struct guest *g = opaque;
    g->resting = false;
    go(g);
}

struct guest *guest_start(struct block_node *node, const uint8_t *model)
{
    struct kv_error err = {0};
    struct guest *g = calloc(1, sizeof(*g));
    assert_non_null(g);
    g->model = calloc(1, GUEST_DISK);
    if (model)
        memcpy(g->model, model, GUEST_DISK);
    g->random = (unsigned)getpid() * 7919 + (unsigned)clock_monotonic_ns();
    g->start = (struct loop_work){.fn = go, .opaque = g};
    for (unsigned i = 0; i < SLOTS; i++) {
        g->slots[i].guest = g;
        g->slots[i].buffer = aligned_alloc(4096, REQUEST_MAX + KIB(4));
    }
    assert_int_equal(iothread_init(&g->io, "guest", &err), 0);
    assert_int_equal(block_root_create(&g->root, node, "guest", BLOCK_USE_WRITE, &err), 0);
    assert_int_equal(block_root_queue(&g->queue, g->root, &g->io.loop, SLOTS, &err), 0);
    block_queue_set_batch(g->queue, batch_done, g);
    assert_int_equal(iothread_start(&g->io, &err), 0);
    loop_post(&g->io.loop, &g->start);
    return g;
}

void guest_rest(struct guest *g)
{
    loop_call(&g->io.loop, rest, g);
    assert_int_equal(g->failures, 0);
    assert_int_equal(g->misread, 0);
}

void guest_go_on(struct guest *g)
{
    loop_call(&g->io.loop, resume, g);
}

void guest_wait(struct guest *g, unsigned requests)
{
    unsigned until = atomic_load(&g->done) + requests;
    for (int i = 0; i < 20000 && (int)(atomic_load(&g->done) - until) < 0; i++)
        usleep(500);
    assert_true((int)(atomic_load(&g->done) - until) >= 0);
}

static void free_queue(void *opaque)
{
    struct guest *g = opaque;
    block_queue_free(g->queue);
}

void guest_stop(struct guest *g)
{
    guest_rest(g);
    loop_call(&g->io.loop, free_queue, g);
    iothread_stop(&g->io);
    g->queue = NULL;
}

struct block_node *guest_node(struct guest *g)
{
    struct block_node *node = block_root_enter(g->root);
    block_root_leave(g->root);
    return node;
}

const uint8_t *guest_model(const struct guest *g)
{
    return g->model;
}

void guest_free(struct guest *g)
{
    if (g->queue)
        guest_stop(g);
    block_root_free(g->root);
    for (unsigned i = 0; i < SLOTS; i++)
        free(g->slots[i].buffer);
    free(g->model);
    free(g);
}

bool has_content(struct block_node *node, const uint8_t *bytes)
{
    uint8_t *seen = malloc(GUEST_DISK);
    assert_int_equal(block_pread(node, 0, seen, GUEST_DISK), 0);
    size_t i = 0;
    while (i < GUEST_DISK && seen[i] == bytes[i])
        i++;
    if (i < GUEST_DISK)
        print_message("differs at %zu: %02x, expected %02x\n", i, seen[i], bytes[i]);
    free(seen);
    return i == GUEST_DISK;
}

void expect_content(struct block_node *node, const uint8_t *bytes)
{
    assert_true(has_content(node, bytes));
}

/* ----------------------------------------------------------------------- images */

static char folder[64];

const char *disk_path(const char *name)
{
    static char paths[8][400];
    static unsigned next;
    char *path = paths[next++ % ARRAY_SIZE(paths)];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

int disks_setup(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/kvasir-jobs-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

int disks_teardown(void **state)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.')
            unlink(disk_path(entry->d_name));
    }
    if (dir)
        closedir(dir);
    return rmdir(folder);
}

void disk_create(const char *name, const char *backing)
{
    char options[400];
    snprintf(options, sizeof(options), "size=8M%s%s%s", backing ? ",backing_file=" : "",
             backing ? backing : "", backing ? ",backing_fmt=qcow2" : "");
    unlink(disk_path(name));
    image_create(disk_path(name), options);
}

struct block_node *disk_open_json(const char *json)
{
    char path[4000];
    struct kv_error err = {0};
    struct block_node *node = NULL;
    snprintf(path, sizeof(path), "json:%s", json);
    if (block_open(&node, &(struct block_open_options){.path = path}, &err) < 0)
        fail_msg("%s", err.message);
    return node;
}

struct block_node *disk_open(const char *name, const char *node_name)
{
    char json[600];
    snprintf(json, sizeof(json),
             "{\"driver\":\"qcow2\",\"discard\":\"unmap\",\"file\":{\"driver\":\"file\","
             "\"filename\":\"%s\"}%s%s%s}",
             disk_path(name), node_name ? ",\"node-name\":\"" : "", node_name ? node_name : "",
             node_name ? "\"" : "");
    return disk_open_json(json);
}

void disk_fill(struct block_node *node, uint8_t *model, unsigned seed)
{
    uint8_t *piece = malloc(KIB(64));
    for (uint64_t at = seed % 3 * KIB(64); at < GUEST_DISK; at += KIB(64) * (2 + seed % 3)) {
        memset(piece, (int)(seed * 16 + at / KIB(64) % 13 + 1), KIB(64));
        uint64_t len = seed & 1 ? KIB(64) : KIB(20);
        assert_int_equal(block_pwrite(node, at, piece, len, 0), 0);
        memcpy(model + at, piece, len);
    }
    free(piece);
}

void disk_assert_sound(const char *name)
{
    struct qcow2_findings findings = {0};
    int fd = open(disk_path(name), O_RDONLY);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    uint8_t *bytes = malloc((size_t)st.st_size);
    assert_int_equal(pread(fd, bytes, (size_t)st.st_size, 0), st.st_size);
    qcow2_inspect(bytes, (size_t)st.st_size, &findings);
    if (findings.corruptions || findings.leaks)
        print_message("%s: %s\n", name, findings.first);
    assert_int_equal(findings.corruptions, 0);
    assert_int_equal(findings.leaks, 0);
    free(bytes);
    close(fd);
}

/* ------------------------------------------------------------------------- jobs */

static pthread_mutex_t events_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned events[JOB_EVENT_CANCELLED + 1];
static enum job_event_kind last_end;
static char last_error[480];

static void listen_to(void *opaque, const struct job_event *event)
{
    pthread_mutex_lock(&events_lock);
    events[event->kind]++;
    if (event->kind == JOB_EVENT_COMPLETED || event->kind == JOB_EVENT_CANCELLED) {
        last_end = event->kind;
        snprintf(last_error, sizeof(last_error), "%s", event->info.error);
    }
    pthread_mutex_unlock(&events_lock);
}

void events_listen(void)
{
    memset(events, 0, sizeof(events));
    job_set_listener(listen_to, NULL);
}

unsigned events_of(enum job_event_kind kind)
{
    pthread_mutex_lock(&events_lock);
    unsigned count = events[kind];
    pthread_mutex_unlock(&events_lock);
    return count;
}

void expect_job(const char *id, enum job_status status)
{
    struct job_info info;
    struct job *job = job_find(id);
    assert_non_null(job);
    int rc = job_wait(job, status, 60);
    job_get_info(job, &info);
    if (rc < 0 || info.status != status)
        fail_msg("job is %s, not %s: %s", job_status_name(info.status), job_status_name(status),
                 info.error);
    job_put(job);
}

const char *expect_end(const char *id, enum job_event_kind kind)
{
    struct job *job = job_find(id);
    if (job)
        assert_int_equal(job_wait(job, JOB_NULL, 60), 0);
    job_put(job);
    assert_int_equal(last_end, kind);
    return last_error;
}
