/* Every operation of onednn.h against plain loops in double, called as the executor calls it: a
 * batch cut into shards that run at once in a parallel region, each with its own gradients; or one
 * shard on several threads. Outputs are poisoned with NaN, gradients added up twice. */
#include "base/alloc.h"
#include "base/philox.h"
#include "base/threads.h"
#include "layers/avg_pool/avg_pool.h"
#include "layers/linear/linear.h"
#include "onednn/onednn.h"
#include "support.h"

#include <math.h>
#include <omp.h>

#define ALL_PASSES (LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS)
#define MAX_SHARDS 3

/* ---- A host that only notes what it is asked for ---- */

typedef struct fake_host {
    lamina_call call; /* first */
    lamina_host host;
    char error[512];
    int32_t code;
    size_t scratch_bytes;
    int32_t n_packed;
    size_t packed_bytes[2];
    int fail_declarations;
} fake_host;

static int32_t fake_fail(lamina_call *call, int32_t code, const char *fmt, ...) {
    fake_host *fake = (fake_host *)(void *)call;
    va_list args;
    va_start(args, fmt);
    vsnprintf(fake->error, sizeof(fake->error), fmt, args);
    va_end(args);
    fake->code = code;
    return code;
}

static int32_t fake_add_scratch(lamina_call *call, size_t bytes) {
    fake_host *fake = (fake_host *)(void *)call;
    fake->scratch_bytes = bytes > fake->scratch_bytes ? bytes : fake->scratch_bytes;
    return fake->fail_declarations ? LAMINA_ERROR_MEMORY : LAMINA_OK;
}

static int32_t fake_add_packed(lamina_call *call, const char *name, size_t bytes) {
    fake_host *fake = (fake_host *)(void *)call;
    CU_ASSERT_PTR_NOT_NULL(name);
    CU_ASSERT_FATAL(fake->n_packed < 2);
    fake->packed_bytes[fake->n_packed] = bytes;
    return fake->fail_declarations ? LAMINA_ERROR_MEMORY : fake->n_packed++;
}

static void fake_init(fake_host *fake) {
    *fake = (fake_host){.host = {.struct_size = sizeof(lamina_host),
                                 .fail = fake_fail,
                                 .add_scratch = fake_add_scratch,
                                 .add_packed = fake_add_packed}};
    fake->call.host = &fake->host;
}

/* ---- A problem: an operation and how the batch is cut ---- */

typedef struct problem {
    const char *name;
    lamina__onednn_spec spec;
    int32_t shards, threads;
    int64_t samples[MAX_SHARDS]; /* of each shard */
    int in_place;
} problem;

typedef struct sizes {
    int64_t batch, in, out, filters, bias; /* in and out: numbers per sample */
} sizes;

static sizes sizes_of(const problem *p) {
    const lamina__onednn_spec *s = &p->spec;
    sizes z = {0};
    for (int i = 0; i < p->shards; i++) {
        z.batch += p->samples[i];
    }
    if (s->operation == LAMINA__ONEDNN_SOFTMAX) {
        z.in = z.out = s->rows * s->in_channels;
        return z;
    }
    z.in = s->in_channels * s->y.in * s->x.in;
    z.out = s->out_channels * s->y.out * s->x.out;
    if (s->operation == LAMINA__ONEDNN_CONVOLUTION) {
        z.filters = s->out_channels * s->in_channels / s->groups * s->y.kernel * s->x.kernel;
        z.bias = s->bias ? s->out_channels : 0;
    }
    return z;
}

/* A tensor with, for the expected one, the sum of the absolute values of what was added up. */
typedef struct expected {
    double *value, *magnitude;
    int64_t n;
} expected;

typedef struct state {
    const problem *p;
    sizes z;
    float *x, *y, *dy, *dx, *w, *b; /* whole batch */
    float *dw[MAX_SHARDS], *db[MAX_SHARDS];
    void *packed[2], *scratch[MAX_SHARDS];
    expected ey, edx, edw, edb;
    fake_host fakes[MAX_SHARDS];
    void *kernel;
    int skip_weights, skip_bias, skip_data;
    int32_t status[MAX_SHARDS];
} state;

static void *need(size_t bytes) {
    void *memory = lamina__alloc(bytes > 0 ? bytes : 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    return memory;
}

static float *numbers(int64_t n, uint64_t key, float scale) {
    float *v = need((size_t)n * sizeof(*v));
    lamina__stream_normal(lamina__stream_make(7, LAMINA__RANDOM_CHECK, key, 0), 0, v, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        v[i] *= scale;
    }
    return v;
}

static void poison(float *v, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        v[i] = NAN;
    }
}

static expected expect(int64_t n) {
    expected e = {need((size_t)n * sizeof(double)), need((size_t)n * sizeof(double)), n};
    memset(e.value, 0, (size_t)n * sizeof(double));
    memset(e.magnitude, 0, (size_t)n * sizeof(double));
    return e;
}

static void add(expected *e, int64_t i, double v) {
    e->value[i] += v;
    e->magnitude[i] += fabs(v);
}

static void free_expected(expected *e) {
    lamina__free(e->value);
    lamina__free(e->magnitude);
}

