/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log: one line a message, "LEVEL subject: text" behind a monotonic time
 * in seconds. Any thread may write; a line is written with one write(2).
 */
#ifndef KV_BASE_LOG_H
#define KV_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level {
    LOG_ERROR,
    LOG_WARNING,
    LOG_INFO,
    LOG_DEBUG,
    LOG_TRACE,
};

extern enum log_level log_level;

/* Sends the log to fd (default: 2). The log does not own fd. */
void log_set_fd(int fd);

/* Returns 0 and sets *level, or -EINVAL for a name that is none of error, warning, info, debug,
 * trace. */
int log_level_parse(const char *name, enum log_level *level);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_at(level, ...)                   \
    do {                                     \
        if ((level) <= log_level)            \
            log_write((level), __VA_ARGS__); \
    } while (0)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_at(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_trace(...) log_at(LOG_TRACE, __VA_ARGS__)

/*
 * For what a guest can provoke: each call site lets 10 lines through in 5
 * seconds and says how many it dropped. Warning level.
 */
struct log_limit {
    int64_t window_start_ns;
    unsigned count, dropped;
};
bool log_limit_pass(struct log_limit *limit);

#define log_guest(...)                                           \
    do {                                                         \
        static struct log_limit limit_;                          \
        if (LOG_WARNING <= log_level && log_limit_pass(&limit_)) \
            log_write(LOG_WARNING, __VA_ARGS__);                 \
    } while (0)

#endif
