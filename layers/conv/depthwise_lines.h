/* What is done with the lines of depthwise.h, for the instruction set of the file that includes
 * this, after depthwise_block.h: a vector of channels of neighbouring pixels is computed from
 * pixels of a that are loaded once for the three taps of a row. */

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
INLINE void line_vector(const int stride, const int pixels, const int partial, mask m,
                        const lamina__depthwise_lines *s, const lamina__depthwise_line *line,
                        int left, int right, const float *a, const float *filter, const float *bias,
                        float *c) {
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

/* All channels of some pixels of a row. */
INLINE void line_pixels(const int stride, const int pixels, const lamina__depthwise_lines *s,
                        const lamina__depthwise_line *line, int left, int right, const float *a,
                        const float *filter, const float *bias, float *c) {
    const int64_t whole = s->channels / WIDTH * WIDTH;
    for (int64_t i = 0; i < whole; i += WIDTH) {
        line_vector(stride, pixels, 0, mask_of(WIDTH), s, line, left, right, a + i, filter + i,
                    bias != NULL ? bias + i : NULL, c + i);
    }
    if (whole < s->channels) {
        line_vector(stride, pixels, 1, mask_of((int)(s->channels - whole)), s, line, left, right,
                    a + whole, filter + whole, bias != NULL ? bias + whole : NULL, c + whole);
    }
}

INLINE void one_line(const int stride, const lamina__depthwise_lines *s,
                     const lamina__depthwise_line *line, const float *a, const float *filter,
                     const float *bias, float *c) {
    for (int64_t first = 0; first < s->columns;) {
        const int64_t rest = s->columns - first;
        const int64_t pixels = rest >= 8 ? 8 : rest == 7 || rest == 5 ? 4 : rest;
        const int left = first == 0, right = s->right && rest == pixels;
        switch (pixels) {
        case 8:
            line_pixels(stride, 8, s, line, left, right, a, filter, bias, c);
            break;
        case 6:
            line_pixels(stride, 6, s, line, left, right, a, filter, bias, c);
            break;
        case 4:
            line_pixels(stride, 4, s, line, left, right, a, filter, bias, c);
            break;
        case 3:
            line_pixels(stride, 3, s, line, left, right, a, filter, bias, c);
            break;
        case 2:
            line_pixels(stride, 2, s, line, left, right, a, filter, bias, c);
            break;
        default:
            line_pixels(stride, 1, s, line, left, right, a, filter, bias, c);
        }
        first += pixels;
        a += pixels * stride * s->channels;
        c += pixels * s->channels;
    }
}

TARGET static void lines_1(const lamina__depthwise_lines *s, const float *a, const float *filter,
                           const float *bias, float *c) {
    for (int64_t y = 0; y < s->rows; y++) {
        one_line(1, s, s->line + y, a, filter, bias, c + y * s->columns * s->channels);
    }
}

TARGET static void lines_2(const lamina__depthwise_lines *s, const float *a, const float *filter,
                           const float *bias, float *c) {
    for (int64_t y = 0; y < s->rows; y++) {
        one_line(2, s, s->line + y, a, filter, bias, c + y * s->columns * s->channels);
    }
}