/* How far actual, divided by `times`, is from e, in units of what float sums may differ by. */
static double distance(const float *actual, const expected *e, double times) {
    double worst = 0;
    for (int64_t i = 0; i < e->n; i++) {
        const double error = fabs(actual[i] / times - e->value[i]);
        const double ratio = error / (3e-6 * e->magnitude[i] + 1e-6);
        worst = ratio > worst || isnan(ratio) ? (isnan(ratio) ? INFINITY : ratio) : worst;
    }
    return worst;
}

/* ---- The plain loops ---- */

/* Calls fn for every (sample, output pixel, kernel position) that reads inside the image, with the
 * offsets of their first channels in x and y. */
typedef void window_fn(state *s, int64_t x, int64_t y, int64_t ky, int64_t kx);

static void for_windows(state *s, window_fn *fn) {
    const lamina__onednn_spec *c = &s->p->spec;
    for (int64_t n = 0; n < s->z.batch; n++) {
        for (int64_t oy = 0; oy < c->y.out; oy++) {
            for (int64_t ox = 0; ox < c->x.out; ox++) {
                for (int64_t ky = 0; ky < c->y.kernel; ky++) {
                    for (int64_t kx = 0; kx < c->x.kernel; kx++) {
                        const int64_t iy = oy * c->y.stride - c->y.pad_begin + ky * c->y.dilation;
                        const int64_t ix = ox * c->x.stride - c->x.pad_begin + kx * c->x.dilation;
                        if (iy >= 0 && iy < c->y.in && ix >= 0 && ix < c->x.in) {
                            fn(s, n * s->z.in + (iy * c->x.in + ix) * c->in_channels,
                               n * s->z.out + (oy * c->x.out + ox) * c->out_channels, ky, kx);
                        }
                    }
                }
            }
        }
    }
}

static void convolve(state *s, int64_t x, int64_t y, int64_t ky, int64_t kx) {
    const lamina__onednn_spec *c = &s->p->spec;
    const int64_t ig = c->in_channels / c->groups, og = c->out_channels / c->groups;
    for (int64_t o = 0; o < c->out_channels; o++) {
        for (int64_t i = 0; i < ig; i++) {
            const int64_t w = ((o * c->y.kernel + ky) * c->x.kernel + kx) * ig + i;
            const int64_t xi = x + o / og * ig + i;
            add(&s->ey, y + o, (double)s->w[w] * s->x[xi]);
            add(&s->edx, xi, (double)s->w[w] * s->dy[y + o]);
            add(&s->edw, w, (double)s->x[xi] * s->dy[y + o]);
        }
    }
}

static void count_window(state *s, int64_t x, int64_t y, int64_t ky, int64_t kx) {
    (void)x, (void)ky, (void)kx;
    s->ey.magnitude[y] += 1;
}

static void pool_average(state *s, int64_t x, int64_t y, int64_t ky, int64_t kx) {
    const lamina__onednn_spec *c = &s->p->spec;
    const double size = c->operation == LAMINA__ONEDNN_AVG_POOL_INCLUDE
                            ? (double)(c->y.kernel * c->x.kernel)
                            : s->ey.magnitude[y];
    (void)ky, (void)kx;
    for (int64_t i = 0; i < c->in_channels; i++) {
        s->ey.value[y + i] += s->x[x + i] / size;
        add(&s->edx, x + i, s->dy[y + i] / size);
    }
}

static void softmax_row(state *s, int64_t first) {
    const int64_t n = s->p->spec.in_channels;
    double largest = -INFINITY, sum = 0, dot = 0;
    for (int64_t i = 0; i < n; i++) {
        largest = fmax(largest, s->x[first + i]);
    }
    for (int64_t i = 0; i < n; i++) {
        sum += exp(s->x[first + i] - largest);
    }
    for (int64_t i = 0; i < n; i++) {
        add(&s->ey, first + i, exp(s->x[first + i] - largest) / sum);
        dot += s->ey.value[first + i] * s->dy[first + i];
    }
    for (int64_t i = 0; i < n; i++) {
        add(&s->edx, first + i, s->ey.value[first + i] * (s->dy[first + i] - dot));
    }
}

static void compute_expected(state *s) {
    const lamina__onednn_spec *c = &s->p->spec;
    s->ey = expect(s->z.batch * s->z.out);
    s->edx = expect(s->z.batch * s->z.in);
    s->edw = expect(s->z.filters);
    s->edb = expect(s->z.bias);
    switch (c->operation) {
    case LAMINA__ONEDNN_CONVOLUTION:
        for_windows(s, convolve);
        for (int64_t i = 0; s->z.bias > 0 && i < s->z.batch * s->z.out; i++) {
            add(&s->ey, i, s->b[i % c->out_channels]);
            add(&s->edb, i % c->out_channels, s->dy[i]);
        }
        break;
    case LAMINA__ONEDNN_SOFTMAX:
        for (int64_t i = 0; i < s->z.batch * c->rows; i++) {
            softmax_row(s, i * c->in_channels);
        }
        break;
    default:
        for_windows(s, count_window);
        for_windows(s, pool_average);
        break;
    }
}

/* ---- Running a problem ---- */

