/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See image_files.h. */
#include "image_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

static char folder[] = "/tmp/kvasir-images-XXXXXX";

bool image_tools_are_there(void)
{
    return system("qemu-img --version >/dev/null 2>&1") == 0;
}

int image_setup(void)
{
    return mkdtemp(folder) ? 0 : -1;
}

void image_teardown(void)
{
    image_run("rm -rf %s", folder);
}

const char *image_path(const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

void image_write(const char *name, const void *bytes, size_t len)
{
    FILE *f = fopen(image_path(name), "we");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

void image_run(const char *fmt, ...)
{
    char command[2048] = "exec >/dev/null; ";
    size_t at = strlen(command);
    va_list args;
    va_start(args, fmt);
    vsnprintf(command + at, sizeof(command) - at, fmt, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

char *image_output(const char *fmt, ...)
{
    char command[2048], *text = NULL;
    size_t len = 0;
    va_list args;
    va_start(args, fmt);
    vsnprintf(command, sizeof(command), fmt, args);
    va_end(args);
    FILE *from = popen(command, "re"), *to = open_memstream(&text, &len);
    assert_non_null(from);
    for (int c = fgetc(from); c != EOF; c = fgetc(from))
        fputc(c, to);
    fclose(to);
    assert_int_equal(pclose(from), 0);
    return text;
}
