/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains' documents as running machines: images, interfaces, consoles; in a network of their own.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "daemon/machine/machine_internal.h"
#include "machine_events.h"
#include "model/api_error.h"
#include "model/domain.h"
#include "unit.h"

#define UUID "6d2c1f5e-3f5b-4d7c-9c0a-222222222222"

static struct machine_host *host;
static struct kv_error err;
static char folder[] = "/tmp/kvasir-domain-XXXXXX", run_dir[64], log_dir[64];
static bool own_network;

static int run(const char *fmt, ...)
{
    char command[2048];
    va_list ap;
    va_start(ap, fmt);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    vsnprintf(command, sizeof(command), fmt, ap);
#pragma GCC diagnostic pop
    va_end(ap);
    return system(command);
}

/* Interfaces of the tests' own; sysfs shows those of the network that it was mounted in. */
static bool enter_network(void)
{
    return geteuid() == 0 && unshare(CLONE_NEWNET | CLONE_NEWNS) == 0 &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("sysfs", "/sys", "sysfs", 0, NULL) == 0 &&
           run("ip link set lo up && ip link add br0 type bridge && ip link set br0 up && "
               "ip link add dummy0 type veth peer name dummy1 && ip link set dummy0 up && "
               "ip link set dummy1 up && ip address add 192.0.2.2/24 dev dummy0 && "
               "ip route add default via 192.0.2.1") == 0;
}

static int open_folder(void **state)
{
    assert_non_null(mkdtemp(folder));
    snprintf(run_dir, sizeof(run_dir), "%s/run", folder);
    snprintf(log_dir, sizeof(log_dir), "%s/log", folder);
    own_network = enter_network();
    events_init();
    const struct machine_host_config config = {
        .run_dir = run_dir, .log_dir = log_dir, .vmm_path = getenv("KVASIR_VMM")};
    assert_int_equal(machine_host_create(&host, &config, &err), 0);
    return 0;
}

static int remove_folder(void **state)
{
    machine_host_free(host);
    return run("rm -rf %s", folder);
}

