/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Queues of an NVMe controller (NVM Express 1.4, 4.1): commands are fetched
 * while the completion queue has room for their ends, so that an end never
 * waits; and the controller comes up and goes down (7.6.1) as CC says.
 */
#include <stdlib.h>

#include "vmm/storage/nvme_internal.h"

#define BUDGET 64

void nvme_break(struct nvme *nvme)
{
    nvme->broken = true;
    pthread_mutex_lock(&nvme->lock);
    nvme->csts |= (uint32_t)CSTS_CFS;
    pthread_mutex_unlock(&nvme->lock);
}

void nvme_update_pin(struct nvme *nvme)
{
    bool high = false;
    pthread_mutex_lock(&nvme->lock);
    for (unsigned i = 0; i < NVME_QUEUES; i++) {
        const struct nvme_cq *cq = &nvme->cqs[i];
        high |= cq->size && cq->interrupts && cq->head != cq->tail;
    }
    pci_intx_set(&nvme->pci, high && !(nvme->intms & 1) && !nvme->pci.msix.enabled);
    pthread_mutex_unlock(&nvme->lock);
}

/* ------------------------------------------------------------------ requests */

static struct nvme_request *request_get(struct nvme *nvme)
{
    struct nvme_request *request;
    if (!list_empty(&nvme->free)) {
        request = list_entry(nvme->free.next, struct nvme_request, node);
        list_del(&request->node);
        return request;
    }
    request = nvme->made < NVME_REQUESTS ? calloc(1, sizeof(*request)) : NULL;
    if (!request)
        return NULL;
    nvme->requests[nvme->made++] = request;
    request->nvme = nvme;
    list_init(&request->node);
    list_init(&request->io.node);
    return request;
}

static void request_put(struct nvme_request *request)
{
    struct nvme *nvme = request->nvme;
    free(request->ranges);
    request->ranges = NULL;
    nvme->running--;
    nvme->sqs[request->sq].running--;
    nvme->cqs[nvme->sqs[request->sq].cq].reserved--;
    list_add_tail(nvme->free.next, &request->node);
}

static void mark_dirty(const struct nvme_request *request)
{
    for (unsigned i = 0; request->to_guest && i < request->iov_count; i++)
        guest_mem_mark_dirty_hva(request->nvme->mem, request->iov[i].iov_base,
                                 request->iov[i].iov_len);
}

static void end_deletion(struct nvme *nvme, struct nvme_sq *sq)
{
    struct nvme_request *deletion = sq->deletion;
    nvme->cqs[sq->cq].users--;
    *sq = (struct nvme_sq){.size = 0};
    nvme_end(deletion, NVME_OK, 0);
}

void nvme_end(struct nvme_request *request, unsigned status, uint32_t result)
{
    struct nvme *nvme = request->nvme;
    struct nvme_sq *sq = &nvme->sqs[request->sq];
    struct nvme_cq *cq = &nvme->cqs[sq->cq];
    mark_dirty(request);
    if (status != NVME_KEPT && !nvme->broken) {
        const struct nvme_completion completion = {
            .result = result,
            .sq_head = (uint16_t)sq->head,
            .sq_id = request->sq,
            .cid = request->cid,
            .status = (uint16_t)(status << 1 | cq->phase),
        };
        if (guest_mem_write(nvme->mem, cq->base + (uint64_t)cq->tail * sizeof(completion),
                            &completion, sizeof(completion)) < 0)
            nvme_break(nvme);
        if (++cq->tail == cq->size) {
            cq->tail = 0;
            cq->phase = !cq->phase;
        }
        if (cq->interrupts)
            pci_msix_notify(&nvme->pci, cq->vector);
        nvme_update_pin(nvme);
    }
    request_put(request);
    if (sq->deletion && sq->running == 0)
        end_deletion(nvme, sq);
    if (!nvme->in_run)
        loop_post(nvme->loop, &nvme->work);
}

/* ------------------------------------------------------------------- fetching */

/* Both indices of doorbells are checked here, before they are used. */
static bool take_doorbells(struct nvme *nvme, unsigned q, uint32_t *tail)
{
    struct nvme_cq *cq = &nvme->cqs[q];
    *tail = atomic_load(&nvme->doorbells[2 * q]);
    uint32_t head = atomic_load(&nvme->doorbells[2 * q + 1]);
    bool good = (!nvme->sqs[q].size || *tail < nvme->sqs[q].size) && (!cq->size || head < cq->size);
    if (!good)
        nvme_break(nvme);
    else if (cq->size)
        cq->head = head;
    return good;
}

static bool has_room(const struct nvme_cq *cq)
{
    uint32_t used = cq->tail >= cq->head ? cq->tail - cq->head : cq->tail + cq->size - cq->head;
    return used + cq->reserved < cq->size - 1;
}

