/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Domains (src/model/domain.h): documents as clients write them (tests/model/domains, NAME.xml is
 * completed to NAME.out.xml, which agrees with libvirt 9.0 where the features are the same), the
 * typed view, changes, hostile documents. What is refused: test_model_refused.c.
 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <libvirt/libvirt.h>

#include "domain_document.h"
#include "model/api_error.h"
#include "model/domain.h"
#include "model/element.h"

static struct model_domain *parse_flags(const char *xml, unsigned flags)
{
    struct model_domain *d;
    struct kv_error err = {0};
    if (model_domain_parse(&d, NULL, xml, strlen(xml), flags, &err) < 0)
        fail_msg("%s\n%s", err.message, xml);
    return d;
}

static struct model_domain *parse(const char *xml)
{
    return parse_flags(xml, MODEL_PARSE_INACTIVE);
}

static char *format(const struct model_domain *d, unsigned flags)
{
    char *text = model_domain_format(d, flags);
    assert_non_null(text);
    return text;
}

static void expect_format(const struct model_domain *d, unsigned flags, const char *part)
{
    char *text = format(d, flags);
    if (!strstr(text, part))
        fail_msg("no '%s' in\n%s", part, text);
    free(text);
}

static void expect_no_format(const struct model_domain *d, unsigned flags, const char *part)
{
    char *text = format(d, flags);
    if (strstr(text, part))
        fail_msg("'%s' in\n%s", part, text);
    free(text);
}

/* ------------------------------------------------------------------- corpus */

static char *read_whole(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", DOMAINS_DIR, name);
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s: %s", path, strerror(errno));
    char *text = calloc(1, 65536);
    assert_non_null(text);
    size_t n = fread(text, 1, 65535, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

static void expect_same(const char *name, const char *is, const char *wanted)
{
    if (strcmp(is, wanted) != 0)
        fail_msg("%s: is\n%s\nwanted\n%s", name, is, wanted);
}

static void check_file(const char *name)
{
    char out_name[256];
    snprintf(out_name, sizeof(out_name), "%.*s.out.xml", (int)(strlen(name) - 4), name);
    char *in = read_whole(name), *wanted = read_whole(out_name);
    struct model_domain *d = parse(in);
    char *is = format(d, MODEL_FORMAT_INACTIVE);
    expect_same(name, is, wanted);

    struct model_domain *again = parse(is);
    char *second = format(again, MODEL_FORMAT_INACTIVE);
    expect_same("read again", second, wanted);
    struct model_domain *stored = parse_flags(is, MODEL_PARSE_STORED);
    char *third = format(stored, 0);
    expect_same("stored", third, wanted);

    struct kv_error err;
    struct model_domain *live = model_domain_copy(d);
    assert_non_null(live);
    assert_int_equal(model_domain_set_id(live, 7, &err), 0);
    char *fourth = format(live, MODEL_FORMAT_INACTIVE);
    expect_same("live and stripped", fourth, wanted);
    for (unsigned i = 0; i < live->device_count; i++)
        assert_non_null(live->devices[i]->alias);

    free(in), free(wanted), free(is), free(second), free(third), free(fourth);
    model_domain_free(d);
    model_domain_free(again);
    model_domain_free(stored);
    model_domain_free(live);
}

static void documents_of_real_clients_are_completed_as_libvirt_does(void **state)
{
    DIR *dir = opendir(DOMAINS_DIR);
    assert_non_null(dir);
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        size_t len = strlen(e->d_name);
        if (len < 5 || strcmp(e->d_name + len - 4, ".xml") != 0 || strstr(e->d_name, ".out."))
            continue;
        check_file(e->d_name);
        n++;
    }
    closedir(dir);
    assert_true(n >= 6);
}

/* --------------------------------------------------------------------- view */

static void the_view_holds_what_was_written(void **state)
{
    char *text = read_whole("cockpit.xml");
    struct model_domain *d = parse(text);
    assert_string_equal(d->name, "cockpit");
    assert_string_equal(d->uuid_text, "0f0b6a5c-8f4e-4b39-9d6b-0d3a1d0a1c06");
    assert_int_equal(d->memory_kib, 1048576);
    assert_true(d->memory_backing.hugepages && d->memory_backing.locked);
    assert_int_equal(d->memory_backing.hugepage_kib, 2048);
    assert_int_equal(d->hard_limit_kib, 2097152);
    assert_int_equal(d->blkio_weight, 500);
    assert_string_equal(d->numatune_nodeset, "0");
    assert_string_equal(d->cpuset, "0-1");
    assert_int_equal(d->iothreads, 2);
    assert_int_equal(d->iothread_ids[0], 4);
    assert_int_equal(d->iothread_ids[1], 1);
    assert_int_equal(d->cputune.quota, 50000);
    assert_string_equal(d->cputune.iothreadpins[0].cpuset, "1");
    assert_int_equal(d->disk_count, 3);
    const struct model_disk *disk = model_domain_find_disk(d, "vda");
    assert_non_null(disk);
    assert_true(disk->readonly);
    assert_int_equal(disk->iothread, 4);
    assert_string_equal(disk->image.backing->path, "/base.raw");
    assert_true(disk->image.backing->backing_end);
    assert_int_equal(disk->physical_block_size, 4096);
    disk = model_domain_find_disk(d, "vdb");
    assert_string_equal(disk->image.encryption, "luks");
    assert_string_equal(disk->image.encryption_key.usage, "disk-key");
    disk = model_domain_find_disk(d, "vdaa");
    assert_string_equal(disk->image.socket, "/run/nbd.sock");
    assert_int_equal(d->nics[0].type, MODEL_NIC_VHOSTUSER);
    assert_true(d->nics[1].link_down && !d->nics[1].managed);
    assert_int_equal(d->channels[0].device.address.port, 7);
    assert_true(d->memballoon->none);
    assert_int_equal(d->rngs[0].period, 2000);
    uint32_t slots = 0;
    for (unsigned i = 0; i < d->device_count; i++) {
        int slot = d->devices[i]->slot;
        assert_true(slot < 0 || !(slots & (1u << slot)));
        slots |= slot < 0 ? 0 : 1u << slot;
    }
    model_domain_free(d);
    free(text);
}

static void devices_on_root_ports_get_slots_of_their_own(void **state)
{
    char *text = read_whole("virt_manager.xml");
    struct model_domain *d = parse(text);
    assert_int_equal(d->disks[0].device.address.bus, 4);
    assert_true(d->disks[0].device.slot > 0);
    assert_true(d->disks[0].device.slot != d->disks[1].device.slot);
    assert_null(d->nics[0].target); /* vnet7 was libvirt's own choice */
    assert_true(d->left_out_count >= 4);
    model_domain_free(d);
    free(text);
}

static void what_clients_always_add_is_left_out_and_named(void **state)
{
    static const char *const names[] = {"sound", "redirdev", "channel", "input", "controller"};
    struct model_domain *d =
        parse(DOMAIN("<controller type='usb' model='qemu-xhci'/>"
                     "<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/>"
                     "</channel><input type='tablet' bus='usb'/><sound model='ich9'/>"
                     "<redirdev bus='usb' type='spicevmc'/>"));
    assert_int_equal(d->left_out_count, sizeof(names) / sizeof(names[0]));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        bool found = false;
        for (unsigned j = 0; j < d->left_out_count; j++)
            found |= strstr(d->left_out[j], names[i]) != NULL;
        assert_true(found);
    }
    assert_int_equal(d->channel_count, 0);

    struct kv_error err;
    assert_int_equal(model_domain_set_id(d, 3, &err), 0);
    static const char *const present[] = {"<controller type='usb'", "<memballoon"};
    for (size_t i = 0; i < sizeof(present) / sizeof(present[0]); i++)
        expect_format(d, MODEL_FORMAT_PRESENT, present[i]);
    static const char *const absent[] = {"<sound", "<redirdev", "<channel", "<input"};
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
        expect_format(d, 0, absent[i]);
        expect_no_format(d, MODEL_FORMAT_PRESENT, absent[i]);
    }
    model_domain_free(d);
}

