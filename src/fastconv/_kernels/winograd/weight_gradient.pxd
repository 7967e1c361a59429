"""The weight gradient by Winograd; see weight_gradient.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense, Subconvolutions
from fastconv._kernels.engine.conv_pass cimport ConvCall
from fastconv._kernels.engine.fc_api cimport fc_kernels
from fastconv._kernels.weight_gradient.plan cimport WeightGradientPlan
from fastconv._kernels.winograd.bands cimport Bands, Operand
from fastconv._kernels.winograd.tiles cimport Tiles


cdef struct WinogradGradientCall:
    const Dense *dense
    Tiles tiles
    Bands bands
    Operand input
    Operand grad_output
    char *out
    int64_t out_stride[5]
    int64_t row_panels, column_panels        # of a group: of output channels, and of all pieces' input channels
    int64_t row_blocks, column_blocks        # a task has one of each ...
    int64_t most_rows, most_columns          # ... and so many panels of them at most
    int64_t row_width, row_step              # output channels of a panel, in whole vectors
    int64_t d_step, v_step, sums_step        # between points of a panel, and of a tile of sums
    int64_t round, rounds                    # bands of a round
    int64_t parts
    int64_t step_rounds                      # of a part, between two looks for a pending Ctrl-C
    char *sums                               # per block, part, row panel and column panel: [point][row][column]
    int64_t first_block, begin               # of this step: block, and round of each part
    bint finite
    bint out_of_memory


cdef class WinogradWeightGradientPlan(WeightGradientPlan):
    cdef Subconvolutions pass_forward   # the windows that the products are of
    cdef int tile
    cdef int64_t chunk

    cdef void lay_out(self, WinogradGradientCall *call, const fc_kernels *kernel) noexcept nogil
    cdef void share_out(self, WinogradGradientCall *call) noexcept nogil
    cdef bint run_winograd(self, const ConvCall *what) except -1 nogil
    cdef int run_blocks(self, WinogradGradientCall *call, int64_t blocks, int64_t longest) except -1 nogil
