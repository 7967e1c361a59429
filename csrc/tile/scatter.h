/* The way of a tile of sums to the output: runs of columns, with bias, activation and what the output holds. */

/* A run to an output whose elements are adjacent: which of them exist is the same for all rows. */
INLINE void scatter_adjacent(const real *from, int64_t tile_step, real *to, const int64_t *row_offset, int rows,
                             const fc_run *run, const fc_finish *finish)
{
    const fc_finish how = *finish;  /* a copy, which no store changes */
    for (int64_t j = 0; j < run->count; j += LANES) {
        const mask columns = first_lanes(run->count - j < LANES ? (int)(run->count - j) : LANES);
        vec column_bias = {0};
        if (how.final && how.column_bias)
            column_bias = load_masked((const real *)how.column_bias + run->column + j, columns);
        for (int i = 0; i < rows; i++) {
            real *p = to + (row_offset[i] - row_offset[0]) + j;
            const vec before = how.accumulate ? load_masked(p, columns) : (vec){0};
            const vec sum = load_masked(from + i * tile_step + j, columns);
            store_masked(p, finish_vector(sum, before, &how, i, column_bias), columns);
        }
    }
}

/* One row's part of a run to an output whose elements are two apart, or farther. */
INLINE void scatter_apart(const real *from, real *to, const fc_run *run, int row, const fc_finish *finish)
{
    for (int64_t j = 0; j < run->count; j += LANES) {
        const int lanes = run->count - j < LANES ? (int)(run->count - j) : LANES;
        real *p = to + j * run->stride;
        vec before = {0}, column_bias = {0};
        if (finish->accumulate) {
            ROLLED
            for (int l = 0; l < lanes; l++) before[l] = p[l * run->stride];
        }
        if (finish->final && finish->column_bias)
            column_bias = load_first((const real *)finish->column_bias + run->column + j, lanes);
        const vec out = finish_vector(load_first(from + j, lanes), before, finish, row, column_bias);
#if FC_MASKS
        if (run->stride == 2) {
            store_masked(p, SHUFFLE(out, out, ZIP_LOWER), even_lanes(lanes < LANES / 2 ? 2 * lanes : LANES));
            if (lanes > LANES / 2) store_masked(p + LANES, SHUFFLE(out, out, ZIP_UPPER), even_lanes(2 * lanes - LANES));
            continue;
        }
#endif
        ROLLED
        for (int l = 0; l < lanes; l++) p[l * run->stride] = out[l];
    }
}

/* What finish_vector does for one vector, for rows `first` on of a tile, without what C holds. */
INLINE void finish_block(vec *block, const fc_finish *finish, int first, int rows, vec column_bias)
{
    if (!finish->final) return;
    if (finish->row_bias) {
        UNROLL
        for (int i = 0; i < LANES; i++)
            if (first + i < rows) block[i] += ((const real *)finish->row_bias)[first + i];
    }
    if (finish->column_bias) {
        UNROLL
        for (int i = 0; i < LANES; i++) block[i] += column_bias;
    }
    if (finish->activation) {
        UNROLL
        for (int i = 0; i < LANES; i++) block[i] = activate(block[i], finish);
    }
}

/* A run of a tile whose rows are adjacent in the output (channels-last, or a tile of pixels by channels): transposed a
 * vector of columns at a time. Loops are over whole blocks, so that these stay in registers. */
INLINE void scatter_transposed(const real *from, int64_t tile_step, real *to, int rows, const fc_run *run,
                               const fc_finish *finish)
{
    for (int64_t j = 0; j < run->count; j += LANES) {
        const int lanes = run->count - j < LANES ? (int)(run->count - j) : LANES;
        const mask columns = first_lanes(lanes);
        vec column_bias = {0};
        if (finish->final && finish->column_bias)
            column_bias = load_masked((const real *)finish->column_bias + run->column + j, columns);
        for (int first = 0; first < rows; first += LANES) {
            const mask in_block = first_lanes(rows - first < LANES ? rows - first : LANES);
            const real *block_from = from + first * tile_step + j;
            real *block_to = to + j * run->stride + first;
            vec block[LANES];
            UNROLL
            for (int i = 0; i < LANES; i++)
                block[i] = first + i < rows ? load_masked(block_from + i * tile_step, columns) : (vec){0};
            if (finish->accumulate) {
                transpose(block);
                UNROLL
                for (int l = 0; l < LANES; l++)
                    if (l < lanes) block[l] += load_masked(block_to + l * run->stride, in_block);
                transpose(block);
            }
            finish_block(block, finish, first, rows, column_bias);
            transpose(block);
            UNROLL
            for (int l = 0; l < LANES; l++)
                if (l < lanes) store_masked(block_to + l * run->stride, block[l], in_block);
        }
    }
}

static void scatter(const void *tile, int64_t tile_step, void *c, const int64_t *row_offset, int rows, const fc_run *runs,
                    int run_count, const fc_finish *finish)
{
    int adjacent = rows > 2;
    for (int i = 1; i < rows; i++) adjacent &= row_offset[i] == row_offset[0] + i;
    for (const fc_run *run = runs; run < runs + run_count; run++) {
        const real *from = (const real *)tile + run->column;
        real *to = (real *)c + row_offset[0] + run->offset;
        if (run->stride == 1) {
            scatter_adjacent(from, tile_step, to, row_offset, rows, run, finish);
        } else if (adjacent) {
            scatter_transposed(from, tile_step, to, rows, run, finish);
        } else {
            for (int i = 0; i < rows; i++)
                scatter_apart(from + i * tile_step, to + (row_offset[i] - row_offset[0]), run, i, finish);
        }
    }
}
