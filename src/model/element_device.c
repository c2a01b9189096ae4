/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of <devices>: each device's elements in the order in which libvirt prints them. What a
 * device's values may be is checked where it is read (device_*.c).
 */
#include "model/element.h"

#include <stddef.h>

#define NO_USB "USB is not supported"
#define NO_SOUND "sound is not supported"
#define NO_PASSTHROUGH "passing a host's devices to the guest is not supported"
#define NO_TLS "TLS of character devices is not supported"

/* clang-format off */
/* What follows a device's own elements. */
#define ADDRESS                                                                                   \
    ACTED("address", "type domain controller bus slot function multifunction target unit port "   \
                     "!reg !cssid !ssid !devno iobase irq base",                                  \
          .why = "there is no such bus", WITH(REFUSED("zpci", "there are no s390 guests")))
#define INFO                                                                                      \
    ACTED("alias", "name"),                                                                       \
        REFUSED("acpi", "ACPI indexes of devices are not supported"), ADDRESS
/* The guest would have to be told; legacy drivers and IOMMUs are not what the monitor has. */
#define VIRTIO_DRIVER "!iommu !ats !packed !page_per_vq"

static const struct element storage_source_rows[] = {
    ACTED("host", "name port transport socket"),
    REFUSED("snapshot", "there are no network disks with snapshots"),
    REFUSED("config", "there are no RBD disks"),
    REFUSED("initiator", "there are no iSCSI disks"),
    CARRIED("seclabel", "model relabel labelskip", MANY, WITH(CARRIED("label", NULL))),
    REFUSED("auth", "an NBD server has no passwords"),
    ACTED("encryption", "format engine",
          WITH(ACTED("secret", "type uuid usage"),
               REFUSED("cipher", "the image's header says its cipher"),
               REFUSED("ivgen", "the image's header says its cipher"))),
    REFUSED("reservations", "persistent reservations are not supported"),
    REFUSED("address", "NVMe disks of the host are not supported"),
    REFUSED("ssl", "there are no HTTP disks"),
    REFUSED("cookies", "there are no HTTP disks"),
    REFUSED("readahead", "there are no HTTP disks"),
    REFUSED("timeout", "there are no HTTP disks"),
    REFUSED("identity", "this is not supported"),
    REFUSED("reconnect", "an NBD disk reconnects by itself"),
    REFUSED("knownHosts", "there are no SSH disks"),
    ACTED("slices", NULL, WITH(ACTED("slice", "type offset size"))),
    REFUSED("privateData", "this belongs to another program's state"),
    {.name = NULL},
};

#define STORAGE_SOURCE                                                                             \
    ACTED("source", "file dev !dir protocol name pool volume !mode !type !namespace !managed "   \
                    "!path tls !tlsHostname !query !fdgroup startupPolicy index",                  \
          .why = "only files, block devices, volumes of pools and NBD servers can be disks",                         \
          .children = storage_source_rows)

static const struct element backing_store_rows[];
static const struct element backing_store_rows[] = {
    ACTED("format", "type", WITH(REFUSED("metadata_cache", "its size is the monitor's choice"))),
    STORAGE_SOURCE,
    ACTED("backingStore", "type index", .children = backing_store_rows),
    {.name = NULL},
};

