/* Winograd's convolution: from images to transformed tiles and back. Patches and tiles at the
 * border are read and written as far as there are pixels. */
#include "layers/conv/conv_winograd.h"

#if !LAMINA_LAYERS_F64

#include <string.h>

static int32_t clamp(int64_t x, int64_t most) {
    return (int32_t)(x < 0 ? 0 : x > most ? most : x);
}

/* The pixels (y, x) .. of an image that a square of n x n covers. */
static lamina__winograd_square square_at(int64_t y, int64_t x, int64_t height, int64_t width,
                                         int64_t channels, int64_t n) {
    return (lamina__winograd_square){.row = width * channels,
                                     .column = channels,
                                     .y_begin = clamp(-y, n),
                                     .y_end = clamp(height - y, n),
                                     .x_begin = clamp(-x, n),
                                     .x_end = clamp(width - x, n)};
}

/* Tile `tile`, counted through all samples: its sample, row and column of tiles. */
typedef struct place {
    int64_t n, y, x;
} place;

static place place_of(const lamina__correlation *c, int64_t tile) {
    const int64_t of_sample = c->tiles_y * c->tiles_x, in = tile % of_sample;
    return (place){tile / of_sample, in / c->tiles_x, in % c->tiles_x};
}

/* V of tiles first .. first+count-1. */
void lamina__winograd_inputs(const lamina__winograd *w, const lamina__correlation *c,
                             const float *in, int64_t first, int64_t begin, int64_t end,
                             int64_t wide, float *v) {
    for (int64_t i = begin; i < end; i++) {
        const place at = place_of(c, first + i);
        const int64_t y = at.y * w->tiling->out - c->pad_y, x = at.x * w->tiling->out - c->pad_x;
        const lamina__winograd_square square =
            square_at(y, x, c->in_y, c->in_x, c->in_channels, w->tiling->tile);
        w->tiling->input(in + ((at.n * c->in_y + y) * c->in_x + x) * c->in_channels, &square,
                         c->in_channels, v + i * wide, w->v_step);
    }
}

/* The square of outputs of a tile, and where it begins in the image. */
static lamina__winograd_square
output_square(const lamina__winograd *w, const lamina__correlation *c, place at, int64_t *offset) {
    const int64_t y = at.y * w->tiling->out, x = at.x * w->tiling->out;
    *offset = ((at.n * c->out_y + y) * c->out_x + x) * c->out_channels;
    return square_at(y, x, c->out_y, c->out_x, c->out_channels, w->tiling->out);
}

void lamina__winograd_outputs(const lamina__winograd *w, const lamina__correlation *c,
                              const float *m, const float *bias, int64_t first, int64_t begin,
                              int64_t end, int64_t wide, float *out) {
    for (int64_t i = begin; i < end; i++) {
        int64_t offset;
        const lamina__winograd_square square = output_square(w, c, place_of(c, first + i), &offset);
        w->tiling->output(m + i * wide, w->m_step, bias, w->relu && c == &w->forward,
                          c->out_channels, out + offset, &square);
    }
}

/* dM of tiles first + begin .. first + end - 1. */
void lamina__winograd_d_outputs(const lamina__winograd *w, const float *d_out, int64_t first,
                                int64_t begin, int64_t end, float *m) {
    const lamina__correlation *c = &w->forward;
    for (int64_t i = begin; i < end; i++) {
        int64_t offset;
        const lamina__winograd_square square = output_square(w, c, place_of(c, first + i), &offset);
        w->tiling->d_output(d_out + offset, &square, c->out_channels, m + i * w->out_wide,
                            w->m_step);
    }
}

/* dX of the tiles' patches: added, into a sample that is cleared when its first tile comes. */
void lamina__winograd_add_d_inputs(const lamina__winograd *w, const float *v, int64_t first,
                                   int64_t count, float *d_in) {
    const lamina__correlation *c = &w->forward;
    const int64_t size = c->in_y * c->in_x * c->in_channels;
    for (int64_t i = 0; i < count; i++) {
        const place at = place_of(c, first + i);
        const int64_t y = at.y * w->tiling->out - c->pad_y, x = at.x * w->tiling->out - c->pad_x;
        const lamina__winograd_square square =
            square_at(y, x, c->in_y, c->in_x, c->in_channels, w->tiling->tile);
        if (at.y == 0 && at.x == 0) {
            memset(d_in + at.n * size, 0, (size_t)size * sizeof *d_in);
        }
        w->tiling->d_input(v + i * w->in_wide, w->v_step, c->in_channels,
                           d_in + at.n * size + (y * c->in_x + x) * c->in_channels, &square);
    }
}

#endif
