/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: options as text and as JSON, for a table with every type and
 * for the settings with all devices. The first byte says how the rest is
 * read. What was taken must lie within what the table accepts.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "require.h"
#include "vmm/options/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WORDS_MAX 32

struct all {
    char *text, *path;
    bool flag;
    uint64_t number, bytes, any;
    int choice, fd;
    uint8_t mac[6];
};

static const char *const choices[] = {"none", "some", "all", NULL};

static const struct option_spec table[] = {
    OPTION(STRING, struct all, text, .required = true),
    OPTION_NAMED("the-path", STRING, struct all, path),
    OPTION(BOOL, struct all, flag),
    OPTION(UINT, struct all, number, .min = 3, .max = 300),
    OPTION(SIZE, struct all, bytes, .min = 512, .max = GIB(4)),
    OPTION(SIZE, struct all, any),
    OPTION(ENUM, struct all, choice, .values = choices),
    OPTION(MAC, struct all, mac),
    OPTION(FD, struct all, fd),
    OPTION_END,
};

static void fields(const char *text, const json_t *json)
{
    struct all all = {.number = 3, .bytes = 512};
    struct kv_error err = {0};
    int rc = json ? options_parse_json(table, "--all", json, &all, &err)
                  : options_parse_text(table, "--all", "text", text, &all, &err);
    require(rc == 0 ? all.text != NULL : err.code && err.message[0]);
    require(all.number >= 3 && all.number <= 300);
    require(all.bytes >= 512 && all.bytes <= GIB(4));
    require(all.choice >= 0 && all.choice < 3 && all.fd >= 0);
    options_free(table, &all);
}

/* Words are lines. */
static void command_line(char *text)
{
    char *argv[WORDS_MAX + 1] = {(char *)"kvasir-vmm"}, *save = NULL;
    struct settings settings;
    struct kv_error err = {0};
    int argc = 1;
    for (char *word = strtok_r(text, "\n", &save); word && argc < WORDS_MAX;
         word = strtok_r(NULL, "\n", &save)) {
        if (strncmp(word, "--config", 8) == 0) /* it reads files */
            continue;
        argv[argc++] = word;
    }
    settings_init(&settings);
    int rc = settings_parse(&settings, argc, argv, &err);
    if (rc == 0 && !settings.help)
        rc = settings_check(&settings, &err);
    require(rc == 0 || (err.code && err.message[0]));
    settings_free(&settings);
}

static void document(const json_t *json)
{
    struct settings settings;
    struct kv_error err = {0};
    settings_init(&settings);
    int rc = settings_parse_json(&settings, "document", json, &err);
    if (rc == 0)
        rc = settings_check(&settings, &err);
    require(rc == 0 || (err.code && err.message[0]));
    settings_free(&settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *text = strndup((const char *)data + 1, size - 1);
    json_t *json = data[0] & 2 ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    switch (data[0] & 3) {
    case 0:
        fields(text, NULL);
        break;
    case 1:
        command_line(text);
        break;
    case 2:
        if (json)
            fields(NULL, json);
        break;
    default:
        if (json)
            document(json);
    }
    json_decref(json);
    free(text);
    return 0;
}
