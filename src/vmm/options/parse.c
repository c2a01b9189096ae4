/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fills the settings in from the command line and from JSON documents. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "vmm/device.h"
#include "vmm/options/settings.h"

#define DOCUMENT_MAX MIB(16)

/* A value as text or as JSON; one of the two is set. */
struct value {
    const char *text;
    const json_t *json;
};

static int fill(const struct option_spec *fields, const char *what, const char *implied,
                const struct value *value, void *out, struct kv_error *err)
{
    if (value->json && json_is_string(value->json))
        return options_parse_text(fields, what, implied, json_string_value(value->json), out, err);
    if (value->json)
        return options_parse_json(fields, what, value->json, out, err);
    return options_parse_text(fields, what, implied, value->text, out, err);
}

static int add_numa(struct settings *settings, const char *what, const struct setting *row,
                    const struct value *value, struct kv_error *err)
{
    struct machine_config *machine = &settings->machine;
    if (machine->numa_count >= NUMA_NODES_MAX)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s: at most %d NUMA nodes are possible",
                            what, NUMA_NODES_MAX);
    return fill(row->fields, what, NULL, value, &machine->numa[machine->numa_count++], err);
}

static int add_device(struct settings *settings, const char *what, const struct device_class *class,
                      const struct value *value, struct kv_error *err)
{
    void *config = calloc(1, MAX(class->config_size, (size_t)1));
    if (!config)
        return kv_error_set(err, KV_ERR_CONFIG, ENOMEM, "%s: out of memory", what);
    if (class->defaults)
        class->defaults(config);
    int rc = fill(class->options, what, class->implied, value, config, err);
    if (rc < 0) {
        options_free(class->options, config);
        free(config);
        return rc;
    }
    return machine_config_add_device(&settings->machine, class, config, err);
}

static int set_value(struct settings *settings, const char *what, const struct setting *row,
                     const struct value *value, struct kv_error *err)
{
    if (value->json)
        return options_set_json(&row->spec, what, value->json, settings, err);
    return options_set_text(&row->spec, what, value->text, settings, err);
}

/* One option, or one element of a repeatable one. */
static int apply(struct settings *settings, const char *what, const struct setting *row,
                 const struct device_class *class, const struct value *value, struct kv_error *err)
{
    if (class)
        return add_device(settings, what, class, value, err);
    if (row->kind == SETTING_NUMA)
        return add_numa(settings, what, row, value, err);
    if (row->kind == SETTING_STRUCT)
        return fill(row->fields, what, row->implied, value, (char *)settings + row->spec.offset,
                    err);
    return set_value(settings, what, row, value, err);
}

static int refuse_unknown(const char *what, const char *dashes, const char *name,
                          struct kv_error *err)
{
    const char *nearest = settings_nearest(name);
    if (nearest)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "%s: unknown option '%s%s'; did you mean '%s%s'?", what, dashes, name,
                            dashes, nearest);
    return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                        "%s: unknown option '%s%s'; --help lists all options", what, dashes, name);
}

static int apply_json(struct settings *settings, const char *what, const char *name,
                      const json_t *json, struct kv_error *err)
{
    const struct setting *row = settings_find(name);
    const struct device_class *class = row ? NULL : device_class_find(name);
    if ((!row && !class) || (row && row->command_line_only))
        return refuse_unknown(what, "", name, err);
    char *where;
    if (asprintf(&where, "%s: %s", what, name) < 0)
        return kv_error_set(err, KV_ERR_CONFIG, ENOMEM, "%s: out of memory", what);
    cleanup_free char *owned = where;
    bool several = class || row->kind == SETTING_NUMA;
    if (!several || !json_is_array(json))
        return apply(settings, row && row->kind == SETTING_VALUE ? what : where, row, class,
                     &(struct value){.json = json}, err);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(json); i++)
        rc = apply(settings, where, row, class, &(struct value){.json = json_array_get(json, i)},
                   err);
    return rc;
}

int settings_parse_json(struct settings *settings, const char *what, const json_t *document,
                        struct kv_error *err)
{
    const char *name;
    json_t *value;
    int rc = 0;
    if (!json_is_object(document))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s: expected a JSON object", what);
    json_object_foreach ((json_t *)document, name, value) {
        rc = apply_json(settings, what, name, value, err);
        if (rc < 0)
            break;
    }
    return rc;
}

static int read_document(const char *path, struct buffer *out, struct kv_error *err)
{
    bool standard_input = strcmp(path, "-") == 0;
    int fd = standard_input ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    cleanup_fd int owned = fd;
    if (fd < 0)
        return kv_error_errno(err, KV_ERR_CONFIG, errno, "--config: '%s'", path);
    char bytes[4096];
    ssize_t n;
    while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
        if (buffer_append(out, bytes, (size_t)n) < 0)
            return kv_error_set(err, KV_ERR_CONFIG, EFBIG, "--config: '%s' is larger than 16 MiB",
                                path);
    }
    if (n < 0)
        return kv_error_errno(err, KV_ERR_CONFIG, errno, "--config: '%s'", path);
    return 0;
}

