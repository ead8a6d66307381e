/* Winograd's convolution: what its files share. conv_winograd.c says how it works. */
#ifndef LAMINA_LAYERS_CONV_CONV_WINOGRAD_H
#define LAMINA_LAYERS_CONV_CONV_WINOGRAD_H

#include "layers/conv/conv.h"
#include "layers/conv/winograd.h"
#include "layers/product/panel.h"

#if !LAMINA_LAYERS_F64

/* One correlation: forward, or backward data with the roles of in and out exchanged. */
typedef struct lamina__correlation {
    int64_t in_y, in_x, in_channels; /* pixels, of the image that patches are taken from */
    int64_t out_y, out_x, out_channels;
    int64_t pad_y, pad_x; /* the first patch begins so far outside the image; may be negative */
    int64_t tiles_y, tiles_x;
} lamina__correlation;

typedef struct lamina__winograd {
    const lamina__winograd_isa *isa;
    const lamina__winograd_tiling *tiling;
    const lamina__product_isa *product;
    lamina__correlation forward, data;
    int32_t passes;
    int32_t packed_forward, packed_data; /* transformed filters, or -1 */
    int32_t relu;                        /* 1: forward ends with max(0, y) */
    int32_t transposed;                  /* 1: backward data is the transpose of forward */
    int64_t points;                      /* t * t */
    int64_t in_wide, out_wide;           /* channels, their last vector filled up */
    int64_t group;                       /* tiles, at most, in a group */
    int64_t piece;                       /* tiles, at most, of a piece of a correlation */
    int32_t streams;    /* 1: filters are transformed block by block where they are used */
    int64_t block;      /* then: channels, or filters, of a block */
    int64_t block_step; /* floats from point to point of a block */
    int64_t filter_panels, channel_panels; /* panels with these as columns */
    int64_t v_step, m_step, d_u_step;      /* floats from point to point: V, M and dU */
    int64_t forward_step, data_step;       /* the same of U for these passes */
    int64_t thread_floats;                 /* scratch of each thread */
    int32_t filters_last;                  /* 1: dU is (C, K) at each point, not (K, C) */
    int64_t d_bias_at;                     /* in scratch, floats: sums of the bias's gradient */
} lamina__winograd;

/* One run of one pass, as the threads share it. */
typedef struct lamina__winograd_work {
    const lamina__conv *conv;
    const lamina__winograd *w;
    const lamina_io *io;
    const lamina__correlation *c;
    const float *in, *u, *bias;
    float *out;
    int64_t tiles; /* of all samples */
    /* Backward weights: the group at hand; sums of the bias's gradient (out_wide), or NULL. */
    int64_t first, count;
    float *d_bias;
    int weights_wanted;
} lamina__winograd_work;

/* Columns of a product are cut into panels of as many vectors as one product can have. */
static inline int64_t lamina__winograd_n_panels(const lamina__winograd *w, int64_t columns) {
    return lamina__ceil_div(columns, (int64_t)w->isa->width * w->isa->vectors);
}

static inline lamina__panel lamina__winograd_panel(const lamina__winograd *w, int64_t columns,
                                                   int64_t i) {
    return lamina__panel_of_n(w->isa->width, columns, i, lamina__winograd_n_panels(w, columns));
}

/* ---- conv_winograd_tiles.c: transforms of tiles, counted through all samples ---- */

/* V of tiles first + begin .. first + end - 1, each `wide` floats from the last. */
void lamina__winograd_inputs(const lamina__winograd *, const lamina__correlation *, const float *in,
                             int64_t first, int64_t begin, int64_t end, int64_t wide, float *v);
/* Outputs of these tiles from M. */
void lamina__winograd_outputs(const lamina__winograd *, const lamina__correlation *, const float *m,
                              const float *bias, int64_t first, int64_t begin, int64_t end,
                              int64_t wide, float *out);
/* dM of these tiles of the forward pass. */
void lamina__winograd_d_outputs(const lamina__winograd *, const float *d_out, int64_t first,
                                int64_t begin, int64_t end, float *m);
/* dX of the patches of tiles first .. first+count-1, from dV: added, into a sample that is cleared
 * when its first tile comes. */
void lamina__winograd_add_d_inputs(const lamina__winograd *, const float *v, int64_t first,
                                   int64_t count, float *d_in);

/* ---- conv_winograd_filters.c ---- */

/* U of the filters of a panel and channels c_begin .. c_end-1, to + point * step: (channels,
 * panel). c_begin is a multiple of the vector width; scratch: taps * width * width floats. */
void lamina__winograd_forward_filters(const lamina__conv *, const lamina__winograd *,
                                      const float *weight, lamina__panel, int64_t c_begin,
                                      int64_t c_end, float *scratch, float *to, int64_t step);
/* U of filters o_begin .. o_end-1 and the channels of a panel, for backward data: (filters, panel),
 * of the filters turned around unless the pass is the transpose of forward. */
void lamina__winograd_data_filters(const lamina__conv *, const lamina__winograd *,
                                   const float *weight, lamina__panel, int64_t o_begin,
                                   int64_t o_end, float *to, int64_t step);

/* dw += G^T dU G for the vector of filters that begins with filter o, dU (points, C, K);
 * scratch: taps * width * width floats. */
void lamina__winograd_add_d_filters(const lamina__conv *, const lamina__winograd *,
                                    const float *d_u, int64_t o, float *scratch, float *d_weight);

/* Brings some channels of a filter's taps into the cache: they are short rows and far apart, so
 * that no processor sees by itself which will be next. */
enum { LAMINA__WINOGRAD_AHEAD = 2 /* filters */ };
static inline void lamina__winograd_fetch(const lamina__conv *conv, const lamina__winograd *w,
                                          const float *filter, int64_t channels) {
    enum { LINE = 16 /* floats */ };
    for (int64_t t = 0; t < (int64_t)w->tiling->filter * w->tiling->filter; t++) {
        for (int64_t c = 0; c < channels; c += LINE) {
            __builtin_prefetch(filter + t * conv->in_channels + c);
        }
    }
}

/* ---- conv_winograd_stream.c: passes whose filters are transformed where they are used ---- */

int32_t lamina__winograd_stream(lamina_call *, lamina__winograd_work *, uint32_t pass);

/* ---- Both ---- */

/* sums (out_wide) += gradients of the bias, from dM of so many tiles: at the point (1, 1) it is the
 * sum of a tile's pixels. */
static inline void lamina__winograd_add_d_bias(const lamina__winograd *w, const float *m,
                                               int64_t tiles, float *sums) {
    w->product->sum_rows(tiles, w->out_wide, m + (w->tiling->tile + 1) * w->m_step, sums);
}

#endif

#endif
