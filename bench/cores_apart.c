/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prints the nanoseconds that a cache line takes from one processor to another. A switch and its
 * guests pass everything so, and a host that moves its guests' processors about changes it from
 * second to second; figures of the switch compare only where it is the same.
 * usage: cores_apart CORE CORE
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 100000

static _Alignas(128) atomic_uint ball;

static void stay_on(const char *core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(strtoul(core, NULL, 10), &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0) {
        perror(core);
        exit(1);
    }
}

static void *return_balls(void *core)
{
    stay_on(core);
    for (unsigned i = 0; i < ROUNDS; i++) {
        while (atomic_load(&ball) != 2 * i + 1)
            continue;
        atomic_store(&ball, 2 * i + 2);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct timespec start, end;
    pthread_t other;
    if (argc != 3 || pthread_create(&other, NULL, return_balls, argv[2])) {
        fprintf(stderr, "usage: cores_apart CORE CORE\n");
        return 2;
    }
    stay_on(argv[1]);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (unsigned i = 0; i < ROUNDS; i++) {
        atomic_store(&ball, 2 * i + 1);
        while (atomic_load(&ball) != 2 * i + 2)
            continue;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    pthread_join(other, NULL);
    printf("%.0f\n",
           ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) /
               (2.0 * ROUNDS));
    return 0;
}
