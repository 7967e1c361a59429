"""The door of the convolutions: a plain call finds its plan by one key and goes straight to the kernel.

A call is *plain* if its arrays are aligned ndarrays of one dtype and its parameters ints, or tuples or lists of them:
that takes a few comparisons to see, and then shapes and parameters make a key of fixed length. What a key leads to,
the plan above all, is found by the Python function `find`, which checks it, and remembered from then on. Every other
call, and whatever may be wrong with one, goes to the Python function `otherwise`: it knows the rules, takes all that
is allowed and raises the errors.

The door opens buffers itself: it is the one way to a kernel that is not by typed memoryviews, because these would cost
as much as the call. Three 3x3 filters over 9x9, into an array that is there: 3.3 us by the door, 5.0 by memoryviews of
five axes (8.3 if those make the result as well), on a core of 3 GHz that had other work beside.

What is remembered never changes once made; the table itself is guarded where threads run without the GIL.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memset

import numpy as np

from fastconv._kernels.engine.arrays cimport (
    Held, Opened, View, close, elements_apart, lie_apart, open_array, open_buffer, place_axes,
)
from fastconv._kernels.engine.conv_pass cimport LEAKY_SLOPE, ConvCall, ConvPass
from fastconv._kernels.engine.fastconv_native cimport precision_level
from fastconv._kernels.engine.packed cimport PackedWeight

from fastconv._kernels.conv.direct import ACTIVATIONS
from fastconv._kernels.engine.fastconv_native import PRECISIONS

cdef extern from "Python.h":
    bint PyLong_CheckExact(object)
    bint PyTuple_CheckExact(object)
    bint PyList_CheckExact(object)
    long long PyLong_AsLongLongAndOverflow(object, int *overflow)

cdef enum:
    SLOTS = 1024           # of a table, a power of two
    PROBES = 4             # slots that a key may lie in
    SHAPES = 32            # of inputs that a packed convolution remembers

cdef int64_t LARGEST = <int64_t>1 << 61   # numbers beyond this are for `otherwise`

cdef object ndarray = np.ndarray
cdef object float32 = np.dtype(np.float32)
cdef object float64 = np.dtype(np.float64)


cdef struct Key:
    int64_t form           # 4 times the spatial rank, plus 2 if batched, plus 1 if the padding is "same"
    int64_t input[5]
    int64_t weight[5]
    int64_t grad_output[5]     # zeros in a forward call
    int64_t stride[3]
    int64_t padding[6]
    int64_t dilation[3]
    int64_t groups
    int64_t precision
    void *activation       # names by address; `Known` keeps them alive
    void *algorithm


@cython.final
cdef class Known:
    """What a key leads to."""

    cdef Key key
    cdef ConvPass plan
    cdef tuple out_shape
    cdef int activation
    cdef object names              # what the key's addresses belong to


# ---- is it plain? ------------------------------------------------------------------------------------


cdef bint open_plain(Opened *opened, object owner, object dtype) except -1:
    """Open an aligned ndarray of this dtype; False for anything else. Pair with `close`."""
    return type(owner) is ndarray and owner.dtype is dtype and open_aligned(opened, owner)


cdef inline bint open_first(Opened *opened, object owner) except -1:
    """Open an aligned ndarray of a dtype that the others must have, which `dtype_of` tells; or False."""
    cdef object dtype
    if type(owner) is not ndarray:
        return False
    dtype = owner.dtype
    return (dtype is float32 or dtype is float64) and open_aligned(opened, owner)


cdef inline object dtype_of(const Opened *opened):
    """The dtype of what `open_first` has opened."""
    return float64 if opened.array[0].buffer.itemsize == 8 else float32


cdef bint open_aligned(Opened *opened, object owner) except -1:
    """Open an ndarray; False if it is not aligned."""
    cdef const Py_buffer *buffer = &open_buffer(opened, owner, False).buffer
    cdef int64_t misaligned = <int64_t>buffer.buf
    cdef int axis
    for axis in range(buffer.ndim):
        if buffer.shape[axis] > 1:
            misaligned |= buffer.strides[axis]
    return not misaligned & (buffer.itemsize - 1)


cdef inline bint read_number(object value, int64_t *number) noexcept:
    """An int from 0 to LARGEST."""
    cdef int overflow
    if not PyLong_CheckExact(value):
        return False
    number[0] = PyLong_AsLongLongAndOverflow(value, &overflow)
    return not overflow and 0 <= number[0] <= LARGEST


cdef inline Py_ssize_t sequence_length(object value) noexcept:
    """The length of a tuple or list, -1 for anything else."""
    if PyTuple_CheckExact(value):
        return len(<tuple>value)
    return len(<list>value) if PyList_CheckExact(value) else -1


cdef bint read_shape(object value, int spatial_rank, bint batched, int64_t *sizes) except -1:
    """The shape of an array given as a tuple: (N, C, *spatial), or (C, *spatial); in the order of `place_axes`."""
    cdef int axis, position
    if not PyTuple_CheckExact(value) or len(<tuple>value) != spatial_rank + 1 + batched:
        return False
    for axis in range(5):
        sizes[axis] = 1
    for axis in range(spatial_rank + 1 + batched):
        position = axis + 1 - batched
        if position > 1:
            position += 3 - spatial_rank
        if not read_number((<tuple>value)[axis], &sizes[position]):
            return False
    return True


cdef bint read_axes(object value, int spatial_rank, int64_t *numbers) except -1:
    """One int for all spatial axes, alone or in a tuple, or one per axis; `numbers` of axes the call lacks stay."""
    cdef object every = value
    cdef int axis
    if not PyLong_CheckExact(value) and sequence_length(value) == 1:
        every = value[0]
    if PyLong_CheckExact(every):
        if not read_number(every, &numbers[2]):
            return False
        for axis in range(3 - spatial_rank, 2):
            numbers[axis] = numbers[2]
        return True
    if sequence_length(value) != spatial_rank:
        return False
    for axis in range(spatial_rank):
        if not read_number(value[axis], &numbers[3 - spatial_rank + axis]):
            return False
    return True


cdef bint read_padding(object value, int spatial_rank, Key *key) except -1:
    """An int, one per axis, a (before, after) pair per axis, "valid" or "same"; one entry counts for all axes."""
    cdef Py_ssize_t entries = sequence_length(value)
    cdef object pair
    cdef int axis, position
    if read_axes(value, spatial_rank, key.padding):
        for axis in range(3):
            key.padding[axis + 3] = key.padding[axis]
        return True
    if type(value) is str:
        key.form += value == "same"
        return value in ("same", "valid")
    if entries != spatial_rank and entries != 1:
        return False
    for axis in range(spatial_rank):
        position = 3 - spatial_rank + axis
        pair = value[axis if entries > 1 else 0]
        if sequence_length(pair) != 2:
            return False
        if not (read_number(pair[0], &key.padding[position]) and read_number(pair[1], &key.padding[position + 3])):
            return False
    return True


cdef bint begin(Opened *opened, Key *key, int spatial_rank, object first, object second, object stride, object padding,
                object dilation, object groups, object activation, object algorithm) except -1:
    """Open the two arrays of a call, and begin its key with what is not a shape; False if anything is not plain."""
    cdef bint batched
    opened.count = 0
    if not open_first(opened, first) or not open_plain(opened, second, dtype_of(opened)):
        return False
    batched = opened.array[0].buffer.ndim == spatial_rank + 2
    memset(key, 0, sizeof(Key))
    key.form = 4 * spatial_rank + 2 * batched
    key.precision = precision_level()
    key.activation, key.algorithm = <void *>activation, <void *>algorithm
    return (read_axes(stride, spatial_rank, key.stride) and read_padding(padding, spatial_rank, key)
            and read_axes(dilation, spatial_rank, key.dilation) and read_number(groups, &key.groups))


cdef inline bint is_batched(const Key *key) noexcept:
    return key.form & 2 != 0


cdef inline bint read_array(Held *held, int spatial_rank, bint batched, int64_t *sizes) noexcept:
    """The sizes of an open array; False if it has another number of axes."""
    cdef int axis
    if held.buffer.ndim != spatial_rank + 1 + batched:
        return False
    place_axes(held, spatial_rank, batched)
    for axis in range(5):
        sizes[axis] = held.view.size[axis]
    return True


# ---- bias and out= --------------------------------------------------------------------------------------------


cdef bint open_out(Opened *opened, object owner, object dtype, Known known, ConvCall *call) except -1:
    """Open an array that is sure to be what `check_out` asks for, apart from those opened before it, or False."""
    cdef Held *held = &opened.array[opened.count]
    cdef tuple shape = known.out_shape
    cdef int i
    if not open_plain(opened, owner, dtype) or held.buffer.readonly or held.buffer.ndim != len(shape):
        return False
    for i in range(held.buffer.ndim):
        if held.buffer.shape[i] != <Py_ssize_t>shape[i] or held.buffer.shape[i] == 0:
            return False
    place_axes(held, known.plan.spatial_rank, known.plan.batched or known.plan.makes_weights)
    call.out = &held.view
    if not elements_apart(call.out):
        return False
    for i in range(opened.count - 1):
        if not lie_apart(call.out, &opened.array[i].view):
            return False
    return True


cdef inline bint open_bias(Opened *opened, object owner, object dtype, int64_t channels, ConvCall *call) except -1:
    """Open a contiguous bias of one number per channel, or False."""
    cdef Held *held = &opened.array[opened.count]
    if not open_plain(opened, owner, dtype) or held.buffer.ndim != 1 or held.buffer.shape[0] != channels or (
            channels > 1 and held.buffer.strides[0] != held.buffer.itemsize):
        return False
    place_axes(held, 0, False)
    call.bias = held.view.data
    return True


cdef inline void start_call(ConvCall *call, Opened *opened, int activation, double slope=LEAKY_SLOPE) noexcept nogil:
    """A call of the first two arrays that have been opened."""
    call.source, call.factor, call.out, call.bias = &opened.array[0].view, &opened.array[1].view, NULL, NULL
    call.activation, call.slope, call.adds = activation, slope, False


# ---- what is known -----------------------------------------------------------------------------------


cdef inline int place_of(const Key *key) noexcept nogil:
    """The slot that a key's places begin at."""
    cdef uint64_t even = <uint64_t>key.form, odd = <uint64_t>(key.stride[2] + 8 * key.padding[2])
    cdef int axis
    for axis in range(5):  # two chains side by side, for a multiplication takes several cycles
        even = (even ^ <uint64_t>key.input[axis]) * <uint64_t>0x9E3779B97F4A7C15
        odd = (odd ^ <uint64_t>key.weight[axis]) * <uint64_t>0xC2B2AE3D27D4EB4F
    return <int>(((even ^ (odd >> 7)) * <uint64_t>0x9E3779B97F4A7C15) >> 54)


