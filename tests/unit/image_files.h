/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A folder for image files, and the distribution's qemu-img to make them. */
#ifndef KV_TESTS_IMAGE_FILES_H
#define KV_TESTS_IMAGE_FILES_H

#include <stdbool.h>
#include <stddef.h>

/* False: no qemu-img here; the test program ends with 77, which means skipped. */
bool image_tools_are_there(void);
int image_setup(void);
/* Removes the folder with all that is in it. */
void image_teardown(void);
/* A file in the folder; good until eight more were asked for. */
const char *image_path(const char *name);
void image_write(const char *name, const void *bytes, size_t len);
/* A shell command, which must succeed. */
void image_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* What it writes; free() it. */
char *image_output(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
