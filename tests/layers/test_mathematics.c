/* The matrices of docs/mathematics.md, built one number at a time, against the layers: in double,
 * where they must agree to rounding, and in float with the kernels that the product would take. */
#include "../support.h"

#include "check/case.h"
#include "layers/builtin.h"
#include "registry/instance.h"

#include <math.h>

/* ---- Running one layer --------------------------------------------------------------------- */

enum { MOST = 512 }; /* elements of a tensor here */

/* Everything in logical row-major order. The first three are given, the others computed. */
typedef struct layer_run {
    double in[MOST], weight[2][MOST], d_out[MOST];
    int32_t label[MOST];
    double out[MOST], d_in[MOST], d_weight[2][MOST];
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
static void copy(memory *m, const double *from, double *to) {
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

static void make(memory *m, const lamina_shape *shape, const double *values) {
    memset(m->data, 0xff, sizeof(m->data)); /* NaN in both types */
    lamina__tensor_view(&m->view, shape, m->data);
    if (values != NULL) {
        copy(m, values, NULL);
    }
}

static void make_weight(memory *m, const lamina_weight *weight, const double *values) {
    static const double zeros[MOST];
    lamina__weight_view(&m->view, weight, m->data);
    copy(m, values != NULL ? values : zeros, NULL);
}

/* The memory of one run; static, as it is large and tests run one at a time. */
static memory in, out, d_in, d_out, saved[4], weight[2], d_weight[2], running[2], labels;
static _Alignas(64) unsigned char packed[4][64 * 1024], scratch[1024 * 1024];

static void call_layer(lamina__instance *instance, layer_run *run) {
    const lamina_tensor *ins[] = {&in.view, &labels.view}, *outs[] = {&out.view};
    const lamina_tensor *weights[] = {&weight[0].view, &weight[1].view};
    const lamina_tensor *saves[] = {&saved[0].view, &saved[1].view, &saved[2].view, &saved[3].view};
    const lamina_tensor *states[] = {&running[0].view, &running[1].view};
    const lamina_tensor *d_outs[] = {&d_out.view}, *d_ins[] = {&d_in.view, NULL};
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
                          .scratch = scratch};
    lamina_error error = {0};
    lamina__call call;

    make(&in, &instance->in[0], run->in);
    make(&out, &instance->out[0], NULL);
    make(&d_in, &instance->in[0], NULL);
    make(&d_out, &instance->out[0], run->d_out);
    if (instance->n_in == 2) {
        make(&labels, &instance->in[1], NULL);
        memcpy(labels.data, run->label, sizeof(run->label));
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
    for (int32_t i = 0; i < instance->n_weights; i++) {
        copy(&d_weight[i], NULL, run->d_weight[i]);
    }
}

/* Forward and backward of the layer `type`, its inputs and parameters given as in a case. */
static void run_layer(const variant *v, const char *type, const char *text, layer_run *run) {
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
    from.in[0].dtype = v->dtype;
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
static void draw(double *x, size_t n, uint32_t seed) {
    uint32_t state = seed * 2654435761U + 12345;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525U + 1013904223U;
        x[i] = ((double)(state >> 16) + 0.5) / 32768 - 1;
    }
}

static void draw_run(layer_run *run, uint32_t seed) {
    draw(run->in, MOST, seed);
    draw(run->weight[0], MOST, seed + 1);
    draw(run->weight[1], MOST, seed + 2);
    draw(run->d_out, MOST, seed + 3);
}

#define SAME(v, got, expected, n) same((v), (got), (expected), (n), #got, __LINE__)

static void same(const variant *v, const double *got, const double *expected, size_t n,
                 const char *what, int line) {
    for (size_t i = 0; i < n; i++) {
        if (!(fabs(got[i] - expected[i]) <= v->tolerance * fmax(1, fabs(expected[i])))) {
            printf("\n      line %d, %s: %s[%zu] is %.17g, expected %.17g", line, v->name, what, i,
                   got[i], expected[i]);
            CU_FAIL("the layer is its matrix");
            return;
        }
    }
    CU_PASS("the layer is its matrix");
}

/* y = A x, A: (rows, cols); with `transposed`, y = A^T x. */
static void multiply(const double *a, size_t rows, size_t cols, bool transposed, const double *x,
                     double *y) {
    memset(y, 0, (transposed ? cols : rows) * sizeof(*y));
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            y[transposed ? j : i] += a[i * cols + j] * x[transposed ? i : j];
        }
    }
}

