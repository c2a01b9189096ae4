/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVMe as a guest's driver uses it: identification, queues, transfers by lists of pages, what is
 * refused, and what stops the controller until it is reset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "nvme_guest.h"

static struct nvme_guest g;
static int disk_fd;

static int setup(void **state)
{
    disk_fd = memfd_create("disk", MFD_CLOEXEC);
    assert_int_equal(ftruncate(disk_fd, NVME_DISK_SIZE), 0);
    nvme_guest_init(&g, dup(disk_fd));
    assert_true(nvme_start(&g));
    return 0;
}

static int teardown(void **state)
{
    nvme_guest_destroy(&g);
    close(disk_fd);
    return 0;
}

/* A transfer of blocks of 512 bytes at NVME_DATA. */
static struct nvme_command transfer(uint8_t opcode, uint64_t block, uint32_t count)
{
    return (struct nvme_command){.opcode = opcode,
                                 .cid = 7,
                                 .nsid = 1,
                                 .prp1 = NVME_DATA,
                                 .prp2 = count > 16 ? NVME_LIST : NVME_DATA + NVME_PAGE,
                                 .cdw10 = (uint32_t)block,
                                 .cdw11 = (uint32_t)(block >> 32),
                                 .cdw12 = count - 1};
}

static void controller_and_namespace_say_what_they_are(void **state)
{
    struct nvme_command identify = {.opcode = 6, .prp1 = NVME_DATA, .cdw10 = 1};
    const uint8_t *data = g.memory + NVME_DATA;
    assert_int_equal(nvme_do(&g, 0, &identify, NULL), NVME_OK);
    assert_memory_equal(data + 4, "serial    ", 10);
    assert_int_equal(data[77], NVME_MDTS);
    assert_int_equal(data[512], 0x66);
    identify.cdw10 = 0;
    identify.nsid = 1;
    assert_int_equal(nvme_do(&g, 0, &identify, NULL), NVME_OK);
    assert_int_equal(load_le(data, 8), NVME_DISK_SIZE / 512);
    assert_int_equal(data[130], 9);
    identify.cdw10 = 2;
    identify.nsid = 0;
    assert_int_equal(nvme_do(&g, 0, &identify, NULL), NVME_OK);
    assert_int_equal(load_le(data, 8), 1);
    identify.cdw10 = 3;
    assert_int_equal(nvme_do(&g, 0, &identify, NULL), NVME_INVALID_NAMESPACE | NVME_DNR);
    identify.cdw10 = 0x42;
    assert_int_equal(nvme_do(&g, 0, &identify, NULL), NVME_INVALID_FIELD | NVME_DNR);
}

static void what_is_written_is_read_by_pages_in_any_order(void **state)
{
    enum { BLOCKS = 64 };
    uint8_t *data = g.memory + NVME_DATA, *list = g.memory + NVME_LIST;
    for (unsigned i = 0; i < BLOCKS * 512; i++)
        data[i] = (uint8_t)(i / 512 + i);
    for (unsigned i = 0; i < 7; i++)
        store_le(list + 8 * (size_t)i, NVME_DATA + NVME_PAGE * (i + 1), 8);
    struct nvme_command command = transfer(1, 100, BLOCKS);
    assert_int_equal(nvme_do(&g, 1, &command, NULL), NVME_OK);
    uint8_t *file = malloc(BLOCKS * 512);
    assert_int_equal(pread(disk_fd, file, BLOCKS * 512, 100 * 512), BLOCKS * 512);
    assert_memory_equal(file, data, BLOCKS * 512);
    /* Read from the middle of a page on, the pages behind backwards. */
    memset(data, 0, BLOCKS * 512);
    for (unsigned i = 0; i < 8; i++)
        store_le(list + 8 * (size_t)i, NVME_DATA + NVME_PAGE * (20 - i), 8);
    command = transfer(2, 100, BLOCKS);
    command.prp1 += 512;
    assert_int_equal(nvme_do(&g, 1, &command, NULL), NVME_OK);
    assert_memory_equal(data + 512, file, NVME_PAGE - 512);
    assert_memory_equal(data + NVME_PAGE * 20, file + NVME_PAGE - 512, NVME_PAGE);
    assert_memory_equal(data + NVME_PAGE * 13, file + 8 * NVME_PAGE - 512, 512);
    free(file);
}

