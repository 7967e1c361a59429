"""One strip of pixels of a dense sub-convolution times its weights: the tasks of the blocked driver (direct.pyx).

Pixels and weights are packed into panels. Only pixels that meet one panel of weights are read where they lie, if
neighbours of them lie side by side: packing would take longer than what is done with them.
"""

from libc.stdint cimport INT64_MIN, int64_t
from libc.string cimport memset

from fastconv._kernels.conv.dense cimport Dense
from fastconv._kernels.conv.panels cimport pack_weight_panel
from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.fc_api cimport FC_MAX_COLUMNS, FC_MAX_ROWS, fc_finish, fc_kernels, fc_run, fc_window
from fastconv._kernels.engine.fastconv_native cimport task_scratch
from fastconv._kernels.engine.order cimport DIRECT_DEPTH

cdef int64_t NOWHERE = INT64_MIN


cdef int output_runs(const DirectCall *call, int64_t pixel, int64_t count, fc_run *runs) noexcept nogil:
    """Where `count` pixels from `pixel` on lie in the output: runs of equal stride, merged where they meet."""
    cdef const Dense *d = call.dense
    cdef int64_t filled = 0, run, rest, od, oh, ow, offset, stride = d.out_step[2] * call.out_stride[4]
    cdef int found = 0
    while filled < count:
        rest = pixel + filled
        ow = rest % d.window.count[2]
        rest //= d.window.count[2]
        oh = rest % d.window.count[1]
        rest //= d.window.count[1]
        od = rest % d.window.count[0]
        run = min(count - filled, d.window.count[2] - ow)
        offset = (rest // d.window.count[0] * call.out_stride[0]
                  + (d.begin[0] + od * d.out_step[0]) * call.out_stride[2]
                  + (d.begin[1] + oh * d.out_step[1]) * call.out_stride[3]
                  + (d.begin[2] + ow * d.out_step[2]) * call.out_stride[4])
        if found and offset == runs[found - 1].offset + runs[found - 1].count * stride:
            runs[found - 1].count += run
        else:
            runs[found].column = filled
            runs[found].count = run
            runs[found].offset = offset
            runs[found].stride = stride
            found += 1
        filled += run
    return found


cdef void lay_out(const DirectCall *call, Strip *s, char *scratch) noexcept nogil:
    """One tile, where the pixel panels lie, one chunk of all of them, and of one weight panel."""
    cdef int64_t depth = call.chunk.channels * call.chunk.taps
    s.tile = scratch
    s.place = <Place *>(s.tile + whole_lines(FC_MAX_ROWS * FC_MAX_COLUMNS * call.itemsize))
    s.panels = <char *>s.place + whole_lines(s.count * sizeof(Place))
    s.weight_panel = s.panels + whole_lines(depth * s.count * call.pixel_width * call.itemsize)


cdef int64_t source_place(const DirectCall *call, int64_t pixel) noexcept nogil:
    """Where a whole panel of pixels from `pixel` on begins in the source, if it is adjacent there, else NOWHERE."""
    cdef const fc_window *w = &call.window
    cdef int64_t rest = pixel, o, at, offset = 0
    cdef int axis
    for axis in range(2, -1, -1):
        o = rest % w.count[axis]
        rest //= w.count[axis]
        at = o * w.step[axis] + w.first[axis]
        if at < 0 or at >= w.extent[axis]:
            return NOWHERE
        if axis == 2 and (o + call.pixel_width > w.count[2] or at + call.pixel_width > w.extent[2]):
            return NOWHERE
        offset += at * w.stride[axis + 2]
    return offset + rest * w.stride[0]


cdef void place_panels(const DirectCall *call, Strip *s) noexcept nogil:
    """Find the pixel panels that lie in one adjacent run."""
    cdef fc_run runs[FC_MAX_COLUMNS]
    cdef int64_t i, pixel, count
    for i in range(s.count):
        pixel = s.pixel + i * call.pixel_width
        count = min(call.pixel_width, s.pixels - i * call.pixel_width)
        s.place[i].out = s.place[i].source = NOWHERE
        if output_runs(call, pixel, count, runs) == 1 and runs[0].stride == 1:
            s.place[i].out = runs[0].offset
        if (call.packs_late or call.reads_pixels) and count == call.pixel_width:
            s.place[i].source = source_place(call, pixel)