static const struct element disk_rows[] = {
    ACTED("driver", "name type cache error_policy rerror_policy io ioeventfd event_idx "
                    "copy_on_read discard discard_no_unref iothread detect_zeroes queues "
                    "queue_size " VIRTIO_DRIVER,
          .why = "this feature of virtio is not supported",
          WITH(REFUSED("metadata_cache", "its size is the monitor's choice"))),
    REFUSED("auth", "an NBD server has no passwords"),
    STORAGE_SOURCE,
    ACTED("backingStore", "type index", .children = backing_store_rows),
    REFUSED("mirror", "copying a disk is not supported"),
    REFUSED("backenddomain", "there is no Xen"),
    REFUSED("geometry", "the guest chooses a disk's geometry"),
    ACTED("blockio", "logical_block_size physical_block_size"),
    ACTED("target", "dev bus tray !removable !rotation_rate", .why = "a disk does not move"),
    ACTED("iotune", NULL,
          WITH(ACTED("total_bytes_sec", NULL), ACTED("read_bytes_sec", NULL),
               ACTED("write_bytes_sec", NULL), ACTED("total_iops_sec", NULL),
               ACTED("read_iops_sec", NULL), ACTED("write_iops_sec", NULL),
               ACTED("total_bytes_sec_max", NULL), ACTED("read_bytes_sec_max", NULL),
               ACTED("write_bytes_sec_max", NULL), ACTED("total_iops_sec_max", NULL),
               ACTED("read_iops_sec_max", NULL), ACTED("write_iops_sec_max", NULL),
               ACTED("size_iops_sec", NULL), ACTED("group_name", NULL),
               ACTED("total_bytes_sec_max_length", NULL), ACTED("read_bytes_sec_max_length", NULL),
               ACTED("write_bytes_sec_max_length", NULL), ACTED("total_iops_sec_max_length", NULL),
               ACTED("read_iops_sec_max_length", NULL), ACTED("write_iops_sec_max_length", NULL))),
    ACTED("readonly", NULL),
    ACTED("shareable", NULL),
    REFUSED("transient", "disks that forget what was written are not supported"),
    ACTED("serial", NULL),
    REFUSED("wwn", "Only ide and scsi disk support wwn"),
    REFUSED("vendor", "Only scsi disk supports vendor and product"),
    REFUSED("product", "Only scsi disk supports vendor and product"),
    ACTED("encryption", "format engine",
          WITH(ACTED("secret", "type uuid usage"),
               REFUSED("cipher", "the image's header says its cipher"),
               REFUSED("ivgen", "the image's header says its cipher"))),
    ACTED("boot", "order !loadparm", .why = "there are no s390 guests"),
    INFO,
    REFUSED("privateData", "this belongs to another program's state"),
    {.name = NULL},
};

static const struct element controller_rows[] = {
    ACTED("model", "name"),
    ACTED("serial", NULL),
    ACTED("target", "chassisNr chassis port busNr index hotplug",
          WITH(REFUSED("node", "controllers on the guest's NUMA cells are not supported"))),
    ACTED("driver", "queues cmd_per_lun max_sectors ioeventfd iothread " VIRTIO_DRIVER,
          .why = "this feature of virtio is not supported"),
    CARRIED("pcihole64", "unit"),
    ACTED("alias", "name"),
    CARRIED("master", "startport"),
    REFUSED("acpi", "ACPI indexes of devices are not supported"),
    ADDRESS,
    {.name = NULL},
};

