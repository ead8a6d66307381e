/* The part of oneDNN that differs between 2.x and 3.x, as one interface; inside this folder only.
 *
 * 2.x makes a primitive descriptor from an operation descriptor, and a memory descriptor is a
 * struct; 3.x makes it in one call, and a memory descriptor is a handle. api_v2.c and api_v3.c
 * implement what follows; the rest of the folder is written once, on the calls both have. */
#ifndef LAMINA_ONEDNN_API_H
#define LAMINA_ONEDNN_API_H

#include <dnnl.h>
#include <dnnl_debug.h>

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t lamina__md;           /* owned: lamina__md_free */
typedef const_dnnl_memory_desc_t lamina__md_ref; /* borrowed */
#else
typedef dnnl_memory_desc_t *lamina__md;
typedef const dnnl_memory_desc_t *lamina__md_ref;
#endif

/* What every primitive descriptor is made with. */
typedef struct lamina__dnnl {
    dnnl_engine_t engine;
    dnnl_primitive_attr_t attr;     /* scratchpad owned by the caller */
    dnnl_primitive_attr_t add_attr; /* the same, and the result is added to the destination */
} lamina__dnnl;

/* As oneDNN counts: a dilation of 0 is none. */
typedef struct lamina__dnnl_window {
    dnnl_dims_t kernel, stride, dilation, pad_begin, pad_end; /* [0]: y, [1]: x */
} lamina__dnnl_window;

/* float32; strides NULL: in whatever order the primitive prefers. */
dnnl_status_t lamina__md_make(lamina__md *, int ndims, const dnnl_dim_t *dims,
                              const dnnl_dim_t *strides);
void lamina__md_free(lamina__md); /* NULL is fine */

dnnl_status_t lamina__dnnl_append_sum(dnnl_post_ops_t);

/* kind: forward_training, forward_inference, backward_data or backward_weights (convolution only).
 * src, dst, weights, bias are their gradients where the kind computes or takes those. hint: the
 * forward primitive descriptor, for a backward one. */
dnnl_status_t lamina__pd_convolution(dnnl_primitive_desc_t *, const lamina__dnnl *,
                                     dnnl_prop_kind_t kind, const lamina__dnnl_window *,
                                     lamina__md_ref src, lamina__md_ref weights,
                                     lamina__md_ref bias, lamina__md_ref dst,
                                     const_dnnl_primitive_desc_t hint);
dnnl_status_t lamina__pd_pooling(dnnl_primitive_desc_t *, const lamina__dnnl *,
                                 dnnl_prop_kind_t kind, dnnl_alg_kind_t,
                                 const lamina__dnnl_window *, lamina__md_ref src,
                                 lamina__md_ref dst, const_dnnl_primitive_desc_t hint);
/* Along axis 1; backward takes the forward result. `data` is the order of all the tensors. */
dnnl_status_t lamina__pd_softmax(dnnl_primitive_desc_t *, const lamina__dnnl *,
                                 dnnl_prop_kind_t kind, lamina__md_ref data,
                                 const_dnnl_primitive_desc_t hint);

#endif
