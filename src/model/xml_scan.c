/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A look at a text before libxml2 reads it, for what its parser does in time that grows with the
 * square: attributes of one element (XML 1.0, 3.1). It knows just enough of XML to count them.
 * The text has to be in an encoding whose letters of ASCII are ASCII's, or nothing could be said.
 */
#include <string.h>
#include <strings.h>

#include "base/util.h"
#include "model/xml_internal.h"

/* Encodings like ASCII, by how their names begin. */
static const char *const encodings[] = {"utf-8\"",  "utf-8'",    "us-ascii",
                                        "iso-8859", "iso_8859-", "windows-125"};

/* Behind the next mark, or the end. */
static const char *skip_behind(const char *at, const char *end, const char *mark)
{
    const char *found = memmem(at, (size_t)(end - at), mark, strlen(mark));
    return found ? found + strlen(mark) : end;
}

static bool begins(const char *at, const char *end, const char *mark)
{
    size_t len = strlen(mark);
    return (size_t)(end - at) >= len && memcmp(at, mark, len) == 0;
}

/* at: behind "<". Returns where its tag ends; *values: how many quoted values it has. */
static const char *skip_tag(const char *at, const char *end, unsigned *values)
{
    while (at < end && *at != '>' && *at != '<') {
        char quote = *at++;
        if (quote != '"' && quote != '\'')
            continue;
        ++*values;
        at = memchr(at, quote, (size_t)(end - at));
        at = at ? at + 1 : end;
    }
    return at;
}

bool xml_has_many_attributes(const char *text, size_t len)
{
    const char *at = text, *end = text + len;
    while ((at = memchr(at, '<', (size_t)(end - at)))) {
        unsigned values = 0;
        if (begins(at, end, "<!--"))
            at = skip_behind(at + 4, end, "-->");
        else if (begins(at, end, "<![CDATA["))
            at = skip_behind(at + 9, end, "]]>");
        else if (begins(at, end, "<?"))
            at = skip_behind(at + 2, end, "?>");
        else
            at = skip_tag(at + 1, end, &values);
        if (values > XML_ATTRIBUTES_MAX)
            return true;
    }
    return false;
}

bool xml_encoding_is_like_ascii(const char *text, size_t len)
{
    const char *end = text + len;
    if (begins(text, end, "\xef\xbb\xbf"))
        text += 3;
    /* UTF-16, either way round, and EBCDIC tell themselves by their first bytes (XML 1.0, F.1). */
    if (begins(text, end, "\xfe\xff") || begins(text, end, "\xff\xfe") ||
        begins(text, end, "\x4c\x6f\xa7\x94"))
        return false;
    if (!begins(text, end, "<?xml"))
        return true;
    end = skip_behind(text, end, "?>");
    const char *name = skip_behind(text, end, "encoding");
    if (name == end)
        return true;
    name += strspn(name, " \t\r\n=");
    for (size_t i = 0; i < ARRAY_SIZE(encodings); i++) {
        size_t n = strlen(encodings[i]);
        if (name < end && (size_t)(end - name) > n && strncasecmp(name + 1, encodings[i], n) == 0)
            return true;
    }
    return false;
}
