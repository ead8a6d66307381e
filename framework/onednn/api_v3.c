/* api.h on oneDNN 3.x. */
#include "onednn/api.h"

#if DNNL_VERSION_MAJOR >= 3

dnnl_status_t lamina__md_make(lamina__md *md, int ndims, const dnnl_dim_t *dims,
                              const dnnl_dim_t *strides) {
    *md = NULL;
    return strides != NULL
               ? dnnl_memory_desc_create_with_strides(md, ndims, dims, dnnl_f32, strides)
               : dnnl_memory_desc_create_with_tag(md, ndims, dims, dnnl_f32, dnnl_format_tag_any);
}

void lamina__md_free(lamina__md md) {
    if (md != NULL) {
        dnnl_memory_desc_destroy(md);
    }
}

dnnl_status_t lamina__dnnl_append_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}

dnnl_status_t lamina__pd_convolution(dnnl_primitive_desc_t *pd, const lamina__dnnl *dnnl,
                                     dnnl_prop_kind_t kind, const lamina__dnnl_window *w,
                                     lamina__md_ref src, lamina__md_ref weights,
                                     lamina__md_ref bias, lamina__md_ref dst,
                                     const_dnnl_primitive_desc_t hint) {
    const dnnl_alg_kind_t direct = dnnl_convolution_direct;
    switch ((int)kind) {
    case dnnl_backward_data:
        return dnnl_convolution_backward_data_primitive_desc_create(
            pd, dnnl->engine, direct, src, weights, dst, w->stride, w->dilation, w->pad_begin,
            w->pad_end, hint, dnnl->attr);
    case dnnl_backward_weights:
        return dnnl_convolution_backward_weights_primitive_desc_create(
            pd, dnnl->engine, direct, src, weights, bias, dst, w->stride, w->dilation, w->pad_begin,
            w->pad_end, hint, dnnl->attr);
    default:
        return dnnl_convolution_forward_primitive_desc_create(
            pd, dnnl->engine, kind, direct, src, weights, bias, dst, w->stride, w->dilation,
            w->pad_begin, w->pad_end, dnnl->attr);
    }
}

dnnl_status_t lamina__pd_pooling(dnnl_primitive_desc_t *pd, const lamina__dnnl *dnnl,
                                 dnnl_prop_kind_t kind, dnnl_alg_kind_t alg,
                                 const lamina__dnnl_window *w, lamina__md_ref src,
                                 lamina__md_ref dst, const_dnnl_primitive_desc_t hint) {
    if (kind == dnnl_backward_data) {
        return dnnl_pooling_backward_primitive_desc_create(
            pd, dnnl->engine, alg, src, dst, w->stride, w->kernel, w->dilation, w->pad_begin,
            w->pad_end, hint, dnnl->attr);
    }
    return dnnl_pooling_forward_primitive_desc_create(pd, dnnl->engine, kind, alg, src, dst,
                                                      w->stride, w->kernel, w->dilation,
                                                      w->pad_begin, w->pad_end, dnnl->attr);
}

dnnl_status_t lamina__pd_softmax(dnnl_primitive_desc_t *pd, const lamina__dnnl *dnnl,
                                 dnnl_prop_kind_t kind, lamina__md_ref data,
                                 const_dnnl_primitive_desc_t hint) {
    const dnnl_alg_kind_t alg = dnnl_softmax_accurate;
    return kind == dnnl_backward_data
               ? dnnl_softmax_backward_primitive_desc_create(pd, dnnl->engine, alg, data, data,
                                                             data, 1, hint, dnnl->attr)
               : dnnl_softmax_forward_primitive_desc_create(pd, dnnl->engine, kind, alg, data, data,
                                                            1, dnnl->attr);
}

#endif