/* ---- Convolution --------------------------------------------------------------------------- */

/* C of a 3x3 filter on a 4x4 image, written down as on the page. */
static void matrix_of(const double *w, double c[4][16]) {
    const double rows[4][16] = {
        {w[0], w[1], w[2], 0, w[3], w[4], w[5], 0, w[6], w[7], w[8], 0, 0, 0, 0, 0},
        {0, w[0], w[1], w[2], 0, w[3], w[4], w[5], 0, w[6], w[7], w[8], 0, 0, 0, 0},
        {0, 0, 0, 0, w[0], w[1], w[2], 0, w[3], w[4], w[5], 0, w[6], w[7], w[8], 0},
        {0, 0, 0, 0, 0, w[0], w[1], w[2], 0, w[3], w[4], w[5], 0, w[6], w[7], w[8]}};
    memcpy(c, rows, sizeof(rows));
}

static void test_convolution_is_a_matrix(void) {
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        draw_run(&r, 1);
        const double b = r.weight[1][0];
        double c[4][16], y[4], dx[16], db = 0;

        matrix_of(r.weight[0], c);
        run_layer(&variants[i], "conv", "{input: [1, 1, 4, 4], params: {filters: 1, kernel: 3}}",
                  &r);
        multiply(&c[0][0], 4, 16, false, r.in, y);
        for (size_t j = 0; j < 4; j++) {
            y[j] += b;
            db += r.d_out[j];
        }
        SAME(&variants[i], r.out, y, 4);
        multiply(&c[0][0], 4, 16, true, r.d_out, dx);
        SAME(&variants[i], r.d_in, dx, 16);
        SAME(&variants[i], r.d_weight[1], &db, 1);
    }
}

/* The same C, transposed, makes a 4x4 image of a 2x2 one: y = C^T x + b, dx = C dy. */
static void test_transposed_convolution(void) {
    static layer_run r, of_conv;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double c[4][16], y[16], dx[4], db = 0;
        draw_run(&r, 12);
        matrix_of(r.weight[0], c);
        run_layer(&variants[i], "conv_transpose",
                  "{input: [1, 1, 2, 2], params: {filters: 1, kernel: 3}}", &r);
        multiply(&c[0][0], 4, 16, true, r.in, y);
        for (size_t p = 0; p < 16; p++) {
            y[p] += r.weight[1][0];
            db += r.d_out[p];
        }
        SAME(&variants[i], r.out, y, 16);
        multiply(&c[0][0], 4, 16, false, r.d_out, dx);
        SAME(&variants[i], r.d_in, dx, 4);
        SAME(&variants[i], r.d_weight[1], &db, 1);
        /* the filter's gradient is that of the convolution of dy, with the gradient x */
        draw_run(&of_conv, 13);
        memcpy(of_conv.in, r.d_out, sizeof(r.d_out));
        memcpy(of_conv.d_out, r.in, sizeof(r.in));
        run_layer(&variants[i], "conv", "{input: [1, 1, 4, 4], params: {filters: 1, kernel: 3}}",
                  &of_conv);
        SAME(&variants[i], r.d_weight[0], of_conv.d_weight[0], 9);
    }
}

/* A convolution of one sample, y = A x + b and A x = P w: A is (n_y, n_x), P (n_y, n_w), and so
 * many neighbours in y share a number of b. The run's output and gradients are those products. */
static void same_as_matrices(const variant *v, const layer_run *r, const double *a, const double *p,
                             size_t n_y, size_t n_x, size_t n_w, size_t neighbours) {
    static double y[MOST], dx[MOST], dw[MOST], db[MOST];
    memset(db, 0, sizeof(db));
    multiply(a, n_y, n_x, false, r->in, y);
    for (size_t q = 0; q < n_y; q++) {
        y[q] += r->weight[1][q / neighbours];
        db[q / neighbours] += r->d_out[q];
    }
    SAME(v, r->out, y, n_y);
    multiply(a, n_y, n_x, true, r->d_out, dx);
    SAME(v, r->d_in, dx, n_x);
    multiply(p, n_y, n_w, true, r->d_out, dw);
    SAME(v, r->d_weight[0], dw, n_w);
    SAME(v, r->d_weight[1], db, n_y / neighbours);
}

/* Channels, stride, padding, dilation and output padding: C^T for one sample, (3*8*10) x (2*3*4),
 * and the matrix of y as a function of the filters, (3*8*10) x (2*3*3*2). */
