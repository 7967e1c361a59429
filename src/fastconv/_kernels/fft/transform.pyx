"""Blocks of arrays and their spectra: which row of an array is which row of a transform.

One transformed axis is read as a matrix (`grid_of`), row by row; of two and three, the last one lies along the rows, the
first is folded (csrc/tile/fft.h). Axes that are not transformed have one element in a block.
"""

from functools import lru_cache
from math import prod

import numpy as np

from libc.math cimport sqrt
from libc.stdint cimport int64_t, uint8_t

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.fc_api cimport fc_fft_rows
from fastconv._kernels.fft.blocks import PAD, grid_of


def powers(turns):
    """exp(2 pi i turns) as pairs of real and imaginary part; angles are below 45 degrees where they are rounded."""
    turns = np.asarray(turns, float)
    quarters = np.rint(4 * turns)
    angles = 2 * np.pi * (turns - quarters / 4)
    values = (np.cos(angles) + 1j * np.sin(angles)) * np.array([1, 1j, -1, -1j])[quarters.astype(int) % 4]
    return np.ascontiguousarray(np.stack([values.real, values.imag], -1))


@lru_cache(maxsize=256)
def passes_of(length):
    """(radices, roots of unity, the frequency at each place) of a transform."""
    radices, roots, part = [], [np.empty((0, 2))], length
    frequencies = np.zeros(1, int)
    for radix in (5, 3, 4, 2):
        while part % radix == 0:
            exponents = np.arange(part // radix)[:, None] * np.arange(1, radix)
            roots.append(powers(-(exponents % part) / part).reshape(-1, 2))
            frequencies = (frequencies[:, None] + length // part * np.arange(radix)).ravel()
            radices.append(radix)
            part //= radix
    return tuple(radices), np.concatenate(roots), frequencies


def row_factors(rows, columns, lanes):
    """What a single line's spectrum is multiplied with between its columns' and its rows' transforms."""
    points = rows * columns
    frequencies = np.zeros(-(-rows // lanes) * lanes, int)
    frequencies[:rows] = passes_of(rows)[2]
    quarters = (4 * frequencies[:, None] - 1) * np.arange(columns) % (4 * points)
    parts = powers(-quarters / (4 * points)).reshape(-1, lanes, columns, 2)
    return np.ascontiguousarray(parts.transpose(0, 2, 3, 1))


cdef class Transform:
    """Of blocks of these lengths per axis (1: not transformed), with so many doubles in a vector."""

    def __cinit__(self, lengths, int lanes):
        cdef Grid *g = &self.grid
        cdef int i, k
        cdef const double[:, ::1] roots
        cdef const double[::1] flat
        cdef const uint8_t[::1] unseen
        axes = [a for a in range(3) if lengths[a] > 1]
        g.alone = len(axes) == 1
        if g.alone:
            rows, columns = grid_of(lengths[axes[0]])
            extents, of_axes = (rows, 1, columns), (axes[0], -1, axes[0])
        elif len(axes) == 2:
            extents, of_axes = (lengths[axes[0]] // 2, 1, lengths[axes[1]]), (axes[0], -1, axes[1])
        else:
            extents, of_axes = (lengths[0] // 2, lengths[1], lengths[2]), (0, 1, 2)
        arrays = []
        for i in range(3):
            g.extent[i], g.axis[i] = extents[i], of_axes[i]
            radices, table, _ = passes_of(extents[i])
            arrays.append(table)
            g.plan[i].length, g.plan[i].passes, g.plan[i].root_count = extents[i], len(radices), len(table)
            for k in range(len(radices)):
                g.plan[i].radix[k] = radices[k]
            if len(table):
                roots = table
                g.plan[i].roots = &roots[0, 0]
        g.row_step = 2 * g.extent[2] + PAD
        g.plane_step = g.extent[1] * g.row_step
        g.block_doubles = g.extent[0] * g.plane_step
        g.spectrum_doubles = divide_up(g.extent[0] * g.extent[1], lanes) * lanes * 2 * g.extent[2]
        g.spectrum_step = g.spectrum_doubles + PAD
        g.scale = 1.0 / prod(extents)
        table = powers(np.arange(g.extent[0]) / (4 * g.extent[0])).ravel()
        arrays.append(table)
        flat = table
        g.twist = &flat[0]
        g.factors = NULL
        if g.alone:
            table = row_factors(extents[0], extents[2], lanes).ravel()
            arrays.append(table)
            flat = table
            g.factors = &flat[0]
        table = np.zeros(extents[2], np.uint8)
        arrays.append(table)
        unseen = table
        g.unseen = &unseen[0]
        self.arrays = tuple(arrays)


cdef void set_axis(Place *place, int axis, int64_t first, int64_t step, int64_t stride, int64_t extent, int64_t begin,
                   int64_t end) noexcept nogil:
    """Of coordinates begin .. end - 1 those exist that lie in an array of this extent."""
    cdef int64_t low, high
    place.first[axis], place.step[axis], place.stride[axis] = first, step, stride
    if step > 0:
        low = 0 if first >= 0 else divide_up(-first, step)
        high = 0 if first >= extent else divide_up(extent - first, step)
    else:
        low = 0 if first < extent else divide_up(first - extent + 1, -step)
        high = 0 if first < 0 else first // -step + 1
    place.begin[axis] = max(begin, low)
    place.end[axis] = max(place.begin[axis], min(end, high))


cdef inline void find_row(const Grid *grid, const Place *place, int64_t item, int64_t row, int64_t middle, int half,
                          fc_fft_rows *rows) noexcept nogil:
    """Half of a row of complex numbers, in the array."""
    cdef int64_t shift = 0, columns = grid.extent[2], offset = 0, at = row + half * grid.extent[0]
    cdef int axis, last = grid.axis[2]
    cdef bint exists = True
    for axis in range(3):
        if axis == last and grid.alone:
            shift = at * columns
        elif axis == grid.axis[0]:
            exists = exists and place.begin[axis] <= at < place.end[axis]
            offset += (place.first[axis] + at * place.step[axis]) * place.stride[axis]
        elif axis == grid.axis[1]:
            exists = exists and place.begin[axis] <= middle < place.end[axis]
            offset += (place.first[axis] + middle * place.step[axis]) * place.stride[axis]
        elif axis != last:
            exists = exists and place.begin[axis] == 0 and place.end[axis] > 0
            offset += place.first[axis] * place.stride[axis]
    offset += (place.first[last] + shift * place.step[last]) * place.stride[last]
    rows.row[half] = place.data + offset * item
    rows.stride = place.step[last] * place.stride[last]
    rows.begin[half] = min(columns, max(<int64_t>0, place.begin[last] - shift))
    rows.end[half] = min(columns, place.end[last] - shift)
    if not exists or rows.end[half] <= rows.begin[half]:
        rows.begin[half] = rows.end[half] = 0


cdef double read_block(const Grid *grid, const fc_kernels *kernel, const fc_kernels *doubles, const Place *place,
                       double *block, double *spectrum) noexcept nogil:
    """The spectrum of a block, zeros around what exists of it; returns its norm. `block` is scratch."""
    cdef int64_t row, middle, groups = grid.extent[2] // doubles.lanes, item = 4 if kernel != doubles else 8
    cdef double squares = 0
    cdef fc_fft_rows rows
    for row in range(grid.extent[0]):
        for middle in range(grid.extent[1]):
            find_row(grid, place, item, row, middle, 0, &rows)
            find_row(grid, place, item, row, middle, 1, &rows)
            squares += kernel.fft.read(block + row * grid.plane_step + middle * grid.row_step, groups, &rows,
                                       grid.twist[2 * row], grid.twist[2 * row + 1])
    for middle in range(grid.extent[1]):
        doubles.fft.columns(block + middle * grid.row_step, grid.plane_step, groups, &grid.plan[0], False)
    if grid.extent[1] > 1:
        for row in range(grid.extent[0]):
            doubles.fft.columns(block + row * grid.plane_step, grid.row_step, groups, &grid.plan[1], False)
    doubles.fft.rows(spectrum, block, grid.row_step, grid.extent[0] * grid.extent[1], &grid.plan[2], grid.factors,
                     False)
    return sqrt(squares)


cdef bint write_block(const Grid *grid, const fc_kernels *kernel, const fc_kernels *doubles, const Place *place,
                      double *block, double *spectrum, fc_fft_finish *finish, const uint8_t **seen) noexcept nogil:
    """The block of a spectrum, which is overwritten, to its place; False if it is not finite.

    `seen`, where not NULL, tells per axis and coordinate whether there is anything but zeros.
    """
    cdef int64_t row, middle, at, groups = grid.extent[2] // doubles.lanes, item = 4 if kernel != doubles else 8
    cdef int half, axis, last = grid.axis[2]
    cdef bint finite = True, visible
    cdef double cosine, sine
    cdef fc_fft_rows rows
    doubles.fft.rows(spectrum, block, grid.row_step, grid.extent[0] * grid.extent[1], &grid.plan[2], grid.factors, True)
    if grid.extent[1] > 1:
        for row in range(grid.extent[0]):
            doubles.fft.columns(block + row * grid.plane_step, grid.row_step, groups, &grid.plan[1], True)
    for middle in range(grid.extent[1]):
        doubles.fft.columns(block + middle * grid.row_step, grid.plane_step, groups, &grid.plan[0], True)
    for row in range(grid.extent[0]):
        cosine, sine = grid.twist[2 * row] * grid.scale, grid.twist[2 * row + 1] * grid.scale
        for middle in range(grid.extent[1]):
            for half in range(2):
                at = row + half * grid.extent[0]
                find_row(grid, place, item, row, middle, half, &rows)
                finish.seen[half] = seen[last]
                if seen[last] != NULL and grid.alone:
                    finish.seen[half] += at * grid.extent[2]
                if rows.begin[half] == rows.end[half]:
                    continue
                for axis in range(3):
                    if axis == last or seen[axis] == NULL:
                        continue
                    visible = seen[axis][at if axis == grid.axis[0] else middle if axis == grid.axis[1] else 0]
                    if not visible:
                        finish.seen[half] = grid.unseen
            if not kernel.fft.write(&rows, block + row * grid.plane_step + middle * grid.row_step, groups, cosine, sine,
                                    finish):
                finite = False
    return finite
