/* Max pooling by oneDNN. Its forward pass saves which element of each window was the largest, in a
 * form that only its own backward pass can read. It passes over NaNs in a window. */
#include "layers/max_pool/max_pool.h"

#if !LAMINA_LAYERS_F64

#include "layers/window_onednn.h"

static lamina__onednn_spec spec_of(const lamina__max_pool *pool) {
    return (lamina__onednn_spec){.operation = LAMINA__ONEDNN_MAX_POOL,
                                 .in_channels = pool->channels,
                                 .out_channels = pool->channels,
                                 .y = lamina__onednn_axis_of(&pool->window.y),
                                 .x = lamina__onednn_axis_of(&pool->window.x)};
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

const lamina_kernel lamina__max_pool_onednn = {
    .struct_size = sizeof(lamina_kernel),
    .name = "onednn",
    .doc = "oneDNN's max pooling, channels-last; NaNs are passed over.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA,
    .flags = LAMINA_KERNEL_TOGETHER,
    .applies = applies,
    .create = create,
    .run = lamina__onednn_run,
    .destroy = lamina__onednn_destroy};

#endif
