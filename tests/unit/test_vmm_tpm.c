/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The TPM's registers, with the distribution's swtpm behind them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/iothread.h"
#include "base/log.h"
#include "base/util.h"
#include "unit.h"
#include "vmm/devices/tpm.h"

#define LOC_STATE 0x00
#define LOC_CTRL 0x08
#define CTRL_REQ 0x40
#define CTRL_STS 0x44
#define CTRL_CANCEL 0x48
#define CTRL_START 0x4c
#define TRIES 5000 /* of 1 ms */

static const uint8_t startup[] = {0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0};
static const uint8_t get_random[] = {0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 16};

static char folder[] = "/tmp/kvasir-tpm-XXXXXX";
static pid_t process;
static int control; /* of swtpm, until it is taken over */
static struct iothread thread;
static struct swtpm backend;
static const struct tpm_interface *tpm_kind;
static struct tpm *tpm;

/* version: "--tpm2", or NULL for a TPM 1.2. */
static void start_swtpm(const char *version)
{
    char state[64], socket[32];
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(state, sizeof(state), "dir=%s", folder);
    snprintf(socket, sizeof(socket), "type=unixio,clientfd=%d", pair[1]);
    process = fork();
    if (process == 0) {
        dup2(open("/dev/null", O_RDWR), 2);
        close(pair[0]);
        execlp("swtpm", "swtpm", "socket", "--tpmstate", state, "--ctrl", socket, version, NULL);
        _exit(127);
    }
    close(pair[1]);
    control = pair[0];
}

static int open_backend(struct kv_error *err)
{
    char where[16];
    snprintf(where, sizeof(where), "fd:%d", control);
    return swtpm_open(&backend, where, TPM_BUFFER_SIZE, err);
}

static void end_swtpm(void)
{
    if (process > 0) {
        kill(process, SIGKILL);
        waitpid(process, NULL, 0);
    }
    process = 0;
}

