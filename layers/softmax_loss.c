/* softmax_loss: softmax and cross-entropy in one, the loss of a classifier. Bridle 1990; label
 * smoothing: Szegedy et al. 2016. Options and means as torch.nn.CrossEntropyLoss.
 *
 *   log s[k] = x[k] - m - log(sum over j of exp(x[j] - m)),   m = max over j of x[j]
 *   loss     = -sum over k of c[k] log s[k]
 *
 * so that nothing overflows. The coefficients c say what is wanted. With a label t, label_smoothing
 * e, class weights w and K classes:
 *
 *   c[k] = (1 - e) w[t] [k = t] + e w[k] / K        times batch / (sum of w[t] over the batch)
 *
 * and 0 when t is the ignored label (layers/labels.h); with probabilities p instead of a label:
 *
 *   c[k] = w[k] ((1 - e) p[k] + e / K)
 *
 * The softmax Jacobian diag(s) - s s^T times the gradient of the logarithm leaves
 *
 *   dx[k] = dloss (s[k] C - c[k]),   C = sum over k of c[k]        (plainly: s - onehot(t))
 *   dp[k] = -dloss w[k] (1 - e) log s[k]
 *
 * so forward saves these without dloss. Scores (N, K) or (N, K, 1, 1); labels (N), or probabilities
 * (N, K) -> (N): the loss of each sample. The host trains on their mean and has checked the labels'
 * range. A score that is NaN makes the loss NaN. docs/mathematics.md. */
#include "layers/labels.h"
#include "layers/parallel.h"
#include "layers/self.h"
#include "layers/softmax/softmax_row.h"

typedef struct softmax_loss_config {
    lamina__label_config labels;
    double label_smoothing;
} softmax_loss_config;

static const lamina_param params[] = {
    LAMINA__LABEL_PARAMS,
    {.name = "label_smoothing",
     .doc = "Part of the target that is spread evenly over all classes.",
     .type = LAMINA_REAL,
     .offset = offsetof(softmax_loss_config, label_smoothing),
     .max = 1,
     .def = "0"},
};

typedef struct softmax_loss {
    const softmax_loss_config *config;
    int64_t classes;
    double smooth; /* sum over k of e w[k] / K */
    int32_t threads;
    int32_t saves;         /* 1: saved[0] is dx without dloss, (N, K) */
    int32_t probabilities; /* 1: the target is p; saved[1] is dp without dloss, (N, K) */
} softmax_loss;

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(softmax_loss), self);
}

static int32_t check_target(softmax_loss *loss, lamina_call *call, const lamina_shape *x,
                            const lamina_shape *target) {
    if (!loss->probabilities) {
        return lamina__check_labels(call, target, x->dim[0]);
    }
    if (target->ndim < 2 || target->dim[1] != loss->classes ||
        (target->ndim > 2 && !(target->ndim == 4 && target->dim[2] * target->dim[3] == 1))) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "needs labels, or a probability for each of the %" PRId64
                                " classes, (N, %" PRId64 ")",
                                loss->classes, loss->classes);
    }
    if (loss->config->labels.ignore_label >= 0) {
        return call->host->fail(call, LAMINA_ERROR_CONFIG,
                                "ignore_label is for labels, and the target is probabilities");
    }
    return LAMINA_OK;
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    softmax_loss *loss = self;
    const lamina_shape *x = setup->in[0];
    const lamina_shape out = {.dtype = LAMINA__REAL_DTYPE, .ndim = 1, .dim = {x->dim[0]}};
    loss->threads = setup->threads;
    loss->saves = setup->training;
    loss->probabilities = setup->in[1]->dtype == LAMINA__REAL_DTYPE;
    int32_t status = lamina__check_scores(call, x, &loss->classes);
    if (status == LAMINA_OK) {
        status = check_target(loss, call, x, setup->in[1]);
    }
    if (status == LAMINA_OK) {
        status = lamina__check_label_config(call, &loss->config->labels, loss->classes);
    }
    if (status != LAMINA_OK) {
        return status;
    }
    const lamina_reals *weights = &loss->config->labels.class_weights;
    for (int64_t k = 0; k < loss->classes; k++) {
        loss->smooth += loss->config->label_smoothing / (double)loss->classes *
                        (weights->count > 0 ? weights->value[k] : 1);
    }
    const lamina_shape s = {
        .dtype = LAMINA__REAL_DTYPE, .ndim = 2, .dim = {x->dim[0], loss->classes}};
    if (loss->saves) {
        status = call->host->add_saved(call, "gradient", &s);
    }
    if (status >= 0 && loss->saves && loss->probabilities) {
        status = call->host->add_saved(call, "target_gradient", &s);
    }
    return status < 0 ? status : call->host->set_output(call, 0, &out);
}

/* One call, as the threads share it. */
typedef struct work {
    const softmax_loss *loss;
    const lamina_io *io;
    double scale; /* of labels' weights */
} work;

