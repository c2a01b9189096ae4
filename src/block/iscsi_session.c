/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session with an iSCSI target: logged in within a time, its unit's
 * properties read, commands sent and answered. remote.h shares it among threads
 * and has it made anew when it is lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "block/iscsi.h"

#define PATIENCE_S 60 /* requests wait so long for a lost target, unless 'timeout' says more */
#define TRANSFER_MAX (8u << 20) /* bytes a command */
#define BLOCKS_MAX UINT32_MAX
#define RETRIES 10 /* of a command that a busy or just restarted target refuses */
#define RETRY_PAUSE_MS 20
#define WORD_OF_STATUS_LEN 24 /* GET LBA STATUS: header and one descriptor */

/* ------------------------------------------------------------------------- logging in */

struct login {
    bool over;
    int status;
};

static void login_over(struct iscsi_context *context, int status, void *data, void *opaque)
{
    struct login *login = opaque;
    login->over = true;
    login->status = status;
}

static int say_why(const struct iscsi_disk *disk, struct iscsi_context *context, int code,
                   const char *what, struct kv_error *err)
{
    const char *why = disk->lib->iscsi_get_error(context);
    return kv_error_set(err, KV_ERR_BLOCK, code, "iscsi: %s (target '%s', LUN %d): %s", what,
                        disk->address.target, disk->address.lun, why && *why ? why : "no answer");
}

static int log_in(const struct iscsi_disk *disk, struct iscsi_context *context, int timeout_ms,
                  struct kv_error *err)
{
    const struct iscsi_library *lib = disk->lib;
    struct login login = {0};
    int64_t end = clock_monotonic_ns() + (int64_t)timeout_ms * 1000000;
    if (lib->iscsi_full_connect_async(context, disk->address.portal, disk->address.lun, login_over,
                                      &login) != 0)
        return say_why(disk, context, EIO, "the portal cannot be reached", err);
    while (!login.over) {
        struct pollfd pfd = {.fd = lib->iscsi_get_fd(context),
                             .events = (short)lib->iscsi_which_events(context)};
        int64_t left_ms = (end - clock_monotonic_ns()) / 1000000;
        if (left_ms <= 0)
            return say_why(disk, context, ETIMEDOUT, "the login took too long", err);
        int n = poll(&pfd, 1, (int)MIN(left_ms, INT64_C(500)));
        if (lib->iscsi_service(context, n > 0 ? pfd.revents : 0) < 0 && !login.over)
            return say_why(disk, context, EIO, "the login failed", err);
    }
    return login.status == SCSI_STATUS_GOOD
               ? 0
               : say_why(disk, context, EACCES, "the target refused the login", err);
}

/* --------------------------------------------------------------- properties of the unit */

/* *page: a page of INQUIRY's vital product data, of the task; NULL: the unit has none. */
static struct scsi_task *inquire(const struct iscsi_disk *disk, struct iscsi_context *context,
                                 int page, void **data)
{
    struct scsi_task *task =
        disk->lib->iscsi_inquiry_sync(context, disk->address.lun, 1, page, 255);
    *data =
        task && task->status == SCSI_STATUS_GOOD ? disk->lib->scsi_datain_unmarshall(task) : NULL;
    return task;
}

static void free_task(const struct iscsi_disk *disk, struct scsi_task *task)
{
    if (task)
        disk->lib->scsi_free_scsi_task(task);
}