static void test_transposed_with_everything(void) {
    enum { I = 2, H = 3, W = 4, O = 3, KH = 3, KW = 2, OH = 8, OW = 10 };
    static double a[O * OH * OW][I * H * W], p[O * OH * OW][I * O * KH * KW];
    static layer_run r;

    for (size_t n = 0; n < N_VARIANTS; n++) {
        draw_run(&r, 14);
        memset(a, 0, sizeof(a));
        memset(p, 0, sizeof(p));
        for (int k = 0; k < I * O * KH * KW; k++) {
            const int v = k % KW, u = k / KW % KH, o = k / (KW * KH) % O, c = k / (KW * KH * O);
            for (int at = 0; at < H * W; at++) {
                const int row = at / W * 2 + u * 2 - 1, column = at % W * 3 + v - 1;
                const int q = (o * OH + row) * OW + column, from = c * H * W + at;
                if (row >= 0 && row < OH && column >= 0 && column < OW) {
                    a[q][from] += r.weight[0][k];
                    p[q][k] += r.in[from];
                }
            }
        }
        run_layer(&variants[n], "conv_transpose",
                  "{input: [1, 2, 3, 4], params: {filters: 3, kernel: [3, 2], stride: [2, 3],"
                  " padding: 1, dilation: [2, 1], output_padding: [1, 1]}}",
                  &r);
        same_as_matrices(&variants[n], &r, &a[0][0], &p[0][0], O * OH * OW, I * H * W,
                         I * O * KH * KW, OH * OW);
        CU_ASSERT_EQUAL(r.declared[0].init.fan_in, I * KH * KW);
        CU_ASSERT_EQUAL(r.declared[0].init.fan_out, O * KH * KW);
    }
}

/* Channels, stride, padding and dilation: C for one sample, (3*2*3) x (2*5*6), and the matrix of y
 * as a function of the filters, (3*2*3) x (3*2*3*2). */
static void test_convolution_with_everything(void) {
    enum { I = 2, H = 5, W = 6, O = 3, KH = 3, KW = 2, OH = 2, OW = 3 };
    static double c[O * OH * OW][I * H * W], p[O * OH * OW][O * I * KH * KW];
    static layer_run r;

    for (size_t n = 0; n < N_VARIANTS; n++) {
        draw_run(&r, 2);
        memset(c, 0, sizeof(c));
        memset(p, 0, sizeof(p));
        for (int o = 0; o < O; o++) {
            for (int at = 0; at < OH * OW * I * KH * KW; at++) {
                const int v = at % KW, u = at / KW % KH, ch = at / (KW * KH) % I;
                const int j = at / (KW * KH * I) % OW, i = at / (KW * KH * I * OW);
                const int row = i * 2 + u * 2 - 1, column = j * 3 + v - 1; /* strides, dilation */
                const int k = ((o * I + ch) * KH + u) * KW + v, q = (o * OH + i) * OW + j;
                if (row >= 0 && row < H && column >= 0 && column < W) {
                    c[q][(ch * H + row) * W + column] = r.weight[0][k];
                    p[q][k] = r.in[(ch * H + row) * W + column];
                }
            }
        }
        run_layer(&variants[n], "conv",
                  "{input: [1, 2, 5, 6], params: {filters: 3, kernel: [3, 2], stride: [2, 3],"
                  " padding: 1, dilation: [2, 1]}}",
                  &r);
        same_as_matrices(&variants[n], &r, &c[0][0], &p[0][0], O * OH * OW, I * H * W,
                         O * I * KH * KW, OH * OW);
        CU_ASSERT_EQUAL(r.declared[0].init.fan_in, I * KH * KW);
        CU_ASSERT_EQUAL(r.declared[0].init.fan_out, O * KH * KW);
    }
}

/* ---- Products of matrices ------------------------------------------------------------------ */

