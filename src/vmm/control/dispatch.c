/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a request to its answer: the envelope, negotiation, the command's row,
 * its arguments by type, then the command. Messages are QEMU's where a client
 * could look at them.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "vmm/control/qmp_client.h"

static const char *const class_names[] = {
    [QMP_GENERIC_ERROR] = "GenericError",
    [QMP_COMMAND_NOT_FOUND] = "CommandNotFound",
    [QMP_DEVICE_NOT_FOUND] = "DeviceNotFound",
    [QMP_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
};

static const struct {
    const char *name;  /* in error messages */
    const char *shown; /* in descriptions */
} types[] = {
    [QMP_STRING] = {"string", "str"},    [QMP_INTEGER] = {"integer", "int"},
    [QMP_NUMBER] = {"number", "number"}, [QMP_BOOLEAN] = {"boolean", "bool"},
    [QMP_OBJECT] = {"object", "object"}, [QMP_ARRAY] = {"array", "array"},
    [QMP_ANY] = {"value", "any"},
};

json_t *qmp_done(void)
{
    return json_object();
}

json_t *qmp_fail(struct qmp_call *call, enum qmp_error_class class, const char *fmt, ...)
{
    call->error_class = class;
    call->error.code = EINVAL;
    call->error.domain = KV_ERR_CONTROL;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(call->error.message, sizeof(call->error.message), fmt, ap);
    va_end(ap);
    return NULL;
}

const char *qmp_string(const struct qmp_call *call, const char *name)
{
    return json_string_value(json_object_get(call->arguments, name));
}

bool qmp_integer(const struct qmp_call *call, const char *name, int64_t *out)
{
    const json_t *value = json_object_get(call->arguments, name);
    if (!value)
        return false;
    *out = json_integer_value(value);
    return true;
}

bool qmp_boolean(const struct qmp_call *call, const char *name, bool *out)
{
    const json_t *value = json_object_get(call->arguments, name);
    if (!value)
        return false;
    *out = json_is_true(value);
    return true;
}

const struct qmp_command *qmp_find_command(const struct qmp_server *server, const char *name)
{
    for (const struct qmp_command *const *table = server->commands; *table; table++) {
        for (const struct qmp_command *command = *table; command->name; command++) {
            if (strcmp(command->name, name) == 0)
                return command;
        }
    }
    return NULL;
}

json_t *qmp_describe_command(const struct qmp_command *command)
{
    json_t *arguments = json_array();
    for (const struct qmp_argument *a = command->arguments; a && a->name; a++) {
        json_t *row = json_pack("{s:s, s:s, s:b}", "name", a->name, "type", types[a->type].shown,
                                "optional", a->optional);
        for (const char *const *value = a->values; value && *value; value++) {
            if (value == a->values)
                json_object_set_new(row, "values", json_array());
            json_array_append_new(json_object_get(row, "values"), json_string(*value));
        }
        json_array_append_new(arguments, row);
    }
    json_t *out = json_pack("{s:s, s:s, s:o}", "name", command->name, "help", command->help,
                            "arguments", arguments);
    if (command->open)
        json_object_set_new(out, "open", json_true());
    return out;
}

static bool has_type(const json_t *value, enum qmp_type type)
{
    switch (type) {
    case QMP_STRING:
        return json_is_string(value);
    case QMP_INTEGER:
        return json_is_integer(value);
    case QMP_NUMBER:
        return json_is_number(value);
    case QMP_BOOLEAN:
        return json_is_boolean(value);
    case QMP_OBJECT:
        return json_is_object(value);
    case QMP_ARRAY:
        return json_is_array(value);
    case QMP_ANY:
        return true;
    }
    return false;
}

static int find_value(const char *const *values, const char *text)
{
    for (int i = 0; values[i]; i++) {
        if (strcmp(values[i], text) == 0)
            return i;
    }
    return -1;
}

static const struct qmp_argument *find_argument(const struct qmp_argument *specs, const char *name)
{
    for (const struct qmp_argument *a = specs; a && a->name; a++) {
        if (strcmp(a->name, name) == 0)
            return a;
    }
    return NULL;
}

int qmp_enum(const struct qmp_call *call, const char *name, int otherwise)
{
    const char *text = qmp_string(call, name);
    return text ? find_value(find_argument(call->specs, name)->values, text) : otherwise;
}

bool qmp_check_arguments(struct qmp_call *call)
{
    for (const struct qmp_argument *a = call->specs; a && a->name; a++) {
        const json_t *value = json_object_get(call->arguments, a->name);
        if (!value && !a->optional) {
            qmp_fail(call, QMP_GENERIC_ERROR, "Parameter '%s' is missing", a->name);
            return false;
        }
        if (value && !has_type(value, a->type)) {
            qmp_fail(call, QMP_GENERIC_ERROR, "Invalid parameter type for '%s', expected: %s",
                     a->name, types[a->type].name);
            return false;
        }
        if (value && a->values && find_value(a->values, json_string_value(value)) < 0) {
            qmp_fail(call, QMP_GENERIC_ERROR, "Parameter '%s' does not accept value '%.100s'",
                     a->name, json_string_value(value));
            return false;
        }
    }
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)call->arguments, name, value) {
        if (!find_argument(call->specs, name) && !(call->command && call->command->open)) {
            qmp_fail(call, QMP_GENERIC_ERROR, "Parameter '%.200s' is unexpected", name);
            return false;
        }
    }
    return true;
}