cdef class Door:
    """The plain calls of one operation; `find` and `otherwise` as above."""

    cdef list table
    cdef object find, otherwise

    def __init__(self, find, otherwise):
        self.table = [None] * SLOTS
        self.find, self.otherwise = find, otherwise

    cdef Known known(self, const Key *key):
        """What a key leads to, or None."""
        cdef int slot = place_of(key), i
        cdef Known found = None
        cdef object entry
        with cython.critical_section(self):
            for i in range(PROBES):
                entry = self.table[(slot + i) & (SLOTS - 1)]
                if entry is None:
                    break
                if memcmp(&(<Known>entry).key, key, sizeof(Key)) == 0:
                    found = <Known>entry
                    break
        return found

    cdef Known remember(self, const Key *key, tuple arguments, object activation, object algorithm):
        """Give a key its meaning, which `find` knows; where its places are taken, another key is forgotten."""
        cdef Known entry = Known.__new__(Known)
        cdef int slot = place_of(key), i
        entry.key = key[0]
        entry.plan, entry.out_shape = self.find(*arguments, algorithm, PRECISIONS[key.precision])
        entry.activation, entry.names = ACTIVATIONS[activation], (activation, algorithm)
        with cython.critical_section(self):
            for i in range(PROBES):
                if self.table[(slot + i) & (SLOTS - 1)] is None:
                    slot += i
                    break
            self.table[slot & (SLOTS - 1)] = entry
        return entry

    # ---- the calls -----------------------------------------------------------------------------------

    def forward(self, int spatial_rank, input, weight, bias, stride, padding, dilation, groups, activation, algorithm,
                out):
        """conv1d, conv2d and conv3d."""
        cdef Opened opened
        cdef ConvCall call
        cdef Key key
        cdef Known known
        try:
            if (begin(&opened, &key, spatial_rank, input, weight, stride, padding, dilation, groups, activation,
                      algorithm)
                    and read_array(&opened.array[0], spatial_rank, is_batched(&key), key.input)
                    and read_array(&opened.array[1], spatial_rank, True, key.weight)):
                known = self.known(&key)
                if known is None:
                    known = self.remember(&key, (spatial_rank, input.shape, weight.shape, stride, padding, dilation,
                                                 groups, activation), activation, algorithm)
                start_call(&call, &opened, known.activation)
                if ((bias is None or open_bias(&opened, bias, dtype_of(&opened), key.weight[0], &call))
                        and (out is None or open_out(&opened, out, dtype_of(&opened), known, &call))):
                    return known.plan.run_open(&call, out)
        finally:
            close(&opened)
        return self.otherwise(spatial_rank, input, weight, bias, stride, padding, dilation, groups, activation, algorithm,
                              out)

    def input_gradient(self, int spatial_rank, input_size, weight, grad_output, stride, padding, dilation, groups,
                       algorithm):
        """grad.conv1d_input, conv2d_input and conv3d_input."""
        cdef Opened opened
        cdef ConvCall call
        cdef Key key
        cdef Known known
        try:
            if (begin(&opened, &key, spatial_rank, grad_output, weight, stride, padding, dilation, groups, None,
                      algorithm)
                    and read_array(&opened.array[0], spatial_rank, is_batched(&key), key.grad_output)
                    and read_array(&opened.array[1], spatial_rank, True, key.weight)
                    and read_shape(input_size, spatial_rank, is_batched(&key), key.input)):
                known = self.known(&key)
                if known is None:
                    known = self.remember(&key, (spatial_rank, input_size, weight.shape, grad_output.shape, stride,
                                                 padding, dilation, groups), None, algorithm)
                start_call(&call, &opened, known.activation)
                return known.plan.run_open(&call, None)
        finally:
            close(&opened)
        return self.otherwise(spatial_rank, input_size, weight, grad_output, stride, padding, dilation, groups, algorithm)

    def weight_gradient(self, int spatial_rank, input, weight_size, grad_output, stride, padding, dilation, groups,
                        algorithm, out):
        """grad.conv1d_weight, conv2d_weight and conv3d_weight."""
        cdef Opened opened
        cdef ConvCall call
        cdef Key key
        cdef Known known
        try:
            if (begin(&opened, &key, spatial_rank, input, grad_output, stride, padding, dilation, groups, None,
                      algorithm)
                    and read_array(&opened.array[0], spatial_rank, is_batched(&key), key.input)
                    and read_array(&opened.array[1], spatial_rank, is_batched(&key), key.grad_output)
                    and read_shape(weight_size, spatial_rank, True, key.weight)):
                known = self.known(&key)
                if known is None:
                    known = self.remember(&key, (spatial_rank, input.shape, weight_size, grad_output.shape, stride,
                                                 padding, dilation, groups), None, algorithm)
                start_call(&call, &opened, known.activation)
                if out is None or open_out(&opened, out, dtype_of(&opened), known, &call):
                    return known.plan.run_open(&call, out)
        finally:
            close(&opened)
        return self.otherwise(spatial_rank, input, weight_size, grad_output, stride, padding, dilation, groups, algorithm,
                              out)


