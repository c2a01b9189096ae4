/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verbs about storage pools and their volumes. The synopsis is what the options are read from
 * (spec.h). */
#include "cli/verb_groups.h"
#include "cli/verbs.h"

static const struct verb pool[] = {
    {"find-storage-pool-sources-as",
     "<type> [--host <string>] [--port <string>] [--initiator <string>]",
     "look for what a pool could be made of", "find-storage-pool-sources-as netfs --host nas",
     pool_find_sources},
    {"find-storage-pool-sources", "<type> [--srcSpec <string>]",
     "look for what a pool could be made of, described by a file",
     "find-storage-pool-sources netfs source.xml", pool_find_sources},
    {"pool-autostart", "<pool> [--disable]", "start a pool together with the daemon, or no longer",
     "pool-autostart images", pool_autostart},
    {"pool-build", "<pool> [--no-overwrite] [--overwrite]", "make what a pool needs on its storage",
     "pool-build images", pool_action},
    {"pool-create-as",
     "<name> <type> [--print-xml] [--source-host <string>] [--source-path <string>] "
     "[--source-dev <string>] [--source-name <string>] [--target <string>] "
     "[--source-format <string>] [--auth-type <string>] [--auth-username <string>] "
     "[--secret-usage <string>] [--secret-uuid <string>] [--adapter-name <string>] "
     "[--adapter-wwnn <string>] [--adapter-wwpn <string>] [--adapter-parent <string>] "
     "[--adapter-parent-wwnn <string>] [--adapter-parent-wwpn <string>] "
     "[--adapter-parent-fabric-wwn <string>] [--source-protocol-ver=<string>] "
     "[--source-initiator=<string>] [--build] [--no-overwrite] [--overwrite]",
     "start a pool for this once", "pool-create-as images dir --target /srv/images",
     pool_define_as},
    {"pool-create", "<file> [--build] [--no-overwrite] [--overwrite]",
     "start the pool that a file describes, for this once", "pool-create images.xml", pool_define},
    {"pool-define-as",
     "<name> <type> [--print-xml] [--source-host <string>] [--source-path <string>] "
     "[--source-dev <string>] [--source-name <string>] [--target <string>] "
     "[--source-format <string>] [--auth-type <string>] [--auth-username <string>] "
     "[--secret-usage <string>] [--secret-uuid <string>] [--adapter-name <string>] "
     "[--adapter-wwnn <string>] [--adapter-wwpn <string>] [--adapter-parent <string>] "
     "[--adapter-parent-wwnn <string>] [--adapter-parent-wwpn <string>] "
     "[--adapter-parent-fabric-wwn <string>] [--source-protocol-ver=<string>] "
     "[--source-initiator=<string>]",
     "keep a pool", "pool-define-as images dir --target /srv/images", pool_define_as},
    {"pool-define", "<file> [--validate]", "keep the pool that a file describes",
     "pool-define images.xml", pool_define},
    {"pool-delete", "<pool>", "remove what a pool stands on", "pool-delete images", pool_action},
    {"pool-destroy", "<pool>", "stop a pool", "pool-destroy images", pool_action},
    {"pool-dumpxml", "<pool> [--inactive] [--xpath=<string>] [--wrap]", "a pool's description",
     "pool-dumpxml images", pool_xml},
    {"pool-edit", "<pool>", "change a pool's definition in an editor", "pool-edit images",
     pool_edit},
    {"pool-info", "<pool> [--bytes]", "what a pool is and holds", "pool-info images", pool_info},
    {"pool-list",
     "[--inactive] [--all] [--transient] [--persistent] [--autostart] [--no-autostart] "
     "[--type <string>] [--details] [--uuid] [--name]",
     "the pools", "pool-list --all --details", pool_list},
    {"pool-name", "<pool>", "the name of a pool", "pool-name 2f4f2c3e-2d6b-4b7b-8f0c-1d0a0a0a0a0a",
     pool_name},
    {"pool-refresh", "<pool>", "look anew at what a pool holds", "pool-refresh images",
     pool_action},
    {"pool-start", "<pool> [--build] [--no-overwrite] [--overwrite]",
     "start a pool that is defined", "pool-start images", pool_action},
    {"pool-undefine", "<pool>", "forget a pool's definition", "pool-undefine images", pool_action},
    {"pool-uuid", "<pool>", "the UUID of a pool", "pool-uuid images", pool_uuid},
    {"pool-event",
     "[--pool <string>] [--event <string>] [--loop] [--timeout <number>] [--list] "
     "[--timestamp]",
     "wait for events of pools", "pool-event --event lifecycle --loop", event_of_objects,
     .number = KVASIR_EVENTS_POOL},
    {"pool-capabilities", "", "what pools can be", "pool-capabilities", pool_capabilities},
    {NULL},
};