/* dX = dY W, dW = dY^T X, db = dY^T 1, on an image, whose logical order is C, H, W. */
static void test_dimension_rule(void) {
    enum { N = 3, F = 12, O = 5 };
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double y[N * O], dx[N * F], dw[O * F] = {0}, db[O] = {0};
        draw_run(&r, 3);
        run_layer(&variants[i], "linear", "{input: [3, 2, 3, 2], params: {units: 5}}", &r);
        for (size_t n = 0; n < N; n++) {
            multiply(r.weight[0], O, F, false, r.in + n * F, y + n * O);
            multiply(r.weight[0], O, F, true, r.d_out + n * O, dx + n * F);
            for (size_t o = 0; o < O; o++) {
                y[n * O + o] += r.weight[1][o];
                db[o] += r.d_out[n * O + o];
                for (size_t f = 0; f < F; f++) {
                    dw[o * F + f] += r.d_out[n * O + o] * r.in[n * F + f];
                }
            }
        }
        SAME(&variants[i], r.out, y, N * O);
        SAME(&variants[i], r.d_in, dx, N * F);
        SAME(&variants[i], r.d_weight[0], dw, O * F);
        SAME(&variants[i], r.d_weight[1], db, O);
    }
}

/* Z = V (W x + b) + c: the gradient at x goes back through both, dx = (V W)^T dz. */
static void test_chain_rule(void) {
    enum { F = 4, M = 3, O = 2 };
    static layer_run first, second;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double vw[O * F] = {0}, z[O], vb[O], dx[F], dw[M * F];
        draw_run(&first, 4);
        draw_run(&second, 5);
        run_layer(&variants[i], "linear", "{input: [1, 4], params: {units: 3}}", &first);
        memcpy(second.in, first.out, sizeof(first.out));
        run_layer(&variants[i], "linear", "{input: [1, 3], params: {units: 2}}", &second);
        memcpy(first.d_out, second.d_in, sizeof(second.d_in));
        run_layer(&variants[i], "linear", "{input: [1, 4], params: {units: 3}}", &first);

        for (size_t o = 0; o < O; o++) {
            for (size_t m = 0; m < M; m++) {
                for (size_t f = 0; f < F; f++) {
                    vw[o * F + f] += second.weight[0][o * M + m] * first.weight[0][m * F + f];
                }
            }
        }
        multiply(vw, O, F, false, first.in, z);
        multiply(second.weight[0], O, M, false, first.weight[1], vb);
        for (size_t o = 0; o < O; o++) {
            z[o] += vb[o] + second.weight[1][o];
        }
        SAME(&variants[i], second.out, z, O);
        multiply(vw, O, F, true, second.d_out, dx);
        SAME(&variants[i], first.d_in, dx, F);
        for (size_t m = 0; m < M; m++) { /* dW = (V^T dz) x^T */
            for (size_t f = 0; f < F; f++) {
                dw[m * F + f] = (second.weight[0][m] * second.d_out[0] +
                                 second.weight[0][M + m] * second.d_out[1]) *
                                first.in[f];
            }
        }
        SAME(&variants[i], first.d_weight[0], dw, M * F);
    }
}

/* L = |Xw - t|^2 / 2 has the gradient X^T (Xw - t), which is 0 where X^T X w = X^T t. */
static void test_least_squares(void) {
    static const double x[] = {1, 1, 1, -1, 1, 1, 1, -1}; /* (4, 2), orthogonal columns */
    static const double t[] = {3, 0, 1, 1};
    static const double solution[] = {1.25, 0.75}, other[] = {2, -1}, zero[] = {0, 0};
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        for (int at_solution = 0; at_solution < 2; at_solution++) {
            double gradient[2];
            memcpy(r.in, x, sizeof(x));
            memcpy(r.weight[0], at_solution ? solution : other, sizeof(other));
            run_layer(&variants[i], "linear", "{input: [4, 2], params: {units: 1, bias: false}}",
                      &r);
            for (size_t n = 0; n < 4; n++) {
                r.d_out[n] = r.out[n] - t[n];
            }
            run_layer(&variants[i], "linear", "{input: [4, 2], params: {units: 1, bias: false}}",
                      &r);
            multiply(x, 4, 2, true, r.d_out, gradient);
            SAME(&variants[i], r.d_weight[0], at_solution ? zero : gradient, 2);
        }
    }
}

/* ---- Pooling and relu ---------------------------------------------------------------------- */

