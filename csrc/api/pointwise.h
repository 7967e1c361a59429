/* One element, one row or one group at a time: activations, softmax, losses, norms, steps of learning. */
#ifndef FC_API_POINTWISE_H
#define FC_API_POINTWISE_H

#include "finish.h"

#include <stdint.h>

/* An activation with its parameters. */
typedef struct fc_pointwise {
    int activation;  /* enum fc_activation */
    double a, b, c;
} fc_pointwise;

/* A step of gradient descent: velocity = momentum * velocity + g, value -= rate * velocity, where g is the gradient
 * + decay * value; with Nesterov's look ahead value -= rate * (g + momentum * velocity). */
typedef struct fc_descent {
    double rate, momentum, decay;
    int nesterov;
} fc_descent;

/* Slices that softmax takes side by side, if they lie across memory. */
enum { FC_SOFTMAX_COLUMNS = 64 };

/* How much of class j the target of a cross-entropy wants: weight[j] * (share * target[j] + spread), at least 0. Targets
 * lie as the logits do and may be NULL (all 0), and so may weights (all 1). */
typedef struct fc_wanted {
    const void *weight, *target;
    double share, spread;
} fc_wanted;

/* Sums over slices side by side or one behind the other; see entropy_sums. */
typedef struct fc_entropy {
    double top[FC_SOFTMAX_COLUMNS];      /* the largest logit */
    double sum[FC_SOFTMAX_COLUMNS];      /* of exp(logit - top) */
    double log_sum[FC_SOFTMAX_COLUMNS];  /* its logarithm */
    double cost[FC_SOFTMAX_COLUMNS];     /* of what is wanted times top - logit, 0 where nothing is */
    double wanted[FC_SOFTMAX_COLUMNS];   /* of what is wanted, if there are targets */
} fc_entropy;

/* What an element x costs beside its target t, with d = x - t. */
typedef enum fc_loss_formula {
    FC_LOSS_SQUARE,    /* d^2 */
    FC_LOSS_ABSOLUTE,  /* |d|; its slope is 0 at 0 */
    FC_LOSS_HUBER,     /* d^2 / 2 where |d| <= a, else a (|d| - a / 2) */
    FC_LOSS_LOGISTIC   /* -a t log(sigmoid(x)) - (1 - t) log(sigmoid(-x)); what is wanted 0 costs 0 */
} fc_loss_formula;

typedef struct fc_loss {
    int formula;
    double a;
    double times;        /* the losses that are stored */
    double slope_times;  /* the slopes that are */
} fc_loss;

/* Numbers of a normalisation, for all elements of a group; see norm_sums and norm_map. A unit is a power of two that
 * brings elements to ordinary size: their squares neither overflow nor vanish. */
typedef struct fc_norm {
    double unit, shift, scale, offset;
    double b_unit, b_shift, b_scale;
} fc_norm;

/* The same, where every column is a group of its own. */
typedef struct fc_norm_columns {
    const double *unit, *shift, *scale, *offset;
    const double *b_unit, *b_shift, *b_scale;
} fc_norm_columns;

typedef struct fc_pointwise_kernels {
    /* out[i] = gradient[i] times the slope of `activation` (enum fc_activation; `slope` as in fc_finish) where its
     * output is output[i]; returns the sum of out, added in double. Without `out` and `output`: only the sum. */
    double (*gradient_row)(void *out, const void *output, const void *gradient, int64_t count, int activation,
                           double slope);

    /* out[i] = the activation of input[i], or gradient[i] times its slope there; `slopes`, one per element, are those of
     * FC_PRELU. `out` may be any of the others. An element's bits depend on nothing but its own operands. */
    void (*activate)(void *out, const void *input, const void *slopes, int64_t count, const fc_pointwise *how);
    void (*activate_gradient)(void *out, const void *input, const void *gradient, const void *slopes, int64_t count,
                              const fc_pointwise *how);

    /* Softmax of slices of `count` elements, or its logarithm: of `columns` <= FC_SOFTMAX_COLUMNS slices that are
     * neighbours in memory, their elements `step` apart; or, if `columns` is 0, of one whose elements are neighbours.
     * `out` may be the input. And the gradient, from the output and the gradient behind. */
    void (*softmax)(void *out, const void *input, int64_t count, int64_t step, int columns, int logarithm);
    void (*softmax_gradient)(void *out, const void *output, const void *gradient, int64_t count, int64_t step,
                             int columns, int logarithm);

    /* Cross-entropy of `slices` <= FC_SOFTMAX_COLUMNS slices of `count` logits: neighbours in memory whose elements are
     * `step` apart, or, if `step` is 0, one behind the other. With `wanted` NULL nothing is wanted.
     *     entropy_sums    their sums; `exps`, which may be NULL or the logits, is given exp(logit - top)
     *     entropy_slopes  makes exps slopes: factor * exp - less * wanted; all 0 in a slice whose `less` is 0 */
    void (*entropy_sums)(fc_entropy *sums, void *exps, const void *logits, const fc_wanted *wanted, int64_t count,
                         int64_t step, int slices);
    void (*entropy_slopes)(void *exps, const fc_wanted *wanted, const double *factor, const double *less,
                           int64_t count, int64_t step, int slices);

    /* The losses of `count` elements, and their slopes, where these are not NULL; returns the sum of the losses before
     * they are multiplied. */
    double (*loss_row)(void *losses, void *slopes, const void *prediction, const void *target, int64_t count,
                       const fc_loss *how);

    /* With A = a[i] * unit - shift, all in double precision:
     *     norm_sums   sums[0] += sum of B, sums[1] += sum of A * B, where B = b[i] * weight[i] * b_unit - b_shift
     *     norm_map    out[i] = A * scale * weight[i] + bias[i] (or + offset, without bias), rounded once; or with b
     *                 out[i] = A * scale + offset + b[i] * weight[i] * b_scale
     * `weight` and `bias`, in double precision as well, may be NULL. Numbers that change nothing cost nothing: scale 1
     * with offset 0, b_unit 1 with b_shift 0. The column forms add or map `rows` rows of `width` elements, without
     * weights; there such pairs are NULL instead. */
    void (*norm_sums)(double *sums, const void *a, const void *b, const double *weight, int64_t count, const fc_norm *n);
    void (*norm_map)(void *out, const void *a, const void *b, const double *weight, const double *bias, int64_t count,
                     const fc_norm *n);
    void (*norm_column_sums)(double *sums, double *products, const void *a, const void *b, int64_t rows,
                             int64_t a_step, int64_t b_step, int64_t width, const fc_norm_columns *n);
    void (*norm_column_map)(void *out, const void *a, const void *b, int64_t rows, int64_t out_step, int64_t a_step,
                            int64_t b_step, int64_t width, const fc_norm_columns *n);

    /* Per column, sums += b and products += A * scale * b, with the numbers of row i in n[i]; and per row, the same of
     * b * weight (NULL: of b), each[2 * i] and each[2 * i + 1]. */
    void (*norm_cross_sums)(double *sums, double *products, double *each, const void *a, const void *b,
                            const double *weight, int64_t rows, int64_t step, int64_t width, const fc_norm *n);

    /* Move `count` values by their gradients. Without `velocity` there is no momentum. */
    void (*descend)(void *value, void *velocity, const void *gradient, int64_t count, const fc_descent *how);
} fc_pointwise_kernels;

#endif
