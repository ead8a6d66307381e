/* Average pooling by oneDNN. When padding counts, oneDNN divides every window by the size of the
 * kernel, also one that ceil_mode let pass the end of the padding; such shapes are left to the
 * reference. */
#include "layers/avg_pool/avg_pool.h"

#if !LAMINA_LAYERS_F64

#include "layers/window_onednn.h"

static lamina__onednn_spec spec_of(const lamina__avg_pool *pool) {
    return (lamina__onednn_spec){.operation = pool->count_include_pad
                                                  ? LAMINA__ONEDNN_AVG_POOL_INCLUDE
                                                  : LAMINA__ONEDNN_AVG_POOL_EXCLUDE,
                                 .in_channels = pool->channels,
                                 .out_channels = pool->channels,
                                 .y = lamina__onednn_axis_of(&pool->window.y),
                                 .x = lamina__onednn_axis_of(&pool->window.x)};
}

static int32_t applies(const void *self, const lamina_setup *setup, uint32_t pass) {
    const lamina__avg_pool *pool = self;
    const lamina__axis *y = &pool->window.y, *x = &pool->window.x;
    const lamina__onednn_spec spec = spec_of(pool);

    if (pool->count_include_pad && (y->overhang > y->pad_end || x->overhang > x->pad_end)) {
        return 0;
    }
    return lamina__onednn_applies(&spec, setup, pass);
}

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__onednn_spec spec = spec_of(self);
    return lamina__onednn_create(call, &spec, setup, passes, kernel);
}

const lamina_kernel lamina__avg_pool_onednn = {.struct_size = sizeof(lamina_kernel),
                                               .name = "onednn",
                                               .doc = "oneDNN's average pooling, channels-last.",
                                               .passes =
                                                   LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA,
                                               .applies = applies,
                                               .create = create,
                                               .run = lamina__onednn_run,
                                               .destroy = lamina__onednn_destroy};

#endif