/* The envelope: {"execute": NAME, "arguments": {...}, "id": ANY}. Returns NAME. */
static const char *check_envelope(struct qmp_call *call, const json_t *request,
                                  const json_t **arguments)
{
    const char *name = NULL, *key;
    json_t *value;
    *arguments = NULL;
    if (!json_is_object(request)) {
        qmp_fail(call, QMP_GENERIC_ERROR, "QMP input must be a JSON object");
        return NULL;
    }
    json_object_foreach ((json_t *)request, key, value) {
        if (strcmp(key, "execute") == 0) {
            name = json_string_value(value);
            if (!name) {
                qmp_fail(call, QMP_GENERIC_ERROR, "QMP input member 'execute' must be a string");
                return NULL;
            }
        } else if (strcmp(key, "arguments") == 0) {
            if (!json_is_object(value)) {
                qmp_fail(call, QMP_GENERIC_ERROR, "QMP input member 'arguments' must be an object");
                return NULL;
            }
            *arguments = value;
        } else if (strcmp(key, "id") != 0) {
            qmp_fail(call, QMP_GENERIC_ERROR, "QMP input member '%.200s' is unexpected", key);
            return NULL;
        }
    }
    if (!name)
        qmp_fail(call, QMP_GENERIC_ERROR, "QMP input lacks member 'execute'");
    return name;
}

/* A cut message may end inside a character, which no JSON string can hold. */
static json_t *describe_error(struct qmp_call *call)
{
    json_t *desc = json_string(call->error.message);
    if (!desc) {
        for (char *c = call->error.message; *c; c++)
            *c = *c & 0x80 ? '?' : *c;
        desc = json_string(call->error.message);
    }
    return json_pack("{s:s, s:o}", "class", class_names[call->error_class], "desc", desc);
}

static json_t *run_request(struct qmp_call *call, const json_t *request)
{
    const json_t *arguments;
    const char *name = check_envelope(call, request, &arguments);
    if (!name)
        return NULL;
    if (!call->client->negotiated && strcmp(name, "qmp_capabilities") != 0)
        return qmp_fail(call, QMP_COMMAND_NOT_FOUND,
                        "Expecting capabilities negotiation with 'qmp_capabilities'");
    const struct qmp_command *command = qmp_find_command(call->server, name);
    if (!command)
        return qmp_fail(call, QMP_COMMAND_NOT_FOUND, "The command %.200s has not been found", name);

    json_t *none = arguments ? NULL : json_object();
    call->arguments = arguments ? arguments : none;
    call->command = command;
    call->specs = command->arguments;
    json_t *result = qmp_check_arguments(call) ? command->run(call) : NULL;
    json_decref(none);
    return result;
}

bool qmp_client_request(void *opaque, const json_t *request, const char *error)
{
    struct qmp_client *client = opaque;
    struct qmp_call call = {
        .server = client->server,
        .client = client,
        .machine = client->server->machine,
    };
    json_t *answer = json_object();
    json_t *result = NULL;
    if (error)
        qmp_fail(&call, QMP_GENERIC_ERROR, "%s", error);
    else
        result = run_request(&call, request);
    if (result)
        json_object_set_new(answer, "return", result);
    else
        json_object_set_new(answer, "error", describe_error(&call));
    json_t *id = json_is_object(request) ? json_object_get(request, "id") : NULL;
    if (id)
        json_object_set(answer, "id", id);
    qmp_client_send(client, answer);
    json_decref(answer);
    return !client->dead && client->out.len < CLIENT_OUT_PAUSE;
}
