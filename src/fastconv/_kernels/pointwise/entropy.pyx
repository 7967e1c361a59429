"""Cross-entropy of logits that are dense in memory, and its slopes, in one pass over slices of classes.

Such an array is (outer, count, inner) in memory, the slices running along the middle; there is one point for each.
Tasks share whole slices and have a sum each: the bits do not depend on the number of threads. Beside the slopes no array
as large as the logits is needed. Short slices that lie along memory are turned, a block at a time, so that lanes are
slices: a vector is then full, and no sum goes across its lanes.
"""

from libc.math cimport NAN
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport Opened, close, dtype_of, open_dense, real
from fastconv._kernels.engine.fc_api cimport FC_SOFTMAX_COLUMNS, fc_entropy, fc_kernels, fc_wanted
from fastconv._kernels.engine.fastconv_native cimport give_scratch, kernels, parallel_with_gil, take_scratch

cdef int64_t CHUNK = 8192    # elements of one task, if its slices are short

# Work per element in the FLOPs that `parallel` counts, of which a core does about 100 per nanosecond.
cdef double ELEMENT_FLOPS = 100

cdef enum:
    SHORT = 32           # classes
    LOGITS = 0
    TARGET, LABELS, WEIGHT, POINT_WEIGHT, LOSSES, SLOPES, BUFFERS


cdef struct Entropy:
    Opened opened
    int64_t item[BUFFERS]
    char *at[BUFFERS]        # NULL where there is none
    int64_t outer
    int64_t count
    int64_t inner
    int64_t blocks           # of slices side by side, or all of them if they lie one behind the other
    int64_t together         # slices of a block
    int64_t share            # blocks of one task
    int64_t tasks
    int64_t points           # of one example
    int64_t itemsize
    int64_t label_size
    int64_t loss_size
    bint unsigned_labels
    int64_t ignored          # the label that stands for none
    double certain           # what is wanted of a label's class beside its share of the rest
    double spread_weight     # what is wanted of all classes, if there are no targets
    double scale
    fc_wanted wanted
    bint spreading           # whether anything is wanted beside the labels
    bint normalized          # logits are logarithms of probabilities
    double *sums             # of each task's losses
    const fc_kernels *kernel


cdef inline int64_t label_at(const Entropy *call, int64_t point) noexcept nogil:
    cdef const char *labels = call.at[LABELS]
    if call.unsigned_labels:
        if call.label_size == 4:
            return (<const uint32_t *>labels)[point]
        if call.label_size == 2:
            return (<const uint16_t *>labels)[point]
        if call.label_size == 1:
            return (<const uint8_t *>labels)[point]
    if call.label_size == 4:
        return (<const int32_t *>labels)[point]
    if call.label_size == 2:
        return (<const int16_t *>labels)[point]
    if call.label_size == 1:
        return (<const int8_t *>labels)[point]
    return (<const int64_t *>labels)[point]


