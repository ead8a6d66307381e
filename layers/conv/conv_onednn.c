/* Convolution by oneDNN's direct kernels on channels-last images; its fast ones want the filters in
 * an order of their own, to which prepare() repacks them. */
#include "layers/conv/conv.h"

#if !LAMINA_LAYERS_F64

#include "layers/window_onednn.h"

static lamina__onednn_spec spec_of(const lamina__conv *conv) {
    return (lamina__onednn_spec){.operation = LAMINA__ONEDNN_CONVOLUTION,
                                 .bias = conv->bias,
                                 .in_channels = conv->in_channels,
                                 .out_channels = conv->out_channels,
                                 .groups = conv->groups,
                                 .y = lamina__onednn_axis_of(&conv->window.y),
                                 .x = lamina__onednn_axis_of(&conv->window.x)};
}

/* Pixels of a filter along an axis: making a primitive, and asking for one, takes time that grows
 * with their square, a second for 512. */
enum { LARGEST = 256 };

static int32_t applies(const void *self, const lamina_setup *setup, uint32_t pass) {
    const lamina__conv *conv = self;
    const lamina__onednn_spec spec = spec_of(conv);
    return conv->window.y.kernel <= LARGEST && conv->window.x.kernel <= LARGEST &&
           lamina__onednn_applies(&spec, setup, pass);
}

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__onednn_spec spec = spec_of(self);
    return lamina__onednn_create(call, &spec, setup, passes, kernel);
}

const lamina_kernel lamina__conv_onednn = {
    .struct_size = sizeof(lamina_kernel),
    .name = "onednn",
    .doc = "oneDNN's convolution, channels-last.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS,
    .flags = LAMINA_KERNEL_OPENS_REGIONS,
    .applies = applies,
    .create = create,
    .prepare = lamina__onednn_prepare,
    .run = lamina__onednn_run,
    .destroy = lamina__onednn_destroy};

#endif