static void a_list_goes_on_in_another_one(void **state)
{
    struct nvme_command command = transfer(2, 0, 24);
    uint64_t last = NVME_LIST + NVME_PAGE - 8;
    store_le(g.memory + last, NVME_LIST + NVME_PAGE, 8);
    store_le(g.memory + NVME_LIST + NVME_PAGE, NVME_DATA + NVME_PAGE, 8);
    store_le(g.memory + NVME_LIST + NVME_PAGE + 8, NVME_DATA + 2 * NVME_PAGE, 8);
    command.prp2 = last;
    assert_int_equal(nvme_do(&g, 1, &command, NULL), NVME_OK);
    store_le(g.memory + last, NVME_LIST + NVME_PAGE + 8, 8);
    assert_int_equal(nvme_do(&g, 1, &command, NULL), NVME_INVALID_PRP_OFFSET | NVME_DNR);
}

static void what_is_wrong_is_refused_and_counted(void **state)
{
    const struct {
        struct nvme_command command;
        unsigned status;
    } rows[] = {
        {transfer(2, NVME_DISK_SIZE / 512, 1), NVME_LBA_OUT_OF_RANGE},
        {transfer(2, NVME_DISK_SIZE / 512 - 1, 2), NVME_LBA_OUT_OF_RANGE},
        {transfer(1, UINT64_MAX, 1), NVME_LBA_OUT_OF_RANGE},
        {transfer(2, 0, 2048), NVME_INVALID_FIELD}, /* more than MDTS says */
        {transfer(0x7f, 0, 1), NVME_INVALID_OPCODE},
        {{.opcode = 2, .nsid = 2, .prp1 = NVME_DATA}, NVME_INVALID_NAMESPACE},
        {{.opcode = 2, .nsid = 0, .prp1 = NVME_DATA}, NVME_INVALID_NAMESPACE},
        {{.opcode = 2, .nsid = 1, .prp1 = NVME_DATA + 1}, NVME_INVALID_PRP_OFFSET},
        {{.opcode = 2, .nsid = 1, .prp1 = NVME_DATA, .cdw12 = 15, .prp2 = NVME_DATA + 4},
         NVME_INVALID_PRP_OFFSET},
        {{.opcode = 2, .flags = 0x40, .nsid = 1, .prp1 = NVME_DATA}, NVME_INVALID_FIELD},
        {{.opcode = 2, .flags = 0x01, .nsid = 1, .prp1 = NVME_DATA}, NVME_INVALID_FIELD},
        {{.opcode = 9, .nsid = 1, .prp1 = NVME_DATA, .cdw11 = 4}, NVME_LBA_OUT_OF_RANGE},
    };
    store_le(g.memory + NVME_DATA + 4, 8, 4);
    store_le(g.memory + NVME_DATA + 8, NVME_DISK_SIZE / 512 - 4, 8);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(nvme_do(&g, 1, &rows[i].command, NULL), rows[i].status | NVME_DNR);
    const struct nvme_command nowhere = {.opcode = 2, .nsid = 1, .prp1 = UINT64_C(1) << 40};
    assert_int_equal(nvme_do(&g, 1, &nowhere, NULL), NVME_TRANSFER_ERROR | NVME_DNR);
    struct drive_stats stats;
    drive_get_stats(&g.nvme->namespaces[0]->drive, &stats);
    assert_true(stats.kind[DRIVE_STAT_READ].invalid >= 5);
}