cdef double block_of(const Entropy *call, real *none, int64_t outer, int64_t column, int slices) noexcept nogil:
    """The losses of some slices, added up, and their slopes."""
    cdef fc_entropy sums
    cdef fc_wanted wanted = call.wanted
    cdef double factor[FC_SOFTMAX_COLUMNS]
    cdef double less[FC_SOFTMAX_COLUMNS]
    cdef double at_label[FC_SOFTMAX_COLUMNS]
    cdef int64_t label[FC_SOFTMAX_COLUMNS]
    cdef real turned[SHORT * FC_SOFTMAX_COLUMNS]
    cdef real turned_target[SHORT * FC_SOFTMAX_COLUMNS]
    cdef bint turning = call.inner == 1 and call.count <= SHORT and not call.normalized
    cdef int64_t step = FC_SOFTMAX_COLUMNS if turning else call.inner if call.inner > 1 else 0
    cdef int64_t slice_step = 1 if step else call.count, class_step = step if step else 1
    cdef int64_t first = outer * call.inner + column, offset = outer * call.count * call.inner + column
    cdef const real *logits = <const real *>call.at[LOGITS] + offset
    cdef const real *source = logits
    cdef const real *weights = <const real *>call.at[WEIGHT]
    cdef const double *point_weights = <const double *>call.at[POINT_WEIGHT]
    cdef real *slopes = <real *>call.at[SLOPES] + offset if call.at[SLOPES] else NULL
    cdef real *place = slopes
    cdef const fc_wanted *asked = &wanted if call.spreading else NULL
    cdef double weight, certain, loss, spread, total = 0
    cdef int64_t at
    cdef int s
    if wanted.target:
        wanted.target = <const real *>wanted.target + offset
    if turning:
        call.kernel.copy.pack(turned, step, slices, call.count, logits, call.count, 1)
        if wanted.target:
            call.kernel.copy.pack(turned_target, step, slices, call.count, wanted.target, call.count, 1)
            wanted.target = turned_target
        source = turned
        if slopes:
            slopes = turned
    if not call.normalized:
        call.kernel.pointwise.entropy_sums(&sums, slopes, source, asked, call.count, step, slices)
    for s in range(slices):
        if call.normalized:
            sums.top[s], sums.sum[s], sums.log_sum[s] = 0, 1, 0
        weight = point_weights[(first + s) // call.points] if point_weights else 1.0
        spread, certain, label[s] = call.spread_weight, 0.0, -1
        if call.at[LABELS]:
            label[s] = label_at(call, first + s)
            if label[s] == call.ignored:
                weight, label[s] = 0.0, -1
            elif not 0 <= label[s] < call.count:   # which is refused elsewhere
                weight, label[s] = NAN, -1
            else:
                certain = call.certain
                if weights:
                    certain *= weights[label[s]]
                    if weights[label[s]] == 0:
                        weight = 0
        elif call.spreading:
            spread = sums.wanted[s]
        loss = 0
        if weight != 0:
            if call.spreading:
                loss = spread * sums.log_sum[s] + sums.cost[s]
            if certain != 0:
                at = s + label[s] * call.inner if call.inner > 1 else s * call.count + label[s]
                loss += certain * (sums.log_sum[s] - (<double>logits[at] - sums.top[s]))
            loss *= weight
        if call.at[LOSSES] and call.loss_size == 8:
            (<double *>call.at[LOSSES])[first + s] = loss
        elif call.at[LOSSES]:
            (<float *>call.at[LOSSES])[first + s] = <float>loss
        total += loss
        if slopes:
            less[s] = weight * call.scale
            factor[s] = less[s] * (certain + spread) / sums.sum[s]
            if label[s] >= 0:   # in double precision, as its terms nearly cancel
                at_label[s] = factor[s] * slopes[s * slice_step + label[s] * class_step] - less[s] * certain
                if call.spreading:
                    at_label[s] -= less[s] * wanted.spread * (weights[label[s]] if weights else 1.0)
    if slopes:
        if not call.normalized:
            call.kernel.pointwise.entropy_slopes(slopes, asked, factor, less, call.count, step, slices)
        for s in range(slices):
            if label[s] >= 0 and less[s] != 0:
                slopes[s * slice_step + label[s] * class_step] = <real>at_label[s]
        if turning:
            call.kernel.copy.pack(place, call.count, call.count, slices, slopes, step, 1)
    return total


cdef void blocks_task(void *context, int64_t index) noexcept nogil:
    cdef const Entropy *call = <const Entropy *>context
    cdef int64_t unit, outer, column, extent = call.inner if call.inner > 1 else call.outer
    cdef int slices
    cdef double total = 0
    for unit in range(index * call.share, min((index + 1) * call.share, call.tasks)):
        outer = unit // call.blocks
        column = unit % call.blocks * call.together
        slices = <int>min(call.together, extent - column)
        if call.inner == 1:
            outer, column = column, 0
        if call.itemsize == 8:
            total += block_of[double](call, NULL, outer, column, slices)
        else:
            total += block_of[float](call, NULL, outer, column, slices)
    call.sums[index] = total


def cross_entropy(logits, int64_t outer, int64_t count, int64_t inner, *, labels=None, target=None, weight=None,
                  double smoothing=0.0, int64_t ignored=-100, bint unsigned_labels=False, bint normalized=False,
                  point_weight=None, losses=None, slopes=None, double scale=1.0):
    """The sum of the losses of all points.

    Parameters
    ----------
    logits : array
        (outer, count, inner) in memory, none of which is 0.
    labels : array of integers, (outer, inner) in memory
        Or instead `target`, of the dtype and memory order of the logits.
    weight : array or None
        One number per class, of the dtype of the logits.
    smoothing : float
        How much of a target is spread evenly over all classes.
    ignored : int
        A label whose point counts nothing.
    normalized : bool
        The logits are logarithms of probabilities, of labels; slopes, which are 0 but at labels, are 0 before.
    point_weight : array of float64 or None
        One number for every (outer * inner / its length) points.
    losses, slopes : arrays or None
        Are given the loss of every point (also in float64), and `scale` times the slopes of their sum; in the memory
        order of labels and of logits.
    """
    cdef Entropy call
    cdef int64_t tasks, k
    cdef int i
    cdef size_t sums_held
    cdef double total = 0
    objects = (logits, target, labels, weight, point_weight, losses, slopes)
    call.outer, call.count, call.inner = outer, count, inner
    call.ignored, call.unsigned_labels, call.scale = ignored, unsigned_labels, scale
    call.normalized = normalized
    call.together = FC_SOFTMAX_COLUMNS
    if inner == 1:
        call.together = max(<int64_t>1, min(call.together, CHUNK // (2 * count)))
    call.blocks = divide_up(inner if inner > 1 else outer, call.together)
    call.tasks = call.blocks * (outer if inner > 1 else 1)
    call.share = max(<int64_t>1, CHUNK // (count * min(call.together, inner if inner > 1 else outer)))
    tasks = divide_up(call.tasks, call.share)
    call.opened.count = 0
    try:
        for i in range(BUFFERS):
            call.at[i] = open_dense(&call.opened, objects[i], i >= LOSSES, &call.item[i])
        call.itemsize = call.item[LOGITS]
        call.label_size = call.item[LABELS] if labels is not None else 0
        call.loss_size = call.item[LOSSES] if losses is not None else 0
        call.points = outer * inner // (len(point_weight) if point_weight is not None else 1)
        call.certain = 1.0 - smoothing if labels is not None else 0.0
        call.wanted.weight, call.wanted.target = call.at[WEIGHT], call.at[TARGET]
        call.wanted.share, call.wanted.spread = 1.0 - smoothing, smoothing / count
        call.spreading = target is not None or smoothing > 0
        call.spread_weight = smoothing
        if weight is not None and smoothing > 0:
            call.spread_weight = 0
            for k in range(count):
                call.spread_weight += ((<double *>call.at[WEIGHT])[k] if call.itemsize == 8
                                       else (<float *>call.at[WEIGHT])[k])
            call.spread_weight *= call.wanted.spread
        call.kernel = kernels(dtype_of(call.itemsize))
        call.sums = <double *>take_scratch(tasks * sizeof(double), &sums_held)
        try:
            parallel_with_gil(blocks_task, &call, tasks,
                     ELEMENT_FLOPS * outer * inner * (1 if normalized else count * call.itemsize / 4))
            for k in range(tasks):
                total += call.sums[k]
        finally:
            give_scratch(call.sums, sums_held)
    finally:
        close(&call.opened)
    return total
