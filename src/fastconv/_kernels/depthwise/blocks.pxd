"""How a depthwise convolution is cut; see blocks.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense
from fastconv._kernels.engine.fc_api cimport fc_kernels

cdef enum:
    BLOCK_ROWS = 12           # a block has at least so many output rows, if there are


cdef struct Axis:             # how one axis of the kernel lies; turned so that taps go upwards
    int64_t count             # outputs
    int64_t step, extent, taps, first, delta    # as in fc_window
    int64_t kernel_begin, kernel_step


cdef struct Part:             # outputs that are computed together
    Axis z, y
    Axis x[2]                 # of each phase: two of them are two sub-convolutions, whose columns alternate
    int phases
    int64_t *offset[2]        # of each column's taps in a gathered row
    int64_t *in_place         # ... and in the source itself, if it is read where it lies
    bint unpadded             # ... by pixels: tiles mask what does not exist
    int64_t begin[3]          # where the first output lies ...
    int64_t out_step[3]       # ... and how far apart they lie
    int64_t classes           # rows `oh` of the same class, modulo this, meet the same source rows
    int64_t row_step          # gathered rows between them
    bint line                 # the kernel has one row: taps that lie whole vectors apart share loads instead
    int64_t period            # taps between those
    int64_t weight_row        # between the weights of neighbouring kernel rows, as taps have them ...
    int64_t weight_column[2]  # ... and of neighbouring taps, per phase
    int64_t left, reach       # the first source position, and the last seen from there, of the first window


cdef struct DepthwiseCall:
    const fc_kernels *kernel
    Part *parts
    int64_t part_count
    const char *source
    int64_t stride[5]
    const char *weight
    int64_t weight_stride[5]
    int64_t group_weight, channel_weight, depth_weight    # between weights of groups, outputs, source channels
    const char *bias
    char *out
    int64_t out_stride[5]
    int64_t itemsize, n, groups, channels, depth
    int64_t lanes             # channels of a vector; 1 if lanes are pixels
    int64_t task_groups       # of a task, if lanes are pixels
    int64_t together          # neighbouring lanes that are one group; 1 if lanes are pixels
    int64_t count[3]          # outputs per axis, the most of any part (W: per phase)
    int64_t classes
    bint lines                # some part is one of lines
    int64_t rows, row_blocks, columns, column_blocks   # of a block; blocks of one plane
    int64_t places            # of a gathered run
    int64_t run, row          # room for a run, and for a row of them
    int64_t plane             # room for the gathered rows of one plane
    int64_t planes            # gathered for a block: taps along D x source channels
    int64_t buffers           # rooms for them: two if a task has several groups
    int64_t weights           # room for the weights of a part, in vectors
    int64_t taps              # room for fc_taps
    int64_t scratch_bytes
    int activation
    double slope
    bint out_of_memory


cdef int64_t rows_between_taps(const Dense *d, int64_t count) noexcept nogil
cdef void describe_part(Part *p, const Dense *d, int phases, int64_t row_delta, int64_t lanes_of_row) noexcept nogil
cdef void lay_out_blocks(DepthwiseCall *call) noexcept nogil
cdef void fill_offsets(const DepthwiseCall *call, Part *p) noexcept nogil
