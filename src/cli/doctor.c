/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * doctor: what this host can do for machines. A row of the table is a check; it says what was
 * found and, where something is missing, the command that mends it. The exit status says whether
 * machines can run at all: 0 when every check that is needed for that passed.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/kvm.h>
#include <linux/landlock.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/output.h"
#include "cli/program.h"
#include "cli/verbs.h"

enum verdict {
    GOOD,
    MISSING, /* machines run without it */
    BROKEN,  /* they do not */
};

struct finding {
    char text[256];
    const char *mend; /* a command, or NULL */
};

static void say(struct finding *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct finding *out, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(out->text, sizeof(out->text), fmt, args);
    va_end(args);
}

/* The first line of a small file, "" when it cannot be read. */
static void read_line(const char *path, char *out, size_t size)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, out, size - 1);
    out[MAX(len, 0)] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

/* Whether the processor's flags have the word. */
static bool cpu_has(const char *flag)
{
    FILE *cpuinfo = fopen("/proc/cpuinfo", "re");
    char line[8192], wanted[32];
    bool found = false;
    snprintf(wanted, sizeof(wanted), " %s ", flag);
    while (cpuinfo && !found && fgets(line, sizeof(line), cpuinfo)) {
        line[strcspn(line, "\n")] = ' ';
        found = strncmp(line, "flags", 5) == 0 && strstr(line, wanted);
        if (strncmp(line, "flags", 5) == 0)
            break;
    }
    if (cpuinfo)
        fclose(cpuinfo);
    return found;
}

static enum verdict check_kvm(struct finding *out)
{
    cleanup_fd int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    bool hardware = cpu_has("svm") || cpu_has("vmx");
    if (fd < 0 && errno == EACCES) {
        say(out, "/dev/kvm is not for this user");
        out->mend = "sudo usermod -aG kvm \"$USER\"   (and log in anew)";
        return BROKEN;
    }
    if (fd < 0) {
        say(out, "none: /dev/kvm: %s", strerror(errno));
        out->mend = hardware ? "sudo modprobe kvm_amd || sudo modprobe kvm_intel"
                             : "switch virtualization (SVM, VT-x) on in the firmware, or nested "
                               "virtualization on the host above";
        return BROKEN;
    }
    int version = ioctl(fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION) {
        say(out, "/dev/kvm speaks version %d, not %d", version, KVM_API_VERSION);
        return BROKEN;
    }
    if (hardware) {
        say(out, "hardware (%s)", cpu_has("svm") ? "AMD-V" : "Intel VT-x");
        return GOOD;
    }
    say(out, "emulating: /dev/kvm opens, but the processor shows neither svm nor vmx; small guests "
             "run, stock kernels do not");
    out->mend = "lab/lab   (an emulated host, for tests)";
    return MISSING;
}

static enum verdict check_nesting(struct finding *out)
{
    char amd[8], intel[8];
    read_line("/sys/module/kvm_amd/parameters/nested", amd, sizeof(amd));
    read_line("/sys/module/kvm_intel/parameters/nested", intel, sizeof(intel));
    const char *value = *amd ? amd : intel;
    if (*value == '1' || *value == 'Y') {
        say(out, "on: guests can run machines themselves");
        return GOOD;
    }
    say(out, *value ? "off" : "unknown: no module of KVM tells");
    out->mend = *amd     ? "sudo modprobe -r kvm_amd && sudo modprobe kvm_amd nested=1"
                : *intel ? "sudo modprobe -r kvm_intel && sudo modprobe kvm_intel nested=1"
                         : NULL;
    return MISSING;
}

static enum verdict check_huge_pages(struct finding *out)
{
    char shmem[128], reserved[32];
    read_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled", shmem, sizeof(shmem));
    read_line("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", reserved, sizeof(reserved));
    const char *open = strchr(shmem, '[');
    int len = open ? (int)strcspn(open + 1, "]") : 0;
    say(out, "%s reserved; transparent ones of shared memory: %.*s", *reserved ? reserved : "0",
        len, open ? open + 1 : "");
    if (atoi(reserved) > 0 || (open && strncmp(open + 1, "never", 5) != 0))
        return GOOD;
    out->mend = "echo advise | sudo tee /sys/kernel/mm/transparent_hugepage/shmem_enabled";
    return MISSING;
}

static enum verdict check_io_uring(struct finding *out)
{
    struct io_uring_params params = {0};
    cleanup_fd int fd = (int)syscall(__NR_io_uring_setup, 4, &params);
    if (fd >= 0) {
        say(out, "there");
        return GOOD;
    }
    say(out, "%s; disks use threads instead", strerror(errno));
    out->mend = errno == ENOSYS ? NULL : "sudo sysctl kernel.io_uring_disabled=0";
    return MISSING;
}

static enum verdict check_cgroups(struct finding *out)
{
    char controllers[256];
    read_line("/sys/fs/cgroup/cgroup.controllers", controllers, sizeof(controllers));
    if (*controllers) {
        say(out, "version 2: %s", controllers);
        return GOOD;
    }
    if (access("/sys/fs/cgroup/cpu", F_OK) == 0) {
        say(out, "version 1");
        return GOOD;
    }
    say(out, "no controllers: shares, quotas and limits of memory are not enforced");
    out->mend = "sudo mount -t cgroup2 none /sys/fs/cgroup";
    return MISSING;
}

