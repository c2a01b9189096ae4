/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-gpu's commands (virtio 1.2, 5.7.6): a request is copied out of the
 * driver's memory once, carried out, and answered; fences (5.7.6.7) are
 * signalled by the answer, as nothing is left to do by then. See
 * gpu_internal.h.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "vmm/devices/vga_state.h"
#include "vmm/virtio/gpu_internal.h"

#define EDID_SIZE 128

struct request {
    const struct virtqueue_chain *chain;
    union {
        struct virtio_gpu_ctrl_hdr hdr;
        struct virtio_gpu_cmd_get_edid get_edid;
        struct virtio_gpu_resource_create_2d create_2d;
        struct virtio_gpu_resource_unref unref;
        struct virtio_gpu_set_scanout set_scanout;
        struct virtio_gpu_resource_flush flush;
        struct virtio_gpu_transfer_to_host_2d transfer;
        struct virtio_gpu_resource_attach_backing attach;
        struct virtio_gpu_resource_detach_backing detach;
        struct virtio_gpu_update_cursor cursor;
    } command;
    union {
        struct virtio_gpu_ctrl_hdr hdr;
        struct virtio_gpu_resp_display_info display_info;
        struct virtio_gpu_resp_edid edid;
    } answer;
    size_t answer_size;
};

static struct virtio_gpu_rect rect_of(const struct virtio_gpu_rect *r)
{
    return (struct virtio_gpu_rect){.x = le32toh(r->x),
                                    .y = le32toh(r->y),
                                    .width = le32toh(r->width),
                                    .height = le32toh(r->height)};
}

static bool scanout_is_there(uint32_t scanout)
{
    return le32toh(scanout) == 0;
}

static uint32_t get_display_info(struct gpu *gpu, struct request *request)
{
    struct virtio_gpu_display_one *mode = &request->answer.display_info.pmodes[0];
    request->answer_size = sizeof(request->answer.display_info);
    mode->r.width = htole32(gpu->width);
    mode->r.height = htole32(gpu->height);
    mode->enabled = htole32(1);
    return VIRTIO_GPU_RESP_OK_DISPLAY_INFO;
}

static uint32_t get_edid(struct gpu *gpu, struct request *request)
{
    if (!scanout_is_there(request->command.get_edid.scanout))
        return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
    request->answer_size = sizeof(request->answer.edid);
    request->answer.edid.size = htole32(EDID_SIZE);
    vga_make_edid(request->answer.edid.edid, gpu->width, gpu->height);
    return VIRTIO_GPU_RESP_OK_EDID;
}

static uint32_t create_2d(struct gpu *gpu, struct request *request)
{
    const struct virtio_gpu_resource_create_2d *command = &request->command.create_2d;
    return gpu_create_resource(gpu, le32toh(command->resource_id), le32toh(command->format),
                               le32toh(command->width), le32toh(command->height));
}

