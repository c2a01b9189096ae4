/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of allowed system calls; see base/jail_rules.h. A worker's are among those of
 * an I/O thread, because a thread also has the filters of the one that started
 * it. No kind may open or create files, make sockets, connect, start programs,
 * touch other processes, mount, or map memory executable.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/vhost.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>

#include "base/jail_rows.h"

#define C KIND_CONTROL
#define V KIND_VCPU
#define I KIND_IO
#define W KIND_WORKER
#define ALL (C | V | I | W)

const struct rule jail_rules[] = {
    /* The inner loop of a vCPU; gen_filters.c puts it in front. */
    IOCTL(V, KVM_RUN),

    /* Waiting, time, locks, ending. */
    {ALL, SYS_futex},
    {ALL, SYS_clock_gettime},
    {ALL, SYS_gettimeofday},
    {ALL, SYS_clock_nanosleep},
    {ALL, SYS_nanosleep},
    {ALL, SYS_sched_yield},
    {ALL, SYS_restart_syscall},
    {ALL, SYS_rt_sigreturn},
    {ALL, SYS_rt_sigprocmask},
    {ALL, SYS_exit},
    {ALL, SYS_exit_group},
    {ALL, SYS_getpid},
    {ALL, SYS_gettid},
    {ALL, SYS_getrandom},
    {ALL, SYS_sched_getaffinity}, /* malloc() counts CPUs before it makes another arena */
    {ALL, SYS_sysinfo},           /* the C library, to know how much a sort may allocate */
    {ALL, SYS_tgkill, {IS(1, RULE_OWN_PID)}},

    /* Memory, never executable. */
    {ALL, SYS_brk},
    {ALL, SYS_munmap},
    {ALL, SYS_mremap},
    {ALL, SYS_madvise},
    {ALL, SYS_mmap, {WITHOUT(3, PROT_EXEC)}},
    {ALL, SYS_mprotect, {WITHOUT(3, PROT_EXEC)}},

    /* New threads, and what they do first. clone3() hides its flags in memory; glibc falls back to
     * clone() when it is told that there is none. */
    {C | I, SYS_clone, {IS(1, THREAD_FLAGS)}},
    {C | I, SYS_clone3, .answer = ENOSYS},
    {ALL, SYS_set_robust_list},
    {ALL, SYS_rseq},
    {ALL, SYS_prctl, {IS(1, PR_SET_NAME)}},
    {C | I | W, SYS_prctl, {IS(1, PR_SET_SECCOMP), IS(2, SECCOMP_MODE_FILTER)}},

    /* Descriptors that are open already. */
    {ALL, SYS_read},
    {ALL, SYS_write},
    {ALL, SYS_readv},
    {ALL, SYS_writev},
    {ALL, SYS_close},
    {ALL, SYS_lseek},
    {ALL, SYS_eventfd2},
    {C | I | W, SYS_pread64},
    {ALL, SYS_pwrite64}, /* a guest's write to flash ends when the file has it */
    {C | I | W, SYS_preadv},
    {C | I | W, SYS_pwritev},
    {C | I | W, SYS_preadv2},
    {C | I | W, SYS_pwritev2},
    {C | I | W, SYS_fsync},
    {C | I | W, SYS_fdatasync},
    {ALL, SYS_fallocate}, /* a balloon gives memory back on the thread that hears of it */
    {C | I | W, SYS_ftruncate},
    {C | I | W, SYS_fstat},
    {C | I | W, SYS_newfstatat, {IS(4, AT_EMPTY_PATH)}},
    {C | I | W, SYS_statx, {IS(3, AT_EMPTY_PATH)}},
    {C | I | W, SYS_fadvise64},
    FCNTL(C | I | W, F_GETFL), /* of a worker: a connection that is made anew */
    FCNTL(C | I | W, F_SETFL),
    FCNTL(C | I | W, F_GETFD),
    FCNTL(C | I | W, F_SETFD),
    FCNTL(C | I, F_DUPFD_CLOEXEC),
    /* Images that are added later come as descriptors and are locked as others are. */
    FCNTL(C | I | W, F_OFD_SETLK),
    FCNTL(C | I | W, F_OFD_GETLK),
    {C | I, SYS_epoll_create1}, /* a thread for a client of the NBD server has a loop */
    {C | I, SYS_epoll_wait},
    {C | I, SYS_epoll_pwait},
    {C | I, SYS_epoll_pwait2},
    {C | I, SYS_epoll_ctl},
    {C | I | W, SYS_poll}, /* of a worker: the connection of a network disk, as below */
    {C | I | W, SYS_ppoll},
    {C | I, SYS_timerfd_settime},
    {C | I, SYS_io_uring_register, {IS(2, IORING_REGISTER_ENABLE_RINGS)}},
    {C | I, SYS_io_uring_register, {IS(2, IORING_REGISTER_FILES_UPDATE)}},
    {C | I, SYS_io_uring_enter}, /* rings are restricted to reads, writes and the like */

    /* Sockets that are open or come in; no addresses. */
    {C | I, SYS_accept4},
    {I, SYS_getsockname}, /* a viewer of the screen is told of by its address */
    {I, SYS_getpeername},
    {C | I | W, SYS_recvmsg},
    {C | I | W, SYS_sendmsg},
    {C | I, SYS_recvmmsg},
    {C | I, SYS_sendmmsg},
    {C | I | W, SYS_recvfrom, {NO_POINTER(5)}},
    {C | I | W, SYS_sendto, {NO_POINTER(5)}},
    {C | I, SYS_shutdown},
    {C | I, SYS_setsockopt, {IS(2, IPPROTO_TCP), IS(3, TCP_NODELAY)}},
    {C | I, SYS_setsockopt, {IS(2, SOL_SOCKET), IS(3, SO_KEEPALIVE)}},
    {C | I, SYS_getsockopt, {IS(2, SOL_SOCKET), IS(3, SO_ERROR)}},
    {C, SYS_getsockopt, {IS(2, SOL_SOCKET), IS(3, SO_ACCEPTCONN)}},
    {C,
     SYS_getsockopt,
     {IS(2, SOL_SOCKET), IS(3, SO_TYPE)}}, /* of a network device that is added */
    {C | I, SYS_unlink, .answer = EPERM},  /* by owners of sockets; the process outside does it */

    /* Terminals. */
    IOCTL(C | I, TCGETS),
    IOCTL(C | I, TCSETS),
    IOCTL(C | I, TCSETSW),
    IOCTL(C | I, TCSETSF),
    IOCTL(C | I, TIOCGWINSZ),
    IOCTL(C | I, FIONREAD),

    /* Block devices. */
    IOCTL(C | I | W, BLKGETSIZE64),
    IOCTL(C | I | W, BLKSSZGET),
    IOCTL(C | I | W, BLKPBSZGET),
    IOCTL(C | I | W, BLKDISCARD),
    IOCTL(C | I | W, BLKZEROOUT),

    /* Network back ends. */
    IOCTL(C, TUNGETIFF), /* what an added device's descriptor is */
    IOCTL(C | V | I, TUNSETOFFLOAD),
    IOCTL(C | V | I, TUNSETVNETHDRSZ),
    IOCTL(C | V | I, TUNSETVNETLE),
    IOCTL(C | V | I, TUNSETQUEUE),
    IOCTL(C, VHOST_SET_OWNER),
    IOCTL(C | V | I, VHOST_GET_FEATURES),
    IOCTL(C | V | I, VHOST_SET_FEATURES),
    IOCTL(C | V | I, VHOST_SET_MEM_TABLE),
    IOCTL(C | V | I, VHOST_SET_VRING_NUM),
    IOCTL(C | V | I, VHOST_SET_VRING_ADDR),
    IOCTL(C | V | I, VHOST_SET_VRING_BASE),
    IOCTL(C | V | I, VHOST_GET_VRING_BASE),
    IOCTL(C | V | I, VHOST_SET_VRING_KICK),
    IOCTL(C | V | I, VHOST_SET_VRING_CALL),
    IOCTL(C | V | I, VHOST_NET_SET_BACKEND),

    /* KVM: interrupts from everybody, CPU state from the control thread. */
    IOCTL(C | V | I, KVM_SIGNAL_MSI),
    IOCTL(C | V | I, KVM_IRQ_LINE),
    IOCTL(C | V | I, KVM_IRQFD),
    IOCTL(C | V | I, KVM_SET_GSI_ROUTING),
    IOCTL(C | V | I, KVM_IOEVENTFD),
    IOCTL(C | V, KVM_SET_USER_MEMORY_REGION), /* flash and its commands; a VGA's memory */
    IOCTL(I, KVM_GET_DIRTY_LOG),
    IOCTL(C | V, KVM_GET_REGS),
    IOCTL(C | V, KVM_GET_SREGS),
    IOCTL(C | V, KVM_TRANSLATE),
    IOCTL(C | V, KVM_GET_VCPU_EVENTS),
    IOCTL(C, KVM_CHECK_EXTENSION),
    IOCTL(C, KVM_NMI),
    IOCTL(C, KVM_SET_REGS),
    IOCTL(C, KVM_SET_SREGS),
    IOCTL(C, KVM_GET_FPU),
    IOCTL(C, KVM_SET_FPU),
    IOCTL(C, KVM_SET_XCRS),
    IOCTL(C, KVM_SET_XSAVE),
    IOCTL(C, KVM_SET_DEBUGREGS),
    IOCTL(C, KVM_SET_MSRS),
    IOCTL(C, KVM_GET_MSRS),
    IOCTL(C, KVM_SET_VCPU_EVENTS),
    IOCTL(C, KVM_GET_LAPIC),
    IOCTL(C, KVM_SET_LAPIC),
    IOCTL(C, KVM_GET_MP_STATE),
    IOCTL(C, KVM_SET_MP_STATE),
    IOCTL(C, KVM_GET_IRQCHIP),
    IOCTL(C, KVM_SET_IRQCHIP),
    IOCTL(C, KVM_GET_PIT2),
    IOCTL(C, KVM_SET_PIT2),
    IOCTL(C, KVM_GET_CLOCK),
    IOCTL(C, KVM_SET_CLOCK),
    IOCTL(C, KVM_KVMCLOCK_CTRL),
    IOCTL(C, KVM_SET_NESTED_STATE),
};

const unsigned jail_rule_count = sizeof(jail_rules) / sizeof(jail_rules[0]);

const struct rule_kind jail_kinds[] = {
    {KIND_CONTROL, "control"},
    {KIND_VCPU, "vcpu", .ioctl_first = KVM_RUN},
    {KIND_IO, "io"},
    {KIND_WORKER, "worker"},
};

const unsigned jail_kind_count = sizeof(jail_kinds) / sizeof(jail_kinds[0]);
