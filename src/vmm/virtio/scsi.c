/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-scsi (virtio 1.2, 5.6): requests go from the ring to the units' SCSI
 * commands and back, changes of media and sizes to the event queue. All queues
 * are on one loop. A request without room for its header or its response breaks
 * the ring; what else is wrong ends in a response that says so.
 */
#include "vmm/virtio/scsi.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_scsi.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"
#include "block/driver.h"
#include "vmm/machine/machine.h"
#include "vmm/pci/pci.h"
#include "vmm/storage/scsi.h"
#include "vmm/virtio/classes.h"
#include "vmm/virtio/virtio.h"

#define CONTROL 0
#define EVENT 1
#define REQUESTS 2
#define QUEUES 3
#define QUEUE_SIZE 256
#define SEG_MAX 254
#define IOV_MAX_PIECES (SEG_MAX + 4)
#define UNITS_MAX 256 /* of a controller, together */
#define TARGET_MAX 255
#define LUN_MAX 255
#define BUDGET 64

struct scsi_request {
    struct scsi_task task;
    struct virtio_scsi *scsi;
    struct list node; /* free, in scsi->free */
    struct virtqueue_chain chain;
    struct iovec chain_iov[IOV_MAX_PIECES], data_iov[IOV_MAX_PIECES];
};

struct scsi_place {
    struct scsi_unit unit;
    struct virtio_scsi *scsi;
    unsigned target, lun;
    atomic_uint news; /* SCSI_ATTENTION_... that the guest's driver is to be told of */
};

struct virtio_scsi {
    struct virtio_device virtio; /* first */
    struct list node;            /* of all controllers; control thread */
    char id[64];
    struct virtio_scsi_config config;
    struct loop *loop;
    unsigned count;
    struct scsi_place *places[UNITS_MAX];
    struct pci_boot_unit boot_units[UNITS_MAX];
    struct loop_work news;
    /* The loop's. */
    struct scsi_request *requests[QUEUE_SIZE]; /* made when needed */
    unsigned made;
    struct list free;
    bool in_serve, events_missed;
};

static struct virtio_scsi *of(struct virtio_device *dev)
{
    return container_of(dev, struct virtio_scsi, virtio);
}

/* The unit of an address (5.6.6.1); any_lun: of the target's first. NULL: none. */
static struct scsi_place *find_place(struct virtio_scsi *scsi, const uint8_t lun[8], bool any_lun)
{
    unsigned number = (lun[2] << 8 | lun[3]) & 0x3fff;
    for (unsigned i = 0; i < scsi->count; i++) {
        struct scsi_place *place = scsi->places[i];
        if (lun[0] == 1 && place->target == lun[1] && (any_lun || place->lun == number))
            return place;
    }
    return NULL;
}

/* -------------------------------------------------------------------- requests */

static struct scsi_request *request_get(struct virtio_scsi *scsi)
{
    struct scsi_request *request;
    if (!list_empty(&scsi->free)) {
        request = list_entry(scsi->free.next, struct scsi_request, node);
        list_del(&request->node);
        return request;
    }
    request = scsi->made < QUEUE_SIZE ? calloc(1, sizeof(*request)) : NULL;
    if (!request)
        return NULL;
    scsi->requests[scsi->made++] = request;
    request->scsi = scsi;
    request->chain.iov = request->chain_iov;
    request->chain.iov_max = IOV_MAX_PIECES;
    list_init(&request->node);
    list_init(&request->task.request.node);
    return request;
}

static void respond(struct scsi_request *request, struct virtio_scsi_cmd_resp *response,
                    uint64_t transferred)
{
    struct virtio_scsi *scsi = request->scsi;
    uint64_t written = sizeof(*response) + (request->task.to_device ? 0 : transferred);
    virtqueue_write_in(&request->chain, 0, response, sizeof(*response));
    virtqueue_push(&scsi->virtio.queues[REQUESTS].ring, &request->chain, (uint32_t)written);
    list_add_tail(scsi->free.next, &request->node);
    if (!scsi->in_serve)
        virtio_queue_notify(&scsi->virtio.queues[REQUESTS]);
}

static void respond_failure(struct scsi_request *request, uint8_t code)
{
    struct virtio_scsi_cmd_resp response = {.response = code};
    respond(request, &response, 0);
}

