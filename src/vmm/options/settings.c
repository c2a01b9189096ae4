/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of options, defaults, and what is checked about several at once. */
#include "vmm/options/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "base/util.h"

static const char *const log_levels[] = {"error", "warning", "info", "debug", "trace", NULL};

#define VALUE(name_, type_, field_, section_, ...)                                          \
    {                                                                                       \
        .spec = OPTION_NAMED(name_, type_, struct settings, field_), .kind = SETTING_VALUE, \
        .section = SECTION_##section_, ##__VA_ARGS__,                                       \
    }

const struct setting settings_table[] = {
    VALUE("name", STRING, machine.name, MACHINE, .shape = "NAME",
          .spec.help = "the machine's name"),
    VALUE("uuid", STRING, machine.uuid, MACHINE, .shape = "UUID",
          .spec.help = "its UUID, also for the guest"),
    {
        .spec = {.name = "memory",
                 .offset = offsetof(struct settings, machine.memory),
                 .help = "guest memory (default 512M)"},
        .kind = SETTING_STRUCT,
        .section = SECTION_MACHINE,
        .shape = "SIZE[,OPTION=VALUE]...",
        .fields = memory_config_options,
        .implied = "size",
    },
    {
        .spec = {.name = "cpus",
                 .offset = offsetof(struct settings, machine.cpus),
                 .help = "virtual CPUs (default 1, at most 254)"},
        .kind = SETTING_STRUCT,
        .section = SECTION_MACHINE,
        .shape = "N[,OPTION=VALUE]...",
        .fields = cpus_config_options,
        .implied = "count",
    },
    {
        .spec = {.name = "hyperv",
                 .offset = offsetof(struct settings, machine.hyperv),
                 .help = "enlightenments for Windows (default none)"},
        .kind = SETTING_STRUCT,
        .section = SECTION_MACHINE,
        .shape = "NAME=on[,NAME=VALUE]...",
        .fields = hyperv_config_options,
    },
    {
        .spec = {.name = "rtc",
                 .offset = offsetof(struct settings, machine.rtc),
                 .help = "what the real-time clock shows at first (default UTC)"},
        .kind = SETTING_STRUCT,
        .section = SECTION_MACHINE,
        .shape = "utc|localtime[,offset=SECONDS]",
        .fields = rtc_config_options,
        .implied = "base",
    },
    {
        .spec = {.name = "numa", .help = "a NUMA node of the guest; repeatable"},
        .kind = SETTING_NUMA,
        .section = SECTION_MACHINE,
        .shape = "cpus=LIST,memory=SIZE",
        .fields = numa_config_options,
    },
    VALUE("iothreads", UINT, machine.iothreads, MACHINE, .spec.min = 1, .spec.max = 64,
          .spec.help = "threads for the devices' I/O (default 1)"),
    VALUE("vmgenid", STRING, machine.vmgenid, MACHINE, .shape = "UUID|auto",
          .spec.help = "VM generation ID (default auto: a new one each start)"),
    VALUE("hotplug", BOOL, machine.hotplug, MACHINE,
          .spec.help = "devices may come and go while it runs (device_add, device_del)"),
    VALUE("firmware", STRING, machine.firmware, BOOT, .shape = "PATH|fd:N",
          .spec.help = "image that boots from the disks: SeaBIOS, OVMF (UEFI)"),
    VALUE("nvram", STRING, machine.nvram, BOOT, .shape = "PATH|fd:N",
          .spec.help = "file of the UEFI firmware's variables, which it writes"),
    VALUE("kernel", STRING, machine.kernel, BOOT, .shape = "PATH|fd:N",
          .spec.help = "bzImage or ELF kernel to boot"),
    VALUE("initrd", STRING, machine.initrd, BOOT, .shape = "PATH|fd:N",
          .spec.help = "initial RAM disk"),
    VALUE("cmdline", STRING, machine.cmdline, BOOT, .shape = "TEXT",
          .spec.help = "the kernel's command line"),
    VALUE("paused", BOOL, machine.paused, BEHAVIOUR, .letter = 'S',
          .spec.help = "do not run before 'cont' on the control socket"),
    VALUE("no-reboot", BOOL, machine.no_reboot, BEHAVIOUR,
          .spec.help = "a reset by the guest ends the process"),
    VALUE("no-shutdown", BOOL, machine.no_shutdown, BEHAVIOUR,
          .spec.help = "when the guest switches off, stay for the control socket"),
    VALUE("on-panic", ENUM, machine.on_panic, BEHAVIOUR, .spec.values = panic_action_names,
          .spec.help = "when the guest panics (default shutdown)"),
    {
        .spec = {.name = "config",
                 .help = "options from a JSON file, same names; -: standard input"},
        .kind = SETTING_CONFIG,
        .section = SECTION_PROCESS,
        .shape = "FILE|-",
        .command_line_only = true,
    },
    VALUE("kvm-fd", FD, machine.kvm_fd, PROCESS, .shape = "N",
          .spec.help = "inherited descriptor of /dev/kvm (default: it is opened)"),
    VALUE("control", STRING, control, PROCESS, .shape = "PATH|fd:N",
          .spec.help = "unix socket that speaks QMP"),
    VALUE("metrics", STRING, metrics, PROCESS, .shape = "PATH|fd:N",
          .spec.help = "unix socket that sends each client the counters as JSON"),
    VALUE("log-level", ENUM, log_level, PROCESS, .spec.values = log_levels,
          .spec.help = "what is logged (default warning)"),
    VALUE("log-file", STRING, log_file, PROCESS, .shape = "PATH|fd:N",
          .spec.help = "where to (default standard error)"),
    VALUE("pidfile", STRING, pidfile, PROCESS, .shape = "PATH",
          .spec.help = "holds the process's number while it runs"),
    VALUE("user", STRING, user, PROCESS, .shape = "NAME|UID[:GID]",
          .spec.help = "whom to run as when started as root (default nobody)"),
    VALUE("no-jail", BOOL, no_jail, PROCESS,
          .spec.help = "keep all privileges; for debugging only"),
    VALUE("help", BOOL, help, INFORMATION, .letter = 'h', .shape = "[OPTION]",
          .spec.help = "this list, or an option in detail", .command_line_only = true),
    VALUE("version", BOOL, version, INFORMATION, .spec.help = "the version",
          .command_line_only = true),
    VALUE("dump-qmp", BOOL, dump_qmp, INFORMATION,
          .spec.help = "all commands and events of the control socket as JSON",
          .command_line_only = true),
    {.spec = OPTION_END},
};

