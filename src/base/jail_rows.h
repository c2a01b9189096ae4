/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How rows of a table of system calls (jail_rules.h) are written. For the files with such a table,
 * and for no others: the names are short.
 */
#ifndef KV_BASE_JAIL_ROWS_H
#define KV_BASE_JAIL_ROWS_H

#include <sched.h>
#include <sys/syscall.h>

#include "base/jail_rules.h"

#define ANY_BITS UINT32_MAX
#define IS(argument_, value_)         \
    {                                 \
        (argument_), ANY_BITS, value_ \
    }
#define WITHOUT(argument_, bits_) \
    {                             \
        (argument_), (bits_), 0   \
    }
#define NO_POINTER(argument_)      \
    {                              \
        (argument_), UINT64_MAX, 0 \
    }
#define IOCTL(kinds_, request_) \
    {                           \
        kinds_, SYS_ioctl,      \
        {                       \
            IS(2, (request_))   \
        }                       \
    }
#define FCNTL(kinds_, command_) \
    {                           \
        kinds_, SYS_fcntl,      \
        {                       \
            IS(2, (command_))   \
        }                       \
    }
#define SOCKET(kinds_, family_) \
    {                           \
        kinds_, SYS_socket,     \
        {                       \
            IS(1, (family_))    \
        }                       \
    }

/* What glibc's pthread_create() passes; a new process has other flags. */
#define THREAD_FLAGS                                                                    \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | \
     CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

#endif