static void an_agents_channel_copies_texts_if_it_is_told_to(void **state)
{
    struct model_domain *d =
        parse(DOMAIN("<channel type='qemu-vdagent'><source><clipboard copypaste='yes'/></source>"
                     "<target type='virtio'/></channel>"));
    expect_format(d, 0,
                  "    <channel type='qemu-vdagent'>\n"
                  "      <source>\n"
                  "        <clipboard copypaste='yes'/>\n"
                  "      </source>\n"
                  "      <target type='virtio' name='com.redhat.spice.0'/>\n");
    assert_true(d->channels[0].clipboard);
    assert_string_equal(d->channels[0].name, "com.redhat.spice.0");
    model_domain_free(d);
    d = parse(DOMAIN("<channel type='qemu-vdagent'><source><mouse mode='server'/></source>"
                     "<target type='virtio' name='com.redhat.spice.0'/></channel>"));
    assert_false(d->channels[0].clipboard);
    model_domain_free(d);
}

static void a_screen_is_completed_as_libvirt_does(void **state)
{
    struct kv_error err;
    struct model_domain *d =
        parse(DOMAIN("<graphics type='vnc' port='-1'/><input type='tablet' bus='usb'/>"));
    expect_format(d, 0,
                  "    <input type='tablet' bus='usb'/>\n"
                  "    <input type='mouse' bus='ps2'/>\n"
                  "    <input type='keyboard' bus='ps2'/>\n"
                  "    <graphics type='vnc' port='-1' autoport='yes'>\n"
                  "      <listen type='address'/>\n"
                  "    </graphics>\n"
                  "    <video>\n"
                  "      <model type='vga' vram='16384' heads='1' primary='yes'/>\n"
                  "      <address type='pci' domain='0x0000' bus='0x00' slot='0x02' "
                  "function='0x0'/>\n"
                  "    </video>\n");
    assert_true(d->graphics->autoport && !d->graphics->port && !d->graphics->password);
    assert_int_equal(d->video->vram_kib, 16384);
    assert_int_equal(d->left_out_count, 0);
    expect_format(d, 0, "    <controller type='usb' index='0' model='qemu-xhci'>\n");
    assert_true(d->inputs[0].usb && !d->inputs[1].usb);

    assert_int_equal(model_domain_set_id(d, 3, &err), 0);
    assert_int_equal(model_graphics_set_port(d, 5907, "127.0.0.1"), 0);
    expect_format(d, MODEL_FORMAT_PRESENT,
                  "    <input type='mouse' bus='ps2'>\n"
                  "      <alias name='input1'/>\n"
                  "    </input>\n");
    expect_format(d, 0,
                  "    <graphics type='vnc' port='5907' autoport='yes' listen='127.0.0.1'>\n"
                  "      <listen type='address' address='127.0.0.1'/>\n"
                  "    </graphics>\n");
    expect_format(d, 0, "<alias name='video0'/>");
    expect_format(d, MODEL_FORMAT_PRESENT, "    <input type='tablet' bus='usb'>\n");
    expect_format(d, MODEL_FORMAT_INACTIVE, "<graphics type='vnc' port='-1' autoport='yes'");
    model_domain_free(d);
}