/* The loss of one sample with one coefficient, that of its label; s C - c in g unless that is NULL.
 */
LAMINA__VECTOR_CLONES
static lamina_real label_row(const lamina_real *x, int64_t classes, int32_t label,
                             lamina_real coefficient, lamina_real *g) {
    const lamina__softmax_sum row = lamina__softmax_row(x, classes, g);
    for (int64_t k = 0; g != NULL && k < classes; k++) {
        g[k] = g[k] / row.sum * coefficient;
    }
    if (g != NULL) {
        g[label] -= coefficient;
    }
    return coefficient * (lamina__log(row.sum) - (x[label] - row.max));
}

/* What the coefficients of a sample are made of: c[k] = w[k] (even + part p[k]) + [k = t] peak. */
typedef struct coefficients {
    const double *weights;          /* NULL: all 1 */
    const lamina_real *probability; /* NULL: there is a label */
    double even, part, peak;
    int64_t label;
} coefficients;

static inline double weight_of(const coefficients *c, int64_t k) {
    return c->weights != NULL ? c->weights[k] : 1;
}

static inline double coefficient_of(const coefficients *c, int64_t k) {
    const double p = c->probability != NULL ? (double)c->probability[k] : 0;
    return weight_of(c, k) * (c->even + c->part * p) + (k == c->label ? c->peak : 0);
}

/* The same with many coefficients; total: their sum. dp may be NULL, too. */
LAMINA__VECTOR_CLONES
static lamina_real row_of_many(const lamina_real *x, int64_t classes, const coefficients *c,
                               double total, lamina_real *g, lamina_real *dp) {
    const lamina__softmax_sum row = lamina__softmax_row(x, classes, g);
    const double log_sum = (double)lamina__log(row.sum);
    double loss = 0;
    for (int64_t k = 0; k < classes; k++) {
        const double log_s = (double)(x[k] - row.max) - log_sum, coefficient = coefficient_of(c, k);
        loss -= coefficient * log_s;
        if (g != NULL) {
            g[k] = (lamina_real)((double)(g[k] / row.sum) * total - coefficient);
        }
        if (dp != NULL) {
            dp[k] = (lamina_real)(-weight_of(c, k) * c->part * log_s);
        }
    }
    return (lamina_real)loss;
}

static double sum_of(const coefficients *c, int64_t classes) {
    double sum = 0;
    for (int64_t k = 0; k < classes; k++) {
        sum += coefficient_of(c, k);
    }
    return sum;
}

/* The loss of a sample that counts nothing. */
static lamina_real nothing(int64_t classes, lamina_real *g) {
    for (int64_t k = 0; g != NULL && k < classes; k++) {
        g[k] = 0;
    }
    return 0;
}

static lamina_real forward_label(const work *w, const lamina_real *x, int32_t label,
                                 lamina_real *g) {
    const softmax_loss_config *config = w->loss->config;
    const double smoothing = config->label_smoothing;
    if (label == config->labels.ignore_label || w->scale == 0) {
        return nothing(w->loss->classes, g);
    }
    const double peak = (1 - smoothing) * lamina__label_weight(&config->labels, label) * w->scale;
    if (smoothing == 0) {
        return label_row(x, w->loss->classes, label, (lamina_real)peak, g);
    }
    const coefficients c = {.weights = config->labels.class_weights.value,
                            .even = smoothing / (double)w->loss->classes * w->scale,
                            .peak = peak,
                            .label = label};
    return row_of_many(x, w->loss->classes, &c, peak + w->loss->smooth * w->scale, g, NULL);
}

static lamina_real forward_probabilities(const softmax_loss *loss, const lamina_real *x,
                                         const lamina_real *p, lamina_real *g, lamina_real *dp) {
    const double smoothing = loss->config->label_smoothing;
    const coefficients c = {.weights = loss->config->labels.class_weights.value,
                            .probability = p,
                            .even = smoothing / (double)loss->classes,
                            .part = 1 - smoothing,
                            .label = -1};
    return row_of_many(x, loss->classes, &c, sum_of(&c, loss->classes), g, dp);
}

/* Samples begin .. end-1. */
static int32_t forward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t classes = w->loss->classes;
    const lamina_real *x = w->io->in[0]->data;
    lamina_real *g = w->loss->saves ? w->io->saved[0]->data : NULL;
    lamina_real *out = w->io->out[0]->data;

    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        lamina_real *row = g != NULL ? g + n * classes : NULL;
        if (w->loss->probabilities) {
            const lamina_real *p = w->io->in[1]->data;
            lamina_real *dp = g != NULL ? (lamina_real *)w->io->saved[1]->data + n * classes : NULL;
            out[n] = forward_probabilities(w->loss, x + n * classes, p + n * classes, row, dp);
        } else {
            const int32_t *label = w->io->in[1]->data;
            out[n] = forward_label(w, x + n * classes, label[n], row);
        }
    }
    return LAMINA_OK;
}

