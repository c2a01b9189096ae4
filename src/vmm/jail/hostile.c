/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A monitor that was taken over, for the test of the jail: built only with
 * -Dhostile_test=true. A guest that writes to port 0x5ec0 has a forbidden act
 * done in the thread that the option --hostile names; what came of it is
 * logged. Reading the port gives 1 once it is done, if the process still lives.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/devices/classes.h"
#include "vmm/machine/machine.h"

#define HOSTILE_PORT 0x5ec0

struct hostile_config {
    int thread; /* enum thread_kind */
    int act;
    char *path;    /* for open and connect */
    uint64_t port; /* for connect */
    uint64_t pid;  /* for kill and ptrace */
};

struct hostile {
    struct device device;
    struct hostile_config config;
    struct loop_work work;
    pthread_t worker;
    atomic_bool done;
};

static long act_open(const struct hostile_config *config)
{
    return open(config->path, O_RDONLY);
}

static long act_create(const struct hostile_config *config)
{
    return open("/tmp/kvasir-hostile", O_CREAT | O_WRONLY, 0600);
}

static long act_proc(const struct hostile_config *config)
{
    return open("/proc/self/status", O_RDONLY);
}

static long act_socket(const struct hostile_config *config)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}

static long act_connect(const struct hostile_config *config)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)config->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&to, sizeof(to));
}

static long act_connect_unix(const struct hostile_config *config)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    strncpy(to.sun_path, config->path, sizeof(to.sun_path) - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&to, sizeof(to));
}

static long act_kill(const struct hostile_config *config)
{
    return kill((pid_t)config->pid, SIGTERM);
}

static long act_tgkill(const struct hostile_config *config)
{
    return syscall(SYS_tgkill, config->pid, config->pid, SIGTERM);
}

static long act_ptrace(const struct hostile_config *config)
{
    return ptrace(PTRACE_SEIZE, (pid_t)config->pid, NULL, NULL);
}

static long act_peek(const struct hostile_config *config)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};
    return process_vm_readv((pid_t)config->pid, &here, 1, &there, 1, 0);
}

static long act_execve(const struct hostile_config *config)
{
    char *argv[] = {(char *)"/bin/true", NULL};
    return execve(argv[0], argv, NULL);
}

static long act_fork(const struct hostile_config *config)
{
    return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static long act_mount(const struct hostile_config *config)
{
    return mount("none", "/", "tmpfs", 0, NULL);
}

static long act_setuid(const struct hostile_config *config)
{
    return syscall(SYS_setuid, 0);
}

static long act_unshare(const struct hostile_config *config)
{
    return unshare(CLONE_NEWNS);
}

static long act_executable(const struct hostile_config *config)
{
    void *p =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? -1 : 0;
}

static long act_io_uring(const struct hostile_config *config)
{
    struct io_uring_params params = {0};
    return syscall(SYS_io_uring_setup, 8, &params);
}

static long act_new_machine(const struct hostile_config *config)
{
    return open("/dev/kvm", O_RDWR);
}

/* Same order in both. */
static long (*const acts[])(const struct hostile_config *config) = {
    act_open,  act_create, act_proc,    act_socket,     act_connect,  act_connect_unix,
    act_kill,  act_tgkill, act_ptrace,  act_peek,       act_execve,   act_fork,
    act_mount, act_setuid, act_unshare, act_executable, act_io_uring, act_new_machine,
};
static const char *const act_names[] = {
    "open",    "create",     "proc",     "socket", "connect", "connect-unix", "kill",
    "tgkill",  "ptrace",     "peek",     "execve", "fork",    "mount",        "setuid",
    "unshare", "executable", "io-uring", "kvm",    NULL,
};
static const char *const thread_names[] = {"control", "vcpu", "io", "worker", NULL};

static void perform(void *opaque)
{
    struct hostile *hostile = opaque;
    errno = 0;
    long rc = acts[hostile->config.act](&hostile->config);
    int code = errno;
    log_error("hostile: %s: %s", act_names[hostile->config.act],
              rc < 0 ? strerror(code) : "succeeded");
    atomic_store(&hostile->done, true);
}

static void *worker(void *opaque)
{
    perform(opaque);
    return NULL;
}

static void start_worker(void *opaque)
{
    struct hostile *hostile = opaque;
    thread_start(&hostile->worker, THREAD_WORKER, "hostile", worker, hostile);
}

static void hostile_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct hostile *hostile = opaque;
    struct machine *machine = hostile->device.machine;
    hostile->work = (struct loop_work){
        .fn = hostile->config.thread == THREAD_WORKER ? start_worker : perform, .opaque = hostile};
    if (hostile->config.thread == THREAD_VCPU)
        perform(hostile);
    else
        loop_post(hostile->config.thread == THREAD_CONTROL ? &machine->loop
                                                           : &machine->iothreads[0].loop,
                  &hostile->work);
}

static uint64_t hostile_read(void *opaque, uint64_t offset, unsigned len)
{
    return atomic_load(&((struct hostile *)opaque)->done);
}

static const struct bus_ops hostile_ports = {.read = hostile_read, .write = hostile_write};

static void hostile_free(struct device *dev)
{
    struct hostile *hostile = container_of(dev, struct hostile, device);
    bus_unmap(&dev->machine->pio, HOSTILE_PORT);
    if (hostile->worker)
        pthread_join(hostile->worker, NULL);
    free(hostile->config.path);
    free(hostile);
}

static const struct device_ops hostile_ops = {.type = "hostile", .free = hostile_free};

static int hostile_create(struct machine *machine, const void *config, struct kv_error *err)
{
    struct hostile *hostile = calloc(1, sizeof(*hostile));
    hostile->config = *(const struct hostile_config *)config;
    hostile->config.path = strdup(hostile->config.path ? hostile->config.path : "/etc/passwd");
    int rc = device_register(machine, &hostile->device, &hostile_ops, NULL, err);
    if (rc < 0) {
        free(hostile->config.path);
        free(hostile);
        return rc;
    }
    return bus_map(&machine->pio,
                   &(struct bus_region){.base = HOSTILE_PORT,
                                        .size = 1,
                                        .ops = &hostile_ports,
                                        .opaque = hostile,
                                        .name = "hostile"},
                   err);
}

static const struct option_spec hostile_options[] = {
    OPTION(ENUM, struct hostile_config, thread, .values = thread_names, .required = true),
    OPTION(ENUM, struct hostile_config, act, .values = act_names, .required = true),
    OPTION(STRING, struct hostile_config, path),
    OPTION(UINT, struct hostile_config, port),
    OPTION(UINT, struct hostile_config, pid),
    OPTION_END,
};

const struct device_class hostile_class = {
    .option = "hostile",
    .help = "does what the jail forbids, for its test",
    .options = hostile_options,
    .config_size = sizeof(struct hostile_config),
    .create = hostile_create,
    .max = 1,
};
