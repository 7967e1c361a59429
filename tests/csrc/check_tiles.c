/* Checks every entry of one kernel table (csrc/fc_api.h) against plain loops, on any instruction set.
 *
 * Compile with csrc/tile/tile.c and the same -DFC_ISA and -DFC_REAL_BYTES; tests/test_tiles.py does, for
 * every instruction set, and runs foreign ones under an emulator. Prints one line per entry; exits with 1 at
 * the first difference and says which call it was.
 *
 * Data are small integers, so every order of summation gives the same exact result. Each array ends (or
 * begins) at a page that may not be touched, and what lies between its elements must keep its value.
 */
#include "check.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define JOIN_(a, b, c, d) a##b##c##d
#define JOIN(a, b, c, d) JOIN_(a, b, c, d)
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

extern const fc_kernels JOIN(fc_kernels_, FC_ISA, _, FC_REAL_BYTES);
const fc_kernels *const table = &JOIN(fc_kernels_, FC_ISA, _, FC_REAL_BYTES);

static void touched_guard_page(int signal_number)
{
    (void)signal_number;
    fail("touches memory outside of its arrays");
}

static void check_table(void)
{
    describe("table");
    if (strcmp(table->isa, TEXT(FC_ISA)) != 0) fail("is called %s in its table", table->isa);
    if (table->gemm.max_rows < 1 || table->gemm.max_rows > FC_MAX_ROWS) fail("max_rows %d", table->gemm.max_rows);
    if (table->gemm.max_columns < 1 || table->gemm.max_columns > FC_MAX_COLUMNS)
        fail("max_columns %d", table->gemm.max_columns);
    for (int rows = 1; rows <= table->gemm.max_rows; rows++)
        if (table->gemm.wide_columns(rows) < table->gemm.max_columns || table->gemm.wide_columns(rows) > FC_MAX_COLUMNS)
            fail("wide_columns(%d) %d", rows, table->gemm.wide_columns(rows));
    if (table->lanes < 1 || table->gemm.max_columns % table->lanes != 0) fail("lanes %d", table->lanes);
}

static void check_fma_peak(void)
{
    describe("fma_peak");
    const double one = table->fma_peak(1000);
    if (!(one > 0) || table->fma_peak(3000) != 3 * one) fail("%g FLOPs for 1000 rounds", one);
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } checks[] = {
        {"table", check_table},
        {"gemm", check_gemm},
        {"gemm, same bits in partial tiles", check_gemm_bits},
        {"gemm, non-finite values", check_gemm_non_finite},
        {"gemm_pack", check_gemm_pack},
        {"gemm_at", check_gemm_at},
        {"gemm_windows", check_gemm_windows},
        {"gemm_rows", check_gemm_rows},
        {"scatter", check_scatter},
        {"pack, clear", check_pack},
        {"pack_windows", check_pack_windows},
        {"col2im", check_col2im},
        {"fft_columns, fft_rows, fft_products", check_fft},
        {"fft_read, fft_write", check_fft_rows_of_arrays},
        {"winograd", check_winograd},
        {"gradient_row", check_gradient_row},
        {"descend", check_descend},
        {"activate, activate_gradient", check_activate},
        {"softmax, softmax_gradient", check_softmax},
        {"entropy_sums, entropy_slopes", check_entropy},
        {"loss_row", check_loss_row},
        {"norm_sums, norm_map", check_norm},
        {"dot", check_dot},
        {"max_pool, avg_pool", check_pool},
        {"pool_gradient", check_pool_gradient},
        {"running_max, running_sum", check_pool_running},
        {"average_planes, spread_planes", check_planes_averaged},
        {"depthwise", check_depthwise},
        {"depthwise_gather", check_depthwise_gather},
        {"depthwise_weights", check_depthwise_weights},
        {"depthwise_gradient", check_depthwise_gradient},
        {"fma_peak", check_fma_peak},
    };
    signal(SIGSEGV, touched_guard_page);
    signal(SIGBUS, touched_guard_page);
    for (int i = 0; i < COUNT(checks); i++) {
        checks[i].run();
        printf("%s float%d: %s: ok\n", table->isa, 8 * FC_REAL_BYTES, checks[i].name);
    }
    return 0;
}
