/* Softmax by oneDNN, along the channels, which are contiguous. */
#include "layers/softmax/softmax.h"

#if !LAMINA_LAYERS_F64

#include "onednn/onednn.h"

static lamina__onednn_spec spec_of(const lamina__softmax *softmax) {
    return (lamina__onednn_spec){.operation = LAMINA__ONEDNN_SOFTMAX,
                                 .in_channels = softmax->channels,
                                 .rows = softmax->rows};
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

const lamina_kernel lamina__softmax_onednn = {.struct_size = sizeof(lamina_kernel),
                                              .name = "onednn",
                                              .doc = "oneDNN's softmax.",
                                              .passes =
                                                  LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA,
                                              .applies = applies,
                                              .create = create,
                                              .run = lamina__onednn_run,
                                              .destroy = lamina__onednn_destroy};

#endif
