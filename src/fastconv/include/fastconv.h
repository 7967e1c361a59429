/* fastconv from C: whole convolutions and poolings and their gradients, without the GIL. See docs/from-c.md.
 *
 * The engine is a module of Python, so there is nothing to link: fastconv_import() finds its functions. It is
 * called first, once in every source file that includes this header, and needs the GIL. No other function
 * does: each may be called on any thread, of Python or not, with the GIL or without it. Those that make or free
 * a plan take the GIL while they last. Those that compute take it only to report an error, to look for Ctrl-C in
 * long calls, for plans by the algorithms "fft" and "reference", which work on Python objects, and for a moment
 * at both ends on a thread that Python has not seen. Whoever holds the GIL may release it around any call.
 *
 * Functions return FASTCONV_OK or a negative code, and fastconv_error() says in words what was wrong. A call
 * that is refused has written nothing. A plan never changes, and any number of threads may share it.
 */
#ifndef FASTCONV_H
#define FASTCONV_H

#include <Python.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FASTCONV_API_VERSION 1  /* functions are only ever added, at the table's end, with a higher number */

enum {
    FASTCONV_OK = 0,
    FASTCONV_INVALID = -1,      /* an argument: fastconv_error() names it, its value and the rule */
    FASTCONV_NO_MEMORY = -2,
    FASTCONV_INTERRUPTED = -3,  /* by Ctrl-C: results are incomplete, KeyboardInterrupt is yours to raise */
    FASTCONV_FAILED = -4        /* anything else */
};

typedef enum fastconv_dtype { FASTCONV_FLOAT32 = 1, FASTCONV_FLOAT64 = 2, FASTCONV_INT64 = 3 } fastconv_dtype;

enum { FASTCONV_FORWARD = 1, FASTCONV_INPUT_GRADIENT = 2, FASTCONV_WEIGHT_GRADIENT = 4 };

/* An array of yours, (N, C, *spatial) with one to three spatial axes; weights are (K, C/groups, *kernel). */
typedef struct fastconv_array {
    void *data;                 /* its first element; what is an input is not written to */
    fastconv_dtype dtype;       /* float32 or float64, the same in all arrays of a call; of indices int64 */
    int ndim;                   /* 3, 4 or 5 */
    int64_t shape[5];
    int64_t strides[5];         /* in elements; of inputs any, of results none that goes backwards */
} fastconv_array;

typedef struct fastconv_conv fastconv_conv;  /* plans: how something of these shapes is computed */
typedef struct fastconv_pool fastconv_pool;

/* Parameters of a convolution, as of fastconv.conv2d, per spatial axis; zero is the default of each. */
typedef struct fastconv_conv_options {
    int64_t stride[3], dilation[3];    /* 0: 1 */
    int64_t padding[3][2];             /* before and after */
    int64_t groups;                    /* 0: 1 */
    const char *activation;            /* "relu", "leaky_relu" or "relu6", of the forward pass; NULL: none */
    const char *algorithm;             /* NULL: "auto" */
    const char *precision;             /* "highest", "high" or "medium"; NULL: what fastconv.precision says */
    int passes;                        /* FASTCONV_FORWARD | ...: what the plan is for; 0: all three */
} fastconv_conv_options;

/* Parameters of a pooling, as of fastconv.max_pool2d and avg_pool2d; zero is the default of each. */
typedef struct fastconv_pool_options {
    int64_t stride[3];                 /* 0: the window's size */
    int64_t dilation[3];               /* 0: 1 */
    int64_t padding[3][2];
    int ceil_mode;
    int exclude_pad;                   /* an average does not count padding */
    int64_t divisor;                   /* what an average divides by; 0: the window's elements */
} fastconv_pool_options;