static void inputs_on_usb_want_a_controller_that_the_machine_has(void **state)
{
    struct model_domain *d = parse(
        DOMAIN("<controller type='usb' index='0' model='piix3-uhci'/>"
               "<controller type='usb' index='1' model='nec-xhci'/>"
               "<controller type='usb' index='2' model='qemu-xhci'/>"
               "<input type='tablet' bus='usb'/><input type='keyboard' bus='usb'>"
               "<address type='usb' bus='1' port='3'/></input><video><model type='vga'/></video>"));
    assert_false(d->inputs[0].usb);
    assert_true(d->inputs[1].usb);
    assert_int_equal(d->inputs[1].port, 3);
    assert_int_equal(d->left_out_count, 3); /* two controllers and the tablet */
    for (unsigned i = 0; i < d->controller_count; i++) {
        const struct model_controller *c = &d->controllers[i];
        if (strcmp(c->type, "usb") == 0)
            assert_true(c->real == (c->index == 1) && (c->device.slot > 0) == c->real);
    }
    model_domain_free(d);
}

static void sysinfo_is_told_to_the_guest_as_the_mode_says(void **state)
{
    static const char start[] =
        "<domain type='kvm'><name>a</name><memory>65536</memory><sysinfo type='smbios'>"
        "<bios><entry name='release'>4.2</entry></bios><system>"
        "<entry name='uuid'>C7A5FDBD-edaf-9455-926a-d65c16db1809</entry>"
        "<entry name='serial'>S &amp; 1</entry></system>"
        "<oemStrings><entry>one</entry><entry>two=2</entry></oemStrings></sysinfo>"
        "<os><type arch='x86_64'>hvm</type><smbios mode='sysinfo'/></os></domain>";
    static const struct model_smbios_text wanted[] = {{0, "release", "4.2"},
                                                      {1, "serial", "S & 1"},
                                                      {11, "value", "one"},
                                                      {11, "value", "two=2"}};
    struct model_domain *d = parse(start);
    assert_int_equal(d->smbios, MODEL_SMBIOS_SYSINFO);
    assert_string_equal(d->uuid_text, "c7a5fdbd-edaf-9455-926a-d65c16db1809");
    assert_int_equal(d->smbios_text_count, sizeof(wanted) / sizeof(wanted[0]));
    for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        assert_int_equal(d->smbios_texts[i].type, wanted[i].type);
        assert_string_equal(d->smbios_texts[i].name, wanted[i].name);
        assert_string_equal(d->smbios_texts[i].text, wanted[i].text);
    }
    expect_format(d, 0, "    <system>\n      <entry name='uuid'>");
    expect_format(d, 0, "    <smbios mode='sysinfo'/>\n");
    model_domain_free(d);
}

static void inputs_on_virtio_are_devices_of_their_own(void **state)
{
    struct kv_error err;
    struct model_domain *d = parse(DOMAIN("<input type='tablet' bus='virtio'/><input type='mouse'/>"
                                          "<video><model type='vga'/></video>"));
    assert_int_equal(d->input_count, 3);
    assert_true(d->inputs[0].virtio && d->inputs[0].device.slot == 3);
    assert_int_equal(d->inputs[0].type, MODEL_INPUT_TABLET);
    assert_true(!d->inputs[1].virtio && d->inputs[1].device.slot < 0);
    assert_int_equal(d->left_out_count, 0);
    assert_int_equal(model_domain_set_id(d, 1, &err), 0);
    expect_format(d, MODEL_FORMAT_PRESENT,
                  "    <input type='tablet' bus='virtio'>\n"
                  "      <alias name='input0'/>\n"
                  "      <address type='pci' domain='0x0000' bus='0x00' slot='0x03' "
                  "function='0x0'/>\n");
    model_domain_free(d);
}