cdef void strip_task(void *context, int64_t index) noexcept nogil:
    cdef DirectCall *call = <DirectCall *>context
    cdef const Dense *d = call.dense
    cdef int64_t item = call.itemsize, channel = 0, channels, tap, taps, panel
    cdef int64_t part = index % call.parts
    cdef int64_t first_panel = part * call.channel_panels // call.parts
    cdef int64_t last_panel = (part + 1) * call.channel_panels // call.parts
    cdef int64_t padded_channels = call.channel_panels * call.channel_width
    cdef const char *chunk = call.packed
    cdef const char *source
    cdef const char *weights
    cdef char *scratch
    cdef bint in_place
    cdef int64_t b_offset[DIRECT_DEPTH]
    cdef Strip s
    s.group = index // call.parts // call.strips
    s.pixel = index // call.parts % call.strips * call.strip
    s.pixels = min(call.strip, d.pixels - s.pixel)
    s.count = divide_up(s.pixels, call.pixel_width)
    scratch = <char *>task_scratch(strip_scratch(call, s.pixels))
    if scratch == NULL:
        call.out_of_memory = True
        return
    lay_out(call, &s, scratch)
    if not call.pixels_are_rows:
        place_panels(call, &s)
    if chunk != NULL:
        chunk += s.group * padded_channels * d.depth * d.taps * item
    while channel < d.depth:
        channels = min(call.chunk.channels, d.depth - channel)
        source = call.source + (s.group * d.depth + channel) * call.window.stride[1] * item
        tap = 0
        while tap < d.taps:
            taps = min(call.chunk.taps, d.taps - tap)
            s.depth = channels * taps
            s.accumulate = call.adds or channel > 0 or tap > 0
            s.final = channel + channels == d.depth and tap + taps == d.taps
            in_place = call.reads_pixels and last_panel - first_panel == 1
            if not call.packs_late and not in_place:
                pack_strip(call, &s, source, channels, tap, taps)
            elif in_place:
                list_depth(call, channels, tap, taps, b_offset)
            if chunk != NULL and call.pixels_are_rows:
                multiply_rows(call, &s, chunk + first_panel * call.channel_width * s.depth * item, first_panel,
                              last_panel)
            else:
                for panel in range(first_panel, last_panel):
                    if chunk == NULL:
                        weights = s.weight_panel
                        pack_weight_panel(&call.weights, s.group, panel, channel, channels, tap, taps, s.weight_panel)
                    else:
                        weights = chunk + panel * call.channel_width * s.depth * item
                    if call.pixels_are_rows:
                        multiply_rows(call, &s, weights, panel, panel + 1)
                    elif in_place:
                        read_pixels(call, &s, weights, panel, source, b_offset, channels, tap, taps)
                    else:
                        multiply_columns(call, &s, weights, panel,
                                         source if call.packs_late and panel == first_panel else NULL)
            if chunk != NULL:
                chunk += padded_channels * s.depth * item
            tap += taps
        channel += channels


cdef bint is_whole(const fc_window *w) noexcept nogil:
    """Whether a window is all of an image, and its taps lie one after the other, forwards or backwards."""
    cdef int axis
    cdef int64_t step = w.stride[4] * w.delta[2] if w.taps[2] > 1 else 0
    cdef int64_t run = 1
    for axis in range(2, -1, -1):
        if w.count[axis] != 1 or w.first[axis] != (0 if w.delta[axis] > 0 or w.taps[axis] == 1 else w.extent[axis] - 1):
            return False
        if w.taps[axis] == 1:
            if w.extent[axis] != 1:
                return False
            continue
        if w.taps[axis] != w.extent[axis] or (w.delta[axis] != 1 and w.delta[axis] != -1):
            return False
        if step and w.stride[axis + 2] * w.delta[axis] != run * step:
            return False
        step = step if step else w.stride[axis + 2] * w.delta[axis]
        run *= w.taps[axis]
    return run > 1


cdef void pack_images(const DirectCall *call, int64_t images, int64_t channels, int64_t tap, int64_t taps,
                      const char *source, char *to) noexcept nogil:
    """A panel of windows that are all of an image."""
    cdef const fc_window *w = &call.window
    cdef int64_t item = call.itemsize, c, at = 0, step = 0, full = call.pixel_width
    cdef int axis
    if call.pixels_are_rows:
        full = images
    for axis in range(3):
        at += w.first[axis] * w.stride[axis + 2]
        if w.taps[axis] > 1:
            step = w.stride[axis + 2] * w.delta[axis]
    for c in range(channels):
        call.kernel.copy.pack(to + c * taps * full * item, full, images, taps,
                              source + (c * w.stride[1] + at + tap * step) * item, w.stride[0], step)
    call.kernel.copy.clear(to + images * item, full, full - images, channels * taps)