static void state_init(state *s, const problem *p) {
    *s = (state){.p = p, .z = sizes_of(p)};
    s->x = numbers(s->z.batch * s->z.in, 1, 1);
    s->dy = numbers(s->z.batch * s->z.out, 2, 1);
    s->w = numbers(s->z.filters, 3, 0.3f);
    s->b = numbers(s->z.bias, 4, 1);
    s->y = numbers(s->z.batch * s->z.out, 5, 1);
    s->dx = numbers(s->z.batch * s->z.in, 6, 1);
    for (int i = 0; i < p->shards; i++) {
        s->dw[i] = need((size_t)s->z.filters * sizeof(float));
        s->db[i] = need((size_t)s->z.bias * sizeof(float));
        memset(s->dw[i], 0, (size_t)s->z.filters * sizeof(float));
        memset(s->db[i], 0, (size_t)s->z.bias * sizeof(float));
        fake_init(&s->fakes[i]);
    }
    compute_expected(s);
}

static void state_free(state *s) {
    float *floats[] = {s->x, s->y, s->dy, s->dx, s->w, s->b};
    lamina__onednn_destroy(s->kernel);
    for (size_t i = 0; i < sizeof(floats) / sizeof(*floats); i++) {
        lamina__free(floats[i]);
    }
    for (int i = 0; i < s->p->shards; i++) {
        lamina__free(s->dw[i]);
        lamina__free(s->db[i]);
        lamina__free(s->scratch[i]);
    }
    lamina__free(s->packed[0]);
    lamina__free(s->packed[1]);
    free_expected(&s->ey);
    free_expected(&s->edx);
    free_expected(&s->edw);
    free_expected(&s->edb);
}

static lamina_tensor tensor(void *data) {
    return (lamina_tensor){.struct_size = sizeof(lamina_tensor), .data = data};
}

/* One pass over one shard; the views are what matters, kernels know the shapes. */
static int32_t run_shard(state *s, uint32_t pass, int shard) {
    const problem *p = s->p;
    int64_t first = 0;
    for (int i = 0; i < shard; i++) {
        first += p->samples[i];
    }
    float *y = p->in_place ? s->x : s->y, *dx = p->in_place ? s->dy : s->dx;
    lamina_tensor in = tensor(s->x + first * s->z.in), out = tensor(y + first * s->z.out),
                  d_out = tensor(s->dy + first * s->z.out), d_in = tensor(dx + first * s->z.in),
                  w = tensor(s->w), b = tensor(s->b), dw = tensor(s->dw[shard]),
                  db = tensor(s->db[shard]);
    const lamina_tensor *ins[] = {&in}, *outs[] = {&out}, *weights[] = {&w, &b},
                        *d_outs[] = {&d_out}, *d_ins[] = {s->skip_data ? NULL : &d_in},
                        *d_weights[] = {s->skip_weights ? NULL : &dw, s->skip_bias ? NULL : &db};
    const lamina_io io = {.struct_size = sizeof(io),
                          .phase = LAMINA_TRAIN,
                          .shard = shard,
                          .first_sample = first,
                          .samples = p->samples[shard],
                          .batch = s->z.batch,
                          .in = ins,
                          .out = outs,
                          .weight = weights,
                          .d_out = d_outs,
                          .d_in = d_ins,
                          .d_weight = d_weights,
                          .packed = s->packed,
                          .scratch = s->scratch[shard]};
    lamina_call *call = &s->fakes[shard].call;
    return pass == 0 ? lamina__onednn_prepare(NULL, s->kernel, call, &io)
                     : lamina__onednn_run(NULL, s->kernel, call, pass, &io);
}

static void run_passes(state *s, int shard) {
    /* backward-weights before backward-data: in place, the latter overwrites d_out */
    const uint32_t order[] = {LAMINA_PASS_FORWARD, LAMINA_PASS_BACKWARD_WEIGHTS,
                              LAMINA_PASS_BACKWARD_DATA};
    for (int i = 0; i < 3 && s->status[shard] == LAMINA_OK; i++) {
        if (order[i] != LAMINA_PASS_BACKWARD_WEIGHTS || s->z.filters > 0) {
            s->status[shard] = run_shard(s, order[i], shard);
        }
    }
}

static void run_shards(void *arg, int thread, int threads) {
    state *s = arg;
    for (int shard = thread; shard < s->p->shards; shard += threads) {
        run_passes(s, shard);
    }
}

static uint32_t passes_of(const problem *p) {
    return p->spec.operation == LAMINA__ONEDNN_CONVOLUTION
               ? ALL_PASSES
               : LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA;
}

static lamina_setup setup_of(const problem *p, const sizes *z, lamina_shape *in,
                             const lamina_shape **ins) {
    *in = (lamina_shape){LAMINA_F32, 2, {z->batch, z->in}};
    ins[0] = in;
    return (lamina_setup){.struct_size = sizeof(lamina_setup),
                          .n_in = 1,
                          .training = 1,
                          .in = ins,
                          .shards = p->shards,
                          .threads = p->threads,
                          .n_samples = p->shards, /* a count twice does no harm */
                          .samples = p->samples};
}

