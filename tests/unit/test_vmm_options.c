/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line and the configuration file, with devices of the test's own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "unit.h"
#include "vmm/device.h"
#include "vmm/options/settings.h"

struct disk {
    char *path, *id;
    bool readonly;
    int fd;
};

static void disk_defaults(void *config)
{
    ((struct disk *)config)->fd = -1;
}

static const struct option_spec disk_options[] = {
    OPTION(STRING, struct disk, path),
    OPTION(STRING, struct disk, id),
    OPTION(BOOL, struct disk, readonly),
    OPTION(FD, struct disk, fd),
    OPTION_END,
};
static const struct device_class disk_class = {
    .option = "disk",
    .implied = "path",
    .help = "a disk",
    .options = disk_options,
    .config_size = sizeof(struct disk),
    .defaults = disk_defaults,
    .max = 3,
};
const struct device_class *const device_classes[] = {&disk_class, NULL};

const struct device_class *device_class_find(const char *option)
{
    return strcmp(option, "disk") == 0 ? &disk_class : NULL;
}

#define WORDS_MAX 24

/* Words separated by blanks, as a shell would. */
static int parse(struct settings *settings, const char *line, struct kv_error *err)
{
    char copy[512], *argv[WORDS_MAX] = {(char *)"kvasir-vmm"}, *save = NULL;
    int argc = 1;
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    settings_init(settings);
    int rc = settings_parse(settings, argc, argv, err);
    return rc < 0 ? rc : settings_check(settings, err);
}

static void text_and_json_mean_the_same(void **state)
{
    static const char document[] =
        "{\"name\": \"web\", \"memory\": {\"size\": \"1G\", \"prealloc\": true}, \"cpus\": \"4\","
        " \"kernel\": \"/k\", \"cmdline\": \"a b\", \"no-reboot\": true, \"on-panic\": \"pause\","
        " \"numa\": [{\"cpus\": \"0-1\", \"memory\": \"512M\"},"
        " {\"cpus\": \"2,3\", \"memory\": 536870912}],"
        " \"disk\": [{\"path\": \"/a\", \"readonly\": true}, \"/b\"], \"iothreads\": 2}";
    struct settings text, json;
    struct kv_error err = {0};
    assert_int_equal(parse(&text,
                           "--name web --memory 1G,prealloc=on --cpus 4 --kernel /k --cmdline=a_b "
                           "--no-reboot --on-panic pause --numa cpus=0-1,memory=512M "
                           "--numa cpus=2,,3,memory=512M --disk /a,readonly=on --disk path=/b "
                           "--iothreads=2",
                           &err),
                     0);
    text.machine.cmdline[1] = ' '; /* the test's words hold no blanks */
    settings_init(&json);
    json_t *object = json_loads(document, 0, NULL);
    assert_int_equal(settings_parse_json(&json, "file", object, &err), 0);
    assert_int_equal(settings_check(&json, &err), 0);
    json_decref(object);

    const struct machine_config *a = &text.machine, *b = &json.machine;
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->kernel, b->kernel);
    assert_string_equal(a->cmdline, b->cmdline);
    assert_memory_equal(&a->memory, &b->memory, sizeof(a->memory));
    assert_memory_equal(&a->cpus, &b->cpus, sizeof(a->cpus));
    assert_int_equal(a->memory.size, GIB(1));
    assert_int_equal(a->cpus.cores, 4);
    assert_true(a->no_reboot && b->no_reboot);
    assert_int_equal(a->on_panic, PANIC_PAUSE);
    assert_int_equal(b->on_panic, PANIC_PAUSE);
    assert_int_equal(a->iothreads + b->iothreads, 4);
    assert_int_equal(a->numa_count + b->numa_count, 4);
    assert_string_equal(a->numa[1].cpus, b->numa[1].cpus);
    assert_int_equal(a->device_count + b->device_count, 4);
    for (unsigned i = 0; i < 2; i++) {
        const struct disk *x = a->devices[i].config, *y = b->devices[i].config;
        assert_string_equal(x->path, y->path);
        assert_int_equal(x->readonly, y->readonly);
        assert_int_equal(y->fd, -1);
    }
    settings_free(&text);
    settings_free(&json);
}