static void task_done(struct scsi_task *task)
{
    struct scsi_request *request = container_of(task, struct scsi_request, task);
    struct virtio_scsi_cmd_resp response = {
        .resid = (uint32_t)MIN(task->len - task->transferred, UINT32_MAX),
        .status = task->status,
        .response = VIRTIO_SCSI_S_OK,
    };
    task->ranges = NULL;
    if (task->status == SCSI_CHECK_CONDITION) {
        response.sense_len = SCSI_SENSE_SIZE;
        scsi_fill_sense(response.sense, task->sense);
    }
    respond(request, &response, task->transferred);
}

/* All LUNs of the target (SPC-4 6.33): whoever of its units is asked. */
static void report_luns(struct scsi_request *request, unsigned target)
{
    struct virtio_scsi *scsi = request->scsi;
    uint8_t list[8 + 8 * (LUN_MAX + 1)] = {0};
    size_t len = 8, allowed = scsi_be(request->task.cdb + 6, 4);
    for (unsigned lun = 0; lun <= LUN_MAX; lun++) {
        bool there = lun == 0;
        for (unsigned i = 0; i < scsi->count && !there; i++)
            there = scsi->places[i]->target == target && scsi->places[i]->lun == lun;
        if (!there)
            continue;
        list[len + 1] = (uint8_t)lun;
        len += 8;
    }
    scsi_put_be(list, len - 8, 4);
    scsi_reply(&request->task, list, len, allowed);
}

/* A LUN that is not there, of a target that is: systems look for it (SPC-4 6.4.2). */
static void answer_for_absent(struct scsi_request *request)
{
    static const uint8_t nothing[36] = {0x7f, 0, 0x05, 0x02, 31};
    struct scsi_task *task = &request->task;
    if (task->cdb[0] == 0x12)
        scsi_reply(task, nothing, sizeof(nothing), scsi_be(task->cdb + 3, 2));
    else
        scsi_fail(task, SENSE_INVALID_LUN);
}

static void start(struct scsi_request *request, const struct virtio_scsi_cmd_req *header)
{
    struct virtio_scsi *scsi = request->scsi;
    struct virtqueue_chain *chain = &request->chain;
    struct scsi_task *task = &request->task;
    struct scsi_place *place = find_place(scsi, header->lun, false);
    struct scsi_place *target = find_place(scsi, header->lun, true);
    uint64_t out = chain->out_bytes - sizeof(*header);
    uint64_t in = chain->in_bytes - sizeof(struct virtio_scsi_cmd_resp);
    task->to_device = out > 0;
    task->len = task->transferred = 0;
    task->ranges = NULL;
    if (!target) {
        respond_failure(request, VIRTIO_SCSI_S_BAD_TARGET);
        return;
    }
    if (in && out) { /* no command of ours has both */
        respond_failure(request, VIRTIO_SCSI_S_FAILURE);
        return;
    }
    task->len = out ? out : in;
    task->iov = request->data_iov;
    task->iov_count =
        out ? iov_slice(chain->iov, chain->out_count, sizeof(*header), out, task->iov,
                        IOV_MAX_PIECES)
            : iov_slice(chain->iov + chain->out_count, chain->in_count,
                        sizeof(struct virtio_scsi_cmd_resp), in, task->iov, IOV_MAX_PIECES);
    memcpy(task->cdb, header->cdb, sizeof(task->cdb));
    task->done = task_done;
    task->unit = place ? &place->unit : &target->unit;
    task->status = SCSI_GOOD;
    task->sense = SENSE_NONE;
    if (task->cdb[0] == 0xa0)
        report_luns(request, target->target);
    else if (!place)
        answer_for_absent(request);
    else
        scsi_task_run(task);
}

/* False: there may be more. */
static bool take_batch(struct virtio_scsi *scsi)
{
    struct virtqueue *ring = &scsi->virtio.queues[REQUESTS].ring;
    for (unsigned i = 0; i < BUDGET; i++) {
        struct virtio_scsi_cmd_req header;
        struct scsi_request *request = request_get(scsi);
        if (!request) {
            if (!virtqueue_empty(ring))
                virtqueue_break(ring, "more requests are in flight than the queue holds");
            return true;
        }
        if (virtqueue_pop(ring, &request->chain) <= 0) {
            list_add_tail(scsi->free.next, &request->node);
            return true;
        }
        if (request->chain.in_bytes < sizeof(struct virtio_scsi_cmd_resp) ||
            virtqueue_read_out(&request->chain, 0, &header, sizeof(header)) < sizeof(header)) {
            virtqueue_unpop(ring, &request->chain);
            list_add_tail(scsi->free.next, &request->node);
            virtqueue_break(ring, "a request has no room for its header or its response");
            return true;
        }
        start(request, &header);
    }
    return false;
}