static void read_limits(const struct iscsi_disk *disk, struct iscsi_context *context,
                        struct iscsi_unit *unit)
{
    void *data;
    struct scsi_task *task = inquire(disk, context, SCSI_INQUIRY_PAGECODE_BLOCK_LIMITS, &data);
    const struct scsi_inquiry_block_limits *limits = data;
    uint64_t transfer = TRANSFER_MAX / unit->block;
    unit->transfer_max =
        limits && limits->max_xfer_len ? MIN(transfer, limits->max_xfer_len) : transfer;
    unit->unmap_max = limits && limits->max_unmap ? limits->max_unmap : BLOCKS_MAX;
    unit->same_max =
        limits && limits->max_ws_len ? MIN(limits->max_ws_len, (uint64_t)BLOCKS_MAX) : 0xffff;
    unit->unmap_granularity = limits && limits->opt_unmap_gran ? limits->opt_unmap_gran : 1;
    free_task(disk, task);
    if (!unit->thin)
        return;
    task = inquire(disk, context, SCSI_INQUIRY_PAGECODE_LOGICAL_BLOCK_PROVISIONING, &data);
    const struct scsi_inquiry_logical_block_provisioning *provisioning = data;
    unit->unmap = provisioning && provisioning->lbpu;
    unit->unmap_by_same = provisioning && provisioning->lbpws;
    free_task(disk, task);
}

static void read_protection(const struct iscsi_disk *disk, struct iscsi_context *context,
                            struct iscsi_unit *unit)
{
    /* The header's device-specific byte, SBC-4 table 267: bit 7 is WP. */
    struct scsi_task *task =
        disk->lib->iscsi_modesense10_sync(context, disk->address.lun, 0, 1, 0, 0x3f, 0, 255);
    if (task && task->status == SCSI_STATUS_GOOD && task->datain.size > 3)
        unit->write_protected = task->datain.data[3] & 0x80;
    free_task(disk, task);
}

static int read_unit(const struct iscsi_disk *disk, struct iscsi_context *context,
                     struct iscsi_unit *unit, struct kv_error *err)
{
    *unit = (struct iscsi_unit){0};
    struct scsi_task *task = disk->lib->iscsi_readcapacity16_sync(context, disk->address.lun);
    const struct scsi_readcapacity16 *capacity =
        task && task->status == SCSI_STATUS_GOOD ? disk->lib->scsi_datain_unmarshall(task) : NULL;
    if (!capacity) {
        free_task(disk, task);
        return say_why(disk, context, EIO, "the unit does not tell its capacity", err);
    }
    unit->block = capacity->block_length;
    unit->blocks = capacity->returned_lba + 1;
    unit->thin = capacity->lbpme;
    unit->zeroes = capacity->lbprz;
    free_task(disk, task);
    if (unit->block < 512 || unit->block > 65536 || (unit->block & (unit->block - 1)) ||
        unit->blocks == 0 || unit->blocks > INT64_MAX / unit->block)
        return kv_error_set(err, KV_ERR_BLOCK, EPROTO,
                            "iscsi: %" PRIu64 " blocks of %" PRIu32
                            " bytes make no sense; blocks are 512 to 65536 bytes",
                            unit->blocks, unit->block);
    read_limits(disk, context, unit);
    read_protection(disk, context, unit);
    return 0;
}

/* ------------------------------------------------------------------------- sessions */

static int session_connect(void *opaque, int timeout_ms, void **out, struct kv_error *err)
{
    struct iscsi_disk *disk = opaque;
    const struct iscsi_library *lib = disk->lib;
    const struct iscsi_address *address = &disk->address;
    struct iscsi_unit unit;
    struct iscsi_context *context = lib->iscsi_create_context(address->initiator);
    if (!context)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "iscsi: out of memory");
    /* Its own way of coming back keeps requests for good, whatever somebody wants. */
    lib->iscsi_set_noautoreconnect(context, 1);
    lib->iscsi_set_timeout(context, MAX(timeout_ms / 1000, 1));
    int rc = 0;
    if (lib->iscsi_set_targetname(context, address->target) ||
        lib->iscsi_set_session_type(context, ISCSI_SESSION_NORMAL) ||
        lib->iscsi_set_header_digest(context, address->digest) ||
        (address->user &&
         lib->iscsi_set_initiator_username_pwd(context, address->user, address->password)))
        rc = say_why(disk, context, EINVAL, "the library refuses the options", err);
    if (rc == 0)
        rc = log_in(disk, context, timeout_ms, err);
    if (rc == 0)
        rc = read_unit(disk, context, &unit, err);
    if (rc == 0 && disk->opened &&
        (unit.blocks < disk->unit.blocks || unit.block != disk->unit.block ||
         unit.write_protected > disk->unit.write_protected))
        rc = kv_error_set(err, KV_ERR_BLOCK, EIO, "iscsi: the unit came back with another size");
    if (rc < 0) {
        lib->iscsi_destroy_context(context);
        return rc;
    }
    if (!disk->opened)
        disk->unit = unit;
    disk->opened = true;
    atomic_store(&disk->cancelled, false);
    lib->iscsi_set_timeout(context, (int)address->timeout_s);
    *out = context;
    return 0;
}