static int set_up(const struct tpm_interface *kind)
{
    struct kv_error err = {0};
    tpm_kind = kind;
    log_level = LOG_ERROR;
    signal(SIGPIPE, SIG_IGN);
    start_swtpm("--tpm2");
    if (open_backend(&err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(iothread_init(&thread, "tpm", NULL), 0);
    assert_int_equal(iothread_start(&thread, NULL), 0);
    tpm = tpm_make(tpm_kind, &backend, &thread.loop, NULL);
    assert_non_null(tpm);
    return 0;
}

static int setup(void **state)
{
    return set_up(&tpm_crb);
}

static int setup_fifo(void **state)
{
    return set_up(&tpm_fifo);
}

static int teardown(void **state)
{
    char command[64];
    tpm_free(tpm);
    iothread_stop(&thread);
    end_swtpm();
    snprintf(command, sizeof(command), "rm -rf %s/*", folder);
    return system(command);
}

/* ---------------------------------------------------------------- the guest */

static uint32_t get(unsigned at)
{
    return (uint32_t)tpm_bus_ops.read(tpm, at, 4);
}

static void put(unsigned at, uint32_t value)
{
    tpm_bus_ops.write(tpm, at, value, 4);
}

static void make_ready(void)
{
    put(LOC_CTRL, 1);
    put(CTRL_REQ, 1);
}

static bool wait_for_end(void)
{
    for (unsigned i = 0; i < TRIES && get(CTRL_START); i++)
        usleep(1000);
    return !get(CTRL_START);
}

static void put_command(const uint8_t *command, size_t len)
{
    for (size_t i = 0; i < len; i++)
        tpm_bus_ops.write(tpm, TPM_BUFFER + i, command[i], 1);
}

static uint32_t get_be32(unsigned at)
{
    return __builtin_bswap32((uint32_t)tpm_bus_ops.read(tpm, TPM_BUFFER + at, 4));
}

/* The response's code. */
static uint32_t run(const uint8_t *command, size_t len)
{
    put_command(command, len);
    put(CTRL_START, 1);
    assert_true(wait_for_end());
    return get_be32(6);
}

/* ---------------------------------------------------------------- tests */

static void registers_say_what_it_is(void **state)
{
    assert_int_equal(get(LOC_STATE), 0x81);
    assert_int_equal(get(0x30) & 0xf, 1);
    assert_int_equal(get(CTRL_STS), 2);
    assert_int_equal(get(0x58), TPM_BUFFER_SIZE);
    assert_int_equal(tpm_bus_ops.read(tpm, 0x68, 8), 0xfed40080);
    assert_int_equal(tpm_bus_ops.read(tpm, 0x31, 2), get(0x30) >> 8 & 0xffff);
    put(LOC_CTRL, 1);
    assert_int_equal(get(LOC_STATE), 0x83);
    assert_int_equal(get(0x0c), 1);
    put(CTRL_REQ, 1);
    assert_int_equal(get(CTRL_REQ), 0);
    assert_int_equal(get(CTRL_STS), 0);
    put(CTRL_REQ, 2);
    assert_int_equal(get(CTRL_STS), 2);
    put(LOC_CTRL, 2);
    assert_int_equal(get(LOC_STATE), 0x81);
}

static void a_guest_starts_it_and_gets_random_numbers(void **state)
{
    make_ready();
    assert_int_equal(run(get_random, sizeof(get_random)), 0x100); /* not started */
    assert_int_equal(run(startup, sizeof(startup)), 0);
    assert_int_equal(run(get_random, sizeof(get_random)), 0);
    assert_int_equal(get_be32(2), 28);
    uint64_t first = tpm_bus_ops.read(tpm, TPM_BUFFER + 12, 8);
    assert_int_equal(run(get_random, sizeof(get_random)), 0);
    assert_int_not_equal(first, tpm_bus_ops.read(tpm, TPM_BUFFER + 12, 8));
    assert_int_equal(get(CTRL_STS), 0);
}

static void nothing_starts_without_locality_or_while_it_idles(void **state)
{
    put_command(startup, sizeof(startup));
    put(CTRL_START, 1);
    assert_int_equal(get(CTRL_START), 0);
    put(LOC_CTRL, 1);
    put(CTRL_START, 1);
    assert_int_equal(get(CTRL_START), 0);
    assert_int_equal(get_be32(6), 0x144);
}

static void commands_of_impossible_sizes_are_refused_by_the_tpm(void **state)
{
    static const uint8_t sizes[][4] = {
        {0, 0, 0, 0}, {0, 0, 0, 9}, {0, 0, 15, 129}, {255, 255, 255, 255}};
    uint8_t command[sizeof(startup)];
    make_ready();
    for (unsigned i = 0; i < 4; i++) {
        memcpy(command, startup, sizeof(command));
        memcpy(command + 2, sizes[i], 4);
        assert_int_not_equal(run(command, sizeof(command)), 0);
        assert_int_equal(get_be32(2), SWTPM_HEADER);
    }
    for (unsigned at = 0; at < TPM_REGION_SIZE; at += 4)
        put(at, 0xffffffff);
    assert_true(wait_for_end());
    put(LOC_CTRL, 1);
    put(CTRL_REQ, 1);
    assert_int_equal(run(startup, sizeof(startup)), 0);
}

static void accesses_across_the_ends_stay_inside(void **state)
{
    make_ready();
    tpm_bus_ops.write(tpm, TPM_BUFFER - 4, UINT64_MAX, 8);
    tpm_bus_ops.write(tpm, TPM_REGION_SIZE - 4, UINT64_MAX, 8);
    tpm_bus_ops.write(tpm, CTRL_START + 1, UINT64_MAX, 2);
    assert_int_equal(tpm_bus_ops.read(tpm, TPM_REGION_SIZE - 4, 8), 0);
    assert_int_equal(tpm_bus_ops.read(tpm, TPM_BUFFER, 8), 0);
    assert_int_equal(get(CTRL_START), 0);
}

static void the_buffer_stands_still_while_a_command_is_under_way(void **state)
{
    /* TPM2_CreatePrimary of an RSA key takes some time: owner, no password, a storage key. */
    static const uint8_t create[] = {0x80, 2, 0, 0, 0,    0x43, 0,    0, 1,    0x31, 0x40, 0, 0, 1,
                                     0,    0, 0, 9, 0x40, 0,    0,    9, 0,    0,    0,    0, 0, 0,
                                     4,    0, 0, 0, 0,    0,    0x1a, 0, 1,    0,    0xb,  0, 3, 0,
                                     0x72, 0, 0, 0, 6,    0,    0x80, 0, 0x43, 0,    0x10, 8, 0, 0,
                                     0,    0, 0, 0, 0,    0,    0,    0, 0,    0,    0};
    make_ready();
    assert_int_equal(run(startup, sizeof(startup)), 0);
    put_command(create, sizeof(create));
    put(CTRL_START, 1);
    put(CTRL_START, 1);
    if (get(CTRL_START)) {
        tpm_bus_ops.write(tpm, TPM_BUFFER + 6, 0, 4);
        put(CTRL_REQ, 2);
        if (get(CTRL_START))
            assert_int_equal(get_be32(6), 0x131);
        put(CTRL_CANCEL, 1);
    }
    assert_true(wait_for_end());
    assert_int_equal(run(get_random, sizeof(get_random)), 0);
}

static void a_reset_switches_it_off_and_on(void **state)
{
    make_ready();
    assert_int_equal(run(startup, sizeof(startup)), 0);
    put_command(get_random, sizeof(get_random));
    put(CTRL_START, 1);
    tpm_device_ops(tpm_kind)->reset(tpm_device(tpm));
    assert_int_equal(get(LOC_STATE), 0x81);
    assert_int_equal(get(CTRL_STS), 2);
    assert_int_equal(tpm_bus_ops.read(tpm, TPM_BUFFER, 8), 0);
    make_ready();
    assert_int_equal(run(get_random, sizeof(get_random)), 0x100);
}

static void its_state_goes_into_another_one(void **state)
{
    struct kv_error err = {0};
    make_ready();
    assert_int_equal(run(startup, sizeof(startup)), 0);
    tpm_device_ops(tpm_kind)->quiesce(tpm_device(tpm));
    json_t *saved = tpm_device_ops(tpm_kind)->save(tpm_device(tpm));
    assert_non_null(saved);
    tpm_device_ops(tpm_kind)->reset(tpm_device(tpm));
    if (tpm_device_ops(tpm_kind)->load(tpm_device(tpm), saved, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(get(LOC_STATE), 0x83);
    assert_int_equal(run(get_random, sizeof(get_random)), 0); /* it is started already */
    json_object_del(json_object_get(saved, "tpm"), "volatile");
    assert_true(tpm_device_ops(tpm_kind)->load(tpm_device(tpm), saved, &err) < 0);
    json_decref(saved);
}

static void a_process_that_ends_is_an_error_of_the_tpm(void **state)
{
    make_ready();
    end_swtpm();
    for (unsigned i = 0; i < TRIES && !(get(CTRL_STS) & 1); i++)
        usleep(1000);
    assert_int_equal(get(CTRL_STS) & 1, 1);
    put_command(startup, sizeof(startup));
    put(CTRL_START, 1);
    assert_int_equal(get(CTRL_START), 0);
    tpm_device_ops(tpm_kind)->reset(tpm_device(tpm));
    assert_int_equal(get(CTRL_STS) & 1, 1);
}

static void a_tpm_1_2_is_refused(void **state)
{
    struct kv_error err = {0};
    char command[64];
    start_swtpm(NULL);
    assert_true(open_backend(&err) < 0);
    if (!strstr(err.message, "TPM 1.2"))
        fail_msg("%s", err.message);
    end_swtpm();
    assert_true(swtpm_open(&backend, "tcp:1", TPM_BUFFER_SIZE, &err) == -EINVAL);
    assert_true(swtpm_open(&backend, "unix:/nowhere", TPM_BUFFER_SIZE, &err) == -ENOENT);
    snprintf(command, sizeof(command), "rm -rf %s/*", folder);
    assert_int_equal(system(command), 0);
}

/* ---------------------------------------------------------------- the FIFO */

#define ACCESS 0x00
#define STS 0x18
#define DATA 0x24
#define STS_RETRY 0x02u
#define STS_EXPECT 0x08u
#define STS_DATA 0x10u
#define STS_GO 0x20u
#define STS_READY 0x40u

static unsigned burst(void)
{
    return get(STS) >> 8 & 0xffff;
}

static void fifo_put(const uint8_t *command, size_t len)
{
    put(ACCESS, 2);
    put(STS, STS_READY);
    assert_int_equal(get(STS) & (STS_READY | STS_EXPECT | STS_DATA), STS_READY);
    for (size_t i = 0; i < len; i++) {
        tpm_bus_ops.write(tpm, DATA, command[i], 1);
        assert_int_equal(!!(get(STS) & STS_EXPECT), i + 1 < len);
    }
}

/* The response's code; its bytes. */
static uint32_t fifo_get(uint8_t *response, size_t size)
{
    for (unsigned i = 0; i < TRIES && !(get(STS) & STS_DATA); i++)
        usleep(1000);
    size_t len = burst();
    assert_in_range(len, SWTPM_HEADER, size);
    for (size_t i = 0; i < len; i++)
        response[i] = (uint8_t)tpm_bus_ops.read(tpm, DATA, 1);
    assert_int_equal(get(STS) & STS_DATA, 0);
    assert_int_equal(swtpm_message_size(response), len);
    return (uint32_t)response[8] << 8 | response[9];
}

static uint32_t fifo_run(const uint8_t *command, size_t len, uint8_t response[64])
{
    fifo_put(command, len);
    put(STS, STS_GO);
    return fifo_get(response, 64);
}

static void a_fifo_says_what_it_is_and_has_one_locality(void **state)
{
    assert_int_equal(get(ACCESS) & 0xff, 0x81);
    assert_int_equal(get(STS), 0xffffffff);
    assert_int_equal(get(0x14) >> 28, 3);
    assert_int_equal(get(0x30) & 0xf, 0);
    assert_int_equal(get(0xf00) & 0xffff, 0x1014);
    put(ACCESS, 2);
    assert_int_equal(get(ACCESS) & 0xff, 0xa1);
    assert_int_equal(get(STS), 1u << 26 | 0x80);
    assert_int_equal(get(0x1000), 0xffffffff);
    put(0x1000, 2);
    put(ACCESS, 0x20);
    assert_int_equal(get(ACCESS) & 0xff, 0x81);
}

static void a_fifo_takes_commands_and_gives_responses_byte_by_byte(void **state)
{
    uint8_t response[64], again[64];
    assert_int_equal(fifo_run(get_random, sizeof(get_random), response), 0x100); /* not started */
    assert_int_equal(fifo_run(startup, sizeof(startup), response), 0);
    assert_int_equal(fifo_run(get_random, sizeof(get_random), response), 0);
    assert_int_equal(swtpm_message_size(response), 28);
    put(STS, STS_RETRY);
    assert_int_equal(fifo_get(again, sizeof(again)), 0);
    assert_memory_equal(response, again, 28);
    assert_int_equal(tpm_bus_ops.read(tpm, DATA, 4), 0xffffffff);
}

static void a_fifo_takes_no_more_than_the_command_and_starts_only_whole_ones(void **state)
{
    uint8_t response[64];
    put(ACCESS, 2);
    put(STS, STS_READY);
    tpm_bus_ops.write(tpm, 0x80, load_le(startup, 8), 8);
    put(STS, STS_GO);
    assert_int_equal(get(STS) & STS_EXPECT, STS_EXPECT);
    assert_int_equal(burst(), TPM_BUFFER_SIZE - 8);
    put(DATA, (uint32_t)load_le(startup + 8, 4));
    put(DATA, 0xffffffff);
    assert_int_equal(burst(), TPM_BUFFER_SIZE - 12);
    put(STS, STS_GO);
    assert_int_equal(fifo_get(response, sizeof(response)), 0);
    for (unsigned at = 0; at < 0x5000; at += 2) {
        tpm_bus_ops.write(tpm, at, UINT64_MAX, 8);
        tpm_bus_ops.read(tpm, at, 8);
    }
    assert_int_equal(fifo_run(get_random, sizeof(get_random), response), 0);
}

static void a_fifos_command_can_be_given_up_and_its_state_goes_into_another_one(void **state)
{
    uint8_t response[64];
    const struct device_ops *ops = tpm_device_ops(tpm_kind);
    assert_int_equal(fifo_run(startup, sizeof(startup), response), 0);
    fifo_put(get_random, sizeof(get_random));
    put(STS, STS_GO);
    put(STS, STS_READY);
    for (unsigned i = 0; i < TRIES && !(get(STS) & STS_READY); i++)
        usleep(1000);
    fifo_put(get_random, sizeof(get_random));
    put(STS, STS_GO);
    ops->quiesce(tpm_device(tpm));
    json_t *saved = ops->save(tpm_device(tpm));
    ops->reset(tpm_device(tpm));
    assert_int_equal(get(ACCESS) & 0x20, 0);
    assert_int_equal(ops->load(tpm_device(tpm), saved, NULL), 0);
    json_decref(saved);
    assert_int_equal(fifo_get(response, sizeof(response)), 0);
}

static void a_fifo_whose_process_ended_responds_with_a_failure(void **state)
{
    uint8_t response[64];
    end_swtpm();
    assert_int_equal(fifo_run(startup, sizeof(startup), response), 0x101);
    assert_int_equal(fifo_run(startup, sizeof(startup), response), 0x101);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define TEST_FIFO(test) cmocka_unit_test_setup_teardown(test, setup_fifo, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(registers_say_what_it_is),
        TEST(a_guest_starts_it_and_gets_random_numbers),
        TEST(nothing_starts_without_locality_or_while_it_idles),
        TEST(commands_of_impossible_sizes_are_refused_by_the_tpm),
        TEST(accesses_across_the_ends_stay_inside),
        TEST(the_buffer_stands_still_while_a_command_is_under_way),
        TEST(a_reset_switches_it_off_and_on),
        TEST(its_state_goes_into_another_one),
        TEST(a_process_that_ends_is_an_error_of_the_tpm),
        TEST_FIFO(a_fifo_says_what_it_is_and_has_one_locality),
        TEST_FIFO(a_fifo_takes_commands_and_gives_responses_byte_by_byte),
        TEST_FIFO(a_fifo_takes_no_more_than_the_command_and_starts_only_whole_ones),
        TEST_FIFO(a_fifos_command_can_be_given_up_and_its_state_goes_into_another_one),
        TEST_FIFO(a_fifo_whose_process_ended_responds_with_a_failure),
        cmocka_unit_test(a_tpm_1_2_is_refused),
    };
    assert_non_null(mkdtemp(folder));
    int failed = cmocka_run_group_tests_name("vmm_tpm", tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