static void virtio_gpu_is_shown_as_libvirt_shows_it(void **state)
{
    struct model_domain *d = parse(DOMAIN("<video><model type='virtio'><acceleration accel3d='no'/>"
                                          "<resolution x='1920' y='1080'/></model></video>"));
    expect_format(d, 0,
                  "      <model type='virtio' heads='1' primary='yes'>\n"
                  "        <acceleration accel3d='no'/>\n"
                  "        <resolution x='1920' y='1080'/>\n"
                  "      </model>\n");
    assert_true(d->video->virtio && d->video->vram_kib == 0 && d->video->xres == 1920);
    assert_int_equal(d->video->device.slot, 2);
    model_domain_free(d);
}

static void a_tpm_is_completed(void **state)
{
    struct kv_error err;
    struct model_domain *d =
        parse(DOMAIN("<tpm><backend type='emulator' persistent_state='yes'/></tpm>"));
    expect_format(d, 0,
                  "    <tpm model='tpm-tis'>\n"
                  "      <backend type='emulator' version='2.0' persistent_state='yes'/>\n"
                  "    </tpm>\n");
    assert_true(d->tpm->persistent);
    assert_int_equal(model_domain_set_id(d, 1, &err), 0);
    expect_format(d, 0, "<alias name='tpm0'/>");
    model_domain_free(d);
}

static void a_screens_socket_is_the_users_or_chosen(void **state)
{
    struct kv_error err;
    struct model_domain *d = parse(DOMAIN("<graphics type='vnc' socket='/s' port='5901'/>"
                                          "<video><model type='vga' vram='9000'/></video>"));
    expect_format(d, 0,
                  "<graphics type='vnc' socket='/s'>\n"
                  "      <listen type='socket' socket='/s'/>\n");
    expect_format(d, 0, "vram='16384'");
    model_domain_free(d);
    d = parse(DOMAIN("<graphics type='vnc'><listen type='socket'/></graphics>"));
    assert_int_equal(model_domain_set_id(d, 3, &err), 0);
    char path[64], wanted[200];
    snprintf(path, sizeof(path), "/run/%s.vnc", d->uuid_text);
    snprintf(wanted, sizeof(wanted), "<graphics type='vnc' socket='%s'>", path);
    assert_int_equal(model_graphics_set_socket(d, path), 0);
    assert_string_equal(d->graphics->socket, path);
    expect_format(d, 0, wanted);
    expect_format(d, MODEL_FORMAT_INACTIVE,
                  "<graphics type='vnc'>\n      <listen type='socket'/>\n");
    model_domain_free(d);
}

static void a_screens_password_is_shown_to_who_may_see_it(void **state)
{
    struct model_domain *d =
        parse(DOMAIN("<graphics type='vnc' port='5901' passwd='secret' "
                     "passwdValidTo='2030-01-01T00:00:00' connected='keep' listen='::1'/>"));
    static const char shown[] = "<graphics type='vnc' port='5901' autoport='no' listen='::1' "
                                "passwd='secret' passwdValidTo='2030-01-01T00:00:00' "
                                "connected='keep'>";
    assert_string_equal(d->graphics->password, "secret");
    assert_true(d->graphics->expires && d->graphics->password_until == 1893456000);
    expect_format(d, MODEL_FORMAT_SECURE, shown);
    expect_no_format(d, 0, "secret");
    expect_format(d, MODEL_FORMAT_SECURE | MODEL_FORMAT_INACTIVE, shown);
    struct model_domain *copy = model_domain_copy(d);
    assert_non_null(copy);
    expect_format(copy, MODEL_FORMAT_SECURE, shown);
    model_domain_free(copy);
    model_domain_free(d);
}

static void a_controller_without_an_index_is_the_one_that_channels_want(void **state)
{
    struct model_domain *d =
        parse(DOMAIN("<controller type='virtio-serial'/><controller type='virtio-serial'/>"
                     "<channel type='unix'><target type='virtio' name='a'/></channel>"));
    assert_int_equal(d->controller_count, 3);
    expect_format(d, 0, "<controller type='virtio-serial' index='0'>");
    expect_format(d, 0, "<controller type='virtio-serial' index='1'>");
    expect_no_format(d, 0, "<controller type='virtio-serial' index='2'>");
    model_domain_free(d);
}

static void the_network_is_booted_from_as_the_document_says(void **state)
{
    struct model_domain *d =
        parse(BEGIN "<os><type>hvm</type><boot dev='network'/><boot dev='hd'/></os><devices>" NIC
                    "<interface type='bridge'><source bridge='b'/><rom file='/r'/></interface>"
                    "<interface type='bridge'><source bridge='b'/><rom enabled='no'/></interface>"
                    "</devices></domain>");
    assert_int_equal(d->boot_count, 2);
    assert_int_equal(d->boots[0], MODEL_BOOT_NETWORK);
    assert_null(d->nics[0].rom);
    assert_false(d->nics[0].no_rom);
    assert_string_equal(d->nics[1].rom, "/r");
    assert_true(d->nics[2].no_rom);
    model_domain_free(d);
}