static void kick_drives(struct virtio_scsi *scsi)
{
    for (unsigned i = 0; i < scsi->count; i++)
        drive_kick(&scsi->places[i]->unit.queue);
}

static void serve_requests(struct virtio_scsi *scsi, struct virtio_queue *queue)
{
    bool all;
    scsi->in_serve = true;
    do {
        virtqueue_disable_kick(&queue->ring);
        all = take_batch(scsi);
        kick_drives(scsi);
    } while (!virtio_queue_broken(queue) && all && virtqueue_enable_kick(&queue->ring));
    scsi->in_serve = false;
    if (virtio_queue_broken(queue))
        return;
    virtio_queue_notify(queue);
    if (!all)
        virtio_queue_again(queue);
}

/* ---------------------------------------------------------------- control, events */

static void reset_unit(struct scsi_place *place)
{
    if (place->unit.queue.io)
        block_settle(place->unit.queue.io);
    scsi_unit_reset(&place->unit);
}

/* What was under way is done, not aborted: it takes a moment at most, but for what the host holds.
 */
static uint8_t manage(struct virtio_scsi *scsi, const struct virtio_scsi_ctrl_tmf_req *tmf)
{
    struct scsi_place *place = find_place(scsi, tmf->lun, false);
    struct scsi_place *target = find_place(scsi, tmf->lun, true);
    if (!target)
        return VIRTIO_SCSI_S_BAD_TARGET;
    switch (tmf->subtype) {
    case VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET:
        for (unsigned i = 0; i < scsi->count; i++) {
            if (scsi->places[i]->target == target->target)
                reset_unit(scsi->places[i]);
        }
        return VIRTIO_SCSI_S_FUNCTION_SUCCEEDED;
    case VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET:
    case VIRTIO_SCSI_T_TMF_ABORT_TASK_SET:
    case VIRTIO_SCSI_T_TMF_ABORT_TASK:
        if (!place)
            return VIRTIO_SCSI_S_INCORRECT_LUN;
        if (tmf->subtype == VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET)
            reset_unit(place);
        else if (place->unit.queue.io)
            block_settle(place->unit.queue.io);
        return VIRTIO_SCSI_S_FUNCTION_SUCCEEDED;
    default:
        return VIRTIO_SCSI_S_FUNCTION_REJECTED;
    }
}

static uint32_t control(struct virtio_scsi *scsi, const struct virtqueue_chain *chain)
{
    struct virtio_scsi_ctrl_tmf_req tmf = {0};
    size_t len = virtqueue_read_out(chain, 0, &tmf, sizeof(tmf));
    if (len == sizeof(tmf) && tmf.type == VIRTIO_SCSI_T_TMF) {
        uint8_t code = manage(scsi, &tmf);
        return (uint32_t)virtqueue_write_in(chain, 0, &code, 1);
    }
    /* Asynchronous notifications: none are offered. */
    const struct virtio_scsi_ctrl_an_resp none = {.response = VIRTIO_SCSI_S_OK};
    if (len >= sizeof(struct virtio_scsi_ctrl_an_req))
        return (uint32_t)virtqueue_write_in(chain, 0, &none, sizeof(none));
    return 0;
}

static void serve_control(struct virtio_scsi *scsi, struct virtio_queue *queue)
{
    struct iovec iov[16];
    struct virtqueue_chain chain = {.iov = iov, .iov_max = ARRAY_SIZE(iov)};
    unsigned left = BUDGET;
    do {
        while (left && virtqueue_pop(&queue->ring, &chain) > 0) {
            virtqueue_push(&queue->ring, &chain, control(scsi, &chain));
            left--;
        }
    } while (left && virtqueue_enable_kick(&queue->ring));
    if (virtio_queue_broken(queue))
        return;
    virtio_queue_notify(queue);
    if (!left)
        virtio_queue_again(queue);
}

