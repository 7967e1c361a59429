/* What happens to sums on their way to memory, and the types of elements: what the families share. */
#ifndef FC_API_FINISH_H
#define FC_API_FINISH_H

#include <stdint.h>

typedef enum fc_dtype { FC_FLOAT32 = 0, FC_FLOAT64 = 1, FC_DTYPES = 2 } fc_dtype;

/* The first four are applied by convolutions too, to what they write. Parameters of the others, and of FC_LEAKY_RELU in
 * a pass of its own (fc_pointwise): a, b, c in this order. */
enum fc_activation {
    FC_IDENTITY = 0,
    FC_RELU = 1,
    FC_LEAKY_RELU = 2,  /* slope of negative values */
    FC_RELU6 = 3,
    FC_PRELU,           /* none, but a slope per element */
    FC_PRELU_SLOPE,     /* only as a gradient: that of the slope of each element */
    FC_HARDTANH,        /* lower and upper bound */
    FC_THRESHOLD,       /* threshold, value below */
    FC_HARDSIGMOID,
    FC_HARDSWISH,
    FC_SOFTSHRINK,      /* lambda */
    FC_HARDSHRINK,      /* lambda */
    FC_SIGMOID,
    FC_TANH,
    FC_LOGSIGMOID,
    FC_SOFTSIGN,
    FC_TANHSHRINK,
    FC_SOFTPLUS,        /* beta, threshold */
    FC_ELU,             /* factor of positive values, and of exp(x / c) - 1 (its gradient: of exp(x / c)), width c */
    FC_SILU,
    FC_MISH,
    FC_GELU,
    FC_GELU_TANH
};

/* What happens to a tile of sums on its way to memory. */
typedef struct fc_finish {
    int accumulate;          /* add to what C holds (a later chunk of the depth) */
    int final;               /* last chunk: add the bias and apply the activation */
    const void *row_bias;    /* rows reals, or NULL */
    const void *column_bias; /* columns reals, or NULL */
    int activation;          /* enum fc_activation */
    double slope;            /* FC_LEAKY_RELU: factor of negative values */
} fc_finish;

#endif
