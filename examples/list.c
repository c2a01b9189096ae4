/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists a server's machines with their states and memory: list [URI] */
#include <kvasir/kvasir.h>
#include <stdio.h>
#include <stdlib.h>

static const char *state_name(int state)
{
    static const char *const names[] = {"no state",    "running",  "idle",    "paused",
                                        "in shutdown", "shut off", "crashed", "pmsuspended"};
    return state >= 0 && state < 8 ? names[state] : "unknown";
}

int main(int argc, char **argv)
{
    struct kvasir_conn *conn;
    struct kvasir_domain **domains;
    struct kvasir_error err;
    size_t n;

    if (kvasir_open(argc > 1 ? argv[1] : NULL, KVASIR_OPEN_READ_ONLY, NULL, &conn, &err) < 0 ||
        kvasir_domain_list(conn, 0, &domains, &n, &err) < 0) {
        fprintf(stderr, "error: %s\n", err.message);
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < n; i++) {
        struct kvasir_domain_info info;
        char uuid[KVASIR_UUID_TEXT_SIZE];
        kvasir_uuid_format(kvasir_domain_uuid(domains[i]), uuid);
        if (kvasir_domain_info(domains[i], &info, &err) < 0)
            printf("%s %s: %s\n", uuid, kvasir_domain_name(domains[i]), err.message);
        else
            printf("%s %s: %s, %u vCPUs, %llu KiB\n", uuid, kvasir_domain_name(domains[i]),
                   state_name(info.state), info.vcpus, (unsigned long long)info.max_memory_kib);
    }
    kvasir_domains_free(domains);
    kvasir_close(conn);
    return EXIT_SUCCESS;
}