/* 2x2 windows at stride 1 on a 3x3 image: a matrix of quarters, and one that selects. */
static void test_pooling_is_a_matrix(void) {
    static const int window[4][4] = {{0, 1, 3, 4}, {1, 2, 4, 5}, {3, 4, 6, 7}, {4, 5, 7, 8}};
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double mean[4][9] = {{0}}, selects[4][9] = {{0}}, y[4], dx[9];
        draw_run(&r, 6);
        for (size_t q = 0; q < 4; q++) {
            int largest = window[q][0];
            for (size_t k = 0; k < 4; k++) {
                mean[q][window[q][k]] = 0.25;
                largest = r.in[window[q][k]] > r.in[largest] ? window[q][k] : largest;
            }
            selects[q][largest] = 1;
        }
        for (int max = 0; max < 2; max++) {
            const double *matrix = max ? &selects[0][0] : &mean[0][0];
            run_layer(&variants[i], max ? "max_pool" : "avg_pool",
                      "{input: [1, 1, 3, 3], params: {kernel: 2, stride: 1}}", &r);
            multiply(matrix, 4, 9, false, r.in, y);
            SAME(&variants[i], r.out, y, 4);
            multiply(matrix, 4, 9, true, r.d_out, dx);
            SAME(&variants[i], r.d_in, dx, 9);
        }
    }
}

/* The mean and the largest of a whole image: a row of a matrix. */
static void test_global_pooling(void) {
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double mean[6], selects[6] = {0}, y, dx[6];
        size_t largest = 0;
        draw_run(&r, 15);
        for (size_t k = 0; k < 6; k++) {
            mean[k] = 1.0 / 6;
            largest = r.in[k] > r.in[largest] ? k : largest;
        }
        selects[largest] = 1;
        for (int max = 0; max < 2; max++) {
            run_layer(&variants[i], max ? "global_max_pool" : "global_avg_pool",
                      "{input: [1, 1, 2, 3]}", &r);
            multiply(max ? selects : mean, 1, 6, false, r.in, &y);
            SAME(&variants[i], r.out, &y, 1);
            multiply(max ? selects : mean, 1, 6, true, r.d_out, dx);
            SAME(&variants[i], r.d_in, dx, 6);
        }
    }
}

/* Y = A_y X A_x^T and dX = A_y^T dY A_x, for an image of 3x2, with A_y: (6, 3) and A_x: (4, 2). */
static void two_sided(const char *type, const char *text, double a_y[6][3], double a_x[4][2]) {
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double y[24] = {0}, dx[6] = {0};
        draw_run(&r, 16);
        run_layer(&variants[i], type, text, &r);
        for (int k = 0; k < 24 * 6; k++) {
            const int at = k / 6, from = k % 6;
            const double a = a_y[at / 4][from / 2] * a_x[at % 4][from % 2];
            y[at] += a * r.in[from];
            dx[from] += a * r.d_out[at];
        }
        SAME(&variants[i], r.out, y, 24);
        SAME(&variants[i], r.d_in, dx, 6);
    }
}

static void test_upsampling_is_two_matrices(void) {
    static double nearest_y[6][3] = {{1}, {1}, {0, 1}, {0, 1}, {0, 0, 1}, {0, 0, 1}};
    static double nearest_x[4][2] = {{1}, {1}, {0, 1}, {0, 1}};
    static double edges_y[6][3] = {
        {1}, {0.75, 0.25}, {0.25, 0.75}, {0, 0.75, 0.25}, {0, 0.25, 0.75}, {0, 0, 1}};
    static double edges_x[4][2] = {{1}, {0.75, 0.25}, {0.25, 0.75}, {0, 1}};
    static double corners_y[6][3] = {{1},           {0.6, 0.4},    {0.2, 0.8},
                                     {0, 0.8, 0.2}, {0, 0.4, 0.6}, {0, 0, 1}};
    static double corners_x[4][2] = {{1}, {2.0 / 3, 1.0 / 3}, {1.0 / 3, 2.0 / 3}, {0, 1}};
    two_sided("upsample", "{input: [1, 1, 3, 2], params: {scale: 2}}", nearest_y, nearest_x);
    two_sided("upsample", "{input: [1, 1, 3, 2], params: {scale: 2, mode: bilinear}}", edges_y,
              edges_x);
    two_sided("upsample",
              "{input: [1, 1, 3, 2], params: {scale: 2, mode: bilinear, align_corners: true}}",
              corners_y, corners_x);
}