static void blocks_are_zeroed_given_back_and_flushed(void **state)
{
    uint8_t ones[1024], zeros[1024] = {0}, now[1024];
    memset(ones, 0xff, sizeof(ones));
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(pwrite(disk_fd, ones, sizeof(ones), i * 1024), sizeof(ones));
    struct nvme_command command = transfer(8, 0, 2);
    assert_int_equal(nvme_do(&g, 1, &command, NULL), NVME_OK);
    assert_int_equal(pread(disk_fd, now, sizeof(now), 0), sizeof(now));
    assert_memory_equal(now, zeros, sizeof(now));
    memset(g.memory + NVME_DATA, 0, 32);
    store_le(g.memory + NVME_DATA + 4, 8, 4);
    store_le(g.memory + NVME_DATA + 8, 8, 8);
    command =
        (struct nvme_command){.opcode = 9, .nsid = 1, .prp1 = NVME_DATA, .cdw10 = 1, .cdw11 = 4};
    assert_int_equal(nvme_do(&g, 1, &command, NULL), NVME_OK);
    command = (struct nvme_command){.opcode = 0, .nsid = 1};
    assert_int_equal(nvme_do(&g, 1, &command, NULL), NVME_OK);
    struct drive_stats stats;
    drive_get_stats(&g.nvme->namespaces[0]->drive, &stats);
    assert_int_equal(stats.kind[DRIVE_STAT_DISCARD].ops, 1);
    assert_int_equal(stats.kind[DRIVE_STAT_FLUSH].ops, 1);
}

static void queues_are_made_and_removed_by_the_rules(void **state)
{
    const struct {
        uint8_t opcode;
        uint32_t cdw10, cdw11;
        unsigned status;
    } rows[] = {
        {5, 0x000f0000, 1, NVME_INVALID_QUEUE},      /* the admin queue */
        {5, 0x000f0001, 1, NVME_INVALID_QUEUE},      /* there already */
        {5, 0x000f0011, 1, NVME_INVALID_QUEUE},      /* too many */
        {5, 0x00000002, 1, NVME_INVALID_QUEUE_SIZE}, /* one entry */
        {5, 0x04000002, 1, NVME_INVALID_QUEUE_SIZE}, /* too many */
        {5, 0x000f0002, 0, NVME_INVALID_FIELD},      /* in pieces */
        {5, 0x000f0002, 0x00110003, NVME_INVALID_VECTOR},
        {1, 0x000f0002, 0x00020001, NVME_INVALID_CQ}, /* not there */
        {1, 0x000f0002, 0x00000001, NVME_INVALID_CQ}, /* the admin queue's */
        {4, 1, 0, NVME_INVALID_DELETION},             /* in use */
        {4, 2, 0, NVME_INVALID_QUEUE},
        {0, 2, 0, NVME_INVALID_QUEUE},
        {0, 0xffff, 0, NVME_INVALID_QUEUE},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct nvme_command command = {.opcode = rows[i].opcode,
                                             .prp1 = NVME_DATA,
                                             .cdw10 = rows[i].cdw10,
                                             .cdw11 = rows[i].cdw11};
        assert_int_equal(nvme_do(&g, 0, &command, NULL), rows[i].status | NVME_DNR);
    }
    struct nvme_command command = {.opcode = 0, .cdw10 = 1};
    assert_int_equal(nvme_do(&g, 0, &command, NULL), NVME_OK);
    command.opcode = 4;
    assert_int_equal(nvme_do(&g, 0, &command, NULL), NVME_OK);
    assert_true(nvme_start(&g));
}

static void features_are_set_and_events_are_kept(void **state)
{
    uint32_t result = 0;
    struct nvme_command command = {.opcode = 9, .cdw10 = 7, .cdw11 = 0x003f003f};
    assert_int_equal(nvme_do(&g, 0, &command, &result), NVME_OK);
    assert_int_equal(result, (NVME_QUEUES - 2) << 16 | (NVME_QUEUES - 2));
    command = (struct nvme_command){.opcode = 9, .cdw10 = 6, .cdw11 = 0};
    assert_int_equal(nvme_do(&g, 0, &command, NULL), NVME_OK);
    command.opcode = 0x0a;
    assert_int_equal(nvme_do(&g, 0, &command, &result), NVME_OK);
    assert_int_equal(result, 0);
    command.cdw10 = 0x99;
    assert_int_equal(nvme_do(&g, 0, &command, NULL), NVME_INVALID_FIELD | NVME_DNR);
    const struct nvme_command event = {.opcode = 0x0c};
    for (unsigned i = 0; i < NVME_EVENTS; i++)
        nvme_put(&g, 0, &event);
    assert_int_equal(nvme_do(&g, 0, &event, NULL), NVME_TOO_MANY_EVENTS | NVME_DNR);
    const struct nvme_command health = {.opcode = 2, .prp1 = NVME_DATA, .cdw10 = 127u << 16 | 2};
    assert_int_equal(nvme_do(&g, 0, &health, NULL), NVME_OK);
    assert_int_equal(load_le(g.memory + NVME_DATA + 1, 2), 300);
}

