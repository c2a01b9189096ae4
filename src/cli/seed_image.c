/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The image of a seed: ISO 9660 with Rock Ridge and Joliet, by libarchive, loaded on first use. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "base/library.h"
#include "cli/seed.h"

#define LABEL "cidata"
#define LABEL_AT (16 * 2048 + 40) /* in the primary volume descriptor (ECMA-119, 8.4.7) */

static struct {
    __typeof__(archive_write_new) *write_new;
    __typeof__(archive_write_set_format_iso9660) *set_format;
    __typeof__(archive_write_set_options) *set_options;
    __typeof__(archive_write_open_fd) *open_fd;
    __typeof__(archive_write_header) *header;
    __typeof__(archive_write_data) *data;
    __typeof__(archive_write_close) *close;
    __typeof__(archive_write_free) *free;
    __typeof__(archive_error_string) *error;
    __typeof__(archive_entry_new) *entry_new;
    __typeof__(archive_entry_free) *entry_free;
    __typeof__(archive_entry_set_pathname) *set_pathname;
    __typeof__(archive_entry_set_filetype) *set_filetype;
    __typeof__(archive_entry_set_perm) *set_perm;
    __typeof__(archive_entry_set_size) *set_size;
    __typeof__(archive_entry_set_mtime) *set_mtime;
} lib;

static const struct library_symbol symbols[] = {
    {"archive_write_new", &lib.write_new},
    {"archive_write_set_format_iso9660", &lib.set_format},
    {"archive_write_set_options", &lib.set_options},
    {"archive_write_open_fd", &lib.open_fd},
    {"archive_write_header", &lib.header},
    {"archive_write_data", &lib.data},
    {"archive_write_close", &lib.close},
    {"archive_write_free", &lib.free},
    {"archive_error_string", &lib.error},
    {"archive_entry_new", &lib.entry_new},
    {"archive_entry_free", &lib.entry_free},
    {"archive_entry_set_pathname", &lib.set_pathname},
    {"archive_entry_set_filetype", &lib.set_filetype},
    {"archive_entry_set_perm", &lib.set_perm},
    {"archive_entry_set_size", &lib.set_size},
    {"archive_entry_set_mtime", &lib.set_mtime},
    {NULL, NULL},
};
static struct library library =
    LIBRARY("libarchive.so.13", "libarchive13", "data for cloud-init", symbols);

static int add_file(struct archive *archive, const struct seed_file *file)
{
    struct archive_entry *entry = lib.entry_new();
    if (!entry)
        return ARCHIVE_FATAL;
    lib.set_pathname(entry, file->name);
    lib.set_filetype(entry, AE_IFREG);
    lib.set_perm(entry, 0444);
    lib.set_size(entry, (la_int64_t)file->len);
    lib.set_mtime(entry, time(NULL), 0);
    int r = lib.header(archive, entry);
    lib.entry_free(entry);
    if (r == ARCHIVE_OK && lib.data(archive, file->bytes, file->len) != (la_ssize_t)file->len)
        r = ARCHIVE_FATAL;
    return r;
}

/* libarchive writes the label in capital letters, as the standard wants them; older releases of
 * cloud-init look for small ones only. */
static int write_label(int fd)
{
    return pwrite(fd, LABEL, strlen(LABEL), LABEL_AT) == (ssize_t)strlen(LABEL) ? 0 : -1;
}

int seed_image_write(struct cli *cli, int fd, const struct seed_file *files, size_t count)
{
    struct kv_error err = {0};
    if (library_open(&library, &err) < 0)
        return cli_error(cli, "%s", err.message);
    struct archive *archive = lib.write_new();
    if (!archive)
        return cli_error(cli, "the seed for cloud-init: out of memory");
    int r = lib.set_format(archive);
    if (r == ARCHIVE_OK)
        r = lib.set_options(archive, "volume-id=" LABEL ",rockridge=useful,joliet");
    if (r == ARCHIVE_OK)
        r = lib.open_fd(archive, fd);
    for (size_t i = 0; r == ARCHIVE_OK && i < count; i++)
        if (files[i].bytes)
            r = add_file(archive, &files[i]);
    if (r == ARCHIVE_OK)
        r = lib.close(archive);
    if (r != ARCHIVE_OK) {
        const char *reason = lib.error(archive);
        cli_error(cli, "the seed for cloud-init: %s", reason ? reason : "out of memory");
    } else if (write_label(fd) < 0) {
        r = cli_error(cli, "the seed for cloud-init: %s", strerror(errno));
    }
    lib.free(archive);
    return r == ARCHIVE_OK ? 0 : -1;
}
