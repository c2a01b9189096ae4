/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Admin commands of an NVMe controller (NVM Express 1.4, 5): queues are made
 * and removed, controller and namespaces say what they are, features.
 */
#include <stdio.h>

#include "vmm/storage/nvme_internal.h"

#define PHYSICALLY_CONTIGUOUS BIT(0)
#define INTERRUPTS_ENABLED BIT(1)
#define ENTRY_SIZES (4u << 20 | 6u << 16) /* of CC: 16 and 64 bytes */

/* -------------------------------------------------------------------- queues */

/* What both kinds of queues have to be (5.3, 5.4). */
static unsigned check_queue(struct nvme *nvme, const struct nvme_command *command, bool taken)
{
    unsigned id = command->cdw10 & 0xffff, size = command->cdw10 >> 16;
    pthread_mutex_lock(&nvme->lock);
    bool entries = (nvme->cc & 0xff0000) == ENTRY_SIZES;
    pthread_mutex_unlock(&nvme->lock);
    if (id == 0 || id >= NVME_QUEUES || taken)
        return NVME_INVALID_QUEUE | NVME_DNR;
    if (size == 0 || size >= NVME_QUEUE_SIZE_MAX || !entries)
        return NVME_INVALID_QUEUE_SIZE | NVME_DNR;
    if (!(command->cdw11 & PHYSICALLY_CONTIGUOUS))
        return NVME_INVALID_FIELD | NVME_DNR;
    if (command->prp1 & (NVME_PAGE - 1))
        return NVME_INVALID_PRP_OFFSET | NVME_DNR;
    return NVME_OK;
}

static unsigned create_cq(struct nvme_request *request, const struct nvme_command *command,
                          uint32_t *result)
{
    struct nvme *nvme = request->nvme;
    unsigned id = command->cdw10 & 0xffff, vector = command->cdw11 >> 16;
    unsigned status = check_queue(nvme, command, id < NVME_QUEUES && nvme->cqs[id].size);
    if (status == NVME_OK && vector >= NVME_QUEUES)
        status = NVME_INVALID_VECTOR | NVME_DNR;
    if (status != NVME_OK)
        return status;
    atomic_store(&nvme->doorbells[2 * id + 1], 0);
    nvme->cqs[id] = (struct nvme_cq){.size = (command->cdw10 >> 16) + 1,
                                     .base = command->prp1,
                                     .vector = (uint16_t)vector,
                                     .interrupts = command->cdw11 & INTERRUPTS_ENABLED,
                                     .phase = true};
    return NVME_OK;
}

static unsigned create_sq(struct nvme_request *request, const struct nvme_command *command,
                          uint32_t *result)
{
    struct nvme *nvme = request->nvme;
    unsigned id = command->cdw10 & 0xffff, cq = command->cdw11 >> 16;
    unsigned status = check_queue(nvme, command, id < NVME_QUEUES && nvme->sqs[id].size);
    if (status == NVME_OK && (cq == 0 || cq >= NVME_QUEUES || !nvme->cqs[cq].size))
        status = NVME_INVALID_CQ | NVME_DNR;
    if (status != NVME_OK)
        return status;
    atomic_store(&nvme->doorbells[2 * id], 0);
    nvme->sqs[id] = (struct nvme_sq){
        .size = (command->cdw10 >> 16) + 1, .base = command->prp1, .cq = (uint16_t)cq};
    nvme->cqs[cq].users++;
    return NVME_OK;
}

static unsigned delete_cq(struct nvme_request *request, const struct nvme_command *command,
                          uint32_t *result)
{
    struct nvme *nvme = request->nvme;
    unsigned id = command->cdw10 & 0xffff;
    if (id == 0 || id >= NVME_QUEUES || !nvme->cqs[id].size)
        return NVME_INVALID_QUEUE | NVME_DNR;
    if (nvme->cqs[id].users)
        return NVME_INVALID_DELETION | NVME_DNR;
    nvme->cqs[id] = (struct nvme_cq){.size = 0};
    return NVME_OK;
}

/* Ends when the commands that were fetched from it have. */
static unsigned delete_sq(struct nvme_request *request, const struct nvme_command *command,
                          uint32_t *result)
{
    struct nvme *nvme = request->nvme;
    unsigned id = command->cdw10 & 0xffff;
    struct nvme_sq *sq = id && id < NVME_QUEUES ? &nvme->sqs[id] : NULL;
    if (!sq || !sq->size || sq->deletion)
        return NVME_INVALID_QUEUE | NVME_DNR;
    if (sq->running) {
        sq->deletion = request;
        return NVME_LATER;
    }
    nvme->cqs[sq->cq].users--;
    *sq = (struct nvme_sq){.size = 0};
    return NVME_OK;
}