const struct setting *settings_find(const char *name)
{
    for (const struct setting *s = settings_table; s->spec.name; s++) {
        if (strcmp(s->spec.name, name) == 0)
            return s;
    }
    return NULL;
}

const struct setting *settings_find_letter(char letter)
{
    for (const struct setting *s = settings_table; s->spec.name; s++) {
        if (s->letter == letter)
            return s;
    }
    return NULL;
}

void settings_init(struct settings *settings)
{
    *settings = (struct settings){.log_level = LOG_WARNING};
    machine_config_init(&settings->machine);
}

void settings_free(struct settings *settings)
{
    machine_config_free(&settings->machine);
    char **strings[] = {&settings->control, &settings->metrics, &settings->pidfile,
                        &settings->log_file, &settings->user};
    for (unsigned i = 0; i < ARRAY_SIZE(strings); i++) {
        free(*strings[i]);
        *strings[i] = NULL;
    }
}

int settings_fd(const char *text)
{
    uint64_t number;
    if (strncmp(text, "fd:", 3) != 0)
        return -1;
    return parse_u64(text + 3, &number) < 0 || number > INT32_MAX ? -EINVAL : (int)number;
}

int settings_check(struct settings *settings, struct kv_error *err)
{
    const struct {
        const char *name, *value;
    } sockets[] = {
        {"control", settings->control},
        {"metrics", settings->metrics},
        {"log-file", settings->log_file},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(sockets); i++) {
        const char *value = sockets[i].value;
        if (value && (!*value || settings_fd(value) == -EINVAL))
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                                "--%s: '%s' is neither a path nor fd:N with a descriptor's number",
                                sockets[i].name, value);
        for (unsigned j = 0; j < i; j++) {
            if (value && sockets[j].value && strcmp(value, sockets[j].value) == 0)
                return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                                    "--%s and --%s are both '%s'; each needs its own",
                                    sockets[j].name, sockets[i].name, value);
        }
    }
    if (settings->machine.paused && !settings->control)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "--paused: nobody could start the machine without --control");
    if (settings->user && settings->no_jail)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "--user says whom the jail runs as, --no-jail forbids a jail");
    settings->machine.jail = !settings->no_jail;
    return machine_config_check(&settings->machine, err);
}