cdef void pack_strip(const DirectCall *call, const Strip *s, const char *source, int64_t channels, int64_t tap,
                     int64_t taps) noexcept nogil:
    """A chunk of the pixel panels."""
    cdef int64_t panel = 0, count
    if call.whole:
        while panel < s.pixels:
            count = min(call.pixel_width, s.pixels - panel)
            pack_images(call, count, channels, tap, taps,
                        source + (s.pixel + panel) * call.window.stride[0] * call.itemsize,
                        s.panels + panel * s.depth * call.itemsize)
            panel += call.pixel_width
        return
    # the micro-kernel steps through A by the rows it is given, through B by its full width
    cdef int64_t whole = s.pixels - s.pixels % call.pixel_width if call.pixels_are_rows else s.pixels
    call.kernel.copy.pack_windows(s.panels, call.pixel_width, &call.window, source, s.pixel, whole, channels, tap, taps)
    if whole < s.pixels:
        call.kernel.copy.pack_windows(s.panels + whole * s.depth * call.itemsize, s.pixels - whole, &call.window,
                                      source, s.pixel + whole, s.pixels - whole, channels, tap, taps)


cdef void start_finish(const DirectCall *call, const Strip *s, fc_finish *finish) noexcept nogil:
    finish.accumulate = s.accumulate
    finish.final = s.final
    finish.row_bias = finish.column_bias = NULL
    finish.activation = call.activation
    finish.slope = call.slope


cdef void multiply_columns(const DirectCall *call, const Strip *s, const char *weights, int64_t panel,
                           const char *source) noexcept nogil:
    """One weight panel times all pixel panels: a row of tiles. These are packed on the way if there is a `source`.

    Neighbouring tiles continue each other's rows of the output, whose lines are fetched ahead for that.
    """
    cdef const Dense *d = call.dense
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t item = call.itemsize, width = call.pixel_width, channel = panel * call.channel_width, i, pixel, count
    cdef int channels = <int>min(call.channel_width, d.channels - channel), found
    cdef fc_run runs[FC_MAX_COLUMNS]
    cdef int64_t out_row[FC_MAX_ROWS]
    cdef int64_t tile_row[FC_MAX_ROWS]
    cdef const int64_t *row_offset
    cdef fc_finish finish, keep
    cdef const fc_finish *how
    cdef char *pixels = s.panels
    cdef char *out = call.out + (s.group * d.channels + channel) * call.out_stride[1] * item
    cdef char *to
    start_finish(call, s, &finish)
    if call.bias != NULL:
        finish.row_bias = call.bias + (s.group * d.channels + channel) * item
    memset(&keep, 0, sizeof(keep))
    for i in range(channels):
        out_row[i] = i * call.out_stride[1]
        tile_row[i] = i * kernel.gemm.max_columns
    for i in range(s.count):
        pixel = s.pixel + i * width
        count = min(width, s.pixels - i * width)
        if s.place[i].out == NOWHERE:
            to, row_offset, how = s.tile, tile_row, &keep
        else:
            to, row_offset, how = out + s.place[i].out * item, out_row, &finish
        if source != NULL and s.place[i].source != NOWHERE:
            kernel.gemm.tile_packing(s.depth, weights, source + s.place[i].source * item, call.window.stride[1], pixels,
                                     to, row_offset, channels, how)
        else:
            if source != NULL:
                kernel.copy.pack_windows(pixels, width, &call.window, source, pixel, count, s.depth, 0, 1)
            kernel.gemm.tile(s.depth, weights, pixels, kernel.gemm.max_columns, to, row_offset, channels, <int>count,
                             how)
        if s.place[i].out == NOWHERE:
            found = output_runs(call, pixel, count, runs)
            kernel.gemm.scatter(s.tile, kernel.gemm.max_columns, out, out_row, channels, runs, found, &finish)
        pixels += width * s.depth * item


cdef void list_depth(const DirectCall *call, int64_t channels, int64_t tap, int64_t taps,
                     int64_t *b_offset) noexcept nogil:
    """Where the products of a chunk find a pixel's window in the source: channel by channel, tap by tap."""
    cdef const fc_window *w = &call.window
    cdef int64_t channel, i, t, kd, kh, kw
    for i in range(taps):
        t = tap + i
        kw = t % w.taps[2]
        kh = t // w.taps[2] % w.taps[1]
        kd = t // w.taps[2] // w.taps[1]
        b_offset[i] = kd * w.delta[0] * w.stride[2] + kh * w.delta[1] * w.stride[3] + kw * w.delta[2] * w.stride[4]
        for channel in range(1, channels):
            b_offset[channel * taps + i] = b_offset[i] + channel * w.stride[1]