static void test_padding_is_two_matrices(void) {
    static double zeros_y[6][3] = {{0}, {0}, {1}, {0, 1}, {0, 0, 1}, {0}};
    static double zeros_x[4][2] = {{0}, {1}, {0, 1}, {0}};
    static double mirror_y[6][3] = {{0, 0, 1}, {0, 1}, {1}, {0, 1}, {0, 0, 1}, {0, 1}};
    static double mirror_x[4][2] = {{0, 1}, {1}, {0, 1}, {1}};
    static double copies_y[6][3] = {{1}, {1}, {1}, {0, 1}, {0, 0, 1}, {0, 0, 1}};
    static double copies_x[4][2] = {{1}, {1}, {0, 1}, {0, 1}};
    two_sided("pad", "{input: [1, 1, 3, 2], params: {padding: [2, 1, 1, 1]}}", zeros_y, zeros_x);
    two_sided("pad", "{input: [1, 1, 3, 2], params: {padding: [2, 1, 1, 1], mode: reflect}}",
              mirror_y, mirror_x);
    two_sided("pad", "{input: [1, 1, 3, 2], params: {padding: [2, 1, 1, 1], mode: replicate}}",
              copies_y, copies_x);
}

/* Of equal values the first in row order is the largest. */
static void test_max_pool_of_equals(void) {
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        draw_run(&r, 11);
        for (size_t k = 0; k < 9; k++) {
            r.in[k] = -1;
        }
        run_layer(&variants[i], "max_pool", "{input: [1, 1, 3, 3], params: {kernel: 2, stride: 1}}",
                  &r);
        const double dx[] = {r.d_out[0], r.d_out[1], 0, r.d_out[2], r.d_out[3], 0, 0, 0, 0};
        SAME(&variants[i], r.d_in, dx, 9);
    }
}

static void test_relu_is_a_diagonal(void) {
    static const double x[] = {-2, -0.5, 0, 0.25, 3}, y[] = {0, 0, 0, 0.25, 3};
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        draw_run(&r, 7);
        memcpy(r.in, x, sizeof(x));
        run_layer(&variants[i], "relu", "{input: [1, 5]}", &r);
        const double dx[] = {0, 0, 0, r.d_out[3], r.d_out[4]};
        SAME(&variants[i], r.out, y, 5);
        SAME(&variants[i], r.d_in, dx, 5);
    }
}

/* ---- Norms --------------------------------------------------------------------------------- */

enum { M = 6, SETS = 3 };

/* xhat of M values, and its Jacobian r (I - 1 1^T / M - xhat xhat^T / M). */
static void xhat_of(const double *x, double eps, double xhat[M], double jacobian[M][M]) {
    double mean = 0, variance = 0;
    for (size_t i = 0; i < M; i++) {
        mean += x[i] / M;
    }
    for (size_t i = 0; i < M; i++) {
        variance += (x[i] - mean) * (x[i] - mean) / M;
    }
    const double r = 1 / sqrt(variance + eps);
    for (size_t i = 0; i < M; i++) {
        xhat[i] = (x[i] - mean) * r;
    }
    for (size_t i = 0; i < M; i++) {
        for (size_t j = 0; j < M; j++) {
            jacobian[i][j] = r * ((i == j) - 1.0 / M - xhat[i] * xhat[j] / M);
        }
    }
}

/* SETS sets of M values. With weights by set (a channel's) or by place in a set: y = w xhat + b and
 * what follows from it. A value of set s at place i is number s * of_set + i * of_place. */
static void check_norm(const char *type, const char *text, size_t of_set, size_t of_place,
                       bool by_set) {
    static layer_run r;
    for (size_t v = 0; v < N_VARIANTS; v++) {
        double y[SETS * M], dx[SETS * M], dw[MOST] = {0}, db[MOST] = {0};
        draw_run(&r, 9);
        for (size_t s = 0; s < SETS; s++) {
            double x[M], xhat[M], jacobian[M][M], d_xhat[M], d_x[M];
            for (size_t i = 0; i < M; i++) {
                x[i] = r.in[s * of_set + i * of_place];
            }
            xhat_of(x, 0.01, xhat, jacobian);
            for (size_t i = 0; i < M; i++) {
                const size_t at = s * of_set + i * of_place, w = by_set ? s : i;
                y[at] = r.weight[0][w] * xhat[i] + r.weight[1][w];
                d_xhat[i] = r.weight[0][w] * r.d_out[at];
                dw[w] += r.d_out[at] * xhat[i];
                db[w] += r.d_out[at];
            }
            multiply(jacobian[0], M, M, true, d_xhat, d_x);
            for (size_t i = 0; i < M; i++) {
                dx[s * of_set + i * of_place] = d_x[i];
            }
        }
        run_layer(&variants[v], type, text, &r);
        SAME(&variants[v], r.out, y, SETS * M);
        SAME(&variants[v], r.d_in, dx, SETS * M);
        SAME(&variants[v], r.d_weight[0], dw, by_set ? SETS : M);
        SAME(&variants[v], r.d_weight[1], db, by_set ? SETS : M);
    }
}

