/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices that come to a running machine and leave it. A driver is the name of a device's option
 * on the command line, with that option's options; descriptors are named as getfd did. What the
 * device has at the host's end comes and goes with it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/control/commands.h"
#include "vmm/machine/machine.h"
#include "vmm/pci/pci_hotplug.h"

#define FDS_MAX 128
#define PERIPHERAL "/machine/peripheral/"

/* What device_add puts together. */
struct plug {
    struct qmp_call *call;
    json_t *options;
    int fds[FDS_MAX]; /* taken from their names; the device's once it is created */
    unsigned fd_count;
};

static int take_named(struct plug *plug, const char *name)
{
    int fd = plug->fd_count < FDS_MAX ? qmp_fd_take(plug->call->server, name) : -1;
    if (fd < 0) {
        qmp_fail(plug->call, QMP_GENERIC_ERROR, "File descriptor named '%.100s' not found", name);
        return -1;
    }
    plug->fds[plug->fd_count++] = fd;
    return fd;
}

/* "a:b:c" becomes "7:8:9". */
static json_t *take_list(struct plug *plug, const char *names)
{
    char list[FDS_MAX * 12] = "";
    size_t len = 0;
    char *copy = strdup(names), *rest = copy;
    bool ok = copy;
    for (const char *name; ok && (name = strsep(&rest, ":"));) {
        int fd = take_named(plug, name);
        ok = fd >= 0;
        if (ok)
            len += (size_t)snprintf(list + len, sizeof(list) - len, len ? ":%d" : "%d", fd);
    }
    free(copy);
    return ok ? json_string(list) : NULL;
}

static json_t *take_value(struct plug *plug, const struct option_spec *spec, const char *text)
{
    if (spec->type == OPTION_FD) {
        int fd = take_named(plug, text);
        return fd < 0 ? NULL : json_integer(fd);
    }
    if (strncmp(text, "fd:", 3) == 0) {
        int fd = take_named(plug, text + 3);
        return fd < 0 ? NULL : json_sprintf("fd:%d", fd);
    }
    return take_list(plug, text);
}

/* Whether the value of an option names descriptors. */
static bool names_descriptors(const struct option_spec *spec, const char *text)
{
    return spec->type == OPTION_FD || strcmp(spec->name, "fds") == 0 ||
           strcmp(spec->name, "vhost-fds") == 0 || strncmp(text, "fd:", 3) == 0;
}

static bool take_descriptors(struct plug *plug, const struct option_spec *spec)
{
    for (; spec->name; spec++) {
        const char *text = json_string_value(json_object_get(plug->options, spec->name));
        if (!text || !names_descriptors(spec, text))
            continue;
        json_t *value = take_value(plug, spec, text);
        if (!value)
            return false;
        json_object_set_new(plug->options, spec->name, value);
    }
    return true;
}

static const struct device_class *find_class(struct qmp_call *call)
{
    const char *driver = qmp_string(call, "driver");
    const struct device_class *class = device_class_find(driver);
    if (!class)
        qmp_fail(call, QMP_GENERIC_ERROR, "'%.100s' is not a valid device model name", driver);
    else if (!class->plug_obstacle)
        qmp_fail(call, QMP_GENERIC_ERROR, "Device '%s' does not support hotplugging", driver);
    else if (!call->machine->platform.pci_hotplug)
        qmp_fail(call, QMP_GENERIC_ERROR, "the machine was started without --hotplug");
    else
        return class;
    return NULL;
}

static int create(struct plug *plug, const struct device_class *class, void *config)
{
    struct machine *machine = plug->call->machine;
    struct kv_error *err = &plug->call->error;
    int rc = options_parse_json(class->options, class->option, plug->options, config, err);
    const char *obstacle = rc == 0 ? class->plug_obstacle(config) : NULL;
    if (obstacle)
        rc = kv_error_set(err, KV_ERR_DEVICE, ENOTSUP,
                          "Device '%s' cannot be added to a running machine: %s", class->option,
                          obstacle);
    if (rc < 0)
        return rc;
    const struct list *last = machine->devices.prev;
    plug->fd_count = 0; /* also when it fails */
    rc = class->create(machine, config, err);
    for (struct list *node = last->next; rc == 0 && node != &machine->devices; node = node->next) {
        const struct pci_device *dev =
            pci_hotplug_find(machine, list_entry(node, struct device, node));
        if (dev)
            pci_hotplug_announce(machine, dev);
    }
    return rc;
}

static json_t *device_add(struct qmp_call *call)
{
    const struct device_class *class = find_class(call);
    if (!class)
        return NULL;
    struct plug plug = {.call = call, .options = json_deep_copy(call->arguments)};
    void *config = calloc(1, class->config_size);
    int rc = -EINVAL;
    if (!plug.options || !config) {
        qmp_fail(call, QMP_GENERIC_ERROR, "out of memory");
    } else {
        json_object_del(plug.options, "driver");
        if (class->defaults)
            class->defaults(config);
        if (take_descriptors(&plug, class->options))
            rc = create(&plug, class, config);
        options_free(class->options, config);
    }
    while (plug.fd_count)
        close(plug.fds[--plug.fd_count]);
    free(config);
    json_decref(plug.options);
    return rc < 0 ? NULL : qmp_done();
}

static json_t *device_del(struct qmp_call *call)
{
    const char *id = qmp_string(call, "id");
    bool force = false;
    qmp_boolean(call, "force", &force);
    if (strncmp(id, PERIPHERAL, strlen(PERIPHERAL)) == 0)
        id += strlen(PERIPHERAL);
    struct device *device = device_find(call->machine, id);
    if (!device)
        return qmp_fail(call, QMP_DEVICE_NOT_FOUND, "Device '%.100s' not found", id);
    struct pci_device *pci = pci_hotplug_find(call->machine, device);
    if (!pci)
        return qmp_fail(call, QMP_GENERIC_ERROR, "Device '%s' does not support hotplugging",
                        device->id);
    return pci_hotplug_remove(call->machine, pci, force, &call->error) < 0 ? NULL : qmp_done();
}

static json_t *refuse(struct qmp_call *call)
{
    return qmp_fail(call, QMP_GENERIC_ERROR, "%s is %s", call->command->name, call->command->help);
}

static const struct qmp_argument add_arguments[] = {
    {"driver", QMP_STRING},
    {"id", QMP_STRING, .optional = true},
    {NULL},
};
static const struct qmp_argument del_arguments[] = {
    {"id", QMP_STRING},
    {"force", QMP_BOOLEAN, .optional = true},
    {NULL},
};

const struct qmp_command qmp_device_commands[] = {
    {"device_add", "adds a device: its option's name and options, descriptors as getfd named them",
     device_add, add_arguments, .open = true},
    {"device_del", "asks the guest to let a device go; with force it leaves at once", device_del,
     del_arguments},
    {"netdev_add", "refused: device_add with driver 'net' brings its host's end", refuse,
     .open = true},
    {"chardev-add", "refused: a device brings its host's end", refuse, .open = true},
    {NULL},
};
