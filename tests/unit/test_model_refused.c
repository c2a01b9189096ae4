/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a domain's document may not say (src/model/element.h, read.h): every refused path by name,
 * values and their messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <libvirt/libvirt.h>

#include "domain_document.h"
#include "model/api_error.h"
#include "model/domain.h"
#include "model/element.h"

static xmlNode *make_path(xmlNode *node, const char *path)
{
    char name[64];
    while (*path) {
        path += *path == '/';
        size_t n = strcspn(path, "/");
        snprintf(name, sizeof(name), "%.*s", (int)n, path);
        path += n;
        xmlNode *child = NULL;
        for (xmlNode *c = node->children; c; c = c->next) {
            if (strcmp((const char *)c->name, name) == 0)
                child = c;
        }
        node = child ? child : xmlNewChild(node, NULL, (const xmlChar *)name, NULL);
    }
    return node;
}

static void expect_refused(void *opaque, const char *path, const struct element *row,
                           const char *attribute, bool attribute_refused)
{
    unsigned *count = opaque;
    if (row->policy != ELEMENT_REFUSED && !attribute_refused)
        return;
    xmlDoc *doc = xmlReadMemory(DOMAIN(""), sizeof(DOMAIN("")) - 1, NULL, NULL, 0);
    xmlNode *root = xmlDocGetRootElement(doc);
    xmlNode *node = make_path(root, path + strlen("/domain"));
    if (attribute)
        xmlSetProp(node, (const xmlChar *)attribute, (const xmlChar *)"x");
    xmlChar *text;
    int len;
    xmlDocDumpMemory(doc, &text, &len);
    char wanted[300];
    snprintf(wanted, sizeof(wanted), "unsupported configuration: %s%s%s: ", path,
             attribute ? "/@" : "", attribute ? attribute : "");
    expect_error((const char *)text, VIR_ERR_CONFIG_UNSUPPORTED, wanted);

    struct model_domain *d;
    struct kv_error err = {0};
    if (model_domain_parse(&d, NULL, (const char *)text, (size_t)len,
                           MODEL_PARSE_STORED | MODEL_PARSE_INACTIVE, &err) == 0) {
        assert_non_null(d->refusal);
        model_domain_free(d);
    }
    xmlFree(text);
    xmlFreeDoc(doc);
    (*count)++;
}

static void every_refused_element_and_attribute_is_refused_by_its_path(void **state)
{
    unsigned count = 0;
    element_visit(&domain_element, "/domain", expect_refused, &count);
    assert_true(count > 150);
}

static void what_no_row_knows_is_refused(void **state)
{
    expect_error(BEGIN OS "<frobnicate/></domain>", VIR_ERR_CONFIG_UNSUPPORTED,
                 "/domain/frobnicate: no such element is known here");
    expect_error(DOMAIN("<disk type='file' colour='red'><source file='/a'/><target dev='vda'/>"
                        "</disk>"),
                 VIR_ERR_CONFIG_UNSUPPORTED, "/domain/devices/disk/@colour");
    expect_error("<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
                 "<name>t</name><memory>524288</memory>" OS
                 "<qemu:commandline><qemu:arg value='-x'/></qemu:commandline></domain>",
                 VIR_ERR_CONFIG_UNSUPPORTED, "/domain/commandline: elements of other namespaces");
    expect_error(BEGIN OS "<title>a</title><title>b</title></domain>", VIR_ERR_XML_ERROR,
                 "may appear only once");
}