static void test_norms_have_one_jacobian(void) {
    check_norm("batch_norm", "{input: [6, 3], params: {eps: 0.01}}", 1, SETS, true);
    check_norm("batch_norm", "{input: [1, 3, 2, 3], params: {eps: 0.01}}", M, 1, true);
    check_norm("instance_norm", "{input: [1, 3, 2, 3], params: {eps: 0.01, affine: true}}", M, 1,
               true);
    check_norm("group_norm", "{input: [3, 6], params: {eps: 0.01, groups: 1}}", M, 1, false);
    check_norm("layer_norm", "{input: [3, 6], params: {eps: 0.01}}", M, 1, false);
    check_norm("layer_norm", "{input: [3, 1, 3, 2], params: {eps: 0.01}}", M, 1, false);
    check_norm("layer_norm", "{input: [1, 6, 1, 3], params: {eps: 0.01, over: channels}}", 1, SETS,
               false);
}

/* dy_j/dx_c = [j = c] s_c^-beta - beta x_j s_j^(-beta-1) (2 alpha / n) x_c [c around j], for an
 * even n, of which more channels before than after are around one. */
static void test_response_normalisation(void) {
    enum { C = 7, SIZE = 4 };
    const double alpha = 2, beta = 0.75;
    static layer_run r;
    for (size_t v = 0; v < N_VARIANTS; v++) {
        double s[C], y[C], dx[C], jacobian[C][C];
        draw_run(&r, 10);
        for (int j = 0; j < C; j++) {
            s[j] = 1;
            for (int c = j - SIZE / 2; c <= j + (SIZE - 1) / 2; c++) {
                s[j] += c >= 0 && c < C ? alpha / SIZE * r.in[c] * r.in[c] : 0;
            }
            y[j] = r.in[j] * pow(s[j], -beta);
        }
        for (int j = 0; j < C; j++) {
            for (int c = 0; c < C; c++) {
                const bool around = c >= j - SIZE / 2 && c <= j + (SIZE - 1) / 2;
                jacobian[j][c] = j == c ? pow(s[c], -beta) : 0;
                jacobian[j][c] -=
                    around ? beta * r.in[j] * pow(s[j], -beta - 1) * (2 * alpha / SIZE) * r.in[c]
                           : 0;
            }
        }
        multiply(jacobian[0], C, C, true, r.d_out, dx);
        run_layer(&variants[v], "lrn", "{input: [1, 7], params: {size: 4, alpha: 2}}", &r);
        SAME(&variants[v], r.out, y, C);
        SAME(&variants[v], r.d_in, dx, C);
    }
}

/* ---- Softmax ------------------------------------------------------------------------------- */

enum { K = 5 };

/* s = softmax(x) and its Jacobian diag(s) - s s^T. */
static void softmax_of(const double *x, double *s, double jacobian[K][K]) {
    double sum = 0;
    for (size_t k = 0; k < K; k++) {
        s[k] = exp(x[k]);
        sum += s[k];
    }
    for (size_t k = 0; k < K; k++) {
        s[k] /= sum;
    }
    for (size_t k = 0; k < K; k++) {
        for (size_t l = 0; l < K; l++) {
            jacobian[k][l] = (k == l ? s[k] : 0) - s[k] * s[l];
        }
    }
}

/* Each unit vector as the output's gradient takes out one row of the Jacobian; a vector of ones,
 * the gradient of a plain sum, gives 0. */
static void test_softmax_jacobian(void) {
    static const double zeros[K];
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double s[K], jacobian[K][K];
        draw_run(&r, 8);
        softmax_of(r.in, s, jacobian);
        for (size_t k = 0; k <= K; k++) {
            for (size_t l = 0; l < K; l++) {
                r.d_out[l] = k == l || k == K;
            }
            run_layer(&variants[i], "softmax", "{input: [1, 5]}", &r);
            SAME(&variants[i], r.out, s, K);
            SAME(&variants[i], r.d_in, k < K ? jacobian[k] : zeros, K);
        }
    }
}

