/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mappings that may vanish; see guard.h. */
#include "switch/ports/guard.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/util.h"

#define GUARDED_MAX 4096

/* A row counts while size is not 0. Rows are written by the control thread, and read by a handler
 * on a thread that touched the mapping, which is not removed while somebody may touch it. */
static struct guarded {
    atomic_uintptr_t start;
    atomic_size_t size;
    atomic_bool *_Atomic lost;
} guarded[GUARDED_MAX];

static void on_fault(int number, siginfo_t *info, void *context)
{
    uintptr_t address = (uintptr_t)info->si_addr;
    for (unsigned i = 0; i < GUARDED_MAX; i++) {
        struct guarded *row = &guarded[i];
        size_t size = atomic_load(&row->size);
        uintptr_t start = atomic_load(&row->start);
        if (address - start >= size)
            continue;
        void *zeroes = mmap((void *)start, size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
        if (zeroes == MAP_FAILED)
            break;
        atomic_store(atomic_load(&row->lost), true);
        return;
    }
    /* None of ours: the instruction is tried again and ends the process. */
    signal(SIGBUS, SIG_DFL);
}

void guard_install(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGBUS, &action, NULL);
}

int guard_add(void *start, size_t size, atomic_bool *lost)
{
    for (unsigned i = 0; i < GUARDED_MAX; i++) {
        struct guarded *row = &guarded[i];
        if (atomic_load(&row->size))
            continue;
        atomic_store(&row->start, (uintptr_t)start);
        atomic_store(&row->lost, lost);
        atomic_store(&row->size, size);
        return 0;
    }
    return -ENOSPC;
}

void guard_remove(const void *start)
{
    for (unsigned i = 0; i < GUARDED_MAX; i++) {
        if (atomic_load(&guarded[i].size) && atomic_load(&guarded[i].start) == (uintptr_t)start)
            atomic_store(&guarded[i].size, 0);
    }
}