/* Makes the kernel and the memory it declares. */
static int32_t make(state *s, uint32_t passes) {
    fake_host *fake = &s->fakes[0];
    lamina_shape in;
    const lamina_shape *ins[1];
    const lamina_setup setup = setup_of(s->p, &s->z, &in, ins);
    const int32_t status =
        lamina__onednn_create(&fake->call, &s->p->spec, &setup, passes, &s->kernel);

    if (status != LAMINA_OK) {
        return status;
    }
    for (int i = 0; i < fake->n_packed; i++) {
        s->packed[i] = need(fake->packed_bytes[i]);
        memset(s->packed[i], 0xff, fake->packed_bytes[i]);
    }
    for (int i = 0; i < s->p->shards; i++) {
        s->scratch[i] = need(fake->scratch_bytes);
        memset(s->scratch[i], 0xff, fake->scratch_bytes);
    }
    return LAMINA_OK;
}

/* Sums the shards' gradients into the first. */
static void reduce(state *s) {
    for (int shard = 1; shard < s->p->shards; shard++) {
        for (int64_t i = 0; i < s->z.filters; i++) {
            s->dw[0][i] += s->dw[shard][i];
        }
        for (int64_t i = 0; i < s->z.bias; i++) {
            s->db[0][i] += s->db[shard][i];
        }
    }
}

static void check_near(const problem *p, const char *what, const float *actual, const expected *e,
                       double times) {
    const double off = distance(actual, e, times);
    if (!(off <= 1)) {
        printf("\n      %s: %s is off by %.3g times the tolerance", p->name, what, off);
    }
    CU_ASSERT(off <= 1);
}

static void check_run(state *s, int repeats) {
    for (int repeat = 0; repeat < repeats; repeat++) {
        if (!s->p->in_place) {
            poison(s->y, s->z.batch * s->z.out);
            poison(s->dx, s->z.batch * s->z.in);
        }
        CU_ASSERT(run_shard(s, 0, 0) == LAMINA_OK); /* prepare */
        if (s->p->shards > 1) {
            lamina__parallel(s->p->shards, run_shards, s);
        } else {
            run_passes(s, 0);
        }
        for (int shard = 0; shard < s->p->shards; shard++) {
            CU_ASSERT(s->status[shard] == LAMINA_OK);
        }
    }
}

static void check_problem(const problem *p) {
    state s;
    const int repeats = p->in_place ? 1 : 2;

    state_init(&s, p);
    const int32_t status = make(&s, passes_of(p));
    if (status != LAMINA_OK) {
        printf("\n      %s: %s", p->name, s.fakes[0].error);
        CU_FAIL("create");
    } else {
        check_run(&s, repeats);
        reduce(&s);
        check_near(p, "output", p->in_place ? s.x : s.y, &s.ey, 1);
        check_near(p, "d_input", p->in_place ? s.dy : s.dx, &s.edx, 1);
        check_near(p, "d_filters", s.dw[0], &s.edw, repeats);
        check_near(p, "d_bias", s.db[0], &s.edb, repeats);
    }
    state_free(&s);
}

/* The cuts every shape is checked with. */
static void check_cuts(const char *name, lamina__onednn_spec spec) {
    const problem cuts[] = {
        {name, spec, 2, 1, {3, 2}, 0}, {name, spec, 1, 1, {1}, 0}, {name, spec, 1, 2, {4}, 0}};
    for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++) {
        check_problem(&cuts[i]);
    }
}

/* ---- The tests ---- */

/* A window of pad_begin before and pad_end after; ceil: the last one may pass the padding. */
static lamina__onednn_axis axis(int64_t in, int64_t kernel, int64_t stride, int64_t dilation,
                                int64_t pad_begin, int64_t pad_end, int ceil) {
    const int64_t extent = (kernel - 1) * dilation + 1;
    const int64_t room = in + pad_begin + pad_end - extent;
    const int64_t out = (room + (ceil ? stride - 1 : 0)) / stride + 1;
    const int64_t overhang = (out - 1) * stride + extent - in - pad_begin;
    return (lamina__onednn_axis){
        in, out, kernel, stride, dilation, pad_begin, overhang > 0 ? overhang : 0};
}

static lamina__onednn_spec convolution(int64_t i, int64_t o, int64_t groups, int32_t bias,
                                       lamina__onednn_axis y, lamina__onednn_axis x) {
    return (lamina__onednn_spec){.operation = LAMINA__ONEDNN_CONVOLUTION,
                                 .bias = bias,
                                 .in_channels = i,
                                 .out_channels = o,
                                 .groups = groups,
                                 .y = y,
                                 .x = x};
}

static lamina__onednn_spec pooling(lamina__onednn_operation operation, int64_t channels,
                                   lamina__onednn_axis y, lamina__onednn_axis x) {
    return (lamina__onednn_spec){
        .operation = operation, .in_channels = channels, .out_channels = channels, .y = y, .x = x};
}

static lamina__onednn_spec softmax(int64_t rows, int64_t channels) {
    return (lamina__onednn_spec){
        .operation = LAMINA__ONEDNN_SOFTMAX, .in_channels = channels, .rows = rows};
}

