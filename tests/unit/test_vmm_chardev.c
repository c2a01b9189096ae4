/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Host ends of serial ports, served by a loop on a thread of its own as in the monitor. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/iothread.h"
#include "base/util.h"
#include "unit.h"
#include "vmm/chardev.h"

#define MEGABYTE 1000000
#define PATIENCE_MS 5000

/* A device that collects what it receives, and takes no more than room bytes until told. */
static struct device {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint8_t *bytes;
    size_t len, room;
    unsigned writable, connects, disconnects;
    unsigned columns, rows;
} dev;

static struct iothread thread;
static struct chardev *chardev;
static char folder[] = "/tmp/kvasir-chardev-XXXXXX";
static char path[64], spec[80];

static size_t can_receive(void *opaque)
{
    pthread_mutex_lock(&dev.lock);
    size_t room = dev.room;
    pthread_mutex_unlock(&dev.lock);
    return room;
}

static void receive(void *opaque, const uint8_t *bytes, size_t len)
{
    pthread_mutex_lock(&dev.lock);
    assert_true(len <= dev.room && dev.len + len <= 2 * MEGABYTE);
    memcpy(dev.bytes + dev.len, bytes, len);
    dev.len += len;
    dev.room -= len;
    pthread_cond_broadcast(&dev.changed);
    pthread_mutex_unlock(&dev.lock);
}

static void count(unsigned *counter)
{
    pthread_mutex_lock(&dev.lock);
    ++*counter;
    pthread_cond_broadcast(&dev.changed);
    pthread_mutex_unlock(&dev.lock);
}

static void writable(void *opaque)
{
    count(&dev.writable);
}

static void connected(void *opaque, bool on)
{
    count(on ? &dev.connects : &dev.disconnects);
}

static void resized(void *opaque, unsigned columns, unsigned rows)
{
    dev.columns = columns;
    dev.rows = rows;
}

static const struct chardev_ops ops = {can_receive, receive, writable, connected, resized};

/* Waits until *counter is at least value. */
#define wait_for(counter, value)                                            \
    do {                                                                    \
        struct timespec until_;                                             \
        clock_gettime(CLOCK_REALTIME, &until_);                             \
        until_.tv_sec += PATIENCE_MS / 1000;                                \
        pthread_mutex_lock(&dev.lock);                                      \
        int rc_ = 0;                                                        \
        while ((counter) < (value) && rc_ == 0)                             \
            rc_ = pthread_cond_timedwait(&dev.changed, &dev.lock, &until_); \
        bool reached_ = (counter) >= (value);                               \
        pthread_mutex_unlock(&dev.lock);                                    \
        assert_true(reached_);                                              \
    } while (0)

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 131 ^ i >> 9);
}

static int set_up(void **state)
{
    free(dev.bytes);
    dev = (struct device){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    dev.bytes = malloc(2 * MEGABYTE);
    dev.room = 2 * MEGABYTE;
    chardev = NULL;
    return iothread_init(&thread, "chardev", NULL) || iothread_start(&thread, NULL);
}

static int tear_down(void **state)
{
    chardev_free(chardev);
    iothread_stop(&thread);
    return 0;
}

/* Opens on the loop's thread. */
static const char *asked;
static struct kv_error err;
static int opened;

static void open_now(void *opaque)
{
    opened = chardev_open(&chardev, asked, &thread.loop, &err);
}

static int open_chardev(const char *text)
{
    asked = text;
    loop_call(&thread.loop, open_now, NULL);
    return opened;
}

static int open_unix(void)
{
    snprintf(path, sizeof(path), "%s/socket", folder);
    snprintf(spec, sizeof(spec), "unix:%s", path);
    return open_chardev(spec);
}

static int connect_client(void)
{
    int fd = fd_connect_unix(path);
    assert_true(fd >= 0);
    assert_int_equal(fd_set_nonblocking(fd, false), 0);
    return fd;
}

/* Reads until len bytes came or nothing comes for a while; returns how many. */
static size_t read_for(int fd, uint8_t *bytes, size_t len, int quiet_ms)
{
    size_t got = 0;
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    while (got < len && poll(&poller, 1, quiet_ms) > 0) {
        ssize_t n = read(fd, bytes + got, len - got);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got;
}

/* As a device does: goes on when it is told of room. */
static void write_pattern(size_t len)
{
    uint8_t bytes[5000];
    for (size_t done = 0; done < len;) {
        size_t n = MIN(sizeof(bytes), len - done);
        for (size_t i = 0; i < n; i++)
            bytes[i] = pattern(done + i);
        pthread_mutex_lock(&dev.lock);
        unsigned before = dev.writable;
        pthread_mutex_unlock(&dev.lock);
        size_t took = chardev_write(chardev, bytes, n);
        done += took;
        if (took < n)
            wait_for(dev.writable, before + 1);
    }
}

static void assert_pattern(const uint8_t *bytes, size_t len, size_t first)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != pattern(first + i))
            fail_msg("byte %zu of %zu is %u instead of %u", i, len, bytes[i], pattern(first + i));
    }
}

