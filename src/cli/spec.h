/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a verb takes, read from its synopsis, which is written as help shows it:
 *
 *     <domain>          must be given, with or without --domain in front
 *     <count:number>    likewise, a number
 *     [--live]          a switch
 *     [--file <string>] may be given, --file may be left out: the next free place is its
 *     [--xpath=<string>]  only with --xpath in front
 *     [<domain>]...  {<cmd>}...   as many as there are; at least one
 */
#ifndef KV_CLI_SPEC_H
#define KV_CLI_SPEC_H

#include <stdbool.h>

enum spec_kind {
    SPEC_SWITCH,
    SPEC_NUMBER,
    SPEC_TEXT,
    SPEC_DATA,
    SPEC_REST, /* what is left over */
};

struct spec_option {
    char name[40];
    enum spec_kind kind;
    bool required;
    bool named; /* only behind its name */
};

#define SPEC_OPTIONS_MAX 64

struct spec {
    struct spec_option options[SPEC_OPTIONS_MAX];
    unsigned n;
};

void spec_read(const char *synopsis, struct spec *out);

/* The synopsis as virsh's help would write it, without the verb. */
void spec_write(const struct spec *spec, char *out, unsigned size);

/* What the option is for, in a few words. */
const char *spec_option_text(const char *verb, const char *option);

/* The name that libvirt's older releases gave the option, or the name itself. */
const char *spec_option_resolve(const char *verb, const char *option);

#endif
