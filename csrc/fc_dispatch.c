/* The ordered list of instruction sets, best first. setup.py says which of them a build for checks is WITHOUT. */
#include "fc_api.h"
#include "fc_cpu.h"

#include <string.h>

static inline int always(void) { return 1; }

#define DECLARE(isa) extern const fc_kernels fc_kernels_##isa##_4, fc_kernels_##isa##_8;
#define ENTRY(isa, runs_here) {#isa, runs_here, {&fc_kernels_##isa##_4, &fc_kernels_##isa##_8}}

#if defined(__x86_64__)
DECLARE(avx512)
DECLARE(avx2)
#endif
#if defined(__aarch64__)
DECLARE(neon)
#else
DECLARE(baseline)
#endif

static const struct {
    const char *name;
    int (*runs_here)(void);
    const fc_kernels *tables[FC_DTYPES];
} instruction_sets[] = {
#if defined(__x86_64__) && !defined(FC_WITHOUT_AVX512)
    ENTRY(avx512, fc_cpu_has_avx512),
#endif
#if defined(__x86_64__) && !defined(FC_WITHOUT_AVX2)
    ENTRY(avx2, fc_cpu_has_avx2_fma),
#endif
#if defined(__aarch64__)
    ENTRY(neon, always),
#elif !defined(FC_WITHOUT_BASELINE)
    ENTRY(baseline, always),
#endif
};

enum { COUNT = sizeof instruction_sets / sizeof instruction_sets[0] };

static int find(const char *name)
{
    for (int i = 0; i < COUNT; i++)
        if (strcmp(instruction_sets[i].name, name) == 0) return i;
    return -1;
}

const char *fc_isa_name(int index)
{
    return index >= 0 && index < COUNT ? instruction_sets[index].name : NULL;
}

int fc_isa_runs_here(const char *name)
{
    const int i = find(name);
    return i >= 0 && instruction_sets[i].runs_here();
}

const fc_kernels *fc_isa_table(const char *name, fc_dtype dtype)
{
    return fc_isa_runs_here(name) ? instruction_sets[find(name)].tables[dtype] : NULL;
}
