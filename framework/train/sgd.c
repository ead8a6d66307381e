/* sgd: stochastic gradient descent with momentum, as torch.optim.SGD computes it.
 *
 *     g += weight_decay * w
 *     v  = momentum * v + g          (v starts at 0, so v = g at the first step)
 *     w -= learning_rate * (nesterov ? g + momentum * v : v)
 *
 * Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep
 * learning", 2013. Weight decay leaves biases and norms alone unless decay_bias says otherwise. */
#include "base/clones.h"
#include "train/rule.h"

#include <float.h>

typedef struct sgd_config {
    double learning_rate, momentum, weight_decay;
    int32_t nesterov, decay_bias;
} sgd_config;

static const lamina_param sgd_params[] = {
    {.name = "learning_rate",
     .doc = "How far a step goes; the schedule multiplies it.",
     .type = LAMINA_REAL,
     .required = 1,
     .offset = offsetof(sgd_config, learning_rate),
     .min = DBL_MIN,
     .max = FLT_MAX},
    {.name = "momentum",
     .doc = "Share of the previous update that goes on.",
     .type = LAMINA_REAL,
     .offset = offsetof(sgd_config, momentum),
     .def = "0",
     .min = 0,
     .max = 1},
    {.name = "nesterov",
     .doc = "Nesterov's momentum: look ahead along the velocity; needs a momentum above 0.",
     .type = LAMINA_BOOL,
     .offset = offsetof(sgd_config, nesterov),
     .def = "false"},
    {.name = "weight_decay",
     .doc = "Pulls weights towards 0: this times the weight is added to its gradient.",
     .type = LAMINA_REAL,
     .offset = offsetof(sgd_config, weight_decay),
     .def = "0",
     .min = 0,
     .max = FLT_MAX},
    {.name = "decay_bias",
     .doc = "Whether weight decay takes biases and norms too, as PyTorch does.",
     .type = LAMINA_BOOL,
     .offset = offsetof(sgd_config, decay_bias),
     .def = "false"},
};

static const char *const sgd_slots[] = {"momentum", NULL};

static size_t sgd_n_slots(const void *values) {
    const sgd_config *config = values;
    return config->momentum != 0 ? 1 : 0;
}

static void sgd_check(const void *values, const lamina__node *at, lamina__diags *diags) {
    const sgd_config *config = values;
    const lamina__node *nesterov = lamina__node_get(at, "nesterov");
    if (config->nesterov && config->momentum == 0) {
        lamina__diag(diags, nesterov ? nesterov : at,
                     "optimizer (sgd): nesterov needs a momentum above 0");
    }
}

static double sgd_learning_rate(const void *values) {
    return ((const sgd_config *)values)->learning_rate;
}

LAMINA__VECTOR_CLONES
static void update_plain(const lamina__rule_range *range, float rate, float decay) {
    float *restrict w = range->weight;
    const float *restrict gradient = range->gradient;
#pragma omp simd
    for (int64_t i = 0; i < range->count; i++) {
        float g = gradient[i] + decay * w[i];
        w[i] -= rate * g;
    }
}

LAMINA__VECTOR_CLONES
static void update_momentum(const lamina__rule_range *range, float rate, float decay,
                            float momentum) {
    float *restrict w = range->weight, *restrict velocity = range->slot[0];
    const float *restrict gradient = range->gradient;
#pragma omp simd
    for (int64_t i = 0; i < range->count; i++) {
        float g = gradient[i] + decay * w[i];
        float v = momentum * velocity[i] + g;
        velocity[i] = v;
        w[i] -= rate * v;
    }
}

LAMINA__VECTOR_CLONES
static void update_nesterov(const lamina__rule_range *range, float rate, float decay,
                            float momentum) {
    float *restrict w = range->weight, *restrict velocity = range->slot[0];
    const float *restrict gradient = range->gradient;
#pragma omp simd
    for (int64_t i = 0; i < range->count; i++) {
        float g = gradient[i] + decay * w[i];
        float v = momentum * velocity[i] + g;
        velocity[i] = v;
        w[i] -= rate * (g + momentum * v);
    }
}

static void sgd_update(const void *values, const lamina__rule_range *range) {
    const sgd_config *config = values;
    float rate = (float)range->learning_rate, momentum = (float)config->momentum;
    float decay = range->no_decay && !config->decay_bias
                      ? 0.0f
                      : (float)(config->weight_decay * range->decay_scale);
    if (config->momentum == 0) {
        update_plain(range, rate, decay);
    } else if (config->nesterov) {
        update_nesterov(range, rate, decay, momentum);
    } else {
        update_momentum(range, rate, decay, momentum);
    }
}

const lamina__optimizer_type lamina__sgd = {
    .name = "sgd",
    .doc = "Stochastic gradient descent with momentum, Nesterov's momentum and weight decay.",
    .config_size = sizeof(sgd_config),
    .params = sgd_params,
    .n_params = sizeof(sgd_params) / sizeof(sgd_params[0]),
    .slots = sgd_slots,
    .n_slots = sgd_n_slots,
    .check = sgd_check,
    .learning_rate = sgd_learning_rate,
    .update = sgd_update,
};
