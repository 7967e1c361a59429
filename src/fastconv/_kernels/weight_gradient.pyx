"""The weight gradient: the same micro-kernel, with the pixels of the batch as its depth.

    grad_weight[oc, (tap, ic)] = sum over pixels of  grad_output[oc, pixel] * input[ic, window(pixel, tap)]

Rows of a tile are output channels, columns are (tap, input channel) pairs. A task owns a block of rows and a
block of columns and walks all its pixels in chunks of fixed length, packing both operands chunk by chunk. If the
geometry has too few such blocks to occupy several threads, the pixels are split into parts as well; how many
depends on the geometry alone, and the parts are added in order: the bits do not depend on the number of threads.
"""

from libc.stdint cimport int64_t

from fastconv._kernels.arrays cimport Array, acquire, release
from fastconv._kernels.dense cimport divide_up
from fastconv._kernels.fc_api cimport FC_MAX_ROWS, fc_finish, fc_kernels
from fastconv._kernels.native cimport give_scratch, kernels, parallel, take_scratch, task_scratch

cdef int64_t CHUNK_PIXELS = 256        # depth of a chunk
cdef int64_t BLOCK = 256               # rows, and columns, of one task
cdef int64_t WANTED_TASKS = 16         # fewer blocks than this, and the pixels are split as well
cdef int64_t PART_PIXELS = 1024        # but no finer than this
cdef int64_t PARTS_ELEMENTS = 1 << 19  # and not into more sums than this many elements
cdef double ROUND_FLOPS = 1e9          # of one task between two looks for a pending Ctrl-C
cdef double PACK_FLOPS = 40            # to pack an element takes as long as this many, at the slowest


cdef struct Problem:
    int64_t n, groups
    int64_t rows                # output channels per group
    int64_t channels            # input channels per group
    int64_t kernel[3]
    int64_t stride[3]
    int64_t before[3]
    int64_t dilation[3]
    int64_t extent[3]           # input size
    int64_t count[3]            # output size
    int64_t taps
    int64_t columns             # taps * channels
    int64_t pixels
    int64_t row_blocks, column_blocks
    int64_t parts               # how many ways the pixels are split
    int64_t part_pixels         # a multiple of CHUNK_PIXELS
    int64_t round_pixels        # how many of them a task walks at once; likewise a multiple


cdef struct Call:
    const Problem *problem
    const fc_kernels *kernel
    const char *input
    const char *grad_output
    char *out
    char *sums                  # per part, per group: rows x columns
    int64_t input_stride[5]
    int64_t grad_stride[5]
    int64_t out_stride[5]
    int64_t begin               # first pixel of each part that this round walks
    int64_t itemsize
    bint float64
    bint out_of_memory


cdef void pack_gradient(const Call *call, int64_t group, int64_t row, int64_t rows, int64_t pixel, int64_t count,
                        char *panel) noexcept nogil:
    """Panel of grad_output: depth = pixels, `rows` adjacent output channels wide."""
    cdef const Problem *p = call.problem
    cdef int64_t item = call.itemsize, done = 0, run, rest, od, oh, ow
    cdef const char *base = call.grad_output + (group * p.rows + row) * call.grad_stride[1] * item
    while done < count:
        rest = pixel + done
        ow = rest % p.count[2]
        rest //= p.count[2]
        oh = rest % p.count[1]
        rest //= p.count[1]
        od = rest % p.count[0]
        run = min(count - done, p.count[2] - ow)
        call.kernel.pack(panel + done * rows * item, rows, rows, run,
                         base + (rest // p.count[0] * call.grad_stride[0] + od * call.grad_stride[2]
                                 + oh * call.grad_stride[3] + ow * call.grad_stride[4]) * item,
                         call.grad_stride[1], call.grad_stride[4])
        done += run


