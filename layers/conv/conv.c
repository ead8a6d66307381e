/* conv: 2-D convolution (as everywhere in deep learning, a correlation).
 *
 *   y[n,o,i,j] = b[o] + sum over c,u,v of w[o,c,u,v] * x[n, c, i*stride + u*dilation - padding,
 * ...]
 *
 * with x read as 0 outside the image. y is linear in w and in x, so the gradients are sums over the
 * same triples (output, weight, input):
 *
 *   dw[o,c,u,v] = sum over n,i,j of dy[n,o,i,j] * x[at (i,u), (j,v)]
 *   dx[n,c,p,q] = sum over o and all (i,u), (j,v) that meet p,q of dy[n,o,i,j] * w[o,c,u,v]
 *   db[o]       = sum over n,i,j of dy[n,o,i,j]
 *
 * With groups, input and output channels are cut into that many parts that do not mix.
 * Shapes: (N, I, H, W) -> (N, O, OH, OW). Le Cun et al. 1998; docs/mathematics.md. */
#include "layers/conv/conv.h"
#include "layers/filters.h"
#include "layers/self.h"
#include "layers/shape.h"
#include "layers/window_params.h"

#define FIELD(name) offsetof(lamina__conv_config, name)

static const lamina_param params[] = {
    LAMINA__FILTERS_PARAM(FIELD(filters)),
    LAMINA__KERNEL_PARAM(FIELD(kernel), "Size of the filters: one number or [height, width]."),
    LAMINA__STRIDE_PARAM(FIELD(stride),
                         "Step from one window to the next: one number or [height, width]."),
    LAMINA__PADDING_PARAM(
        FIELD(padding), "Zeros around the image: one number, [height, width] or "
                        "[top, left, bottom, right]; `same` makes the output "
                        "ceil(input / stride) pixels, an odd pixel going to the bottom and right."),
    LAMINA__DILATION_PARAM(FIELD(dilation),
                           "Distance between the pixels that a filter reads: one number or "
                           "[height, width]."),
    LAMINA__GROUPS_PARAM(FIELD(groups)),
    LAMINA__BIAS_PARAM(FIELD(bias)),
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(lamina__conv), self);
}

/* Declares the weights: logically (O, I/groups, KH, KW), in memory (O, KH, KW, I/groups). */
static int32_t add_weights(const lamina__conv *conv, lamina_call *call) {
    const int64_t kh = conv->window.y.kernel, kw = conv->window.x.kernel;
    const int64_t out = conv->out_channels, in = conv->in_channels / conv->groups;
    int64_t per_filter = 0, all = 0;

    if (__builtin_mul_overflow(kh * kw, in, &per_filter) ||
        __builtin_mul_overflow(per_filter, out, &all)) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE, "the filters are too large");
    }
    const lamina_weight weight = {
        .struct_size = sizeof weight,
        .name = "weight",
        .shape = {.dtype = LAMINA__REAL_DTYPE, .ndim = 4, .dim = {out, in, kh, kw}},
        .init = {.kind = LAMINA_INIT_XAVIER,
                 .fan_in = per_filter,
                 .fan_out = all / in / conv->groups},
        .order_ndim = 4,
        .order_dim = {out, in, kh, kw},
        .order_stride = {per_filter, 1, kw * in, in}};
    int32_t status = call->host->set_multiply_adds(call, (double)all * (double)conv->window.y.out *
                                                             (double)conv->window.x.out);
    if (status >= 0) {
        status = call->host->add_weight(call, &weight);
    }
    if (status >= 0 && conv->bias) {
        status = lamina__add_bias(call, out);
    }
    return status < 0 ? status : LAMINA_OK;
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    lamina__conv *conv = self;
    const lamina__conv_config *config = conv->config;
    const lamina_shape *in = setup->in[0];

    if (lamina__check_image(call, in) != LAMINA_OK) {
        return LAMINA_ERROR_SHAPE;
    }
    conv->in_channels = in->dim[1];
    conv->out_channels = config->filters;
    conv->groups = config->groups;
    conv->bias = config->bias;
    conv->threads = setup->threads;
    int32_t status = lamina__check_groups(call, conv->groups, in->dim[1], config->filters);
    if (status == LAMINA_OK) {
        status =
            LAMINA__REAL_NAME(window_setup)(call,
                                            &(lamina__window_config){.kernel = &config->kernel,
                                                                     .stride = &config->stride,
                                                                     .padding = &config->padding,
                                                                     .dilation = &config->dilation},
                                            in, &conv->window);
    }
    if (status == LAMINA_OK) {
        status = add_weights(conv, call);
    }
    if (status == LAMINA_OK) {
        lamina_shape out = *in;
        out.dim[1] = conv->out_channels;
        out.dim[2] = conv->window.y.out;
        out.dim[3] = conv->window.x.out;
        status = call->host->set_output(call, 0, &out);
    }
    return status;
}

static const lamina_kernel *const kernels[] = {
#if !LAMINA_LAYERS_F64
    &lamina__conv_planes,
    &lamina__conv_direct,
    &lamina__conv_winograd,
    &lamina__conv_depthwise,
    &lamina__conv_taps,
    &lamina__conv_onednn,
#endif
    &LAMINA__REAL_NAME(conv_reference),
    NULL};

static const char *const cases[] = {
    "{input: [2, 3, 6, 5], params: {filters: 4, kernel: 3}}",
    "{input: [2, 1, 8, 7], params: {filters: 5, kernel: [5, 3], stride: [2, 1], padding: [2, 0]}}",
    "{input: [1, 2, 7, 6], params: {filters: 3, kernel: 4, stride: 3, padding: same}}",
    "{input: [3, 4, 7, 7], params: {filters: 6, kernel: 3, dilation: 2, groups: 2, padding: 1}}",
    "{input: [2, 3, 5, 5], params: {filters: 2, kernel: 2, padding: [0, 1, 2, 0], bias: false}}",
    "{input: [5, 17, 4, 4], params: {filters: 35, kernel: 1}}",
    NULL};

const lamina_layer_type LAMINA__LAYER(conv) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "conv",
    .doc = "2-D convolution of an image with learned filters, plus a bias.",
    .flags = LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(lamina__conv_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .kernels = kernels,
    .cases = cases};