static void the_command_line_overrides_and_adds_to_the_file(void **state)
{
    char path[] = "/tmp/kvasir-options-XXXXXX", line[200];
    static const char document[] =
        "{\"kernel\": \"/k\", \"memory\": {\"prealloc\": true}, \"name\": \"a\", \"disk\": "
        "[\"/a\"]}";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, document, sizeof(document) - 1), sizeof(document) - 1);
    close(fd);
    struct settings settings;
    struct kv_error err = {0};
    snprintf(line, sizeof(line), "--name b --disk /b --config %s --memory 64M", path);
    assert_int_equal(parse(&settings, line, &err), 0);
    unlink(path);
    assert_string_equal(settings.machine.name, "b");
    assert_true(settings.machine.memory.prealloc);
    assert_int_equal(settings.machine.memory.size, MIB(64));
    assert_int_equal(settings.machine.device_count, 2);
    assert_string_equal(((struct disk *)settings.machine.devices[0].config)->path, "/a");
    settings_free(&settings);
}

static void what_is_not_given_is_chosen(void **state)
{
    static const struct {
        const char *text;
        unsigned sockets, dies, cores, threads, count;
    } cases[] = {
        {"--cpus 6", 1, 1, 6, 1, 6},
        {"--cpus 8,threads=2", 1, 1, 4, 2, 8},
        {"--cpus 8,cores=2", 4, 1, 2, 1, 8},
        {"--cpus sockets=2,cores=3,threads=2", 2, 1, 3, 2, 12},
        {"--cpus 8,sockets=2,dies=2,cores=2", 2, 2, 2, 1, 8},
        {"", 1, 1, 1, 1, 1},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct settings settings;
        struct kv_error err = {0};
        char line[120];
        snprintf(line, sizeof(line), "--kernel /k %s", cases[i].text);
        assert_int_equal(parse(&settings, line, &err), 0);
        const struct cpus_config *cpus = &settings.machine.cpus;
        assert_int_equal(cpus->sockets, cases[i].sockets);
        assert_int_equal(cpus->dies, cases[i].dies);
        assert_int_equal(cpus->cores, cases[i].cores);
        assert_int_equal(cpus->threads, cases[i].threads);
        assert_int_equal(cpus->count, cases[i].count);
        assert_int_equal(settings.machine.memory.size, MIB(512));
        assert_true(settings.machine.jail);
        settings_free(&settings);
    }
}

static void descriptors_stand_for_images(void **state)
{
    struct settings settings;
    struct kv_error err = {0};
    assert_int_equal(parse(&settings, "--kernel fd:7 --initrd fd:8 --control fd:9 -S", &err), 0);
    assert_int_equal(settings.machine.kernel_fd, 7);
    assert_int_equal(settings.machine.initrd_fd, 8);
    assert_null(settings.machine.kernel);
    assert_int_equal(settings_fd(settings.control), 9);
    assert_true(settings.machine.paused);
    settings_free(&settings);
}

static void the_clock_begins_at_the_time_of_a_zone(void **state)
{
    static const struct {
        const char *line;
        int64_t offset;
    } rows[] = {
        {"--kernel /k", 0},
        {"--kernel /k --rtc offset=-90", -90},
        {"--kernel /k --rtc localtime", 5 * 3600 + 1800},
        {"--kernel /k --rtc timezone=Asia/Tokyo,offset=60", 9 * 3600 + 60},
    };
    setenv("TZ", "Asia/Kolkata", 1);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct settings settings;
        struct kv_error err = {0};
        assert_int_equal(parse(&settings, rows[i].line, &err), 0);
        assert_int_equal(settings.machine.rtc.offset, rows[i].offset);
        assert_string_equal(getenv("TZ"), "Asia/Kolkata");
        settings_free(&settings);
    }
    unsetenv("TZ");
}