/* ------------------------------------------------------------------- identify */

static void put_text(uint8_t *at, size_t size, const char *text)
{
    memset(at, ' ', size);
    memcpy(at, text, MIN(strlen(text), size));
}

static void identify_controller(const struct nvme *nvme, uint8_t *data)
{
    bool zeroes = true;
    for (unsigned i = 0; i < NVME_NAMESPACES; i++)
        zeroes &= !nvme->namespaces[i] || nvme->namespaces[i]->can_write_zeroes;
    memcpy(data, nvme->pci.config, 2);          /* VID */
    memcpy(data + 2, nvme->pci.config + 44, 2); /* SSVID */
    put_text(data + 4, 20, nvme->serial);
    put_text(data + 24, 40, "Kvasir NVMe disk");
    put_text(data + 64, 8, "1");
    data[72] = 6; /* best number of commands fetched at a time: 2^6 */
    data[77] = NVME_MDTS;
    store_le(data + 80, 0x00010400, 4); /* version */
    data[258] = 3;                      /* aborts at a time, less 1 */
    data[259] = NVME_EVENTS - 1;
    data[260] = 3;                  /* one slot of firmware, read-only */
    data[261] = 4;                  /* GET LOG PAGE with offsets and lengths of 32 bits */
    store_le(data + 266, 0x157, 2); /* temperature for a warning, in K */
    store_le(data + 268, 0x175, 2); /* and for the worst */
    data[512] = 0x66;               /* bytes of a command: 2^6 */
    data[513] = 0x44;               /* of a completion: 2^4 */
    store_le(data + 516, NVME_NAMESPACES, 4);
    store_le(data + 520, 4 | (zeroes ? 8 : 0), 2); /* DATASET MANAGEMENT, WRITE ZEROES */
    data[525] = 1;                                 /* there is a volatile cache of writes */
    snprintf((char *)data + 768, 256, "nqn.2024-11.org.kvasir:nvme:%s", nvme->serial);
    store_le(data + 2048, 2500, 2); /* the one power state: 25 W */
}

/* A name that stays: of the drive's serial number or id. */
static uint64_t unique_name(const struct nvme_namespace *ns)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (const char *p = ns->drive.serial ? ns->drive.serial : ns->drive.id; *p; p++)
        hash = (hash ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
    return (hash & ~UINT64_C(0xffffff)) | 0x005452; /* first bytes 52:54:00, as stored */
}

static void identify_namespace(const struct nvme_namespace *ns, uint8_t *data)
{
    uint64_t blocks = nvme_blocks(ns);
    for (unsigned at = 0; at <= 16; at += 8) /* size, capacity, in use */
        store_le(data + at, blocks, 8);
    data[24] = ns->can_discard;            /* thin */
    data[33] = ns->can_discard ? 0x08 : 0; /* WRITE ZEROES gives back */
    data[99] = ns->drive.readonly;
    store_le(data + 120, unique_name(ns), 8); /* EUI-64 */
    data[130] = (uint8_t)ns->shift;           /* of format 0 */
}

static void list_namespaces(const struct nvme *nvme, uint32_t after, uint8_t *data)
{
    for (uint32_t nsid = after + 1; nsid > after && nsid <= NVME_NAMESPACES; nsid++) {
        if (nvme_find(nvme, nsid)) {
            store_le(data, nsid, 4);
            data += 4;
        }
    }
}

