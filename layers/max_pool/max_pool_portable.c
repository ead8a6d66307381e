/* Max pooling for any processor and any number of channels: one tap after the other, along the
 * channels, which compilers make vectors of. */
#include "layers/max_pool/max_pool_vector.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64

#include <string.h>

static void take(const float *restrict x, uint8_t position, int64_t channels, float *restrict best,
                 uint8_t *restrict code) {
    for (int64_t c = 0; c < channels; c++) {
        const int larger = x[c] > best[c] || x[c] != x[c];
        best[c] = larger ? x[c] : best[c];
        code[c] = larger ? position : code[c];
    }
}

static void take_uncoded(const float *restrict x, int64_t channels, float *restrict best) {
    for (int64_t c = 0; c < channels; c++) {
        best[c] = x[c] > best[c] || x[c] != x[c] ? x[c] : best[c];
    }
}

static void largest(const lamina__pool_run *run, const float *in, float *out, uint8_t *code) {
    for (int64_t i = 0; i < run->count; i++) {
        const float *from = in + i * run->tap_step;
        float *best = out + i * run->channels;
        memcpy(best, from + run->at[0], (size_t)run->channels * sizeof *best);
        if (code == NULL) {
            for (int64_t k = 1; k < run->taps; k++) {
                take_uncoded(from + run->at[k], run->channels, best);
            }
            continue;
        }
        memset(code + i * run->channels, run->code[0], (size_t)run->channels);
        for (int64_t k = 1; k < run->taps; k++) {
            take(from + run->at[k], run->code[k], run->channels, best, code + i * run->channels);
        }
    }
}

static void spread_tap(const float *restrict d_out, const uint8_t *restrict code, uint8_t position,
                       int64_t channels, float *restrict d_in) {
    for (int64_t c = 0; c < channels; c++) {
        const float d = d_out[c]; /* read in any case, or the loop has a branch */
        d_in[c] = code[c] == position ? d : 0;
    }
}

static void spread(const lamina__pool_run *run, const float *d_out, const uint8_t *code,
                   float *d_in) {
    for (int64_t i = 0; i < run->count; i++) {
        const int64_t from = i * run->channels;
        for (int64_t k = 0; k < run->taps; k++) {
            spread_tap(d_out + from, code + from, run->code[k], run->channels,
                       d_in + run->at[k] + i * run->tap_step);
        }
    }
}

static void collect_tap(const float *restrict d_out, const uint8_t *restrict code, uint8_t position,
                        int64_t channels, float *restrict d_in) {
    for (int64_t c = 0; c < channels; c++) {
        const float d = d_out[c];
        d_in[c] += code[c] == position ? d : 0;
    }
}

static void collect(const lamina__pool_run *run, const float *d_out, const uint8_t *code,
                    float *d_in) {
    for (int64_t i = 0; i < run->count; i++) {
        float *sum = d_in + i * run->step;
        memset(sum, 0, (size_t)run->channels * sizeof *sum);
        for (int64_t k = 0; k < run->taps; k++) {
            const int64_t at = run->at[k] + i * run->tap_step;
            collect_tap(d_out + at, code + at, run->code[k], run->channels, sum);
        }
    }
}

const lamina__pool_isa lamina__pool_portable = {
    .width = 1, .largest = largest, .spread = spread, .collect = collect};

#endif
