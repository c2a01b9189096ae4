/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes with libvirt's units; see size.h. */
#include "model/size.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "model/api_error.h"

int size_scale(const char *unit, uint64_t value, uint64_t *bytes, struct kv_error *err)
{
    static const char letters[] = "kmgtpe";
    uint64_t scale = 1;
    bool bare = !unit || !*unit || strcasecmp(unit, "b") == 0 || strcasecmp(unit, "bytes") == 0 ||
                strcasecmp(unit, "byte") == 0;
    if (!bare) {
        const char *letter = strchr(letters, tolower((unsigned char)*unit));
        bool binary = !unit[1] || strcasecmp(unit + 1, "ib") == 0;
        if (!letter || !*letter || (!binary && strcasecmp(unit + 1, "b") != 0))
            return api_error_from(err, VIR_FROM_NONE, VIR_ERR_INVALID_ARG, "unknown suffix '%s'",
                                  unit);
        for (const char *p = letters; p <= letter; p++)
            scale *= binary ? 1024 : 1000;
    }
    if (value > INT64_MAX / scale)
        return api_error_from(err, VIR_FROM_NONE, VIR_ERR_OVERFLOW, "value too large: %ju%s",
                              (uintmax_t)value, unit ? unit : "");
    *bytes = value * scale;
    return 0;
}
