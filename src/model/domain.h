/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Domains. A domain is its document (libxml2), completed with what libvirt's qemu driver would add
 * and brought into libvirt's order, plus the typed view below that holds what is acted on.
 * Every element and attribute of the document is acted on, carried, left out (docs/domain-xml.md
 * says which and why) or refused with VIR_ERR_CONFIG_UNSUPPORTED and its path; the table of
 * elements (element.h) decides.
 *
 * The view's strings, arrays and structs belong to the domain and live until it is freed or
 * changed by one of the functions below that say "changes the view". A string that was not given
 * is NULL. A domain is not thread-safe: its owner serialises.
 */
#ifndef KV_MODEL_DOMAIN_H
#define KV_MODEL_DOMAIN_H

#include <libxml/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct model_host;

/* A choice that was not made (tri-state elements, optional numbers). */
enum model_switch { MODEL_SWITCH_ABSENT, MODEL_SWITCH_ON, MODEL_SWITCH_OFF };

/* ---------------------------------------------------------------- devices */

enum model_device_kind {
    MODEL_DISK,
    MODEL_CONTROLLER,
    MODEL_NIC,
    MODEL_SERIAL,
    MODEL_CONSOLE,
    MODEL_CHANNEL,
    MODEL_MEMBALLOON,
    MODEL_RNG,
    MODEL_PANIC,
    MODEL_VSOCK,
    MODEL_WATCHDOG,
    MODEL_GRAPHICS,
    MODEL_VIDEO,
    MODEL_INPUT,
    MODEL_TPM,
    MODEL_OTHER, /* carried or left out: audio, ... */
    MODEL_DEVICE_KINDS,
};

enum model_address_kind {
    MODEL_ADDRESS_NONE,
    MODEL_ADDRESS_PCI,
    MODEL_ADDRESS_DRIVE,
    MODEL_ADDRESS_VIRTIO_SERIAL, /* controller, bus, port */
    MODEL_ADDRESS_USB,
    MODEL_ADDRESS_ISA, /* iobase */
    MODEL_ADDRESS_OTHER,
};

struct model_address {
    enum model_address_kind kind;
    unsigned domain, bus, slot, function; /* PCI */
    unsigned controller, port;            /* virtio-serial (with bus), drive */
    unsigned target, unit;                /* drive (with controller and bus) */
    unsigned iobase;                      /* ISA */
};

enum model_boot {
    MODEL_BOOT_FLOPPY,
    MODEL_BOOT_DISK,
    MODEL_BOOT_CDROM,
    MODEL_BOOT_NETWORK,
    MODEL_BOOTS,
};

/* What every device has; the first member of each of the structs below. */
struct model_device {
    enum model_device_kind kind;
    xmlNode *node;
    const char *alias; /* of live documents, or the user's own ("ua-...") */
    struct model_address address;
    int slot;            /* of the guest's PCI bus 0, 1 to 30: where the device really is (devices
                            written onto root ports as well). -1: no PCI device */
    unsigned boot_order; /* 0: none */
};

enum model_storage_type {
    MODEL_STORAGE_FILE,
    MODEL_STORAGE_BLOCK,
    MODEL_STORAGE_NETWORK, /* NBD */
    MODEL_STORAGE_VOLUME,  /* of a storage pool: a file that is looked up when it is opened */
};

struct model_secret_ref {
    const char *type; /* of the secret's use: "passphrase", ... */
    const char *uuid, *usage;
};

/* One image of a chain. */
struct model_image {
    enum model_storage_type type;
    const char *format;               /* "raw", "qcow2", ...; NULL of a backing image: probe */
    const char *path;                 /* FILE, BLOCK; NULL: an empty drive */
    const char *pool, *volume;        /* VOLUME */
    const char *export;               /* NBD: name of the export, or NULL */
    const char *transport;            /* NBD: "tcp" or "unix" */
    const char *host, *port, *socket; /* NBD */
    bool tls;                         /* NBD */
    const char *encryption;           /* "luks", "qcow", or NULL */
    struct model_secret_ref encryption_key; /* while encryption is set */
    struct model_image *backing;       /* as written; NULL: nothing said (the image's header) */
    bool backing_end;                  /* <backingStore/>: the chain ends here */
    unsigned index;                    /* live: number of the node; 0: none */
    uint64_t slice_offset, slice_size; /* bytes; 0, 0: all of it */
};