static unsigned count_entries(const char *path)
{
    unsigned count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

static unsigned fds_before, links_before;

static int begin(void **state)
{
    fds_before = count_entries("/proc/self/fd");
    links_before = count_entries("/sys/class/net");
    events_clear();
    err = (struct kv_error){0};
    return 0;
}

static int expect_clean(void **state)
{
    bool left = machine_record_kill(host, UUID, &err) == 0; /* a failed test's */
    assert_false(left);
    assert_int_equal(count_entries(run_dir), 0);
    assert_int_equal(count_entries("/proc/self/fd"), fds_before);
    assert_int_equal(count_entries("/sys/class/net"), links_before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    return 0;
}

static const char *in_os = ""; /* further elements of <os> */

static struct model_domain *make_domain(const char *features, const char *devices)
{
    cleanup_free char *xml = NULL;
    struct model_domain *domain;
    int len =
        asprintf(&xml,
                 "<domain type='kvm'><name>test</name><uuid>" UUID "</uuid>"
                 "<memory unit='MiB'>64</memory><vcpu>1</vcpu>"
                 "<os><type arch='x86_64' machine='q35'>hvm</type><kernel>%s</kernel>%s</os>%s"
                 "<devices><serial type='pty'/>%s</devices></domain>",
                 getenv("KVASIR_PAYLOAD"), in_os, features, devices);
    assert_true(len > 0);
    if (model_domain_parse(&domain, NULL, xml, (size_t)len, 0, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(model_domain_set_id(domain, 7, &err), 0);
    return domain;
}

static int try_start(struct machine **machine, struct model_domain *domain)
{
    const struct machine_start how = {.domain = domain, .id = 7, .event = events_take};
    return machine_start(machine, host, &how, &err);
}

static struct machine *start(struct model_domain *domain)
{
    struct machine *machine = NULL;
    if (try_start(&machine, domain) < 0)
        fail_msg("%s", err.message);
    return machine;
}

static void finish(struct machine *machine, struct model_domain *domain)
{
    assert_int_equal(machine_kill(machine, false, &err), 0);
    machine_free(machine);
    model_domain_free(domain);
}

static void expect_refused(const char *features, const char *devices, const char *words)
{
    struct model_domain *domain = make_domain(features, devices);
    struct machine *machine;
    assert_true(try_start(&machine, domain) < 0);
    if (!strstr(err.message, words))
        fail_msg("'%s' does not say '%s'", err.message, words);
    model_domain_free(domain);
}

static void read_until(int fd, const char *text)
{
    char bytes[1024];
    size_t len = 0;
    while (len < sizeof(bytes) - 1) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ssize_t n = poll(&ready, 1, 10000) > 0 ? read(fd, bytes + len, sizeof(bytes) - 1 - len) : 0;
        if (n <= 0)
            fail_msg("'%s' does not come; '%.*s' came", text, (int)len, bytes);
        len += (size_t)n;
        bytes[len] = '\0';
        if (strstr(bytes, text))
            return;
    }
    fail_msg("'%s' does not come", text);
}

static void a_minimal_domain_runs_and_its_terminal_has_a_name(void **state)
{
    struct model_domain *domain = make_domain("", "");
    struct machine *machine = start(domain);
    assert_non_null(domain->serials[0].path);
    assert_memory_equal(domain->serials[0].path, "/dev/pts/", 9);
    cleanup_fd int console = -1;
    assert_int_equal(machine_open_console(machine, NULL, 0, &console, &err), 0);
    read_until(console, "ready");
    close(take_fd(&console));
    assert_int_equal(machine_open_console(machine, "serial0", 0, &console, &err), 0);
    close(take_fd(&console));
    finish(machine, domain);
}

static json_t *query(struct machine *machine, const char *command)
{
    json_t *answer;
    assert_int_equal(machine_qmp(machine, command, NULL, &answer, &err), 0);
    return answer;
}

static void a_chain_of_images_comes_as_descriptors(void **state)
{
    char devices[1024];
    struct machine_disk *disks;
    unsigned count;
    const char *img = getenv("KVASIR_IMG");
    assert_int_equal(run("cd %s && %s create -q -f raw base.raw 4M && %s create -q -f qcow2 -b "
                         "base.raw -F raw mid.qcow2 && %s create -q -f qcow2 -b mid.qcow2 -F qcow2 "
                         "top.qcow2 && chmod 0600 *.raw *.qcow2",
                         folder, img, img, img),
                     0);
    snprintf(devices, sizeof(devices),
             "<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap' "
             "detect_zeroes='on'/><source file='%s/top.qcow2'/><target dev='vda' bus='virtio'/>"
             "<serial>abc</serial><iotune><total_iops_sec>1000</total_iops_sec>"
             "<total_iops_sec_max>2000</total_iops_sec_max><total_iops_sec_max_length>5"
             "</total_iops_sec_max_length></iotune></disk>"
             "<disk type='file' device='disk'><driver name='qemu' type='raw' cache='writethrough'/>"
             "<source file='%s/base2.raw'/><target dev='vdb' bus='virtio'/><readonly/></disk>",
             folder, folder);
    assert_int_equal(run("truncate -s 1M %s/base2.raw", folder), 0);
    struct model_domain *domain = make_domain("", devices);
    struct machine *machine = start(domain);
    assert_int_equal(machine_query_disks(machine, NULL, &disks, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_string_equal(disks[0].alias, "virtio-disk0");
    assert_true(disks[0].has_backing);
    assert_int_equal(disks[0].capacity, MIB(4));
    assert_true(disks[0].physical > 0 && disks[0].physical < MIB(1));
    assert_int_equal(disks[1].capacity, MIB(1));
    free(disks);
    json_t *blocks = query(machine, "query-block"), *medium;
    medium = json_object_get(json_array_get(blocks, 0), "inserted");
    assert_int_equal(json_integer_value(json_object_get(medium, "backing_file_depth")), 2);
    assert_int_equal(json_integer_value(json_object_get(medium, "iops")), 1000);
    assert_int_equal(json_integer_value(json_object_get(medium, "iops_max_length")), 5);
    json_decref(blocks);
    finish(machine, domain);
}

static void images_that_are_not_there_or_lie_are_refused(void **state)
{
    char devices[512];
    const char *img = getenv("KVASIR_IMG");
    expect_refused("",
                   "<disk type='file'><driver name='qemu' type='raw'/><source "
                   "file='/nowhere/x.raw'/><target dev='vda' bus='virtio'/></disk>",
                   "Could not open '/nowhere/x.raw': No such file");
    assert_int_equal(run("cd %s && %s create -q -f qcow2 -b /etc/hostname -F raw -u liar.qcow2 1M "
                         "&& %s create -q -f qcow2 -u -b 'json:{\"driver\":\"raw\"}' -F raw "
                         "json.qcow2 1M",
                         folder, img, img),
                     0);
    snprintf(devices, sizeof(devices),
             "<disk type='file'><driver name='qemu' type='qcow2'/><source file='%s/json.qcow2'/>"
             "<target dev='vda' bus='virtio'/></disk>",
             folder);
    expect_refused("", devices, "description as its backing image");
}

static void interfaces_are_made_and_removed(void **state)
{
    struct machine_nic *nics;
    unsigned count;
    if (!own_network)
        skip();
    struct model_domain *domain =
        make_domain("", "<interface type='bridge'><mac address='52:54:00:11:22:33'/><source "
                        "bridge='br0'/><mtu size='1400'/><model type='virtio'/></interface>"
                        "<interface type='bridge'><source bridge='br0'/><model type='virtio'/>"
                        "<driver queues='2'/><bandwidth><inbound average='1000'/></bandwidth>"
                        "<link state='down'/></interface>");
    struct machine *machine = start(domain);
    assert_string_equal(domain->nics[0].target, "vnet0");
    assert_string_equal(domain->nics[1].target, "vnet1");
    assert_int_equal(access("/sys/class/net/br0/brif/vnet0", F_OK), 0);
    assert_int_equal(access("/sys/class/net/br0/brif/vnet1", F_OK), 0);
    assert_int_equal(run("test $(cat /sys/class/net/vnet0/mtu) = 1400 && "
                         "grep -q ^fe:54:00:11:22:33 /sys/class/net/vnet0/address"),
                     0);
    assert_int_equal(machine_query_nics(machine, NULL, &nics, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_string_equal(nics[0].target, "vnet0");
    assert_true(nics[0].link_up);
    assert_false(nics[1].link_up);
    free(nics);
    assert_int_equal(machine_set_link(machine, "net1", true, &err), 0);
    finish(machine, domain);
    assert_int_equal(if_nametoindex("vnet0"), 0);
}

static void a_bridge_that_is_missing_is_told(void **state)
{
    expect_refused("",
                   "<interface type='bridge'><source bridge='nobr'/><model "
                   "type='virtio'/></interface>",
                   own_network ? "nobr" : "");
}

static void macvtaps_are_removed_also_by_the_next_daemon(void **state)
{
    if (!own_network)
        skip();
    struct model_domain *domain =
        make_domain("", "<interface type='direct'><source dev='dummy0' mode='bridge'/><model "
                        "type='virtio'/></interface>");
    struct machine *machine = NULL;
    if (try_start(&machine, domain) < 0 && strstr(err.message, "not supported")) {
        model_domain_free(domain);
        skip(); /* the host's kernel has no macvtap */
    }
    if (!machine)
        fail_msg("%s", err.message);
    assert_true(if_nametoindex(domain->nics[0].target) > 0);
    assert_int_equal(machine_record_kill(host, UUID, &err), 0); /* all that the record says */
    assert_int_equal(if_nametoindex(domain->nics[0].target), 0);
    events_expect(MACHINE_EVENT_DIED);
    machine_free(machine);
    model_domain_free(domain);
}

/* A switch of the test's own, which moves frames in user space. */
static bool start_ovs(void)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/ovs", folder);
    setenv("OVS_RUNDIR", path, 1);
    return run("command -v ovs-vswitchd >/dev/null && mkdir %s && cd %s && "
               "{ ovsdb-tool create conf.db /usr/share/openvswitch/vswitch.ovsschema && "
               "ovsdb-server %s/conf.db --remote=punix:%s/db.sock --pidfile=%s/db.pid --detach "
               "--log-file=%s/db.log && ovs-vsctl --no-wait init && "
               "ovs-vswitchd unix:%s/db.sock --pidfile=%s/vs.pid --detach --log-file=%s/vs.log && "
               "ovs-vsctl --timeout=10 add-br ovsbr0 -- set bridge ovsbr0 datapath_type=netdev; } "
               ">/dev/null 2>&1",
               path, path, path, path, path, path, path, path, path) == 0;
}

static void ports_of_open_vswitch_come_and_go(void **state)
{
    if (!own_network || !start_ovs())
        skip();
    links_before = count_entries("/sys/class/net");
    struct model_domain *domain =
        make_domain("", "<interface type='bridge'><source bridge='ovsbr0'/><vlan><tag id='42'/>"
                        "</vlan><virtualport type='openvswitch'/><model type='virtio'/>"
                        "</interface>");
    struct machine *machine = start(domain);
    assert_int_equal(run("test \"$(ovs-vsctl list-ports ovsbr0)\" = vnet0 && "
                         "test \"$(ovs-vsctl get port vnet0 tag)\" = 42 && "
                         "ovs-vsctl get interface vnet0 external_ids | grep -q " UUID),
                     0);
    finish(machine, domain);
    assert_int_equal(run("test -z \"$(ovs-vsctl list-ports ovsbr0)\""), 0);
    expect_refused("",
                   "<interface type='bridge'><source bridge='nobr'/><virtualport "
                   "type='openvswitch'/><model type='virtio'/></interface>",
                   "no bridge named nobr");
    assert_int_equal(run("kill $(cat %s/ovs/vs.pid) $(cat %s/ovs/db.pid)", folder, folder), 0);
    links_before = count_entries("/sys/class/net");
}

static void channels_and_small_devices_are_there(void **state)
{
    struct model_domain *domain = make_domain(
        "<on_reboot>destroy</on_reboot>",
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
        "<console type='pty'><target type='virtio' port='0'/></console>"
        "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
        "<memballoon model='virtio'><stats period='5'/></memballoon>"
        "<vsock model='virtio'><cid auto='yes'/></vsock>");
    struct machine_memory memory;
    struct machine *machine = start(domain);
    struct stat st;
    assert_non_null(domain->channels[0].path);
    assert_int_equal(stat(domain->channels[0].path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(domain->vsock->cid, 3);
    assert_int_equal(machine_query_memory(machine, NULL, &memory, &err), 0);
    assert_int_equal(memory.actual, MIB(64));
    assert_int_equal(machine_set_balloon(machine, MIB(32), &err), 0);
    assert_int_equal(machine_set_balloon_period(machine, 2, &err), 0);
    cleanup_fd int console = -1;
    assert_int_equal(machine_open_console(machine, "serial0", 0, &console, &err), 0);
    read_until(console, "ready");
    assert_int_equal(fd_write_all(console, "r", 1), 0); /* on_reboot destroy */
    assert_int_equal(events_expect(MACHINE_EVENT_DIED).end, MACHINE_END_SHUTDOWN);
    close(take_fd(&console));
    machine_free(machine);
    model_domain_free(domain);
}

static void inputs_and_texts_of_the_firmware_are_handed_over(void **state)
{
    static const char sysinfo[] =
        "<sysinfo type='smbios'><bios><entry name='release'>4.2</entry></bios><system>"
        "<entry name='serial'>S-1</entry><entry name='uuid'>" UUID "</entry></system>"
        "<baseBoard><entry name='location'>here</entry></baseBoard>"
        "<chassis><entry name='sku'>x</entry></chassis>"
        "<oemStrings><entry>one</entry><entry>two,three=3</entry></oemStrings></sysinfo>";
    in_os = "<smbios mode='host'/>";
    struct model_domain *domain = make_domain(
        sysinfo, "<controller type='usb' index='0' model='nec-xhci'/>"
                 "<input type='tablet' bus='usb'><address type='usb' bus='0' port='5'/></input>"
                 "<input type='keyboard' bus='usb'/><input type='keyboard' bus='virtio'/>"
                 "<video><model type='virtio' vram='8192'><resolution x='800' y='600'/></model>"
                 "</video>");
    finish(start(domain), domain);
    in_os = "<smbios mode='sysinfo'/>";
    domain = make_domain(sysinfo, "");
    finish(start(domain), domain);
    expect_refused("", "", "sysinfo are not available");
    in_os = "";
}

static void user_mode_networking_begins_and_ends_with_its_machine(void **state)
{
    if (run("command -v passt >/dev/null") != 0)
        skip();
    struct model_domain *domain = make_domain(
        "", "<interface type='user'><backend type='passt'/><model type='virtio'/></interface>");
    struct machine *machine = NULL;
    if (try_start(&machine, domain) < 0)
        fail_msg("%s", err.message);
    const json_t *list = json_object_get(machine->record.json, "undo"), *undo;
    struct process passt = PROCESS_INIT;
    size_t i;
    json_array_foreach ((json_t *)list, i, undo) {
        if (json_object_get(undo, "pid") && passt.pidfd < 0)
            record_open_process(undo, &passt);
    }
    assert_true(passt.pidfd >= 0);
    assert_false(process_wait(&passt, 0));
    finish(machine, domain);
    assert_true(process_wait(&passt, 5000));
    process_close(&passt);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, expect_clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_minimal_domain_runs_and_its_terminal_has_a_name),
        CASE(a_chain_of_images_comes_as_descriptors),
        CASE(images_that_are_not_there_or_lie_are_refused),
        CASE(inputs_and_texts_of_the_firmware_are_handed_over),
        CASE(interfaces_are_made_and_removed),
        CASE(a_bridge_that_is_missing_is_told),
        CASE(macvtaps_are_removed_also_by_the_next_daemon),
        CASE(ports_of_open_vswitch_come_and_go),
        CASE(channels_and_small_devices_are_there),
        CASE(user_mode_networking_begins_and_ends_with_its_machine),
    };
    cmocka_set_test_filter(getenv("KVASIR_TEST_FILTER"));
    return cmocka_run_group_tests(tests, open_folder, remove_folder);
}