/* False: the driver has given no buffer. */
static bool send_event(struct virtio_scsi *scsi, const struct scsi_place *place, unsigned reason)
{
    struct virtio_queue *queue = &scsi->virtio.queues[EVENT];
    struct iovec iov[16];
    struct virtqueue_chain chain = {.iov = iov, .iov_max = ARRAY_SIZE(iov)};
    struct virtio_scsi_event event = {
        .event = VIRTIO_SCSI_T_PARAM_CHANGE,
        .lun = {1, (uint8_t)place->target, 0x40, (uint8_t)place->lun},
        .reason = reason,
    };
    if (!atomic_load(&queue->active) || virtqueue_pop(&queue->ring, &chain) <= 0)
        return false;
    if (scsi->events_missed)
        event.event |= VIRTIO_SCSI_T_EVENTS_MISSED;
    scsi->events_missed = false;
    virtqueue_push(&queue->ring, &chain,
                   (uint32_t)virtqueue_write_in(&chain, 0, &event, sizeof(event)));
    return true;
}

static void tell_news(void *opaque)
{
    struct virtio_scsi *scsi = opaque;
    struct virtio_queue *queue = &scsi->virtio.queues[EVENT];
    if (!virtio_has(&scsi->virtio, VIRTIO_SCSI_F_CHANGE) || !scsi->virtio.running)
        return;
    for (unsigned i = 0; i < scsi->count; i++) {
        struct scsi_place *place = scsi->places[i];
        unsigned news = atomic_exchange(&place->news, 0);
        if (news & SCSI_ATTENTION_CAPACITY && !send_event(scsi, place, 0x2a | 0x09 << 8))
            scsi->events_missed = true;
        if (news & SCSI_ATTENTION_MEDIUM && !send_event(scsi, place, 0x28))
            scsi->events_missed = true;
    }
    if (!virtio_queue_broken(queue))
        virtio_queue_notify(queue);
}

static void notify(struct scsi_unit *unit, unsigned attention)
{
    struct scsi_place *place = container_of(unit, struct scsi_place, unit);
    atomic_fetch_or(&place->news, attention);
    loop_post(place->scsi->loop, &place->scsi->news);
}

/* ------------------------------------------------------------------------- device */

static void scsi_kick(struct virtio_device *dev, struct virtio_queue *queue)
{
    if (queue->index == REQUESTS)
        serve_requests(of(dev), queue);
    else if (queue->index == CONTROL)
        serve_control(of(dev), queue);
}

static void scsi_queue_start(struct virtio_device *dev, struct virtio_queue *queue)
{
    struct virtio_scsi *scsi = of(dev);
    for (unsigned i = 0; queue->index == REQUESTS && i < scsi->count; i++)
        drive_queue_start(&scsi->places[i]->unit.queue);
}

static void scsi_queue_stop(struct virtio_device *dev, struct virtio_queue *queue)
{
    struct virtio_scsi *scsi = of(dev);
    for (unsigned i = 0; queue->index == REQUESTS && i < scsi->count; i++)
        drive_queue_stop(&scsi->places[i]->unit.queue);
}

/* The requests that are not free were held. */
static void scsi_reset(struct virtio_device *dev)
{
    struct virtio_scsi *scsi = of(dev);
    list_init(&scsi->free);
    for (unsigned i = 0; i < scsi->made; i++) {
        struct scsi_request *request = scsi->requests[i];
        free(request->task.ranges);
        request->task.ranges = NULL;
        list_init(&request->node);
        list_init(&request->task.request.node);
        list_add_tail(&scsi->free, &request->node);
    }
    for (unsigned i = 0; i < scsi->count; i++) {
        drive_queue_forget(&scsi->places[i]->unit.queue);
        scsi_unit_reset(&scsi->places[i]->unit);
    }
}

static json_t *scsi_save(struct virtio_device *dev)
{
    json_t *units = json_array();
    for (unsigned i = 0; i < of(dev)->count; i++)
        json_array_append_new(units, scsi_unit_save(&of(dev)->places[i]->unit));
    return json_pack("{s:o}", "units", units);
}

static int scsi_load(struct virtio_device *dev, const json_t *state, struct kv_error *err)
{
    const json_t *units = json_object_get(state, "units");
    if (json_array_size(units) != of(dev)->count)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "SCSI controller: the state has %zu units, this machine %u",
                            json_array_size(units), of(dev)->count);
    for (unsigned i = 0; i < of(dev)->count; i++)
        scsi_unit_load(&of(dev)->places[i]->unit, json_array_get(units, i));
    return 0;
}

