/* gelu: y = x P(x), P the distribution function of the standard normal; any shape.
 *
 *   exact   P(x) = (1 + erf(x / sqrt 2)) / 2         dx = dy (P(x) + x exp(-x^2 / 2) / sqrt(2 pi))
 *   tanh    P(x) = (1 + t) / 2                       dx = dy (P(x) + x (1 - t^2) u'(x) / 2)
 *           t = tanh(u(x)), u(x) = sqrt(2 / pi) (x + 0.044715 x^3)
 *
 * Hendrycks and Gimpel 2016. */
#include "layers/elementwise.h"
#include "layers/vector_math.h"

typedef struct gelu_config {
    int32_t approximate;
} gelu_config;

#define FIELD(name) offsetof(gelu_config, name)

enum { EXACT, TANH };
static const char *const ways[] = {"none", "tanh", NULL};

static const lamina_param params[] = {
    {.name = "approximate",
     .doc = "`none`: by the error function; `tanh`: by a formula with tanh that is close to it.",
     .type = LAMINA_ENUM,
     .offset = FIELD(approximate),
     .def = "none",
     .choices = ways},
};

static const lamina_real half = (lamina_real)0.5, cubic = (lamina_real)0.044715;
static const lamina_real sqrt_half = (lamina_real)0.70710678118654752440;
static const lamina_real sqrt_2_pi = (lamina_real)0.79788456080286535588;
static const lamina_real density = (lamina_real)0.39894228040143267794; /* 1 / sqrt(2 pi) */

static inline lamina_real inner(lamina_real x) {
    return sqrt_2_pi * (x + cubic * x * x * x);
}

LAMINA__VECTOR_CLONES
static void forward_exact(const lamina_real *x, lamina_real *y, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] * (1 + lamina__vector_erf(x[i] * sqrt_half)) * half;
    }
}

LAMINA__VECTOR_CLONES
static void forward_tanh(const lamina_real *x, lamina_real *y, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] * (1 + lamina__vector_tanh(inner(x[i]))) * half;
    }
}

LAMINA__VECTOR_CLONES
static void backward_exact(const lamina_real *x, const lamina_real *dy, lamina_real *dx,
                           int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const lamina_real t = lamina__vector_erf(x[i] * sqrt_half);
        const lamina_real slope = 2 * density * lamina__vector_exp(-half * x[i] * x[i]);
        dx[i] = dy[i] * half * (1 + t + x[i] * slope);
    }
}

LAMINA__VECTOR_CLONES
static void backward_tanh(const lamina_real *x, const lamina_real *dy, lamina_real *dx, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const lamina_real t = lamina__vector_tanh(inner(x[i]));
        const lamina_real slope = (1 - t * t) * sqrt_2_pi * (1 + 3 * cubic * x[i] * x[i]);
        dx[i] = dy[i] * half * (1 + t + x[i] * slope);
    }
}

static void forward_row(const void *config, const lamina_real *x, lamina_real *y, int64_t n) {
    const gelu_config *c = config;
    if (c->approximate == EXACT) {
        forward_exact(x, y, n);
    } else {
        forward_tanh(x, y, n);
    }
}

static void backward_row(const void *config, const lamina_real *x, const lamina_real *dy,
                         lamina_real *dx, int64_t n) {
    const gelu_config *c = config;
    if (c->approximate == EXACT) {
        backward_exact(x, dy, dx, n);
    } else {
        backward_tanh(x, dy, dx, n);
    }
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(elementwise_run_forward)(self, call, io, forward_row);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(elementwise_run_backward)(self, call, io, backward_row, 0);
}

static const char *const cases[] = {"{input: [3, 7]}",
                                    "{input: [2, 3, 5, 4], params: {approximate: tanh}}",
                                    "{input: [4, 10], range: [-30, 30]}", NULL};

const lamina_layer_type LAMINA__LAYER(gelu) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "gelu",
    .doc = "Gaussian error linear unit: x times the normal distribution function of x.",
    .flags = LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(gelu_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = LAMINA__REAL_NAME(elementwise_create),
    .setup = LAMINA__REAL_NAME(elementwise_setup),
    .forward = forward,
    .backward = backward,
    .cases = cases};
