/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verbs of the group "Domain Management". The synopsis is what the options are read from (spec.h).
 */
#include "cli/verb_groups.h"
#include "cli/verbs.h"

static const struct verb domain[] = {
    {"attach-device", "<domain> <file> [--persistent] [--config] [--live] [--current]",
     "add the device that a file describes", "attach-device web disk.xml --config",
     domain_attach_device},
    {"attach-disk",
     "<domain> <source> <target> [--targetbus <string>] [--driver <string>] "
     "[--subdriver <string>] [--iothread <string>] [--cache <string>] [--io <string>] "
     "[--type <string>] [--mode <string>] [--sourcetype <string>] [--serial <string>] "
     "[--wwn <string>] [--alias <string>] [--rawio] [--address <string>] "
     "[--multifunction] [--print-xml] [--source-protocol <string>] [--source-host-name "
     "<string>] [--source-host-transport <string>] [--source-host-socket=<string>] "
     "[--persistent] [--config] [--live] [--current]",
     "add a disk", "attach-disk web /srv/data.qcow2 vdb --subdriver qcow2 --config",
     domain_attach_disk},
    {"attach-interface",
     "<domain> <type> <source> [--target <string>] [--mac <string>] [--script "
     "<string>] [--model <string>] [--alias <string>] [--inbound <string>] [--outbound "
     "<string>] [--persistent] [--config] [--live] [--current] [--print-xml] "
     "[--managed] [--source-mode <string>]",
     "add a network interface", "attach-interface web bridge br0 --model virtio --config",
     domain_attach_interface},
    {"autostart", "<domain> [--disable]", "start a machine together with the daemon, or no longer",
     "autostart web", domain_autostart},
    {"blkdeviotune",
     "<domain> <device> [--total-bytes-sec <number>] [--read-bytes-sec <number>] "
     "[--write-bytes-sec <number>] [--total-iops-sec <number>] [--read-iops-sec "
     "<number>] [--write-iops-sec <number>] [--total-bytes-sec-max <number>] "
     "[--read-bytes-sec-max <number>] [--write-bytes-sec-max <number>] "
     "[--total-iops-sec-max <number>] [--read-iops-sec-max <number>] "
     "[--write-iops-sec-max <number>] [--size-iops-sec <number>] [--group-name "
     "<string>] [--total-bytes-sec-max-length <number>] [--read-bytes-sec-max-length "
     "<number>] [--write-bytes-sec-max-length <number>] "
     "[--total-iops-sec-max-length=<number>] [--read-iops-sec-max-length=<number>] "
     "[--write-iops-sec-max-length=<number>] [--config] [--live] [--current]",
     "show or set the limits of a disk", "blkdeviotune web vda --total-iops-sec 500",
     domain_iotune},
    {"blkiotune",
     "<domain> [--weight <number>] [--device-weights <string>] [--device-read-iops-sec "
     "<string>] [--device-write-iops-sec <string>] [--device-read-bytes-sec <string>] "
     "[--device-write-bytes-sec <string>] [--config] [--live] [--current]",
     "show or set weights and limits of block I/O", "blkiotune web", domain_blkiotune},
    {"blockcommit",
     "<domain> <path> [--bandwidth <number>] [--base <string>] [--shallow] [--top "
     "<string>] [--active] [--delete] [--wait] [--verbose] [--timeout <number>] "
     "[--pivot] [--keep-overlay] [--async] [--keep-relative] [--bytes]",
     "write an overlay's changes down into its base", "blockcommit web vda --active --pivot",
     unserved},
    {"blockcopy",
     "<domain> <path> [--dest <string>] [--bandwidth <number>] [--shallow] "
     "[--reuse-external] [--blockdev] [--wait] [--verbose] [--timeout <number>] "
     "[--pivot] [--finish] [--async] [--xml <string>] [--format <string>] "
     "[--granularity <number>] [--buf-size <number>] [--bytes] [--transient-job] "
     "[--synchronous-writes] [--print-xml]",
     "copy a disk while it is in use", "blockcopy web vda /srv/copy.qcow2 --wait", unserved},
    {"blockjob",
     "<domain> <path> [--abort] [--async] [--pivot] [--info] [--bytes] [--raw] "
     "[--bandwidth <number>]",
     "look at a job on a disk, or change it", "blockjob web vda", unserved},
    {"blockpull",
     "<domain> <path> [--bandwidth <number>] [--base <string>] [--wait] [--verbose] "
     "[--timeout <number>] [--async] [--keep-relative] [--bytes]",
     "read a disk's base into its overlay", "blockpull web vda --wait", unserved},
    {"blockresize", "<domain> <path> <size:number>", "make a disk larger while it is in use",
     "blockresize web vda 40G", domain_block_resize},
    {"change-media",
     "<domain> <path> [--source <string>] [--eject] [--insert] [--update] [--current] "
     "[--live] [--config] [--force] [--print-xml] [--block]",
     "change what lies in a CD or floppy drive", "change-media web sda /srv/install.iso --insert",
     domain_change_media},
    {"console", "<domain> [--devname <string>] [--force] [--safe]",
     "talk to a machine's serial console", "console web", domain_console},
    {"cpu-stats", "<domain> [--total] [--start <number>] [--count <number>]",
     "processor time of a machine", "cpu-stats web --total", domain_cpu_stats},
    {"create",
     "<file> [--console] [--paused] [--autodestroy] [--pass-fds <string>] [--validate] "
     "[--reset-nvram]",
     "start the machine that a file describes, for this once", "create web.xml", domain_create},
    {"define", "<file> [--validate]", "keep the machine that a file describes, without starting it",
     "define web.xml", domain_define},
    {"desc", "<domain> [--live] [--config] [--current] [--title] [--edit] [<new-desc>]...",
     "show or change a machine's description or title", "desc web --title \"Web server\"",
     domain_description},
    {"destroy", "<domain> [--graceful] [--remove-logs]", "switch a machine off at once",
     "destroy web", domain_destroy},
    {"detach-device", "<domain> <file> [--persistent] [--config] [--live] [--current]",
     "take away the device that a file describes", "detach-device web disk.xml --config",
     domain_detach_device},
    {"detach-device-alias", "<domain> <alias> [--config] [--live] [--current]",
     "take away the device of an alias", "detach-device-alias web virtio-disk1 --config",
     domain_detach_alias},
    {"detach-disk",
     "<domain> <target> [--persistent] [--config] [--live] [--current] [--print-xml]",
     "take a disk away", "detach-disk web vdb --config", domain_detach_disk},
    {"detach-interface",
     "<domain> <type> [--mac <string>] [--persistent] [--config] [--live] [--current] "
     "[--print-xml]",
     "take a network interface away",
     "detach-interface web bridge --mac 52:54:00:11:22:33 --config", domain_detach_interface},
    {"domdisplay", "<domain> [--include-password] [--type <string>] [--all]",
     "where a machine's screen can be seen", "domdisplay web", domain_display},
    {"domfsfreeze", "<domain> [<mountpoint>]...", "hold writes to the guest's file systems",
     "domfsfreeze web", domain_freeze},
    {"domfsthaw", "<domain> [<mountpoint>]...", "let writes to the guest's file systems go on",
     "domfsthaw web", domain_thaw},
    {"domfsinfo", "<domain>", "the guest's mounted file systems", "domfsinfo web",
     domain_filesystems},
    {"domfstrim", "<domain> [--minimum <number>] [--mountpoint <string>]",
     "have the guest tell its disks what is unused", "domfstrim web", domain_trim},
    {"domhostname", "<domain> [--source <string>]", "the guest's own name", "domhostname web",
     domain_hostname},
    {"domid", "<domain>", "the number of a machine that runs", "domid web", domain_id},
    {"domif-setlink", "<domain> <interface> <state> [--config] [--print-xml]",
     "plug an interface's cable in or out", "domif-setlink web 52:54:00:11:22:33 down --config",
     domain_set_link},
    {"domiftune",
     "<domain> <interface> [--inbound <string>] [--outbound <string>] [--config] "
     "[--live] [--current]",
     "show or set the bandwidth of an interface", "domiftune web vnet0", domain_interface_tune},
    {"domjobabort", "<domain> [--postcopy]", "end the job that a machine is busy with",
     "domjobabort web", domain_job_abort},
    {"domjobinfo", "<domain> [--completed] [--keep-completed] [--anystats] [--rawstats]",
     "how far a machine's job is", "domjobinfo web", domain_job_info},
    {"domlaunchsecinfo", "<domain>", "what a machine was measured as at launch",
     "domlaunchsecinfo web", unserved},
    {"domsetlaunchsecstate",
     "<domain> [--secrethdr=<string>] [--secret=<string>] [--set-address <number>]",
     "hand a launch secret to a machine",
     "domsetlaunchsecstate web --secrethdr header --secret secret", unserved},
    {"domname", "<domain>", "the name of a machine", "domname 3", domain_name},
    {"domrename", "<domain> <new-name>", "give a machine another name", "domrename web www",
     domain_rename},
    {"dompmsuspend", "<domain> <target> [--duration=<number>]",
     "have the guest put itself to sleep", "dompmsuspend web mem", domain_pm_suspend},
    {"dompmwakeup", "<domain>", "wake a guest that sleeps", "dompmwakeup web", domain_pm_wakeup},
    {"domuuid", "<domain>", "the UUID of a machine", "domuuid web", domain_uuid},
    {"domxml-from-native", "<format> <config>", "turn a command line into a machine's description",
     "domxml-from-native qemu-argv web.args", domain_from_native},
    {"domxml-to-native", "<format> [--domain=<string>] [--xml <string>]",
     "turn a machine's description into a command line", "domxml-to-native qemu-argv --domain web",
     unserved},
    {"dump",
     "<domain> <file> [--live] [--crash] [--bypass-cache] [--reset] [--verbose] "
     "[--memory-only] [--format <string>]",
     "write a machine's memory to a file", "dump web /var/tmp/web.core --memory-only", domain_dump},
    {"dumpxml",
     "<domain> [--inactive] [--security-info] [--update-cpu] [--migratable] "
     "[--xpath=<string>] [--wrap]",
     "a machine's description", "dumpxml web --inactive", domain_xml},
    {"edit", "<domain> [--skip-validate]", "change a machine's definition in an editor", "edit web",
     domain_edit},
    {"get-user-sshkeys", "<domain> <user>", "the SSH keys that may log in as a user of the guest",
     "get-user-sshkeys web root", refused},
    {"inject-nmi", "<domain>", "send a non-maskable interrupt", "inject-nmi web",
     domain_inject_nmi},
    {"iothreadinfo", "<domain> [--config] [--live] [--current]", "a machine's I/O threads",
     "iothreadinfo web", domain_iothread_info},
    {"iothreadpin", "<domain> <iothread:number> <cpulist> [--config] [--live] [--current]",
     "say where an I/O thread may run", "iothreadpin web 1 0-3", domain_iothread_pin},
    {"iothreadadd", "<domain> <id:number> [--config] [--live] [--current]",
     "give a machine one more I/O thread", "iothreadadd web 2 --config", domain_iothread_change},
    {"iothreadset",
     "<domain> <id:number> [--poll-max-ns <number>] [--poll-grow <number>] "
     "[--poll-shrink <number>] [--thread-pool-min <number>] [--thread-pool-max "
     "<number>] [--config] [--live] [--current]",
     "tune an I/O thread", "iothreadset web 1 --poll-max-ns 32768", unserved},
    {"iothreaddel", "<domain> <id:number> [--config] [--live] [--current]",
     "take an I/O thread away", "iothreaddel web 2 --config", domain_iothread_change},
    {"send-key", "<domain> [--codeset=<string>] [--holdtime=<number>] {<keycode>}...", "press keys",
     "send-key web KEY_LEFTCTRL KEY_LEFTALT KEY_DELETE", domain_send_key},
    {"send-process-signal", "<domain> <pid> <signame>", "send a signal to a process of the guest",
     "send-process-signal web 1 hup", unserved},
    {"lxc-enter-namespace", "<domain> [--noseclabel] {<cmd>}...",
     "enter a container's namespaces, which a machine does not have",
     "lxc-enter-namespace web /bin/sh", refused},
    {"managedsave", "<domain> [--bypass-cache] [--running] [--paused] [--verbose]",
     "put a machine's state aside; its next start goes on from there", "managedsave web",
     domain_managed_save},
    {"managedsave-remove", "<domain>", "forget the state that was put aside",
     "managedsave-remove web", domain_managed_save_remove},
    {"managedsave-edit", "<domain> [--running] [--paused]",
     "change the description inside the state that was put aside", "managedsave-edit web",
     domain_managed_save_xml},
    {"managedsave-dumpxml", "<domain> [--security-info] [--xpath=<string>] [--wrap]",
     "the description inside the state that was put aside", "managedsave-dumpxml web",
     domain_managed_save_xml},
    {"managedsave-define", "<domain> <xml> [--running] [--paused]",
     "replace the description inside the state that was put aside",
     "managedsave-define web web.xml", domain_managed_save_xml},
    {"memtune",
     "<domain> [--hard-limit <number>] [--soft-limit <number>] [--swap-hard-limit "
     "<number>] [--min-guarantee <number>] [--config] [--live] [--current]",
     "show or set the limits of memory", "memtune web --hard-limit 4G --config", domain_memtune},
    {"perf", "<domain> [--enable <string>] [--disable <string>] [--config] [--live] [--current]",
     "show or set which hardware events are counted", "perf web", domain_perf},
    {"metadata",
     "<domain> <uri> [--live] [--config] [--current] [--edit] [--key <string>] [--set "
     "<string>] [--remove]",
     "show or change what programs keep with a machine", "metadata web http://example.org/app",
     domain_metadata},
    {"migrate",
     "<domain> <desturi> [--live] [--offline] [--p2p] [--direct] [--tunnelled] "
     "[--persistent] [--undefinesource] [--suspend] [--copy-storage-all] "
     "[--copy-storage-inc] [--copy-storage-synchronous-writes] [--change-protection] "
     "[--unsafe] [--verbose] [--compressed] [--auto-converge] [--rdma-pin-all] "
     "[--abort-on-error] [--postcopy] [--postcopy-after-precopy] [--postcopy-resume] "
     "[--zerocopy] [--migrateuri <string>] [--graphicsuri <string>] [--listen-address "
     "<string>] [--dname <string>] [--timeout <number>] [--timeout-suspend] "
     "[--timeout-postcopy] [--xml <string>] [--migrate-disks <string>] [--disks-port "
     "<number>] [--disks-uri <string>] [--comp-methods <string>] [--comp-mt-level "
     "<number>] [--comp-mt-threads <number>] [--comp-mt-dthreads <number>] "
     "[--comp-xbzrle-cache <number>] [--auto-converge-initial <number>] "
     "[--auto-converge-increment <number>] [--persistent-xml <string>] [--tls] "
     "[--postcopy-bandwidth=<number>] [--parallel] [--parallel-connections=<number>] "
     "[--bandwidth=<number>] [--tls-destination=<string>]",
     "move a machine to another host", "migrate web qemu+ssh://other/system --live", refused},
    {"migrate-setmaxdowntime", "<domain> <downtime:number>",
     "how long a machine may stand still while it moves", "migrate-setmaxdowntime web 300",
     unserved},
    {"migrate-getmaxdowntime", "<domain>",
     "how long a machine may stand still while it moves, as it is set",
     "migrate-getmaxdowntime web", unserved},
    {"migrate-compcache", "<domain> [--size=<number>]",
     "show or set the cache for compressing memory that moves", "migrate-compcache web", unserved},
    {"migrate-setspeed", "<domain> <bandwidth:number> [--postcopy]", "how fast a machine may move",
     "migrate-setspeed web 100", unserved},
    {"migrate-getspeed", "<domain> [--postcopy]", "how fast a machine may move, as it is set",
     "migrate-getspeed web", unserved},
    {"migrate-postcopy", "<domain>", "let a machine that moves go on at the other side first",
     "migrate-postcopy web", unserved},
    {"numatune", "<domain> [--mode <string>] [--nodeset <string>] [--config] [--live] [--current]",
     "show or set which cells memory comes from", "numatune web", domain_numatune},
    {"qemu-attach", "<pid>", "take over a process that somebody else started", "qemu-attach 1234",
     unserved},
    {"qemu-monitor-command",
     "<domain> [--hmp] [--pretty] [--return-value] [--pass-fds=<string>] {<cmd>}...",
     "send a command to the monitor",
     "qemu-monitor-command web '{\"execute\":\"query-status\"}' --pretty", domain_monitor_command},
    {"qemu-monitor-event",
     "[--domain <string>] [--event <string>] [--pretty] [--loop] [--timeout <number>] "
     "[--regex] [--no-case] [--timestamp]",
     "wait for events of the monitor", "qemu-monitor-event web --loop", unserved},
    {"qemu-agent-command",
     "<domain> [--timeout=<number>] [--async] [--block] [--pretty] {<cmd>}...",
     "send a command to the guest's agent", "qemu-agent-command web '{\"execute\":\"guest-ping\"}'",
     domain_agent_command},
    {"guest-agent-timeout", "<domain> [--timeout=<number>]",
     "how long to wait for the guest's agent", "guest-agent-timeout web --timeout 10", unserved},
    {"reboot", "<domain> [--mode <string>]", "ask the guest to start anew", "reboot web",
     domain_reboot},
    {"reset", "<domain>", "press the reset button", "reset web", domain_reset},
    {"restore", "<file> [--bypass-cache] [--xml <string>] [--running] [--paused] [--reset-nvram]",
     "go on with a machine whose state is in a file", "restore /var/tmp/web.state", unserved},
    {"resume", "<domain>", "let a machine that is held go on", "resume web", domain_resume},
    {"save", "<domain> <file> [--bypass-cache] [--xml <string>] [--running] [--paused] [--verbose]",
     "write a machine's state to a file and switch it off", "save web /var/tmp/web.state",
     domain_save},
    {"save-image-define", "<file> <xml> [--running] [--paused]",
     "replace the description inside a file of state",
     "save-image-define /var/tmp/web.state web.xml", unserved},
    {"save-image-dumpxml", "<file> [--security-info] [--xpath=<string>] [--wrap]",
     "the description inside a file of state", "save-image-dumpxml /var/tmp/web.state", unserved},
    {"save-image-edit", "<file> [--running] [--paused]",
     "change the description inside a file of state", "save-image-edit /var/tmp/web.state",
     unserved},
    {"schedinfo",
     "<domain> [--weight=<number>] [--cap=<number>] [--current] [--config] [--live] "
     "[<set>]...",
     "show or set shares and quotas of processor time",
     "schedinfo web --set cpu_shares=512 --config", domain_schedinfo},
    {"screenshot", "<domain> [--file <string>] [--screen <number>]", "save a picture of the screen",
     "screenshot web screen.png", domain_screenshot},
    {"set-lifecycle-action", "<domain> <type> <action> [--config] [--live] [--current]",
     "what happens on power-off, reboot or crash",
     "set-lifecycle-action web crash preserve --config", domain_set_lifecycle_action},
    {"set-user-sshkeys", "<domain> <user> [--file <string>] [--reset] [--remove]",
     "change the SSH keys that may log in as a user of the guest",
     "set-user-sshkeys web root --file keys", refused},
    {"set-user-password", "<domain> <user> <password> [--encrypted]",
     "set a user's password in the guest", "set-user-password web root secret", domain_password},
    {"setmaxmem", "<domain> <size:number> [--config] [--live] [--current]",
     "how much memory a machine can have at most", "setmaxmem web 8G --config",
     domain_set_max_memory},
    {"setmem", "<domain> <size:number> [--config] [--live] [--current]",
     "how much memory a machine has", "setmem web 4G --config", domain_set_memory},
    {"setvcpus",
     "<domain> <count:number> [--maximum] [--config] [--live] [--current] [--guest] "
     "[--hotpluggable]",
     "how many vCPUs a machine has", "setvcpus web 4 --config", domain_set_vcpus},
    {"shutdown", "<domain> [--mode <string>]", "ask the guest to switch itself off", "shutdown web",
     domain_shutdown},
    {"start",
     "<domain> [--console] [--paused] [--autodestroy] [--bypass-cache] [--force-boot] "
     "[--pass-fds <string>] [--reset-nvram]",
     "start a machine that is defined", "start web --console", domain_start},
    {"suspend", "<domain>", "hold a machine where it is", "suspend web", domain_suspend},
    {"ttyconsole", "<domain>", "the terminal device of a machine's console", "ttyconsole web",
     domain_tty_console},
    {"undefine",
     "<domain> [--managed-save] [--storage <string>] [--remove-all-storage] "
     "[--delete-storage-volume-snapshots] [--wipe-storage] [--snapshots-metadata] "
     "[--checkpoints-metadata] [--nvram] [--keep-nvram] [--tpm] [--keep-tpm]",
     "forget a machine's definition", "undefine web", domain_undefine},
    {"update-device", "<domain> <file> [--persistent] [--config] [--live] [--current] [--force]",
     "change a device to what a file describes", "update-device web nic.xml --config",
     domain_update_device},
    {"update-memory-device",
     "<domain> [--config] [--live] [--current] [--print-xml] [--alias <string>] "
     "[--node <number>] [--requested-size <number>]",
     "change a memory device", "update-memory-device web --requested-size 2G", refused},
    {"vcpucount", "<domain> [--maximum] [--active] [--live] [--config] [--current] [--guest]",
     "how many vCPUs a machine has and may have", "vcpucount web", domain_vcpu_count},
    {"vcpuinfo", "<domain> [--pretty]", "where vCPUs run and how long they did", "vcpuinfo web",
     domain_vcpu_info},
    {"vcpupin", "<domain> [--vcpu <number>] [--cpulist <string>] [--config] [--live] [--current]",
     "show or set where a vCPU may run", "vcpupin web 0 2-3", domain_vcpu_pin},
    {"emulatorpin", "<domain> [--cpulist <string>] [--config] [--live] [--current]",
     "show or set where the monitor's own threads may run", "emulatorpin web 0-1",
     domain_emulator_pin},
    {"vncdisplay", "<domain>", "the VNC display of a machine", "vncdisplay web",
     domain_vnc_display},
    {"guestvcpus", "<domain> [--cpulist <string>] [--enable] [--disable]",
     "show or set which vCPUs the guest uses", "guestvcpus web", domain_guest_vcpus},
    {"setvcpu", "<domain> <vcpulist> [--enable] [--disable] [--config] [--live] [--current]",
     "plug single vCPUs in or out", "setvcpu web 3 --enable", unserved},
    {"domblkthreshold", "<domain> <dev> <threshold:number>",
     "have an event sent when a disk's file reaches a size", "domblkthreshold web vda 30G",
     unserved},
    {"guestinfo",
     "<domain> [--user] [--os] [--timezone] [--hostname] [--filesystem] [--disk] "
     "[--interface]",
     "what the guest's agent knows about the guest", "guestinfo web --os", domain_guest_info},
    {"domdirtyrate-calc", "<domain> [--seconds <number>] [--mode <string>]",
     "find out how fast a machine changes its memory", "domdirtyrate-calc web", unserved},
    {"dom-fd-associate", "<domain> <name> <pass-fds> [--seclabel-writable] [--seclabel-restore]",
     "hand descriptors over for a machine's use", "dom-fd-associate web disk --pass-fds 5",
     unserved},
    {NULL},
};

const struct verb_group verbs_domain = {"Domain Management", "domain", domain};
