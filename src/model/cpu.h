/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's processor by CPUID, in libvirt's names: features, vendor, nearest model. */
#ifndef KV_MODEL_CPU_H
#define KV_MODEL_CPU_H

#include <stdbool.h>

#include "base/error.h"

/* Whether the processor has a feature ("avx2"); false for names that nobody knows. */
bool cpu_host_has(const char *feature);

/* Calls fn for each feature that it has, in the table's order. */
void cpu_host_features(void (*fn)(void *opaque, const char *name), void *opaque);

const char *cpu_host_vendor(void); /* "Intel", "AMD", "Hygon", or what CPUID says */
const char *cpu_host_model(void);  /* the named model of its family: "EPYC-Rome"; else "kvm64" */

/* Family, model, stepping as leaf 1 says them; address bits as leaf 0x80000008. */
void cpu_host_signature(unsigned *family, unsigned *model, unsigned *stepping);
unsigned cpu_host_address_bits(void);

/*
 * virConnectBaselineCPU (cpu_baseline.c): of the <cpu> elements of several hosts, what all of them
 * have; flags VIR_CONNECT_BASELINE_CPU_*. Hosts of unlike models have the lowest model and the
 * features that all list. *out to be free()d. VIR_ERR_OPERATION_FAILED when the vendors differ.
 */
int cpu_baseline(char *const *cpus, unsigned count, unsigned flags, char **out,
                 struct kv_error *err);

/* Names of all models of x86 that are known, NULL at the end. */
extern const char *const cpu_model_names[];
extern const unsigned cpu_model_count;

#endif