/* Limits; 0: none. Bytes or requests a second; *_max: of a burst; *_max_length: its seconds. */
struct model_iotune {
    uint64_t total_bytes_sec, read_bytes_sec, write_bytes_sec;
    uint64_t total_iops_sec, read_iops_sec, write_iops_sec;
    uint64_t total_bytes_sec_max, read_bytes_sec_max, write_bytes_sec_max;
    uint64_t total_iops_sec_max, read_iops_sec_max, write_iops_sec_max;
    uint64_t total_bytes_sec_max_length, read_bytes_sec_max_length, write_bytes_sec_max_length;
    uint64_t total_iops_sec_max_length, read_iops_sec_max_length, write_iops_sec_max_length;
    uint64_t size_iops_sec;
    const char *group;
};

enum model_disk_bus {
    MODEL_DISK_VIRTIO, /* a PCI device of its own */
    /* At a controller; the drive's address: */
    MODEL_DISK_SATA, /* controller, unit: its port */
    MODEL_DISK_SCSI, /* controller, target, unit: the LUN */
    MODEL_DISK_NVME, /* controller, unit: the namespace's number less 1 */
    MODEL_DISK_BUSES,
};

struct model_disk {
    struct model_device device;
    struct model_image image;
    const char *target; /* "vda" */
    enum model_disk_bus bus;
    bool cdrom; /* its image may be missing: no medium */
    const char *serial;
    bool readonly, shareable;
    bool transient;                           /* of stored documents only: refused */
    const char *cache;                        /* none, writeback, writethrough, directsync, unsafe
                                                 or NULL */
    const char *io;                           /* native, threads, io_uring or NULL */
    const char *discard;                      /* unmap, ignore or NULL */
    const char *detect_zeroes;                /* on, off, unmap or NULL */
    const char *error_policy, *rerror_policy; /* stop, report, ignore, enospace or NULL */
    const char *startup_policy;               /* mandatory, requisite, optional or NULL */
    enum model_switch copy_on_read;
    unsigned iothread;                                /* 1...; 0: none chosen */
    unsigned queues, queue_size;                      /* 0: the monitor's choice */
    unsigned logical_block_size, physical_block_size; /* 0: the monitor's choice */
    struct model_iotune iotune;
};

enum model_nic_type {
    MODEL_NIC_BRIDGE,    /* source: the bridge */
    MODEL_NIC_ETHERNET,  /* target: the tap's name, or NULL */
    MODEL_NIC_DIRECT,    /* macvtap; source: the lower device */
    MODEL_NIC_VHOSTUSER, /* socket */
    MODEL_NIC_USER,      /* passt */
};

/* Kilobytes a second, burst in kilobytes; 0: not set. */
struct model_bandwidth {
    uint64_t average, peak, burst, floor;
};

struct model_nic_address {
    const char *address; /* numeric, of any family */
    unsigned prefix;     /* 0: not given */
    bool ipv6;
};

/* passt's <portForward>, a range each. */
struct model_port_forward {
    bool udp;
    const char *address, *device;
    unsigned start, end, to; /* end: 0: start; to: 0: the same ports */
    bool exclude;
};

/* Always model virtio: others are refused. */
struct model_nic {
    struct model_device device;
    enum model_nic_type type;
    uint8_t mac[6];
    const char *source;
    const char *mode;   /* DIRECT: vepa, bridge, private, passthrough. VHOSTUSER: client, server */
    const char *socket; /* VHOSTUSER */
    unsigned reconnect; /* VHOSTUSER, client: seconds; 0: never */
    const char *target; /* the interface's name on the host, or NULL: chosen at the start */
    bool managed;       /* ETHERNET: false: the tap exists already */
    const char *script; /* ETHERNET, BRIDGE: to be run, or NULL */
    /* A port of Open vSwitch (BRIDGE): virtualport is "openvswitch". */
    const char *virtualport, *interface_id, *profile_id;
    unsigned vlan_count;
    const unsigned *vlans; /* tags */
    bool vlan_trunk;
    unsigned vlan_native;                          /* tag, 0: none */
    bool isolated;                                 /* <port isolated='yes'/> */
    const char *driver;                            /* vhost, qemu or NULL */
    enum model_switch packed;                      /* rings */
    unsigned queues, rx_queue_size, tx_queue_size; /* 0: the monitor's choice */
    bool link_down;
    bool no_rom;                    /* <rom enabled='no'/>: it is not booted from */
    const char *rom;                /* what the BIOS boots by; NULL: model_host_network_rom() */
    unsigned mtu;                   /* 0: not set */
    struct model_bandwidth in, out; /* in: towards the guest */
    const char *backend_log;        /* USER: passt's log file */
    const char *backend_device;     /* USER: passt's interface on the host */
    unsigned address_count, forward_count;
    const struct model_nic_address *addresses;
    const struct model_port_forward *forwards;
};