static void a_mac_with_xx_is_filled_in(void **state)
{
    struct model_domain *d =
        parse(DOMAIN("<interface type='bridge'><mac address='52:54:00:xx:xx:xx'/>"
                     "<source bridge='br0'/></interface>"));
    assert_int_equal(d->nics[0].mac[0], 0x52);
    expect_no_format(d, 0, "xx:xx");
    model_domain_free(d);
}

static void more_devices_than_slots_are_refused(void **state)
{
    char xml[16384] = BEGIN OS "<devices>";
    for (int i = 0; i < 31; i++)
        strcat(xml, "<rng model='virtio'><backend model='builtin'/></rng>");
    strcat(xml, "</devices></domain>");
    expect_error(xml, VIR_ERR_INTERNAL_ERROR, "No more available PCI slots");
}

static void sata_disks_and_cdroms_have_units_of_controllers(void **state)
{
    struct model_domain *d =
        parse(DOMAIN("<disk type='file' device='cdrom'><target dev='sdh' bus='sata'/></disk>"));
    assert_true(d->disks[0].cdrom && !d->disks[0].image.path && d->disks[0].device.slot == -1);
    expect_format(d, 0, "<address type='drive' controller='1' bus='0' target='0' unit='1'/>");
    expect_format(d, 0, "<controller type='sata' index='1'");
    model_domain_free(d);
}

static void scsi_disks_have_a_controller_and_places_by_name_as_libvirt_gives_them(void **state)
{
    struct model_domain *d =
        parse(DOMAIN("<disk type='file'><source file='/h'/><target dev='sdh' bus='scsi'/></disk>"
                     "<disk type='file' device='cdrom'><target dev='sdp' bus='scsi'/></disk>"
                     "<disk type='file'><source file='/x'/><target dev='sdx' bus='scsi'/>"
                     "<address type='drive' controller='0' bus='0' target='3' unit='200'/></disk>"
                     "<disk type='file'><source file='/a'/><target dev='sda'/></disk>"));
    struct kv_error err;
    expect_format(d, 0, "<controller type='scsi' index='0' model='virtio-scsi'>");
    expect_format(d, 0, "<controller type='scsi' index='1' model='virtio-scsi'>");
    expect_format(d, 0, "<target dev='sda' bus='scsi'/>");
    expect_format(d, 0, "<address type='drive' controller='0' bus='0' target='0' unit='8'/>");
    expect_format(d, 0, "<address type='drive' controller='1' bus='0' target='0' unit='0'/>");
    assert_true(d->controllers[1].real && d->controllers[1].device.slot > 0);
    assert_int_equal(model_domain_set_id(d, 1, &err), 0);
    assert_string_equal(d->disks[0].device.alias, "scsi0-0-0-0");
    assert_string_equal(d->disks[3].device.alias, "scsi0-0-3-200");
    assert_non_null(model_domain_find_alias(d, "scsi1"));
    model_domain_free(d);
}

static void nvme_disks_are_namespaces_of_controllers(void **state)
{
    struct model_domain *d =
        parse(DOMAIN("<disk type='file'><source file='/a'/><target dev='nvme1n3'/></disk>"));
    expect_format(d, 0, "<target dev='nvme1n3' bus='nvme'/>");
    expect_format(d, 0, "<address type='drive' controller='1' bus='0' target='0' unit='2'/>");
    expect_format(d, 0, "<controller type='nvme' index='1'>");
    assert_true(d->disks[0].bus == MODEL_DISK_NVME && d->controllers[1].device.slot > 0);
    model_domain_free(d);
}

static void a_scsi_controller_has_its_drivers_limits(void **state)
{
    struct model_domain *d =
        parse(DOMAIN("<controller type='scsi' model='auto'><driver queues='1' cmd_per_lun='8' "
                     "max_sectors='512' ioeventfd='on'/></controller>"));
    expect_format(d, 0, "<controller type='scsi' index='0' model='virtio-scsi'>");
    assert_int_equal(d->controllers[0].cmd_per_lun, 8);
    assert_int_equal(d->controllers[0].max_sectors, 512);
    assert_true(d->controllers[0].real);
    model_domain_free(d);
}

/* ------------------------------------------------------------------ changes */