static void test_convolution(void) {
    const lamina__onednn_axis five = axis(12, 5, 1, 1, 0, 0, 0), small = axis(7, 3, 1, 1, 1, 1, 0);
    check_cuts("lenet conv1",
               convolution(1, 20, 1, 1, axis(28, 5, 1, 1, 0, 0, 0), axis(28, 5, 1, 1, 0, 0, 0)));
    check_cuts("lenet conv2", convolution(20, 50, 1, 1, five, five));
    check_cuts("no bias", convolution(16, 32, 1, 0, small, small));
    check_cuts("3 to 5 channels", convolution(3, 5, 1, 1, small, axis(9, 3, 1, 1, 1, 1, 0)));
    check_cuts("1 to 1 channel", convolution(1, 1, 1, 1, small, small));
    check_cuts("1x1",
               convolution(17, 33, 1, 1, axis(6, 1, 1, 1, 0, 0, 0), axis(5, 1, 1, 1, 0, 0, 0)));
    check_cuts("kernel of the whole image",
               convolution(16, 10, 1, 1, axis(5, 5, 1, 1, 0, 0, 0), axis(5, 5, 1, 1, 0, 0, 0)));
}

static void test_convolution_geometry(void) {
    check_cuts("stride 2 x 3, unused rest",
               convolution(8, 12, 1, 1, axis(12, 3, 2, 1, 1, 1, 0), axis(11, 5, 3, 1, 2, 2, 0)));
    check_cuts("1x1 stride 2",
               convolution(16, 16, 1, 1, axis(8, 1, 2, 1, 0, 0, 0), axis(7, 1, 2, 1, 0, 0, 0)));
    check_cuts("dilation 2 x 3",
               convolution(8, 16, 1, 1, axis(11, 3, 1, 2, 2, 2, 0), axis(12, 2, 1, 3, 0, 3, 0)));
    check_cuts("same with an even kernel",
               convolution(8, 16, 1, 1, axis(9, 4, 1, 1, 1, 2, 0), axis(8, 2, 1, 1, 0, 1, 0)));
    check_cuts("same, stride 2",
               convolution(16, 16, 1, 1, axis(8, 3, 2, 1, 0, 1, 0), axis(9, 3, 2, 1, 1, 1, 0)));
    check_cuts("uneven padding",
               convolution(5, 7, 1, 1, axis(6, 3, 1, 1, 0, 2, 0), axis(6, 3, 1, 1, 2, 0, 0)));
    check_cuts("flat kernel",
               convolution(4, 6, 1, 1, axis(6, 1, 1, 1, 0, 0, 0), axis(9, 7, 2, 1, 3, 3, 0)));
}

static void test_convolution_groups(void) {
    const lamina__onednn_axis y = axis(7, 3, 1, 1, 1, 1, 0), x = axis(6, 3, 2, 1, 1, 1, 0);
    check_cuts("2 groups", convolution(8, 12, 2, 1, y, x));
    check_cuts("2 groups of 16", convolution(32, 32, 2, 1, y, y));
    check_cuts("3 groups of odd size", convolution(9, 15, 3, 0, y, x));
    check_cuts("depthwise", convolution(16, 16, 16, 1, y, y));
    check_cuts("depthwise, odd", convolution(19, 19, 19, 1, y, x));
    check_cuts("depthwise, two filters each", convolution(6, 12, 6, 1, y, y));
}

static void test_avg_pool(void) {
    const lamina__onednn_operation kinds[] = {LAMINA__ONEDNN_AVG_POOL_INCLUDE,
                                              LAMINA__ONEDNN_AVG_POOL_EXCLUDE};
    for (int i = 0; i < 2; i++) {
        check_cuts("2x2",
                   pooling(kinds[i], 16, axis(8, 2, 2, 1, 0, 0, 0), axis(8, 2, 2, 1, 0, 0, 0)));
        check_cuts("3x3 padded",
                   pooling(kinds[i], 7, axis(7, 3, 2, 1, 1, 1, 0), axis(9, 3, 1, 1, 1, 1, 0)));
        check_cuts("global",
                   pooling(kinds[i], 33, axis(7, 7, 1, 1, 0, 0, 0), axis(5, 5, 1, 1, 0, 0, 0)));
    }
    check_cuts("ceil_mode",
               pooling(kinds[1], 16, axis(7, 2, 2, 1, 0, 0, 1), axis(8, 3, 3, 1, 1, 0, 1)));
}

static void test_softmax(void) {
    check_cuts("10", softmax(1, 10));
    check_cuts("1", softmax(1, 1));
    check_cuts("35 rows of 17", softmax(35, 17));
    check_cuts("1000", softmax(2, 1000));
}

static void test_in_place(void) {
    const problem cuts[] = {{"in place", softmax(3, 37), 2, 1, {3, 2}, 1},
                            {"in place", softmax(1, 1000), 1, 2, {4}, 1}};
    check_problem(&cuts[0]);
    check_problem(&cuts[1]);
}

/* What is not wanted is neither computed nor touched, and the rest is right. */
static void test_not_wanted(void) {
    const lamina__onednn_axis a = axis(7, 3, 1, 1, 1, 1, 0);
    const problem p = {"frozen", convolution(8, 16, 1, 1, a, a), 1, 1, {3}, 0};
    for (int i = 0; i < 8; i++) {
        state s;
        state_init(&s, &p);
        s.skip_weights = i & 1, s.skip_bias = i >> 1 & 1, s.skip_data = i >> 2;
        CU_ASSERT_FATAL(make(&s, ALL_PASSES) == LAMINA_OK);
        check_run(&s, 1);
        if (s.skip_weights) {
            s.edw = (free_expected(&s.edw), expect(s.z.filters));
        }
        if (s.skip_bias) {
            s.edb = (free_expected(&s.edb), expect(s.z.bias));
        }
        check_near(&p, "d_filters", s.dw[0], &s.edw, 1);
        check_near(&p, "d_bias", s.db[0], &s.edb, 1);
        CU_ASSERT(s.skip_data ? isnan(s.dx[0]) : distance(s.dx, &s.edx, 1) <= 1);
        state_free(&s);
    }
}

