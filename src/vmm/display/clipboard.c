/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keeps the text and tells both sides of another one; see clipboard.h. */
#include "vmm/display/clipboard.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct clipboard {
    pthread_mutex_t lock; /* for everything */
    unsigned number;      /* 0: no text yet */
    enum clipboard_side from;
    char *text;
    size_t len;
    struct {
        struct loop *loop; /* NULL: not there */
        struct loop_work *changed;
    } sides[CLIPBOARD_SIDES];
};

struct clipboard *clipboard_create(void)
{
    struct clipboard *clipboard = calloc(1, sizeof(*clipboard));
    if (clipboard)
        pthread_mutex_init(&clipboard->lock, NULL);
    return clipboard;
}

void clipboard_free(struct clipboard *clipboard)
{
    if (!clipboard)
        return;
    pthread_mutex_destroy(&clipboard->lock);
    free(clipboard->text);
    free(clipboard);
}

void clipboard_join(struct clipboard *clipboard, enum clipboard_side side, struct loop *loop,
                    struct loop_work *changed)
{
    pthread_mutex_lock(&clipboard->lock);
    clipboard->sides[side].loop = loop;
    clipboard->sides[side].changed = changed;
    pthread_mutex_unlock(&clipboard->lock);
}

void clipboard_leave(struct clipboard *clipboard, enum clipboard_side side)
{
    pthread_mutex_lock(&clipboard->lock);
    struct loop *loop = clipboard->sides[side].loop;
    clipboard->sides[side].loop = NULL;
    pthread_mutex_unlock(&clipboard->lock);
    if (loop)
        loop_unpost(loop, clipboard->sides[side].changed);
}

unsigned clipboard_put(struct clipboard *clipboard, enum clipboard_side from, const void *text,
                       size_t len)
{
    if (len > CLIPBOARD_MAX || !clipboard_text_is_utf8(text, len))
        return 0;
    char *copy = malloc(len + 1);
    if (!copy)
        return 0;
    memcpy(copy, text, len);
    pthread_mutex_lock(&clipboard->lock);
    char *old = clipboard->text;
    if (old && clipboard->len == len && memcmp(old, copy, len) == 0) {
        old = copy;
    } else {
        clipboard->text = copy;
        clipboard->len = len;
        clipboard->from = from;
        clipboard->number += clipboard->number == UINT32_MAX ? 2 : 1;
        for (unsigned i = 0; i < CLIPBOARD_SIDES; i++)
            if (clipboard->sides[i].loop)
                loop_post(clipboard->sides[i].loop, clipboard->sides[i].changed);
    }
    unsigned number = clipboard->number;
    pthread_mutex_unlock(&clipboard->lock);
    free(old);
    return number;
}

unsigned clipboard_number(struct clipboard *clipboard, enum clipboard_side *from)
{
    pthread_mutex_lock(&clipboard->lock);
    unsigned number = clipboard->number;
    *from = clipboard->from;
    pthread_mutex_unlock(&clipboard->lock);
    return number;
}

char *clipboard_get(struct clipboard *clipboard, size_t *len, unsigned *number)
{
    pthread_mutex_lock(&clipboard->lock);
    char *copy = clipboard->text ? malloc(clipboard->len + 1) : NULL;
    if (copy)
        memcpy(copy, clipboard->text, clipboard->len);
    *len = clipboard->len;
    *number = clipboard->number;
    pthread_mutex_unlock(&clipboard->lock);
    return copy;
}
