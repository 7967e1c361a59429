"""The walk over blocks that all passes by FFT share: out[batch, row] = the sum over terms of kernel[row, term] on
source[batch, term], per group.

                     batch              term               row
    forward          images             channels, phases   output channels
    input gradient   images             output channels    input channels
    weight gradient  input channels     images, turns      output channels

    for each part of the rows (and, in a weight gradient, of the batch):
        for each chunk of terms and pieces, of which there is one, but for weight gradients:
            transform the kernel's pieces                                   K[row, term, piece]
            for each round, of some of the batch and a box of blocks:
                transform the source's segments                             S[batch, term, segment]
                for each row and block: the sum over terms and pieces of conj(K) S;
                    in the last chunk transformed back, to the array

Transforms of a round, and then its sums, are the tasks that threads share. Parts, chunks and rounds follow from the
geometry; a sum is formed in one order however it is cut. Sums that go on in a later chunk are held in memory.
"""

from functools import lru_cache
from itertools import product
from math import log2, prod

import numpy as np

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.fc_api cimport FC_FLOAT64, fc_fft_finish, fc_kernels
from fastconv._kernels.engine.fastconv_native cimport give_scratch, kernels, parallel_with_gil, take_scratch, task_scratch
from fastconv._kernels.fft.blocks import PRODUCT_FLOPS, POINT_FLOPS, TRANSFORM_FLOPS
from fastconv._kernels.fft.transform cimport Grid, Place, Transform, read_block, set_axis, write_block

ROUNDING = 16 * 2.0**-52    # bounds what is left of a sum of zeros, relative to its factors and per doubling

ctypedef int64_t Triple[3]


cdef struct FftCall:
    const fc_kernels *kernel
    const fc_kernels *doubles
    Grid grid
    Pass what
    int64_t item
    double rounding              # 0 if values are not cleared of it
    const char *bias
    int activation
    double slope
    # of a correlation
    int64_t phases
    const int64_t *firsts        # of the source, per phase and axis
    const int64_t *taps          # of the kernel, per phase and axis: first, step, count
    Triple source_step, source_shift
    Triple out_first, out_step, out_count
    const uint8_t *seen[3]
    Triple piece, hop, stretch
    # what is being worked on
    int64_t row, rows            # of all groups
    int64_t group, groups
    int64_t batch, batches
    int64_t term, terms          # with phases
    Triple first_piece, pieces, first_block, blocks, segments
    int64_t piece_count, block_count, segment_count
    double *kernels
    double *sources
    double *sums                 # NULL if they are not held
    double *kernel_norms
    double *source_norms
    double *bounds
    bint first, final
    uint8_t *finite              # per batch
    bint out_of_memory


cdef inline void split_index(int64_t index, const int64_t *counts, int64_t *place) noexcept nogil:
    cdef int axis
    for axis in range(2, -1, -1):
        place[axis] = index % counts[axis]
        index //= counts[axis]