# ---- packed convolutions -----------------------------------------------------------------------------


cdef class PackedConv:
    """A convolution with weight, bias and parameters of its own, the weight packed; made by `pack_weight`.

    Call it with an input, and `out=` if the result has a place already: `conv1d`, `conv2d` or `conv3d`, by the rank of
    the weight, with the same bits. Inputs may have any shape that fits and come from several threads at once.

    Attributes
    ----------
    weight, bias : ndarray, read-only copies; bias may be None
    stride, padding, dilation, groups, activation, algorithm, negative_slope : as given
    """

    cdef readonly object weight, bias, stride, padding, dilation, groups, activation, algorithm
    cdef readonly double negative_slope
    cdef object find, otherwise, dtype
    cdef int spatial_rank, activation_code
    cdef PackedWeight packed
    cdef Opened opened       # weight and bias, for as long as they are needed
    cdef list shapes         # `Known`, by shape of the input
    cdef int next_shape

    def __cinit__(self, find, otherwise, weight, bias, stride, padding, dilation, groups, activation, algorithm,
                  double negative_slope):
        self.find, self.otherwise = find, otherwise
        self.weight, self.bias, self.dtype = weight, bias, weight.dtype
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.activation, self.algorithm, self.negative_slope = activation, algorithm, negative_slope
        self.activation_code = ACTIVATIONS[activation]
        self.spatial_rank = weight.ndim - 2
        self.shapes = [None] * SHAPES
        self.packed = PackedWeight()
        open_array(&self.opened, weight, self.spatial_rank, True, False).packed = <void *>self.packed
        if bias is not None:
            open_array(&self.opened, bias, 0, False, False)

    def __dealloc__(self):
        close(&self.opened)

    cdef Known known(self, const Key *key, object input):
        """What is known of an input's shape."""
        cdef object entry
        cdef Known found = None
        for entry in self.shapes:
            if entry is None:
                break
            if memcmp(&(<Known>entry).key, key, sizeof(Key)) == 0:
                return <Known>entry
        found = Known.__new__(Known)
        found.key = key[0]
        found.plan, found.out_shape = self.find(
            self.spatial_rank, input.shape, self.weight.shape, self.stride, self.padding, self.dilation, self.groups,
            self.activation, self.algorithm, PRECISIONS[key.precision])
        with cython.critical_section(self):
            self.shapes[self.next_shape] = found
            self.next_shape = (self.next_shape + 1) % SHAPES
        return found

    cdef object run_plain(self, input, out, bint adds):
        """The result of a call whose arrays are plain, or None, and nothing done."""
        cdef Opened opened
        cdef ConvCall call
        cdef Key key
        cdef Known known
        cdef bint batched
        opened.count = 0
        try:
            if open_plain(&opened, input, self.dtype):
                batched = opened.array[0].buffer.ndim == self.spatial_rank + 2
                memset(&key, 0, sizeof(Key))
                key.form, key.precision = batched, precision_level()
                if read_array(&opened.array[0], self.spatial_rank, batched, key.input):
                    known = self.known(&key, input)
                    if adds and not known.plan.can_add:
                        return None
                    start_call(&call, &opened, self.activation_code, self.negative_slope)
                    call.factor, call.adds = &self.opened.array[0].view, adds
                    if self.bias is not None:
                        call.bias = self.opened.array[1].view.data
                    if out is None or open_out(&opened, out, self.dtype, known, &call):
                        return known.plan.run_open(&call, out)
        finally:
            close(&opened)
        return None

    def __call__(self, input, out=None):
        result = self.run_plain(input, out, False)
        if result is not None:
            return result
        return self.otherwise(self.spatial_rank, input, self.weight, self.bias, self.stride, self.padding, self.dilation,
                              self.groups, self.activation, self.algorithm, out, self.negative_slope)

    def add_to(self, out, input):
        """Add the convolution of `input`, bias too, to what `out` holds, and apply the activation to the sum.

        False, and nothing done, where the arrays or the algorithm for them are not of the kind that can.
        """
        return self.run_plain(input, out, True) is not None

    def __copy__(self):
        return self  # nothing changes it

    def __deepcopy__(self, memo):
        return self

    def __repr__(self):
        given = ", ".join(f"{name}={getattr(self, name)!r}" for name in ("stride", "padding", "dilation", "groups",
                                                                         "activation", "algorithm"))
        return f"PackedConv(weight of shape {self.weight.shape}, {given})"