enum model_chardev_type {
    MODEL_CHARDEV_NULL,
    MODEL_CHARDEV_PTY,
    MODEL_CHARDEV_FILE,
    MODEL_CHARDEV_DEV,
    MODEL_CHARDEV_PIPE,
    MODEL_CHARDEV_UNIX,
    MODEL_CHARDEV_TCP,
    MODEL_CHARDEV_UDP,
    MODEL_CHARDEV_VDAGENT, /* CHANNEL alone */
    MODEL_CHARDEV_STDIO,   /* refused: the daemon's own ends are nobody's console */
};

/* A serial port, console or channel, by device.kind. */
struct model_chardev {
    struct model_device device;
    enum model_chardev_type type;
    const char *path;                     /* FILE, DEV, PIPE, UNIX; PTY: live: its name */
    bool append;                          /* FILE */
    bool listen;                          /* UNIX, TCP: mode='bind' */
    bool telnet;                          /* TCP */
    const char *host, *service;           /* TCP; UDP: where to */
    const char *bind_host, *bind_service; /* UDP: where from */
    unsigned reconnect;                   /* seconds; 0: never */
    bool clipboard;                       /* VDAGENT: texts are copied */
    const char *log;                      /* a copy of what the guest writes goes there */
    bool log_append;
    const char *target_type; /* SERIAL: isa-serial; CONSOLE: serial, virtio; CHANNEL: virtio */
    unsigned port;
    const char *name; /* CHANNEL: "org.qemu.guest_agent.0" */
    bool twin;        /* CONSOLE: no device of its own, it is the first serial port */
};

struct model_controller {
    struct model_device device;
    const char *type, *model; /* "pci"/"pcie-root", "virtio-serial", "usb", ... */
    bool real;                /* of disks, USB: the machine has it; else it is left out */
    unsigned index;
    unsigned cmd_per_lun, max_sectors; /* of SCSI; 0: the monitor's choice */
    unsigned iothread;                 /* of SCSI; 1...; 0: none chosen */
    const char *serial;                /* of NVMe, or NULL */
};

struct model_rng {
    struct model_device device;
    const char *path; /* /dev/urandom, ... ; NULL: builtin */
    uint64_t bytes;   /* in period milliseconds; 0: no limit */
    unsigned period;
};

struct model_memballoon {
    struct model_device device;
    bool none;
    unsigned stats_period; /* seconds */
    enum model_switch autodeflate, free_page_reporting;
};

struct model_vsock {
    struct model_device device;
    bool automatic; /* choose a free CID at the start; then cid is 0 unless live */
    unsigned cid;
};

struct model_watchdog {
    struct model_device device;
    const char *action; /* reset, shutdown, poweroff, pause, dump, none, inject-nmi */
};

struct model_tpm {
    struct model_device device;
    const char *model; /* tpm-crb, tpm-tis */
    bool persistent;   /* its state outlives the definition */
};

enum model_listen {
    MODEL_LISTEN_ADDRESS,
    MODEL_LISTEN_SOCKET,
    MODEL_LISTEN_NONE, /* only viewers that the daemon hands over */
};

#define MODEL_VNC_PORT_FIRST 5900
#define MODEL_VNC_PORT_LAST 65535
#define MODEL_WEBSOCKET_PORT_FIRST 5700 /* of those that are chosen */
#define MODEL_VNC_PASSWORD_MAX 8        /* bytes; the protocol's */

