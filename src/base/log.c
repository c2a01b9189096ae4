/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log; see log.h. */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"

#define LIMIT_WINDOW_NS INT64_C(5000000000)
#define LIMIT_LINES 10

enum log_level log_level = LOG_WARNING;

static int log_fd = 2;
static const char *const level_names[] = {"error", "warning", "info", "debug", "trace"};

void log_set_fd(int fd)
{
    log_fd = fd;
}

int log_level_parse(const char *name, enum log_level *level)
{
    for (unsigned i = 0; i < ARRAY_SIZE(level_names); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    char line[1024];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int n = snprintf(line, sizeof(line), "%lld.%06ld %s: ", (long long)now.tv_sec,
                     now.tv_nsec / 1000, level_names[level]);
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
    va_end(ap);
    size_t len = (size_t)n + (size_t)MAX(m, 0);
    len = MIN(len, sizeof(line) - 2);
    line[len++] = '\n';
    ssize_t ignored = write(log_fd, line, len);
    (void)ignored; /* a log that cannot be written must not stop the machine */
}

bool log_limit_pass(struct log_limit *limit)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
    unsigned dropped = 0;

    pthread_mutex_lock(&lock);
    if (limit->count == 0 || ns - limit->window_start_ns > LIMIT_WINDOW_NS) {
        dropped = limit->dropped;
        *limit = (struct log_limit){.window_start_ns = ns};
    }
    bool pass = limit->count < LIMIT_LINES;
    if (pass)
        limit->count++;
    else
        limit->dropped++;
    pthread_mutex_unlock(&lock);

    if (dropped)
        log_write(LOG_WARNING, "%u lines like the next were dropped", dropped);
    return pass;
}
