/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System calls of the switch's threads and of the process that opens interfaces for it; see
 * base/jail_rules.h. The control thread opens files and sockets as its user may; none may start
 * programs, touch other processes, mount, load anything into the kernel, or map memory executable.
 */
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/jail_rows.h"

#define C KIND_CONTROL
#define F KIND_IO     /* the forwarding thread; what it may, the control thread must */
#define O KIND_WORKER /* the process that opens */
#define ALL (C | F | O)

const struct rule jail_rules[] = {
    /* Waiting, time, locks, ending. */
    {ALL, SYS_futex},
    {ALL, SYS_clock_gettime},
    {ALL, SYS_gettimeofday},
    {ALL, SYS_restart_syscall},
    {ALL, SYS_rt_sigreturn},
    {ALL, SYS_rt_sigprocmask},
    {ALL, SYS_rt_sigaction}, /* of a fault that is none of ours (guard.c) */
    {ALL, SYS_exit},
    {ALL, SYS_exit_group},
    {ALL, SYS_getpid},
    {ALL, SYS_gettid},
    {ALL, SYS_tgkill, {IS(1, RULE_OWN_PID)}},
    {ALL, SYS_getrandom},
    {C | F, SYS_clock_nanosleep},
    {C | F, SYS_nanosleep},
    {C | F, SYS_sched_yield},
    {C | F, SYS_sched_getaffinity}, /* malloc() counts processors */
    {C, SYS_sched_setaffinity},
    {C, SYS_sysinfo},
    {C, SYS_uname},
    {C, SYS_getuid},
    {C, SYS_geteuid},
    {C, SYS_getgid},
    {C, SYS_getegid},
    {C, SYS_getrusage},
    {C, SYS_times},
    {C, SYS_prlimit64, {IS(1, 0)}},

    /* Memory, never executable. Guests' are mapped by the control thread, and replaced by the one
     * that finds them gone. */
    {ALL, SYS_brk},
    {ALL, SYS_munmap},
    {ALL, SYS_mremap},
    {ALL, SYS_madvise},
    {ALL, SYS_mmap, {WITHOUT(3, PROT_EXEC)}},
    {ALL, SYS_mprotect, {WITHOUT(3, PROT_EXEC)}},

    /* New threads, and what they do first. clone3() hides its flags in memory; glibc falls back to
     * clone(). */
    {C, SYS_clone, {IS(1, THREAD_FLAGS)}},
    {C | F, SYS_set_robust_list},
    {C | F, SYS_rseq},
    {C | F, SYS_prctl, {IS(1, PR_SET_NAME)}},
    {C | F, SYS_prctl, {IS(1, PR_SET_SECCOMP), IS(2, SECCOMP_MODE_FILTER)}},

    /* Descriptors. */
    {ALL, SYS_read},
    {ALL, SYS_write},
    {ALL, SYS_writev},
    {ALL, SYS_close},
    {C | F, SYS_readv},
    {C | F, SYS_lseek},
    {C | F, SYS_fstat},
    {C | F, SYS_newfstatat},
    {C | F, SYS_epoll_wait},
    {C | F, SYS_epoll_pwait},
    {C | F, SYS_epoll_pwait2},
    {C | F, SYS_epoll_ctl},
    {C | F, SYS_poll},
    {C | F, SYS_io_submit},
    {C | F, SYS_io_getevents},
    {C, SYS_io_destroy},
    {C, SYS_epoll_create1},
    {C, SYS_eventfd2},
    {C, SYS_timerfd_create},
    {C, SYS_timerfd_settime},
    {C, SYS_signalfd4},
    {C, SYS_fcntl},
    {C, SYS_dup},
    {C, SYS_ppoll},

    /* Sockets of guests, of clients, of collectors; a packet socket comes open. */
    {ALL, SYS_recvfrom},
    {ALL, SYS_sendmsg},
    {ALL, SYS_recvmsg},
    {C | F, SYS_sendto},
    {C | F, SYS_sendmmsg},
    {C | F, SYS_recvmmsg},
    {C | F, SYS_getsockopt},
    SOCKET(C | O, AF_UNIX),
    SOCKET(C, AF_INET),
    SOCKET(C, AF_INET6),
    SOCKET(C, AF_NETLINK), /* the C library, to know of addresses */
    {C, SYS_setsockopt},
    {C, SYS_bind},
    {C, SYS_listen},
    {C, SYS_accept4},
    {C, SYS_connect},
    {C, SYS_shutdown},
    {C, SYS_getsockname},
    {C, SYS_getpeername},

    /* Files: sockets' names, the configuration, the database, pcap ports. */
    {C, SYS_openat},
    {C, SYS_unlink},
    {C, SYS_unlinkat},
    {C, SYS_rename},
    {C, SYS_access},
    {C, SYS_faccessat},
    {C, SYS_faccessat2},
    {C, SYS_stat},
    {C, SYS_lstat},
    {C, SYS_statx},
    {C, SYS_fstatfs},
    {C, SYS_readlink},
    {C, SYS_getcwd},
    {C, SYS_getdents64},
    {C, SYS_chmod},
    {C, SYS_fchmod},
    {C, SYS_fchown},
    {C, SYS_mkdir},
    {C, SYS_pread64},
    {C, SYS_pwrite64},
    {C, SYS_fsync},
    {C, SYS_fdatasync},
    {C, SYS_ftruncate},
    {C, SYS_fallocate},
    {C, SYS_memfd_create},

    /* What interfaces are, for who asks. */
    IOCTL(C | O, SIOCGIFFLAGS),
    IOCTL(C | O, SIOCGIFINDEX),
    IOCTL(C | O, SIOCGIFHWADDR),
    IOCTL(C, SIOCGIFMTU),
    IOCTL(C, SIOCETHTOOL),

    /* Opening them. */
    {O, SYS_openat},
    SOCKET(O, AF_PACKET),
    {O, SYS_setsockopt, {IS(2, SOL_PACKET)}},
    {O, SYS_setsockopt, {IS(2, SOL_SOCKET), IS(3, SO_RCVBUFFORCE)}},
    {O, SYS_setsockopt, {IS(2, SOL_SOCKET), IS(3, SO_SNDBUFFORCE)}},
    {O, SYS_bind},
    IOCTL(O, SIOCSIFFLAGS),
    IOCTL(O, TUNSETIFF),
    IOCTL(O, TUNSETVNETHDRSZ),
    IOCTL(O, TUNSETOFFLOAD),
};

const unsigned jail_rule_count = sizeof(jail_rules) / sizeof(jail_rules[0]);

const struct rule_kind jail_kinds[] = {
    {C, "control"},
    {F, "forward"},
    {O, "opener"},
};

const unsigned jail_kind_count = sizeof(jail_kinds) / sizeof(jail_kinds[0]);
