/* bce_loss: binary cross-entropy, for numbers that are probabilities each by itself; any shape.
 * As torch.nn.BCEWithLogitsLoss, or with `logits: false` as torch.nn.BCELoss.
 *
 *   with logits, s = sigmoid(x) and pos_weight p:
 *     l(x, t) = -(p t log s + (1 - t) log(1 - s)) = (1 - t) softplus(x) + p t softplus(-x)
 *     slopes    (1 - t) sigmoid(x) - p t sigmoid(-x)   (with p = 1: s - t)
 *               and   p softplus(-x) - softplus(x)   (with p = 1: -x)
 *   of probabilities:
 *     l(x, t) = -(t log x + (1 - t) log(1 - x)),   logarithms at least -100
 *     slopes    (x - t) / (x (1 - x))   and   log(1 - x) - log x
 *
 * With e = exp(-|x|) the softplus of the two signs are log(1 + e) and that plus |x|, the sigmoids
 * e / (1 + e) and 1 / (1 + e): nothing overflows, and a sure 0 or 1 keeps all its digits, on either
 * side. Prediction and target (N, ...) -> (N): the mean over each sample's numbers.
 * docs/mathematics.md. */
#include "layers/pairs.h"
#include "layers/parallel.h"
#include "layers/vector_math.h"

#include <inttypes.h>

typedef struct bce_loss_config {
    lamina_reals pos_weight;
    int32_t logits;
} bce_loss_config;

static const lamina_param params[] = {
    {.name = "logits",
     .doc = "The prediction is what goes into a sigmoid, and the loss computes that, too, which is "
            "more exact; false: it is probabilities.",
     .type = LAMINA_BOOL,
     .offset = offsetof(bce_loss_config, logits),
     .def = "true"},
    {.name = "pos_weight",
     .doc = "What the part of the ones counts, against that of the zeros: one number, or one for "
            "each feature or channel. With logits only. Default: 1.",
     .type = LAMINA_REALS,
     .offset = offsetof(bce_loss_config, pos_weight),
     .max = 1e30,
     .def = "[]",
     .max_count = 1 << 20},
};

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    const lamina__pairs *pairs = self;
    const bce_loss_config *config = pairs->config;
    const lamina_shape *x = setup->in[0];
    const int64_t given = config->pos_weight.count;
    if (given > 0 && !config->logits) {
        return call->host->fail(call, LAMINA_ERROR_CONFIG, "pos_weight goes with logits only");
    }
    if (given > 1 && ((x->ndim != 2 && x->ndim != 4) || x->dim[1] != given)) {
        return call->host->fail(call, LAMINA_ERROR_CONFIG,
                                "pos_weight has %" PRId64 " numbers; give one, or one for each "
                                "feature of (N, F) or channel of (N, C, H, W)",
                                given);
    }
    return LAMINA__REAL_NAME(pairs_setup)(self, call, setup);
}

/* exp(-|x|) */
__attribute__((always_inline)) static inline lamina_real tail(lamina_real x) {
    return lamina__vector_exp(x < 0 ? x : -x);
}

/* ---- With logits --------------------------------------------------------------------------- */

/* p of n numbers from place `first` on: features lie in a row, and so do the channels of a pixel.
 */
static void weights_at(const lamina_reals *given, int64_t first, int64_t n, lamina_real *p) {
    for (int64_t i = 0; i < n; i++) {
        p[i] = (lamina_real)(given->count > 0 ? given->value[(first + i) % given->count] : 1);
    }
}

enum { STRIP = 64 }; /* numbers whose weights are at hand */

LAMINA__VECTOR_CLONES
static void logit_values(const lamina_real *x, const lamina_real *t, const lamina_real *p,
                         lamina_real *l, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const lamina_real rest = lamina__vector_log1p(tail(x[i]));
        const lamina_real above = x[i] < 0 ? rest : x[i] + rest; /* softplus(x) */
        const lamina_real below = x[i] < 0 ? rest - x[i] : rest; /* softplus(-x) */
        l[i] = (1 - t[i]) * above + p[i] * t[i] * below;
    }
}

LAMINA__VECTOR_CLONES
static void logit_slopes(const lamina_real *x, const lamina_real *t, const lamina_real *p,
                         lamina_real scale, lamina_real *d, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const lamina_real e = tail(x[i]);
        const lamina_real zero = (1 - t[i]) * (x[i] < 0 ? e : 1);
        const lamina_real one = p[i] * t[i] * (x[i] < 0 ? 1 : e);
        d[i] = scale * ((zero - one) / (1 + e));
    }
}

LAMINA__VECTOR_CLONES
static void logit_target_slopes(const lamina_real *x, const lamina_real *p, lamina_real scale,
                                lamina_real *d, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const lamina_real rest = lamina__vector_log1p(tail(x[i]));
        d[i] = scale * ((p[i] - 1) * rest - (x[i] < 0 ? p[i] : 1) * x[i]);
    }
}

/* ---- Of probabilities ---------------------------------------------------------------------- */

static lamina_real log_of(lamina_real x) {
    const lamina_real y = lamina__log(x);
    return y < -100 ? -100 : y;
}

static void probability_values(const lamina_real *x, const lamina_real *t, lamina_real *l,
                               int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        l[i] = -(t[i] * log_of(x[i]) + (1 - t[i]) * log_of(1 - x[i]));
    }
}

