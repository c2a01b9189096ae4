/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See schema.h. */
#include "model/schema.h"

#include <libxml/relaxng.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "model/api_error.h"

#define SCHEMA_DIR "/usr/share/libvirt/schemas"

struct complaint {
    char text[256];
};

/* The first one; later ones follow from it. */
static void complain(void *opaque, xmlErrorPtr error)
{
    struct complaint *c = opaque;
    if (!c->text[0] && error->message)
        snprintf(c->text, sizeof(c->text), "%.*s", (int)strcspn(error->message, "\n"),
                 error->message);
}

int schema_validate(xmlDoc *doc, const char *kind, struct kv_error *err)
{
    char path[128];
    snprintf(path, sizeof(path), SCHEMA_DIR "/%s.rng", kind);
    if (access(path, R_OK) < 0)
        return 0;
    struct complaint complaint = {0};
    xmlRelaxNGParserCtxt *parser = xmlRelaxNGNewParserCtxt(path);
    if (!parser)
        return api_error_from(err, VIR_FROM_XML, VIR_ERR_NO_MEMORY, NULL);
    xmlRelaxNGSetParserStructuredErrors(parser, complain, &complaint);
    xmlRelaxNG *schema = xmlRelaxNGParse(parser);
    xmlRelaxNGFreeParserCtxt(parser);
    if (!schema)
        return api_error_from(err, VIR_FROM_XML, VIR_ERR_INTERNAL_ERROR,
                              "Unable to parse RNG '%s': %s", path, complaint.text);
    xmlRelaxNGValidCtxt *valid = xmlRelaxNGNewValidCtxt(schema);
    int ret = 0;
    if (!valid) {
        ret = api_error_from(err, VIR_FROM_XML, VIR_ERR_NO_MEMORY, NULL);
    } else {
        xmlRelaxNGSetValidStructuredErrors(valid, complain, &complaint);
        if (xmlRelaxNGValidateDoc(valid, doc) != 0)
            ret =
                api_error_from(err, VIR_FROM_XML, VIR_ERR_XML_INVALID_SCHEMA, "%s", complaint.text);
    }
    xmlRelaxNGFreeValidCtxt(valid);
    xmlRelaxNGFree(schema);
    return ret;
}