static void a_live_document_has_id_aliases_and_ttys(void **state)
{
    struct kv_error err;
    struct model_domain *d = parse(DOMAIN(DISK NIC "<serial type='pty'/>"));
    assert_int_equal(model_domain_set_id(d, 3, &err), 0);
    assert_int_equal(d->id, 3);
    assert_string_equal(d->disks[0].device.alias, "virtio-disk0");
    assert_string_equal(d->nics[0].device.alias, "net0");
    assert_string_equal(d->consoles[0].device.alias, "serial0");
    assert_int_equal(model_chardev_set_path(d, &d->serials[0], "/dev/pts/9"), 0);
    assert_int_equal(model_nic_set_target(d, &d->nics[0], "vnet0"), 0);
    assert_string_equal(d->consoles[0].path, "/dev/pts/9");
    expect_format(d, 0, "<domain type='kvm' id='3'>");
    expect_format(d, 0, "<console type='pty' tty='/dev/pts/9'>\n      <source path='/dev/pts/9'/>");
    expect_format(d, 0, "<target dev='vnet0'/>\n      <model type='virtio'/>\n      <alias");
    expect_no_format(d, MODEL_FORMAT_INACTIVE, "alias");
    expect_no_format(d, MODEL_FORMAT_INACTIVE, "pts");

    char *text = format(d, 0);
    struct model_domain *again = parse_flags(text, MODEL_PARSE_STORED);
    assert_int_equal(again->id, 3);
    assert_string_equal(again->serials[0].path, "/dev/pts/9");
    model_domain_free(again);
    free(text);
    assert_int_equal(model_domain_set_id(d, -1, &err), 0);
    assert_null(d->disks[0].device.alias);
    model_domain_free(d);
}

static void a_stored_domain_that_is_refused_now_is_kept_but_not_started(void **state)
{
    struct kv_error err;
    struct model_domain *d =
        parse_flags(BEGIN "<os><type arch='x86_64' machine='pc'>hvm</type><dtb>/tree</dtb></os>"
                          "<devices><parallel type='pty'/></devices></domain>",
                    MODEL_PARSE_STORED | MODEL_PARSE_INACTIVE);
    expect_format(d, 0, "<parallel type='pty'/>");
    assert_int_equal(model_domain_set_name(d, "renamed", &err), 0);
    assert_true(model_domain_set_id(d, 1, &err) < 0);
    assert_int_equal(err.code, VIR_ERR_CONFIG_UNSUPPORTED);
    assert_non_null(strstr(err.message, "/domain/os/dtb"));
    model_domain_free(d);
}

static void a_change_that_is_wrong_changes_nothing(void **state)
{
    struct kv_error err;
    struct model_domain *d = parse(DOMAIN(DISK));
    char *before = format(d, 0);
    assert_true(model_domain_set_name(d, "a/b", &err) < 0);
    assert_int_equal(err.code, VIR_ERR_XML_ERROR);
    assert_true(model_domain_set_vcpus(d, 1000, 1, 1, &err) < 0);
    assert_true(model_domain_set_memory(d, 0, 0, &err) < 0);
    struct model_device *device;
    assert_true(model_domain_attach(d, DISK, strlen(DISK), &device, &err) < 0);
    assert_int_equal(err.code, VIR_ERR_OPERATION_FAILED);
    assert_string_equal(err.message, "operation failed: target vda already exists");
    char *after = format(d, 0);
    assert_string_equal(before, after);
    assert_string_equal(d->name, "t");
    free(before), free(after);
    model_domain_free(d);
}

static void numbers_and_names_can_be_set(void **state)
{
    struct kv_error err;
    struct model_domain *d = parse(DOMAIN(""));
    assert_int_equal(model_domain_set_name(d, "new", &err), 0);
    assert_int_equal(model_domain_set_memory(d, 1048576, 524288, &err), 0);
    assert_int_equal(model_domain_set_vcpus(d, 4, 2, 2, &err), 0);
    assert_int_equal(model_domain_set_balloon_period(d, 5, &err), 0);
    assert_int_equal(
        model_domain_set_action(d, VIR_DOMAIN_LIFECYCLE_CRASH, MODEL_ACTION_PRESERVE, &err), 0);
    assert_int_equal(model_domain_set_value(d, "cputune/shares", NULL, "512", &err), 0);
    assert_string_equal(d->name, "new");
    assert_int_equal(d->current_memory_kib, 524288);
    assert_int_equal(d->vcpus, 2);
    assert_int_equal(d->memballoon->stats_period, 5);
    assert_int_equal(d->on_crash, MODEL_ACTION_PRESERVE);
    assert_int_equal(d->cputune.shares, 512);
    expect_format(d, 0, "<vcpu placement='static' current='2'>4</vcpu>\n  <cputune>");
    model_domain_free(d);
}

static void metadata_is_set_shown_and_removed(void **state)
{
    struct kv_error err;
    char *text;
    struct model_domain *d = parse(DOMAIN(""));
    assert_true(model_domain_get_metadata(d, VIR_DOMAIN_METADATA_TITLE, NULL, &text, &err) < 0);
    assert_int_equal(err.code, VIR_ERR_NO_DOMAIN_METADATA);
    assert_int_equal(model_domain_set_metadata(d, VIR_DOMAIN_METADATA_TITLE, "T", NULL, NULL, &err),
                     0);
    assert_true(model_domain_set_metadata(d, VIR_DOMAIN_METADATA_TITLE, "T\nU", NULL, NULL, &err) <
                0);
    assert_int_equal(model_domain_set_metadata(d, VIR_DOMAIN_METADATA_ELEMENT,
                                               "<app><x a='1'/></app>", "my", "http://e/1", &err),
                     0);
    expect_format(d, 0, "  <metadata>\n    <my:app xmlns:my=\"http://e/1\">\n      <x a=\"1\"/>\n");
    assert_int_equal(
        model_domain_get_metadata(d, VIR_DOMAIN_METADATA_ELEMENT, "http://e/1", &text, &err), 0);
    assert_string_equal(text, "<app>\n  <x a=\"1\"/>\n</app>");
    free(text);
    assert_int_equal(
        model_domain_set_metadata(d, VIR_DOMAIN_METADATA_ELEMENT, NULL, NULL, "http://e/1", &err),
        0);
    expect_no_format(d, 0, "my:app");
    assert_true(model_domain_set_metadata(d, VIR_DOMAIN_METADATA_ELEMENT, "<a", "k", "u", &err) <
                0);
    assert_int_equal(err.code, VIR_ERR_XML_DETAIL);
    model_domain_free(d);
}