static int apply_file(struct settings *settings, const char *path, struct kv_error *err)
{
    struct buffer text = BUFFER_INIT(DOCUMENT_MAX);
    int rc = read_document(path, &text, err);
    if (rc == 0) {
        json_error_t where;
        json_t *document =
            json_loadb((char *)buffer_bytes(&text), text.len, JSON_REJECT_DUPLICATES, &where);
        rc = document ? settings_parse_json(settings, path, document, err)
                      : kv_error_set(err, KV_ERR_CONFIG, EINVAL, "%s: line %d: %s", path,
                                     where.line, where.text);
        json_decref(document);
    }
    buffer_free(&text);
    return rc;
}

/* One option of the command line, cut into its parts. */
struct word {
    const char *value; /* NULL: none */
    const struct setting *row;
    const struct device_class *class;
};

static bool is_flag(const struct setting *row)
{
    return row && row->kind == SETTING_VALUE && row->spec.type == OPTION_BOOL;
}

static int find_word(const char *arg, char *name, size_t name_size, struct word *word,
                     struct kv_error *err)
{
    *word = (struct word){.value = NULL};
    if (arg[0] == '-' && arg[1] && arg[1] != '-' && !arg[2]) {
        word->row = settings_find_letter(arg[1]);
        if (word->row)
            return 0;
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "command line: unknown option '%s'; --help lists all options", arg);
    }
    if (strncmp(arg, "--", 2) != 0 || !arg[2])
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "command line: '%s' is no option; options begin with --", arg);
    const char *equals = strchr(arg, '=');
    size_t len = equals ? (size_t)(equals - arg) - 2 : strlen(arg) - 2;
    if (len >= name_size)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "command line: unknown option '%.100s'; --help lists all options", arg);
    memcpy(name, arg + 2, len);
    name[len] = '\0';
    word->value = equals ? equals + 1 : NULL;
    word->row = settings_find(name);
    word->class = word->row ? NULL : device_class_find(name);
    return word->row || word->class ? 0 : refuse_unknown("command line", "--", name, err);
}

struct command_line {
    struct settings *settings;
    int argc;
    char **argv;
    uint64_t seen; /* rows of the table; those that are no lists may be given once */
};

/* Calls fn for every option, with its value. */
static int each_word(struct command_line *line,
                     int (*fn)(struct command_line *line, const struct word *word,
                               struct kv_error *err),
                     struct kv_error *err)
{
    struct settings *settings = line->settings;
    int argc = line->argc;
    char **argv = line->argv;
    for (int i = 1; i < argc; i++) {
        char name[64];
        struct word word;
        int rc = find_word(argv[i], name, sizeof(name), &word, err);
        if (rc < 0)
            return rc;
        if (word.row && word.row->spec.offset == offsetof(struct settings, help) &&
            is_flag(word.row)) {
            settings->help = true;
            settings->help_topic = word.value ? word.value : argv[i + 1];
            return 0; /* what follows is the topic */
        }
        if (!word.value && is_flag(word.row))
            word.value = "on";
        else if (!word.value && ++i < argc)
            word.value = argv[i];
        if (!word.value)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "command line: '--%s' needs a value",
                                word.row ? word.row->spec.name : word.class->option);
        rc = fn(line, &word, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int apply_config(struct command_line *line, const struct word *word, struct kv_error *err)
{
    if (!word->row || word->row->kind != SETTING_CONFIG)
        return 0;
    return apply_file(line->settings, word->value, err);
}

static int apply_word(struct command_line *line, const struct word *word, struct kv_error *err)
{
    const struct setting *row = word->row;
    char what[80];
    if (row && row->kind == SETTING_CONFIG)
        return 0;
    if (row && row->kind != SETTING_NUMA) {
        uint64_t bit = BIT(row - settings_table);
        if (line->seen & bit)
            return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "command line: '--%s' is given twice",
                                row->spec.name);
        line->seen |= bit;
    }
    if (row && row->kind == SETTING_VALUE)
        snprintf(what, sizeof(what), "command line");
    else
        snprintf(what, sizeof(what), "--%s", row ? row->spec.name : word->class->option);
    return apply(line->settings, what, row, word->class, &(struct value){.text = word->value}, err);
}

int settings_parse(struct settings *settings, int argc, char **argv, struct kv_error *err)
{
    struct command_line line = {.settings = settings, .argc = argc, .argv = argv};
    int rc = each_word(&line, apply_config, err);
    if (rc == 0 && !settings->help)
        rc = each_word(&line, apply_word, err);
    return rc;
}
