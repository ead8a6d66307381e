/* clip: y = x, no less than min and no more than max, element by element, any shape.
 *
 *   dx = dy where min < y < max, else 0
 *
 * so backward reads the output, and both passes can work in place. A NaN stays a NaN.
 * {min: 0, max: 6} is relu6. */
#include "layers/clip.h"
#include "layers/elementwise.h"

#define FIELD(name) offsetof(lamina__clip_config, name)

static const lamina_param params[] = {
    {.name = "min",
     .doc = "The least value.",
     .type = LAMINA_REAL,
     .offset = FIELD(min),
     .min = -1e30,
     .max = 1e30,
     .required = 1},
    {.name = "max",
     .doc = "The largest value.",
     .type = LAMINA_REAL,
     .offset = FIELD(max),
     .min = -1e30,
     .max = 1e30,
     .required = 1},
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    const lamina__clip_config *c = config;
    if (c->min > c->max) {
        return call->host->fail(call, LAMINA_ERROR_CONFIG, "min %g is more than max %g", c->min,
                                c->max);
    }
    return LAMINA__REAL_NAME(elementwise_create)(call, config, self);
}

LAMINA__VECTOR_CLONES
static void forward_row(const void *config, const lamina_real *x, lamina_real *y, int64_t n) {
    const lamina__clip_config *c = config;
    const lamina_real least = (lamina_real)c->min, most = (lamina_real)c->max;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] < least ? least : x[i] > most ? most : x[i];
    }
}

LAMINA__VECTOR_CLONES
static void backward_row(const void *config, const lamina_real *y, const lamina_real *dy,
                         lamina_real *dx, int64_t n) {
    const lamina__clip_config *c = config;
    const lamina_real least = (lamina_real)c->min, most = (lamina_real)c->max;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        dx[i] = y[i] <= least || y[i] >= most ? 0 : dy[i];
    }
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(elementwise_run_forward)(self, call, io, forward_row);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(elementwise_run_backward)(self, call, io, backward_row, 1);
}

static const char *const cases[] = {"{input: [3, 7], params: {min: -0.5, max: 0.5}}",
                                    "{input: [2, 3, 5, 4], params: {min: 0, max: 6}}", NULL};

const lamina_layer_type LAMINA__LAYER(clip) = {.struct_size = sizeof(lamina_layer_type),
                                               .name = "clip",
                                               .doc = "Keeps values between min and max.",
                                               .flags = LAMINA_NEEDS_OUTPUT | LAMINA_IN_PLACE,
                                               .state_version = 1,
                                               .min_in = 1,
                                               .max_in = 1,
                                               .n_out = 1,
                                               .config_size = sizeof(lamina__clip_config),
                                               .n_params = sizeof params / sizeof *params,
                                               .param_stride = sizeof(lamina_param),
                                               .params = params,
                                               .create = create,
                                               .setup = LAMINA__REAL_NAME(elementwise_setup),
                                               .forward = forward,
                                               .backward = backward,
                                               .cases = cases};