static void *slow_reader(void *opaque)
{
    int fd = *(int *)opaque;
    uint8_t *all = malloc(MEGABYTE);
    size_t got = 0;
    while (got < MEGABYTE) {
        usleep(300);
        size_t n = read_for(fd, all + got, MIN((size_t)3000, MEGABYTE - got), PATIENCE_MS);
        if (!n)
            break;
        got += n;
    }
    assert_int_equal(got, MEGABYTE);
    assert_pattern(all, MEGABYTE, 0);
    free(all);
    return NULL;
}

static void a_slow_reader_loses_nothing(void **state)
{
    pthread_t reader;
    assert_int_equal(open_unix(), 0);
    chardev_attach(chardev, &ops, NULL);
    int client = connect_client();
    wait_for(dev.connects, 1);
    assert_int_equal(pthread_create(&reader, NULL, slow_reader, &client), 0);
    write_pattern(MEGABYTE);
    assert_true(dev.writable > 0);
    pthread_join(reader, NULL);
    close(client);
}

static void a_reader_that_stands_still_bounds_what_is_taken(void **state)
{
    static uint8_t zeroes[MEGABYTE];
    assert_int_equal(open_unix(), 0);
    chardev_attach(chardev, &ops, NULL);
    int client = connect_client();
    wait_for(dev.connects, 1);
    size_t took = 0, n;
    for (unsigned i = 0; i < 100 && (n = chardev_write(chardev, zeroes, sizeof(zeroes))); i++)
        took += n;
    assert_true(took < MEGABYTE);
    assert_int_equal(chardev_write(chardev, zeroes, 1), 0);
    close(client);
    wait_for(dev.disconnects, 1);
    wait_for(dev.writable, 1);
    assert_int_equal(chardev_write(chardev, zeroes, 1), 1);
}

static void input_waits_until_the_device_takes_it(void **state)
{
    uint8_t bytes[10000];
    dev.room = 0;
    assert_int_equal(open_unix(), 0);
    chardev_attach(chardev, &ops, NULL);
    int client = connect_client();
    for (unsigned round = 0; round < 10; round++) {
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = pattern(round * sizeof(bytes) + i);
        assert_int_equal(fd_write_all(client, bytes, sizeof(bytes)), 0);
    }
    close(client); /* what it sent still counts */
    for (size_t total = 0; total < 100000; total += 500) {
        wait_for(dev.len, total);
        pthread_mutex_lock(&dev.lock);
        assert_int_equal(dev.len, total);
        assert_int_equal(dev.disconnects, 0);
        dev.room = 500;
        pthread_mutex_unlock(&dev.lock);
        chardev_accept_input(chardev);
    }
    wait_for(dev.len, 100000);
    assert_pattern(dev.bytes, 100000, 0);
    pthread_mutex_lock(&dev.lock);
    dev.room = 1;
    pthread_mutex_unlock(&dev.lock);
    chardev_accept_input(chardev);
    wait_for(dev.disconnects, 1);
}

static void a_client_that_stops_sending_still_receives(void **state)
{
    uint8_t got[5];
    assert_int_equal(open_unix(), 0);
    chardev_attach(chardev, &ops, NULL);
    int client = connect_client();
    assert_int_equal(fd_write_all(client, "ask", 3), 0);
    shutdown(client, SHUT_WR);
    wait_for(dev.len, 3);
    assert_int_equal(chardev_write(chardev, "reply", 5), 5);
    assert_int_equal(read_for(client, got, 5, PATIENCE_MS), 5);
    assert_memory_equal(got, "reply", 5);
    close(client);
    wait_for(dev.disconnects, 1);
}

