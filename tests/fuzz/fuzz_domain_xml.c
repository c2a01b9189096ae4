/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Domains' documents from clients (src/model/domain.h): read in each way, changed, written, and
 * what was written is read again and must be the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/domain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool good)
{
    if (!good)
        abort();
}

static void change(struct model_domain *d, const char *xml, size_t len)
{
    struct kv_error err;
    struct model_device *device;
    if (model_domain_set_id(d, 1, &err) == 0) {
        for (unsigned i = 0; i < d->device_count; i++)
            expect(d->devices[i]->alias != NULL);
        if (d->serial_count)
            model_chardev_set_path(d, &d->serials[0], "/dev/pts/0");
        if (d->nic_count)
            model_nic_set_target(d, &d->nics[0], "vnet0");
    }
    free(model_domain_format(d, MODEL_FORMAT_INACTIVE | MODEL_FORMAT_UPDATE_CPU));
    model_domain_attach(d, xml, len, &device, &err);
    if (model_domain_find(d, xml, len, &device, &err) == 0)
        model_domain_detach(d, device, &err);
    model_domain_set_metadata(d, 2, "<a/>", "k", "urn:u", &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *xml = (const char *)data;
    struct kv_error err;
    struct model_domain *d, *again;
    /* Behind a zero byte: a device's XML. */
    const char *zero = size ? memchr(data, 0, size) : NULL;
    size_t len = zero ? (size_t)(zero - xml) : size;
    if (model_domain_parse(&d, NULL, xml, len, MODEL_PARSE_STORED, &err) == 0) {
        struct model_domain *copy = model_domain_copy(d);
        expect(copy != NULL);
        model_domain_free(copy);
        model_domain_free(d);
    }
    if (model_domain_parse(&d, NULL, xml, len, MODEL_PARSE_INACTIVE, &err) < 0)
        return 0;
    char *text = model_domain_format(d, 0);
    expect(text != NULL);
    expect(model_domain_parse(&again, NULL, text, strlen(text), MODEL_PARSE_INACTIVE, &err) == 0);
    char *second = model_domain_format(again, 0);
    expect(second && strcmp(text, second) == 0);
    free(second);
    free(text);
    model_domain_free(again);
    if (zero)
        change(d, zero + 1, size - len - 1);
    model_domain_free(d);
    return 0;
}
