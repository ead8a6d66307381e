/* api.h on oneDNN 2.x (2.6 and later). */
#include "onednn/api.h"

#if DNNL_VERSION_MAJOR < 3

#include "base/alloc.h"

dnnl_status_t lamina__md_make(lamina__md *md, int ndims, const dnnl_dim_t *dims,
                              const dnnl_dim_t *strides) {
    dnnl_status_t status = dnnl_out_of_memory;
    *md = lamina__alloc(sizeof(**md));
    if (*md != NULL) {
        status =
            strides != NULL
                ? dnnl_memory_desc_init_by_strides(*md, ndims, dims, dnnl_f32, strides)
                : dnnl_memory_desc_init_by_tag(*md, ndims, dims, dnnl_f32, dnnl_format_tag_any);
    }
    if (status != dnnl_success) {
        lamina__free(*md);
        *md = NULL;
    }
    return status;
}

void lamina__md_free(lamina__md md) {
    lamina__free(md);
}

dnnl_status_t lamina__dnnl_append_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1.0f);
}

dnnl_status_t lamina__pd_convolution(dnnl_primitive_desc_t *pd, const lamina__dnnl *dnnl,
                                     dnnl_prop_kind_t kind, const lamina__dnnl_window *w,
                                     lamina__md_ref src, lamina__md_ref weights,
                                     lamina__md_ref bias, lamina__md_ref dst,
                                     const_dnnl_primitive_desc_t hint) {
    const dnnl_alg_kind_t direct = dnnl_convolution_direct;
    dnnl_convolution_desc_t desc;
    dnnl_status_t status;
    switch ((int)kind) {
    case dnnl_backward_data:
        status = dnnl_dilated_convolution_backward_data_desc_init(
            &desc, direct, src, weights, dst, w->stride, w->dilation, w->pad_begin, w->pad_end);
        break;
    case dnnl_backward_weights:
        status = dnnl_dilated_convolution_backward_weights_desc_init(
            &desc, direct, src, weights, bias, dst, w->stride, w->dilation, w->pad_begin,
            w->pad_end);
        break;
    default:
        status = dnnl_dilated_convolution_forward_desc_init(&desc, kind, direct, src, weights, bias,
                                                            dst, w->stride, w->dilation,
                                                            w->pad_begin, w->pad_end);
        break;
    }
    return status == dnnl_success
               ? dnnl_primitive_desc_create(pd, &desc, dnnl->attr, dnnl->engine, hint)
               : status;
}

dnnl_status_t lamina__pd_pooling(dnnl_primitive_desc_t *pd, const lamina__dnnl *dnnl,
                                 dnnl_prop_kind_t kind, dnnl_alg_kind_t alg,
                                 const lamina__dnnl_window *w, lamina__md_ref src,
                                 lamina__md_ref dst, const_dnnl_primitive_desc_t hint) {
    dnnl_pooling_v2_desc_t desc;
    dnnl_status_t status =
        kind == dnnl_backward_data
            ? dnnl_pooling_v2_backward_desc_init(&desc, alg, src, dst, w->stride, w->kernel,
                                                 w->dilation, w->pad_begin, w->pad_end)
            : dnnl_pooling_v2_forward_desc_init(&desc, kind, alg, src, dst, w->stride, w->kernel,
                                                w->dilation, w->pad_begin, w->pad_end);
    return status == dnnl_success
               ? dnnl_primitive_desc_create(pd, &desc, dnnl->attr, dnnl->engine, hint)
               : status;
}

dnnl_status_t lamina__pd_softmax(dnnl_primitive_desc_t *pd, const lamina__dnnl *dnnl,
                                 dnnl_prop_kind_t kind, lamina__md_ref data,
                                 const_dnnl_primitive_desc_t hint) {
    const dnnl_alg_kind_t alg = dnnl_softmax_accurate;
    dnnl_softmax_v2_desc_t desc;
    dnnl_status_t status = kind == dnnl_backward_data
                               ? dnnl_softmax_v2_backward_desc_init(&desc, alg, data, data, data, 1)
                               : dnnl_softmax_v2_forward_desc_init(&desc, kind, alg, data, data, 1);
    return status == dnnl_success
               ? dnnl_primitive_desc_create(pd, &desc, dnnl->attr, dnnl->engine, hint)
               : status;
}

#endif
