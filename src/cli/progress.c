/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The line of progress. See progress.h. */
#include "cli/progress.h"

#include <pthread.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/output.h"

#define FIRST_MS 1000 /* what is faster shows nothing */
#define EVERY_MS 200

/* The thread is started and joined by the program's only other thread. */
static struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool threaded, over; /* over: lock */
    bool shown;
    int64_t began, last;
    char what[128];
} progress = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void *show_time(void *opaque)
{
    pthread_mutex_lock(&progress.lock);
    while (!progress.over) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += EVERY_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&progress.wake, &progress.lock, &until);
        int64_t spent = now_ms() - progress.began;
        if (progress.over || spent < FIRST_MS)
            continue;
        progress.shown = true;
        fprintf(stderr, "\r%s: %lld s", progress.what, (long long)(spent / 1000));
    }
    pthread_mutex_unlock(&progress.lock);
    return NULL;
}

void progress_start(struct cli *cli, const char *what, const char *name)
{
    if (!isatty(STDERR_FILENO) || cli->quiet)
        return;
    progress.began = now_ms();
    progress.over = false;
    snprintf(progress.what, sizeof(progress.what), "%s %s", what, name);
    progress.threaded = pthread_create(&progress.thread, NULL, show_time, NULL) == 0;
}

#define BAR 30

void progress_bytes(struct cli *cli, const char *what, uint64_t done, uint64_t total)
{
    if (!isatty(STDERR_FILENO) || cli->quiet)
        return;
    int64_t now = now_ms();
    if (!progress.began)
        progress.began = now;
    if (now - progress.began < FIRST_MS || now - progress.last < EVERY_MS)
        return;
    progress.last = now;
    progress.shown = true;
    double rate = (double)done * 1000 / (double)(now - progress.began);
    const char *unit, *rate_unit;
    double size = size_pretty(done, &unit), speed = size_pretty((uint64_t)rate, &rate_unit);
    if (!total || rate <= 0) {
        fprintf(stderr, "\r\033[K%s: %.1f %s, %.1f %s/s", what, size, unit, speed, rate_unit);
        return;
    }
    int filled = (int)MIN((double)BAR, (double)done / (double)total * BAR);
    fprintf(stderr, "\r\033[K%s [%.*s%*s] %3.0f%% %.1f %s/s, %.0f s left", what, filled,
            "##############################", BAR - filled, "", (double)done * 100 / (double)total,
            speed, rate_unit, (double)(total - MIN(total, done)) / rate);
}

void progress_end(void)
{
    if (progress.threaded) {
        pthread_mutex_lock(&progress.lock);
        progress.over = true;
        pthread_cond_signal(&progress.wake);
        pthread_mutex_unlock(&progress.lock);
        pthread_join(progress.thread, NULL);
        progress.threaded = false;
    }
    if (progress.shown)
        fputs("\r\033[K", stderr);
    progress.shown = false;
    progress.began = progress.last = 0;
}