/* New weights are seen after prepare(). */
static void test_repack(void) {
    const lamina__onednn_axis a = axis(12, 5, 1, 1, 0, 0, 0);
    const problem p = {"repacked", convolution(20, 50, 1, 1, a, a), 2, 1, {3, 2}, 0};
    state s;
    state_init(&s, &p);
    CU_ASSERT_FATAL(make(&s, ALL_PASSES) == LAMINA_OK);
    check_run(&s, 1);
    for (int64_t i = 0; i < s.z.filters; i++) {
        s.w[i] = 2 - s.w[i];
    }
    free_expected(&s.ey), free_expected(&s.edx), free_expected(&s.edw), free_expected(&s.edb);
    compute_expected(&s);
    check_run(&s, 1);
    check_near(&p, "output", s.y, &s.ey, 1);
    check_near(&p, "d_input", s.dx, &s.edx, 1);
    state_free(&s);
}

/* Shards of one size share primitives, not memory objects: what they compute at once is, to the
 * bit, what they compute one after the other. */
static void test_at_once(void) {
    const lamina__onednn_axis a = axis(7, 3, 1, 1, 1, 1, 0);
    const problem p = {"at once", convolution(8, 16, 1, 1, a, a), 2, 1, {2, 2}, 0};
    state s;
    state_init(&s, &p);
    CU_ASSERT_FATAL(make(&s, ALL_PASSES) == LAMINA_OK);
    const size_t y_bytes = (size_t)(s.z.batch * s.z.out) * sizeof(float),
                 dx_bytes = (size_t)(s.z.batch * s.z.in) * sizeof(float);
    float *y = need(y_bytes), *dx = need(dx_bytes);
    int different = 0;

    CU_ASSERT(run_shard(&s, 0, 0) == LAMINA_OK); /* prepare */
    run_passes(&s, 0);
    run_passes(&s, 1);
    memcpy(y, s.y, y_bytes);
    memcpy(dx, s.dx, dx_bytes);
    for (int repeat = 0; repeat < 500; repeat++) {
        poison(s.y, s.z.batch * s.z.out);
        poison(s.dx, s.z.batch * s.z.in);
        lamina__parallel(2, run_shards, &s);
        different += memcmp(y, s.y, y_bytes) != 0 || memcmp(dx, s.dx, dx_bytes) != 0;
    }
    CU_ASSERT_EQUAL(different, 0);
    reduce(&s);
    check_near(&p, "d_filters", s.dw[0], &s.edw, 501);
    lamina__free(y);
    lamina__free(dx);
    state_free(&s);
}

static void test_forward_only(void) {
    const lamina__onednn_axis a = axis(8, 2, 2, 1, 0, 0, 0);
    const problem p = {
        "forward only", pooling(LAMINA__ONEDNN_AVG_POOL_INCLUDE, 8, a, a), 1, 1, {2}, 0};
    state s;
    state_init(&s, &p);
    CU_ASSERT_FATAL(make(&s, LAMINA_PASS_FORWARD) == LAMINA_OK);
    CU_ASSERT(run_shard(&s, LAMINA_PASS_FORWARD, 0) == LAMINA_OK);
    check_near(&p, "output", s.y, &s.ey, 1);
    state_free(&s);
}

static int32_t applies(const lamina__onednn_spec *spec, uint32_t pass) {
    const problem p = {"", *spec, 2, 1, {3, 2}, 0};
    const sizes z = sizes_of(&p);
    lamina_shape in;
    const lamina_shape *ins[1];
    const lamina_setup setup = setup_of(&p, &z, &in, ins);
    return lamina__onednn_applies(spec, &setup, pass);
}

static void test_applies(void) {
    const lamina__onednn_operation average = LAMINA__ONEDNN_AVG_POOL_EXCLUDE;
    const lamina__onednn_axis five = axis(12, 5, 1, 1, 0, 0, 0), two = axis(8, 2, 2, 1, 0, 0, 0),
                              dilated = axis(9, 2, 1, 3, 0, 0, 0);
    const lamina__onednn_spec conv = convolution(20, 50, 1, 1, five, five);
    lamina__onednn_spec wrong = conv;
    wrong.y.out += 1; /* no such geometry */
    for (uint32_t pass = LAMINA_PASS_FORWARD; pass <= LAMINA_PASS_BACKWARD_WEIGHTS; pass <<= 1) {
        CU_ASSERT_FALSE(applies(&wrong, pass));
    }
    if (strncmp(lamina__onednn_isa(), "avx512", 6) != 0 &&
        strncmp(lamina__onednn_isa(), "avx2", 4) != 0) {
        return; /* what oneDNN is good at on other processors is its own business */
    }
    for (uint32_t pass = LAMINA_PASS_FORWARD; pass <= LAMINA_PASS_BACKWARD_WEIGHTS; pass <<= 1) {
        CU_ASSERT_TRUE(applies(&conv, pass));
    }
    const lamina__onednn_spec pool = pooling(average, 16, two, two),
                              loops = pooling(average, 16, dilated, dilated);
    CU_ASSERT_TRUE(applies(&pool, LAMINA_PASS_FORWARD));
    CU_ASSERT_TRUE(applies(&pool, LAMINA_PASS_BACKWARD_DATA));
    CU_ASSERT_FALSE(applies(&loops, LAMINA_PASS_FORWARD)); /* oneDNN has plain loops only */
}

