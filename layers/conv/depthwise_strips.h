/* What is done with the strips of depthwise.h, for the instruction set of the file that includes
 * this, after depthwise_block.h. A vector of channels of neighbouring pixels is computed from
 * pixels of a that are loaded once for the three taps of a row; down a strip, the rows of a that
 * two rows of c share are in the first cache. */

/* sum[p] += the three taps of a row of the filter. left, right: before the first pixel, behind the
 * last, is padding. */
INLINE void add_taps(const int stride, const int pixels, const int partial, mask m, int left,
                     int right, int64_t step, int64_t filter_step, const float *a,
                     const float *filter, vector sum[PIXELS]) {
    const vector first = load_some(partial, filter, m);
    const vector second = load_some(partial, filter + filter_step, m);
    const vector third = load_some(partial, filter + 2 * filter_step, m);
    vector before = left ? zero() : load_some(partial, a - step, m);
    vector at = load_some(partial, a, m);
    UNROLL
    for (int p = 0; p < pixels; p++) {
        const int is_last = p == pixels - 1;
        const vector after = is_last && right ? zero() : load_some(partial, a + step, m);
        sum[p] = multiply_add(before, first, sum[p]);
        sum[p] = multiply_add(at, second, sum[p]);
        sum[p] = multiply_add(after, third, sum[p]);
        a += stride * step;
        before = stride == 1 ? at : after;
        if (!is_last) {
            at = stride == 1 ? after : load_some(partial, a, m);
        }
    }
}

/* A vector of some pixels of a row. */
INLINE void strip_vector(const int stride, const int pixels, const int partial, mask m,
                         const lamina__depthwise_strips *s, const lamina__depthwise_line *line,
                         int left, int right, const float *a, const float *filter,
                         const float *bias, float *c) {
    const vector start = bias != NULL ? load_some(partial, bias, m) : zero();
    vector sum[PIXELS];
    UNROLL
    for (int p = 0; p < pixels; p++) {
        sum[p] = start;
    }
    for (int64_t u = 0; u < line->taps; u++) {
        add_taps(stride, pixels, partial, m, left, right, s->channels, s->filter_step,
                 a + line->a[u], filter + line->filter[u], sum);
    }
    UNROLL
    for (int p = 0; p < pixels; p++) {
        store_some(partial, c + p * s->channels, m, s->relu ? positive(sum[p]) : sum[p]);
    }
}

/* A strip of some pixels' width, down all rows. */
INLINE void strip(const int stride, const int pixels, const lamina__depthwise_strips *s, int left,
                  int right, const float *a, const float *filter, const float *bias, float *c) {
    const int64_t whole = s->channels / WIDTH * WIDTH;
    for (int64_t y = 0; y < s->rows; y++) {
        const lamina__depthwise_line *line = &s->line[y];
        for (int64_t i = 0; i < whole; i += WIDTH) {
            strip_vector(stride, pixels, 0, mask_of(WIDTH), s, line, left, right, a + i, filter + i,
                         bias != NULL ? bias + i : NULL, c + i);
        }
        if (whole < s->channels) {
            strip_vector(stride, pixels, 1, mask_of((int)(s->channels - whole)), s, line, left,
                         right, a + whole, filter + whole, bias != NULL ? bias + whole : NULL,
                         c + whole);
        }
        c += s->columns * s->channels;
    }
}

/* All strips, from left to right. */
INLINE void all_strips(const int stride, const lamina__depthwise_strips *s, const float *a,
                       const float *filter, const float *bias, float *c) {
    for (int64_t first = 0; first < s->columns;) {
        const int64_t rest = s->columns - first;
        const int64_t pixels = rest >= 8 ? 8 : rest == 7 || rest == 5 ? 4 : rest;
        const int left = first == 0, right = s->right && rest == pixels;
        switch (pixels) {
        case 8:
            strip(stride, 8, s, left, right, a, filter, bias, c);
            break;
        case 6:
            strip(stride, 6, s, left, right, a, filter, bias, c);
            break;
        case 4:
            strip(stride, 4, s, left, right, a, filter, bias, c);
            break;
        case 3:
            strip(stride, 3, s, left, right, a, filter, bias, c);
            break;
        case 2:
            strip(stride, 2, s, left, right, a, filter, bias, c);
            break;
        default:
            strip(stride, 1, s, left, right, a, filter, bias, c);
        }
        first += pixels;
        a += pixels * stride * s->channels;
        c += pixels * s->channels;
    }
}

TARGET static void strips_1(const lamina__depthwise_strips *s, const float *a, const float *filter,
                            const float *bias, float *c) {
    all_strips(1, s, a, filter, bias, c);
}

TARGET static void strips_2(const lamina__depthwise_strips *s, const float *a, const float *filter,
                            const float *bias, float *c) {
    all_strips(2, s, a, filter, bias, c);
}