static void probability_slopes(const lamina_real *x, const lamina_real *t, lamina_real scale,
                               int by_target, lamina_real *d, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const lamina_real product = x[i] * (1 - x[i]), least = (lamina_real)1e-12;
        d[i] = by_target ? scale * (log_of(1 - x[i]) - log_of(x[i]))
                         : scale * (x[i] - t[i]) / (product > least ? product : least);
    }
}

/* ---- Both ---------------------------------------------------------------------------------- */

static void values(const void *config, const lamina_real *x, const lamina_real *t, int64_t first,
                   lamina_real *l, int64_t n) {
    const bce_loss_config *c = config;
    lamina_real p[STRIP];
    if (!c->logits) {
        probability_values(x, t, l, n);
        return;
    }
    for (int64_t i = 0; i < n; i += STRIP) {
        const int64_t length = n - i < STRIP ? n - i : STRIP;
        weights_at(&c->pos_weight, first + i, length, p);
        logit_values(x + i, t + i, p, l + i, length);
    }
}

static void slopes(const void *config, const lamina_real *x, const lamina_real *t, int64_t first,
                   lamina_real scale, int by_target, lamina_real *d, int64_t n) {
    const bce_loss_config *c = config;
    lamina_real p[STRIP];
    if (!c->logits) {
        probability_slopes(x, t, scale, by_target, d, n);
        return;
    }
    for (int64_t i = 0; i < n; i += STRIP) {
        const int64_t length = n - i < STRIP ? n - i : STRIP;
        weights_at(&c->pos_weight, first + i, length, p);
        if (by_target) {
            logit_target_slopes(x + i, p, scale, d + i, length);
        } else {
            logit_slopes(x + i, t + i, p, scale, d + i, length);
        }
    }
}

/* One input of a call, as the threads look at it. */
typedef struct looked_at {
    const lamina_real *x;
    int64_t numbers; /* of a sample */
} looked_at;

/* A NaN is not judged here: the loss will be one. */
static int is_outside(lamina_real x) {
    return (x < 0) | (x > 1);
}

LAMINA__VECTOR_CLONES
static int any_outside(const lamina_real *x, int64_t n) {
    int any = 0;
#pragma omp simd reduction(| : any)
    for (int64_t i = 0; i < n; i++) {
        any |= is_outside(x[i]);
    }
    return any;
}

static int32_t look(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const looked_at *in = arg;
    (void)thread;
    return any_outside(in->x + begin * in->numbers, (end - begin) * in->numbers) ? LAMINA_ERROR_DATA
                                                                                 : LAMINA_OK;
}

enum { GRAIN_NUMBERS = 65536 }; /* less is not worth a thread */

/* Are all numbers of input k from 0 to 1? `what` it is and `what_to_do` if not. */
static int32_t check_input(const lamina__pairs *pairs, lamina_call *call, const lamina_io *io,
                           int32_t k, const char *what, const char *what_to_do) {
    looked_at in = {io->in[k]->data, pairs->numbers};
    const int32_t status = lamina__spread(call, pairs->threads, io->samples,
                                          GRAIN_NUMBERS / pairs->numbers + 1, look, &in);
    int64_t i = 0;
    while (status != LAMINA_OK && i < io->samples * in.numbers && !is_outside(in.x[i])) {
        i++;
    }
    if (status == LAMINA_OK || i == io->samples * in.numbers) {
        return status;
    }
    return call->host->fail(call, LAMINA_ERROR_DATA,
                            "%s must be from 0 to 1, and sample %" PRId64
                            " of the batch has %g; %s",
                            what, io->first_sample + i / in.numbers, (double)in.x[i], what_to_do);
}

static int32_t check_inputs(const lamina__pairs *pairs, lamina_call *call, const lamina_io *io) {
    const bce_loss_config *config = pairs->config;
    int32_t status = LAMINA_OK;
    if (!config->logits) {
        status = check_input(pairs, call, io, 0, "with logits: false the prediction",
                             "put a sigmoid before it or leave logits: true");
    }
    return status != LAMINA_OK ? status
                               : check_input(pairs, call, io, 1, "the target",
                                             "scale the targets, or take a loss for any numbers, "
                                             "such as mse_loss");
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const int32_t status = check_inputs(self, call, io);
    if (status != LAMINA_OK) {
        return status;
    }
    return LAMINA__REAL_NAME(pairs_run_forward)(self, call, io, values);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(pairs_run_backward)(self, call, io, slopes);
}

static const char *const cases[] = {
    "{input: [4, 5], target: values, target_range: [0.1, 0.9]}",
    "{input: [[2, 3, 2, 2], [2, 12]], target: values, target_range: [0.1, 0.9], "
    "params: {pos_weight: [1, 2, 0.5]}}",
    "{input: [4, 5], target: values, params: {logits: false}, range: [0.1, 0.9]}", NULL};

const lamina_layer_type LAMINA__LAYER(bce_loss) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "bce_loss",
    .doc = "Binary cross-entropy of logits, or of probabilities.",
    .flags = LAMINA_IS_LOSS | LAMINA_ANY_DTYPE | LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .config_size = sizeof(bce_loss_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = LAMINA__REAL_NAME(pairs_create),
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
