/* instance_norm: each channel of each sample gets mean 0 and variance 1 over its pixels, then, with
 * `affine`, a scale and a shift that are learned.
 *
 *   y = weight xhat + bias,   xhat = (x - mean) / sqrt(variance + eps)
 *   dx = weight (dy - mean of dy - xhat (mean of dy xhat)) / sqrt(variance + eps)
 *
 * with means over the pixels; d_bias = sum dy and d_weight = sum dy xhat over samples and pixels.
 * It is group_norm with as many groups as channels (layers/grouped_norm.h), the same while training
 * and evaluating: there are no running statistics. (N, C, H, W), the same out. Ulyanov, Vedaldi and
 * Lempitsky 2016; docs/mathematics.md. */
#include "layers/grouped_norm.h"
#include "layers/norm.h"
#include "layers/shape.h"

typedef struct instance_norm_config {
    double eps;
    int32_t affine;
} instance_norm_config;

#define FIELD(name) offsetof(instance_norm_config, name)

static const lamina_param params[] = {
    LAMINA__EPS_PARAM(FIELD(eps),
                      "Added to the variance, so that a constant channel is not divided by 0."),
    LAMINA__AFFINE_PARAM(FIELD(affine), "Whether each channel has a learned weight and bias.",
                         "false"),
};

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    lamina__grouped_norm *norm = self;
    const instance_norm_config *config = norm->config;
    const lamina_shape *in = setup->in[0];

    if (lamina__check_image(call, in) != LAMINA_OK) {
        return LAMINA_ERROR_SHAPE;
    }
    if (in->dim[2] * in->dim[3] == 1) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "needs images of more than one pixel: one alone is its own mean, "
                                "so nothing of it would be left");
    }
    return LAMINA__REAL_NAME(grouped_norm_setup)(norm, call, setup, in->dim[1], config->eps,
                                                 config->affine);
}

static const char *const cases[] = {"{input: [2, 3, 5, 4]}",
                                    "{input: [3, 17, 3, 3], params: {affine: true, eps: 0.01}}",
                                    "{input: [1, 2, 3, 3], params: {affine: true}}", NULL};

const lamina_layer_type LAMINA__LAYER(instance_norm) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "instance_norm",
    .doc = "Gives each channel of each sample mean 0 and variance 1 over its pixels.",
    .flags = LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(instance_norm_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = LAMINA__REAL_NAME(grouped_norm_create),
    .setup = setup,
    .forward = LAMINA__REAL_NAME(grouped_norm_forward),
    .backward = LAMINA__REAL_NAME(grouped_norm_backward),
    .cases = cases};
