/* Which pixels meet which taps: the geometry of conv_taps.c. Padding is never read or written,
 * because the pairs of a pixel and a tap that fall on it are in no run. */
#include "layers/conv/conv_taps.h"

#if !LAMINA_LAYERS_F64

/* Appends one pixel, or counts it to the last run, which it then continues. */
static int64_t append(lamina__tap_run *runs, int64_t n, const lamina__tap_run *pixel) {
    lamina__tap_run *last = runs + n - 1;
    if (n > 0 && last->taps == pixel->taps && (pixel->taps == 0 || last->tap == pixel->tap) &&
        last->first + last->count * last->step == pixel->first) {
        last->count++;
        return n;
    }
    runs[n] = *pixel;
    if (pixel->taps == 0) { /* nothing is read, so from nowhere outside either */
        runs[n].tap = runs[n].from = runs[n].from_step = runs[n].from_tap_step = 0;
    }
    return n + 1;
}

int64_t lamina__tap_runs_forward(const lamina__axis *axis, lamina__tap_run *runs) {
    int64_t n = 0;
    for (int64_t o = 0; o < axis->out; o++) {
        int64_t begin, end;
        lamina__axis_range(axis, o, &begin, &end);
        n = append(
            runs, n,
            &(lamina__tap_run){.first = o,
                               .step = 1,
                               .count = 1,
                               .tap = begin,
                               .tap_step = 1,
                               .taps = end - begin,
                               .from = o * axis->stride - axis->pad_begin + begin * axis->dilation,
                               .from_step = axis->stride,
                               .from_tap_step = axis->dilation});
    }
    return n;
}

static int64_t common_divisor(int64_t a, int64_t b) {
    while (b != 0) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Input p is read by output o through tap u when o * stride = p + padding - u * dilation. Inputs a
 * stride apart see the same taps of neighbouring outputs; the taps that divide are a few apart. */
int64_t lamina__tap_runs_data(const lamina__axis *axis, lamina__tap_run *runs) {
    const int64_t stride = axis->stride, divisor = common_divisor(stride, axis->dilation);
    int64_t n = 0;
    for (int64_t phase = 0; phase < stride && phase < axis->in; phase++) {
        for (int64_t p = phase; p < axis->in; p += stride) {
            lamina__tap_run pixel = {.first = p,
                                     .step = stride,
                                     .count = 1,
                                     .tap_step = stride / divisor,
                                     .from_step = 1,
                                     .from_tap_step = -(axis->dilation / divisor)};
            for (int64_t u = 0; u < axis->kernel; u++) {
                const int64_t at = p + axis->pad_begin - u * axis->dilation;
                if (at >= 0 && at % stride == 0 && at / stride < axis->out && pixel.taps++ == 0) {
                    pixel.tap = u;
                    pixel.from = at / stride;
                }
            }
            n = append(runs, n, &pixel);
        }
    }
    return n;
}

void lamina__tap_outputs(const lamina__axis *axis, int64_t tap, int64_t *begin, int64_t *end) {
    /* first: where output 0 reads; rounded up and down. */
    const int64_t first = tap * axis->dilation - axis->pad_begin, stride = axis->stride;
    *begin = first >= 0 ? 0 : (-first + stride - 1) / stride;
    *end = first >= axis->in ? 0 : (axis->in - 1 - first) / stride + 1;
    *end = *end < axis->out ? *end : axis->out;
    *end = *end > *begin ? *end : *begin;
}

lamina__product_walk lamina__tap_walk(const lamina__product_walk *loops) {
    lamina__product_walk walk = {.n = {1, 1, 1}};
    int level = 0;
    for (int k = 0; k < 3; k++) {
        if (loops->n[k] == 0) { /* the product's walk takes n[2] = 0 for 1 */
            return (lamina__product_walk){.n = {0, 1, 1}};
        }
        if (loops->n[k] == 1) {
            continue;
        }
        if (walk.n[level] > 1) {
            if (loops->a_step[k] == walk.n[level] * walk.a_step[level] &&
                loops->b_step[k] == walk.n[level] * walk.b_step[level]) {
                walk.n[level] *= loops->n[k];
                continue;
            }
            level++;
        }
        walk.n[level] = loops->n[k];
        walk.a_step[level] = loops->a_step[k];
        walk.b_step[level] = loops->b_step[k];
    }
    return walk;
}

#endif
