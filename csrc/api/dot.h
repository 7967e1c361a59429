/* The other micro-kernel: sums along memory, without a panel. */
#ifndef FC_API_DOT_H
#define FC_API_DOT_H

#include <stdint.h>

enum { FC_MAX_DOT_ROWS = 4, FC_MAX_DOT_COLUMNS = 8 };

/* `count` positions of two operands: of A from a_offset, of B from b_offset on. */
typedef struct fc_run_pair {
    int64_t a_offset, b_offset, count;
} fc_run_pair;

typedef struct fc_dot_kernels {
    /* Row i of C starts at c + row_offset[i]; C[i, j] (+)= sum over all runs and x < count of
     * a[i][a_offset + x] * b[j][b_offset + x]. Reads up to the next multiple of `lanes`, where one of the two must
     * hold zeros and the other finite values. rows <= max_rows, columns <= max_columns(rows). */
    void (*tile)(const void *const *a, int rows, const void *const *b, int columns, const fc_run_pair *runs,
                 int64_t run_count, void *c, const int64_t *row_offset, int accumulate);
    int max_rows;
    int (*max_columns)(int rows);
} fc_dot_kernels;

#endif
