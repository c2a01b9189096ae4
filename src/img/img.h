/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvasir-img inside: disk images from the shell, with the commands, options and
 * words of qemu-img 7.2. A command is a row of img_commands (commands.c): its
 * options are a table of its own, from which parsing, --help and the manual
 * page come. Everything runs on the main thread; messages go to stderr behind
 * the program's name, results to stdout.
 */
#ifndef KV_IMG_IMG_H
#define KV_IMG_IMG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "block/block.h"
#include "block/driver.h"

enum {
    IMG_OK = 0,
    IMG_FAILED = 1,
    /* check */
    IMG_CHECK_CORRUPT = 2,
    IMG_CHECK_LEAKS = 3,
    IMG_CHECK_UNSUPPORTED = 63,
    /* compare */
    IMG_COMPARE_DIFFERENT = 1,
    IMG_COMPARE_NOT_OPENED = 2,
    IMG_COMPARE_STATUS_FAILED = 3,
    IMG_COMPARE_READ_FAILED = 4,
};

/* ------------------------------------------------------- commands, options */

struct img_option {
    char letter;      /* 0: none */
    const char *name; /* behind "--"; NULL: none */
    enum {
        IMG_FLAG, /* bool */
        IMG_TEXT, /* const char *: the last one counts */
        IMG_LIST, /* struct img_list: all, in their order, with the option's letter or name */
    } kind;
    size_t offset;     /* of the field in the command's arguments */
    const char *value; /* what the value is called; NULL: takes none */
    const char *help;
};

struct img_item {
    const struct img_option *option;
    const char *value; /* NULL: the option takes none */
};

struct img_list {
    struct img_item *items; /* allocated */
    unsigned count;
};

/* What many commands have; the first member of each command's arguments. */
struct img_args {
    bool quiet, progress, force_share, image_opts;
    const char *format, *cache, *source_cache, *output;
    struct img_list objects;
};

struct img_command {
    const char *name, *operands, *help;
    const struct img_option *options; /* NULL help at the end */
    size_t args_size;
    /* The exit status. operands: what is no option. */
    int (*run)(void *args, char **operands, unsigned count);
};

extern const struct img_command *const img_commands[]; /* NULL at the end */

#define IMG_OPTION(letter_, name_, kind_, type_, field_, value_, help_)                            \
    {                                                                                              \
        .letter = letter_, .name = name_, .kind = kind_, .offset = offsetof(struct type_, field_), \
        .value = value_, .help = help_,                                                            \
    }
#define IMG_FORMAT(letter_, type_)                                 \
    IMG_OPTION(letter_, NULL, IMG_TEXT, type_, args.format, "FMT", \
               "format of the image (default: found by its content)")
#define IMG_FORMAT_LONG(type_)                                     \
    IMG_OPTION('f', "format", IMG_TEXT, type_, args.format, "FMT", \
               "format of the image (default: found by its content)")
#define IMG_QUIET(type_) \
    IMG_OPTION('q', NULL, IMG_FLAG, type_, args.quiet, NULL, "print nothing but errors")
#define IMG_PROGRESS(type_) \
    IMG_OPTION('p', NULL, IMG_FLAG, type_, args.progress, NULL, "show progress")
#define IMG_SHARE(type_)                                                    \
    IMG_OPTION('U', "force-share", IMG_FLAG, type_, args.force_share, NULL, \
               "look at images that others write to")
#define IMG_OBJECT(type_)                                               \
    IMG_OPTION(0, "object", IMG_LIST, type_, args.objects, "OBJECTDEF", \
               "a secret that options refer to: secret,id=ID,data=TEXT or file=PATH")
#define IMG_IMAGE_OPTS(type_)                                           \
    IMG_OPTION(0, "image-opts", IMG_FLAG, type_, args.image_opts, NULL, \
               "file names are descriptions: driver=qcow2,file.filename=PATH")
#define IMG_CACHE(type_, help_) IMG_OPTION('t', NULL, IMG_TEXT, type_, args.cache, "CACHE", help_)
#define IMG_SOURCE_CACHE(type_) \
    IMG_OPTION('T', NULL, IMG_TEXT, type_, args.source_cache, "CACHE", "cache mode for reading")
#define IMG_OUTPUT(type_) \
    IMG_OPTION(0, "output", IMG_TEXT, type_, args.output, "human|json", "how results are printed")
#define IMG_OPTIONS_END \
    {                   \
        .help = NULL    \
    }

