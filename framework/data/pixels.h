/* From pixels, uint8, to what a network reads: float32, normalised by channel. */
#ifndef LAMINA_DATA_PIXELS_H
#define LAMINA_DATA_PIXELS_H

#include "config/params.h"

/* x -> (x / 255 - mean[c]) / std[c]. `mean: 0.13` or one value for each channel. */
typedef struct lamina__normalize {
    lamina_real_list mean, std;
} lamina__normalize;

extern const lamina_param lamina__normalize_params[];
extern const size_t lamina__normalize_n_params;

typedef struct lamina__pixels lamina__pixels;

/* `values` NULL: x / 255. LAMINA_ERROR_CONFIG when they do not fit so many channels. */
lamina_status lamina__pixels_make(const lamina__normalize *values, int64_t channels,
                                  lamina__pixels **, lamina_error *);
void lamina__pixels_free(lamina__pixels *);

/* n values, whole pixels, channels-last, each computed in double and rounded once. Any thread. */
void lamina__pixels_normalize(const lamina__pixels *, const uint8_t *from, int64_t n, float *to);

#endif