static void session_disconnect(void *opaque, void *handle)
{
    const struct iscsi_disk *disk = opaque;
    disk->lib->iscsi_destroy_context(handle);
}

static const struct iscsi_library *library;

static int session_fd(void *handle)
{
    return library->iscsi_get_fd(handle);
}

static short session_events(void *handle)
{
    return (short)library->iscsi_which_events(handle);
}

static bool session_serve(void *opaque, void *handle, short revents)
{
    struct iscsi_disk *disk = opaque;
    return library->iscsi_service(handle, revents) == 0 && !atomic_load(&disk->cancelled) &&
           library->iscsi_is_logged_in(handle);
}

static const struct remote_ops session_ops = {
    .connect = session_connect,
    .disconnect = session_disconnect,
    .fd = session_fd,
    .events = session_events,
    .serve = session_serve,
};

int iscsi_session_open(struct iscsi_disk *disk, struct kv_error *err)
{
    library = disk->lib;
    int rc = remote_open(&disk->remote, &session_ops, disk, 0, err);
    if (rc < 0)
        return rc;
    disk->remote.what = disk->address.target;
    disk->remote.patience_s = MAX(disk->address.timeout_s, PATIENCE_S);
    return 0;
}

void iscsi_session_close(struct iscsi_disk *disk)
{
    struct iscsi_context *context = disk->remote.handle;
    if (context && disk->lib->iscsi_is_logged_in(context)) {
        disk->lib->iscsi_set_timeout(context, 1);
        disk->lib->iscsi_logout_sync(context);
    }
    remote_close(&disk->remote);
}

/* ------------------------------------------------------------------------- commands */

static int errno_of_sense(const struct scsi_sense *sense)
{
    static const struct {
        enum scsi_sense_key key;
        int error;
    } errors[] = {
        {SCSI_SENSE_NOT_READY, EBUSY},        {SCSI_SENSE_MEDIUM_ERROR, EIO},
        {SCSI_SENSE_ILLEGAL_REQUEST, EINVAL}, {SCSI_SENSE_UNIT_ATTENTION, EAGAIN},
        {SCSI_SENSE_DATA_PROTECTION, EROFS},
    };
    switch (sense->ascq) {
    case SCSI_SENSE_ASCQ_INVALID_OPERATION_CODE:
    case SCSI_SENSE_ASCQ_INVALID_FIELD_IN_CDB:
        return ENOTSUP;
    case SCSI_SENSE_ASCQ_CAPACITY_DATA_HAS_CHANGED:
        return EAGAIN;
    }
    /* Space allocation failed (SBC-4): a thin unit is full. */
    if (sense->ascq == 0x2707)
        return ENOSPC;
    for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
        if (sense->key == errors[i].key)
            return errors[i].error;
    }
    return EIO;
}

/* GET LBA STATUS's answer (SBC-4 5.6): of the first descriptor's part from lba on. */
static int take_status(const struct iscsi_disk *disk, struct scsi_task *task, struct iscsi_op *op)
{
    const struct scsi_get_lba_status *status = disk->lib->scsi_datain_unmarshall(task);
    if (!status || status->num_descriptors < 1)
        return EIO;
    const struct scsi_lba_status_descriptor *first = &status->descriptors[0];
    if (op->lba < first->lba || op->lba - first->lba >= first->num_blocks)
        return EIO;
    op->blocks = MIN(op->blocks, first->num_blocks - (op->lba - first->lba));
    op->mapped = first->provisioning == SCSI_PROVISIONING_TYPE_MAPPED;
    return 0;
}