/* What fastconv_import() finds; call it by the names below, fastconv_conv_plan(...) and so on. */
typedef struct fastconv_functions {
    int version;

    /* What went wrong in the last call on this thread that did not return FASTCONV_OK. */
    const char *(*error)(void);
    /* Threads of a large call, for the whole process: fastconv.set_num_threads. */
    int (*get_num_threads)(void);
    int (*set_num_threads)(int count);

    /* Plans. `options` may be NULL; `*plan` is NULL unless FASTCONV_OK is returned. Free each once. */
    int (*conv_plan)(int ndim, const int64_t *input_shape, const int64_t *weight_shape,
                     const fastconv_conv_options *options, fastconv_conv **plan);
    int (*pool_plan)(int ndim, const int64_t *input_shape, const int64_t *kernel_size,
                     const fastconv_pool_options *options, fastconv_pool **plan);
    void (*conv_free)(fastconv_conv *plan);
    void (*pool_free)(fastconv_pool *plan);
    /* The shape of the output, as many numbers as the plan has axes. */
    int (*conv_output_shape)(const fastconv_conv *plan, int64_t *shape);
    int (*pool_output_shape)(const fastconv_pool *plan, int64_t *shape);

    /* output = activation(input convolved with weight + bias). `bias`: K elements side by side, or NULL. */
    int (*conv_forward)(const fastconv_conv *plan, const fastconv_array *input, const fastconv_array *weight,
                        const void *bias, const fastconv_array *output);
    int (*conv_input_gradient)(const fastconv_conv *plan, const fastconv_array *weight,
                               const fastconv_array *grad_output, const fastconv_array *grad_input);
    int (*conv_weight_gradient)(const fastconv_conv *plan, const fastconv_array *input,
                                const fastconv_array *grad_output, const fastconv_array *grad_weight);

    /* Results of pooling lie without gaps, in the memory order of what they are made from, channels-last too.
     * `indices`: where in its plane each maximum is, or NULL. */
    int (*max_pool)(const fastconv_pool *plan, const fastconv_array *input, const fastconv_array *output,
                    const fastconv_array *indices);
    int (*max_pool_gradient)(const fastconv_pool *plan, const fastconv_array *grad_output,
                             const fastconv_array *indices, const fastconv_array *grad_input);
    int (*avg_pool)(const fastconv_pool *plan, const fastconv_array *input, const fastconv_array *output);
    int (*avg_pool_gradient)(const fastconv_pool *plan, const fastconv_array *grad_output,
                             const fastconv_array *grad_input);
} fastconv_functions;

#ifndef FASTCONV_IMPLEMENTATION  /* which is fastconv's own */

static const fastconv_functions *fastconv_found = NULL;

/* Import fastconv and find its functions. Needs the GIL; 0, or -1 with a Python exception set. */
static inline int fastconv_import(void)
{
    const fastconv_functions *found;
    PyObject *module = PyImport_ImportModule("fastconv.c_api"), *capsule;
    if (!module) return -1;
    capsule = PyObject_GetAttrString(module, "functions");
    Py_DECREF(module);
    if (!capsule) return -1;
    found = (const fastconv_functions *)PyCapsule_GetPointer(capsule, "fastconv.c_api.functions");
    Py_DECREF(capsule);
    if (!found) return -1;
    if (found->version < FASTCONV_API_VERSION) {
        PyErr_Format(PyExc_ImportError, "fastconv.h of version %d, but the fastconv installed has %d",
                     FASTCONV_API_VERSION, found->version);
        return -1;
    }
    fastconv_found = found;
    return 0;
}

/* An array whose elements lie side by side, the last axis fastest. */
static inline fastconv_array fastconv_dense(const void *data, fastconv_dtype dtype, int ndim,
                                            const int64_t *shape)
{
    fastconv_array array = {(void *)data, dtype, ndim, {0}, {0}};
    int64_t step = 1;
    int axis;
    for (axis = ndim <= 5 ? ndim - 1 : -1; axis >= 0; axis--) {
        array.shape[axis] = shape[axis];
        array.strides[axis] = step;
        step *= shape[axis];
    }
    return array;
}

#define fastconv_error (fastconv_found->error)
#define fastconv_get_num_threads (fastconv_found->get_num_threads)
#define fastconv_set_num_threads (fastconv_found->set_num_threads)
#define fastconv_conv_plan (fastconv_found->conv_plan)
#define fastconv_pool_plan (fastconv_found->pool_plan)
#define fastconv_conv_free (fastconv_found->conv_free)
#define fastconv_pool_free (fastconv_found->pool_free)
#define fastconv_conv_output_shape (fastconv_found->conv_output_shape)
#define fastconv_pool_output_shape (fastconv_found->pool_output_shape)
#define fastconv_conv_forward (fastconv_found->conv_forward)
#define fastconv_conv_input_gradient (fastconv_found->conv_input_gradient)
#define fastconv_conv_weight_gradient (fastconv_found->conv_weight_gradient)
#define fastconv_max_pool (fastconv_found->max_pool)
#define fastconv_max_pool_gradient (fastconv_found->max_pool_gradient)
#define fastconv_avg_pool (fastconv_found->avg_pool)
#define fastconv_avg_pool_gradient (fastconv_found->avg_pool_gradient)

#endif

#ifdef __cplusplus
}
#endif

#endif