/* The screen as viewers see it; always VNC: others are refused. */
struct model_graphics {
    struct model_device device;
    enum model_listen listen;
    const char *address; /* ADDRESS: of the host, or NULL: 127.0.0.1 */
    const char *socket;  /* SOCKET: its path, or NULL: chosen at the start */
    bool autoport;
    unsigned port;            /* 0: chosen at the start */
    bool has_websocket;       /* browsers come, too */
    unsigned websocket;       /* their port; 0: chosen at the start */
    const char *share_policy; /* allow-exclusive, force-shared, ignore or NULL */
    const char *password;     /* NULL: none is asked for; "": nobody enters */
    bool expires;
    int64_t password_until; /* while expires: seconds since the epoch */
};

/* The screen as the guest sees it: a standard VGA, and with it a PS/2 keyboard and mouse. */
struct model_video {
    struct model_device device;
    bool none;
    bool virtio;         /* it is virtio-gpu as well */
    unsigned vram_kib;   /* of the VGA; 0: the monitor's choice */
    unsigned xres, yres; /* the best mode; 0: the monitor's choice */
};

enum model_input_type { MODEL_INPUT_MOUSE, MODEL_INPUT_TABLET, MODEL_INPUT_KEYBOARD };

struct model_input {
    struct model_device device;
    enum model_input_type type;
    bool virtio, usb; /* neither: a part of the screen, or left out */
    unsigned port;    /* of the USB controller; 0: any */
};

struct model_panic {
    struct model_device device;
    const char *model; /* isa, or hyperv: domain.hyperv.crash */
};

/* ------------------------------------------------------------------ domain */

enum model_action { /* libvirt's VIR_DOMAIN_LIFECYCLE_ACTION_* numbers */
                    MODEL_ACTION_DESTROY,
                    MODEL_ACTION_RESTART,
                    MODEL_ACTION_RESTART_RENAME,
                    MODEL_ACTION_PRESERVE,
                    MODEL_ACTION_COREDUMP_DESTROY,
                    MODEL_ACTION_COREDUMP_RESTART,
};

struct model_numa_cell {
    unsigned id;
    const char *cpus; /* "0-3" */
    uint64_t memory_kib;
};

/* cputune: which host CPUs one vCPU or I/O thread runs on. */
struct model_pin {
    unsigned id;
    const char *cpuset;
};

struct model_cputune {
    uint64_t shares;                                                  /* 0: not set */
    uint64_t period, global_period, emulator_period, iothread_period; /* microseconds, 0: not set */
    int64_t quota, global_quota, emulator_quota, iothread_quota; /* 0: not set, < 0: no limit */
    unsigned vcpupin_count, iothreadpin_count;
    const struct model_pin *vcpupins, *iothreadpins;
    const char *emulatorpin;
};

struct model_memory_backing {
    bool hugepages;
    uint64_t hugepage_kib; /* 0: the default size */
    bool locked, prealloc;
    unsigned prealloc_threads;
    const char *source; /* anonymous, memfd, file or NULL */
    bool shared;
};

struct model_seclabel {
    const char *type, *model; /* none, dynamic, static; dac, ... */
    const char *label;
};

/* <metadata>, <resource>, ... are in the document only. */
struct model_domain {
    xmlDoc *doc;
    const struct model_host *host;

    int id; /* of a live document; -1 else */
    const char *name;
    uint8_t uuid[16];
    char uuid_text[37];
    const char *genid; /* VM generation ID as text; NULL: none asked for */
    const char *title, *description;

    uint64_t memory_kib, current_memory_kib, max_memory_kib; /* max: of hotplug; 0 */
    struct model_memory_backing memory_backing;
    /* memtune, KiB; 0: not set */
    uint64_t hard_limit_kib, soft_limit_kib, swap_hard_limit_kib;
    const char *numatune_mode, *numatune_nodeset; /* strict, ...; "0-1" */
    unsigned blkio_weight;                        /* 0: not set */

    /* Of vcpus_max the first vcpus are there, of which the first vcpus_fixed cannot be unplugged.
     */
    unsigned vcpus, vcpus_max, vcpus_fixed;
    const char *cpuset; /* of <vcpu>, or NULL */
    unsigned iothreads;
    const unsigned *iothread_ids; /* iothreads of them */
    struct model_cputune cputune;