LAMINA__VECTOR_CLONES
static void multiply_row(const lamina_real *restrict g, lamina_real d_loss,
                         lamina_real *restrict dx, int64_t n) {
    for (int64_t k = 0; k < n; k++) {
        dx[k] = d_loss * g[k];
    }
}

static int32_t backward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t classes = w->loss->classes;
    const lamina_real *d_loss = w->io->d_out[0]->data;
    (void)thread;
    for (int32_t k = 0; k < 2; k++) {
        if (w->io->d_in[k] == NULL) {
            continue;
        }
        const lamina_real *g = w->io->saved[k]->data;
        lamina_real *d = w->io->d_in[k]->data;
        for (int64_t n = begin; n < end; n++) {
            multiply_row(g + n * classes, d_loss[n], d + n * classes, classes);
        }
    }
    return LAMINA_OK;
}

enum { GRAIN_NUMBERS = 1024 }; /* less is not worth a thread */

/* What makes numbers no probabilities: a negative one, at *class, or else their sum, which is what
 * comes back, and *class is -1. 1 for what is right. A NaN is not judged here: the loss will be
 * one. */
static double wrong_in(const lamina_real *p, int64_t classes, int64_t *class) {
    double sum = 0;
    for (*class = 0; *class < classes; ++*class) {
        if (p[*class] < 0) {
            return (double)p[*class];
        }
        sum += (double)p[*class];
    }
    *class = -1;
    return sum < 0.99 || sum > 1.01 ? sum : 1;
}

static int32_t check_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t classes = w->loss->classes;
    int64_t class = -1;
    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        const lamina_real *p = (const lamina_real *)w->io->in[1]->data + n * classes;
        if (wrong_in(p, classes, &class) != 1) {
            return LAMINA_ERROR_DATA;
        }
    }
    return LAMINA_OK;
}

/* Of the data's targets; what another layer gives may be anything. */
static int32_t check_probabilities(const work *w, lamina_call *call) {
    const int64_t classes = w->loss->classes;
    const int32_t status = lamina__spread(call, w->loss->threads, w->io->samples,
                                          GRAIN_NUMBERS / classes + 1, check_range, (void *)w);
    for (int64_t n = 0; status != LAMINA_OK && n < w->io->samples; n++) {
        int64_t class;
        const lamina_real *p = (const lamina_real *)w->io->in[1]->data + n * classes;
        const double wrong = wrong_in(p, classes, &class);
        const int64_t sample = w->io->first_sample + n;
        if (wrong != 1 && class >= 0) {
            return call->host->fail(call, LAMINA_ERROR_DATA,
                                    "the targets are to be probabilities of the %" PRId64
                                    " classes, and that of sample %" PRId64
                                    " of the batch is %g for class %" PRId64
                                    "; for other numbers take mse_loss or bce_loss",
                                    classes, sample, wrong, class);
        }
        if (wrong != 1) {
            return call->host->fail(call, LAMINA_ERROR_DATA,
                                    "the targets are to be probabilities of the %" PRId64
                                    " classes, and those of sample %" PRId64
                                    " of the batch add up to %g, not to 1; for other numbers take "
                                    "mse_loss or bce_loss",
                                    classes, sample, wrong);
        }
    }
    return status;
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const softmax_loss *loss = self;
    work w = {.loss = loss,
              .io = io,
              .scale = loss->probabilities ? 1 : lamina__label_scale(&loss->config->labels, io)};
    if (loss->probabilities && io->target != NULL) {
        const int32_t status = check_probabilities(&w, call);
        if (status != LAMINA_OK) {
            return status;
        }
    }
    return lamina__spread(call, loss->threads, io->samples, GRAIN_NUMBERS / loss->classes + 1,
                          forward_range, &w);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    work w = {.loss = self, .io = io};
    return lamina__spread(call, w.loss->threads, io->samples, GRAIN_NUMBERS / w.loss->classes + 1,
                          backward_range, &w);
}

static const char *const cases[] = {
    "{input: [[4, 5], [4]]}",
    "{input: [[3, 2, 1, 1], [3]]}",
    "{input: [[1, 1000], [1]]}",
    "{input: [4, 5], params: {label_smoothing: 0.1, class_weights: [1, 2, 0.5, 3, 0.25], "
    "ignore_label: 2}}",
    "{input: [4, 5], target: values, params: {label_smoothing: 0.1}}",
    NULL};

const lamina_layer_type LAMINA__LAYER(softmax_loss) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "softmax_loss",
    .doc = "Softmax and cross-entropy with the label, or with probabilities: the loss of a "
           "classifier.",
    .flags = LAMINA_IS_LOSS | LAMINA_ANY_DTYPE,
    .state_version = 1,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .config_size = sizeof(softmax_loss_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