/* oneDNN divides by the whole kernel where Lamina's average pooling counts inside the padding. */
static void test_avg_pool_ceil(void) {
    const lamina__axis fits = {.in = 8, .out = 4, .kernel = 2, .stride = 2, .dilation = 1};
    lamina__axis over = {.in = 7, .out = 4, .kernel = 2, .stride = 2, .dilation = 1};
    over.overhang = 1;
    const lamina_shape in = {LAMINA_F32, 4, {2, 16, 8, 7}}, *ins[] = {&in};
    const int64_t samples[] = {2};
    const lamina_setup setup = {.struct_size = sizeof(setup),
                                .n_in = 1,
                                .training = 1,
                                .in = ins,
                                .shards = 1,
                                .threads = 1,
                                .n_samples = 1,
                                .samples = samples};
    lamina__avg_pool pool = {.channels = 16, .window = {fits, over}, .count_include_pad = 1};
    CU_ASSERT_FALSE(lamina__avg_pool_onednn.applies(&pool, &setup, LAMINA_PASS_FORWARD));
}

static void test_errors(void) {
    const lamina__onednn_axis a = axis(7, 3, 1, 1, 1, 1, 0);
    problem p = {"errors", convolution(8, 16, 1, 1, a, a), 1, 1, {3}, 0};
    state s;
    state_init(&s, &p);
    CU_ASSERT_FATAL(make(&s, ALL_PASSES) == LAMINA_OK);
    p.samples[0] = 2; /* a call it was not made for */
    CU_ASSERT_EQUAL(run_shard(&s, LAMINA_PASS_FORWARD, 0), LAMINA_ERROR_INTERNAL);
    TEST_CONTAINS(s.fakes[0].error, "convolution forward was not made for 2 samples");
    p.samples[0] = 3;
    state_free(&s);

    p.spec.y.out += 1; /* a geometry that is none */
    state_init(&s, &p);
    CU_ASSERT_NOT_EQUAL(make(&s, ALL_PASSES), LAMINA_OK);
    CU_ASSERT_PTR_NULL(s.kernel);
    TEST_CONTAINS(s.fakes[0].error, "cannot make convolution forward: invalid_arguments");
    state_free(&s);
}

/* Every allocation of ours failing in turn, and every declaration, leaves nothing behind. */
typedef struct failing {
    int64_t left;
} failing;

static void *failing_alloc(void *user, size_t bytes) {
    failing *f = user;
    void *memory = NULL;
    return f->left-- > 0 && posix_memalign(&memory, 64, bytes > 0 ? bytes : 1) == 0 ? memory : NULL;
}

static void failing_free(void *user, void *memory) {
    (void)user;
    free(memory);
}

static void test_allocations(void) {
    const lamina__onednn_axis a = axis(7, 3, 1, 1, 1, 1, 0);
    const problem p = {"allocations", convolution(8, 16, 1, 1, a, a), 2, 1, {3, 2}, 0};
    const sizes z = sizes_of(&p);
    lamina_shape in;
    const lamina_shape *ins[1];
    const lamina_setup setup = setup_of(&p, &z, &in, ins);
    failing f = {0};
    const lamina_allocator allocator = {sizeof(allocator), failing_alloc, failing_free, &f};
    fake_host fake;
    void *kernel = NULL;
    int failures = 0;
    const uint64_t live = lamina__alloc_count().live;

    lamina_set_allocator(&allocator);
    for (int64_t k = 0; k < 1000; k++) {
        fake_init(&fake);
        f.left = k;
        const int32_t status =
            lamina__onednn_create(&fake.call, &p.spec, &setup, ALL_PASSES, &kernel);
        if (status == LAMINA_OK) {
            break;
        }
        failures++;
        CU_ASSERT_EQUAL(status, LAMINA_ERROR_MEMORY);
        CU_ASSERT_PTR_NULL(kernel);
        CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
    }
    CU_ASSERT(failures > 3);
    lamina__onednn_destroy(kernel);
    lamina_set_allocator(NULL);

    fake_init(&fake);
    fake.fail_declarations = 1;
    CU_ASSERT_EQUAL(lamina__onednn_create(&fake.call, &p.spec, &setup, ALL_PASSES, &kernel),
                    LAMINA_ERROR_MEMORY);
    CU_ASSERT_PTR_NULL(kernel);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
}

/* ---- The matrix product, through the linear layer's kernel ---- */

