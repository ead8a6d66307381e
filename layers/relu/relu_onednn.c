/* Rectified linear unit by oneDNN. Backward reads the output, so both passes can work in place.
 * Unlike the reference it makes 0 of a NaN, as x86's maximum does. */
#include "layers/relu/relu.h"

#if !LAMINA_LAYERS_F64

#include "onednn/onednn.h"

static lamina__onednn_spec spec_of(const lamina__relu *relu) {
    return (lamina__onednn_spec){
        .operation = LAMINA__ONEDNN_RELU, .in_channels = relu->elements, .rows = 1};
}

static int32_t applies(const void *self, const lamina_setup *setup, uint32_t pass) {
    const lamina__onednn_spec spec = spec_of(self);
    return lamina__onednn_applies(&spec, setup, pass);
}

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__onednn_spec spec = spec_of(self);
    return lamina__onednn_create(call, &spec, setup, passes, kernel);
}

const lamina_kernel lamina__relu_onednn = {.struct_size = sizeof(lamina_kernel),
                                           .name = "onednn",
                                           .doc = "oneDNN's elementwise kernel; a NaN becomes 0.",
                                           .passes =
                                               LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA,
                                           .applies = applies,
                                           .create = create,
                                           .run = lamina__onednn_run,
                                           .destroy = lamina__onednn_destroy};

#endif
