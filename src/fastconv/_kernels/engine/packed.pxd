"""Weights that are packed once and used by many calls; see packed.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport fc_node, fc_task

cdef enum:
    FORMS = 8              # of one weight that are kept; later ones are packed for each call
    FORM_DENSE, FORM_SLIDING, FORM_PIXEL_ROWS, FORM_WINOGRAD, FORM_COL2IM


cdef struct Form:
    int64_t algorithm      # which kernel packs
    int64_t part           # which of its sub-convolutions
    const void *kernel     # table of the instruction set and dtype
    int64_t width          # of a panel
    int64_t layout         # whatever else decides where a number goes


cdef struct Lease:
    const View *weight
    Form form
    char *memory
    size_t held
    bint fresh             # nobody has filled the memory yet: the caller must


cdef class PackedWeight:
    cdef fc_node *kept     # a list of `Kept`

    cdef char *find(self, const Form *form) noexcept nogil
    cdef bint keep(self, const Form *form, char *memory) noexcept nogil


cdef struct Work:
    fc_task task
    int64_t tasks
    double flops


cdef inline Work work(fc_task task, int64_t tasks, double flops) noexcept nogil:
    cdef Work made
    made.task, made.tasks, made.flops = task, tasks, flops
    return made


cdef int run_packed(void *call, char **packed, const bint *failed, const View *weight, const Form *form,
                    size_t size_bytes, Work pack, Work run) except -1 nogil
cdef int lease(Lease *taken, const View *weight, const Form *form, size_t size_bytes) except -1 nogil
cdef void give_back(Lease *taken, bint filled) noexcept nogil