cdef void kernel_task(void *context, int64_t index) noexcept nogil:
    """The spectrum of a piece."""
    cdef FftCall *call = <FftCall *>context
    cdef const Operand *kernel = &call.what.kernel
    cdef int64_t piece = index % call.piece_count, rest = index // call.piece_count
    cdef int64_t term = call.term + rest % call.terms, row = call.row + rest // call.terms, start
    cdef const int64_t *taps = call.taps + 9 * (term % call.phases)
    cdef double *block = <double *>task_scratch(call.grid.block_doubles * 8)
    cdef Triple at
    cdef Place place
    cdef int axis
    if block == NULL:
        call.out_of_memory = True
        return
    place.data = kernel.array.data + (row // call.what.rows * kernel.group + row % call.what.rows * kernel.row
                                      + term // call.phases * kernel.term) * call.item
    split_index(piece, call.pieces, at)
    for axis in range(3):
        start = (call.first_piece[axis] + at[axis]) * call.piece[axis]
        set_axis(&place, axis, taps[3 * axis] + taps[3 * axis + 1] * start, taps[3 * axis + 1],
                 kernel.array.stride[axis + 2], kernel.array.size[axis + 2], 0,
                 max(<int64_t>0, min(call.piece[axis], taps[3 * axis + 2] - start)))
    call.kernel_norms[index] = read_block(&call.grid, call.kernel, call.doubles, &place, block,
                                          call.kernels + index * call.grid.spectrum_step)


cdef void source_task(void *context, int64_t index) noexcept nogil:
    """The spectrum of a segment."""
    cdef FftCall *call = <FftCall *>context
    cdef const Operand *source = &call.what.source
    cdef int64_t segment = index % call.segment_count, rest = index // call.segment_count
    cdef int64_t term = call.term + rest % call.terms, group, batch, start
    cdef const int64_t *firsts = call.firsts + 3 * (term % call.phases)
    cdef double *block = <double *>task_scratch(call.grid.block_doubles * 8)
    cdef Triple at
    cdef Place place
    cdef int axis
    if block == NULL:
        call.out_of_memory = True
        return
    rest //= call.terms
    group, batch = call.group + rest % call.groups, call.batch + rest // call.groups
    place.data = source.array.data + (batch * source.batch + group * source.group
                                      + term // call.phases * source.term) * call.item
    split_index(segment, call.segments, at)
    for axis in range(3):
        start = (call.first_piece[axis] + call.first_block[axis] + at[axis]) * call.stretch[axis]
        set_axis(&place, axis, firsts[axis] + call.source_shift[axis] + call.source_step[axis] * start,
                 call.source_step[axis], source.array.stride[axis + 2], source.array.size[axis + 2], 0,
                 call.hop[axis] + call.piece[axis] - 1)
    call.source_norms[index] = read_block(&call.grid, call.kernel, call.doubles, &place, block,
                                          call.sources + index * call.grid.spectrum_step)


cdef void write_sum(FftCall *call, int64_t row, int64_t item, double bound, double *block, double *sum_) noexcept nogil:
    """Transform the sum of a row and an item back, to the array."""
    cdef const Operand *out = &call.what.out
    cdef int64_t batch = call.batch + item // call.block_count, start, group = row // call.what.rows
    cdef const uint8_t *seen[3]
    cdef Triple at
    cdef Place place
    cdef fc_fft_finish finish
    cdef int axis
    finish.bound, finish.bias, finish.activation, finish.slope = bound, 0, call.activation, call.slope
    if call.bias != NULL:
        finish.bias = (<const double *>call.bias)[row] if call.item == 8 else (<const float *>call.bias)[row]
    place.data = out.array.data + (batch * out.batch + group * out.group + row % call.what.rows * out.row) * call.item
    split_index(item % call.block_count, call.blocks, at)
    for axis in range(3):
        start = (call.first_block[axis] + at[axis]) * call.hop[axis]
        seen[axis] = call.seen[axis] + start if call.seen[axis] != NULL else NULL
        set_axis(&place, axis, call.out_first[axis] + call.out_step[axis] * start, call.out_step[axis],
                 out.array.stride[axis + 2], out.array.size[axis + 2], 0,
                 max(<int64_t>0, min(call.hop[axis], call.out_count[axis] - start)))
    if not write_block(&call.grid, call.kernel, call.doubles, &place, block, sum_, &finish, seen):
        call.finite[batch] = False


cdef int64_t rows_of_group(const FftCall *call) noexcept nogil:
    """Rows that a part has of each of its groups."""
    return call.rows // call.groups


cdef void sum_task(void *context, int64_t index) noexcept nogil:
    """Up to two rows and two items (blocks of the batch): their sums, and where these are final, their outputs."""
    cdef FftCall *call = <FftCall *>context
    cdef int64_t step = call.grid.spectrum_step, per_group = rows_of_group(call), pairs = divide_up(per_group, 2)
    cdef int64_t row = index % pairs * 2, group = index // pairs % call.groups, item = index // pairs // call.groups * 2
    cdef int64_t rows = min(<int64_t>2, per_group - row), t, piece, term, from_, number, i, r
    cdef int64_t items = min(<int64_t>2, call.batches * call.block_count - item)
    cdef int64_t terms = call.terms * call.piece_count
    cdef double *block = <double *>task_scratch((call.grid.block_doubles + 4 * step + 4 * terms + 4) * 8)
    cdef double *sums = block + call.grid.block_doubles
    cdef const double **a = <const double **>(sums + 4 * step)
    cdef const double **b = a + 2 * terms
    cdef double **to = <double **>(b + 2 * terms)
    cdef double bounds[4]
    cdef Triple at, of_piece
    cdef int axis
    if block == NULL:
        call.out_of_memory = True
        return
    row += group * per_group
    for r in range(rows):
        for t in range(terms):
            a[r * terms + t] = call.kernels + ((row + r) * terms + t) * step
    bounds[0] = bounds[1] = bounds[2] = bounds[3] = 0
    for i in range(items):
        split_index((item + i) % call.block_count, call.blocks, at)
        number = ((item + i) // call.block_count * call.groups + group) * call.terms
        t = 0
        for term in range(call.terms):
            for piece in range(call.piece_count):
                split_index(piece, call.pieces, of_piece)
                from_ = 0
                for axis in range(3):
                    from_ = from_ * call.segments[axis] + at[axis] + of_piece[axis]
                from_ += (number + term) * call.segment_count
                b[i * terms + t] = call.sources + from_ * step
                for r in range(rows):
                    bounds[r * items + i] += call.kernel_norms[(row + r) * terms + t] * call.source_norms[from_]
                t += 1
        for r in range(rows):
            number = (item + i) * call.rows + row + r
            to[r * items + i] = (sums + (r * items + i) * step) if call.sums == NULL else call.sums + number * step
            if call.sums != NULL:
                if not call.first:
                    bounds[r * items + i] += call.bounds[number]
                call.bounds[number] = bounds[r * items + i]
    call.doubles.fft.products(to, a, b, terms, call.grid.spectrum_doubles, <int>rows, <int>items,
                              call.sums != NULL and not call.first)
    if call.final:
        for r in range(rows):
            for i in range(items):
                write_sum(call, call.row + row + r, item + i, bounds[r * items + i] * call.rounding, block,
                          to[r * items + i])


# ---- the walk --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def transform_of(lengths, lanes):
    return Transform(lengths, lanes)


def box_of(moving, other, most):
    """How many of `moving` (blocks or pieces, per axis) go with all of `other` so that their segments are at most `most`."""
    box = list(moving)
    while prod([m + o - 1 for m, o in zip(box, other)]) > most and max(box) > 1:
        axis = next(a for a in range(3) if box[a] > 1)
        box[axis] = (box[axis] + 1) // 2
    return box


def boxes(moving, box):
    """(first, count) per axis of each."""
    return list(product(*[[(first, min(size, total - first)) for first in range(0, total, size)]
                          for total, size in zip(moving, box)]))


def ranges(count, at_once):
    """(first, count) of each."""
    return [(first, min(at_once, count - first)) for first in range(0, count, at_once)]


def parts_of(groups, rows, at_once):
    """(first row, rows) of whole groups, or of one."""
    if at_once >= rows:
        return ranges(groups * rows, at_once // rows * rows)
    return [(group * rows + first, count) for group in range(groups) for first, count in ranges(rows, at_once)]


@lru_cache(maxsize=64)
def seen_from(begins, counts, step, extent, outputs):
    """Which outputs meet the source, at first + step * (output + tap) for one of the ranges of taps; None if all do."""
    seen = np.zeros(outputs, np.uint8)
    for first, count in zip(begins, counts):
        at = first + step * np.arange(outputs)
        skipped = np.maximum(0, -(at // step))
        seen |= ((skipped < count) & (at + skipped * step < extent)).astype(np.uint8)
    return None if seen.all() else seen


cdef int check(const FftCall *call) except -1:
    """After each round: a short one has not looked for Ctrl-C."""
    PyErr_CheckSignals()
    if call.out_of_memory:
        raise MemoryError("workspace of a thread")
    return 0


cdef int64_t set_box(int64_t *first, int64_t *count, object box) except -1:
    cdef int axis
    cdef int64_t total = 1
    for axis in range(3):
        first[axis], count[axis] = box[axis]
        total *= count[axis]
    return total


cdef object walk(object plan, const Pass *what, const char *bias, int activation, double slope):
    """Compute all of a pass; which of the batch are finite."""
    cdef FftCall call
    cdef Transform transform
    cdef uint8_t[::1] finite
    cdef bint gradient = plan.direction == "weight_gradient"
    cdef int axis
    memset(&call, 0, sizeof(FftCall))
    blocks = plan.blocks
    cuts = blocks.cuts
    call.what = what[0]
    call.kernel, call.doubles = kernels(what.source.array.dtype), kernels(FC_FLOAT64)
    call.item = what.source.array.item
    lengths = tuple([c.length for c in cuts])
    transform = transform_of(lengths, call.doubles.lanes)
    call.grid = transform.grid
    call.rounding = 0 if what.source.array.dtype == FC_FLOAT64 else ROUNDING * log2(prod(lengths))
    call.bias, call.activation, call.slope = bias, activation, slope
    for axis in range(3):
        call.piece[axis], call.hop[axis], call.stretch[axis] = cuts[axis].piece, cuts[axis].hop, cuts[axis].stretch
    marks = np.ones(max(1, what.batch), np.uint8)
    finite = marks
    call.finite = &finite[0]
    for lines in product(*plan.lines):
        walk_lines(&call, lines, blocks, gradient)
    return marks[:what.batch].astype(bool)


cdef int walk_lines(FftCall *call, object lines, object blocks, bint gradient) except -1:
    """One correlation per axis."""
    cdef const int64_t[:, ::1] firsts
    cdef const int64_t[:, :, ::1] taps
    cdef size_t held
    cdef void *memory
    cdef int axis
    cdef int64_t step = call.grid.spectrum_step, kernel_count, source_count, sum_count
    pieces, all_blocks = [c.pieces for c in blocks.cuts], [c.blocks for c in blocks.cuts]
    turns = list(product(*[line.turns for line in lines]))
    first_array = np.array(list(product(*[line.firsts for line in lines])), np.int64)
    places = np.array(list(product(*[line.taps for line in lines])), np.int64)
    firsts = first_array
    call.phases, call.firsts = len(first_array), &firsts[0, 0]
    for axis in range(3):
        call.source_step[axis] = lines[axis].step
    terms, most = call.what.terms * call.phases, max(1, blocks.bytes // (8 * step))
    if gradient:  # chunks of pieces and images; all blocks
        most = max(<int64_t>1, most // 2)  # the sums have the other half
        batch_at_once = blocks.depth
        row_parts = parts_of(call.what.groups, call.what.rows, blocks.rows)
        groups = max(1, blocks.rows // call.what.rows)
        per_piece = max(blocks.rows, batch_at_once * groups)
        box = box_of(pieces, all_blocks, max(1, most // per_piece))
        segments = prod([p + b - 1 for p, b in zip(box, all_blocks)])
        terms_at_once = min(terms, max(1, most // (per_piece * segments)))
        chunks = list(product(turns, ranges(terms, terms_at_once), boxes(pieces, box)))
        rounds = [[(0, b) for b in all_blocks]]
        kernel_count = blocks.rows * terms_at_once * prod(box)
        sum_count = batch_at_once * blocks.rows * prod(all_blocks)
    else:
        row_parts = parts_of(call.what.groups, call.what.rows, blocks.rows)
        groups = max(1, blocks.rows // call.what.rows)
        box = box_of(all_blocks, pieces, max(1, most // (terms * groups)))
        segments = prod([p + b - 1 for p, b in zip(pieces, box)])
        batch_at_once = min(max(1, call.what.batch), max(1, most // (terms * groups * segments)))
        terms_at_once = terms
        chunks = [(None, (0, terms), [(0, p) for p in pieces])]
        rounds = boxes(all_blocks, box)
        kernel_count, sum_count = blocks.rows * terms * prod(pieces), 0
    source_count = batch_at_once * groups * terms_at_once * segments
    memory = take_scratch((kernel_count + source_count + sum_count) * (step + 1) * 8, &held)
    try:
        call.kernels = <double *>memory
        call.sources = call.kernels + kernel_count * step
        call.sums = call.sources + source_count * step
        call.kernel_norms = call.sums + sum_count * step
        call.source_norms = call.kernel_norms + kernel_count
        call.bounds = call.source_norms + source_count
        if not gradient:
            call.sums = NULL
            taps = places
            call.taps = &taps[0, 0, 0]
        for row, rows in row_parts:
            call.row, call.rows = row, rows
            call.group, call.groups = row // call.what.rows, max(<int64_t>1, call.rows // call.what.rows)
            if gradient:
                walk_gradient(call, lines, places, chunks, batch_at_once, all_blocks)
            else:
                walk_outputs(call, lines, turns, chunks[0], rounds, batch_at_once)
    finally:
        give_scratch(memory, held)
    return 0


cdef int walk_outputs(FftCall *call, object lines, object turns, object chunk, object rounds,
                      int64_t batch_at_once) except -1:
    """Of a part of the rows: transform the kernel once, for all turns, images and blocks."""
    call.term, call.terms = chunk[1]
    call.piece_count = set_box(call.first_piece, call.pieces, chunk[2])
    call.first = call.final = True
    transform_kernels(call)
    for turn in turns:
        seen = [seen_from(tuple([first + move for first in line.firsts]), tuple([taps[2] for taps in line.taps]), line.step,
                          call.what.source.array.size[axis + 2], place[2])
                for axis, (line, (move, place)) in enumerate(zip(lines, turn))]
        set_turn(call, [move for move, _ in turn])
        set_out(call, [place for _, place in turn], seen)
        for batch, batches in ranges(call.what.batch, batch_at_once):
            for box in rounds:
                call.batch, call.batches = batch, batches
                call.block_count = set_box(call.first_block, call.blocks, box)
                transform_sources(call)
                add_up(call)
    return 0


cdef int walk_gradient(FftCall *call, object lines, object places, object chunks, int64_t batch_at_once,
                       object all_blocks) except -1:
    """Of a part of the filters: add up what all images, turns and pieces of grad_output contribute."""
    cdef const int64_t[:, :, ::1] taps
    seen = [seen_from(tuple([line.firsts[0] + move for move, _ in line.turns]), tuple([place[2] for _, place in line.turns]),
                      line.step, call.what.source.array.size[axis + 2], line.taps[0][2])
            for axis, line in enumerate(lines)]
    set_out(call, [line.taps[0] for line in lines], seen)
    call.block_count = set_box(call.first_block, call.blocks, [(0, b) for b in all_blocks])
    for batch, batches in ranges(call.what.batch, batch_at_once):
        for number, (turn, terms, box) in enumerate(chunks):
            call.batch, call.batches = batch, batches
            turn_places = np.array([[place for _, place in turn]], np.int64)
            taps = turn_places
            call.taps = &taps[0, 0, 0]
            set_turn(call, [move for move, _ in turn])
            call.term, call.terms = terms
            call.piece_count = set_box(call.first_piece, call.pieces, box)
            call.first, call.final = number == 0, number == len(chunks) - 1
            transform_kernels(call)
            transform_sources(call)
            add_up(call)
    return 0


cdef int set_turn(FftCall *call, object moves) except -1:
    cdef int axis
    for axis in range(3):
        call.source_shift[axis] = moves[axis]
    return 0


cdef int set_out(FftCall *call, object places, list seen) except -1:
    """`seen` must stay alive."""
    cdef const uint8_t[::1] marks
    cdef int axis
    for axis in range(3):
        call.out_first[axis], call.out_step[axis], call.out_count[axis] = places[axis]
        call.seen[axis] = NULL
        if seen[axis] is not None:
            marks = seen[axis]
            call.seen[axis] = &marks[0]
    return 0


cdef double transform_work(const FftCall *call):
    cdef double points = 2.0 * call.grid.extent[0] * call.grid.extent[1] * call.grid.extent[2]
    return points * (log2(points) * TRANSFORM_FLOPS + POINT_FLOPS)


cdef int transform_kernels(FftCall *call) except -1:
    cdef int64_t tasks = call.rows * call.terms * call.piece_count
    parallel_with_gil(kernel_task, call, tasks, tasks * transform_work(call))
    return check(call)


cdef int transform_sources(FftCall *call) except -1:
    cdef int64_t tasks
    cdef int axis
    call.segment_count = 1
    for axis in range(3):
        call.segments[axis] = call.blocks[axis] + call.pieces[axis] - 1
        call.segment_count *= call.segments[axis]
    tasks = call.batches * call.groups * call.terms * call.segment_count
    parallel_with_gil(source_task, call, tasks, tasks * transform_work(call))
    return check(call)


cdef int add_up(FftCall *call) except -1:
    cdef int64_t items = call.batches * call.block_count
    cdef int64_t tasks = divide_up(items, 2) * call.groups * divide_up(rows_of_group(call), 2)
    cdef double work = call.rows * items * (
        transform_work(call) * call.final
        + call.terms * call.piece_count * PRODUCT_FLOPS * call.grid.spectrum_doubles / 2)
    parallel_with_gil(sum_task, call, tasks, work)
    return check(call)
