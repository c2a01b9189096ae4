/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains from command lines (src/model/native.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/api_error.h"
#include "model/native.h"

static char *convert(const char *format, const char *text)
{
    struct kv_error err = {0};
    char *xml;
    if (model_domain_from_native(NULL, format, text, &xml, &err) < 0)
        fail_msg("%s: %s", err.message, text);
    return xml;
}

static void expect(const char *xml, const char *const *parts)
{
    for (; *parts; parts++) {
        if (!strstr(xml, *parts))
            fail_msg("no %s in\n%s", *parts, xml);
    }
}

static void expect_refused(const char *format, const char *text, int code, const char *message)
{
    struct kv_error err = {0};
    char *xml;
    assert_true(model_domain_from_native(NULL, format, text, &xml, &err) < 0);
    if (err.code != code || !strstr(err.message, message))
        fail_msg("%d %s instead of %d %s", err.code, err.message, code, message);
}

static void firmware_with_variables_is_an_image_in_flash(void **state)
{
    static const char *const parts[] = {"<loader readonly='yes' type='pflash'>/code&amp;</loader>",
                                        ">/vars</nvram>", NULL};
    char *xml = convert("kvasir-argv", "kvasir-vmm --firmware '/code&' --nvram /vars");
    expect(xml, parts);
    free(xml);
}

static void a_kvasir_vmm_command_line_becomes_a_domain(void **state)
{
    static const char *const parts[] = {
        "<name>web</name>",
        "<uuid>0f0b6a5c-8f4e-4b39-9d6b-0d3a1d0a1c01</uuid>",
        "<memory unit='KiB'>1048576</memory>",
        "<vcpu placement='static'>2</vcpu>",
        "<cmdline>console=ttyS0 root=/dev/vda</cmdline>",
        "<driver name='qemu' type='qcow2' cache='none'/>\n      <source file='/my disk.img'/>",
        "<mac address='52:54:00:00:00:09'/>\n      <target dev='tap0' managed='no'/>",
        "<source path='/tmp/log'/>",
        "<target type='virtio' name='org.qemu.guest_agent.0'/>",
        "<cid auto='no' address='42'/>",
        NULL,
    };
    char *xml = convert(
        "kvasir-argv",
        "LC_ALL=C /usr/bin/kvasir-vmm --name web --uuid=0f0b6a5c-8f4e-4b39-9d6b-0d3a1d0a1c01 \\\n"
        " --memory 1G --cpus 2 --kernel /k --cmdline 'console=ttyS0 root=/dev/vda' "
        "--disk 'path=/my disk.img,format=qcow2,cache=none' --net tap=tap0,mac=52:54:00:00:00:09 "
        "--serial file:/tmp/log --port chardev=null,name=org.qemu.guest_agent.0 "
        "--vsock guest-cid=42,path=/v --control /run/c.sock --no-jail\n");
    expect(xml, parts);
    free(xml);
}

static void a_simple_qemu_command_line_becomes_a_domain(void **state)
{
    static const char *const parts[] = {
        "<name>demo</name>",
        "machine='pc-q35-7.2'",
        "<memory unit='KiB'>524288</memory>",
        "<topology sockets='1' dies='1' cores='2' threads='1'/>",
        "<source dev='/dev/vg/a'/>",
        "<source file='/b,c.qcow2'/>",
        "<source bridge='br1'/>",
        "<serial type='pty'>",
        "<backend model='random'>/dev/urandom</backend>",
        NULL,
    };
    char *xml =
        convert("qemu-argv", "qemu-system-x86_64 -name guest=demo -M q35,accel=kvm -enable-kvm "
                             "-cpu host -m 512 -smp 2,cores=2 -kernel /k -append \"quiet x\" "
                             "-drive file=/dev/vg/a,if=none,id=d0,format=raw "
                             "-device virtio-blk-pci,drive=d0,serial=s0 "
                             "-drive file=/b,,c.qcow2,if=virtio,format=qcow2 "
                             "-netdev bridge,id=n0,br=br1 -device virtio-net-pci,netdev=n0 "
                             "-device virtio-rng-pci -serial stdio -display none -nodefaults");
    expect(xml, parts);
    free(xml);
}

static void drives_at_controllers_keep_their_place(void **state)
{
    static const char *const parts[] = {
        "<disk type='file' device='cdrom'>",
        "<target dev='sda' bus='sata'/>",
        "<address type='drive' controller='0' bus='0' target='0' unit='2'/>",
        "<target dev='sdb' bus='scsi'/>",
        "<address type='drive' controller='1' bus='0' target='3' unit='4'/>",
        "<target dev='sdc' bus='scsi'/>",
        "<controller type='scsi' index='1' model='virtio-scsi'>",
        NULL,
    };
    char *xml = convert("qemu-argv", "qemu -kernel /k -drive if=none,id=c,media=cdrom "
                                     "-device ide-cd,bus=ide.2,drive=c "
                                     "-device virtio-scsi-pci,id=scsi1 "
                                     "-drive file=/a,if=none,id=a -device "
                                     "scsi-hd,bus=scsi1.0,channel=0,scsi-id=3,lun=4,drive=a "
                                     "-drive file=/b,if=none,id=b -device scsi-hd,drive=b");
    expect(xml, parts);
    free(xml);
    xml = convert("kvasir-argv", "kvasir-vmm --kernel /k --sata id=sata0 --scsi id=scsi1 "
                                 "--cdrom controller=sata0,unit=2 "
                                 "--disk /a,bus=scsi,controller=scsi1,unit=3,lun=4 "
                                 "--disk /b,bus=scsi");
    expect(xml, parts);
    free(xml);
}

static void what_has_no_counterpart_is_refused_by_name(void **state)
{
    expect_refused("xen-xl", "x", VIR_ERR_INVALID_ARG, "unsupported config type xen-xl");
    expect_refused("qemu-argv", "qemu -kernel /k -vga std", VIR_ERR_CONFIG_UNSUPPORTED,
                   "-vga: this option has no counterpart");
    expect_refused("qemu-argv", "qemu -kernel /k -device e1000", VIR_ERR_CONFIG_UNSUPPORTED,
                   "e1000: there is no such device here");
    expect_refused("qemu-argv", "qemu -kernel /k -drive file=/a,format=raw",
                   VIR_ERR_CONFIG_UNSUPPORTED, "no virtio device uses it");
    expect_refused("qemu-argv", "qemu -kernel /k -m lots", VIR_ERR_CONFIG_UNSUPPORTED,
                   "lots: is not a size of memory");
    expect_refused("qemu-argv", "qemu -kernel", VIR_ERR_CONFIG_UNSUPPORTED, "a value is missing");
    expect_refused("kvasir-argv", "kvasir-vmm --name 'a", VIR_ERR_CONFIG_UNSUPPORTED, "open quote");
    expect_refused("kvasir-argv", "", VIR_ERR_CONFIG_UNSUPPORTED, "is empty");
    expect_refused("kvasir-argv", "kvasir-vmm --kernel /k --disk path=/a,limit=5",
                   VIR_ERR_CONFIG_UNSUPPORTED, "has a part that no domain's XML can say");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kvasir_vmm_command_line_becomes_a_domain),
        cmocka_unit_test(firmware_with_variables_is_an_image_in_flash),
        cmocka_unit_test(a_simple_qemu_command_line_becomes_a_domain),
        cmocka_unit_test(drives_at_controllers_keep_their_place),
        cmocka_unit_test(what_has_no_counterpart_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
