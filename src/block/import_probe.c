/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tells the images of other products by their first bytes; see import_probe.h. */
#include "block/import_probe.h"

#include <string.h>

#include "base/util.h"

int vdi_probe(const uint8_t *head, size_t len, const char *name)
{
    return len >= VDI_HEADER_SIZE && load_le(head + VDI_AT_SIGNATURE, 4) == VDI_SIGNATURE ? 100 : 0;
}

int vhdx_probe(const uint8_t *head, size_t len, const char *name)
{
    return len >= 8 && memcmp(head, VHDX_SIGNATURE, 8) == 0 ? 100 : 0;
}

bool vmdk_is_descriptor(const uint8_t *text, size_t len)
{
    static const char first[] = "version=";
    size_t at = 0;
    while (at < len &&
           (text[at] == '#' || text[at] == ' ' || text[at] == '\r' || text[at] == '\n')) {
        bool comment = text[at] == '#';
        while (comment && at < len && text[at] != '\n')
            at++;
        at += at < len;
    }
    size_t digit = at + sizeof(first) - 1;
    return digit + 1 < len && memcmp(text + at, first, sizeof(first) - 1) == 0 &&
           text[digit] >= '1' && text[digit] <= '3' &&
           (text[digit + 1] == '\r' || text[digit + 1] == '\n');
}

int vmdk_probe(const uint8_t *head, size_t len, const char *name)
{
    if (len >= 4 && (memcmp(head, VMDK_MAGIC, 4) == 0 || memcmp(head, VMDK_COWD_MAGIC, 4) == 0))
        return 100;
    return vmdk_is_descriptor(head, len) ? 100 : 0;
}

int vpc_probe(const uint8_t *head, size_t len, const char *name)
{
    return len >= VPC_FOOTER_SIZE && memcmp(head, VPC_COOKIE, 8) == 0 ? 100 : 0;
}
