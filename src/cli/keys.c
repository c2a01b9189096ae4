/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys of the Linux input layer by name; other sets by number. */
#include "cli/keys.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

static const struct {
    char name[28];
    int code;
} keys[] = {
#define KEY(name) {#name, name},
#include "cli/key_names.h"
#undef KEY
};

int key_set(const char *name)
{
    static const char *const sets[] = {"linux", "xt",     "atset1", "atset2", "atset3",
                                       "os_x",  "xt_kbd", "usb",    "win32",  "qnum"};
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
        if (strcmp(sets[i], name) == 0)
            return (int)i;
    return strcmp(name, "rfb") == 0 ? (int)ARRAY_SIZE(sets) - 1 : -1;
}

int key_code(int set, const char *text)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 0);
    if (!errno && end != text && !*end && number <= 0xffff)
        return (int)number;
    for (size_t i = 0; set == 0 && i < ARRAY_SIZE(keys); i++)
        if (strcmp(keys[i].name, text) == 0)
            return keys[i].code;
    return -1;
}
