"""Weights that are packed once and used by many calls.

Every call packs the weight it is given into the form its tiles read: panels, or Winograd's transforms of them. Where
a `PackedWeight` stands behind the weight, the form is kept there by the first call that makes it, and found by all
later ones. A form depends on algorithm, instruction set and layout, so a few of them may exist of one weight. What
is kept is never written again; two calls that make a form at the same time both compute it, and one is dropped.
"""

cimport cython
from libc.stdlib cimport free
from libc.string cimport memcmp

from fastconv._kernels.engine.arrays cimport Array
from fastconv._kernels.engine.native cimport give_scratch, take_scratch

cdef extern from "stdlib.h":
    int posix_memalign(void **memory, size_t alignment, size_t size_bytes) nogil


cdef class PackedWeight:
    """The forms of one weight that calls have needed so far."""

    def __dealloc__(self):
        cdef int i
        for i in range(self.count):
            free(self.memory[i])

    def __reduce__(self):
        return PackedWeight, ()  # forms are for this process's machine: they are made again when needed

    cdef char *find(self, const Form *form) noexcept:
        """The weight in a form, or NULL."""
        cdef char *found = NULL
        cdef int i
        with cython.critical_section(self):
            for i in range(self.count):
                if memcmp(&self.form[i], form, sizeof(Form)) == 0:
                    found = self.memory[i]
                    break
        return found

    cdef bint keep(self, const Form *form, char *memory) noexcept:
        """Take over memory that holds a form; False if there is no place, or another call was first."""
        cdef bint kept = False
        cdef int i
        with cython.critical_section(self):
            kept = self.count < FORMS
            for i in range(self.count):
                kept = kept and memcmp(&self.form[i], form, sizeof(Form)) != 0
            if kept:
                self.form[self.count], self.memory[self.count] = form[0], memory
                self.count += 1
        return kept


cdef int lease(Lease *taken, const Array *weight, const Form *form, size_t size_bytes) except -1:
    """Memory for a weight in some form, `fresh` unless it is there already. Pair with `give_back`."""
    cdef void *memory = NULL
    taken.weight, taken.form, taken.fresh = weight, form[0], True
    if weight.packed == NULL:
        taken.memory = <char *>take_scratch(size_bytes, &taken.held)
        return 0
    taken.memory = (<PackedWeight>weight.packed).find(form)
    if taken.memory != NULL:
        taken.fresh = False
        return 0
    if posix_memalign(&memory, 64, size_bytes):
        raise MemoryError(f"packed weight of {size_bytes} bytes")
    taken.memory = <char *>memory
    return 0


cdef void give_back(Lease *taken, bint filled) noexcept:
    """End a lease; what is `filled` stays with the weight if that is a packed one."""
    if taken.weight.packed == NULL:
        give_scratch(taken.memory, taken.held)
    elif taken.fresh and not (filled and (<PackedWeight>taken.weight.packed).keep(&taken.form, taken.memory)):
        free(taken.memory)
