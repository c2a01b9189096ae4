/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machines as the daemon runs them, with real monitors and a guest that does as it is told. */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "daemon/machine/machine_internal.h"
#include "daemon/machine/plan.h"
#include "machine_events.h"
#include "model/domain.h"
#include "unit.h"

#define UUID "6d2c1f5e-3f5b-4d7c-9c0a-111111111111"
#define MEGABYTE 1000000

static struct machine_host *host;
static struct kv_error err;
static char folder[] = "/tmp/kvasir-machine-XXXXXX", run_dir[64], log_dir[64];

static void create_host(void)
{
    const struct machine_host_config config = {
        .run_dir = run_dir, .log_dir = log_dir, .vmm_path = getenv("KVASIR_VMM")};
    assert_int_equal(machine_host_create(&host, &config, &err), 0);
}

static int open_folder(void **state)
{
    assert_non_null(mkdtemp(folder));
    snprintf(run_dir, sizeof(run_dir), "%s/run", folder);
    snprintf(log_dir, sizeof(log_dir), "%s/log", folder);
    events_init();
    create_host();
    return 0;
}

static int remove_folder(void **state)
{
    char command[96];
    machine_host_free(host);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

/* Nothing of a machine is left in the folder of the records, and no descriptor. */
static unsigned count_entries(const char *path)
{
    unsigned count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

static unsigned fds_before;

static int begin(void **state)
{
    fds_before = count_entries("/proc/self/fd");
    events_clear();
    err = (struct kv_error){0};
    return 0;
}

static int expect_clean(void **state)
{
    bool left = machine_record_kill(host, UUID, &err) == 0; /* a failed test's */
    assert_false(left);
    assert_int_equal(count_entries(run_dir), 0);
    assert_int_equal(count_entries("/proc/self/fd"), fds_before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    return 0;
}

static int make_plan(struct plan *plan, const char *kernel)
{
    int rc = plan_init(plan, host, UUID, "test", 1, events_take, NULL, &err);
    if (rc < 0)
        return rc;
    int fd = open(kernel, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(plan_set(plan, "kernel", plan_fd_text(plan, fd, &err), &err), 0);
    assert_int_equal(plan_set(plan, "memory", json_string("64M"), &err), 0);
    assert_int_equal(
        plan_add(plan, "serial", json_pack("{s:s, s:s}", "chardev", "pty", "id", "serial0"), &err),
        0);
    assert_int_equal(plan_add(plan, "console", json_pack("{s:s}", "chardev", "pty"), &err), 0);
    return 0;
}

static struct machine *start(void)
{
    struct plan plan;
    struct machine *machine = NULL;
    assert_int_equal(make_plan(&plan, getenv("KVASIR_PAYLOAD")), 0);
    int rc = machine_launch(&machine, &plan, false, &err);
    if (rc < 0)
        fail_msg("%s", err.message);
    return machine;
}

static void read_until(int fd, const char *text)
{
    char bytes[4096];
    size_t len = 0;
    while (len < sizeof(bytes) - 1) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ssize_t n = poll(&ready, 1, 10000) > 0 ? read(fd, bytes + len, sizeof(bytes) - 1 - len) : 0;
        if (n <= 0)
            fail_msg("'%s' does not come; '%.*s' came", text, (int)len, bytes);
        len += (size_t)n;
        bytes[len] = '\0';
        if (strstr(bytes, text))
            return;
    }
    fail_msg("'%s' does not come", text);
}

static int open_console(struct machine *machine, unsigned flags)
{
    int fd = -1;
    if (machine_open_console(machine, NULL, flags, &fd, &err) < 0)
        fail_msg("%s", err.message);
    return fd;
}

static void tell(struct machine *machine, const char *letters)
{
    cleanup_fd int fd = open_console(machine, 0);
    read_until(fd, "ready");
    assert_int_equal(fd_write_all(fd, letters, strlen(letters)), 0);
    usleep(50000);
}

static void a_guest_starts_runs_and_switches_off(void **state)
{
    struct machine *machine = start();
    assert_int_equal(machine_get_state(machine, NULL), MACHINE_RUNNING);
    assert_true(machine_get_pid(machine) > 0);
    events_expect(MACHINE_EVENT_RESUME);
    tell(machine, "q");
    struct machine_event down = events_expect(MACHINE_EVENT_SHUTDOWN);
    assert_int_equal(down.end, MACHINE_END_SHUTDOWN);
    assert_true(down.by_guest);
    struct machine_event died = events_expect(MACHINE_EVENT_DIED);
    assert_int_equal(died.end, MACHINE_END_SHUTDOWN);
    assert_int_equal(machine_get_state(machine, NULL), MACHINE_DEAD);
    assert_true(machine_stop(machine, &err) < 0);
    assert_string_equal(err.message, "Requested operation is not valid: domain is not running");
    machine_free(machine);
}

static void a_monitor_that_cannot_start_says_why(void **state)
{
    struct plan plan;
    struct machine *machine;
    assert_int_equal(make_plan(&plan, "/dev/null"), 0);
    assert_true(machine_launch(&machine, &plan, false, &err) < 0);
    assert_non_null(strstr(err.message, "kernel"));
    assert_null(strstr(err.message, "no reason"));
}

static void wrong_options_are_told_too(void **state)
{
    struct plan plan;
    struct machine *machine;
    assert_int_equal(make_plan(&plan, getenv("KVASIR_PAYLOAD")), 0);
    assert_int_equal(plan_set(&plan, "memory", json_string("1K"), &err), 0);
    assert_true(machine_launch(&machine, &plan, false, &err) < 0);
    assert_non_null(strstr(err.message, "memory"));
}

static void the_same_machine_runs_only_once(void **state)
{
    struct plan plan;
    struct machine *machine = start();
    assert_true(make_plan(&plan, getenv("KVASIR_PAYLOAD")) < 0);
    assert_non_null(strstr(err.message, "already running"));
    assert_int_equal(machine_kill(machine, false, &err), 0);
    machine_free(machine);
}

static void it_stops_goes_on_and_is_reset(void **state)
{
    struct machine *machine = start();
    enum machine_pause pause;
    events_expect(MACHINE_EVENT_RESUME);
    assert_int_equal(machine_stop(machine, &err), 0);
    assert_int_equal(machine_get_state(machine, &pause), MACHINE_PAUSED);
    assert_int_equal(pause, MACHINE_PAUSE_USER);
    assert_int_equal(events_expect(MACHINE_EVENT_STOP).paused_reason, MACHINE_PAUSE_USER);
    assert_int_equal(machine_cont(machine, &err), 0);
    events_expect(MACHINE_EVENT_RESUME);
    assert_int_equal(machine_reset(machine, &err), 0);
    assert_false(events_expect(MACHINE_EVENT_RESET).by_guest);
    tell(machine, "r");
    assert_true(events_expect(MACHINE_EVENT_RESET).by_guest);
    assert_int_equal(machine_inject_nmi(machine, &err), 0);
    assert_int_equal(machine_kill(machine, true, &err), 0);
    assert_int_equal(events_expect(MACHINE_EVENT_DIED).end, MACHINE_END_DESTROYED);
    machine_free(machine);
}

static void the_power_button_ends_it_or_begins_it_anew(void **state)
{
    struct machine *machine = start();
    int console = open_console(machine, 0);
    read_until(console, "ready");
    assert_int_equal(machine_reboot(machine, &err), 0);
    events_expect(MACHINE_EVENT_RESET);
    read_until(console, "ready");
    assert_int_equal(machine_get_state(machine, NULL), MACHINE_RUNNING);
    assert_int_equal(machine_powerdown(machine, &err), 0);
    assert_int_equal(events_expect(MACHINE_EVENT_DIED).end, MACHINE_END_SHUTDOWN);
    close(console);
    machine_free(machine);
}

static void a_panic_ends_it_as_crashed_or_keeps_it(void **state)
{
    struct machine *machine = start();
    tell(machine, "p");
    events_expect(MACHINE_EVENT_PANIC);
    assert_int_equal(events_expect(MACHINE_EVENT_DIED).end, MACHINE_END_CRASHED);
    machine_free(machine);

    machine = start();
    assert_int_equal(machine_set_lifecycle_action(machine, VIR_DOMAIN_LIFECYCLE_CRASH,
                                                  VIR_DOMAIN_LIFECYCLE_ACTION_PRESERVE, &err),
                     0);
    tell(machine, "p");
    assert_int_equal(events_expect(MACHINE_EVENT_STOP).paused_reason, MACHINE_PAUSE_PANIC);
    assert_int_equal(machine_get_state(machine, NULL), MACHINE_CRASHED);
    assert_int_equal(machine_kill(machine, false, &err), 0);
    machine_free(machine);
}

static int64_t now_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

/* The process outside the jail, and the one inside whose end it notices. */
static void a_death_is_noticed_at_once(void **state)
{
    for (unsigned i = 0; i < MACHINE_PROCESSES; i++) {
        struct machine *machine = start();
        int64_t before = now_ms();
        assert_int_equal(process_signal(&machine->processes[i], SIGKILL), 0);
        struct machine_event died = events_expect(MACHINE_EVENT_DIED);
        assert_true(now_ms() - before < 100);
        assert_int_equal(died.end, MACHINE_END_FAILED);
        assert_non_null(strstr(events_reason(), "killed"));
        machine_free(machine);
    }
}

static void a_console_loses_nothing_of_a_megabyte(void **state)
{
    struct machine *machine = start();
    int console;
    assert_int_equal(machine_open_console(machine, "console0", 0, &console, &err), 0);
    tell(machine, "w");
    char *bytes = malloc(MEGABYTE);
    size_t len = 0;
    while (len < MEGABYTE) {
        struct pollfd ready = {.fd = console, .events = POLLIN};
        assert_true(poll(&ready, 1, 20000) > 0);
        ssize_t n = read(console, bytes + len, MEGABYTE - len);
        assert_true(n > 0);
        len += (size_t)n;
        if (len < 100000)
            usleep(2000); /* a reader slower than the guest at first */
    }
    for (unsigned line = 0; line < MEGABYTE / 50; line++) {
        assert_int_equal(atoi(bytes + (size_t)line * 50), line);
        assert_int_equal(bytes[(size_t)line * 50 + 49], '\n');
    }
    free(bytes);
    close(console);
    assert_int_equal(machine_kill(machine, false, &err), 0);
    machine_free(machine);
}

static int open_log_file(struct plan *plan, unsigned number)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/console.%u", folder, number);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(plan_add_fd(plan, fd, &err), 0);
    return fd;
}

/* 1,000,000 bytes into files of 300,000: the last ones are there, in order, whoever reads. */
static void a_consoles_log_is_bounded_and_rotated(void **state)
{
    struct plan plan;
    struct machine *machine;
    assert_int_equal(make_plan(&plan, getenv("KVASIR_PAYLOAD")), 0);
    json_t *console = json_array_get(json_object_get(plan.config, "console"), 0);
    int newest = open_log_file(&plan, 0), older = open_log_file(&plan, 1);
    json_object_set_new(console, "log-fds", json_sprintf("%d:%d", newest, older));
    json_object_set_new(console, "log-size", json_integer(300000));
    assert_int_equal(machine_launch(&machine, &plan, false, &err), 0);
    tell(machine, "wq");
    events_expect(MACHINE_EVENT_DIED);
    machine_free(machine);
    cleanup_free char *bytes = malloc(600001);
    size_t len = 0;
    for (int number = 1; number >= 0; number--) {
        char path[96];
        snprintf(path, sizeof(path), "%s/console.%d", folder, number);
        cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = read(fd, bytes + len, 300001);
        assert_true(n > 0 && n <= 300000);
        len += (size_t)n;
    }
    bytes[len] = '\0';
    assert_true(len > 300000);
    for (size_t back = 50, line = 19999; back <= len; back += 50, line--)
        assert_int_equal(atoi(bytes + len - back), line);
}

static void a_console_is_one_clients_unless_forced(void **state)
{
    struct machine *machine = start();
    int first = open_console(machine, 0), second;
    char byte;
    read_until(first, "ready");
    assert_true(machine_open_console(machine, "serial0", 0, &second, &err) < 0);
    assert_non_null(strstr(err.message, "Active console session exists"));
    second = open_console(machine, MACHINE_CONSOLE_FORCE);
    struct pollfd end = {.fd = first, .events = POLLIN};
    assert_true(poll(&end, 1, 5000) > 0);
    while (read(first, &byte, 1) > 0)
        continue;
    assert_int_equal(fd_write_all(second, "ehello!\n", 8), 0);
    read_until(second, "hello!");
    assert_true(machine_open_console(machine, "serial7", 0, &first, &err) < 0);
    assert_int_equal(machine_kill(machine, false, &err), 0);
    end.fd = second;
    assert_true(poll(&end, 1, 5000) > 0); /* its end is the console's */
    while (read(second, &byte, 1) > 0)
        continue;
    close(first);
    close(second);
    machine_free(machine);
}

static void figures_are_there(void **state)
{
    struct machine *machine = start();
    struct machine_vcpu *vcpus;
    struct machine_iothread *iothreads;
    struct machine_cpu_time times;
    struct machine_memory memory;
    unsigned count;
    tell(machine, ""); /* it has run by then */
    assert_int_equal(machine_query_vcpus(machine, NULL, &vcpus, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_true(vcpus[0].tid > 0 && vcpus[0].time_ns > 0 && vcpus[0].host_cpu >= 0);
    free(vcpus);
    const unsigned id = 3;
    const struct model_domain domain = {.iothreads = 1, .iothread_ids = &id};
    assert_int_equal(machine_query_iothreads(machine, &domain, &iothreads, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_true(iothreads[0].id == id && iothreads[0].tid > 0);
    free(iothreads);
    assert_int_equal(machine_query_cpu_time(machine, &times, &err), 0);
    assert_int_equal(machine_query_memory(machine, NULL, &memory, &err), 0);
    assert_int_equal(memory.actual, MIB(64));
    assert_true(memory.rss > 0 && memory.unused == UINT64_MAX);
    cleanup_free char *answer = NULL;
    assert_int_equal(
        machine_qmp_text(machine, "{\"execute\":\"query-name\",\"id\":\"x\"}", &answer, &err), 0);
    assert_non_null(strstr(answer, "\"id\":\"x\""));
    assert_int_equal(machine_kill(machine, false, &err), 0);
    machine_free(machine);
}

/* The guest's own program is in the core file where the guest has it. */
static void a_core_file_has_the_guests_memory(void **state)
{
    static const char words[] = "ready\n";
    struct machine *machine = start();
    uint64_t done, total;
    Elf64_Ehdr header;
    Elf64_Phdr segments[2];
    struct stat st;
    char path[64];
    tell(machine, "");
    snprintf(path, sizeof(path), "%s/core", folder);
    cleanup_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (machine_dump(machine, fd, false, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(machine_get_state(machine, NULL), MACHINE_RUNNING);
    machine_dump_progress(machine, &done, &total);
    assert_int_equal(total, MIB(64));
    assert_int_equal(events_expect(MACHINE_EVENT_STOP).paused_reason, MACHINE_PAUSE_DUMP);
    assert_int_equal(fd_pread_all(fd, &header, sizeof(header), 0), 0);
    assert_memory_equal(header.e_ident, ELFMAG, SELFMAG);
    assert_int_equal(header.e_phnum, 2);
    assert_int_equal(fd_pread_all(fd, segments, sizeof(segments), header.e_phoff), 0);
    assert_int_equal(segments[1].p_filesz, MIB(64));
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, (off_t)(segments[1].p_offset + MIB(64)));
    assert_true(st.st_blocks * 512 < (off_t)MIB(32)); /* what was never touched is a hole */
    cleanup_free char *low = malloc(MIB(2));
    assert_int_equal(fd_pread_all(fd, low, MIB(2), segments[1].p_offset), 0);
    assert_non_null(memmem(low + MIB(1), MIB(1), words, sizeof(words)));
    assert_int_equal(machine_kill(machine, false, &err), 0);
    machine_free(machine);
}

struct found {
    unsigned count;
    bool alive;
    char document[64], name[64];
};

static void note_record(void *opaque, const struct machine_record *record)
{
    struct found *found = opaque;
    found->count++;
    found->alive = record->alive;
    snprintf(found->document, sizeof(found->document), "%s", record->document);
    snprintf(found->name, sizeof(found->name), "%s", record->name);
}

/* As a daemon that dies without a word and its successor. */
static struct found restart_host(struct machine *machine)
{
    struct found found = {.count = 0};
    machine_free(machine);
    machine_host_free(host);
    create_host();
    assert_int_equal(machine_host_scan(host, note_record, &found, &err), 0);
    return found;
}

static void a_machine_outlives_the_daemon(void **state)
{
    struct machine *machine = start();
    pid_t pid = machine_get_pid(machine);
    assert_int_equal(machine_set_document(machine, "<domain/>", &err), 0);
    assert_int_equal(machine_reboot(machine, &err), 0); /* carried out by the next daemon */
    struct found found = restart_host(machine);
    assert_int_equal(found.count, 1);
    assert_true(found.alive);
    assert_string_equal(found.document, "<domain/>");
    assert_string_equal(found.name, "test");
    assert_int_equal(machine_reattach(&machine, host, UUID, events_take, NULL, &err), 0);
    assert_int_equal(machine_get_pid(machine), pid);
    tell(machine, "");
    assert_int_equal(machine_stop(machine, &err), 0);
    found = restart_host(machine);
    assert_int_equal(machine_reattach(&machine, host, UUID, events_take, NULL, &err), 0);
    assert_int_equal(machine_get_state(machine, NULL), MACHINE_PAUSED);
    assert_int_equal(machine_cont(machine, &err), 0);
    assert_int_equal(machine_kill(machine, false, &err), 0);
    machine_free(machine);
    waitpid(pid, NULL, 0);
}

static void what_died_meanwhile_is_cleaned_up(void **state)
{
    struct machine *machine = start();
    pid_t pid = machine_get_pid(machine);
    struct process inner = machine->processes[1];
    inner.pidfd = fcntl(inner.pidfd, F_DUPFD_CLOEXEC, 3);
    machine_free(machine);
    machine_host_free(host);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    process_wait(&inner, 5000);
    process_close(&inner);
    create_host();
    struct found found = {.count = 0};
    assert_int_equal(machine_host_scan(host, note_record, &found, &err), 0);
    assert_int_equal(found.count, 1);
    assert_false(found.alive);
    assert_int_equal(count_entries(run_dir), 0);
    assert_int_equal(machine_reattach(&machine, host, UUID, events_take, NULL, &err), -ENOENT);
}

/* A process that starts a machine and is killed after some time, over and over. */
static void a_daemon_killed_at_any_moment_leaves_nothing(void **state)
{
    for (unsigned i = 0; i < 24; i++) {
        struct found found = {.count = 0};
        pid_t daemon = fork();
        if (daemon == 0) {
            struct plan plan;
            struct machine *machine;
            create_host();
            if (make_plan(&plan, getenv("KVASIR_PAYLOAD")) == 0)
                machine_launch(&machine, &plan, false, &err);
            pause();
            _exit(0);
        }
        usleep(1000 * i);
        kill(daemon, SIGKILL);
        waitpid(daemon, NULL, 0);
        assert_int_equal(machine_host_scan(host, note_record, &found, &err), 0);
        assert_true(found.count <= 1);
        if (found.count && found.alive)
            assert_int_equal(machine_record_kill(host, UUID, &err), 0);
        assert_int_equal(count_entries(run_dir), 0);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, expect_clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_guest_starts_runs_and_switches_off),
        CASE(a_monitor_that_cannot_start_says_why),
        CASE(wrong_options_are_told_too),
        CASE(the_same_machine_runs_only_once),
        CASE(it_stops_goes_on_and_is_reset),
        CASE(the_power_button_ends_it_or_begins_it_anew),
        CASE(a_panic_ends_it_as_crashed_or_keeps_it),
        CASE(a_death_is_noticed_at_once),
        CASE(a_console_loses_nothing_of_a_megabyte),
        CASE(a_consoles_log_is_bounded_and_rotated),
        CASE(a_console_is_one_clients_unless_forced),
        CASE(figures_are_there),
        CASE(a_core_file_has_the_guests_memory),
        CASE(a_machine_outlives_the_daemon),
        CASE(what_died_meanwhile_is_cleaned_up),
        CASE(a_daemon_killed_at_any_moment_leaves_nothing),
    };
    cmocka_set_test_filter(getenv("KVASIR_TEST_FILTER"));
    return cmocka_run_group_tests(tests, open_folder, remove_folder);
}
