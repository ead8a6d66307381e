/* What the tests of docs/mathematics.md share: one layer's forward and backward pass on numbers
 * given in logical order, in double, where it must agree to rounding with what the page says, and
 * in float with the kernels that the product would take. */
#ifndef LAMINA_TESTS_MATRIX_CHECKS_H
#define LAMINA_TESTS_MATRIX_CHECKS_H

#include "check/case.h"
#include "layers/builtin.h"
#include "registry/instance.h"
#include "support.h"

#include <math.h>

/* ---- Running one layer --------------------------------------------------------------------- */

enum { MOST = 512 }; /* elements of a tensor here */

/* Everything in logical row-major order. What comes before `out` is given, the rest
 * computed. */
typedef struct layer_run {
    double in[MOST], weight[2][MOST], d_out[MOST];
    double target[MOST]; /* of a loss, or */
    int32_t label[MOST];
    double out[MOST], d_in[MOST], d_weight[2][MOST], d_target[MOST];
    lamina_weight declared[2];
    int64_t n_out, n_in;
} layer_run;

typedef struct variant {
    const char *name;
    const lamina_layer_type *const *types;
    int32_t dtype;
    double tolerance;
} variant;

static const variant variants[] = {{"double", lamina__builtin_layers_f64, LAMINA_F64, 1e-12},
                                   {"float", lamina__builtin_layers, LAMINA_F32, 2e-5}};
enum { N_VARIANTS = 2 };

/* A tensor with memory of its own. */
typedef struct memory {
    lamina_tensor view;
    _Alignas(64) double data[MOST]; /* room enough for either type */
} memory;

/* Between logical order and the tensor's. A NULL `from`: the other way. */
static inline void copy(memory *m, const double *from, double *to) {
    const lamina_shape *shape = &m->view.shape;
    int64_t count = 1;
    for (int32_t d = 0; d < shape->ndim; d++) {
        count *= shape->dim[d];
    }
    CU_ASSERT_FATAL(count <= MOST);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = 0, rest = i;
        for (int32_t d = shape->ndim - 1; d >= 0; d--) {
            at += rest % shape->dim[d] * m->view.stride[d];
            rest /= shape->dim[d];
        }
        float *f = (float *)(void *)m->data + at;
        double *g = m->data + at;
        if (from == NULL) {
            to[i] = shape->dtype == LAMINA_F64 ? *g : (double)*f;
        } else if (shape->dtype == LAMINA_F64) {
            *g = from[i];
        } else {
            *f = (float)from[i];
        }
    }
}

static inline void make(memory *m, const lamina_shape *shape, const double *values) {
    memset(m->data, 0xff, sizeof(m->data)); /* NaN in both types */
    lamina__tensor_view(&m->view, shape, m->data);
    if (values != NULL) {
        copy(m, values, NULL);
    }
}

static inline void make_weight(memory *m, const lamina_weight *weight, const double *values) {
    static const double zeros[MOST];
    lamina__weight_view(&m->view, weight, m->data);
    copy(m, values != NULL ? values : zeros, NULL);
}

/* The memory of one run; static, as it is large and tests run one at a time. */
static memory in, out, d_in, d_out, saved[4], weight[2], d_weight[2], running[2], target, d_target;
static _Alignas(64) unsigned char packed[4][64 * 1024], scratch[1024 * 1024];

static inline void call_layer(lamina__instance *instance, layer_run *run) {
    const lamina_tensor *ins[] = {&in.view, &target.view}, *outs[] = {&out.view};
    const lamina_tensor *weights[] = {&weight[0].view, &weight[1].view};
    const lamina_tensor *saves[] = {&saved[0].view, &saved[1].view, &saved[2].view, &saved[3].view};
    const lamina_tensor *states[] = {&running[0].view, &running[1].view};
    const lamina_tensor *d_outs[] = {&d_out.view}, *d_ins[] = {&d_in.view, NULL};
    const bool labels = instance->n_in == 2 && instance->in[1].dtype == LAMINA_I32;
    const lamina_tensor *d_weights[] = {&d_weight[0].view, &d_weight[1].view};
    void *const packs[] = {packed[0], packed[1], packed[2], packed[3]};
    const lamina_io io = {.struct_size = sizeof(io),
                          .phase = LAMINA_TRAIN,
                          .parts = 1,
                          .samples = instance->in[0].dim[0],
                          .batch = instance->in[0].dim[0],
                          .in = ins,
                          .out = outs,
                          .weight = weights,
                          .state = states,
                          .saved = saves,
                          .d_out = d_outs,
                          .d_in = d_ins,
                          .d_weight = d_weights,
                          .packed = packs,
                          .scratch = scratch,
                          .target = labels ? &target.view : NULL}; /* numbers: of another layer */
    lamina_error error = {0};
    lamina__call call;

    make(&in, &instance->in[0], run->in);
    make(&out, &instance->out[0], NULL);
    make(&d_in, &instance->in[0], NULL);
    make(&d_out, &instance->out[0], run->d_out);
    if (instance->n_in == 2) {
        make(&target, &instance->in[1], labels ? NULL : run->target);
        make(&d_target, &instance->in[1], NULL);
    }
    if (labels) {
        memcpy(target.data, run->label, sizeof(run->label));
    } else if (instance->n_in == 2) {
        d_ins[1] = &d_target.view;
    }
    CU_ASSERT_FATAL(instance->n_saved <= 4 && instance->n_packed <= 4 && instance->n_weights <= 2);
    for (int32_t i = 0; i < instance->n_saved; i++) {
        make(&saved[i], &instance->saved[i].shape, NULL);
    }
    CU_ASSERT_FATAL(instance->n_states <= 2);
    for (int32_t i = 0; i < instance->n_states; i++) {
        static const double zeros[MOST];
        make(&running[i], &instance->states[i].shape, zeros);
    }
    for (int32_t i = 0; i < instance->n_packed; i++) {
        CU_ASSERT_FATAL(instance->packed[i].bytes <= sizeof(packed[i]));
    }
    CU_ASSERT_FATAL(instance->scratch_bytes <= sizeof(scratch));
    for (int32_t i = 0; i < instance->n_weights; i++) {
        make_weight(&weight[i], &instance->weights[i], run->weight[i]);
        make_weight(&d_weight[i], &instance->weights[i], NULL);
        run->declared[i] = instance->weights[i];
        run->declared[i].name = NULL; /* the instance's own */
    }
    lamina__call_init(&call, instance, &error);
    CU_ASSERT_EQUAL_FATAL(lamina__instance_prepare(instance, &call, &io), LAMINA_OK);
    CU_ASSERT_EQUAL_FATAL(lamina__instance_forward(instance, &call, &io), LAMINA_OK);
    CU_ASSERT_EQUAL_FATAL(lamina__instance_backward(instance, &call, &io), LAMINA_OK);
    copy(&out, NULL, run->out);
    copy(&d_in, NULL, run->d_in);
    if (d_ins[1] != NULL) {
        copy(&d_target, NULL, run->d_target);
    }
    for (int32_t i = 0; i < instance->n_weights; i++) {
        copy(&d_weight[i], NULL, run->d_weight[i]);
    }
}