/* Parses and runs argv[0] with its arguments. */
int img_run(const struct img_command *command, int argc, char **argv);
/* The names of an option, such as "-f, --format FMT". */
void img_option_names(char *text, size_t size, const struct img_option *option);
void img_print_command_help(const struct img_command *command, FILE *to);

extern const struct img_command img_amend, img_bench, img_bitmap, img_check, img_commit,
    img_compare, img_convert, img_create, img_dd, img_info, img_map, img_measure, img_nbd,
    img_rebase, img_resize, img_snapshot;

/* ---------------------------------------------------------------- messages */

extern const char *img_program; /* as it was called */

/* "PROGRAM: text" and a line's end to stderr. Returns IMG_FAILED. */
int img_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void img_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, with the hint at --help. */
int img_usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "0 B", "1.5 MiB": three digits. */
void img_size_text(char *text, size_t size, uint64_t bytes);

/* JSON and human output of an object of answers, as qemu-img lays them out. */
void img_print_json(const json_t *value);
void img_print_human(const json_t *value, unsigned indent);
/* 0, or -EINVAL after a message: --output is neither. */
int img_parse_output(const struct img_args *args, bool *json);

/* Progress in percent, rewritten in place; silent unless enabled. */
struct img_progress {
    bool enabled;
    double shown;
};
void img_progress_begin(struct img_progress *progress, const struct img_args *args);
void img_progress_update(struct img_progress *progress, uint64_t done, uint64_t total);
void img_progress_end(struct img_progress *progress);

/* ------------------------------------------------------------------ values */

/* A size with a suffix; what names it in the message. 0 or -errno after the message. */
int img_parse_size(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *out);
/* On a wrong mode: message with what ("cache", "source cache"), -EINVAL. text NULL: *out stays. */
int img_parse_cache(const char *what, const char *text, enum block_cache *out);

/* ------------------------------------------------------------------ images */

struct img_open {
    const char *name;
    const char *format;
    bool image_opts, writable, no_backing, check, quiet;
    bool share;    /* -U: look whoever uses it */
    bool share_rw; /* this program opens it a second time */
    enum block_cache cache;
    enum block_aio aio;
    bool keep_discarded; /* discards give no space back */
    bool no_io;          /* only asked about: no key is needed */
    /* Of a new image, by the names of their options; NULL: not encrypted. */
    const char *key_secret, *encrypt_key_secret;
};

/* Opens with qemu-img's words on failure. NULL after the message. */
struct block_node *img_open_image(const struct img_open *how);
/* From the arguments that all commands have, for reading. */
struct img_open img_open_from(const struct img_args *args, const char *name);
/* Closes, frees; NULL is fine. */
static inline void img_close_fn(struct block_node **node)
{
    block_close(*node);
}
#define cleanup_image __attribute__((cleanup(img_close_fn), unused))

/* Registers the objects of --object. 0 or -EINVAL after a message. */
int img_add_objects(const struct img_list *objects);

/* --------------------------------------------------------- creation options */

struct img_create_options {
    const struct block_driver *driver;
    struct img_pair {
        char *name, *value;
    } * pairs; /* allocated; in the order given */
    unsigned count;
    bool help; /* "help" or "?" was among them */
};

/* Splits the "name=value,..." texts of -o. 0 or -EINVAL after a message (behind prefix, which may
 * be NULL). */
int img_split_options(struct img_create_options *options, const struct img_list *texts,
                      const char *prefix);
/* Adds or replaces. */
void img_set_option(struct img_create_options *options, const char *name, const char *value);
/* NULL: not given. */
const char *img_get_option(const struct img_create_options *options, const char *name);
/* Every name is one of the driver's. */
int img_check_options(const struct img_create_options *options, const char *prefix);
/* The driver's creation options, one a line. */
void img_print_options(const struct block_driver *driver, bool with_protocol);
/* The line "Formatting '...', fmt=...". */
void img_print_formatting(const struct img_create_options *options, const char *path);
/* Into a new config of the driver; free with img_free_config(). */
int img_make_config(const struct img_create_options *options, void **config, struct kv_error *err);
void img_free_config(const struct block_driver *driver, void *config);
void img_free_options(struct img_create_options *options);

/* ----------------------------------------------------- shared by commands */

/* The list of snapshots as info and snapshot -l print it; nothing when there are none. */
int img_print_snapshots(struct block_node *node);
/* "snapshot.id=ID,snapshot.name=NAME" or a name. 0 or -errno after a message. */
int img_load_snapshot(struct block_node *node, const char *param);
/* Copies the persistent bitmaps of source to target. 0 or -errno after a message. */
int img_copy_bitmaps(struct block_node *source, struct block_node *target, bool skip_broken);

#endif