static void check_linear(int64_t features, int64_t units, int64_t samples, int32_t bias,
                         int32_t threads) {
    const lamina__linear linear = {
        .features = features, .units = units, .bias = bias, .threads = threads};
    problem p = {"linear", softmax(1, 1), 1, threads, {1}, 0};
    state s = {.p = &p};
    float *x = numbers(samples * features, 1, 1), *w = numbers(units * features, 2, 1),
          *b = numbers(units, 3, 1), *dy = numbers(samples * units, 4, 1),
          *y = numbers(samples * units, 5, 1), *dx = numbers(samples * features, 6, 1),
          *dw = numbers(units * features, 7, 0), *db = numbers(units, 8, 0);
    float *all[] = {x, w, b, dy, y, dx, dw, db};
    expected ey = expect(samples * units), edx = expect(samples * features),
             edw = expect(units * features), edb = expect(units);
    for (int64_t n = 0; n < samples; n++) {
        for (int64_t o = 0; o < units; o++) {
            const double d = dy[n * units + o];
            add(&ey, n * units + o, bias ? b[o] : 0);
            add(&edb, o, bias ? d : 0);
            for (int64_t i = 0; i < features; i++) {
                add(&ey, n * units + o, (double)w[o * features + i] * x[n * features + i]);
                add(&edx, n * features + i, d * w[o * features + i]);
                add(&edw, o * features + i, d * x[n * features + i]);
            }
        }
    }
    const lamina_tensor tx = tensor(x), tw = tensor(w), tb = tensor(b), ty = tensor(y),
                        tdy = tensor(dy), tdx = tensor(dx), tdw = tensor(dw), tdb = tensor(db);
    const lamina_tensor *in[] = {&tx}, *out[] = {&ty}, *weight[] = {&tw, &tb}, *d_out[] = {&tdy},
                        *d_in[] = {&tdx}, *d_weight[] = {&tdw, &tdb};
    const lamina_io io = {.struct_size = sizeof(io),
                          .samples = samples,
                          .batch = samples,
                          .in = in,
                          .out = out,
                          .weight = weight,
                          .d_out = d_out,
                          .d_in = d_in,
                          .d_weight = d_weight};
    fake_init(&s.fakes[0]);
    poison(y, samples * units);
    poison(dx, samples * features);
    for (int repeat = 0; repeat < 2; repeat++) {
        for (uint32_t pass = 1; pass <= LAMINA_PASS_BACKWARD_WEIGHTS; pass <<= 1) {
            CU_ASSERT(lamina__linear_onednn.run(&linear, NULL, &s.fakes[0].call, pass, &io) ==
                      LAMINA_OK);
        }
    }
    check_near(&p, "output", y, &ey, 1);
    check_near(&p, "d_input", dx, &edx, 1);
    check_near(&p, "d_weight", dw, &edw, 2);
    check_near(&p, "d_bias", db, &edb, 2);
    free_expected(&ey), free_expected(&edx), free_expected(&edw), free_expected(&edb);
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
        lamina__free(all[i]);
    }
}

static void test_linear(void) {
    for (int32_t threads = 1; threads <= 2; threads++) {
        check_linear(800, 500, 32, 1, threads);
        check_linear(500, 10, 32, 1, threads);
        check_linear(7, 3, 1, 0, threads);
        check_linear(1, 1, 5, 1, threads);
    }
}

/* oneDNN waits for ever when OpenMP gives it fewer threads than it counted on, as it may when it is
 * set to adjust them; and what the caller had set is put back. */
static void test_openmp_settings(void) {
    const lamina__onednn_axis a = axis(12, 5, 1, 1, 0, 0, 0);
    const problem p = {"dynamic", convolution(20, 50, 1, 1, a, a), 1, 2, {4}, 0};
    const int threads = omp_get_max_threads(), dynamic = omp_get_dynamic();

    omp_set_num_threads(3);
    omp_set_dynamic(1);
    check_problem(&p);
    check_linear(100, 50, 9, 1, 2);
    CU_ASSERT_EQUAL(omp_get_max_threads(), 3);
    CU_ASSERT_EQUAL(omp_get_dynamic(), 1);
    omp_set_num_threads(threads);
    omp_set_dynamic(dynamic);
}

static void test_names(void) {
    int major = 0, minor = 0, patch = 0;
    CU_ASSERT_EQUAL(sscanf(lamina__onednn_version(), "%d.%d.%d", &major, &minor, &patch), 3);
    CU_ASSERT(major >= 2);
    CU_ASSERT(lamina__onednn_isa()[0] != '\0');
    CU_ASSERT_PTR_NULL(strstr(lamina__onednn_isa(), "cpu_isa"));
}

LAMINA_TESTS({"convolution", test_convolution},
             {"convolution: strides, dilation, padding", test_convolution_geometry},
             {"convolution: groups", test_convolution_groups}, {"average pooling", test_avg_pool},
             {"softmax", test_softmax}, {"softmax in place", test_in_place},
             {"what is not wanted is left alone", test_not_wanted},
             {"prepare() sees new weights", test_repack}, {"shards at once", test_at_once},
             {"forward alone", test_forward_only}, {"says what it is good at", test_applies},
             {"average pooling beyond the padding is left to others", test_avg_pool_ceil},
             {"errors name the primitive", test_errors},
             {"every allocation can fail", test_allocations}, {"linear", test_linear},
             {"settings of OpenMP", test_openmp_settings},
             {"version and instruction set", test_names})
