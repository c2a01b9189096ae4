/* SPDX-License-Identifier: GPL-2.0-or-later */
/* States and reasons by number (virDomainState and its reasons), in virsh's words. */
#include "cli/state.h"

#include <stddef.h>

#include "base/util.h"

#define REASONS_MAX 15

static const struct {
    const char *text;
    const char *reasons[REASONS_MAX];
} states[] = {
    {"no state", {"unknown"}},
    {"running",
     {"unknown", "booted", "migrated", "restored", "from snapshot", "unpaused",
      "migration canceled", "save canceled", "event wakeup", "crashed", "post-copy",
      "post-copy failed"}},
    {"idle", {"unknown"}},
    {"paused",
     {"unknown", "user", "migrating", "saving", "dumping", "I/O error", "watchdog", "from snapshot",
      "shutting down", "creating snapshot", "crashed", "starting up", "post-copy",
      "post-copy failed", "api error"}},
    {"in shutdown", {"unknown", "user"}},
    {"shut off",
     {"unknown", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from snapshot",
      "daemon"}},
    {"crashed", {"unknown", "panicked"}},
    {"pmsuspended", {"unknown"}},
};

const char *state_text(int state)
{
    return state >= 0 && (size_t)state < ARRAY_SIZE(states) ? states[state].text : "no state";
}

const char *state_reason_text(int state, int reason)
{
    if (state < 0 || (size_t)state >= ARRAY_SIZE(states) || reason < 0 || reason >= REASONS_MAX ||
        !states[state].reasons[reason])
        return "unknown";
    return states[state].reasons[reason];
}
