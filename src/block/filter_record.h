/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter "record" notes every write and flush that reaches the node under
 * it, in order, with the bytes. So a test can make the file as it may be after
 * a power cut at any point. {"driver":"record","log":NAME,"file":{...}}; the log
 * is made first and outlives the node. Any thread.
 */
#ifndef KV_BLOCK_FILTER_RECORD_H
#define KV_BLOCK_FILTER_RECORD_H

#include <stddef.h>
#include <stdint.h>

struct record_entry {
    enum { RECORD_WRITE, RECORD_ZERO, RECORD_RESIZE, RECORD_FLUSH } kind;
    uint64_t offset, len; /* bytes; RESIZE: len is the new size */
    uint8_t *bytes;       /* WRITE */
    uint64_t order;       /* among all logs of the process, from 0 on */
};

struct record_log;

/* NULL: out of memory or the name is taken. */
struct record_log *record_log_create(const char *name);
void record_log_free(struct record_log *log);
/* Entries so far; valid until the next write. */
const struct record_entry *record_log_entries(const struct record_log *log, size_t *count);
size_t record_log_count(struct record_log *log);
/* The order of what is noted next. */
uint64_t record_order(void);

#endif
