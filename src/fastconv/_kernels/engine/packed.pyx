"""Weights that are packed once and used by many calls.

Every call packs the weight it is given into the form its tiles read: panels, or Winograd's transforms of them. Where
a `PackedWeight` stands behind the weight, the form is kept there by the first call that makes it, and found by all
later ones. A form depends on algorithm, instruction set and layout, so a few of them may exist of one weight. What
is kept is never written again; two calls that make a form at the same time both compute it, and one is dropped.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcmp

from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport fc_first, fc_node, fc_push
from fastconv._kernels.engine.fastconv_native cimport give_scratch, out_of_memory, parallel, take_scratch

cdef extern from "stdlib.h":
    int posix_memalign(void **memory, size_t alignment, size_t size_bytes) nogil


cdef struct Kept:
    fc_node node           # first, so that one's address is the other's
    Form form
    char *memory


cdef class PackedWeight:
    """The forms of one weight that calls have needed so far."""

    def __dealloc__(self):
        cdef fc_node *node = self.kept
        cdef fc_node *next_
        while node != NULL:
            next_ = node.next
            free((<Kept *>node).memory)
            free(node)
            node = next_

    def __reduce__(self):
        return PackedWeight, ()  # forms are for this process's machine: they are made again when needed

    cdef char *find(self, const Form *form) noexcept nogil:
        """The weight in a form, or NULL."""
        cdef fc_node *node = fc_first(&self.kept)
        while node != NULL:
            if memcmp(&(<Kept *>node).form, form, sizeof(Form)) == 0:
                return (<Kept *>node).memory
            node = node.next
        return NULL

    cdef bint keep(self, const Form *form, char *memory) noexcept nogil:
        """Take over memory that holds a form; False if there is no place, or another call was first."""
        cdef Kept *kept = <Kept *>malloc(sizeof(Kept))
        cdef fc_node *first
        cdef fc_node *node
        cdef int count
        if kept == NULL:
            return False
        kept.form, kept.memory = form[0], memory
        while True:
            node = first = fc_first(&self.kept)
            count = 0
            while node != NULL and memcmp(&(<Kept *>node).form, form, sizeof(Form)):
                node = node.next
                count += 1
            if node != NULL or count >= FORMS:
                free(kept)
                return False
            if fc_push(&self.kept, first, &kept.node):
                return True


cdef int lease(Lease *taken, const View *weight, const Form *form, size_t size_bytes) except -1 nogil:
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
        return out_of_memory(b"packed weight", size_bytes)
    taken.memory = <char *>memory
    return 0


cdef void give_back(Lease *taken, bint filled) noexcept nogil:
    """End a lease; what is `filled` stays with the weight if that is a packed one."""
    if taken.weight.packed == NULL:
        give_scratch(taken.memory, taken.held)
    elif taken.fresh and not (filled and (<PackedWeight>taken.weight.packed).keep(&taken.form, taken.memory)):
        free(taken.memory)


cdef int run_packed(void *call, char **packed, const bint *failed, const View *weight, const Form *form,
                    size_t size_bytes, Work pack, Work run) except -1 nogil:
    """Run the tasks of a call that read a weight in some form from `packed`, which the tasks of `pack` fill first, unless
    it is there. A task that lacks memory says so in `failed`."""
    cdef Lease panels
    cdef bint filled = False
    lease(&panels, weight, form, size_bytes)
    packed[0] = panels.memory
    try:
        if panels.fresh:
            parallel(pack.task, call, pack.tasks, pack.flops)
        filled = not failed[0]
        parallel(run.task, call, run.tasks, run.flops)
    finally:
        give_back(&panels, filled)
    if failed[0]:
        return out_of_memory(b"convolution workspace", 0)
    return 0
