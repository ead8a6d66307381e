/* oneDNN for layers: kernels made of its primitives, and its matrix product.
 *
 * A layer describes what it computes (lamina__onednn_spec) and gets the rest of a lamina_kernel:
 * prepare(), run() and destroy() below go into its lamina_kernel as they are. Tensors are dense and
 * channels-last; filters are stored O,KH,KW,I/groups. oneDNN may want filters in an order of its
 * own: then prepare() repacks them, once for all shards.
 *
 * oneDNN makes a primitive for fixed shapes and a fixed number of threads, so there is one for each
 * number of samples a call can have, all made in create(); every shard has its own memory objects,
 * which are given the addresses of the call. Only this folder includes oneDNN's headers. */
#ifndef LAMINA_ONEDNN_ONEDNN_H
#define LAMINA_ONEDNN_ONEDNN_H

#include "lamina/layer.h"

typedef enum lamina__onednn_operation {
    LAMINA__ONEDNN_CONVOLUTION = 1,  /* weight[0]: filters, weight[1]: bias, if there is one */
    LAMINA__ONEDNN_AVG_POOL_INCLUDE, /* divides by the size of the kernel */
    LAMINA__ONEDNN_AVG_POOL_EXCLUDE, /* divides by the positions inside the image */
    LAMINA__ONEDNN_SOFTMAX           /* backward reads out[0]; in place is fine */
} lamina__onednn_operation;

/* Window o covers the input positions o*stride - pad_begin + k*dilation, k = 0 .. kernel-1. */
typedef struct lamina__onednn_axis {
    int64_t in, out; /* pixels */
    int64_t kernel, stride, dilation;
    int64_t pad_begin;
    int64_t overhang; /* pixels by which the last window passes the end of the input, or 0 */
} lamina__onednn_axis;

typedef struct lamina__onednn_spec {
    lamina__onednn_operation operation;
    int32_t bias;                      /* convolution */
    int64_t in_channels, out_channels; /* softmax: in_channels, the length of a row */
    int64_t rows;                      /* softmax: per sample */
    int64_t groups;                    /* convolution */
    lamina__onednn_axis y, x;          /* convolution, pooling */
} lamina__onednn_spec;

typedef struct lamina__onednn lamina__onednn;

/* 1: oneDNN has an optimized implementation of the pass for every number of samples in setup. */
int32_t lamina__onednn_applies(const lamina__onednn_spec *, const lamina_setup *, uint32_t pass);

/* Makes primitives for `passes`; declares scratch and packed weights through call.
 * *kernel becomes a lamina__onednn *, or NULL on failure. */
int32_t lamina__onednn_create(lamina_call *call, const lamina__onednn_spec *, const lamina_setup *,
                              uint32_t passes, void **kernel);

/* As in lamina_kernel; `self` is not used. prepare() runs on the calling thread alone. */
int32_t lamina__onednn_prepare(const void *self, void *kernel, lamina_call *, const lamina_io *);
int32_t lamina__onednn_run(const void *self, void *kernel, lamina_call *, uint32_t pass,
                           const lamina_io *);
void lamina__onednn_destroy(void *kernel);

/* C := A*B + beta*C, where C is m x n and A is m x k, or, if a_transposed, stored k x m (B, k x n,
 * likewise). All matrices are row-major with `a_row` .. floats from one row to the next. Runs on
 * `threads` threads; inside a parallel region that must be 1. Several may run at once. */
typedef struct lamina__onednn_product {
    int64_t m, n, k;
    int32_t a_transposed, b_transposed;
    const float *a, *b;
    float *c;
    int64_t a_row, b_row, c_row;
    float beta;
} lamina__onednn_product;

int32_t lamina__onednn_sgemm(lamina_call *, const lamina__onednn_product *, int32_t threads);

/* Of the library that runs: "2.6.3". */
const char *lamina__onednn_version(void);
/* The instruction set it uses: "avx512_core_vnni". */
const char *lamina__onednn_isa(void);

#endif