static void contradictions_and_mistakes_are_refused_by_name(void **state)
{
    static const struct {
        const char *line, *word;
    } cases[] = {
        {"--kernell /k", "'--kernel'"},
        {"--dsik /k", "'--disk'"},
        {"--zzzzzzz 1", "'--zzzzzzz'"},
        {"-x", "'-x'"},
        {"kernel", "'kernel'"},
        {"--", "'--'"},
        {"--kernel", "needs a value"},
        {"--kernel /a --kernel /b", "given twice"},
        {"--paused --paused", "'--paused' is given twice"},
        {"--memory 1G --memory prealloc=on", "'--memory' is given twice"},
        {"--paused=maybe", "on, off"},
        {"--memory colour=red", "'colour'"},
        {"--disk colour=red", "'colour'"},
        {"--kernel /k --rtc timezone=../../etc/passwd", "time zone '../../etc/passwd'"},
        {"--kernel /k --rtc timezone=Nowhere/Land", "time zone 'Nowhere/Land'"},
        {"--kernel /k --rtc offset=x", "'x'"},
        {"--kernel /k --rtc base=mars", "utc, localtime"},
        {"--kernel /k --hyperv stimer=on", "stimer needs synic"},
        {"--kernel /k --hyperv spinlocks=100", "4095"},
        {"--log-level loud", "error, warning, info"},
        {"", "--kernel"},
        {"--initrd /i", "--initrd needs --kernel"},
        {"--cmdline x", "--cmdline needs --kernel"},
        {"--kernel /k --nvram /v", "--nvram needs --firmware"},
        {"--firmware /f --nvram fd:x", "fd:N"},
        {"--firmware fd:5 --nvram fd:5", "both --firmware and --nvram"},
        {"--kernel fd:x", "fd:N"},
        {"--kernel /k --initrd fd:", "fd:N"},
        {"--kernel /k --memory 1000", "multiples of 1M"},
        {"--kernel /k --memory 1M", "2M to 16T"},
        {"--kernel /k --memory 17T", "2M to 16T"},
        {"--kernel /k --memory 1G,hugepage-size=2M", "hugepages=explicit"},
        {"--kernel /k --memory 1G,hugepages=explicit,hugepage-size=4M", "2M, 1G"},
        {"--kernel /k --memory 3M,hugepages=explicit", "no multiple"},
        {"--kernel /k --memory 1G,shared=off", "shared=off"},
        {"--kernel /k --memory 1G,host-nodes=0", "needs policy"},
        {"--kernel /k --memory 1G,policy=bind", "needs host-nodes"},
        {"--kernel /k --memory 1G,policy=bind,host-nodes=x", "'x'"},
        {"--kernel /k --cpus 0", "1 to 254"},
        {"--kernel /k --cpus 255", "1 to 254"},
        {"--kernel /k --cpus 4,sockets=3", "topology"},
        {"--kernel /k --cpus 4,sockets=1,dies=1,cores=2,threads=1", "topology"},
        {"--kernel /k --cpus sockets=16,cores=16", "1 to 254"},
        {"--kernel /k --numa cpus=0", "'memory' is missing"},
        {"--kernel /k --numa cpus=0,memory=1G", "--memory says"},
        {"--kernel /k --numa cpus=1,memory=512M", "vCPU 1 is not there"},
        {"--kernel /k --cpus 2 --numa cpus=0,memory=512M", "1 of 2"},
        {"--kernel /k --numa cpus=0,memory=256M --numa cpus=0,memory=256M", "two nodes"},
        {"--kernel /k --numa cpus=zero,memory=512M", "'zero'"},
        {"--kernel /k --numa cpus=0,memory=1000", "multiple of 1M"},
        {"--kernel /k --uuid 12", "'12'"},
        {"--kernel /k --vmgenid 12", "'12'"},
        {"--kernel /k --name=", "1 to 255"},
        {"--kernel /k --iothreads 65", "1 to 64"},
        {"--kernel /k --paused", "--control"},
        {"--kernel /k --control fd:z", "fd:N"},
        {"--kernel /k --control /s --metrics /s", "--control and --metrics"},
        {"--kernel /k --no-jail --user nobody", "--no-jail"},
        {"--kernel fd:5 --initrd fd:5", "descriptor 5"},
        {"--kernel fd:5 --disk fd=5", "descriptor 5"},
        {"--kernel /k --disk stdio --disk stdio", "stdio"},
        {"--kernel /k --disk a --disk b --disk c --disk d", "at most 3"},
        {"--config /does/not/exist", "/does/not/exist"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct settings settings;
        struct kv_error err = {0};
        if (parse(&settings, cases[i].line, &err) != -EINVAL && !err.code)
            fail_msg("'%s' was accepted", cases[i].line);
        if (!strstr(err.message, cases[i].word))
            fail_msg("'%s': '%s' does not say %s", cases[i].line, err.message, cases[i].word);
        settings_free(&settings);
    }
}

static void documents_with_mistakes_are_refused_by_name(void **state)
{
    static const struct {
        const char *document, *word;
    } cases[] = {
        {"[]", "object"},
        {"{\"kernle\": \"/k\"}", "'kernel'"},
        {"{\"help\": true}", "'help'"},
        {"{\"config\": \"x\"}", "'config'"},
        {"{\"paused\": 3}", "true or false"},
        {"{\"iothreads\": \"x\"}", "a number"},
        {"{\"memory\": {\"sise\": 3}}", "'sise'"},
        {"{\"memory\": [1]}", "object"},
        {"{\"disk\": [{\"readonly\": \"perhaps\"}]}", "on, off"},
        {"{\"numa\": {\"cpus\": \"0\"}}", "'memory' is missing"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct settings settings;
        struct kv_error err = {0};
        settings_init(&settings);
        json_t *document = json_loads(cases[i].document, 0, NULL);
        assert_non_null(document);
        assert_true(settings_parse_json(&settings, "file", document, &err) < 0);
        if (!strstr(err.message, cases[i].word))
            fail_msg("'%s': '%s' does not say %s", cases[i].document, err.message, cases[i].word);
        json_decref(document);
        settings_free(&settings);
    }
}

static void help_names_every_option_and_knows_its_details(void **state)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    assert_int_equal(settings_help(NULL, to), 0);
    fflush(to);
    for (const struct setting *row = settings_table; row->spec.name; row++) {
        char name[64];
        snprintf(name, sizeof(name), "--%s", row->spec.name);
        assert_non_null(strstr(text, name));
        assert_int_equal(settings_help(row->spec.name, to), 0);
    }
    assert_non_null(strstr(text, "--disk"));
    assert_int_equal(settings_help("--disk", to), 0);
    fflush(to);
    assert_non_null(strstr(text, "readonly=on|off"));
    assert_int_equal(settings_help("nothing", to), -ENOENT);
    fclose(to);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_json_mean_the_same),
        cmocka_unit_test(the_command_line_overrides_and_adds_to_the_file),
        cmocka_unit_test(what_is_not_given_is_chosen),
        cmocka_unit_test(descriptors_stand_for_images),
        cmocka_unit_test(the_clock_begins_at_the_time_of_a_zone),
        cmocka_unit_test(contradictions_and_mistakes_are_refused_by_name),
        cmocka_unit_test(documents_with_mistakes_are_refused_by_name),
        cmocka_unit_test(help_names_every_option_and_knows_its_details),
    };
    return cmocka_run_group_tests_name("vmm_options", tests, NULL, NULL);
}
