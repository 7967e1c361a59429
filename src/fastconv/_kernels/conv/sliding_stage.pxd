"""The stage of the sliding algorithm; see sliding_stage.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense
from fastconv._kernels.engine.fc_api cimport fc_kernels

cdef enum:
    MOST_PHASES = 8                       # along one axis


# Along H and W: where the sources of all sub-convolutions lie. Position q of phase p is source element
# q * step + first + p. Output o's tap at source o * step + f is position o + (f - first) // step of phase
# (f - first) % step.
cdef struct Stage:
    int64_t step[2]
    int64_t first[2]
    int64_t span[2]                       # a block needs so many positions more than it has outputs
    int64_t slot[MOST_PHASES * MOST_PHASES]  # where phase (y, x) lies in the stage; -1: no tap reads it
    int64_t slots
    int64_t planes                        # of taps: the most of any sub-convolution
    int64_t outputs[3]                    # likewise


cdef struct Staging:
    const Stage *stage
    const fc_kernels *kernel
    int64_t itemsize
    int64_t source_stride[5]
    int64_t source_size[5]
    int64_t row_step, plane_step, channel_step   # of the stage


cdef void describe_stage(Stage *s, const Dense *dense, int64_t count) noexcept nogil
cdef void set_steps(Staging *staging, int64_t rows, int64_t columns) noexcept nogil
cdef void fill_offsets(const Staging *staging, const Dense *d, int64_t channels, int64_t *offsets) noexcept nogil
cdef void fill_stage(const Staging *staging, const Dense *d, const char *source, int64_t od, int64_t row, int64_t rows,
                     int64_t column, int64_t columns, int64_t channels, char *to) noexcept nogil