static const struct element interface_rows[] = {
    ACTED("mac", "address !type !check", .why = "there is no VMware"),
    ACTED("source", "type path bridge dev network mode !portgroup !portid !address !port !name "
                    "!macTableManager !missing !switchid !portgroupid !connectionid",
          .why = "this kind of network is not supported",
          WITH(REFUSED("address", NO_PASSTHROUGH), REFUSED("vendor", NO_PASSTHROUGH),
               REFUSED("product", NO_PASSTHROUGH),
               REFUSED("ip", "addresses of the host's end are not supported"),
               REFUSED("route", "routes of the host's end are not supported"),
               REFUSED("local", "network tunnels between guests are not supported"),
               ACTED("reconnect", "enabled timeout"))),
    ACTED("vlan", "trunk", WITH(ACTED("tag", "id nativeMode", MANY))),
    ACTED("virtualport", "type",
          WITH(ACTED("parameters", "!managerid !typeid !typeidversion !instanceid interfaceid "
                                   "profileid",
                     .why = "this kind of virtual port is not supported"))),
    ACTED("bandwidth", "!classID", .why = "there are no classes of traffic",
          WITH(ACTED("inbound", "average peak floor burst"),
               ACTED("outbound", "average peak burst"))),
    ACTED("port", "isolated"),
    ACTED("ip", "address family prefix !peer", MANY,
          .why = "the other end's address is not supported"),
    REFUSED("route", "routes of the guest are not supported"),
    ACTED("portForward", "proto address dev", MANY,
          WITH(ACTED("range", "start end to exclude", MANY))),
    ACTED("script", "path"),
    REFUSED("downscript", "scripts after the end are not supported"),
    REFUSED("backenddomain", "there is no Xen"),
    ACTED("target", "dev managed"),
    REFUSED("guest", "there are no containers"),
    ACTED("model", "type"),
    ACTED("driver", "name !txmode ioeventfd event_idx queues rx_queue_size tx_queue_size !rss "
                    "!rss_hash_report packed !iommu !ats !page_per_vq",
          .why = "this feature of virtio is not supported",
          WITH(REFUSED("host", "single offloads cannot be switched"),
               REFUSED("guest", "single offloads cannot be switched"))),
    ACTED("backend", "type !tap !vhost logFile", .why = "the host's own devices are used"),
    REFUSED("filterref", "network filters are not supported"),
    REFUSED("tune", "the size of a tap's buffer is not supported"),
    ACTED("link", "state"),
    ACTED("mtu", "size"),
    REFUSED("teaming", "teams of interfaces are not supported"),
    REFUSED("coalesce", "limits of interrupts are not supported"),
    ACTED("boot", "order !loadparm", .why = "there are no s390 guests"),
    ACTED("alias", "name"),
    ACTED("rom", "enabled bar file"),
    REFUSED("acpi", "ACPI indexes of devices are not supported"),
    ADDRESS,
    {.name = NULL},
};

#define CHARDEV_ROWS                                                                              \
    ACTED("source", "mode path host service channel master slave append !tls", MANY,              \
          .why = NO_TLS,                                                                          \
          WITH(ACTED("reconnect", "enabled timeout"),                                             \
               CARRIED("seclabel", "model relabel labelskip", MANY,                               \
                       WITH(CARRIED("label", NULL))),                                             \
               ACTED("clipboard", "copypaste"), ACTED("mouse", "mode"))),                        \
        ACTED("protocol", "type"), ACTED("log", "file append")

static const struct element serial_rows[] = {
    CHARDEV_ROWS,
    ACTED("target", "type port", WITH(ACTED("model", "name"))),
    INFO,
    {.name = NULL},
};

static const struct element channel_rows[] = {
    CHARDEV_ROWS,
    ACTED("target", "type name state !address !port", .why = "there is no user-mode network"),
    INFO,
    {.name = NULL},
};

#define DRIVER_ONLY ACTED("driver", VIRTIO_DRIVER, .why = "this feature of virtio is not supported")

static const struct element memballoon_rows[] = {
    ACTED("stats", "period"), ACTED("alias", "name"),
    REFUSED("acpi", "ACPI indexes of devices are not supported"), ADDRESS, DRIVER_ONLY,
    {.name = NULL},
};
static const struct element rng_rows[] = {
    ACTED("rate", "bytes period"),
    ACTED("backend", "model !type", .why = "random bytes from a socket are not supported",
          WITH(REFUSED("source", "random bytes from a socket are not supported"),
               REFUSED("protocol", "random bytes from a socket are not supported"))),
    DRIVER_ONLY, INFO,
    {.name = NULL},
};
#define NO_TPM_CHOICE "a TPM is swtpm's with its state in a file"
static const struct element tpm_rows[] = {
    ACTED("backend", "type version persistent_state !debug", .why = NO_TPM_CHOICE,
          WITH(REFUSED("device", NO_TPM_CHOICE), REFUSED("encryption", NO_TPM_CHOICE),
               REFUSED("active_pcr_banks", NO_TPM_CHOICE), REFUSED("source", NO_TPM_CHOICE),
               REFUSED("profile", NO_TPM_CHOICE))),
    INFO,
    {.name = NULL},
};
static const struct element panic_rows[] = {INFO, {.name = NULL}};
static const struct element vsock_rows[] = {
    ACTED("cid", "auto address"), INFO, DRIVER_ONLY,
    {.name = NULL},
};
static const struct element carried_rows[] = {
    ACTED("driver", VIRTIO_DRIVER, .why = "this feature of virtio is not supported"),
    INFO,
    {.name = NULL},
};
static const struct element audio_rows[] = {
    REFUSED("input", NO_SOUND), REFUSED("output", NO_SOUND), {.name = NULL},
};

