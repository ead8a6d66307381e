/* group_norm: the channels are cut into groups, and each sample's values in a group get mean 0 and
 * variance 1, then each channel a scale and a shift that are learned.
 *
 *   y = weight xhat + bias,   xhat = (x - mean) / sqrt(variance + eps)
 *   dx = (d xhat - mean of d xhat - xhat (mean of d xhat xhat)) / sqrt(variance + eps)
 *
 * with d xhat = weight dy and means over the values of a group in a sample; d_bias = sum dy and
 * d_weight = sum dy xhat over samples and pixels. layers/grouped_norm.h has it in full. The same
 * while training and evaluating. (N, C, H, W) or (N, C), the same out. Wu and He 2018;
 * docs/mathematics.md. */
#include "layers/grouped_norm.h"
#include "layers/norm.h"

#include <inttypes.h>

typedef struct group_norm_config {
    int64_t groups;
    double eps;
    int32_t affine;
} group_norm_config;

#define FIELD(name) offsetof(group_norm_config, name)

static const lamina_param params[] = {
    {.name = "groups",
     .doc = "Parts into which the channels are cut.",
     .type = LAMINA_INT,
     .required = 1,
     .offset = FIELD(groups),
     .min = 1,
     .max = 1048576},
    LAMINA__EPS_PARAM(FIELD(eps),
                      "Added to the variance, so that a constant group is not divided by 0."),
    LAMINA__AFFINE_PARAM(FIELD(affine), "Whether each channel has a learned weight and bias.",
                         "true"),
};

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    lamina__grouped_norm *norm = self;
    const group_norm_config *config = norm->config;
    const lamina_shape *in = setup->in[0];

    if (in->ndim != 4 && in->ndim != 2) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "needs images (N, C, H, W) or features (N, C), got %d dimensions",
                                (int)in->ndim);
    }
    if (in->dim[1] % config->groups != 0) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "groups %" PRId64 " must divide the %" PRId64 " channels",
                                config->groups, in->dim[1]);
    }
    if (in->dim[1] == config->groups && (in->ndim == 2 || in->dim[2] * in->dim[3] == 1)) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "needs more than one value in a group: one alone is its own mean, "
                                "so nothing of it would be left; use fewer than %" PRId64 " groups",
                                config->groups);
    }
    return LAMINA__REAL_NAME(grouped_norm_setup)(norm, call, setup, config->groups, config->eps,
                                                 config->affine);
}

static const char *const cases[] = {
    "{input: [2, 6, 5, 4], params: {groups: 3}}", "{input: [3, 8], params: {groups: 2, eps: 0.01}}",
    "{input: [2, 17, 3, 3], params: {groups: 17}}",
    "{input: [2, 4, 3, 5], params: {groups: 1, affine: false}}", NULL};

const lamina_layer_type LAMINA__LAYER(group_norm) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "group_norm",
    .doc = "Gives groups of a sample's channels mean 0 and variance 1, then each channel a learned "
           "scale and shift.",
    .flags = LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(group_norm_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = LAMINA__REAL_NAME(grouped_norm_create),
    .setup = setup,
    .forward = LAMINA__REAL_NAME(grouped_norm_forward),
    .backward = LAMINA__REAL_NAME(grouped_norm_backward),
    .cases = cases};
