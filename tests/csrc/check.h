/* What all checks of a kernel table share: guarded memory, exact data, messages. See check_tiles.c. */
#ifndef CHECK_H
#define CHECK_H

#include "fc_api.h"

#include <stddef.h>
#include <stdint.h>

#if FC_REAL_BYTES == 4
typedef float real;
#else
typedef double real;
#endif

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* The table under check. */
extern const fc_kernels *const table;

/* ---- messages ------------------------------------------------------------------------------------ */

/* Say which call comes next, for messages. */
void describe(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Print the call and what is wrong with it; exit with 1. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Fail unless `count` reals are equal; NaN equals NaN. */
void expect_same(const real *got, const real *expected, int64_t count);

/* ---- guarded memory ------------------------------------------------------------------------------ */

/* Reals with an untouchable page directly behind them (AT_END) or directly before them (AT_START). */
enum side { AT_START, AT_END };

typedef struct guarded {
    real *data;
    int64_t count;
    char *pages;
    size_t bytes;
} guarded;

/* What new memory holds. */
#define UNTOUCHED ((real)12345)

guarded guarded_new(int64_t count, enum side side);
void guarded_free(guarded g);

/* ---- data ---------------------------------------------------------------------------------------- */

/* From 0 to n - 1; the same sequence in every run. */
int64_t random_below(int64_t n);
/* Whole numbers from -4 to 4: sums of products are exact in any order. */
void fill_integers(real *data, int64_t count);
/* Numbers from -1 to 1 whose sums round. */
void fill_fractions(real *data, int64_t count);

/* ---- the checks, one per entry of the table --------------------------------------------------------- */

void check_gemm(void);
void check_gemm_pack(void);
void check_gemm_at(void);
void check_gemm_windows(void);
void check_gemm_rows(void);
void check_gemm_bits(void);
void check_gemm_non_finite(void);
void check_scatter(void);
void check_pack(void);
void check_pack_windows(void);
void check_col2im(void);
void check_fft(void);
void check_fft_rows_of_arrays(void);
void check_winograd(void);
void check_gradient_row(void);
void check_descend(void);
void check_activate(void);
void check_softmax(void);
void check_entropy(void);
void check_loss_row(void);
void check_norm(void);
void check_dot(void);
void check_pool(void);
void check_pool_gradient(void);
void check_pool_running(void);
void check_planes_averaged(void);
void check_depthwise(void);
void check_depthwise_gather(void);
void check_depthwise_weights(void);
void check_depthwise_gradient(void);

#endif
