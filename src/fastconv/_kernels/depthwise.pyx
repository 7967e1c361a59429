"""Depthwise convolution (one input and one output channel per group) and its input gradient.

There is nothing to reduce over channels, so the bound is memory: each source row is copied once into padded
scratch, where every tap of every window is a plain run (a stride s splits the row into s runs, by position modulo
s), and the tile walks output rows over it.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport llabs
from libc.string cimport memset

from fastconv._kernels.arrays cimport Array
from fastconv._kernels.conv cimport DensePlan
from fastconv._kernels.dense cimport Dense, Subconvolutions, divide_up
from fastconv._kernels.fc_api cimport FC_MAX_TAP_ROWS, fc_finish, fc_kernels, fc_run, fc_window
from fastconv._kernels.native cimport kernels, parallel, task_scratch, worker_threads
from fastconv._kernels.weights cimport Weights, describe_weights, pack_weight_panel

cdef int64_t BLOCK_BYTES = 128 * 1024   # of padded source rows that a task holds at a time
cdef int64_t MOST_BYTES = 4 << 20       # of the rows that one output row needs
cdef int64_t MOST_ROW_TAPS = 1024       # taps along a row that the tile's table of offsets takes
cdef int64_t MOST_STRIDE = 16           # along a row, which is split into that many runs


cdef struct Call:
    const Dense *dense
    const fc_kernels *kernel
    fc_window window
    Weights weights
    const char *source
    const char *bias
    char *out
    int64_t out_stride[5]
    int64_t itemsize
    int64_t left              # source position of the first padded element of a row
    int64_t span              # padded elements of a row ...
    int64_t run               # ... and the room for one of the `step` runs it is split into
    int64_t row               # room of a padded row
    int64_t block             # output rows of a task
    int64_t blocks
    int activation
    double slope
    bint out_of_memory


cdef void lay_out(Call *call) noexcept nogil:
    """Padded rows and blocks of them."""
    cdef const fc_window *w = &call.window
    cdef int64_t lanes = call.kernel.lanes, rows
    call.left = w.first[2] + min(<int64_t>0, (w.taps[2] - 1) * w.delta[2])
    call.span = (w.count[2] - 1) * w.step[2] + (w.taps[2] - 1) * llabs(w.delta[2]) + 1
    call.run = divide_up(divide_up(call.span, w.step[2]), lanes) * lanes + lanes
    call.row = call.run * w.step[2]
    rows = BLOCK_BYTES // (call.row * call.itemsize * w.taps[0]) - (w.taps[1] - 1) * llabs(w.delta[1])
    call.block = min(w.count[1], max(<int64_t>1, rows // w.step[1]))
    call.block = divide_up(w.count[1], divide_up(w.count[1], call.block))
    call.blocks = divide_up(w.count[1], call.block)


cdef void gather_rows(const Call *call, const char *plane, int64_t rows, char *to) noexcept nogil:
    """Copy `rows` source rows from `plane` on, padded, each split into its runs."""
    cdef const fc_window *w = &call.window
    cdef int64_t item = call.itemsize, phase, first, count, low, high, x
    for phase in range(w.step[2]):
        first = call.left + phase
        count = divide_up(call.span - phase, w.step[2])
        low = min(count, 0 if first >= 0 else divide_up(-first, w.step[2]))
        high = max(low, min(count, 0 if first >= w.extent[2] else divide_up(w.extent[2] - first, w.step[2])))
        x = first + low * w.step[2]
        call.kernel.clear(to + phase * call.run * item, call.row, low, rows)
        if high > low:
            call.kernel.pack(to + (phase * call.run + low) * item, call.row, high - low, rows,
                             plane + x * w.stride[4] * item, w.step[2] * w.stride[4], w.stride[3])
        call.kernel.clear(to + (phase * call.run + high) * item, call.row, count - high, rows)


cdef void block_task(void *context, int64_t index) noexcept nogil:
    """A block of output rows of one plane of one channel."""
    cdef Call *call = <Call *>context
    cdef const Dense *d = call.dense
    cdef const fc_window *w = &call.window
    cdef int64_t item = call.itemsize
    cdef int64_t first_row = index % call.blocks * call.block
    cdef int64_t od = index // call.blocks % w.count[0]
    cdef int64_t channel = index // call.blocks // w.count[0] % d.groups
    cdef int64_t n = index // call.blocks // w.count[0] // d.groups
    cdef int64_t last_row = min(first_row + call.block, w.count[1])
    # the source rows that the block's windows reach, as far as they exist
    cdef int64_t reach = (w.taps[1] - 1) * w.delta[1]
    cdef int64_t top = max(<int64_t>0, first_row * w.step[1] + w.first[1] + min(<int64_t>0, reach))
    cdef int64_t bottom = min(w.extent[1], (last_row - 1) * w.step[1] + w.first[1] + max(<int64_t>0, reach) + 1)
    cdef int64_t rows = max(<int64_t>0, bottom - top), kd, kh, z, y, oh, t, offset
    cdef char *taps = <char *>task_scratch(
        (d.taps + w.taps[0] * rows * call.row + divide_up(w.count[2], call.kernel.lanes) * call.kernel.lanes) * item)
    cdef char *padded = taps + d.taps * item
    cdef char *line = padded + w.taps[0] * rows * call.row * item
    cdef char *out
    cdef const void *row[FC_MAX_TAP_ROWS]
    cdef const void *weight[FC_MAX_TAP_ROWS]
    cdef int64_t tap_offset[1024]
    cdef int row_count
    cdef int64_t zero = 0
    cdef fc_finish finish
    cdef fc_run run
    if taps == NULL:
        call.out_of_memory = True
        return
    memset(&finish, 0, sizeof(finish))
    finish.final = True
    finish.activation = call.activation
    finish.slope = call.slope
    if call.bias != NULL:
        finish.row_bias = call.bias + channel * item
    pack_weight_panel(&call.weights, channel, 0, 0, 1, 0, d.taps, taps)
    for t in range(w.taps[2]):
        offset = w.first[2] + t * w.delta[2] - call.left
        tap_offset[t] = offset % w.step[2] * call.run + offset // w.step[2]
    for kd in range(w.taps[0]):
        z = od * w.step[0] + w.first[0] + kd * w.delta[0]
        if 0 <= z < w.extent[0] and rows > 0:
            gather_rows(call, call.source + (n * w.stride[0] + channel * w.stride[1] + z * w.stride[2]
                                             + top * w.stride[3]) * item, rows, padded + kd * rows * call.row * item)
    run.column, run.count, run.offset, run.stride = 0, w.count[2], 0, d.out_step[2] * call.out_stride[4]
    for oh in range(first_row, last_row):
        row_count = 0
        for kd in range(w.taps[0]):
            z = od * w.step[0] + w.first[0] + kd * w.delta[0]
            if z < 0 or z >= w.extent[0]:
                continue
            for kh in range(w.taps[1]):
                y = oh * w.step[1] + w.first[1] + kh * w.delta[1]
                if 0 <= y < w.extent[1]:
                    row[row_count] = padded + (kd * rows + y - top) * call.row * item
                    weight[row_count] = taps + (kd * w.taps[1] + kh) * w.taps[2] * item
                    row_count += 1
        out = call.out + (n * call.out_stride[0] + channel * call.out_stride[1]
                          + (d.begin[0] + od * d.out_step[0]) * call.out_stride[2]
                          + (d.begin[1] + oh * d.out_step[1]) * call.out_stride[3]
                          + d.begin[2] * call.out_stride[4]) * item
        if run.stride == 1:
            call.kernel.depthwise_row(out, w.count[2], row, weight, row_count, tap_offset, <int>w.taps[2], &finish)
        else:
            call.kernel.depthwise_row(line, w.count[2], row, weight, row_count, tap_offset, <int>w.taps[2], &finish)
            finish.final = False
            call.kernel.scatter(line, 0, out, &zero, 1, &run, 1, &finish)
            finish.final = True


def serves(geometry):
    """Whether every group has one input and one output channel, and the taps and padded rows fit the workspace."""
    if not geometry.groups == geometry.in_channels == geometry.out_channels:
        return False
    if geometry.kernel[0] * geometry.kernel[1] > FC_MAX_TAP_ROWS or geometry.kernel[2] > MOST_ROW_TAPS:
        return False
    _, height, width = ((k - 1) * d + 1 for k, d in zip(geometry.kernel, geometry.dilation))
    row = max(geometry.input_size[2], geometry.output_size[2] * geometry.stride[2]) + 2 * width
    return geometry.stride[2] <= MOST_STRIDE and geometry.kernel[0] * height * row * 8 <= MOST_BYTES


cdef class DepthwisePlan(Subconvolutions):
    """One depthwise geometry, in one direction; raises ValueError for any other."""

    cdef readonly DensePlan direct   # for channels-last arrays, whose lanes would be channels
    serves = staticmethod(serves)

    def __cinit__(self, geometry, direction):
        if not serves(geometry):
            raise ValueError(
                f"algorithm='depthwise': needs groups == input channels == output channels, not "
                f"{geometry.groups}, {geometry.in_channels} and {geometry.out_channels}; at most {FC_MAX_TAP_ROWS} x "
                f"{MOST_ROW_TAPS} taps and stride {MOST_STRIDE}; and padded rows under one kernel of at most "
                f"{MOST_BYTES} bytes")
        self.direct = DensePlan(geometry, direction)

    cdef int run_arrays(self, object source, const Array *source_array, object weight, const Array *weight_array,
                        object bias, const char *bias_data, object out, const Array *out_array, int activation,
                        double slope) except -1:
        cdef int64_t i
        if source_array.stride[1] == 1 and source_array.stride[4] != 1 and source_array.size[1] > 1:
            return self.direct.run_arrays(source, source_array, weight, weight_array, bias, bias_data, out, out_array,
                                          activation, slope)
        if self.leaves_gaps:
            self.fill_gaps(out, bias)
        for i in range(self.count):
            if self.dense[i].pixels:
                self.run_dense(&self.dense[i], source_array, weight_array, bias_data, out_array, activation, slope)
        return 0

    cdef int run_dense(self, const Dense *d, const Array *source, const Array *weight, const char *bias,
                       const Array *out, int activation, double slope) except -1:
        cdef Call call
        cdef int axis
        call.dense, call.kernel, call.window = d, kernels(source.float64), d.window
        call.itemsize = 8 if source.float64 else 4
        call.source, call.out, call.bias = source.data, out.data, bias
        call.activation, call.slope, call.out_of_memory = activation, slope, False
        for axis in range(5):
            call.window.stride[axis] = source.stride[axis]
            call.out_stride[axis] = out.stride[axis]
        lay_out(&call)
        describe_weights(&call.weights, d, call.kernel, weight, self.forward)
        call.weights.width, call.weights.padded = 1, False
        # rows are copied and written besides: a few operations per element more than the arithmetic
        parallel(block_task, &call, d.n * d.groups * d.window.count[0] * call.blocks, d.flops + 20.0 * d.pixels * d.groups)
        if call.out_of_memory:
            raise MemoryError("convolution workspace")
        return 0

    def info(self, bint float64, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes, of its first sub-convolution."""
        cdef Call call
        if channels_last:
            return self.direct.info(float64, True)
        call.dense, call.kernel, call.window = self.dense, kernels(float64), self.dense.window
        call.itemsize = 8 if float64 else 4
        lay_out(&call)
        tasks = call.dense.n * call.dense.groups * call.window.count[0] * call.blocks
        rows = (call.block - 1) * call.window.step[1] + (call.window.taps[1] - 1) * llabs(call.window.delta[1]) + 1
        return {
            "algorithm": "depthwise",
            "isa": call.kernel.isa.decode(),
            "tile": (1, 4 * call.kernel.lanes),
            "threads": min(worker_threads(call.dense.flops), tasks),
            "tasks": tasks,
            "packed_weight_bytes": 0,
            "workspace_bytes": call.window.taps[0] * rows * call.row * call.itemsize,
        }