static uint32_t unref(struct gpu *gpu, struct request *request)
{
    struct gpu_resource *resource =
        gpu_find_resource(gpu, le32toh(request->command.unref.resource_id));
    if (!resource)
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    gpu_free_resource(gpu, resource);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t set_scanout(struct gpu *gpu, struct request *request)
{
    const struct virtio_gpu_set_scanout *command = &request->command.set_scanout;
    struct virtio_gpu_rect part = rect_of(&command->r);
    if (!scanout_is_there(command->scanout_id))
        return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
    if (!command->resource_id) {
        gpu_set_scanout(gpu, NULL, NULL);
        return VIRTIO_GPU_RESP_OK_NODATA;
    }
    struct gpu_resource *resource = gpu_find_resource(gpu, le32toh(command->resource_id));
    if (!resource)
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    return gpu_set_scanout(gpu, resource, &part) ? VIRTIO_GPU_RESP_OK_NODATA
                                                 : VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
}

static uint32_t flush(struct gpu *gpu, struct request *request)
{
    const struct virtio_gpu_resource_flush *command = &request->command.flush;
    struct gpu_resource *resource = gpu_find_resource(gpu, le32toh(command->resource_id));
    struct virtio_gpu_rect rect = rect_of(&command->r);
    if (!resource)
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    if (!gpu_rect_inside(&rect, resource->width, resource->height))
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    gpu_damage(gpu, resource, &rect);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t transfer(struct gpu *gpu, struct request *request)
{
    const struct virtio_gpu_transfer_to_host_2d *command = &request->command.transfer;
    struct gpu_resource *resource = gpu_find_resource(gpu, le32toh(command->resource_id));
    struct virtio_gpu_rect rect = rect_of(&command->r);
    return resource ? gpu_transfer(gpu, resource, &rect, le64toh(command->offset))
                    : VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
}

/* The list of pieces follows the command. */
static struct gpu_entry *read_entries(const struct virtqueue_chain *chain, uint32_t count)
{
    struct gpu_entry *entries = calloc(count, sizeof(*entries));
    size_t offset = sizeof(struct virtio_gpu_resource_attach_backing);
    for (uint32_t i = 0; entries && i < count;) {
        struct virtio_gpu_mem_entry some[64];
        uint32_t n = MIN(count - i, (uint32_t)ARRAY_SIZE(some));
        if (virtqueue_read_out(chain, offset, some, n * sizeof(some[0])) != n * sizeof(some[0])) {
            free(entries);
            return NULL;
        }
        for (uint32_t k = 0; k < n; k++, i++)
            entries[i] = (struct gpu_entry){le64toh(some[k].addr), le32toh(some[k].length)};
        offset += n * sizeof(some[0]);
    }
    return entries;
}

static uint32_t attach_backing(struct gpu *gpu, struct request *request)
{
    uint32_t count = le32toh(request->command.attach.nr_entries);
    struct gpu_resource *resource =
        gpu_find_resource(gpu, le32toh(request->command.attach.resource_id));
    if (!resource)
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    if (count == 0 || count > GPU_ENTRIES_MAX)
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    struct gpu_entry *entries = read_entries(request->chain, count);
    if (!entries)
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    uint32_t answer = gpu_attach_backing(gpu, resource, entries, count);
    if (answer != VIRTIO_GPU_RESP_OK_NODATA)
        free(entries);
    return answer;
}

static uint32_t detach_backing(struct gpu *gpu, struct request *request)
{
    struct gpu_resource *resource =
        gpu_find_resource(gpu, le32toh(request->command.detach.resource_id));
    if (!resource)
        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
    gpu_detach_backing(gpu, resource);
    return VIRTIO_GPU_RESP_OK_NODATA;
}

static uint32_t update_cursor(struct gpu *gpu, struct request *request)
{
    if (!scanout_is_there(request->command.cursor.pos.scanout_id))
        return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
    return gpu_set_pointer(gpu, &request->command.cursor);
}

/* Viewers know where their pointer is; ours is kept for who asks for the state. */
static uint32_t move_cursor(struct gpu *gpu, struct request *request)
{
    if (!scanout_is_there(request->command.cursor.pos.scanout_id))
        return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
    gpu->cursor.pos = request->command.cursor.pos;
    return VIRTIO_GPU_RESP_OK_NODATA;
}

static const struct command {
    uint32_t type;
    bool cursor_queue;
    size_t size;
    uint32_t (*run)(struct gpu *gpu, struct request *request);
} commands[] = {
    {VIRTIO_GPU_CMD_GET_DISPLAY_INFO, false, sizeof(struct virtio_gpu_ctrl_hdr), get_display_info},
    {VIRTIO_GPU_CMD_GET_EDID, false, sizeof(struct virtio_gpu_cmd_get_edid), get_edid},
    {VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, false, sizeof(struct virtio_gpu_resource_create_2d),
     create_2d},
    {VIRTIO_GPU_CMD_RESOURCE_UNREF, false, sizeof(struct virtio_gpu_resource_unref), unref},
    {VIRTIO_GPU_CMD_SET_SCANOUT, false, sizeof(struct virtio_gpu_set_scanout), set_scanout},
    {VIRTIO_GPU_CMD_RESOURCE_FLUSH, false, sizeof(struct virtio_gpu_resource_flush), flush},
    {VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, false, sizeof(struct virtio_gpu_transfer_to_host_2d),
     transfer},
    {VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, false,
     sizeof(struct virtio_gpu_resource_attach_backing), attach_backing},
    {VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, false,
     sizeof(struct virtio_gpu_resource_detach_backing), detach_backing},
    {VIRTIO_GPU_CMD_UPDATE_CURSOR, true, sizeof(struct virtio_gpu_update_cursor), update_cursor},
    {VIRTIO_GPU_CMD_MOVE_CURSOR, true, sizeof(struct virtio_gpu_update_cursor), move_cursor},
};

static const struct command *find_command(uint32_t type, bool cursor_queue)
{
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        if (commands[i].type == type && commands[i].cursor_queue == cursor_queue)
            return &commands[i];
    }
    return NULL;
}

static uint32_t carry_out(struct gpu *gpu, bool cursor_queue, struct request *request)
{
    const struct command *command = find_command(le32toh(request->command.hdr.type), cursor_queue);
    if (!command)
        return VIRTIO_GPU_RESP_ERR_UNSPEC;
    if (virtqueue_read_out(request->chain, 0, &request->command, command->size) != command->size)
        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    return command->run(gpu, request);
}

uint32_t gpu_command(struct gpu *gpu, bool cursor_queue, const struct virtqueue_chain *chain)
{
    struct request request = {.chain = chain, .answer_size = sizeof(struct virtio_gpu_ctrl_hdr)};
    struct virtio_gpu_ctrl_hdr asked = {0}, *answer = &request.answer.hdr;
    uint32_t result = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
    if (virtqueue_read_out(chain, 0, &asked, sizeof(asked)) == sizeof(asked)) {
        request.command.hdr = asked;
        result = carry_out(gpu, cursor_queue, &request);
    }
    gpu->commands++;
    if (result >= VIRTIO_GPU_RESP_ERR_UNSPEC)
        gpu->refused++;
    if (chain->in_bytes < request.answer_size) {
        /* Drivers give the cursor queue's requests no room for an answer. */
        request.answer_size = MIN(chain->in_bytes, sizeof(*answer));
        result = MAX(result, (uint32_t)VIRTIO_GPU_RESP_ERR_UNSPEC);
    }
    answer->type = htole32(result);
    if (le32toh(asked.flags) & VIRTIO_GPU_FLAG_FENCE) {
        answer->flags = htole32(VIRTIO_GPU_FLAG_FENCE);
        answer->fence_id = asked.fence_id;
        answer->ctx_id = asked.ctx_id;
    }
    return (uint32_t)virtqueue_write_in(chain, 0, &request.answer, request.answer_size);
}
