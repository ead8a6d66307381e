/* From a layer's spec to oneDNN's primitive descriptor: logical shapes with channels-last strides
 * for images, and any order for filters, which is where oneDNN's fast kernels want to choose. */
#include "onednn/spec.h"

/* ---- Engine and attributes ---- */

static dnnl_status_t make_attr(dnnl_primitive_attr_t *attr) {
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    return status == dnnl_success
               ? dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user)
               : status;
}

dnnl_status_t lamina__dnnl_open(lamina__dnnl *dnnl) {
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status;

    *dnnl = (lamina__dnnl){0};
    status = dnnl_engine_create(&dnnl->engine, dnnl_cpu, 0);
    if (status == dnnl_success) {
        status = make_attr(&dnnl->attr);
    }
    if (status == dnnl_success) {
        status = make_attr(&dnnl->add_attr);
    }
    if (status == dnnl_success) {
        status = dnnl_post_ops_create(&ops);
    }
    if (status == dnnl_success) {
        status = lamina__dnnl_append_sum(ops);
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_attr_set_post_ops(dnnl->add_attr, ops); /* copies them */
    }
    if (ops != NULL) {
        dnnl_post_ops_destroy(ops);
    }
    if (status != dnnl_success) {
        lamina__dnnl_close(dnnl);
    }
    return status;
}

void lamina__dnnl_close(lamina__dnnl *dnnl) {
    if (dnnl->attr != NULL) {
        dnnl_primitive_attr_destroy(dnnl->attr);
    }
    if (dnnl->add_attr != NULL) {
        dnnl_primitive_attr_destroy(dnnl->add_attr);
    }
    if (dnnl->engine != NULL) {
        dnnl_engine_destroy(dnnl->engine);
    }
    *dnnl = (lamina__dnnl){0};
}

/* ---- Memory descriptors ---- */

static dnnl_status_t image_md(lamina__md *md, int64_t n, int64_t c, int64_t h, int64_t w) {
    const dnnl_dim_t dims[] = {n, c, h, w}, strides[] = {h * w * c, 1, w * c, c};
    return lamina__md_make(md, 4, dims, strides);
}

static dnnl_status_t vector_md(lamina__md *md, int64_t n) {
    const dnnl_dim_t dims[] = {n}, strides[] = {1};
    return lamina__md_make(md, 1, dims, strides);
}

static dnnl_status_t rows_md(lamina__md *md, int64_t rows, int64_t length) {
    const dnnl_dim_t dims[] = {rows, length}, strides[] = {length, 1};
    return lamina__md_make(md, 2, dims, strides);
}

/* Filters (O, I/g, KH, KW), or (G, O/g, I/g, KH, KW) when there are groups. */
static dnnl_status_t filters_md(const lamina__onednn_spec *spec, int stored, lamina__md *md) {
    const int64_t g = spec->groups, o = spec->out_channels / g, i = spec->in_channels / g;
    const int64_t kh = spec->y.kernel, kw = spec->x.kernel, filter = kh * kw * i;
    const dnnl_dim_t dims[] = {g, o, i, kh, kw}, strides[] = {o * filter, filter, 1, kw * i, i};
    const int skip = g == 1;
    return lamina__md_make(md, 5 - skip, dims + skip, stored ? strides + skip : NULL);
}

dnnl_status_t lamina__spec_filters(const lamina__onednn_spec *spec, lamina__md *md) {
    return filters_md(spec, 1, md);
}

/* ---- Primitive descriptors ---- */

static dnnl_prop_kind_t forward_kind(int training) {
    return training ? dnnl_forward_training : dnnl_forward_inference;
}

static dnnl_prop_kind_t backward_kind(uint32_t pass) {
    return pass == LAMINA_PASS_BACKWARD_WEIGHTS ? dnnl_backward_weights : dnnl_backward_data;
}

static lamina__dnnl_window window_of(const lamina__onednn_spec *spec) {
    const lamina__onednn_axis *axes[] = {&spec->y, &spec->x};
    lamina__dnnl_window w = {0};
    for (int i = 0; i < 2; i++) {
        w.kernel[i] = axes[i]->kernel;
        w.stride[i] = axes[i]->stride;
        w.dilation[i] = axes[i]->dilation - 1;
        w.pad_begin[i] = axes[i]->pad_begin;
        w.pad_end[i] = axes[i]->overhang;
    }
    return w;
}

