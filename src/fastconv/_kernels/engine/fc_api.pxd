"""csrc/fc_api.h and csrc/api, as Cython sees them. The comments are there."""

from libc.stdint cimport int64_t, uint8_t

cdef extern from "fc_api.h" nogil:
    enum: FC_MAX_ROWS, FC_MAX_COLUMNS, FC_KERNEL_ROWS
    enum: FC_MAX_WINDOWS
    enum: FC_MAX_DOT_ROWS, FC_MAX_DOT_COLUMNS
    enum: FC_IDENTITY, FC_RELU, FC_LEAKY_RELU, FC_RELU6
    enum: FC_PRELU, FC_PRELU_SLOPE, FC_HARDTANH, FC_THRESHOLD, FC_HARDSIGMOID, FC_HARDSWISH, FC_SOFTSHRINK, FC_HARDSHRINK
    enum: FC_SIGMOID, FC_TANH, FC_LOGSIGMOID, FC_SOFTSIGN, FC_TANHSHRINK, FC_SOFTPLUS, FC_ELU, FC_SILU, FC_MISH, FC_GELU, FC_GELU_TANH
    enum: FC_SOFTMAX_COLUMNS

    ctypedef struct fc_wanted:
        const void *weight
        const void *target
        double share
        double spread

    ctypedef struct fc_entropy:
        double top[FC_SOFTMAX_COLUMNS]
        double sum[FC_SOFTMAX_COLUMNS]
        double log_sum[FC_SOFTMAX_COLUMNS]
        double cost[FC_SOFTMAX_COLUMNS]
        double wanted[FC_SOFTMAX_COLUMNS]

    enum: FC_LOSS_SQUARE, FC_LOSS_ABSOLUTE, FC_LOSS_HUBER, FC_LOSS_LOGISTIC

    ctypedef struct fc_loss:
        int formula
        double a
        double times
        double slope_times

    enum: FC_DTYPES
    ctypedef enum fc_dtype:
        FC_FLOAT32
        FC_FLOAT64

    ctypedef struct fc_finish:
        int accumulate
        int final
        const void *row_bias
        const void *column_bias
        int activation
        double slope

    ctypedef struct fc_run:
        int64_t column
        int64_t count
        int64_t offset
        int64_t stride

    ctypedef struct fc_run_pair:
        int64_t a_offset
        int64_t b_offset
        int64_t count

    ctypedef struct fc_window:
        int64_t count[3]
        int64_t step[3]
        int64_t extent[3]
        int64_t taps[3]
        int64_t first[3]
        int64_t delta[3]
        int64_t stride[5]

    ctypedef struct fc_pointwise:
        int activation
        double a
        double b
        double c

    ctypedef struct fc_norm:
        double unit
        double shift
        double scale
        double offset
        double b_unit
        double b_shift
        double b_scale

    ctypedef struct fc_norm_columns:
        const double *unit
        const double *shift
        const double *scale
        const double *offset
        const double *b_unit
        const double *b_shift
        const double *b_scale

    ctypedef struct fc_descent:
        double rate
        double momentum
        double decay
        int nesterov

    enum: FC_MAX_SPAN
    ctypedef struct fc_winograd_run:
        int64_t lane
        int64_t tiles
        int64_t low
        int64_t high
        int64_t step
        void *row[6]

    ctypedef struct fc_winograd:
        int tile_y
        int tile_x
        int taps
        int points
        void (*input)(void *v, int64_t point_step, int64_t k_step, const fc_winograd_run *runs, int run_count,
                      int64_t channel_step, int64_t channels) noexcept nogil
        int64_t (*output)(const fc_winograd_run *runs, int run_count, int64_t channel_step, const void *sums,
                          int64_t point_step, int64_t sums_step, int rows, const fc_finish *finish) noexcept nogil
        void (*input_channels)(void *v, int64_t point_step, int64_t tile_step, const fc_winograd_run *runs,
                               int run_count, int64_t channels) noexcept nogil
        int64_t (*output_channels)(const fc_winograd_run *runs, int run_count, const void *sums, int64_t point_step,
                                   int64_t tile_step, int64_t channels, const fc_finish *finish) noexcept nogil
        void (*weight)(void *u, int64_t point_step, const void *taps, int64_t width, int64_t depth,
                       int reversed) noexcept nogil
        void (*grad_output_channels)(void *v, int64_t point_step, int64_t tile_step, const fc_winograd_run *runs,
                                     int run_count, int64_t channels) noexcept nogil
        int (*grad_weight)(void *taps, int64_t tap_step, const void *sums, int64_t point_step,
                           int64_t width) noexcept nogil

    enum: FC_WINOGRADS, FC_COL2IM_TAPS

    ctypedef struct fc_pool_axis:
        int64_t extent
        int64_t outputs
        int64_t taps
        int64_t stride
        int64_t before
        int64_t dilation
        int64_t count_low
        int64_t count_high

    ctypedef struct fc_pool:
        fc_pool_axis axis[3]
        int64_t channels
        double divisor

    ctypedef struct fc_pool_part:
        int64_t planes
        int64_t depth
        int64_t row
        int64_t rows
        int64_t column
        int64_t columns
        const void *source
        int64_t source_plane
        int64_t source_stride[4]
        void *target
        int64_t target_plane
        int64_t target_step
        uint8_t *positions
        int64_t position_plane
        int64_t position_step
        int64_t *indices
        int64_t index_plane
        int64_t index_step
        void *scratch

    enum: FC_POSITIONS, FC_POOL_TAPS

    ctypedef struct fc_ends:
        int64_t step
        int64_t per
        int64_t low
        int64_t high
        int64_t first
        int64_t last

    ctypedef enum fc_counted: FC_COUNT_NONE, FC_COUNT_OUTPUTS, FC_COUNT_ELEMENTS

    ctypedef struct fc_running:
        fc_ends windows
        int64_t block
        int64_t output
        int64_t outputs
        fc_counted counted
        fc_ends counts
        double divisor
        int64_t lanes
        const void *source
        int64_t source_step
        int64_t source_lane_step
        int source_totals
        const void *places
        int64_t first_place
        int64_t place_step
        int64_t place_lane_step
        void *target
        int64_t target_step
        int64_t target_lane_step
        int target_totals
        void *target_places
        int64_t *indices
        int64_t index_step
        int64_t index_lane_step
        const void *lane_places
        const int64_t *shift
        void *scratch

    ctypedef struct fc_running_row:
        const void *source
        void *target
        void *target_places
        int64_t low
        int64_t high
        int64_t outputs
        int64_t place
        int64_t shift

    ctypedef struct fc_gather:
        int64_t first
        int64_t step
        int64_t extent
        int64_t count
        int64_t y_stride
        int64_t x_stride
        int64_t lane_stride
        int64_t run
        int64_t row
        int channels
        int spread
        int64_t copy

    ctypedef struct fc_planes:
        int64_t planes
        int64_t pixels
        int64_t plane_step
        int64_t pixel_step
        double divisor

    ctypedef struct fc_taps:
        int64_t source
        int64_t row
        int64_t weight
        const int64_t *offset
        int64_t columns
        int rows

    ctypedef struct fc_depthwise:
        const void *weights
        const void *bias
        const fc_taps *taps[2]
        int tap_count[2]
        int phases
        int line
        int channels
        int64_t kernel_row_step
        int64_t row_step
        int64_t vector_step
        int64_t out_row_step
        int64_t out_vector_step
        int64_t lane_step
        const void *zeros
        int64_t low
        int64_t high
        int64_t x
        int64_t width
        fc_finish finish

    ctypedef struct fc_planes_met:
        int64_t rows
        int64_t columns
        int64_t grad_y_stride
        int64_t grad_x_stride
        int64_t y
        int64_t x
        int64_t height
        int64_t width
        int64_t y_stride
        int64_t x_stride
        int64_t y_step
        int64_t x_step
        int64_t y_delta
        int64_t x_delta
        int kernel_rows
        int kernel_columns
        int channels

    ctypedef struct fc_fft_rows:
        void *row[2]
        int64_t stride
        int64_t begin[2]
        int64_t end[2]

    ctypedef struct fc_fft_finish:
        const uint8_t *seen[2]
        double bound
        double bias
        int activation
        double slope

    ctypedef struct fc_fft_axis:
        int64_t length
        int passes
        int radix[24]
        int64_t root_count
        const double *roots

    ctypedef struct fc_gemm_kernels:
        int max_rows
        int max_columns
        void (*tile)(int64_t depth, const void *a, const void *b, int64_t b_step, void *c, const int64_t *row_offset,
                     int rows, int columns, const fc_finish *finish) noexcept nogil
        void (*tile_packing)(int64_t depth, const void *a, const void *b, int64_t b_step, void *panel, void *c,
                             const int64_t *row_offset, int rows, const fc_finish *finish) noexcept nogil
        void (*tile_at)(int64_t depth, const void *a, const void *b, const int64_t *b_offset, void *c,
                        const int64_t *row_offset, int rows, int columns, const fc_finish *finish) noexcept nogil
        int (*wide_columns)(int rows) noexcept nogil
        void (*tile_of_rows)(int64_t depth, const void *a, int64_t a_step, const void *b, const int64_t *b_offset,
                             void *c, const int64_t *row_offset, int rows, int columns,
                             const fc_finish *finish) noexcept nogil
        void (*tile_of_windows)(int64_t depth, const void *a, const int64_t *a_offset, int64_t a_step, int64_t a_second,
                                const void *b, int64_t b_step, void *c, const int64_t *row_offset, int rows,
                                int columns, const fc_finish *finish) noexcept nogil
        void (*scatter)(const void *tile, int64_t tile_step, void *c, const int64_t *row_offset, int rows,
                        const fc_run *runs, int run_count, const fc_finish *finish) noexcept nogil

    ctypedef struct fc_dot_kernels:
        void (*tile)(const void *const *a, int rows, const void *const *b, int columns, const fc_run_pair *runs,
                     int64_t run_count, void *c, const int64_t *row_offset, int accumulate) noexcept nogil
        int max_rows
        int (*max_columns)(int rows) noexcept nogil

    ctypedef struct fc_copy_kernels:
        void (*pack)(void *panel, int64_t step, int64_t width, int64_t depth, const void *source, int64_t i_stride,
                     int64_t k_stride) noexcept nogil
        void (*clear)(void *panel, int64_t step, int64_t width, int64_t depth) noexcept nogil
        void (*pack_windows)(void *panel, int64_t width, const fc_window *window, const void *source, int64_t pixel,
                             int64_t count, int64_t channels, int64_t first_tap, int64_t taps) noexcept nogil
        void (*col2im)(void *target, const int64_t *stride, const void *columns, int64_t tap_step,
                       const fc_window *window, const fc_finish *finish) noexcept nogil

    ctypedef struct fc_depthwise_kernels:
        int max_rows
        int max_vectors
        int in_place
        void (*tile)(void *out, const void *source, int64_t rows, int64_t columns, const fc_depthwise *d) noexcept nogil
        void (*gather)(void *to, const void *source, int64_t rows, const fc_gather *g) noexcept nogil
        void (*weights)(void *to, const void *source, int rows, int64_t columns, int64_t row_stride,
                        int64_t column_stride, int64_t group_stride, int64_t channel_stride, int group,
                        int channels) noexcept nogil
        void (*gradient)(void *sums, const void *input, const void *grad_output,
                         const fc_planes_met *planes) noexcept nogil

    ctypedef struct fc_pool_kernels:
        void (*max)(const fc_pool *pool, const fc_pool_part *part) noexcept nogil
        void (*average)(const fc_pool *pool, const fc_pool_part *part) noexcept nogil
        void (*gradient)(const fc_pool *pool, const fc_pool_part *part) noexcept nogil
        void (*running_max)(const fc_running *r) noexcept nogil
        void (*running_sum)(const fc_running *r) noexcept nogil
        void (*running_max_rows)(const fc_running *r, const fc_running_row *rows, int count) noexcept nogil
        void (*running_sum_rows)(const fc_running *r, const fc_running_row *rows, int count) noexcept nogil
        void (*average_planes)(void *out, const void *source, const fc_planes *p) noexcept nogil
        void (*spread_planes)(void *target, const void *source, const fc_planes *p) noexcept nogil

    ctypedef struct fc_pointwise_kernels:
        double (*gradient_row)(void *out, const void *output, const void *gradient, int64_t count, int activation,
                               double slope) noexcept nogil
        void (*activate)(void *out, const void *input, const void *slopes, int64_t count,
                         const fc_pointwise *how) noexcept nogil
        void (*activate_gradient)(void *out, const void *input, const void *gradient, const void *slopes, int64_t count,
                                  const fc_pointwise *how) noexcept nogil
        void (*softmax)(void *out, const void *input, int64_t count, int64_t step, int columns,
                        int logarithm) noexcept nogil
        void (*softmax_gradient)(void *out, const void *output, const void *gradient, int64_t count, int64_t step,
                                 int columns, int logarithm) noexcept nogil
        void (*entropy_sums)(fc_entropy *sums, void *exps, const void *logits, const fc_wanted *wanted, int64_t count,
                             int64_t step, int slices) noexcept nogil
        void (*entropy_slopes)(void *exps, const fc_wanted *wanted, const double *factor, const double *less,
                               int64_t count, int64_t step, int slices) noexcept nogil
        double (*loss_row)(void *losses, void *slopes, const void *prediction, const void *target, int64_t count,
                           const fc_loss *how) noexcept nogil
        void (*norm_sums)(double *sums, const void *a, const void *b, const double *weight, int64_t count,
                          const fc_norm *n) noexcept nogil
        void (*norm_map)(void *out, const void *a, const void *b, const double *weight, const double *bias,
                         int64_t count, const fc_norm *n) noexcept nogil
        void (*norm_column_sums)(double *sums, double *products, const void *a, const void *b, int64_t rows,
                                 int64_t a_step, int64_t b_step, int64_t width, const fc_norm_columns *n) noexcept nogil
        void (*norm_column_map)(void *out, const void *a, const void *b, int64_t rows, int64_t out_step, int64_t a_step,
                                int64_t b_step, int64_t width, const fc_norm_columns *n) noexcept nogil
        void (*norm_cross_sums)(double *sums, double *products, double *each, const void *a, const void *b,
                                const double *weight, int64_t rows, int64_t step, int64_t width,
                                const fc_norm *n) noexcept nogil
        void (*descend)(void *value, void *velocity, const void *gradient, int64_t count,
                        const fc_descent *how) noexcept nogil

    ctypedef struct fc_fft_kernels:
        double (*read)(double *to, int64_t groups, const fc_fft_rows *rows, double cosine, double sine) noexcept nogil
        int (*write)(const fc_fft_rows *rows, const double *from_, int64_t groups, double cosine, double sine,
                     const fc_fft_finish *finish) noexcept nogil
        void (*columns)(double *z, int64_t row_step, int64_t groups, const fc_fft_axis *axis, int back) noexcept nogil
        void (*rows)(double *spectrum, double *z, int64_t row_step, int64_t rows, const fc_fft_axis *axis,
                     const double *factors, int back) noexcept nogil
        void (*products)(double *const *sums, const double *const *a, const double *const *b, int64_t terms,
                         int64_t size, int rows, int columns, int accumulate) noexcept nogil

    ctypedef struct fc_kernels:
        const char *isa
        int item
        int lanes
        fc_gemm_kernels gemm
        fc_dot_kernels dot
        fc_copy_kernels copy
        fc_depthwise_kernels depthwise
        fc_winograd winograd[6]
        fc_pool_kernels pool
        fc_pointwise_kernels pointwise
        fc_fft_kernels fft
        double (*fma_peak)(int64_t rounds) noexcept nogil

    ctypedef void (*fc_task)(void *context, int64_t index) noexcept nogil

    const char *fc_isa_name(int index)
    int fc_isa_runs_here(const char *name)
    const fc_kernels *fc_isa_table(const char *name, fc_dtype dtype)
    int fc_cpu_count()
    int64_t fc_l2_bytes()
    int FC_MOST_THREADS
    int fastconv_get_num_threads() nogil
    void fastconv_set_num_threads(int count) nogil
    void fc_workers_run(fc_task task, void *context, int64_t begin, int64_t end, int threads)
    bint fc_workers_awake() nogil
    int64_t fc_nanoseconds()
    void *fc_task_scratch(size_t bytes)
    void *fc_take_scratch(size_t bytes, size_t *held)
    void fc_give_scratch(void *memory, size_t held)

cdef extern from "fc_list.h" nogil:
    ctypedef struct fc_node:
        fc_node *next

    fc_node *fc_first(fc_node **list)
    bint fc_push(fc_node **list, fc_node *first, fc_node *node)