static void a_full_completion_queue_stops_fetching_until_there_is_room(void **state)
{
    struct nvme_command flush = {.opcode = 0, .nsid = 1};
    for (unsigned i = 0; i < NVME_ENTRIES - 1; i++) {
        flush.cid = (uint16_t)i;
        nvme_put(&g, 1, &flush);
    }
    for (unsigned i = 0; i < 50 && g.nvme->cqs[1].tail != NVME_ENTRIES - 1; i++)
        nvme_turn(&g, 200000);
    assert_int_equal(g.nvme->cqs[1].tail, NVME_ENTRIES - 1);
    nvme_put(&g, 1, &flush);
    nvme_turn(&g, 1000000);
    assert_int_equal(g.nvme->sqs[1].head, NVME_ENTRIES - 1);
    nvme_write(&g, 0x1000 + 12, 5);
    for (unsigned i = 0; i < 50 && g.nvme->cqs[1].tail != 0; i++)
        nvme_turn(&g, 200000);
    assert_int_equal(g.nvme->cqs[1].tail, 0);
}

static void a_broken_rule_stops_the_controller_until_it_is_reset(void **state)
{
    nvme_write(&g, 0x1000 + 8, NVME_ENTRIES); /* a tail behind the end of queue 1 */
    nvme_turn(&g, 0);
    assert_int_equal(nvme_read(&g, 0x1c), CSTS_RDY | CSTS_CFS);
    assert_true(nvme_start(&g));
    nvme_write(&g, 0x1000 + 4, 0xffff); /* a head of the admin queue */
    nvme_turn(&g, 0);
    assert_int_equal(nvme_read(&g, 0x1c) & CSTS_CFS, CSTS_CFS);
    nvme_write(&g, 0x14, 0);
    nvme_turn(&g, 0);
    nvme_write(&g, 0x2c, 0x100); /* queues that are no memory */
    nvme_write(&g, 0x14, 0x460001);
    nvme_turn(&g, 0);
    nvme_write(&g, 0x1000, 1);
    nvme_turn(&g, 0);
    assert_int_equal(nvme_read(&g, 0x1c) & CSTS_CFS, CSTS_CFS);
    nvme_write(&g, 0x14, 0);
    nvme_turn(&g, 0);
    nvme_write(&g, 0x1000, 3); /* rung while there are no queues: nothing is fetched */
    assert_true(nvme_start(&g));
    nvme_write(&g, 0x14, 0);
    nvme_turn(&g, 0);
    nvme_write(&g, 0x14, 0x460011); /* another command set */
    nvme_turn(&g, 0);
    assert_int_equal(nvme_read(&g, 0x1c) & 3, CSTS_CFS);
    assert_true(nvme_start(&g));
}

static void its_state_is_saved_and_loaded(void **state)
{
    struct device *device = &g.nvme->pci.device;
    struct kv_error err;
    device->ops->quiesce(device);
    json_t *saved = device->ops->save(device);
    device->ops->reset(device);
    assert_int_equal(nvme_read(&g, 0x1c), ~0u); /* the BAR is gone */
    assert_int_equal(device->ops->load(device, saved, &err), 0);
    device->ops->resume(device);
    json_decref(saved);
    struct nvme_command command = transfer(2, 0, 1);
    assert_int_equal(nvme_do(&g, 1, &command, NULL), NVME_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(controller_and_namespace_say_what_they_are),
        TEST(what_is_written_is_read_by_pages_in_any_order),
        TEST(a_list_goes_on_in_another_one),
        TEST(what_is_wrong_is_refused_and_counted),
        TEST(blocks_are_zeroed_given_back_and_flushed),
        TEST(queues_are_made_and_removed_by_the_rules),
        TEST(features_are_set_and_events_are_kept),
        TEST(a_full_completion_queue_stops_fetching_until_there_is_room),
        TEST(a_broken_rule_stops_the_controller_until_it_is_reset),
        TEST(its_state_is_saved_and_loaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
