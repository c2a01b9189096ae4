/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Titles, descriptions and metadata; editing of definitions. */
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "cli/args.h"
#include "cli/edit.h"
#include "cli/output.h"
#include "cli/verbs.h"

/* The words of --new-desc, joined. NULL: none. */
static char *joined(struct cli *cli, const char *option)
{
    char *text = NULL;
    const char *word;
    for (unsigned i = 0; (word = arg_rest(cli, option, i)); i++)
        text = text ? cli_text(cli, "%s %s", text, word) : cli_text(cli, "%s", word);
    return text;
}

/* Without the end of its last line: an editor puts one there. */
static char *trimmed(char *text)
{
    size_t len = strlen(text);
    while (len && text[len - 1] == '\n')
        text[--len] = '\0';
    return text;
}

/* What is there; "" when nothing is. NULL: error. */
static char *get_text(struct cli *cli, const wire_domain *domain, int type, unsigned flags)
{
    const REMOTE_RET(DOMAIN_GET_METADATA) *got =
        CALL(cli, DOMAIN_GET_METADATA, .dom = *domain, .type = type, .flags = flags);
    if (got)
        return got->metadata;
    if (cli->error.code != VIR_ERR_NO_DOMAIN_METADATA)
        return NULL;
    cli_forget_error(cli);
    return cli_text(cli, "%s", "");
}

int domain_description(struct cli *cli)
{
    unsigned flags = 0;
    if (arg_affect(cli, &flags) < 0)
        return -1;
    bool title = arg_on(cli, "title"), edit = arg_on(cli, "edit");
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    int type = title ? VIR_DOMAIN_METADATA_TITLE : VIR_DOMAIN_METADATA_DESCRIPTION;
    char *text = joined(cli, "new-desc");
    if (!edit && !text) {
        char *have = get_text(cli, domain, type, flags);
        if (!have)
            return -1;
        out_key(cli, title ? "title" : "description", "%s", have);
        if (*have)
            out_print(cli, "%s", have);
        else
            out_print(cli, title ? "No title for domain: %s" : "No description for domain: %s",
                      domain->name);
        return 0;
    }
    if (edit) {
        char *before = text ? text : get_text(cli, domain, type, flags);
        text = before ? edit_text(cli, before) : NULL;
        if (!text)
            return -1;
        text = trimmed(text);
        if (strcmp(before, text) == 0) {
            out_print(cli,
                      title ? "Domain title not changed\n" : "Domain description not changed\n");
            return 0;
        }
    }
    if (!CALL(cli, DOMAIN_SET_METADATA, .dom = *domain, .type = type,
              .metadata = *text ? &text : NULL, .flags = flags))
        return cli_error(cli, title ? "Failed to set new domain title"
                                    : "Failed to set new domain description");
    if (cli->json)
        return 0;
    out_print(cli, title ? "Domain title updated successfully"
                         : "Domain description updated successfully");
    return 0;
}

int domain_metadata(struct cli *cli)
{
    unsigned flags = 0;
    const char *uri = NULL, *key = NULL, *set = NULL;
    if (arg_affect(cli, &flags) < 0 || arg_exclusive(cli, "edit", "set") < 0 ||
        arg_exclusive(cli, "remove", "set") < 0 || arg_exclusive(cli, "remove", "edit") < 0)
        return -1;
    const wire_domain *domain = lookup_domain(cli);
    if (!domain || arg_text(cli, "uri", &uri) < 0 || arg_text(cli, "key", &key) < 0 ||
        arg_text(cli, "set", &set) < 0)
        return -1;
    bool edit = arg_on(cli, "edit"), removes = arg_on(cli, "remove");
    wire_text uri_text = (char *)(uintptr_t)uri, key_text = (char *)(uintptr_t)key,
              new_text = (char *)(uintptr_t)set;
    if ((set || edit) && !key)
        return cli_error(cli, "namespace key is required when modifying metadata");
    if (!set && !removes) {
        const REMOTE_RET(DOMAIN_GET_METADATA) *got =
            CALL(cli, DOMAIN_GET_METADATA, .dom = *domain, .type = VIR_DOMAIN_METADATA_ELEMENT,
                 .uri = &uri_text, .flags = flags);
        if (!got && !(edit && cli->error.code == VIR_ERR_NO_DOMAIN_METADATA))
            return -1;
        if (!edit)
            return cli->json ? out_document(cli, "xml", got->metadata)
                             : out_value(cli, "xml", "%s", got->metadata);
        char *before = got ? got->metadata : cli_text(cli, "\n");
        cli_forget_error(cli);
        new_text = edit_text(cli, before);
        if (!new_text)
            return -1;
        if (strcmp(before, new_text) == 0) {
            out_print(cli, "Metadata not changed\n");
            return 0;
        }
    }
    if (!CALL(cli, DOMAIN_SET_METADATA, .dom = *domain, .type = VIR_DOMAIN_METADATA_ELEMENT,
              .metadata = removes ? NULL : &new_text, .key = key ? &key_text : NULL,
              .uri = &uri_text, .flags = flags))
        return -1;
    if (cli->json)
        return 0;
    out_print(cli, removes ? "Metadata removed\n" : "Metadata modified\n");
    return 0;
}

static char *get_definition(struct cli *cli, void *opaque)
{
    const wire_domain *domain = opaque;
    const REMOTE_RET(DOMAIN_GET_XML_DESC) *xml =
        CALL(cli, DOMAIN_GET_XML_DESC, .dom = *domain,
             .flags = VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
    return xml ? xml->xml : NULL;
}

static const char *put_definition(struct cli *cli, void *opaque, char *xml)
{
    unsigned flags = arg_on(cli, "skip-validate") ? 0 : VIR_DOMAIN_DEFINE_VALIDATE;
    const REMOTE_RET(DOMAIN_DEFINE_XML_FLAGS) *got =
        CALL(cli, DOMAIN_DEFINE_XML_FLAGS, .xml = xml, .flags = flags);
    return got ? got->dom.name : NULL;
}

int domain_edit(struct cli *cli)
{
    const wire_domain *domain = lookup_domain(cli);
    if (!domain)
        return -1;
    return edit_definition(cli, &(struct edit){
                                    .kind = "Domain",
                                    .quoted = true,
                                    .name = domain->name,
                                    .get = get_definition,
                                    .put = put_definition,
                                    .opaque = (void *)(uintptr_t)domain,
                                });
}