static void clients_come_one_after_the_other(void **state)
{
    uint8_t got[8];
    assert_int_equal(open_unix(), 0);
    chardev_attach(chardev, &ops, NULL);
    int first = connect_client(), second = connect_client();
    wait_for(dev.connects, 1);
    assert_int_equal(chardev_write(chardev, "one", 3), 3);
    assert_int_equal(read_for(first, got, 3, PATIENCE_MS), 3);
    assert_int_equal(read_for(second, got, 1, 50), 0);
    close(first);
    wait_for(dev.connects, 2);
    assert_int_equal(chardev_write(chardev, "two", 3), 3);
    assert_int_equal(read_for(second, got, 3, PATIENCE_MS), 3);
    assert_memory_equal(got, "two", 3);
    assert_int_equal(dev.disconnects, 1);
    close(second);
}

static void a_late_client_gets_the_newest_part(void **state)
{
    static uint8_t got[2 * CHARDEV_BUFFER];
    assert_int_equal(open_unix(), 0);
    chardev_attach(chardev, &ops, NULL);
    write_pattern(300000);
    int client = connect_client();
    size_t n = read_for(client, got, sizeof(got), 200);
    assert_in_range(n, CHARDEV_BUFFER - 8192, CHARDEV_BUFFER);
    assert_pattern(got, n, 300000 - n);
    close(client);
}

static void a_pty_carries_bytes_both_ways_and_survives_its_clients(void **state)
{
    static uint8_t got[MEGABYTE];
    assert_int_equal(open_chardev("pty"), 0);
    chardev_attach(chardev, &ops, NULL);
    assert_int_equal(strncmp(chardev_filename(chardev), "pty:/dev/pts/", 13), 0);
    assert_int_equal(chardev_write(chardev, "early", 5), 5);
    for (unsigned round = 1; round <= 2; round++) {
        int client = open(chardev_filename(chardev) + 4, O_RDWR | O_NOCTTY);
        assert_true(client >= 0);
        wait_for(dev.connects, round);
        if (round == 1) {
            assert_int_equal(read_for(client, got, 5, PATIENCE_MS), 5);
            assert_memory_equal(got, "early", 5);
        }
        assert_int_equal(fd_write_all(client, "\x03\r\n\x04", 4), 0);
        wait_for(dev.len, 4 * round);
        assert_memory_equal(dev.bytes + 4 * (round - 1), "\x03\r\n\x04", 4);
        pthread_t reader;
        assert_int_equal(pthread_create(&reader, NULL, slow_reader, &client), 0);
        write_pattern(MEGABYTE);
        pthread_join(reader, NULL);
        close(client);
        wait_for(dev.disconnects, round);
    }
}

static size_t read_file(uint8_t *bytes, size_t len)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, bytes, len);
    close(fd);
    return (size_t)n;
}

static void a_file_is_emptied_or_continued_as_asked(void **state)
{
    static uint8_t got[MEGABYTE];
    static const char *const forms[] = {"file:", "append:", "file:"};
    static const size_t sizes[] = {150000, 300000, 150000};
    snprintf(path, sizeof(path), "%s/file", folder);
    for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
        snprintf(spec, sizeof(spec), "%s%s", forms[i], path);
        assert_int_equal(open_chardev(spec), 0);
        chardev_attach(chardev, &ops, NULL);
        write_pattern(150000);
        chardev_free(chardev);
        chardev = NULL;
        assert_int_equal(read_file(got, sizeof(got)), sizes[i]);
        assert_pattern(got + sizes[i] - 150000, 150000, 0);
    }
    unlink(path);
}

static void inherited_descriptors_serve_as_stream_or_listener(void **state)
{
    uint8_t got[4];
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(spec, sizeof(spec), "fd:%d", pair[0]);
    assert_int_equal(open_chardev(spec), 0);
    chardev_attach(chardev, &ops, NULL);
    assert_int_equal(chardev_write(chardev, "abc", 3), 3);
    assert_int_equal(read_for(pair[1], got, 3, PATIENCE_MS), 3);
    assert_int_equal(fd_write_all(pair[1], "xy", 2), 0);
    wait_for(dev.len, 2);
    close(pair[1]);
    wait_for(dev.disconnects, 1);
    chardev_free(chardev);

    snprintf(path, sizeof(path), "%s/inherited", folder);
    int listening = fd_listen_unix(path, NULL);
    assert_true(listening >= 0);
    snprintf(spec, sizeof(spec), "fd:%d", listening);
    assert_int_equal(open_chardev(spec), 0);
    chardev_attach(chardev, &ops, NULL);
    for (unsigned round = 1; round <= 2; round++) {
        int client = connect_client();
        wait_for(dev.connects, 1 + round);
        close(client);
        wait_for(dev.disconnects, 1 + round);
    }
    unlink(path);
}

