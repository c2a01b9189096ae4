/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prints the monitor's and the agent's answers. */
#include "cli/json.h"

#include <jansson.h>

#include "cli/args.h"
#include "cli/output.h"

int json_answer(struct cli *cli, const char *text)
{
    bool pretty = arg_on(cli, "pretty"), only = arg_on(cli, "return-value");
    if (!pretty && !only)
        return out_value(cli, "answer", "%s", text);
    json_t *answer = json_loads(text, JSON_DECODE_ANY, NULL);
    if (!answer)
        return cli_error(cli, "failed to parse JSON returned by qemu");
    const json_t *shown = only ? json_object_get(answer, "return") : answer;
    int r = 0;
    if (shown) {
        char *formatted = json_dumps(shown, JSON_ENCODE_ANY | JSON_PRESERVE_ORDER |
                                                (pretty ? JSON_INDENT(2) : JSON_COMPACT));
        out_key(cli, "answer", "%s", formatted ? formatted : "");
        out_print(cli, pretty ? "%s\n" : "%s", formatted ? formatted : "");
        free(formatted);
    } else {
        r = cli_error(cli, "'return' member missing");
    }
    json_decref(answer);
    return r;
}