    const char *machine;                   /* canonical: "pc-i440fx-7.2", "pc-q35-7.2", "microvm" */
    const char *kernel, *initrd, *cmdline; /* no kernel: the BIOS boots from a disk */
    /* What the guest is told of its maker and parts (SMBIOS): nothing, the host's own, or these. */
    enum { MODEL_SMBIOS_EMULATE, MODEL_SMBIOS_HOST, MODEL_SMBIOS_SYSINFO } smbios;
    struct model_smbios_text {
        unsigned type;           /* of the structure */
        const char *name, *text; /* libvirt's names; of type 11: "value" */
    } * smbios_texts;
    unsigned smbios_text_count;
    const char *loader;                 /* its image; NULL: the host's, model_host_bios() */
    const char *nvram, *nvram_template; /* of UEFI: the variables' file and what it begins as */
    enum model_boot boots[MODEL_BOOTS]; /* <boot> of <os>, in order */
    unsigned boot_count;
    const char *emulator;

    enum model_switch acpi, apic, pae; /* as written */
    struct model_hyperv {
        bool passthrough; /* all that the host's KVM has */
        bool relaxed, vapic, vpindex, runtime, synic, stimer, stimer_direct, reset, frequencies,
            reenlightenment, tlbflush, ipi;
        bool time;             /* <timer name='hypervclock'> of <clock> */
        bool crash;            /* <panic model='hyperv'> */
        uint64_t spinlocks;    /* 0: off */
        const char *vendor_id; /* NULL: Microsoft's */
    } hyperv;
    const char *cpu_mode, *cpu_model;       /* host-passthrough, host-model, maximum */
    unsigned sockets, dies, cores, threads; /* 0: not set; product = vcpus_max */
    unsigned numa_count;
    const struct model_numa_cell *numa;
    struct model_clock {
        bool localtime;       /* what is shown at first is the host's local time, else UTC */
        const char *timezone; /* its local time; NULL: as localtime says */
        int64_t adjustment;   /* seconds that are added */
        bool absolute;        /* shows start (seconds since 1970) */
        int64_t start;
    } clock;

    enum model_action on_poweroff, on_reboot, on_crash;

    unsigned seclabel_count;
    const struct model_seclabel *seclabels;

    /* In the order of the document. */
    unsigned disk_count, nic_count, serial_count, console_count, channel_count, controller_count,
        rng_count, panic_count, input_count;
    struct model_disk *disks;
    struct model_nic *nics;
    struct model_chardev *serials, *consoles, *channels;
    struct model_controller *controllers;
    struct model_rng *rngs;
    struct model_panic *panics;
    struct model_input *inputs;
    struct model_memballoon *memballoon; /* NULL: none written and none added */
    struct model_vsock *vsock;
    struct model_watchdog *watchdog; /* i6300esb, or NULL */
    struct model_tpm *tpm;           /* of version 2.0, or NULL */
    struct model_graphics *graphics; /* NULL: nobody looks */
    struct model_video *video;       /* NULL, or none: no screen */
    /* All of the above and what is only carried. */
    unsigned device_count;
    struct model_device **devices;

    /* With MODEL_PARSE_STORED: what this version refuses, as a sentence; such a domain must not be
     * started. NULL: nothing. */
    const char *refusal;

    /* Elements that the guest runs without ("/domain/devices/input[1]: no USB"), for the log. */
    unsigned left_out_count;
    const char *const *left_out;

    struct model_arena *arena; /* private: where the view lives */
};

enum model_parse_flags {
    MODEL_PARSE_INACTIVE = 1, /* what only a live domain has is dropped (id, aliases, ttys) */
    MODEL_PARSE_VALIDATE = 2, /* against libvirt's schema where it is installed */
    MODEL_PARSE_STORED = 4,   /* our own text, checked when it was new: what this version refuses
                                 is carried; live parts are kept unless INACTIVE */
};

/*
 * Reads a domain's XML (len bytes, need not end in 0). host (NULL: defaults) outlives the domain.
 * Errors: VIR_ERR_XML_DETAIL (not well formed), VIR_ERR_XML_ERROR, VIR_ERR_CONFIG_UNSUPPORTED,
 * VIR_ERR_OS_TYPE, VIR_ERR_NO_NAME, ... with libvirt's texts. Documents over 4 MiB, deeper than 256
 * elements or with a DTD are refused in bounded time.
 */
