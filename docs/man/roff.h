/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the makers of manual pages share: text for roff, and templates with places to fill. */
#ifndef KV_DOCS_MAN_ROFF_H
#define KV_DOCS_MAN_ROFF_H

/* Plain text, so that roff takes nothing in it for a request. */
void roff_put_text(const char *text);

/* The text between two pieces of roff. */
void roff_put_line(const char *before, const char *text, const char *after);

/* A line of the template and what is written instead; the last has no line. */
struct roff_place {
    const char *line;
    void (*put)(void);
};

/* The whole program: argv[1] is the template, the page goes to standard output, @VERSION@
 * becomes the version. Returns the exit status. */
int roff_fill_template(int argc, char **argv, const struct roff_place *places);

#endif
