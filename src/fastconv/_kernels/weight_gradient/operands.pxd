"""What every way to a weight gradient is given, in the form that its tasks read."""

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport fc_finish, fc_kernels, fc_run, fc_task
from fastconv._kernels.engine.fastconv_native cimport kernels, out_of_memory, parallel


cdef struct Operands:
    const fc_kernels *kernel
    const char *input
    const char *grad_output
    int64_t input_stride[5]
    int64_t grad_stride[5]
    int64_t item                # bytes of an element
    char *sums                  # one after the other: of each part
    int64_t begin               # first chunk of each part that this round walks
    bint out_of_memory


cdef inline void describe_operands(Operands *to, const View *input, const View *grad_output,
                                   char *sums) noexcept nogil:
    cdef int axis
    to.kernel, to.item = kernels(input.dtype), input.item
    to.input, to.grad_output, to.sums = input.data, grad_output.data, sums
    for axis in range(5):
        to.input_stride[axis], to.grad_stride[axis] = input.stride[axis], grad_output.stride[axis]
    to.begin, to.out_of_memory = 0, False


cdef inline int run_rounds(Operands *on, fc_task task, void *call, int64_t tasks, int64_t longest, int64_t round_chunks,
                           double flops) except -1 nogil:
    """Run the tasks over all chunks of each part, of which the longest has so many, some at a time: between two rounds
    Ctrl-C is noticed. `flops` are those of all."""
    while on.begin < longest:
        parallel(task, call, tasks, flops * min(longest, round_chunks) / longest)
        on.begin += round_chunks
    if on.out_of_memory:
        return out_of_memory(b"weight gradient workspace", 0)
    return 0


cdef inline void add_sums(const fc_kernels *kernel, int64_t count, const char *sums, char *to) noexcept nogil:
    """Add the sums of one part to those of the parts before it."""
    cdef int64_t at_start = 0
    cdef fc_run run
    cdef fc_finish how
    memset(&how, 0, sizeof(how))
    how.accumulate = True
    run.column, run.count, run.offset, run.stride = 0, count, 0, 1
    kernel.gemm.scatter(sums, 0, to, &at_start, 1, &run, 1, &how)