const struct verb_group verbs_pool = {"Storage Pool", "pool", pool};

static const struct verb volume[] = {
    {"vol-clone",
     "<vol> <newname> [--pool <string>] [--prealloc-metadata] [--reflink] [--print-xml]",
     "copy a volume", "vol-clone base.qcow2 web.qcow2 --pool images", volume_clone},
    {"vol-create-as",
     "<pool> <name> <capacity> [--allocation <string>] [--format <string>] "
     "[--backing-vol <string>] [--backing-vol-format <string>] [--prealloc-metadata] "
     "[--print-xml]",
     "make a volume", "vol-create-as images web.qcow2 20G --format qcow2", volume_create_as},
    {"vol-create", "<pool> <file> [--prealloc-metadata] [--validate]",
     "make the volume that a file describes", "vol-create images vol.xml", volume_create},
    {"vol-create-from",
     "<pool> <file> <vol> [--inputpool <string>] [--prealloc-metadata] [--reflink] "
     "[--validate]",
     "make the volume that a file describes, filled from another",
     "vol-create-from images vol.xml base.qcow2", volume_create_from},
    {"vol-delete", "<vol> [--pool <string>] [--delete-snapshots]", "remove a volume",
     "vol-delete web.qcow2 --pool images", volume_delete},
    {"vol-download",
     "<vol> <file> [--pool <string>] [--offset <number>] [--length <number>] [--sparse]",
     "copy a volume's contents into a file", "vol-download web.qcow2 web.copy --pool images",
     volume_download},
    {"vol-dumpxml", "<vol> [--pool <string>] [--xpath=<string>] [--wrap]", "a volume's description",
     "vol-dumpxml web.qcow2 --pool images", volume_xml},
    {"vol-info", "<vol> [--pool <string>] [--bytes] [--physical]", "what a volume is and how large",
     "vol-info web.qcow2 --pool images", volume_info},
    {"vol-key", "<vol> [--pool <string>]", "the key of a volume", "vol-key web.qcow2 --pool images",
     volume_key},
    {"vol-list", "<pool> [--details]", "a pool's volumes", "vol-list images --details",
     volume_list},
    {"vol-name", "<vol>", "the name of a volume", "vol-name /srv/images/web.qcow2", volume_name},
    {"vol-path", "<vol> [--pool <string>]", "the path of a volume",
     "vol-path web.qcow2 --pool images", volume_path},
    {"vol-pool", "<vol> [--uuid]", "the pool of a volume", "vol-pool /srv/images/web.qcow2",
     volume_pool},
    {"vol-resize", "<vol> <capacity> [--pool <string>] [--allocate] [--delta] [--shrink]",
     "change a volume's size", "vol-resize web.qcow2 40G --pool images", volume_resize},
    {"vol-upload",
     "<vol> <file> [--pool <string>] [--offset <number>] [--length <number>] [--sparse]",
     "copy a file's contents into a volume", "vol-upload web.qcow2 web.copy --pool images",
     volume_upload},
    {"vol-wipe", "<vol> [--pool <string>] [--algorithm <string>]", "overwrite a volume's contents",
     "vol-wipe web.qcow2 --pool images", volume_wipe},
    {NULL},
};

const struct verb_group verbs_volume = {"Storage Volume", "volume", volume};