static void devices_are_attached_found_updated_and_detached(void **state)
{
    static const char second[] =
        "<disk type='file'><source file='/b.img'/><target dev='vdb' bus='virtio'/></disk>";
    static const char down[] = "<interface type='bridge'><mac address='52:54:00:00:00:01'/>"
                               "<source bridge='br1'/><link state='down'/></interface>";
    struct kv_error err;
    struct model_device *device;
    struct model_domain *d = parse(DOMAIN(DISK NIC));
    int nic_slot = d->nics[0].device.slot;
    assert_int_equal(model_domain_attach(d, second, strlen(second), &device, &err), 0);
    assert_ptr_equal(device, &d->disks[1]);
    assert_true(device->slot > 0);
    assert_int_equal(model_domain_update(d, down, strlen(down), &device, &err), 0);
    assert_ptr_equal(device, &d->nics[0]);
    assert_true(d->nics[0].link_down);
    assert_string_equal(d->nics[0].source, "br1");
    assert_int_equal(d->nics[0].device.slot, nic_slot);
    assert_int_equal(model_domain_find(d, second, strlen(second), &device, &err), 0);
    assert_int_equal(model_domain_detach(d, device, &err), 0);
    assert_int_equal(d->disk_count, 1);
    assert_true(model_domain_find(d, second, strlen(second), &device, &err) < 0);
    assert_int_equal(err.code, VIR_ERR_DEVICE_MISSING);
    assert_string_equal(err.message, "device not found: disk vdb not found");
    assert_true(model_domain_attach(d, "<toaster/>", 10, &device, &err) < 0);
    assert_true(model_domain_attach(d, "<memballoon model='virtio'/>", 28, &device, &err) < 0);
    model_domain_free(d);
}

static void identity_follows_libvirts_rules(void **state)
{
    struct kv_error err;
    uint8_t other[16] = {1};
    struct model_domain *d = parse(DOMAIN(""));
    assert_int_equal(model_domain_check_identity(d, "t", d->uuid, &err), 0);
    assert_int_equal(model_domain_check_identity(d, "u", other, &err), 0);
    assert_true(model_domain_check_identity(d, "t", other, &err) < 0);
    assert_int_equal(err.code, VIR_ERR_OPERATION_FAILED);
    assert_string_equal(err.message, "operation failed: domain 't' already exists with uuid "
                                     "01000000-0000-0000-0000-000000000000");
    assert_true(model_domain_check_identity(d, "u", d->uuid, &err) < 0);
    assert_non_null(strstr(err.message, "domain 'u' is already defined with uuid"));
    struct model_domain *copy = model_domain_copy(d);
    assert_int_equal(model_domain_check_abi(d, copy, &err), 0);
    assert_int_equal(model_domain_set_vcpus(copy, 3, 3, 3, &err), 0);
    assert_true(model_domain_check_abi(d, copy, &err) < 0);
    assert_non_null(strstr(err.message, "Target domain vCPU max 3 does not match source 1"));
    model_domain_free(copy);
    model_domain_free(d);
}

/* ------------------------------------------------------------------ hostile */

static double seconds_to_parse(const char *xml, size_t len, int *code)
{
    struct timespec a, b;
    struct model_domain *d;
    struct kv_error err = {0};
    clock_gettime(CLOCK_MONOTONIC, &a);
    int ret = model_domain_parse(&d, NULL, xml, len, MODEL_PARSE_INACTIVE, &err);
    clock_gettime(CLOCK_MONOTONIC, &b);
    *code = ret < 0 ? err.code : 0;
    model_domain_free(d);
    return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
}

/* begin, then part until the text has size bytes, then end. */
static void expect_bounded(const char *begin, const char *part, const char *end, size_t size)
{
    char *xml = malloc(size + strlen(part) + strlen(end) + 1);
    assert_non_null(xml);
    strcpy(xml, begin);
    size_t len = strlen(begin), n = strlen(part);
    for (; len < size; len += n)
        memcpy(xml + len, part, n);
    strcpy(xml + len, end);
    int code;
    double seconds = seconds_to_parse(xml, len + strlen(end), &code);
    if (code == 0 || seconds > 3)
        fail_msg("%.3f s, code %d: %.60s%.40s", seconds, code, begin, part);
    free(xml);
}

