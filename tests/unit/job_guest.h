/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest for tests of jobs: a thread that writes, zeroes, reads and flushes
 * through a queue on and on, checks what it reads, and knows what the disk must
 * hold in the end. And images in files of a folder of their own.
 */
#ifndef KV_TESTS_JOB_GUEST_H
#define KV_TESTS_JOB_GUEST_H

#include "block/graph.h"
#include "block/job.h"

#define GUEST_DISK (UINT64_C(8) << 20)

struct guest;

/* model: what the disk holds at first, GUEST_DISK bytes, copied; NULL: zeros. It has a reference to
 * what the node becomes. */
struct guest *guest_start(struct block_node *node, const uint8_t *model);
/* The thread ends when what it asked for is done; asserts that nothing failed or read wrong. */
void guest_stop(struct guest *guest);
/* It goes on, or rests with nothing in flight. */
void guest_rest(struct guest *guest);
void guest_go_on(struct guest *guest);
/* Waits until it has done so many more requests. */
void guest_wait(struct guest *guest, unsigned requests);
/* Stopped or at rest: the node that it uses by now (borrowed), and what it must hold. */
struct block_node *guest_node(struct guest *guest);
const uint8_t *guest_model(const struct guest *guest);
void guest_free(struct guest *guest);

/* Asserts that node holds exactly these GUEST_DISK bytes. */
void expect_content(struct block_node *node, const uint8_t *bytes);
bool has_content(struct block_node *node, const uint8_t *bytes);

/* A file in the folder; good until eight more were asked for. */
const char *disk_path(const char *name);
/* A new qcow2 image of GUEST_DISK bytes; backing: a path, NULL: none. */
void disk_create(const char *name, const char *backing);
/* Opened by path, for writing; with its chain. node_name may be NULL. */
struct block_node *disk_open(const char *name, const char *node_name);
/* From JSON; asserts that it works. */
struct block_node *disk_open_json(const char *json);
/* Fills some clusters of the image with what seed says, and the model the same. */
void disk_fill(struct block_node *node, uint8_t *model, unsigned seed);
/* The qcow2 image in the file is sound and has no leaks. */
void disk_assert_sound(const char *name);
int disks_setup(void **state);
int disks_teardown(void **state);

/* Waits for a status (or the job's end), asserts that it comes. */
void expect_job(const char *id, enum job_status status);
/* Waits until the job is gone; what its last event said: "" or an error. */
const char *expect_end(const char *id, enum job_event_kind kind);
/* Counts of events since the job tests began, by kind. */
unsigned events_of(enum job_event_kind kind);
/* Starts listening; before the first job. */
void events_listen(void);

#endif