static unsigned identify(struct nvme_request *request, const struct nvme_command *command,
                         uint32_t *result)
{
    uint8_t data[NVME_PAGE] = {0};
    const struct nvme *nvme = request->nvme;
    const struct nvme_namespace *ns = nvme_find(nvme, command->nsid);
    unsigned cns = command->cdw10 & 0xff;
    bool named = command->nsid >= 1 && command->nsid <= NVME_NAMESPACES;
    if ((cns == 0 && !named) || (cns == 3 && !ns))
        return NVME_INVALID_NAMESPACE | NVME_DNR;
    switch (cns) {
    case 0: /* of a namespace; zeros of one that is not there */
        if (ns)
            identify_namespace(ns, data);
        break;
    case 1:
        identify_controller(nvme, data);
        break;
    case 2:
        if (command->nsid >= UINT32_MAX - 1)
            return NVME_INVALID_NAMESPACE | NVME_DNR;
        list_namespaces(nvme, command->nsid, data);
        break;
    case 3: /* names of a namespace: its EUI-64 */
        data[0] = 1;
        data[1] = 8;
        store_le(data + 4, unique_name(ns), 8);
        break;
    default:
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    return nvme_reply(request, command, data, sizeof(data));
}

/* ------------------------------------------------------------- logs, features, events */

static unsigned get_log(struct nvme_request *request, const struct nvme_command *command,
                        uint32_t *result)
{
    uint8_t data[NVME_PAGE] = {0};
    uint64_t len = ((command->cdw10 >> 16 | (uint64_t)(command->cdw11 & 0xffff) << 16) + 1) * 4;
    uint64_t offset = command->cdw12 | (uint64_t)command->cdw13 << 32;
    unsigned page = command->cdw10 & 0xff;
    if (page < 1 || page > 3)
        return NVME_INVALID_LOG | NVME_DNR;
    if (len > sizeof(data) || offset > 512 || offset & 3)
        return NVME_INVALID_FIELD | NVME_DNR;
    if (page == 2) { /* health: 300 K, all spare blocks there */
        store_le(data + 1, 300, 2);
        data[3] = 100;
        data[4] = 10;
    } else if (page == 3) {
        data[0] = 1; /* the slot of firmware, and its revision */
        data[8] = '1';
    }
    memmove(data, data + offset, 512);
    return nvme_reply(request, command, data, (uint32_t)len);
}

/* Which there are; the rest of their numbers are not. */
#define FEATURES \
    (BIT(1) | BIT(2) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(10) | BIT(11))
#define FEATURE_CACHE 6
#define FEATURE_QUEUES 7

static bool has_feature(unsigned id)
{
    return id < NVME_FEATURES && FEATURES >> id & 1;
}

static void set_cache(struct nvme *nvme, bool on)
{
    for (unsigned i = 0; i < NVME_NAMESPACES; i++) {
        if (nvme->namespaces[i])
            atomic_store(&nvme->namespaces[i]->drive.writeback, on);
    }
}

static bool get_cache(const struct nvme *nvme)
{
    bool on = false;
    for (unsigned i = 0; i < NVME_NAMESPACES; i++)
        on |= nvme->namespaces[i] && atomic_load(&nvme->namespaces[i]->drive.writeback);
    return on;
}

static unsigned set_features(struct nvme_request *request, const struct nvme_command *command,
                             uint32_t *result)
{
    struct nvme *nvme = request->nvme;
    unsigned id = command->cdw10 & 0xff;
    if (!has_feature(id))
        return NVME_INVALID_FIELD | NVME_DNR;
    if (command->cdw10 >> 31)
        return NVME_NOT_SAVEABLE | NVME_DNR;
    if (id == FEATURE_QUEUES) {
        *result = nvme->features[id]; /* all of them, whatever was asked for */
        return NVME_OK;
    }
    if (id == FEATURE_CACHE)
        set_cache(nvme, command->cdw11 & 1);
    nvme->features[id] = command->cdw11;
    return NVME_OK;
}

static unsigned get_features(struct nvme_request *request, const struct nvme_command *command,
                             uint32_t *result)
{
    unsigned id = command->cdw10 & 0xff, select = command->cdw10 >> 8 & 7;
    if (!has_feature(id) || select > 3)
        return NVME_INVALID_FIELD | NVME_DNR;
    if (select == 3)
        *result = 4; /* can be changed, is not kept */
    else
        *result = id == FEATURE_CACHE ? get_cache(request->nvme) : request->nvme->features[id];
    return NVME_OK;
}

/* Commands are under way for moments: none is ended early. */
static unsigned abort_command(struct nvme_request *request, const struct nvme_command *command,
                              uint32_t *result)
{
    *result = 1;
    return NVME_OK;
}

/* Nothing happens that the guest would have to be told of. */
static unsigned await_event(struct nvme_request *request, const struct nvme_command *command,
                            uint32_t *result)
{
    if (request->nvme->events == NVME_EVENTS)
        return NVME_TOO_MANY_EVENTS | NVME_DNR;
    request->nvme->events++;
    return NVME_KEPT;
}

unsigned nvme_admin(struct nvme_request *request, const struct nvme_command *command,
                    uint32_t *result)
{
    static const struct {
        uint8_t opcode;
        unsigned (*run)(struct nvme_request *request, const struct nvme_command *command,
                        uint32_t *result);
    } commands[] = {
        {0x00, delete_sq},    {0x01, create_sq},   {0x02, get_log},       {0x04, delete_cq},
        {0x05, create_cq},    {0x06, identify},    {0x08, abort_command}, {0x09, set_features},
        {0x0a, get_features}, {0x0c, await_event},
    };
    request->ns = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        if (commands[i].opcode == command->opcode)
            return commands[i].run(request, command, result);
    }
    return NVME_INVALID_OPCODE | NVME_DNR;
}