/* Every backward descriptor is made with the forward one as a hint. */
static dnnl_status_t convolution_pd(const lamina__dnnl *dnnl, const lamina__onednn_spec *spec,
                                    uint32_t pass, int training, const lamina__md md[4],
                                    dnnl_primitive_desc_t *pd) {
    const lamina__dnnl_window w = window_of(spec);
    dnnl_primitive_desc_t forward = NULL;
    dnnl_status_t status = lamina__pd_convolution(&forward, dnnl, forward_kind(training), &w, md[0],
                                                  md[2], spec->bias ? md[3] : NULL, md[1], NULL);
    if (pass == LAMINA_PASS_FORWARD || status != dnnl_success) {
        *pd = forward;
        return status;
    }
    status = lamina__pd_convolution(pd, dnnl, backward_kind(pass), &w, md[0], md[2],
                                    spec->bias ? md[3] : NULL, md[1], forward);
    dnnl_primitive_desc_destroy(forward);
    return status;
}

static dnnl_status_t pooling_pd(const lamina__dnnl *dnnl, const lamina__onednn_spec *spec,
                                uint32_t pass, int training, const lamina__md md[4],
                                dnnl_primitive_desc_t *pd) {
    const dnnl_alg_kind_t alg = spec->operation == LAMINA__ONEDNN_AVG_POOL_INCLUDE
                                    ? dnnl_pooling_avg_include_padding
                                    : dnnl_pooling_avg_exclude_padding;
    const lamina__dnnl_window w = window_of(spec);
    dnnl_primitive_desc_t forward = NULL;
    dnnl_status_t status =
        lamina__pd_pooling(&forward, dnnl, forward_kind(training), alg, &w, md[0], md[1], NULL);
    if (pass == LAMINA_PASS_FORWARD || status != dnnl_success) {
        *pd = forward;
        return status;
    }
    status = lamina__pd_pooling(pd, dnnl, dnnl_backward_data, alg, &w, md[0], md[1], forward);
    dnnl_primitive_desc_destroy(forward);
    return status;
}

static dnnl_status_t softmax_pd(const lamina__dnnl *dnnl, uint32_t pass, int training,
                                const lamina__md md[4], dnnl_primitive_desc_t *pd) {
    dnnl_primitive_desc_t forward = NULL;
    dnnl_status_t status = lamina__pd_softmax(&forward, dnnl, forward_kind(training), md[0], NULL);
    if (pass == LAMINA_PASS_FORWARD || status != dnnl_success) {
        *pd = forward;
        return status;
    }
    status = lamina__pd_softmax(pd, dnnl, dnnl_backward_data, md[0], forward);
    dnnl_primitive_desc_destroy(forward);
    return status;
}

/* md: [0] source, [1] destination, [2] filters, [3] bias; NULL where the operation has none. */
static dnnl_status_t make_mds(const lamina__onednn_spec *spec, int64_t samples, lamina__md md[4]) {
    dnnl_status_t status;
    switch (spec->operation) {
    case LAMINA__ONEDNN_SOFTMAX:
        return rows_md(&md[0], samples * spec->rows, spec->in_channels);
    default:
        status = image_md(&md[0], samples, spec->in_channels, spec->y.in, spec->x.in);
        if (status == dnnl_success) {
            status = image_md(&md[1], samples, spec->out_channels, spec->y.out, spec->x.out);
        }
        if (status == dnnl_success && spec->operation == LAMINA__ONEDNN_CONVOLUTION) {
            status = filters_md(spec, 0, &md[2]);
        }
        if (status == dnnl_success && spec->bias) {
            status = vector_md(&md[3], spec->out_channels);
        }
        return status;
    }
}

dnnl_status_t lamina__spec_pd(const lamina__dnnl *dnnl, const lamina__onednn_spec *spec,
                              uint32_t pass, int64_t samples, int training,
                              dnnl_primitive_desc_t *pd) {
    lamina__md md[4] = {NULL, NULL, NULL, NULL};
    dnnl_status_t status = make_mds(spec, samples, md);

    *pd = NULL;
    if (status == dnnl_success) {
        switch (spec->operation) {
        case LAMINA__ONEDNN_CONVOLUTION:
            status = convolution_pd(dnnl, spec, pass, training, md, pd);
            break;
        case LAMINA__ONEDNN_SOFTMAX:
            status = softmax_pd(dnnl, pass, training, md, pd);
            break;
        default:
            status = pooling_pd(dnnl, spec, pass, training, md, pd);
            break;
        }
    }
    for (int i = 0; i < 4; i++) {
        lamina__md_free(md[i]);
    }
    return status;
}
