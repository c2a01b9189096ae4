/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: bytes of a control client through framing, JSON, the envelope
 * and argument checks, with a table of commands that has every type of
 * argument. However the bytes are cut into pieces, the answers must be the
 * same, each must be a JSON object with either a result or an error, and no
 * result without negotiation.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "vmm/control/qmp_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *capabilities(struct qmp_call *call)
{
    qmp_negotiate(call->client);
    return qmp_done();
}

/* Reads all arguments, as commands do. */
static json_t *everything(struct qmp_call *call)
{
    int64_t number = 0;
    bool flag = false;
    const char *text = qmp_string(call, "s");
    qmp_integer(call, "i", &number);
    qmp_boolean(call, "b", &flag);
    if (flag)
        return qmp_fail(call, QMP_DEVICE_NOT_FOUND, "Device '%.100s' not found", text);
    return json_pack("{s:s, s:I, s:O}", "s", text, "i", (json_int_t)number, "a", call->arguments);
}

static const struct qmp_argument arguments[] = {
    {"s", QMP_STRING},
    {"i", QMP_INTEGER, .optional = true},
    {"n", QMP_NUMBER, .optional = true},
    {"b", QMP_BOOLEAN, .optional = true},
    {"o", QMP_OBJECT, .optional = true},
    {"l", QMP_ARRAY, .optional = true},
    {"x", QMP_ANY, .optional = true},
    {NULL},
};
static const struct qmp_command commands[] = {
    {"qmp_capabilities", "", capabilities},
    {"all", "", everything, arguments},
    {NULL},
};
static const struct qmp_command *const tables[] = {commands, NULL};
static const struct qmp_event events[] = {{NULL}};

static void run(struct qmp_client *client, struct qmp_server *server, const uint8_t *data,
                size_t size, size_t piece)
{
    *client = (struct qmp_client){.server = server, .fd = -1, .out = BUFFER_INIT(CLIENT_OUT_MAX)};
    json_stream_init(&client->in);
    for (size_t pos = 0; pos < size && !client->dead;) {
        size_t len = size - pos < piece ? size - pos : piece;
        size_t used = 0;
        while (used < len && !client->dead)
            used += json_stream_feed(&client->in, (const char *)data + pos + used, len - used,
                                     qmp_client_request, client);
        pos += len;
    }
    json_stream_free(&client->in);
}

static void check_answers(const struct qmp_client *client)
{
    const char *text = (const char *)buffer_bytes(&client->out);
    size_t left = client->out.len;
    bool negotiated = false;
    while (left) {
        const char *end = memmem(text, left, "\r\n", 2);
        if (!end)
            abort();
        json_t *answer = json_loadb(text, (size_t)(end - text), 0, NULL);
        const json_t *result = json_object_get(answer, "return");
        const json_t *error = json_object_get(answer, "error");
        if (!answer || !result == !error)
            abort();
        if (error && (!json_string_value(json_object_get(error, "class")) ||
                      !json_string_value(json_object_get(error, "desc"))))
            abort();
        negotiated |= result && json_object_size(result) == 0;
        if (result && !negotiated)
            abort();
        json_decref(answer);
        left -= (size_t)(end + 2 - text);
        text = end + 2;
    }
}

/* Half of the inputs are sequences of words, so that requests that make sense occur. */
static const char *const words[] = {
    "{\"execute\":\"all\",\"arguments\":{\"s\":\"",
    "{\"execute\":\"qmp_capabilities\"}",
    "{\"execute\":",
    "\"arguments\":{",
    "\"id\":",
    "\"s\":",
    "\"i\":",
    "\"n\":",
    "\"b\":true",
    "\"o\":{",
    "\"l\":[",
    "\"x\":",
    "\"all\"",
    "{",
    "}",
    "}}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\xff",
    "\n",
    " ",
    "12345678901234567890",
    "-1.5e3",
    "null",
};

static size_t spell(const uint8_t *data, size_t size, uint8_t *out, size_t out_size)
{
    size_t len = 0;
    for (size_t i = 0; i < size; i++) {
        const char *word = words[data[i] % ARRAY_SIZE(words)];
        size_t n = strlen(word);
        if (n > out_size - len)
            break;
        memcpy(out + len, word, n);
        len += n;
    }
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t spelled[1 << 16];
    static struct qmp_server server;
    struct qmp_client whole, cut;
    struct kv_error err;
    if (!server.commands)
        qmp_server_init(&server, NULL, NULL, tables, events, -1, &err);
    size_t piece = size ? data[0] % 16 + 1u : 1;
    if (size && data[0] & 0x80) {
        size = spell(data + 1, size - 1, spelled, sizeof(spelled));
        data = spelled;
    }
    run(&whole, &server, data, size, SIZE_MAX);
    run(&cut, &server, data, size, piece);
    if (whole.out.len != cut.out.len ||
        (whole.out.len && memcmp(buffer_bytes(&whole.out), buffer_bytes(&cut.out), whole.out.len)))
        abort();
    if (!whole.dead)
        check_answers(&whole);
    buffer_free(&whole.out);
    buffer_free(&cut.out);
    return 0;
}
