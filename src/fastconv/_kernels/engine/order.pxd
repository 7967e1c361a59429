"""Where the sums of convolutions and norms are cut: the constants that decide bits.

They decide the order in which products are added up, so they follow from nothing but geometry and dtype: not from the
machine, nor from threads. Whoever changes one changes results, and the golden tests say so. Constants that only say who
computes what when stand where they are used, and follow the machine (machine.pxd). What decides bits elsewhere stands with
its one user: the blocks of a transform (fft/blocks.py), windows and strands of pools, chunks of losses and of steps.
"""


cdef enum:
    # products that a micro-kernel adds up in one go
    DIRECT_DEPTH = 512              # channels x taps: a weight panel so deep stays in L1
    SLIDING_DEPTH = 512
    COL2IM_DEPTH = 512
    WINOGRAD_DEPTH = 128            # per point
    WINOGRAD_CHANNELS = 16          # transformed in one go, if there are as many: finding the tiles' inputs takes time

    # positions of a chunk of a weight gradient; then sums that are added up after their parts
    GEMM_POSITIONS = 784
    GEMM_FEW_POSITIONS = 392        # what stays of them while there are blocks to split
    GEMM_FEWEST_POSITIONS = 64      # fewer than this do not go in even if scratch memory gets larger
    GEMM_SCRATCH_ELEMENTS = 1 << 18 # of a task, its sums among them
    GEMM_RUN = 96                   # adjacent positions of grad_output that are worth reading in place
    GEMM_RUN_CHANNELS = 64          # that share what is read in place
    GEMM_TASKS = 8                  # fewer than this, and the chunks are split into parts as well
    GEMM_PARTS_ELEMENTS = 1 << 18   # but not into more sums than this many elements
    GEMM_TASK_FLOPS = 2000000       # and not into tasks of less work

    DOTS_POSITIONS = 1536           # long enough for the sums over lanes not to count, short for L1
    DOTS_FEWEST_POSITIONS = 64
    DOTS_SCRATCH_ELEMENTS = 1 << 18
    DOTS_TASKS = 16
    DOTS_PARTS_ELEMENTS = 1 << 19
    DOTS_TASK_FLOPS = 2000000

    WINDOWS_POSITIONS = 392         # whose panel of grad_output stays in L1 or L2 for all taps
    WINDOWS_FEWEST_POSITIONS = 64   # a chunk of so few is not worth its sums' way to memory
    WINDOWS_STAGE_ELEMENTS = 1 << 17
    WINDOWS_TASKS = 16
    WINDOWS_PARTS_ELEMENTS = 1 << 19
    WINDOWS_TASK_FLOPS = 2000000

    ROWS_BAND_BYTES = 16 * 1024     # of both operands: in L1, beside the next band
    ROWS_CHANNEL_BAND_BYTES = 512 * 1024  # of several vectors of channels: in L2
    ROWS_TASKS = 16
    ROWS_PARTS_ELEMENTS = 1 << 19
    ROWS_TASK_FLOPS = 400000

    # tiles of a round of Winograd's weight gradient, and its parts
    WINOGRAD_ROUND_TILES = 128
    WINOGRAD_ROUND_BYTES = 1 << 20  # of transformed tiles, of a block's channels
    WINOGRAD_SUMS_BYTES = 640 << 10 # of a block
    WINOGRAD_TASKS = 8
    WINOGRAD_TASK_FLOPS = 20000000  # less work is not split into parts

    # elements whose sum is a partial one
    NORM_CHUNK = 16384              # of a group
    NORM_COLUMN_CHUNK = 65536       # of groups side by side; a partial sum per column and chunk is kept,
    NORM_LEAST_ROWS = 256           # so that a chunk has at least so many rows
    NORM_ROW_CHUNK = 65536          # of rows, for the gradients of weight and bias