/* Over the channels of each pixel: (1, 5, 1, 2) is two vectors of five, side by side. */
static void test_softmax_of_pixels(void) {
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double s[2][K], jacobian[2][K][K], x[K], ds[K], dx[K], all_s[2 * K], all_dx[2 * K];
        draw_run(&r, 9);
        for (size_t p = 0; p < 2; p++) {
            for (size_t k = 0; k < K; k++) {
                x[k] = r.in[2 * k + p];
                ds[k] = r.d_out[2 * k + p];
            }
            softmax_of(x, s[p], jacobian[p]);
            multiply(&jacobian[p][0][0], K, K, true, ds, dx);
            for (size_t k = 0; k < K; k++) {
                all_s[2 * k + p] = s[p][k];
                all_dx[2 * k + p] = dx[k];
            }
        }
        run_layer(&variants[i], "softmax", "{input: [1, 5, 1, 2]}", &r);
        SAME(&variants[i], r.out, all_s, 2 * K);
        SAME(&variants[i], r.d_in, all_dx, 2 * K);
    }
}

/* The Jacobian times the gradient of -log s_t is s - e_t. */
static void test_softmax_and_cross_entropy(void) {
    enum { N = 3 };
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double loss[N], dx[N * K], difference[N * K];
        draw_run(&r, 10);
        for (size_t n = 0; n < N; n++) {
            const size_t t = (2 * n + 1) % K;
            double s[K], jacobian[K][K], ds[K] = {0};
            softmax_of(r.in + n * K, s, jacobian);
            r.label[n] = (int32_t)t;
            loss[n] = -log(s[t]);
            ds[t] = -r.d_out[n] / s[t];
            multiply(&jacobian[0][0], K, K, true, ds, dx + n * K);
            for (size_t k = 0; k < K; k++) {
                difference[n * K + k] = r.d_out[n] * (s[k] - (k == t));
            }
        }
        run_layer(&variants[i], "softmax_loss", "{input: [3, 5]}", &r);
        SAME(&variants[i], r.out, loss, N);
        SAME(&variants[i], r.d_in, dx, N * K);
        SAME(&variants[i], r.d_in, difference, N * K);
    }
}

/* Scores that exp() could not take, and one that is no number. */
static void test_softmax_loss_of_extremes(void) {
    static const double x[3][K] = {
        {1000, 999, -1000, 0, 0}, {-5000, 0, 0, 0, 0}, {0, NAN, 0, 0, 0}};
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        const double loss[2] = {log1p(exp(-1)), 5000 + log(4)};
        const double dx[2 * K] = {
            -1 / (1 + exp(1)), 1 / (1 + exp(1)), 0, 0, 0, -1, 0.25, 0.25, 0.25, 0.25};
        memcpy(r.in, x, sizeof(x));
        for (size_t n = 0; n < 3; n++) {
            r.label[n] = 0;
            r.d_out[n] = 1;
        }
        run_layer(&variants[i], "softmax_loss", "{input: [3, 5]}", &r);
        SAME(&variants[i], r.out, loss, 2);
        SAME(&variants[i], r.d_in, dx, 2 * K);
        CU_ASSERT_TRUE(isnan(r.out[2]));
        CU_ASSERT_TRUE(isnan(r.d_in[2 * K]));
    }
}

LAMINA_TESTS(
    {"a convolution is y = Cx, its gradient C^T dy", test_convolution_is_a_matrix},
    {"so it is with channels, stride, padding, dilation", test_convolution_with_everything},
    {"a transposed convolution is y = C^T x, its gradient C dy", test_transposed_convolution},
    {"so it is with channels, stride, padding, dilation, output padding",
     test_transposed_with_everything},
    {"linear follows the dimension rule", test_dimension_rule},
    {"two linear layers follow the chain rule", test_chain_rule},
    {"least squares", test_least_squares}, {"pooling is a matrix", test_pooling_is_a_matrix},
    {"global pooling is a row of a matrix", test_global_pooling},
    {"upsampling is a matrix for each axis", test_upsampling_is_two_matrices},
    {"padding is a matrix for each axis", test_padding_is_two_matrices},
    {"max pooling takes the first of equals", test_max_pool_of_equals},
    {"relu is a diagonal matrix", test_relu_is_a_diagonal},
    {"norms have one Jacobian", test_norms_have_one_jacobian},
    {"response normalisation", test_response_normalisation},
    {"the Jacobian of softmax is diag(s) - s s^T", test_softmax_jacobian},
    {"softmax over the channels of each pixel", test_softmax_of_pixels},
    {"softmax and cross-entropy leave s - e_t", test_softmax_and_cross_entropy},
    {"softmax loss of extreme scores", test_softmax_loss_of_extremes})