/* Of <graphics> types that are refused by name where the type is read. */
#define ANY(name_) ACTED(name_, NULL, MANY, .anything = true)
static const struct element graphics_rows[] = {
    ACTED("listen", "type address network socket", MANY),
    ANY("channel"), ANY("image"), ANY("jpeg"), ANY("zlib"), ANY("playback"), ANY("streaming"),
    ANY("clipboard"), ANY("mouse"), ANY("filetransfer"), ANY("gl"), ANY("audio"),
    {.name = NULL},
};
static const struct element video_rows[] = {
    ACTED("driver", "!name !vgaconf " VIRTIO_DRIVER, .why = "screens have no such choice"),
    ACTED("model", "type ram vram vram64 vgamem heads primary !blob !edid",
          .why = "screens have no such choice",
          WITH(ACTED("acceleration", "accel3d !accel2d !rendernode", .why = "screens have none"),
               ACTED("resolution", "x y"))),
    INFO,
    {.name = NULL},
};

const struct element device_elements[] = {
    ACTED("emulator", NULL),
    ACTED("disk", "type device model !rawio !sgio snapshot", MANY,
          .why = "there are no SCSI devices", .children = disk_rows),
    ACTED("controller", "type index model ports vectors !maxGrantFrames !maxEventChannels", MANY,
          .why = "there is no Xen", .children = controller_rows),
    REFUSED("lease", "leases of a lock manager are not supported"),
    REFUSED("filesystem", "sharing folders of the host is not supported"),
    ACTED("interface", "type !trustGuestRxFilters !managed", MANY,
          .why = "the host's interface does not follow the guest's filters",
          .children = interface_rows),
    REFUSED("smartcard", NO_USB),
    ACTED("serial", "type tty", MANY, .children = serial_rows),
    REFUSED("parallel", "parallel ports are not supported"),
    ACTED("console", "type tty", MANY, .children = serial_rows),
    ACTED("channel", "type", MANY, .children = channel_rows),
    ACTED("input", "type bus model", MANY, .children = carried_rows),
    ACTED("tpm", "model", MANY, .children = tpm_rows),
    ACTED("graphics", "type socket port tlsPort autoport websocket listen keymap powerControl "
                      "sharePolicy passwd passwdValidTo connected defaultMode display xauth "
                      "fullscreen multiUser replaceUser p2p address",
          MANY, .children = graphics_rows),
    ACTED("audio", "id type !timerPeriod", MANY, .why = NO_SOUND, .children = audio_rows),
    LEFT_OUT("sound", NO_SOUND),
    ACTED("video", NULL, MANY, .children = video_rows),
    REFUSED("hostdev", NO_PASSTHROUGH),
    LEFT_OUT("redirdev", NO_USB),
    REFUSED("redirfilter", NO_USB),
    REFUSED("hub", NO_USB),
    ACTED("watchdog", "model action", .children = panic_rows),
    ACTED("memballoon", "model autodeflate freePageReporting", .children = memballoon_rows),
    ACTED("rng", "model", MANY, .children = rng_rows),
    REFUSED("nvram", "there are no POWER guests"),
    ACTED("panic", "model", MANY, .children = panic_rows),
    REFUSED("shmem", "shared memory between guests is not supported"),
    REFUSED("memory", "memory devices are not supported"),
    REFUSED("iommu", "IOMMUs for the guest are not supported"),
    ACTED("vsock", "model", .children = vsock_rows),
    REFUSED("crypto", "crypto devices are not supported"),
    REFUSED("pstore", "this is not supported"),
    {.name = NULL},
};
/* clang-format on */