cdef void pack_windows(const Call *call, int64_t group, int64_t column, int64_t columns, int64_t pixel,
                       int64_t count, char *panel) noexcept nogil:
    """Panel of input windows, transposed: depth = pixels, `columns` adjacent (tap, channel) pairs wide."""
    cdef const Problem *p = call.problem
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t item = call.itemsize, width = kernel.max_columns
    cdef int64_t filled = 0, tap, channel, channels, done, run, rest, od, oh, ow, z, y, x, low, high
    cdef const char *base
    cdef char *to
    while filled < columns:
        tap = (column + filled) // p.channels
        channel = (column + filled) % p.channels
        channels = min(columns - filled, p.channels - channel)
        base = call.input + (group * p.channels + channel) * call.input_stride[1] * item
        done = 0
        while done < count:
            rest = pixel + done
            ow = rest % p.count[2]
            rest //= p.count[2]
            oh = rest % p.count[1]
            rest //= p.count[1]
            od = rest % p.count[0]
            run = min(count - done, p.count[2] - ow)
            to = panel + (done * width + filled) * item
            z = od * p.stride[0] + tap // (p.kernel[1] * p.kernel[2]) * p.dilation[0] - p.before[0]
            y = oh * p.stride[1] + tap // p.kernel[2] % p.kernel[1] * p.dilation[1] - p.before[1]
            x = ow * p.stride[2] + tap % p.kernel[2] * p.dilation[2] - p.before[2]
            low = high = 0
            if 0 <= z < p.extent[0] and 0 <= y < p.extent[1]:
                low = min(run, 0 if x >= 0 else divide_up(-x, p.stride[2]))
                high = max(low, min(run, divide_up(p.extent[2] - x, p.stride[2]) if x < p.extent[2] else 0))
            if low > 0:
                kernel.clear(to, width, channels, low)
            if high > low:
                kernel.pack(to + low * width * item, width, channels, high - low,
                            base + (rest // p.count[0] * call.input_stride[0] + z * call.input_stride[2]
                                    + y * call.input_stride[3] + (x + low * p.stride[2]) * call.input_stride[4]) * item,
                            call.input_stride[1], p.stride[2] * call.input_stride[4])
            if high < run:
                kernel.clear(to + high * width * item, width, channels, run - high)
            done += run
        filled += channels
    if filled < width:
        kernel.clear(panel + filled * item, width, width - filled, count)


cdef void block_task(void *context, int64_t index) noexcept nogil:
    """One block of rows and columns of one group, over one round of one part of the pixels."""
    cdef Call *call = <Call *>context
    cdef const Problem *p = call.problem
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t item = call.itemsize, width = kernel.max_columns
    cdef int64_t column_block = index % p.column_blocks
    cdef int64_t row_block = index // p.column_blocks % p.row_blocks
    cdef int64_t group = index // p.column_blocks // p.row_blocks % p.groups
    cdef int64_t part = index // p.column_blocks // p.row_blocks // p.groups
    cdef int64_t first_row = row_block * p.rows // p.row_blocks
    cdef int64_t last_row = (row_block + 1) * p.rows // p.row_blocks
    cdef int64_t first_column = column_block * p.columns // p.column_blocks
    cdef int64_t last_column = (column_block + 1) * p.columns // p.column_blocks
    cdef int64_t first_pixel = part * p.part_pixels + call.begin
    cdef int64_t last_pixel = min(first_pixel + p.round_pixels, (part + 1) * p.part_pixels, p.pixels)
    cdef int64_t pixel, count, row, rows, column, i
    cdef int64_t row_panels = divide_up(last_row - first_row, kernel.max_rows)
    cdef int64_t panel_rows = divide_up(last_row - first_row, row_panels)
    cdef int64_t row_offset[FC_MAX_ROWS]
    cdef fc_finish finish
    cdef char *sums = call.sums + (part * p.groups + group) * p.rows * p.columns * item
    cdef char *row_panel = <char *>task_scratch(
        CHUNK_PIXELS * (last_row - first_row + divide_up(last_column - first_column, width) * width) * item)
    cdef char *column_panel = row_panel + CHUNK_PIXELS * (last_row - first_row) * item
    if row_panel == NULL:
        call.out_of_memory = True
        return
    finish.final = False
    finish.row_bias = finish.column_bias = NULL
    finish.activation = 0
    finish.slope = 0
    for i in range(FC_MAX_ROWS):
        row_offset[i] = i * p.columns
    pixel = first_pixel
    while pixel < last_pixel or pixel == part * p.part_pixels:  # once even for no pixel: the sums become zeros
        count = max(0, min(CHUNK_PIXELS, last_pixel - pixel))
        finish.accumulate = pixel > part * p.part_pixels
        row = first_row
        while row < last_row:
            pack_gradient(call, group, row, min(panel_rows, last_row - row), pixel, count,
                          row_panel + (row - first_row) * count * item)
            row += panel_rows
        column = first_column
        while column < last_column:
            pack_windows(call, group, column, min(width, last_column - column), pixel, count,
                         column_panel + (column - first_column) * count * item)
            column += width
        column = first_column
        while column < last_column:
            row = first_row
            while row < last_row:
                rows = min(panel_rows, last_row - row)
                kernel.gemm(count, row_panel + (row - first_row) * count * item,
                            column_panel + (column - first_column) * count * item, width,
                            sums + (row * p.columns + column) * item, row_offset, <int>rows,
                            <int>min(width, last_column - column), &finish)
                row += panel_rows
            column += width
        pixel += CHUNK_PIXELS


ctypedef fused real:
    float
    double