/* Forward and backward of the layer `type`, its inputs and parameters given as in a case. */
static inline void run_layer(const variant *v, const char *type, const char *text, layer_run *run) {
    const char *const any[LAMINA__N_PASSES] = {NULL, NULL, NULL};
    lamina__type_entry entry = {.type = NULL};
    lamina__instance *instance = NULL;
    lamina_error error = {0};
    lamina__case from;

    for (size_t i = 0; v->types[i] != NULL; i++) {
        if (strcmp(v->types[i]->name, type) == 0) {
            entry.type = v->types[i];
        }
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(entry.type);
    CU_ASSERT_EQUAL_FATAL(lamina__case_read(&entry, text, &from, &error), LAMINA_OK);
    for (int32_t i = 0; i < from.n_in; i++) {
        from.in[i].dtype = from.in[i].dtype == LAMINA_I32 ? LAMINA_I32 : v->dtype;
    }
    const int64_t samples[] = {from.in[0].dim[0]};
    const lamina__cut cut = {
        .training = 1, .shards = 1, .threads = 1, .n_samples = 1, .samples = samples};
    CU_ASSERT_EQUAL_FATAL(
        lamina__instance_create(&entry, "layer", NULL, 0, 1, from.config, &instance, &error),
        LAMINA_OK);
    lamina_status status = lamina__instance_setup(instance, from.n_in, from.in, &cut, &error);
    if (status == LAMINA_OK) {
        status = lamina__instance_bind(instance, any, 0, &error);
    }
    if (status != LAMINA_OK) {
        printf("\n      %s: %s", v->name, error.message);
    }
    CU_ASSERT_EQUAL_FATAL(status, LAMINA_OK);
    call_layer(instance, run);
    lamina__instance_free(instance);
    lamina__case_free(&from);
}

/* ---- Numbers and comparisons --------------------------------------------------------------- */

/* Distinct numbers in (-1, 1) that are exact in float. */
static inline void draw(double *x, size_t n, uint32_t seed) {
    uint32_t state = seed * 2654435761U + 12345;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525U + 1013904223U;
        x[i] = ((double)(state >> 16) + 0.5) / 32768 - 1;
    }
}

static inline void draw_run(layer_run *run, uint32_t seed) {
    draw(run->in, MOST, seed);
    draw(run->weight[0], MOST, seed + 1);
    draw(run->weight[1], MOST, seed + 2);
    draw(run->d_out, MOST, seed + 3);
    draw(run->target, MOST, seed + 4);
}

#define SAME(v, got, expected, n) same((v), (got), (expected), (n), #got, __LINE__)

/* Says so when not. */
static inline bool same(const variant *v, const double *got, const double *expected, size_t n,
                        const char *what, int line) {
    for (size_t i = 0; i < n; i++) {
        if (!(fabs(got[i] - expected[i]) <= v->tolerance * fmax(1, fabs(expected[i])))) {
            printf("\n      line %d, %s: %s[%zu] is %.17g, expected %.17g", line, v->name, what, i,
                   got[i], expected[i]);
            CU_FAIL("the layer is its matrix");
            return false;
        }
    }
    CU_PASS("the layer is its matrix");
    return true;
}

/* y = A x, A: (rows, cols); with `transposed`, y = A^T x. */
static inline void multiply(const double *a, size_t rows, size_t cols, bool transposed,
                            const double *x, double *y) {
    memset(y, 0, (transposed ? cols : rows) * sizeof(*y));
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            y[transposed ? j : i] += a[i * cols + j] * x[transposed ? i : j];
        }
    }
}

#endif