static void begin(struct nvme *nvme, struct nvme_request *request, unsigned q,
                  const struct nvme_command *command)
{
    uint32_t result = 0;
    request->sq = (uint16_t)q;
    request->cid = command->cid;
    request->iov_count = 0;
    request->to_guest = false;
    nvme->running++;
    nvme->sqs[q].running++;
    nvme->cqs[nvme->sqs[q].cq].reserved++;
    /* Neither fused operations nor lists of another kind than PRPs are offered. */
    unsigned status = NVME_INVALID_FIELD | NVME_DNR;
    if (!(command->flags & 0xc3))
        status = q ? nvme_io(request, command) : nvme_admin(request, command, &result);
    if (status != NVME_LATER)
        nvme_end(request, status, result);
}

/* True: there may be more. */
static bool take_batch(struct nvme *nvme, unsigned q, uint32_t tail)
{
    struct nvme_sq *sq = &nvme->sqs[q];
    for (unsigned i = 0; i < BUDGET && !nvme->broken && sq->size; i++) {
        struct nvme_command command;
        if (sq->head == tail || sq->deletion || !has_room(&nvme->cqs[sq->cq]))
            return false;
        struct nvme_request *request = request_get(nvme);
        if (!request)
            return false;
        if (guest_mem_read(nvme->mem, sq->base + (uint64_t)sq->head * sizeof(command), &command,
                           sizeof(command)) < 0) {
            list_add_tail(&nvme->free, &request->node);
            nvme_break(nvme);
            return false;
        }
        sq->head = (sq->head + 1) % sq->size;
        begin(nvme, request, q, &command);
    }
    return !nvme->broken && sq->size;
}

/* ------------------------------------------------------------------- up and down */

static bool start(struct nvme *nvme)
{
    /* Command set NVM, pages of 4 KiB, round robin; the sizes of entries are looked at when queues
     * are made, which is when they have to be there. */
    bool good = !(nvme->cc & 0x3ff0) && !(nvme->asq & (NVME_PAGE - 1)) &&
                !(nvme->acq & (NVME_PAGE - 1)) && (nvme->aqa & 0xfff) && (nvme->aqa >> 16 & 0xfff);
    /* What was rung before there were queues means none of them. */
    for (unsigned i = 0; i < 2 * NVME_QUEUES; i++)
        atomic_store(&nvme->doorbells[i], 0);
    nvme->sqs[0] = (struct nvme_sq){.size = (nvme->aqa & 0xfff) + 1, .base = nvme->asq};
    nvme->cqs[0] = (struct nvme_cq){.size = (nvme->aqa >> 16 & 0xfff) + 1,
                                    .base = nvme->acq,
                                    .interrupts = true,
                                    .phase = true,
                                    .users = 1};
    return good;
}

void nvme_clear(struct nvme *nvme)
{
    memset(nvme->sqs, 0, sizeof(nvme->sqs));
    memset(nvme->cqs, 0, sizeof(nvme->cqs));
    memset(nvme->features, 0, sizeof(nvme->features));
    nvme->features[7] = (NVME_QUEUES - 2) << 16 | (NVME_QUEUES - 2);
    for (unsigned i = 0; i < 2 * NVME_QUEUES; i++)
        atomic_store(&nvme->doorbells[i], 0);
    nvme->events = 0;
    nvme->broken = false;
    for (unsigned i = 0; i < NVME_NAMESPACES; i++) {
        struct drive *drive = nvme->namespaces[i] ? &nvme->namespaces[i]->drive : NULL;
        if (drive)
            atomic_store(&drive->writeback, drive->default_writeback);
    }
}

/* CC is followed: the controller starts, or stops when nothing is under way any more. True: its
 * queues may be served. */
static bool follow(struct nvme *nvme)
{
    bool stopped = false;
    pthread_mutex_lock(&nvme->lock);
    bool enabled = nvme->cc & CC_EN, ready = nvme->csts & CSTS_RDY;
    if (!enabled && ready)
        nvme->broken = true; /* what ends now tells nobody */
    if (!enabled && nvme->csts && !nvme->running) {
        nvme_clear(nvme);
        nvme->csts = 0;
        stopped = true;
    } else if (enabled && !ready && !nvme->broken) {
        ready = start(nvme);
        nvme->broken = !ready;
        nvme->csts |= ready ? (uint32_t)CSTS_RDY : (uint32_t)CSTS_CFS;
    }
    if (nvme->cc >> 14 & 3 && !nvme->running && enabled)
        nvme->csts |= CSTS_SHUT_DOWN;
    pthread_mutex_unlock(&nvme->lock);
    if (stopped)
        nvme_update_pin(nvme);
    return enabled && ready && !nvme->broken;
}

void nvme_run(void *opaque)
{
    struct nvme *nvme = opaque;
    bool more = false;
    if (nvme->in_run || nvme->paused || !follow(nvme))
        return;
    nvme->in_run = true;
    for (unsigned q = 0; q < NVME_QUEUES && !nvme->broken; q++) {
        uint32_t tail;
        if (take_doorbells(nvme, q, &tail))
            more |= take_batch(nvme, q, tail);
    }
    nvme->in_run = false;
    for (unsigned i = 0; i < NVME_NAMESPACES; i++) {
        if (nvme->namespaces[i])
            drive_kick(&nvme->namespaces[i]->queue);
    }
    nvme_update_pin(nvme);
    if (more)
        loop_post(nvme->loop, &nvme->work);
}