cdef void read_pixels(const DirectCall *call, const Strip *s, const char *weights, int64_t panel, const char *source,
                      const int64_t *b_offset, int64_t channels, int64_t tap, int64_t taps) noexcept nogil:
    """One weight panel times all pixels where they lie: as many at a time as do so in the output, too."""
    cdef const Dense *d = call.dense
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t item = call.itemsize, width = call.pixel_width, first = panel * call.channel_width, i = 0, j, count
    cdef int rows = <int>min(call.channel_width, d.channels - first)
    cdef int64_t most = max(<int64_t>1, kernel.gemm.wide_columns(rows) // width)
    cdef bint adjacent
    cdef fc_run runs[FC_MAX_COLUMNS]
    cdef int64_t out_row[FC_MAX_ROWS]
    cdef int64_t tile_row[FC_MAX_ROWS]
    cdef fc_finish finish, keep
    cdef char *out = call.out + (s.group * d.channels + first) * call.out_stride[1] * item
    start_finish(call, s, &finish)
    if call.bias != NULL:
        finish.row_bias = call.bias + (s.group * d.channels + first) * item
    memset(&keep, 0, sizeof(keep))
    for j in range(rows):
        out_row[j] = j * call.out_stride[1]
        tile_row[j] = j * FC_MAX_COLUMNS
    while i < s.count:
        j = i + 1
        count = min(width, s.pixels - i * width)
        if s.place[i].source == NOWHERE:
            call.kernel.copy.pack_windows(s.panels, width, &call.window, source, s.pixel + i * width, count, channels,
                                          tap, taps)
            kernel.gemm.tile(s.depth, weights, s.panels, width, s.tile, tile_row, rows, <int>count, &keep)
        else:
            adjacent = s.place[i].out != NOWHERE
            while (j < s.count and j - i < most and s.place[j].source == s.place[i].source + (j - i) * width
                    and (s.place[j].out == s.place[i].out + (j - i) * width if adjacent
                         else s.place[j].out == NOWHERE)):
                j += 1
            count = (j - i) * width
            if adjacent:
                kernel.gemm.tile_at(s.depth, weights, source + s.place[i].source * item, b_offset,
                                    out + s.place[i].out * item, out_row, rows, <int>count, &finish)
                i = j
                continue
            kernel.gemm.tile_at(s.depth, weights, source + s.place[i].source * item, b_offset, s.tile, tile_row, rows,
                                <int>count, &keep)
        kernel.gemm.scatter(s.tile, FC_MAX_COLUMNS, out, out_row, rows, runs,
                            output_runs(call, s.pixel + i * width, count, runs), &finish)
        i = j


cdef void multiply_rows(const DirectCall *call, const Strip *s, const char *weights, int64_t first_panel,
                        int64_t last_panel) noexcept nogil:
    """All pixel panels times weight panels `first_panel` to `last_panel`, when pixels are the rows of a tile."""
    cdef const Dense *d = call.dense
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t item = call.itemsize, width = call.pixel_width, i, j, pixel, count, panel, channel, channels
    cdef fc_run runs[FC_MAX_COLUMNS]
    cdef int64_t row_offset[FC_MAX_ROWS]
    cdef int run
    cdef fc_finish finish
    cdef const char *pixels = s.panels
    cdef char *out
    start_finish(call, s, &finish)
    for i in range(s.count):
        pixel = s.pixel + i * width
        count = min(width, s.pixels - i * width)
        for run in range(output_runs(call, pixel, count, runs)):
            for j in range(runs[run].count):
                row_offset[runs[run].column + j] = runs[run].offset + j * runs[run].stride
        for panel in range(first_panel, last_panel):
            channel = panel * call.channel_width
            channels = min(call.channel_width, d.channels - channel)
            out = call.out + (s.group * d.channels + channel) * call.out_stride[1] * item
            if call.bias != NULL:
                finish.column_bias = call.bias + (s.group * d.channels + channel) * item
            kernel.gemm.tile(s.depth, pixels, weights + (panel - first_panel) * call.channel_width * s.depth * item,
                             kernel.gemm.max_columns, out, row_offset, <int>count, <int>channels, &finish)
        pixels += width * s.depth * item


cdef void pack_weights_task(void *context, int64_t index) noexcept nogil:
    """Pack one panel of one group, chunk after chunk, into the places `strip_task` reads them from."""
    cdef const DirectCall *call = <const DirectCall *>context
    cdef const Dense *d = call.dense
    cdef int64_t panel = index % call.channel_panels, group = index // call.channel_panels
    cdef int64_t padded_channels = call.channel_panels * call.channel_width
    cdef int64_t channel = 0, channels, tap, taps
    cdef char *chunk = call.packed + group * padded_channels * d.depth * d.taps * call.itemsize
    while channel < d.depth:
        channels = min(call.chunk.channels, d.depth - channel)
        tap = 0
        while tap < d.taps:
            taps = min(call.chunk.taps, d.taps - tap)
            pack_weight_panel(&call.weights, group, panel, channel, channels, tap, taps,
                              chunk + panel * call.channel_width * channels * taps * call.itemsize)
            chunk += padded_channels * channels * taps * call.itemsize
            tap += taps
        channel += channels