static void scsi_metrics(struct virtio_device *dev, json_t *out)
{
    for (unsigned i = 0; i < of(dev)->count; i++) {
        const struct drive *drive = &of(dev)->places[i]->unit.drive;
        json_object_set_new(out, drive->id, drive_describe_stats(drive));
    }
}

static void leave_loop(void *opaque)
{
    struct virtio_scsi *scsi = opaque;
    loop_unpost(scsi->loop, &scsi->news);
}

static void scsi_free(struct virtio_device *dev)
{
    struct virtio_scsi *scsi = of(dev);
    virtio_device_stop(dev);
    loop_call(scsi->loop, leave_loop, scsi);
    for (unsigned i = 0; i < scsi->count; i++) {
        scsi_unit_destroy(&scsi->places[i]->unit);
        free(scsi->places[i]);
    }
    for (unsigned i = 0; i < scsi->made; i++) {
        free(scsi->requests[i]->task.ranges);
        free(scsi->requests[i]);
    }
    virtio_device_destroy(dev);
    list_del(&scsi->node);
    free(scsi);
}

static const struct virtio_device_ops scsi_ops = {
    .device_id = VIRTIO_ID_SCSI,
    .queue_start = scsi_queue_start,
    .queue_stop = scsi_queue_stop,
    .kick = scsi_kick,
    .reset = scsi_reset,
    .save = scsi_save,
    .load = scsi_load,
    .metrics = scsi_metrics,
    .free = scsi_free,
};

int virtio_scsi_create(struct virtio_device **out, struct machine *machine, struct guest_mem *mem,
                       struct loop *loop, struct kv_error *err)
{
    static const uint16_t sizes[QUEUES] = {16, 16, QUEUE_SIZE};
    struct virtio_scsi *scsi = calloc(1, sizeof(*scsi));
    if (!scsi)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "SCSI controller: out of memory");
    scsi->loop = loop;
    scsi->news = (struct loop_work){.fn = tell_news, .opaque = scsi};
    list_init(&scsi->free);
    list_init(&scsi->node);
    scsi->config = (struct virtio_scsi_config){
        .num_queues = QUEUES - REQUESTS,
        .seg_max = SEG_MAX,
        .max_sectors = 0xffff,
        .cmd_per_lun = 128,
        .event_info_size = sizeof(struct virtio_scsi_event),
        .sense_size = VIRTIO_SCSI_SENSE_SIZE,
        .cdb_size = VIRTIO_SCSI_CDB_SIZE,
        .max_target = TARGET_MAX,
        .max_lun = LUN_MAX,
    };
    int rc = virtio_device_init(&scsi->virtio, &scsi_ops, "virtio-scsi", BIT(VIRTIO_SCSI_F_CHANGE),
                                &scsi->config, sizeof(scsi->config), QUEUES, sizes, mem, loop, err);
    if (rc < 0) {
        free(scsi);
        return rc;
    }
    scsi->virtio.machine = machine;
    scsi->virtio.boot_units = scsi->boot_units;
    scsi->virtio.boot_unit_count = UNITS_MAX;
    *out = &scsi->virtio;
    return 0;
}

/* The target: what config says, or one that has no unit yet. */
static int choose_target(struct virtio_scsi *scsi, const struct drive_config *config,
                         struct kv_error *err)
{
    uint8_t lun[8] = {1};
    for (unsigned target = 0; config->unit == DRIVE_NO_UNIT && target <= TARGET_MAX; target++) {
        lun[1] = (uint8_t)target;
        if (!find_place(scsi, lun, true))
            return (int)target;
    }
    lun[1] = (uint8_t)config->unit;
    lun[3] = (uint8_t)config->lun;
    if (scsi->count == UNITS_MAX || config->unit > TARGET_MAX || config->lun > LUN_MAX)
        return kv_error_set(err, KV_ERR_CONFIG, ENOSPC,
                            "a SCSI controller has targets 0 to %d with LUNs 0 to %d, and %d units "
                            "together",
                            TARGET_MAX, LUN_MAX, UNITS_MAX);
    if (find_place(scsi, lun, false))
        return kv_error_set(err, KV_ERR_CONFIG, EEXIST,
                            "target %" PRIu64 " has a LUN %" PRIu64 " already", config->unit,
                            config->lun);
    return (int)config->unit;
}

