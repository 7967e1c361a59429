"""Blocks of arrays and their spectra; see transform.pyx."""

from libc.stdint cimport int64_t, uint8_t

from fastconv._kernels.engine.fc_api cimport fc_fft_axis, fc_fft_finish, fc_kernels


cdef struct Grid:
    int64_t extent[3]          # complex numbers of a block: rows (folded), a middle axis, columns
    int axis[3]                # of the array: which is which; -1: none
    bint alone                 # one axis: rows and columns are both of it
    int64_t row_step, plane_step   # doubles
    int64_t block_doubles      # of a block on its way
    int64_t spectrum_doubles
    int64_t spectrum_step      # from spectrum to spectrum
    fc_fft_axis plan[3]
    const double *twist        # a complex number per row
    const double *factors      # NULL if not alone
    const uint8_t *unseen      # zeros, for a row that sees nothing
    double scale


cdef struct Place:             # of a block in an array
    char *data
    int64_t first[3]           # the element that coordinate 0 is ...
    int64_t step[3]            # ... and how far on the next one is
    int64_t stride[3]          # of the array
    int64_t begin[3]           # the coordinates that exist
    int64_t end[3]


cdef class Transform:
    cdef Grid grid
    cdef tuple arrays


cdef void set_axis(Place *place, int axis, int64_t first, int64_t step, int64_t stride, int64_t extent, int64_t begin,
                   int64_t end) noexcept nogil
cdef double read_block(const Grid *grid, const fc_kernels *kernel, const fc_kernels *doubles, const Place *place,
                       double *block, double *spectrum) noexcept nogil
cdef bint write_block(const Grid *grid, const fc_kernels *kernel, const fc_kernels *doubles, const Place *place,
                      double *block, double *spectrum, fc_fft_finish *finish, const uint8_t **seen) noexcept nogil