cdef void add_parts(const Call *call, int64_t group, int64_t row, real *sums, real *out) noexcept nogil:
    """Add the parts of one filter in order and lay it out as the caller's grad_weight."""
    cdef const Problem *p = call.problem
    cdef int64_t part_step = p.groups * p.rows * p.columns, channel, tap, part
    cdef real total
    cdef real *target
    sums += (group * p.rows + row) * p.columns
    out += (group * p.rows + row) * call.out_stride[0]
    for tap in range(p.taps):
        target = (out + tap // (p.kernel[1] * p.kernel[2]) * call.out_stride[2]
                  + tap // p.kernel[2] % p.kernel[1] * call.out_stride[3] + tap % p.kernel[2] * call.out_stride[4])
        for channel in range(p.channels):
            total = sums[tap * p.channels + channel]
            for part in range(1, p.parts):
                total += sums[part * part_step + tap * p.channels + channel]
            target[channel * call.out_stride[1]] = total


cdef void row_task(void *context, int64_t index) noexcept nogil:
    cdef Call *call = <Call *>context
    cdef int64_t group = index // call.problem.rows, row = index % call.problem.rows
    if call.float64:
        add_parts(call, group, row, <double *>call.sums, <double *>call.out)
    else:
        add_parts(call, group, row, <float *>call.sums, <float *>call.out)


cdef class WeightGradientPlan:
    """How one geometry's weight gradient is cut into tasks. Immutable once made."""

    cdef Problem problem
    cdef readonly object geometry

    def __cinit__(self, geometry):
        cdef Problem *p = &self.problem
        cdef int64_t blocks, axis
        self.geometry = geometry
        p.n, p.groups = geometry.n, geometry.groups
        p.rows = geometry.out_channels // geometry.groups
        p.channels = geometry.in_channels // geometry.groups
        p.taps, p.pixels = 1, p.n
        for axis in range(3):
            p.kernel[axis] = geometry.kernel[axis]
            p.stride[axis] = geometry.stride[axis]
            p.before[axis] = geometry.before[axis]
            p.dilation[axis] = geometry.dilation[axis]
            p.extent[axis] = geometry.input_size[axis]
            p.count[axis] = geometry.output_size[axis]
            p.taps *= p.kernel[axis]
            p.pixels *= p.count[axis]
        p.columns = p.taps * p.channels
        p.row_blocks = divide_up(p.rows, BLOCK)
        p.column_blocks = divide_up(p.columns, BLOCK)
        blocks = p.row_blocks * p.column_blocks * p.groups
        p.parts = min(divide_up(WANTED_TASKS, blocks), divide_up(p.pixels, PART_PIXELS),
                      PARTS_ELEMENTS // (p.groups * p.rows * p.columns))
        p.parts = max(1, p.parts)
        p.part_pixels = divide_up(divide_up(p.pixels, p.parts), CHUNK_PIXELS) * CHUNK_PIXELS
        p.parts = max(1, divide_up(p.pixels, max(1, p.part_pixels)))
        p.round_pixels = <int64_t>(ROUND_FLOPS / (
            2.0 * min(BLOCK, p.rows) * min(BLOCK, p.columns)
            + PACK_FLOPS * (min(BLOCK, p.rows) + min(BLOCK, p.columns))))
        p.round_pixels = divide_up(p.round_pixels, CHUNK_PIXELS) * CHUNK_PIXELS

    def run(self, input, grad_output, out):
        """Write grad_weight to `out`."""
        cdef Array input_array, grad_array, out_array
        cdef int rank = self.geometry.spatial_rank
        cdef bint batched = self.geometry.batched
        acquire(&input_array, input, rank, batched, False)
        try:
            acquire(&grad_array, grad_output, rank, batched, False)
            try:
                acquire(&out_array, out, rank, True, True)
                try:
                    self.run_arrays(&input_array, &grad_array, &out_array)
                finally:
                    release(&out_array)
            finally:
                release(&grad_array)
        finally:
            release(&input_array)
        return out

    cdef int run_arrays(self, const Array *input, const Array *grad_output, const Array *out) except -1:
        cdef Call call
        cdef const Problem *p = &self.problem
        cdef int axis
        cdef size_t held
        cdef double weights = <double>p.groups * p.rows * p.columns
        call.problem = p
        call.kernel = kernels(input.float64)
        call.float64 = input.float64
        call.itemsize = 8 if input.float64 else 4
        call.input, call.grad_output, call.out = input.data, grad_output.data, out.data
        for axis in range(5):
            call.input_stride[axis] = input.stride[axis]
            call.grad_stride[axis] = grad_output.stride[axis]
            call.out_stride[axis] = out.stride[axis]
        call.out_of_memory = False
        call.sums = <char *>take_scratch(
            p.parts * p.groups * p.rows * p.columns * call.itemsize, &held)
        try:
            call.begin = 0
            while call.begin == 0 or call.begin < p.part_pixels:
                parallel(block_task, &call, p.parts * p.groups * p.row_blocks * p.column_blocks,
                         2.0 * min(p.pixels, p.parts * p.round_pixels) * weights)
                call.begin += p.round_pixels
            if call.out_of_memory:
                raise MemoryError("weight gradient workspace")
            parallel(row_task, &call, p.groups * p.rows, 4.0 * weights * p.parts)
        finally:
            give_scratch(call.sums, held)
        return 0