int model_domain_parse(struct model_domain **out, const struct model_host *host, const char *xml,
                       size_t len, unsigned flags, struct kv_error *err);

/* A deep copy; NULL when memory is short. */
struct model_domain *model_domain_copy(const struct model_domain *domain);

void model_domain_free(struct model_domain *domain); /* NULL is fine */

enum model_format_flags { /* libvirt's VIR_DOMAIN_XML_* numbers */
                          MODEL_FORMAT_SECURE = 1,
                          MODEL_FORMAT_INACTIVE = 2,
                          MODEL_FORMAT_UPDATE_CPU = 4,
                          MODEL_FORMAT_MIGRATABLE = 8,
                          /* not libvirt's: of a live domain, without the devices that are left
                             out, so that a client does not look for a screen */
                          MODEL_FORMAT_PRESENT = 1 << 16,
};

/* The document as libvirt prints it; to be free()d. NULL: memory. Without SECURE the screen's
 * password is left out; INACTIVE of a live domain leaves out what only a live one has. */
char *model_domain_format(const struct model_domain *domain, unsigned flags);

/* ------------------------------------------------------------------ changes */

/* All of them change the view. On failure the domain is as before. */

/* Makes it a live document: id, aliases (serial0, virtio-disk0, net0, ...). id < 0: back to an
 * inactive one. VIR_ERR_CONFIG_UNSUPPORTED when there is a refusal. */
int model_domain_set_id(struct model_domain *domain, int id, struct kv_error *err);

/* The path of UEFI's variables changes with it where it was the old name's. */
int model_domain_set_name(struct model_domain *domain, const char *name, struct kv_error *err);
int model_domain_set_uuid(struct model_domain *domain, const uint8_t uuid[16],
                          struct kv_error *err);

int model_domain_set_memory(struct model_domain *domain, uint64_t memory_kib, uint64_t current_kib,
                            struct kv_error *err);
/* fixed: how many of the current ones cannot be unplugged, at least 1. */
int model_domain_set_vcpus(struct model_domain *domain, unsigned max, unsigned current,
                           unsigned fixed, struct kv_error *err);
enum model_pin_kind { MODEL_PIN_VCPU, MODEL_PIN_EMULATOR, MODEL_PIN_IOTHREAD };
/* Binds a thread to the host's CPUs of a list such as "0-3"; id is of no meaning for the emulator.
 */
int model_domain_set_pin(struct model_domain *domain, enum model_pin_kind kind, unsigned id,
                         const char *cpuset, struct kv_error *err);
/* Its place among the domain's I/O threads, from 1; 0: there is none with that id. */
unsigned model_domain_find_iothread(const struct model_domain *d, unsigned id);
int model_domain_add_iothread(struct model_domain *domain, unsigned id, struct kv_error *err);
int model_domain_remove_iothread(struct model_domain *domain, unsigned id, struct kv_error *err);
int model_domain_set_balloon_period(struct model_domain *domain, unsigned seconds,
                                    struct kv_error *err);
int model_domain_set_action(struct model_domain *domain, unsigned type, enum model_action action,
                            struct kv_error *err); /* VIR_DOMAIN_LIFECYCLE_* */

/* virDomainSetMetadata: type VIR_DOMAIN_METADATA_*; text NULL removes. */
int model_domain_set_metadata(struct model_domain *domain, int type, const char *text,
                              const char *key, const char *uri, struct kv_error *err);
/* *out: to be free()d. VIR_ERR_NO_DOMAIN_METADATA when there is none. */
int model_domain_get_metadata(const struct model_domain *domain, int type, const char *uri,
                              char **out, struct kv_error *err);

/* Facts of a live machine; the strings are copied. The device stays where it is in memory. */
int model_nic_set_target(struct model_domain *domain, struct model_nic *nic, const char *name);
int model_chardev_set_path(struct model_domain *domain, struct model_chardev *chardev,
                           const char *path); /* the pty, or the socket that was chosen */