static enum verdict check_tun(struct finding *out)
{
    cleanup_fd int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        say(out, "there");
        return GOOD;
    }
    say(out, "/dev/net/tun: %s; machines have user networks only", strerror(errno));
    out->mend = errno == ENOENT ? "sudo modprobe tun" : "sudo chmod 0666 /dev/net/tun";
    return MISSING;
}

static enum verdict check_vhost(struct finding *out)
{
    if (access("/dev/vhost-net", F_OK) == 0) {
        say(out, "there");
        return GOOD;
    }
    say(out, "no /dev/vhost-net: packets go through the monitor");
    out->mend = "sudo modprobe vhost_net";
    return MISSING;
}

static enum verdict check_sandbox(struct finding *out)
{
    char userns[16];
    long landlock = syscall(__NR_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    read_line("/proc/sys/user/max_user_namespaces", userns, sizeof(userns));
    bool spaces = atoi(userns) > 0;
    say(out, "namespaces %s, Landlock %s", spaces ? "yes" : "no", landlock > 0 ? "yes" : "no");
    if (spaces)
        return GOOD;
    out->mend = "sudo sysctl user.max_user_namespaces=15000";
    return MISSING;
}

static enum verdict check_firmware(struct finding *out)
{
    static const char *const images[] = {"/usr/share/seabios/bios-256k.bin",
                                         "/usr/share/qemu/bios-256k.bin",
                                         "/usr/share/seabios/bios.bin"};
    for (size_t i = 0; i < ARRAY_SIZE(images); i++)
        if (access(images[i], R_OK) == 0) {
            say(out, "SeaBIOS, disks start by themselves");
            return GOOD;
        }
    say(out, "none: machines start from kernels only");
    out->mend = "sudo apt install seabios";
    return MISSING;
}

static enum verdict check_limits(struct finding *out)
{
    struct rlimit files, locked;
    getrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_MEMLOCK, &locked);
    char memory[32] = "without limit";
    if (locked.rlim_cur != RLIM_INFINITY)
        snprintf(memory, sizeof(memory), "%llu KiB", (unsigned long long)locked.rlim_cur / 1024);
    say(out, "%llu open files (at most %llu), locked memory %s", (unsigned long long)files.rlim_cur,
        (unsigned long long)files.rlim_max, memory);
    if (files.rlim_max >= 4096)
        return GOOD;
    out->mend = "ulimit -Hn 65536   (as root, or in /etc/security/limits.conf)";
    return MISSING;
}

static enum verdict check_monitor(struct finding *out)
{
    char path[600];
    if (program_find("kvasir-vmm", path, sizeof(path))) {
        say(out, "%.250s", path);
        return GOOD;
    }
    say(out, "kvasir-vmm is neither beside this program nor where programs lie");
    out->mend = "make && sudo make install";
    return BROKEN;
}

static enum verdict check_daemon(struct finding *out)
{
    struct kvasir_conn *conn = NULL;
    struct kvasir_error error = {0};
    if (kvasir_open(NULL, KVASIR_OPEN_READ_ONLY | KVASIR_OPEN_NO_START, NULL, &conn, &error) == 0) {
        kvasir_close(conn);
        say(out, "answers");
        return GOOD;
    }
    say(out, "does not answer: %.200s", error.message);
    out->mend = "sudo kvasird   (or 'kvasird --session' as yourself)";
    return MISSING;
}

static const struct {
    const char *name;
    enum verdict (*check)(struct finding *out);
} checks[] = {
    {"KVM", check_kvm},
    {"monitor", check_monitor},
    {"daemon", check_daemon},
    {"nesting", check_nesting},
    {"huge pages", check_huge_pages},
    {"io_uring", check_io_uring},
    {"control groups", check_cgroups},
    {"tun", check_tun},
    {"vhost-net", check_vhost},
    {"sandbox", check_sandbox},
    {"firmware", check_firmware},
    {"limits", check_limits},
};

int doctor_run(struct cli *cli)
{
    static const char *const marks[] = {"ok", "missing", "BROKEN"};
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
    bool coloured = out_coloured(STDOUT_FILENO);
    enum verdict worst = GOOD;
    out_array(cli);
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        struct finding finding = {.mend = NULL};
        enum verdict verdict = checks[i].check(&finding);
        worst = MAX(worst, verdict);
        out_print(cli, "%s%-8s%s %-15s %s\n", coloured ? colours[verdict] : "", marks[verdict],
                  coloured ? "\033[0m" : "", checks[i].name, finding.text);
        if (finding.mend)
            out_print(cli, "%-8s %-15s mend: %s\n", "", "", finding.mend);
        out_item(cli);
        out_key(cli, "check", "%s", checks[i].name);
        out_key(cli, "verdict", "%s", verdict == BROKEN ? "broken" : marks[verdict]);
        out_key(cli, "found", "%s", finding.text);
        out_key(cli, "mend", "%s", finding.mend ? finding.mend : "-");
    }
    if (worst < BROKEN) {
        out_print(cli, "\nMachines can run here.\n");
        return 0;
    }
    out_print(cli, "\nMachines cannot run here.\n");
    out_end(cli, true);
    return -1;
}