static void refused_values_say_path_and_what_is_accepted(void **state)
{
    static const struct {
        const char *xml, *message;
    } rows[] = {
        {"<domain type='qemu'><name>t</name><memory>524288</memory>" OS "</domain>",
         "/domain/@type: 'qemu': guests run on KVM only; 'kvm' is accepted"},
        {BEGIN "<os><type>hvm</type><bootmenu enable='yes'/></os></domain>",
         "/domain/os/bootmenu/@enable"},
        {BEGIN "<os><type>hvm</type><bios useserial='no'/></os></domain>",
         "/domain/os/bios/@useserial"},
        {BEGIN "<os firmware='efi'><type>hvm</type><loader type='rom'/></os></domain>",
         "/domain/os/loader/@type: 'rom'"},
        {BEGIN "<os firmware='efi'><type>hvm</type><kernel>/k</kernel></os></domain>",
         "a <kernel> is booted without firmware"},
        {BEGIN "<os><type>hvm</type><loader type='pflash' secure='yes'>/x</loader></os></domain>",
         "/domain/os/loader/@secure: 'yes': system management mode"},
        {BEGIN "<os><type>hvm</type><loader type='pflash' readonly='no'>/x</loader></os></domain>",
         "/domain/os/loader/@readonly: 'no'"},
        {BEGIN "<os firmware='efi'><type>hvm</type><firmware><feature enabled='yes' "
               "name='secure-boot'/></firmware></os></domain>",
         "/domain/os/firmware/feature/@enabled: 'yes'"},
        {BEGIN "<os firmware='bios'><type>hvm</type><firmware><feature enabled='yes' "
               "name='secure-boot'/></firmware></os></domain>",
         "/domain/os/firmware/feature/@enabled: 'yes'"},
        {BEGIN "<os><type>hvm</type><loader type='pflash'>/x</loader><nvram type='network'>/v"
               "</nvram></os></domain>",
         "/domain/os/nvram/@type"},
        {BEGIN "<os><type>hvm</type><loader>/x</loader><kernel>/k</kernel></os></domain>",
         "/domain/os/loader: a <kernel> is booted without firmware"},
        {BEGIN "<os><type>hvm</type><nvram>/x</nvram></os></domain>",
         "/domain/os/nvram: a BIOS has no variables"},
        {BEGIN OS "<cpu mode='custom' match='exact'><model>Penryn</model></cpu></domain>",
         "/domain/cpu/@mode: 'custom'"},
        {BEGIN OS "<clock offset='utc'><timer name='hpet' present='yes'/></clock></domain>",
         "there is no timer 'hpet'"},
        {BEGIN OS "<features><hyperv><evmcs state='on'/></hyperv></features></domain>",
         "/domain/features/hyperv/evmcs/@state"},
        {BEGIN OS "<features><kvm><hidden state='on'/></kvm></features></domain>",
         "/domain/features/kvm/hidden/@state"},
        {BEGIN OS "<features><smm state='on'/></features></domain>", "/domain/features/smm"},
        {DOMAIN("<serial type='qemu-vdagent'/>"),
         "/domain/devices/serial/@type: 'qemu-vdagent' is for channels"},
        {DOMAIN("<channel type='qemu-vdagent'><source><mouse mode='client'/></source>"
                "<target type='virtio'/></channel>"),
         "/domain/devices/channel/source/mouse/@mode: 'client'"},
        {DOMAIN("<channel type='qemu-vdagent'><target type='virtio' name='other'/></channel>"),
         "/domain/devices/channel/target/@name: 'other'"},
        {DOMAIN("<channel type='qemu-vdagent'><log file='/x'/><target type='virtio'/></channel>"),
         "/domain/devices/channel/log: what is copied is not logged"},
        {DOMAIN("<channel type='unix'><source><clipboard copypaste='yes'/></source>"
                "<target type='virtio' name='a'/></channel>"),
         "/domain/devices/channel/source/clipboard: this is for 'qemu-vdagent'"},
        {BEGIN OS "<pm><suspend-to-mem enabled='yes'/></pm></domain>",
         "/domain/pm/suspend-to-mem/@enabled"},
        {DOMAIN("<disk type='file'><source file='/a'/><target dev='sda' bus='usb'/></disk>"),
         "/domain/devices/disk/target/@bus: 'usb': 'virtio', 'sata', 'scsi' and 'nvme' are "
         "accepted"},
        {DOMAIN("<controller type='scsi' model='lsilogic'/><disk type='file'><source file='/a'/>"
                "<target dev='sda' bus='scsi'/></disk>"),
         "/domain/devices/controller[1]/@model: 'lsilogic': 'virtio-scsi' and "
         "'virtio-non-transitional' are accepted"},
        {DOMAIN("<controller type='scsi'><driver queues='4'/></controller>"),
         "/domain/devices/controller[1]/driver/@queues: '4': a SCSI controller has 1"},
        {DOMAIN("<controller type='scsi'><driver iothread='4'/></controller>"),
         "Controller iothread '4' not defined in iothreadid"},
        {DOMAIN("<disk type='file'><driver queue_size='64'/><source file='/a'/><target dev='sda' "
                "bus='scsi'/></disk>"),
         "/domain/devices/disk/driver/@queue_size: '64': disks with bus 'virtio' have it"},
        {DOMAIN("<disk type='file'><source file='/a'/><target dev='hda'/></disk>"),
         "/domain/devices/disk/target/@bus: 'ide'"},
        {DOMAIN("<disk type='file' device='floppy'><source file='/a'/><target dev='sda' "
                "bus='sata'/></disk>"),
         "/domain/devices/disk/@device: 'floppy': 'disk' and (on SATA and SCSI) 'cdrom' are "
         "accepted"},
        {BEGIN OS "<resource><partition>/production</partition></resource></domain>",
         "/domain/resource/partition: '/production'"},
        {DOMAIN("<disk type='file'><blockio physical_block_size='4096'/><source file='/a'/><target "
                "dev='nvme0n1' bus='nvme'/></disk>"),
         "/domain/devices/disk/blockio/@physical_block_size: '4096'"},
        {DOMAIN("<disk type='file'><driver queues='2'/><source file='/a'/><target dev='sda' "
                "bus='sata'/></disk>"),
         "/domain/devices/disk/driver/@queues: '2': disks with bus 'virtio' have it"},
        {DOMAIN("<disk type='file'><blockio logical_block_size='4096'/><source file='/a'/><target "
                "dev='sda' bus='sata'/></disk>"),
         "/domain/devices/disk/blockio/@logical_block_size: '4096': a SATA disk's is 512"},
        {DOMAIN("<disk type='file'><driver name='qemu' type='vmdk'/><source file='/a'/><target "
                "dev='vda'/></disk>"),
         "/domain/devices/disk/driver/@type: 'vmdk'"},
        {DOMAIN("<disk type='network'><source protocol='rbd' name='p/v'/><target dev='vda'/>"
                "</disk>"),
         "/domain/devices/disk/source/@protocol: 'rbd': 'nbd' is accepted"},
        {DOMAIN("<interface type='network'><source network='default'/></interface>"),
         "/domain/devices/interface/@type: 'network'"},
        {DOMAIN("<interface type='bridge'><source bridge='b'/><model type='e1000'/></interface>"),
         "/domain/devices/interface/model/@type: 'e1000': 'virtio' is accepted"},
        {DOMAIN("<interface type='bridge'><source bridge='b'/><virtualport type='midonet'/>"
                "</interface>"),
         "/domain/devices/interface/virtualport/@type"},
        {DOMAIN("<interface type='bridge'><source bridge='b'/><rom bar='on'/></interface>"),
         "/domain/devices/interface/rom/@bar: 'on'"},
        {BEGIN "<os><type>hvm</type><loader type='pflash'>/x</loader>"
               "<nvram template='/v'>/n</nvram></os><devices><interface type='bridge'>"
               "<source bridge='b'/><rom file='/r'/></interface></devices></domain>",
         "/domain/devices/interface/rom/@file: '/r'"},
        {DOMAIN("<channel type='dbus'><target type='virtio' name='a'/></channel>"),
         "/domain/devices/channel/@type"},
        {DOMAIN("<graphics type='spice' port='-1' tlsPort='-1' autoport='yes'>"
                "<image compression='off'/></graphics>"),
         "/domain/devices/graphics/@type: 'spice': 'vnc' is accepted"},
        {DOMAIN("<graphics type='vnc' websocket='0'/>"), "/domain/devices/graphics/@websocket"},
        {DOMAIN("<graphics type='vnc' websocket='65536'/>"), "/domain/devices/graphics/@websocket"},
        {DOMAIN("<graphics type='vnc' websocket='-1'><listen type='socket'/></graphics>"),
         "/domain/devices/graphics/@websocket"},
        {DOMAIN("<graphics type='vnc' tlsPort='5901'/>"), "/domain/devices/graphics/@tlsPort"},
        {DOMAIN("<graphics type='vnc' keymap='de'/>"), "/domain/devices/graphics/@keymap: 'de'"},
        {DOMAIN("<graphics type='vnc' powerControl='yes'/>"),
         "/domain/devices/graphics/@powerControl"},
        {DOMAIN("<graphics type='vnc' passwd='x' connected='fail'/>"),
         "/domain/devices/graphics/@connected: 'fail'"},
        {DOMAIN("<graphics type='vnc'><listen type='network' network='n'/></graphics>"),
         "/domain/devices/graphics/listen/@type: 'network'"},
        {DOMAIN("<graphics type='vnc'><listen type='address'/><listen type='socket'/></graphics>"),
         "/domain/devices/graphics/listen[2]: one"},
        {DOMAIN("<graphics type='vnc' socket='s'/>"), "/domain/devices/graphics/listen/@socket"},
        {DOMAIN("<graphics type='vnc'><gl enable='yes'/></graphics>"),
         "/domain/devices/graphics/gl"},
        {DOMAIN("<graphics type='vnc'/><graphics type='vnc'/>"), "/domain/devices/graphics[2]"},
        {DOMAIN("<graphics type='vnc'/><video><model type='none'/></video>"),
         "/domain/devices/graphics: there is no screen"},
        {DOMAIN("<graphics type='vnc' port='80'/>"), "vnc port must be in range [5900,65535]"},
        {DOMAIN("<graphics type='vnc' passwd='123456789'/>"),
         "VNC password is 9 characters long, only 8 permitted"},
        {DOMAIN("<tpm model='tpm-spapr'><backend type='emulator'/></tpm>"),
         "/domain/devices/tpm/@model: 'tpm-spapr': 'tpm-crb' and 'tpm-tis' are accepted"},
        {DOMAIN("<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"),
         "/domain/devices/tpm/backend/device"},
        {DOMAIN("<tpm><backend type='passthrough'/></tpm>"),
         "/domain/devices/tpm/backend/@type: 'passthrough': 'emulator' is accepted"},
        {DOMAIN("<tpm><backend type='emulator' version='1.2'/></tpm>"),
         "/domain/devices/tpm/backend/@version: '1.2': '2.0' is accepted"},
        {DOMAIN("<video><model type='qxl'/></video>"),
         "/domain/devices/video/model/@type: 'qxl': 'vga', 'virtio' and 'none' are accepted"},
        {DOMAIN("<video><model type='virtio'><acceleration accel3d='yes'/></model></video>"),
         "/domain/devices/video/model/acceleration/@accel3d: 'yes'"},
        {DOMAIN("<video><model type='virtio' blob='on'/></video>"),
         "/domain/devices/video/model/@blob"},
        {DOMAIN("<video><model type='vga'><acceleration accel3d='no'/></model></video>"),
         "/domain/devices/video/model/acceleration: a VGA has none"},
        {DOMAIN("<video><model type='virtio'><resolution x='3840' y='2160'/></model></video>"),
         "/domain/devices/video/model/resolution: 3840 by 2160"},
        {DOMAIN("<video><model type='vga' vram='131072'/></video>"),
         "/domain/devices/video/model/@vram: '131072'"},
        {DOMAIN("<video><model type='vga' heads='2'/></video>"),
         "/domain/devices/video/model/@heads"},
        {DOMAIN("<video/><video/>"), "/domain/devices/video[2]"},
        {DOMAIN("<input type='evdev'/>"), "/domain/devices/input"},
        {BEGIN "<sysinfo type='fwcfg'/>" OS "</domain>", "/domain/sysinfo/@type: 'fwcfg'"},
        {BEGIN "<sysinfo type='smbios'><bios><entry name='colour'>x</entry></bios></sysinfo>" OS
               "</domain>",
         "/domain/sysinfo/bios/entry/@name: 'colour'"},
        {DOMAIN("<redirdev bus='usb' type='tcp'/>"), "/domain/devices/redirdev/@type"},
        {DOMAIN("<input type='tablet' bus='xen'/>"), "/domain/devices/input"},
        {DOMAIN("<input type='tablet' bus='virtio' model='virtio-transitional'/>"),
         "/domain/devices/input/@model"},
        {DOMAIN("<input type='tablet' bus='ps2'/>"), "ps2 bus does not support tablet"},
        {DOMAIN("<audio id='1' type='pipewire'/>"), "/domain/devices/audio/@type"},
        {DOMAIN("<emulator>/usr/bin/bhyve</emulator>"), "/domain/devices/emulator"},
        {DOMAIN("<controller type='ccid'/>"), "/domain/devices/controller"},
        {DOMAIN("<rng model='virtio'><backend model='egd'/></rng>"), "/domain/devices/rng/backend"},
        {DOMAIN("<panic model='s390'/>"), "/domain/devices/panic/@model"},
        {DOMAIN("<memballoon model='xen'/>"), "/domain/devices/memballoon/@model"},
        {DOMAIN("<vsock model='virtio-transitional'/>"), "/domain/devices/vsock/@model"},
        {BEGIN OS "<seclabel type='dynamic' model='selinux'/></domain>",
         "Security driver model 'selinux' is not available"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_error(rows[i].xml, VIR_ERR_CONFIG_UNSUPPORTED, rows[i].message);
}

static void wrong_values_have_libvirts_codes_and_words(void **state)
{
    static const struct {
        int code;
        const char *message, *xml;
    } rows[] = {
        {VIR_ERR_XML_DETAIL, "(domain_definition):1: Document is empty", ""},
        {VIR_ERR_XML_DETAIL, "(domain_definition):1: Start tag expected, '<' not found\nhello\n^",
         "hello"},
        {VIR_ERR_XML_DETAIL, "Opening and ending tag mismatch", "<domain><a></b></domain>"},
        {VIR_ERR_XML_DETAIL, "Invalid BIOS 'date' format",
         BEGIN "<sysinfo type='smbios'><bios><entry name='date'>x</entry></bios></sysinfo>" OS
               "</domain>"},
        {VIR_ERR_XML_DETAIL, "UUID mismatch between <uuid> and <sysinfo>",
         BEGIN
         "<uuid>c7a5fdbd-edaf-9455-926a-d65c16db1808</uuid><sysinfo type='smbios'><system>"
         "<entry name='uuid'>c7a5fdbd-edaf-9455-926a-d65c16db1809</entry></system></sysinfo>" OS
         "</domain>"},
        {VIR_ERR_XML_ERROR, "expecting root element of 'domain', not 'network'", "<network/>"},
        {VIR_ERR_INTERNAL_ERROR, "missing domain type attribute", "<domain/>"},
        {VIR_ERR_NO_NAME, "missing name information", "<domain type='kvm'/>"},
        {VIR_ERR_XML_ERROR, "name a/b cannot contain '/'",
         "<domain type='kvm'><name>a/b</name></domain>"},
        {VIR_ERR_INTERNAL_ERROR, "malformed uuid element",
         "<domain type='kvm'><name>a</name><uuid>1</uuid></domain>"},
        {VIR_ERR_XML_ERROR, "Memory size must be specified",
         "<domain type='kvm'><name>a</name>" OS "</domain>"},
        {VIR_ERR_INVALID_ARG, "unknown suffix 'furlong'",
         "<domain type='kvm'><name>a</name><memory unit='furlong'>1</memory>" OS "</domain>"},
        {VIR_ERR_OVERFLOW, "value too large: 99999999EiB",
         "<domain type='kvm'><name>a</name><memory unit='EiB'>99999999</memory>" OS "</domain>"},
        {VIR_ERR_XML_ERROR, "an os <type> must be specified", BEGIN "</domain>"},
        {VIR_ERR_CONFIG_UNSUPPORTED, "unknown OS type 'foo'",
         BEGIN "<os><type>foo</type></os></domain>"},
        {VIR_ERR_CONFIG_UNSUPPORTED, "No emulator found for arch 'ppc64'",
         BEGIN "<os><type arch='ppc64'>hvm</type></os></domain>"},
        {VIR_ERR_CONFIG_UNSUPPORTED, "does not support machine type 'pc-i440fx-x'",
         BEGIN "<os><type machine='pc-i440fx-x'>hvm</type></os></domain>"},
        {VIR_ERR_CONFIG_UNSUPPORTED, "must not be less than current vCPU count",
         BEGIN OS "<vcpu current='3'>2</vcpu></domain>"},
        {VIR_ERR_CONFIG_UNSUPPORTED, "CPU topology doesn't match maximum vcpu count",
         BEGIN OS "<vcpu>4</vcpu><cpu><topology sockets='1' cores='2' threads='1'/></cpu>"
                  "</domain>"},
        {VIR_ERR_XML_ERROR, "Domain title can't contain newlines",
         BEGIN OS "<title>a\nb</title></domain>"},
        {VIR_ERR_CONFIG_UNSUPPORTED, "unknown on_crash action: x",
         BEGIN OS "<on_crash>x</on_crash></domain>"},
        {VIR_ERR_CONFIG_UNSUPPORTED, "Lifecycle event 'reboot' doesn't support",
         BEGIN OS "<on_reboot>coredump-restart</on_reboot></domain>"},
        {VIR_ERR_NO_TARGET, "missing target information for device /x",
         DOMAIN("<disk type='file'><source file='/x'/></disk>")},
        {VIR_ERR_NO_SOURCE, "missing source information for device vda",
         DOMAIN("<disk type='file'><target dev='vda'/></disk>")},
        {VIR_ERR_XML_ERROR, "target 'vda' duplicated for disk sources '/a.img' and '/a.img'",
         DOMAIN(DISK DISK)},
        {VIR_ERR_XML_ERROR, "Invalid value for attribute 'cache' in element 'driver': 'x'.",
         DOMAIN("<disk type='file'><driver cache='x'/><source file='/x'/><target dev='vda'/>"
                "</disk>")},
        {VIR_ERR_CONFIG_UNSUPPORTED, "io='native' needs either no disk cache",
         DOMAIN("<disk type='file'><driver io='native'/><source file='/x'/><target dev='vda'/>"
                "</disk>")},
        {VIR_ERR_CONFIG_UNSUPPORTED, "Disk iothread '7' not defined in iothreadid",
         DOMAIN("<disk type='file'><driver iothread='7'/><source file='/x'/><target dev='vda'/>"
                "</disk>")},
        {VIR_ERR_XML_ERROR, "total and read/write bytes_sec cannot be set at the same time",
         DOMAIN("<disk type='file'><source file='/x'/><target dev='vda'/><iotune><total_bytes_sec>"
                "1</total_bytes_sec><read_bytes_sec>1</read_bytes_sec></iotune></disk>")},
        {VIR_ERR_XML_ERROR, "interface type='bridge' requires a 'source' element",
         DOMAIN("<interface type='bridge'/>")},
        {VIR_ERR_XML_ERROR, "unable to parse mac address '52:54:xx:00:00:01'",
         DOMAIN("<interface type='bridge'><mac address='52:54:xx:00:00:01'/><source bridge='b'/>"
                "</interface>")},
        {VIR_ERR_XML_ERROR, "expected unicast mac address, found multicast",
         DOMAIN("<interface type='bridge'><mac address='01:54:00:00:00:01'/><source bridge='b'/>"
                "</interface>")},
        {VIR_ERR_CONFIG_UNSUPPORTED, "ROM tuning is not supported when ROM is disabled",
         DOMAIN("<interface type='bridge'><source bridge='b'/><rom enabled='no' file='/r'/>"
                "</interface>")},
        {VIR_ERR_XML_ERROR, "Attempted double use of PCI Address 0000:00:05.0",
         DOMAIN("<rng model='virtio'><backend model='builtin'/><address type='pci' slot='5'/></rng>"
                "<vsock model='virtio'><address type='pci' slot='0x05'/></vsock>")},
        {VIR_ERR_XML_ERROR, "Invalid PCI address slot='0x63', must be <= 0x1F",
         DOMAIN("<vsock model='virtio'><address type='pci' slot='99'/></vsock>")},
        {VIR_ERR_CONFIG_UNSUPPORTED, "guest CIDs must be >= 3",
         DOMAIN("<vsock model='virtio'><cid auto='no' address='2'/></vsock>")},
        {VIR_ERR_INTERNAL_ERROR, "Missing source path attribute for char device",
         DOMAIN("<serial type='file'/>")},
        {VIR_ERR_CONFIG_UNSUPPORTED, "Only the first console can be a serial port",
         DOMAIN("<console type='pty'/><console type='pty'/>")},
        {VIR_ERR_XML_ERROR, "target type must be specified for channel device",
         DOMAIN("<channel type='pty'/>")},
        {VIR_ERR_CONFIG_UNSUPPORTED, "boot order '1' used for more than one device",
         DOMAIN("<disk type='file'><source file='/x'/><target dev='vda'/><boot order='1'/></disk>"
                "<interface type='bridge'><source bridge='b'/><boot order='1'/></interface>")},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_error(rows[i].xml, rows[i].code, rows[i].message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_refused_element_and_attribute_is_refused_by_its_path),
        cmocka_unit_test(what_no_row_knows_is_refused),
        cmocka_unit_test(refused_values_say_path_and_what_is_accepted),
        cmocka_unit_test(wrong_values_have_libvirts_codes_and_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
