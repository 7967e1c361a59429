/* Convolutions on a thread that Python has not made: compiled by test_c_api.py. */
#define PY_SSIZE_T_CLEAN
#include <fastconv.h>
#include <pthread.h>
#include <string.h>

/* "ok", or what went wrong. */
static char said[600];

static void *work(void *unused)
{
    const int64_t x_shape[4] = {1, 2, 9, 9}, w_shape[4] = {3, 2, 5, 5}, y_shape[4] = {1, 3, 5, 5};
    static float x[162], w[150], y[75];
    const char *const algorithms[3] = {NULL, "reference", "fft"};
    for (int i = 0; i < 162; i++) x[i] = 1;
    for (int i = 0; i < 150; i++) w[i] = 1;
    for (int i = 0; i < 3; i++) {
        const fastconv_conv_options options = {.algorithm = algorithms[i], .passes = FASTCONV_FORWARD};
        const fastconv_array input = fastconv_dense(x, FASTCONV_FLOAT32, 4, x_shape);
        const fastconv_array weight = fastconv_dense(w, FASTCONV_FLOAT32, 4, w_shape);
        const fastconv_array output = fastconv_dense(y, FASTCONV_FLOAT32, 4, y_shape);
        fastconv_conv *plan;
        memset(y, 0, sizeof y);
        int code = fastconv_conv_plan(4, x_shape, w_shape, &options, &plan);
        if (code == FASTCONV_OK) code = fastconv_conv_forward(plan, &input, &weight, NULL, &output);
        if (code != FASTCONV_OK || y[0] < 49.99 || y[74] > 50.01) {
            snprintf(said, sizeof said, "%d: %s", i, fastconv_error());
            return unused;
        }
        if (fastconv_conv_forward(plan, &weight, &weight, NULL, &output) != FASTCONV_INVALID) return unused;
        fastconv_conv_free(plan);
    }
    strcpy(said, "ok");
    return unused;
}

static PyObject *elsewhere(PyObject *module, PyObject *unused)
{
    pthread_t thread;
    Py_BEGIN_ALLOW_THREADS
    if (pthread_create(&thread, NULL, work, NULL) == 0) pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS
    return PyUnicode_FromString(said);
}

static PyMethodDef methods[] = {{"run", elsewhere, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "elsewhere", .m_methods = methods
};
PyMODINIT_FUNC PyInit_elsewhere(void)
{
    return fastconv_import() == 0 ? PyModule_Create(&definition) : NULL;
}