static void null_takes_everything(void **state)
{
    static uint8_t bytes[4 * CHARDEV_BUFFER];
    assert_int_equal(open_chardev("null"), 0);
    chardev_attach(chardev, &ops, NULL);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(chardev_write(chardev, bytes, sizeof(bytes)), sizeof(bytes));
}

static void what_cannot_be_opened_is_refused_by_name(void **state)
{
    static const struct {
        const char *spec, *word;
    } cases[] = {
        {"tcp:1.2.3.4:5", "'tcp:1.2.3.4:5'"},
        {"", "stdio"},
        {"file", "file:PATH"},
        {"file:", "file:PATH"},
        {"pty:x", "pty"},
        {"stdio:", "stdio"},
        {"file:/nonexistent/x", "No such file"},
        {"unix:/nonexistent/x", "No such file"},
        {"fd:987654", "descriptor"},
        {"fd:x", "descriptor"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        err.message[0] = '\0';
        assert_true(open_chardev(cases[i].spec) < 0);
        assert_non_null(strstr(err.message, cases[i].word));
        assert_null(chardev);
    }
}

static size_t echo_room(void *opaque)
{
    return 100;
}

static void echo_back(void *opaque, const uint8_t *bytes, size_t len)
{
    chardev_write(chardev, bytes, len);
}

static void echo_size(void *opaque, unsigned columns, unsigned rows)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "<%ux%u>", columns, rows);
    chardev_write(chardev, text, (size_t)len);
}

/* A monitor in small, on the terminal at its standard input. */
static void run_on_terminal(void)
{
    static const struct chardev_ops echo = {echo_room, echo_back, NULL, NULL, echo_size};
    struct loop loop;
    struct chardev *second;
    alarm(10);
    if (loop_init(&loop, NULL) < 0 || chardev_open(&chardev, "stdio", &loop, NULL) < 0)
        _exit(1);
    if (chardev_open(&second, "stdio", &loop, NULL) != -EBUSY)
        _exit(2);
    chardev_attach(chardev, &echo, NULL);
    loop_run(&loop);
    _exit(3);
}

static void expect_text(int fd, const char *text)
{
    uint8_t got[200] = {0};
    size_t n = read_for(fd, got, strlen(text), PATIENCE_MS);
    assert_int_equal(n, strlen(text));
    assert_string_equal((char *)got, text);
}

static void a_terminal_is_raw_meanwhile_and_as_before_afterwards(void **state)
{
    struct winsize size = {.ws_col = 80, .ws_row = 25};
    struct termios before, during, after;
    int master, status;
    pid_t child = forkpty(&master, NULL, NULL, &size);
    assert_true(child >= 0);
    if (child == 0)
        run_on_terminal();
    assert_int_equal(tcgetattr(master, &before), 0);
    assert_true(before.c_lflag & ICANON);
    expect_text(master, "<80x25>");
    assert_int_equal(tcgetattr(master, &during), 0);
    assert_false(during.c_lflag & (ICANON | ECHO | ISIG));
    size.ws_col = 132;
    assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
    expect_text(master, "<132x25>");
    assert_int_equal(fd_write_all(master,
                                  "k\x03\x01\x01\x01"
                                  "a",
                                  6),
                     0);
    expect_text(master, "k\x03\x01\x01");
    assert_int_equal(fd_write_all(master, "\x01x", 2), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
    assert_int_equal(tcgetattr(master, &after), 0);
    assert_int_equal(after.c_lflag, before.c_lflag);
    assert_int_equal(after.c_iflag, before.c_iflag);
    close(master);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_slow_reader_loses_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_that_stands_still_bounds_what_is_taken, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(input_waits_until_the_device_takes_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_stops_sending_still_receives, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(clients_come_one_after_the_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_late_client_gets_the_newest_part, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pty_carries_bytes_both_ways_and_survives_its_clients,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_is_emptied_or_continued_as_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(inherited_descriptors_serve_as_stream_or_listener, set_up,
                                        tear_down),
        cmocka_unit_test(a_terminal_is_raw_meanwhile_and_as_before_afterwards),
        cmocka_unit_test_setup_teardown(null_takes_everything, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_opened_is_refused_by_name, set_up,
                                        tear_down),
    };
    if (!mkdtemp(folder))
        return 1;
    int failed = cmocka_run_group_tests_name("vmm_chardev", tests, NULL, NULL);
    free(dev.bytes);
    snprintf(path, sizeof(path), "%s/socket", folder);
    unlink(path);
    rmdir(folder);
    return failed;
}