/* Under the lock, from within the library. data is NULL when the session ends. */
static void command_over(struct iscsi_context *context, int status, void *data, void *opaque)
{
    struct iscsi_op *op = opaque;
    struct scsi_task *task = data;
    int error = EIO;
    if (status == SCSI_STATUS_GOOD && task)
        error = op->command == ISCSI_STATUS ? take_status(op->disk, task, op) : 0;
    else if (status == SCSI_STATUS_CANCELLED)
        error = ENOTCONN;
    else if (status == SCSI_STATUS_BUSY || status == SCSI_STATUS_TASK_SET_FULL)
        error = EAGAIN;
    else if (status == SCSI_STATUS_TIMEOUT)
        error = ETIMEDOUT;
    else if (status == SCSI_STATUS_CHECK_CONDITION && task)
        error = errno_of_sense(&task->sense);
    if (status == SCSI_STATUS_CANCELLED)
        atomic_store(&op->disk->cancelled, true);
    remote_finish(&op->remote, -error);
}

static int send_command(struct remote_op *remote_op, void *handle)
{
    struct iscsi_op *op = container_of(remote_op, struct iscsi_op, remote);
    const struct iscsi_disk *disk = op->disk;
    const struct iscsi_library *lib = disk->lib;
    int lun = disk->address.lun;
    uint32_t bytes = (uint32_t)(op->blocks * disk->unit.block);
    /* The same two members, by the same names. */
    struct scsi_iovec *iov = (struct scsi_iovec *)(uintptr_t)op->iov;
    struct unmap_list range = {.lba = op->lba, .num = (uint32_t)op->blocks};
    free_task(disk, op->task);
    op->task = NULL;
    switch (op->command) {
    case ISCSI_READ:
        op->task = lib->iscsi_read16_iov_task(handle, lun, op->lba, bytes, (int)disk->unit.block, 0,
                                              0, 0, 0, 0, command_over, op, iov, (int)op->count);
        break;
    case ISCSI_WRITE:
        op->task =
            lib->iscsi_write16_iov_task(handle, lun, op->lba, NULL, bytes, (int)disk->unit.block, 0,
                                        0, 0, 0, 0, command_over, op, iov, (int)op->count);
        break;
    case ISCSI_UNMAP:
        op->task = lib->iscsi_unmap_task(handle, lun, 0, 0, &range, 1, command_over, op);
        break;
    case ISCSI_SAME:
        op->task = lib->iscsi_writesame16_task(handle, lun, op->lba, disk->zeros, disk->unit.block,
                                               (uint32_t)op->blocks, 0, op->may_unmap, 0, 0,
                                               command_over, op);
        break;
    case ISCSI_SYNC:
        op->task = lib->iscsi_synchronizecache16_task(handle, lun, 0, 0, 0, 0, command_over, op);
        break;
    case ISCSI_STATUS:
        op->task = lib->iscsi_get_lba_status_task(handle, lun, op->lba, WORD_OF_STATUS_LEN,
                                                  command_over, op);
        break;
    }
    return op->task ? 0 : lib->iscsi_is_logged_in(handle) ? -ENOMEM : -ENOTCONN;
}

int iscsi_run(struct iscsi_disk *disk, struct iscsi_op *op)
{
    const struct timespec pause = {.tv_nsec = RETRY_PAUSE_MS * 1000000L};
    int rc = -EAGAIN;
    op->disk = disk;
    op->task = NULL;
    op->remote.send = send_command;
    for (unsigned i = 0; i < RETRIES && rc == -EAGAIN; i++) {
        if (i)
            nanosleep(&pause, NULL);
        rc = remote_run(&disk->remote, &op->remote);
    }
    free_task(disk, op->task);
    return rc == -EAGAIN || rc == -ENOTCONN ? -EIO : rc;
}
