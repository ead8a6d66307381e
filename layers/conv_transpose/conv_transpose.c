/* conv_transpose: 2-D transposed convolution (also called deconvolution), which enlarges images.
 *
 *   y[n,o,p,q] = b[o] + sum over c and all (i,u), (j,v) that meet p,q of x[n,c,i,j] * w[c,o,u,v]
 *
 * where i,u meet p when i*stride + u*dilation - padding = p, and j,v likewise q: each input pixel
 * adds its filters, times its value, to the window of the output that begins at its place. With C
 * the matrix of the convolution from y's shape to x's with the same filters, y = C^T x + b, so
 *
 *   dx = C dy                     that convolution of dy, without a bias
 *   dw[c,o,u,v] = sum over n,i,j of x[n,c,i,j] * dy[n, o, i*stride + u*dilation - padding, ...]
 *   db[o]       = sum over n,p,q of dy[n,o,p,q]
 *
 * Padding cuts rows and columns away from y's sides; output_padding keeps so many at the bottom
 * and right, for of the sizes that the convolution makes x's size the smallest is taken else:
 *
 *   OH = (H - 1) * stride - padding_top - padding_bottom + dilation * (KH - 1) + output_padding + 1
 *
 * Shapes: (N, I, H, W) -> (N, O, OH, OW); weight (I, O/groups, KH, KW), as in PyTorch. Zeiler et
 * al. 2010, Dumoulin and Visin 2016; docs/mathematics.md. */
#include "layers/conv_transpose/conv_transpose.h"
#include "layers/filters.h"
#include "layers/self.h"
#include "layers/shape.h"
#include "layers/window_params.h"

#define FIELD(name) offsetof(lamina__conv_transpose_config, name)

static const lamina_param params[] = {
    LAMINA__FILTERS_PARAM(FIELD(filters)),
    LAMINA__KERNEL_PARAM(FIELD(kernel), "Size of the filters: one number or [height, width]."),
    LAMINA__STRIDE_PARAM(FIELD(stride),
                         "Step in the output from one input pixel's window to the next's: one "
                         "number or [height, width]."),
    {LAMINA__PIXELS("padding", FIELD(padding),
                    "Rows and columns cut away from the output's sides: one number, "
                    "[height, width] or [top, left, bottom, right].",
                    0, 4),
     .def = "0"},
    {LAMINA__PIXELS("output_padding", FIELD(output_padding),
                    "Rows and columns more at the output's bottom and right: one number or "
                    "[height, width], smaller than the stride or the dilation.",
                    0, 2),
     .def = "0"},
    LAMINA__DILATION_PARAM(FIELD(dilation),
                           "Distance between the pixels that a filter adds to: one number or "
                           "[height, width]."),
    LAMINA__GROUPS_PARAM(FIELD(groups)),
    LAMINA__BIAS_PARAM(FIELD(bias)),
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(lamina__conv_transpose), self);
}

/* Declares the weights: logically (I, O/groups, KH, KW), in memory (I, KH, KW, O/groups). An output
 * sums over the filters of its group's inputs, as far as the stride lets them meet it. */
static int32_t add_weights(const lamina__conv_transpose *layer, lamina_call *call) {
    const lamina__conv *conv = &layer->conv;
    const int64_t kh = conv->window.y.kernel, kw = conv->window.x.kernel;
    const int64_t in = conv->out_channels, out = conv->in_channels / conv->groups;
    int64_t per_input = 0, all = 0;

    if (__builtin_mul_overflow(kh * kw, out, &per_input) ||
        __builtin_mul_overflow(per_input, in, &all)) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE, "the filters are too large");
    }
    const lamina_weight weight = {
        .struct_size = sizeof weight,
        .name = "weight",
        .shape = {.dtype = LAMINA__REAL_DTYPE, .ndim = 4, .dim = {in, out, kh, kw}},
        .init = {.kind = LAMINA_INIT_XAVIER,
                 .fan_in = all / out / conv->groups,
                 .fan_out = per_input},
        .order_ndim = 4,
        .order_dim = {in, out, kh, kw},
        .order_stride = {per_input, 1, kw * out, out}};
    int32_t status = call->host->set_multiply_adds(call, (double)all * (double)conv->window.y.out *
                                                             (double)conv->window.x.out);
    if (status >= 0) {
        status = call->host->add_weight(call, &weight);
    }
    if (status >= 0 && layer->bias) {
        status = lamina__add_bias(call, conv->in_channels);
    }
    return status < 0 ? status : LAMINA_OK;
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    lamina__conv_transpose *layer = self;
    const lamina__conv_transpose_config *config = layer->config;
    lamina__conv *conv = &layer->conv;
    const lamina_shape *in = setup->in[0];

    if (lamina__check_image(call, in) != LAMINA_OK) {
        return LAMINA_ERROR_SHAPE;
    }
    layer->bias = config->bias;
    *conv = (lamina__conv){.in_channels = config->filters,
                           .out_channels = in->dim[1],
                           .groups = config->groups,
                           .threads = setup->threads};
    int32_t status = lamina__check_groups(call, conv->groups, in->dim[1], config->filters);
    if (status == LAMINA_OK) {
        status = LAMINA__REAL_NAME(window_setup_transposed)(
            call,
            &(lamina__window_config){.kernel = &config->kernel,
                                     .stride = &config->stride,
                                     .padding = &config->padding,
                                     .dilation = &config->dilation},
            &config->output_padding, in, &conv->window);
    }
    if (status == LAMINA_OK) {
        status = add_weights(layer, call);
    }
    if (status == LAMINA_OK) {
        lamina_shape out = *in;
        out.dim[1] = conv->in_channels;
        out.dim[2] = conv->window.y.in;
        out.dim[3] = conv->window.x.in;
        status = call->host->set_output(call, 0, &out);
    }
    return status;
}

static const lamina_kernel *const kernels[] = {
#if !LAMINA_LAYERS_F64
    &lamina__conv_transpose_planes,
    &lamina__conv_transpose_direct,
    &lamina__conv_transpose_winograd,
    &lamina__conv_transpose_depthwise,
    &lamina__conv_transpose_patches,
    &lamina__conv_transpose_taps,
    &lamina__conv_transpose_onednn,
#endif
    &LAMINA__REAL_NAME(conv_transpose_reference),
    NULL};

static const char *const cases[] = {
    "{input: [2, 3, 4, 3], params: {filters: 4, kernel: 3}}",
    "{input: [2, 5, 4, 4], params: {filters: 1, kernel: 4, stride: 2, padding: 1}}",
    "{input: [1, 2, 3, 4], params: {filters: 3, kernel: [5, 3], stride: [3, 2], padding: [2, 0], "
    "output_padding: [2, 1]}}",
    "{input: [3, 4, 3, 3], params: {filters: 6, kernel: 3, dilation: 2, groups: 2, padding: 1}}",
    "{input: [2, 3, 3, 3], params: {filters: 2, kernel: 3, padding: [0, 1, 2, 0], bias: false}}",
    "{input: [5, 17, 2, 2], params: {filters: 35, kernel: 2, stride: 2}}",
    NULL};

const lamina_layer_type LAMINA__LAYER(conv_transpose) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "conv_transpose",
    .doc = "2-D transposed convolution (deconvolution) with learned filters, plus a bias.",
    .flags = LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(lamina__conv_transpose_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .kernels = kernels,
    .cases = cases};
