/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text that a guest and the viewers of its screen have copied last: one
 * for all. The guest's side is vdagent.c on a console's loop, the viewers' is
 * vnc_clipboard.c on the display's. A machine has it only with the agent's port.
 */
#ifndef KV_VMM_DISPLAY_CLIPBOARD_H
#define KV_VMM_DISPLAY_CLIPBOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"

#define CLIPBOARD_MAX (1024 * 1024) /* bytes of a text, as UTF-8 */

enum clipboard_side { CLIPBOARD_GUEST, CLIPBOARD_VIEWERS, CLIPBOARD_SIDES };

struct clipboard;

/* NULL: no memory. Freed once both sides have left. */
struct clipboard *clipboard_create(void);
void clipboard_free(struct clipboard *clipboard);

/* From now on changed->fn runs on loop when there is another text, whoever's. */
void clipboard_join(struct clipboard *clipboard, enum clipboard_side side, struct loop *loop,
                    struct loop_work *changed);
/* On that loop. */
void clipboard_leave(struct clipboard *clipboard, enum clipboard_side side);

/* Copies a text with lines that end in LF. Returns its number, which is the old one's where it is
 * the same text; 0: it is too long, no UTF-8, or there is no memory, and the old one stays. Any
 * thread. */
unsigned clipboard_put(struct clipboard *clipboard, enum clipboard_side from, const void *text,
                       size_t len);

/* The number of the text that there is, and whose it is; 0: none. Any thread. */
unsigned clipboard_number(struct clipboard *clipboard, enum clipboard_side *from);

/* A copy of it for the caller to free; NULL: there is none, or no memory. Any thread. */
char *clipboard_get(struct clipboard *clipboard, size_t *len, unsigned *number);

/*
 * Texts in other forms (clipboard_text.c), for the caller to free; NULL: no memory. LF becomes CR
 * LF, and the other way round; bytes of Latin-1 become UTF-8, and the other way round with a '?'
 * for what Latin-1 does not have.
 */
char *clipboard_text_to_crlf(const char *text, size_t len, size_t *out_len);
char *clipboard_text_from_crlf(const char *text, size_t len, size_t *out_len);
char *clipboard_text_from_latin1(const uint8_t *text, size_t len, size_t *out_len);
char *clipboard_text_to_latin1(const char *text, size_t len, size_t *out_len);
bool clipboard_text_is_utf8(const void *text, size_t len);

#endif
