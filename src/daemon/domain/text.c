/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The texts that were asked for last; see text.h. */
#include "daemon/domain/text.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "daemon/domain/domain.h"
#include "rpc/reply.h"

#define TEXTS_MAX MIB(1) /* of all domains */
#define TEXT_MAX (TEXTS_MAX / 16)

struct domain_text {
    struct list node;
    struct domain_text_slot *slot;
    size_t len;
    bool secrets;
    char bytes[];
};

void domain_texts_init(struct domain_texts *texts)
{
    pthread_mutex_init(&texts->lock, NULL);
    list_init(&texts->recent);
    texts->bytes = 0;
}

/* With the lock. */
static void drop(struct domain_texts *texts, struct domain_text *text)
{
    if (!text)
        return;
    list_del(&text->node);
    text->slot->text = NULL;
    texts->bytes -= text->len;
    free(text);
}

static struct domain_text *oldest(struct domain_texts *texts)
{
    return list_empty(&texts->recent) ? NULL
                                      : list_entry(texts->recent.next, struct domain_text, node);
}

void domain_texts_free(struct domain_texts *texts)
{
    while (oldest(texts))
        drop(texts, oldest(texts));
    pthread_mutex_destroy(&texts->lock);
}

bool domain_text_has_secrets(const char *text)
{
    return strstr(text, " passwd=");
}

bool domain_text_reply(struct domains *domains, struct domain *domain, enum domain_text_kind kind,
                       bool secrets, struct rpc_call *call)
{
    struct domain_texts *texts = &domains->texts;
    pthread_mutex_lock(&texts->lock);
    struct domain_text *text = domain->texts[kind].text;
    bool good = text && (secrets || !text->secrets);
    if (good) {
        list_del(&text->node);
        list_add_tail(&texts->recent, &text->node);
        reply_text(rpc_call_reply(call), text->bytes, text->len);
    }
    pthread_mutex_unlock(&texts->lock);
    return good;
}

unsigned domain_text_version(struct domains *domains, struct domain *domain,
                             enum domain_text_kind kind)
{
    pthread_mutex_lock(&domains->texts.lock);
    unsigned version = domain->texts[kind].version;
    pthread_mutex_unlock(&domains->texts.lock);
    return version;
}

void domain_text_keep(struct domains *domains, struct domain *domain, enum domain_text_kind kind,
                      unsigned version, const char *text)
{
    struct domain_texts *texts = &domains->texts;
    struct domain_text_slot *slot = &domain->texts[kind];
    size_t len = strlen(text);
    struct domain_text *kept = len <= TEXT_MAX ? malloc(sizeof(*kept) + len) : NULL;
    if (!kept)
        return;
    *kept =
        (struct domain_text){.slot = slot, .len = len, .secrets = domain_text_has_secrets(text)};
    memcpy(kept->bytes, text, len);
    pthread_mutex_lock(&texts->lock);
    if (slot->version == version && !slot->closed) {
        drop(texts, slot->text);
        while (texts->bytes + len > TEXTS_MAX)
            drop(texts, oldest(texts));
        slot->text = take_ptr(kept);
        texts->bytes += len;
        list_add_tail(&texts->recent, &slot->text->node);
    }
    pthread_mutex_unlock(&texts->lock);
    free(kept);
}

void domain_text_changed(struct domains *domains, struct domain *domain, enum domain_text_kind kind)
{
    pthread_mutex_lock(&domains->texts.lock);
    domain->texts[kind].version++;
    drop(&domains->texts, domain->texts[kind].text);
    pthread_mutex_unlock(&domains->texts.lock);
}

void domain_texts_forget(struct domains *domains, struct domain *domain)
{
    pthread_mutex_lock(&domains->texts.lock);
    for (int kind = 0; kind < DOMAIN_TEXT_KINDS; kind++) {
        domain->texts[kind].closed = true;
        drop(&domains->texts, domain->texts[kind].text);
    }
    pthread_mutex_unlock(&domains->texts.lock);
}