bool model_channel_is_open(const struct model_chardev *channel);
int model_channel_set_state(struct model_domain *domain, struct model_chardev *channel, bool open);
int model_vsock_set_cid(struct model_domain *domain, unsigned cid);
/* Where it listens: the port and address (NULL: as it is), or the socket's path. */
int model_graphics_set_port(struct model_domain *domain, unsigned port, const char *address);
int model_graphics_set_websocket(struct model_domain *domain, unsigned port);
int model_graphics_set_socket(struct model_domain *domain, const char *path);

/* Attributes and text anywhere, by a path such as "devices/emulator" or "cputune/shares" below
 * <domain>; elements are made where missing, in libvirt's order. value NULL removes. attribute
 * NULL: the element's text. The view follows. */
int model_domain_set_value(struct model_domain *domain, const char *path, const char *attribute,
                           const char *value, struct kv_error *err);

/* ------------------------------------------------------------------ devices */

/* Device XML (<disk>...</disk>) completed for this domain and put into it; VIR_ERR_OPERATION_FAILED
 * or VIR_ERR_XML_ERROR when target, address or the like are taken. */
int model_domain_attach(struct model_domain *domain, const char *xml, size_t len,
                        struct model_device **out, struct kv_error *err);

/* What is chosen at random, chosen here, so that several documents get the same: an interface's
 * MAC address. *out: the XML to free(), or NULL: nothing is missing. */
int model_device_complete(const char *xml, size_t len, char **out, struct kv_error *err);

/* Where the device of a live document really came to be; the address follows if it is on bus 0.
 * -ENOMEM. */
int model_device_set_slot(struct model_device *device, unsigned slot);

/* An interface as an update of a live document left it, where only its link may be another one than
 * before (was): VIR_ERR_OPERATION_UNSUPPORTED. */
int model_nic_check_live(struct model_domain *domain, const struct model_domain *was,
                         struct model_nic *nic, struct kv_error *err);

/* The device that the XML means: by alias, address, target, mac. VIR_ERR_DEVICE_MISSING. */
int model_domain_find(const struct model_domain *domain, const char *xml, size_t len,
                      struct model_device **out, struct kv_error *err);

/* Replaces a device's configuration by that of the XML, address and alias kept. */
int model_domain_update(struct model_domain *domain, const char *xml, size_t len,
                        struct model_device **out, struct kv_error *err);

int model_domain_detach(struct model_domain *domain, struct model_device *device,
                        struct kv_error *err);

/* The document of what runs by the XML of a whole <disk>: a CD-ROM's source may be another one
 * (*changed; the tray is closed then), the startup policy of any disk; libvirt's errors for the
 * rest. attach: as virDomainAttachDevice has it, for CD-ROMs only. -EOPNOTSUPP without an error:
 * the XML is no such device. */
int model_domain_change_medium(struct model_domain *domain, const char *xml, size_t len,
                               bool attach, struct model_disk **out, bool *changed,
                               struct kv_error *err);

/* A disk whose source is not there and need not be: a CD-ROM becomes empty, a disk goes. */
int model_domain_drop_medium(struct model_domain *domain, const char *target, struct kv_error *err);

/* Of a live document; -ENOMEM. */
int model_disk_set_tray(struct model_disk *disk, bool open);
bool model_disk_tray_is_open(const struct model_disk *disk);

struct model_disk *model_domain_find_disk(const struct model_domain *domain,
                                          const char *target_or_path);
struct model_nic *model_domain_find_nic(const struct model_domain *domain,
                                        const char *target_or_mac);
struct model_device *model_domain_find_alias(const struct model_domain *domain, const char *alias);

/* ----------------------------------------------------------------- identity */

/* Whether a definition may take the place of one with the same name or uuid (either may be NULL):
 * libvirt's VIR_ERR_OPERATION_FAILED "domain 'x' is already defined with uuid ..." and so on. */
int model_domain_check_identity(const struct model_domain *definition, const char *name,
                                const uint8_t uuid[16], struct kv_error *err);

/* Whether a guest could be given to (saved from one, restored as the other) without seeing a
 * change: VIR_ERR_CONFIG_UNSUPPORTED "Target domain ... does not match source ...". */
int model_domain_check_abi(const struct model_domain *from, const struct model_domain *to,
                           struct kv_error *err);

#endif
