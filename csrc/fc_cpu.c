/* What this machine can run: instruction sets that both CPU and operating system support, and CPUs. */
#define _GNU_SOURCE
#include "fc_cpu.h"
#include "fc_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

#if defined(__x86_64__)
#include <cpuid.h>

/* Register state the operating system saves on a context switch (XCR0); without it a CPU feature is unusable. */
static uint64_t saved_state(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return ((uint64_t)d << 32) | a;
}

int fc_cpu_has_avx2_fma(void)
{
    enum { YMM = 0x6 };
    unsigned a, b, c, d, b7, unused;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_FMA) && (c & bit_AVX) && (saved_state() & YMM) == YMM
        && __get_cpuid_count(7, 0, &unused, &b7, &c, &d) && (b7 & bit_AVX2);
}

int fc_cpu_has_avx512(void)
{
    enum { ZMM = 0xe6 };
    const unsigned needed = bit_AVX512F | bit_AVX512VL | bit_AVX512BW | bit_AVX512DQ;
    unsigned a, b, c, d;
    return fc_cpu_has_avx2_fma() && (saved_state() & ZMM) == ZMM
        && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & needed) == needed;
}
#endif

#ifdef __linux__
/* CPUs' worth of time that a quota of each period is, rounded up; 0 if unlimited or unknown. */
static int worth(long long quota, long long period)
{
    if (quota <= 0 || period <= 0) return 0;
    const long long cpus = quota / period + (quota % period != 0);
    return cpus < 4096 ? (int)cpus : 0;
}

/* The first number of a file, and the second if `second`; -1 for what is not there. */
static long long read_numbers(const char *path, long long *second)
{
    long long first = -1;
    FILE *file = fopen(path, "r");
    if (!file) return -1;
    if (fscanf(file, "%lld", &first) != 1) first = -1;  /* "max 100000": unlimited */
    if (second && fscanf(file, "%lld", second) != 1) *second = -1;
    fclose(file);
    return first;
}

/* The path of this process's control group (version 2); empty, the root's, if unknown. */
static void find_group(char *path, size_t room)
{
    char line[1024];
    FILE *file = fopen("/proc/self/cgroup", "r");
    path[0] = 0;
    if (!file) return;
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "0::/", 4) != 0) continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(path, room, "%s", line + 3);
    }
    fclose(file);
}

/* What the control group and those around it may use; 0 if unlimited or unknown. */
static int cgroup_quota(void)
{
    char group[1024], path[1100];
    long long period = -1;
    int least = 0;
    for (find_group(group, sizeof group);; *strrchr(group, '/') = 0) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
        const long long quota = read_numbers(path, &period);
        const int cpus = worth(quota, period);
        if (cpus && (!least || cpus < least)) least = cpus;
        if (!strchr(group, '/')) break;
    }
    if (least) return least;
    return worth(read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", NULL),
                 read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_period_us", NULL));
}
#endif

int64_t fc_l2_bytes(void)
{
#ifdef _SC_LEVEL2_CACHE_SIZE
    const long size = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return size > 0 ? size : 0;
#else
    return 0;
#endif
}

int fc_cpu_count(void)
{
    int count = (int)sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __linux__
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) count = CPU_COUNT(&allowed);
    const int quota = cgroup_quota();
    if (quota > 0 && quota < count) count = quota;
#endif
    return count > 0 ? count : 1;
}
