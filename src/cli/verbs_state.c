/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verbs about snapshots, checkpoints and backups. The synopsis is what the options are read from
 * (spec.h). */
#include "cli/verb_groups.h"
#include "cli/verbs.h"

static const struct verb checkpoint[] = {
    {"checkpoint-create",
     "<domain> [--xmlfile <string>] [--redefine] [--redefine-validate] [--quiesce]",
     "make a checkpoint that a file describes", "checkpoint-create web check.xml", unserved},
    {"checkpoint-create-as",
     "<domain> [--name <string>] [--description <string>] [--print-xml] [--quiesce] "
     "[<diskspec>]...",
     "make a checkpoint", "checkpoint-create-as web monday", unserved},
    {"checkpoint-delete",
     "<domain> [--checkpointname <string>] [--children] [--children-only] [--metadata]",
     "remove a checkpoint", "checkpoint-delete web monday", unserved},
    {"checkpoint-dumpxml",
     "<domain> [--checkpointname <string>] [--security-info] [--no-domain] [--size] "
     "[--xpath=<string>] [--wrap]",
     "a checkpoint's description", "checkpoint-dumpxml web monday", unserved},
    {"checkpoint-edit", "<domain> [--checkpointname <string>]",
     "change a checkpoint's description in an editor", "checkpoint-edit web monday", unserved},
    {"checkpoint-info", "<domain> [--checkpointname <string>]", "what a checkpoint is",
     "checkpoint-info web monday", unserved},
    {"checkpoint-list",
     "<domain> [--parent] [--roots] [--leaves] [--no-leaves] [--tree] [--from "
     "<string>] [--descendants] [--name] [--topological]",
     "a machine's checkpoints", "checkpoint-list web", checkpoint_list},
    {"checkpoint-parent", "<domain> [--checkpointname <string>]", "the checkpoint before one",
     "checkpoint-parent web monday", unserved},
    {NULL},
};

const struct verb_group verbs_checkpoint = {"Checkpoint", "checkpoint", checkpoint};

static const struct verb snapshot[] = {
    {"snapshot-create",
     "<domain> [--xmlfile <string>] [--redefine] [--current] [--no-metadata] [--halt] "
     "[--disk-only] [--reuse-external] [--quiesce] [--atomic] [--live] [--validate]",
     "make a snapshot that a file describes", "snapshot-create web snap.xml", unserved},
    {"snapshot-create-as",
     "<domain> [--name <string>] [--description <string>] [--print-xml] "
     "[--no-metadata] [--halt] [--disk-only] [--reuse-external] [--quiesce] [--atomic] "
     "[--live] [--validate] [--memspec=<string>] [<diskspec>]...",
     "make a snapshot", "snapshot-create-as web before-update", unserved},
    {"snapshot-current", "<domain> [--name] [--security-info] [--snapshotname <string>]",
     "the snapshot that a machine is at", "snapshot-current web --name", snapshot_current},
    {"snapshot-delete",
     "<domain> [--snapshotname <string>] [--current] [--children] [--children-only] "
     "[--metadata]",
     "remove a snapshot", "snapshot-delete web before-update", unserved},
    {"snapshot-dumpxml", "<domain> <snapshotname> [--security-info] [--xpath=<string>] [--wrap]",
     "a snapshot's description", "snapshot-dumpxml web before-update", unserved},
    {"snapshot-edit", "<domain> [--snapshotname <string>] [--current] [--rename] [--clone]",
     "change a snapshot's description in an editor", "snapshot-edit web before-update", unserved},
    {"snapshot-info", "<domain> [--snapshotname <string>] [--current]", "what a snapshot is",
     "snapshot-info web before-update", unserved},
    {"snapshot-list",
     "<domain> [--parent] [--roots] [--leaves] [--no-leaves] [--metadata] "
     "[--no-metadata] [--inactive] [--active] [--disk-only] [--internal] [--external] "
     "[--tree] [--from <string>] [--current] [--descendants] [--name] [--topological]",
     "a machine's snapshots", "snapshot-list web", snapshot_list},
    {"snapshot-parent", "<domain> [--snapshotname <string>] [--current]", "the snapshot before one",
     "snapshot-parent web before-update", unserved},
    {"snapshot-revert",
     "<domain> [--snapshotname <string>] [--current] [--running] [--paused] [--force] "
     "[--reset-nvram]",
     "take a machine back to a snapshot", "snapshot-revert web before-update", unserved},
    {NULL},
};

const struct verb_group verbs_snapshot = {"Snapshot", "snapshot", snapshot};

static const struct verb backup[] = {
    {"backup-begin",
     "<domain> [--backupxml <string>] [--checkpointxml <string>] [--reuse-external]",
     "begin a backup of a machine's disks", "backup-begin web backup.xml", unserved},
    {"backup-dumpxml", "<domain> [--xpath=<string>] [--wrap]", "the backup that is under way",
     "backup-dumpxml web", unserved},
    {NULL},
};

const struct verb_group verbs_backup = {"Backup", "backup", backup};
