/* One object per instruction set and dtype; everything in it is static but its table of functions.
 *
 * Compile with -DFC_ISA=avx2 -DFC_REAL_BYTES=4 and the instruction set's flags (setup.py does).
 */
#include "gemm.h"
#include "scatter.h"
#include "pack.h"
#include "col2im.h"
#include "winograd.h"
#include "winograd_channels.h"
#include "depthwise.h"
#include "depthwise_gather.h"
#include "depthwise_gradient.h"
#include "eltwise.h"
#include "activation.h"
#include "softmax.h"
#include "entropy.h"
#include "loss.h"
#include "norm.h"
#include "dot.h"
#include "fft.h"
#include "pool.h"
#include "pool_gradient.h"
#include "pool_running.h"
#include "pool_planes.h"

#define JOIN_(a, b, c, d) a##b##c##d
#define JOIN(a, b, c, d) JOIN_(a, b, c, d)

static double fma_peak(int64_t rounds)
{
    enum { CHAINS = 10 };  /* latency 4 x 2 units, and some slack */
    vec chain[CHAINS];
    UNROLL
    for (int i = 0; i < CHAINS; i++) chain[i] = splat((real)(i + 1));
    const vec factor = splat((real)0.5), addend = splat((real)1.0);
    for (int64_t round = 0; round < rounds; round++) {
        UNROLL
        for (int i = 0; i < CHAINS; i++) {
            chain[i] = chain[i] * factor + addend;
            __asm__ volatile("" : FC_IN_REGISTER(chain[i]));  /* keeps the loop from being folded */
        }
    }
    return 2.0 * (double)rounds * CHAINS * LANES;
}

#define WINOGRAD_ENTRY(MY, MX)                                                                                 \
    {MY, MX, TILE_TAPS(MX), TILE_SPAN(MY) * TILE_SPAN(MX), winograd_input_##MY##MX, winograd_output_##MY##MX,                 \
     winograd_input_channels_##MY##MX, winograd_output_channels_##MY##MX, winograd_weight_##MY##MX,            \
     winograd_grad_output_channels_##MY##MX, winograd_grad_weight_##MY##MX}

const fc_kernels JOIN(fc_kernels_, FC_ISA, _, FC_REAL_BYTES) = {
    .isa = TEXT(FC_ISA),
    .item = FC_REAL_BYTES,
    .lanes = LANES,
    .gemm = {
        .max_rows = ROWS,
        .max_columns = VECTORS * LANES,
        .wide_columns = wide_columns,
        .scatter = scatter,
        .tile = gemm,
        .tile_packing = gemm_pack,
        .tile_at = gemm_at,
        .tile_of_rows = gemm_rows,
        .tile_of_windows = gemm_windows,
    },
    .dot = {
        .tile = dot,
        .max_rows = DOT_ROWS,
        .max_columns = dot_columns,
    },
    .copy = {
        .pack = pack,
        .clear = clear,
        .pack_windows = pack_windows,
        .col2im = col2im,
    },
    .depthwise = {
        .tile = depthwise,
        .max_rows = TILE_ROWS,
        .max_vectors = TILE_VECTORS,
        .in_place = MOST_COLUMNS,
        .gather = depthwise_gather,
        .weights = depthwise_weights,
        .gradient = depthwise_gradient,
    },
    .winograd = {WINOGRAD_ENTRY(1, 2), WINOGRAD_ENTRY(2, 2), WINOGRAD_ENTRY(1, 4), WINOGRAD_ENTRY(4, 4),
                 WINOGRAD_ENTRY(1, 3), WINOGRAD_ENTRY(3, 3)},
    .pool = {
        .max = max_pool,
        .average = avg_pool,
        .gradient = pool_gradient,
        .running_max = running_max,
        .running_sum = running_sum,
        .running_max_rows = running_max_rows,
        .running_sum_rows = running_sum_rows,
        .average_planes = average_planes,
        .spread_planes = spread_planes,
    },
    .pointwise = {
        .gradient_row = gradient_row,
        .activate = activate_values,
        .activate_gradient = activate_gradient,
        .softmax = softmax,
        .softmax_gradient = softmax_gradient,
        .entropy_sums = entropy_sums,
        .entropy_slopes = entropy_slopes,
        .loss_row = loss_row,
        .norm_sums = norm_sums,
        .norm_map = norm_map,
        .norm_column_sums = norm_column_sums,
        .norm_column_map = norm_column_map,
        .norm_cross_sums = norm_cross_sums,
        .descend = descend,
    },
    .fft = {
        .read = fft_read,
        .write = fft_write,
#if FC_REAL_BYTES == 8
        .columns = fft_columns,
        .rows = fft_rows,
        .products = fft_products,
#endif
    },
    .fma_peak = fma_peak,
};
