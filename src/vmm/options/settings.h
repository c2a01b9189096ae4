/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything that kvasir-vmm is told: the machine and how the process around
 * it behaves. One table (settings.c) describes the options; the command line
 * and the configuration file (JSON, same names) are two ways to fill them in.
 */
#ifndef KV_VMM_OPTIONS_SETTINGS_H
#define KV_VMM_OPTIONS_SETTINGS_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"
#include "base/log.h"
#include "base/options.h"
#include "vmm/machine/config.h"

struct settings {
    struct machine_config machine;
    char *control, *metrics; /* path, or "fd:N" for a listening socket */
    char *pidfile;
    char *log_file; /* path, or "fd:N" */
    char *user;     /* "NAME" or "UID[:GID]", whom the jailed process runs as */
    int log_level;  /* enum log_level */
    bool no_jail;
    /* Not about a machine: */
    bool help, version, dump_qmp;
    const char *help_topic; /* of --help; points into argv */
};

enum settings_section {
    SECTION_MACHINE,
    SECTION_BOOT,
    SECTION_BEHAVIOUR,
    SECTION_PROCESS,
    SECTION_INFORMATION,
};

enum settings_kind {
    SETTING_VALUE,  /* one value: spec says where */
    SETTING_STRUCT, /* "key=value,..." into the struct at spec.offset */
    SETTING_NUMA,   /* repeatable: appends to machine.numa */
    SETTING_CONFIG, /* --config: read first */
};

struct setting {
    struct option_spec spec;
    enum settings_kind kind;
    enum settings_section section;
    char letter;                      /* one-letter form, or 0 */
    const char *shape;                /* of the value, in help; NULL: from the type */
    const struct option_spec *fields; /* STRUCT, NUMA */
    const char *implied;              /* STRUCT: field of a bare first value */
    bool command_line_only;
};

extern const struct setting settings_table[]; /* a name of NULL ends it */

const struct setting *settings_find(const char *name);
const struct setting *settings_find_letter(char letter);

void settings_init(struct settings *settings);
void settings_free(struct settings *settings);

/* Reads the command line and the configuration files it names; the command line adds to and
 * overrides what they say. -EINVAL with err filled. */
int settings_parse(struct settings *settings, int argc, char **argv, struct kv_error *err);

/* A configuration document; what names it in messages. */
int settings_parse_json(struct settings *settings, const char *what, const json_t *document,
                        struct kv_error *err);

/* What no single option shows; includes machine_config_check(). */
int settings_check(struct settings *settings, struct kv_error *err);

/* All options, or one option or kind of device in detail. -ENOENT for an unknown topic. */
int settings_help(const char *topic, FILE *to);

/* For whoever lists them otherwise: titles by section (Devices come after Boot), and an option's
 * names with the shape of its value, indented, such as "  -S, --paused". */
extern const char *const settings_section_titles[];
void settings_names(char *out, size_t size, const struct setting *row);

/* The known option (devices included) that looks most like name, or NULL. */
const char *settings_nearest(const char *name);

/* "fd:N": returns N; -1 when the text is something else, -EINVAL when N is no number. */
int settings_fd(const char *text);

#endif
