/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside the iSCSI initiator, over libiscsi (RFC 7143, SBC-4): iscsi_address.c
 * reads where a logical unit is, iscsi_session.c logs in, asks what the unit can
 * do and carries commands, iscsi.c is the driver.
 */
#ifndef KV_BLOCK_ISCSI_H
#define KV_BLOCK_ISCSI_H

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>

#include "block/driver.h"
#include "block/remote.h"

/* clang-format off */
#define ISCSI_LIBRARY(X) \
    X(iscsi_create_context) X(iscsi_destroy_context) X(iscsi_full_connect_async) \
    X(iscsi_get_error) X(iscsi_get_fd) X(iscsi_get_lba_status_task) X(iscsi_inquiry_sync) \
    X(iscsi_is_logged_in) X(iscsi_logout_sync) X(iscsi_modesense10_sync) \
    X(iscsi_parse_full_url) X(iscsi_destroy_url) X(iscsi_read16_iov_task) \
    X(iscsi_readcapacity16_sync) X(iscsi_service) X(iscsi_set_header_digest) \
    X(iscsi_set_initiator_username_pwd) X(iscsi_set_noautoreconnect) \
    X(iscsi_set_session_type) X(iscsi_set_targetname) X(iscsi_set_timeout) \
    X(iscsi_synchronizecache16_task) X(iscsi_unmap_task) X(iscsi_which_events) \
    X(iscsi_write16_iov_task) X(iscsi_writesame16_task) X(scsi_datain_unmarshall) \
    X(scsi_free_scsi_task)
/* clang-format on */

struct iscsi_library {
#define X(name) __typeof__(name) *name;
    ISCSI_LIBRARY(X)
#undef X
};

/* Loads it once; any thread. */
int iscsi_library_get(const struct iscsi_library **out, struct kv_error *err);

struct iscsi_address {
    char *portal, *target, *initiator;
    char *user, *password; /* of CHAP; NULL: none */
    int lun;
    enum iscsi_header_digest digest;
    uint64_t timeout_s; /* of a request; 0: none */
};

/* From options->path or ->description. The address is emptied first; free it either way. */
int iscsi_address_parse(struct iscsi_address *address, const struct iscsi_library *lib,
                        const struct block_open_options *options, struct kv_error *err);
void iscsi_address_free(struct iscsi_address *address);

/* What a unit said of itself. */
struct iscsi_unit {
    uint32_t block;  /* bytes */
    uint64_t blocks; /* in all */
    bool thin;       /* logical block provisioning: some may have no place */
    bool zeroes;     /* ... and read as zeros then */
    bool unmap, unmap_by_same;
    bool write_protected;
    uint64_t transfer_max, unmap_max, same_max; /* blocks a command */
    uint32_t unmap_granularity;                 /* blocks */
};

struct iscsi_disk {
    struct remote remote;
    const struct iscsi_library *lib;
    struct iscsi_address address;
    struct iscsi_unit unit; /* of the first session */
    bool opened;            /* unit is known */
    atomic_bool cancelled;  /* the library gave commands back unanswered: the session is lost */
    atomic_bool no_same;    /* the target turned out to have no WRITE SAME */
    uint8_t *zeros;         /* a block of them */
    pthread_mutex_t partial_lock; /* a block is read, changed and written */
};

enum iscsi_command { ISCSI_READ, ISCSI_WRITE, ISCSI_UNMAP, ISCSI_SAME, ISCSI_SYNC, ISCSI_STATUS };

struct iscsi_op {
    enum iscsi_command command;
    uint64_t lba, blocks;
    const struct iovec *iov; /* READ, WRITE */
    unsigned count;
    bool may_unmap; /* SAME */
    bool mapped;    /* STATUS: the answer, for blocks from lba on */

    struct remote_op remote;
    struct iscsi_disk *disk;
    struct scsi_task *task;
};

int iscsi_session_open(struct iscsi_disk *disk, struct kv_error *err);
void iscsi_session_close(struct iscsi_disk *disk);
/* Carries a command out. 0 or -errno; -ENOTSUP: the target has no such command. Any thread. */
int iscsi_run(struct iscsi_disk *disk, struct iscsi_op *op);

#endif
