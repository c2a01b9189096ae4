/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a guest is told of its maker and parts: texts of the domain's <sysinfo>, or the host's. */
#include <libvirt/virterror.h>

#include "daemon/machine/config.h"
#include "daemon/machine/dmi.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

#define SMBIOS_OEM_STRINGS 11

/* All but the UUID, which is the domain's. */
static json_t *host_options(void)
{
    json_t *list = json_array();
    char text[DMI_TEXT_MAX];
    for (int i = 0; i < DMI_SECTIONS; i++) {
        json_t *texts = json_pack("{s:i}", "type", i);
        for (const struct dmi_entry *entry = dmi_sections[i].entries; entry->name; entry++) {
            if (strcmp(entry->name, "uuid") != 0 && dmi_read(entry, text, sizeof(text)))
                json_object_set_new(texts, entry->name, json_string(text));
        }
        if (json_object_size(texts) > 1)
            json_array_append(list, texts);
        json_decref(texts);
    }
    return list;
}

/* Texts of one structure are one option; each string of type 11 is one of its own. */
static json_t *smbios_options(const struct model_domain *domain)
{
    json_t *list = json_array(), *last = NULL;
    unsigned type = 0;
    for (unsigned i = 0; i < domain->smbios_text_count; i++) {
        const struct model_smbios_text *text = &domain->smbios_texts[i];
        if (!last || text->type != type || type == SMBIOS_OEM_STRINGS) {
            type = text->type;
            last = json_pack("{s:i}", "type", (int)type);
            json_array_append_new(list, last);
        }
        config_set_text(last, text->name, text->text);
    }
    return list;
}

int config_add_smbios(struct plan *plan, const struct model_domain *domain, struct kv_error *err)
{
    int rc = 0;
    if (domain->smbios == MODEL_SMBIOS_EMULATE)
        return 0;
    if (domain->smbios == MODEL_SMBIOS_SYSINFO && !domain->smbios_texts)
        return api_error(err, VIR_ERR_XML_ERROR, "Domain '%s' sysinfo are not available",
                         domain->name);
    json_t *list = domain->smbios == MODEL_SMBIOS_HOST ? host_options() : smbios_options(domain);
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++)
        rc = plan_add(plan, "smbios", json_incref(json_array_get(list, i)), err);
    json_decref(list);
    return rc;
}