int virtio_scsi_add(struct virtio_device *dev, const struct drive_config *config,
                    struct kv_error *err)
{
    struct virtio_scsi *scsi = of(dev);
    if (config->slot || config->queues || config->iothread)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "slot, queues and iothread are for bus=virtio");
    int target = choose_target(scsi, config, err);
    if (target < 0)
        return target;
    struct scsi_place *place = calloc(1, sizeof(*place));
    if (!place)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "SCSI unit: out of memory");
    int rc =
        scsi_unit_init(&place->unit, dev->machine, config, scsi->loop, QUEUE_SIZE, NULL, NULL, err);
    if (rc < 0) {
        free(place);
        return rc;
    }
    place->scsi = scsi;
    place->target = (unsigned)target;
    place->lun = (unsigned)config->lun;
    place->unit.notify = notify;
    struct pci_boot_unit *boot = &scsi->boot_units[scsi->count];
    boot->index = (unsigned)config->bootindex;
    snprintf(boot->path, sizeof(boot->path), "/channel@0/disk@%x,%x", place->target, place->lun);
    scsi->places[scsi->count++] = place;
    return 0;
}

/* ------------------------------------------------------------------ configuration */

/* All controllers of the process; control thread. */
static struct list controllers = {&controllers, &controllers};

static int make_controller(struct machine *machine, const char *id, uint64_t slot,
                           uint64_t iothread, struct virtio_device **out, struct kv_error *err)
{
    struct loop *loop = machine_find_loop(machine, iothread, err);
    int rc = loop ? virtio_scsi_create(out, machine, &machine->mem, loop, err) : -EINVAL;
    if (rc < 0)
        return rc;
    struct virtio_scsi *scsi = of(*out);
    snprintf(scsi->id, sizeof(scsi->id), "%s", id ? id : "");
    list_add_tail(&controllers, &scsi->node);
    return virtio_pci_create(machine, *out, id, slot, err);
}

int virtio_scsi_attach(struct machine *machine, const struct drive_config *config,
                       struct kv_error *err)
{
    struct virtio_device *found = NULL;
    list_for_each (pos, &controllers) {
        struct virtio_scsi *scsi = list_entry(pos, struct virtio_scsi, node);
        bool named = !config->controller || strcmp(scsi->id, config->controller) == 0;
        if (!found && scsi->virtio.machine == machine && named)
            found = &scsi->virtio;
    }
    if (!found && config->controller)
        return kv_error_set(err, KV_ERR_CONFIG, ENOENT,
                            "controller '%s' is no SCSI controller; --scsi id=%s makes one",
                            config->controller, config->controller);
    int rc = found ? 0 : make_controller(machine, NULL, 0, 0, &found, err);
    return rc < 0 ? rc : virtio_scsi_add(found, config, err);
}

struct scsi_config {
    char *id;
    uint64_t slot, cmd_per_lun, max_sectors, iothread;
};

static const struct option_spec scsi_options[] = {
    OPTION(STRING, struct scsi_config, id, .help = "name of the controller"),
    OPTION(UINT, struct scsi_config, slot, .max = 30, .help = VIRTIO_PCI_SLOT_HELP),
    OPTION_NAMED("cmd-per-lun", UINT, struct scsi_config, cmd_per_lun, .min = 1, .max = UINT32_MAX,
                 .help = "commands that the guest should give a unit at a time; default 128"),
    OPTION_NAMED("max-sectors", UINT, struct scsi_config, max_sectors, .min = 1, .max = UINT32_MAX,
                 .help = "that the guest should transfer at a time; default 65535"),
    OPTION(UINT, struct scsi_config, iothread, .min = 1, .max = UINT32_MAX,
           .help = "number of the I/O thread that serves it"),
    OPTION_END,
};

static int create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct scsi_config *config = opaque;
    struct virtio_device *made;
    int rc = make_controller(machine, config->id, config->slot, config->iothread, &made, err);
    if (rc == 0 && config->cmd_per_lun)
        of(made)->config.cmd_per_lun = (uint32_t)config->cmd_per_lun;
    if (rc == 0 && config->max_sectors)
        of(made)->config.max_sectors = (uint32_t)config->max_sectors;
    return rc;
}

const struct device_class virtio_scsi_class = {
    .option = "scsi",
    .implied = "id",
    .help = "a SCSI controller (virtio-scsi), for --disk bus=scsi and --cdrom bus=scsi",
    .options = scsi_options,
    .config_size = sizeof(struct scsi_config),
    .create = create,
};