static void hostile_documents_are_refused_in_bounded_time(void **state)
{
    const size_t most = (4u << 20) - 64;
    expect_error("<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>"
                 "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;'>]><domain type='&c;'/>",
                 VIR_ERR_XML_ERROR, "a document type declaration is not accepted");
    expect_error("<!DOCTYPE d SYSTEM 'file:///etc/passwd'><domain type='kvm'/>", VIR_ERR_XML_ERROR,
                 "a document type declaration is not accepted");
    expect_error("<domain type='kvm'><name>a\x01</name></domain>", VIR_ERR_XML_DETAIL,
                 "(domain_definition):1:");
    expect_bounded("<domain type='kvm'>", "x", "</domain>", (size_t)100 << 20);
    expect_bounded("", "<domain>", "", most);
    expect_bounded("<domain type='kvm'><name>", "n", "</name></domain>", most);
    expect_bounded(BEGIN OS "<devices>", "<memballoon model='virtio'/><vsock model='virtio'/>",
                   "</devices></domain>", most);
    expect_bounded(BEGIN OS "<devices>", DISK NIC, "</devices></domain>", most);
    expect_bounded(BEGIN OS "<devices>", "<controller type='usb'/>",
                   "<vsock model='virtio'><cid address='1'/></vsock></devices></domain>", 20000);
    expect_bounded(BEGIN OS "<cputune>", "<vcpupin vcpu='1' cpuset='0-4095'/>",
                   "</cputune></domain>", most);
    expect_bounded(BEGIN OS "<metadata>", "<a:b xmlns:a='u'><a:c>", "", most);
    expect_bounded(BEGIN OS "<metadata>", "<!---->", "</metadata></domain>", most);
    expect_bounded(BEGIN OS "<metadata>", "<a/>", "</metadata></domain>", most);
    expect_bounded(BEGIN OS "<metadata>", "<?p?><a/>", "</metadata></domain>", most);
    expect_bounded(BEGIN OS "<vcpu ", "a='1' ", "/></domain>", most);
    expect_bounded(BEGIN OS "<devices><disk type='file'><source file='/x'/><target dev='vda'/>",
                   "<backingStore type='file'><format type='raw'/><source file='/x'/>", "", most);
}

static void a_zero_byte_is_refused(void **state)
{
    static const char xml[] = "<domain type='kvm'>\0</domain>";
    struct model_domain *d;
    struct kv_error err = {0};
    assert_true(model_domain_parse(&d, NULL, xml, sizeof(xml) - 1, 0, &err) < 0);
    assert_int_equal(err.code, VIR_ERR_XML_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_of_real_clients_are_completed_as_libvirt_does),
        cmocka_unit_test(the_view_holds_what_was_written),
        cmocka_unit_test(devices_on_root_ports_get_slots_of_their_own),
        cmocka_unit_test(sata_disks_and_cdroms_have_units_of_controllers),
        cmocka_unit_test(scsi_disks_have_a_controller_and_places_by_name_as_libvirt_gives_them),
        cmocka_unit_test(a_scsi_controller_has_its_drivers_limits),
        cmocka_unit_test(nvme_disks_are_namespaces_of_controllers),
        cmocka_unit_test(what_clients_always_add_is_left_out_and_named),
        cmocka_unit_test(an_agents_channel_copies_texts_if_it_is_told_to),
        cmocka_unit_test(a_screen_is_completed_as_libvirt_does),
        cmocka_unit_test(inputs_on_usb_want_a_controller_that_the_machine_has),
        cmocka_unit_test(sysinfo_is_told_to_the_guest_as_the_mode_says),
        cmocka_unit_test(inputs_on_virtio_are_devices_of_their_own),
        cmocka_unit_test(a_tpm_is_completed),
        cmocka_unit_test(virtio_gpu_is_shown_as_libvirt_shows_it),
        cmocka_unit_test(a_screens_socket_is_the_users_or_chosen),
        cmocka_unit_test(a_screens_password_is_shown_to_who_may_see_it),
        cmocka_unit_test(a_controller_without_an_index_is_the_one_that_channels_want),
        cmocka_unit_test(the_network_is_booted_from_as_the_document_says),
        cmocka_unit_test(a_mac_with_xx_is_filled_in),
        cmocka_unit_test(more_devices_than_slots_are_refused),
        cmocka_unit_test(a_live_document_has_id_aliases_and_ttys),
        cmocka_unit_test(a_stored_domain_that_is_refused_now_is_kept_but_not_started),
        cmocka_unit_test(a_change_that_is_wrong_changes_nothing),
        cmocka_unit_test(numbers_and_names_can_be_set),
        cmocka_unit_test(metadata_is_set_shown_and_removed),
        cmocka_unit_test(devices_are_attached_found_updated_and_detached),
        cmocka_unit_test(identity_follows_libvirts_rules),
        cmocka_unit_test(hostile_documents_are_refused_in_bounded_time),
        cmocka_unit_test(a_zero_byte_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
