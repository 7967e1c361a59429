/* The whole contract of floor 1: how ONE tile is computed on ONE thread on THIS instruction set.
 *
 * Units: sizes, strides and offsets count elements, never bytes, unless a name ends in _bytes.
 * Types: `real` data is passed as void *; the table it is passed to says whether that is float or double.
 */
#ifndef FC_API_H
#define FC_API_H

#include "api/copy.h"
#include "api/depthwise.h"
#include "api/dot.h"
#include "api/fft.h"
#include "api/finish.h"
#include "api/gemm.h"
#include "api/pointwise.h"
#include "api/pool.h"
#include "api/winograd.h"

#include <stddef.h>
#include <stdint.h>

/* The tiles of one instruction set and dtype (csrc/tile), a sub-table per family. */
typedef struct fc_kernels {
    const char *isa;         /* "baseline", "avx2", "avx512", "neon" */
    int item;                /* bytes of an element */
    int lanes;               /* elements of a vector */
    fc_gemm_kernels gemm;
    fc_dot_kernels dot;
    fc_copy_kernels copy;
    fc_depthwise_kernels depthwise;
    fc_winograd winograd[FC_WINOGRADS];  /* tiles of 1 x 2, 2 x 2, 1 x 4, 4 x 4, 1 x 3, 3 x 3 */
    fc_pool_kernels pool;
    fc_pointwise_kernels pointwise;
    fc_fft_kernels fft;

    /* Independent fused multiply-adds over `rounds` rounds; returns the FLOPs done (measures the peak). */
    double (*fma_peak)(int64_t rounds);
} fc_kernels;


/* ---- choice of instruction set (fc_dispatch.c, fc_cpu.c) --------------------------------------- */

/* The instruction sets compiled in, best first; NULL past the end. */
const char *fc_isa_name(int index);
int fc_isa_runs_here(const char *name);
/* The table of an instruction set that is compiled in and runs here, else NULL. */
const fc_kernels *fc_isa_table(const char *name, fc_dtype dtype);
/* CPUs this process may use: affinity, limited by the cgroup's quota. At least 1. */
int fc_cpu_count(void);
/* Of the cache that a core has to itself behind L1; 0 if unknown. */
int64_t fc_l2_bytes(void);

/* ---- worker pool (fc_workers.c) ---------------------------------------------------------------- */

/* How many threads a large call uses, 1 to FC_MOST_THREADS; what is set beyond that counts as the nearest. A build
 * without threads (FC_SERIAL) stays at 1. Of all functions these two alone are seen from outside the library, under
 * names of our own: threadpoolctl calls them. */
enum { FC_MOST_THREADS = 256 };
__attribute__((visibility("default"))) int fastconv_get_num_threads(void);
__attribute__((visibility("default"))) void fastconv_set_num_threads(int count);

/* One task of a call. `index` tells which; any thread may run it. */
typedef void (*fc_task)(void *context, int64_t index);

/* Run tasks [begin, end) on up to `threads` threads, the calling one among them; returns when all are
 * done. A call made while the pool is busy with another caller's runs on the calling thread alone. */
void fc_workers_run(fc_task task, void *context, int64_t begin, int64_t end, int threads);

/* Whether the workers look out for a call, so that one costs about a microsecond: for a while after the last. */
int fc_workers_awake(void);

/* A clock that never goes back. */
int64_t fc_nanoseconds(void);

/* Scratch memory is kept from call to call, one block per thread and purpose, because fresh pages cost more than
 * the work of a small call. Blocks are 64-byte aligned, their contents undefined; they end with their thread. */

/* For the task that the thread runs: at least `bytes`, valid until the thread asks again. NULL if short. */
void *fc_task_scratch(size_t bytes);

/* For a call as a whole. It owns the block until it gives it back, so that a call made meanwhile on the same
 * thread (a signal handler's) gets another. `held` is set to its size. NULL if memory is short. */
void *fc_take_scratch(size_t bytes, size_t *held);
void fc_give_scratch(void *memory, size_t held);

#endif
