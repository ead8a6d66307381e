/* The matrices of docs/mathematics.md, built one number at a time, against the layers.
 * test_mathematics_losses.c has those of losses and of softmax. */
#include "matrix_checks.h"

/* ---- Convolution --------------------------------------------------------------------------- */

/* C of a 3x3 filter on a 4x4 image, written down as on the page. */
static void matrix_of(const double *w, double c[4][16]) {
    const double rows[4][16] = {
        {w[0], w[1], w[2], 0, w[3], w[4], w[5], 0, w[6], w[7], w[8], 0, 0, 0, 0, 0},
        {0, w[0], w[1], w[2], 0, w[3], w[4], w[5], 0, w[6], w[7], w[8], 0, 0, 0, 0},
        {0, 0, 0, 0, w[0], w[1], w[2], 0, w[3], w[4], w[5], 0, w[6], w[7], w[8], 0},
        {0, 0, 0, 0, 0, w[0], w[1], w[2], 0, w[3], w[4], w[5], 0, w[6], w[7], w[8]}};
    memcpy(c, rows, sizeof(rows));
}

static void test_convolution_is_a_matrix(void) {
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        draw_run(&r, 1);
        const double b = r.weight[1][0];
        double c[4][16], y[4], dx[16], db = 0;

        matrix_of(r.weight[0], c);
        run_layer(&variants[i], "conv", "{input: [1, 1, 4, 4], params: {filters: 1, kernel: 3}}",
                  &r);
        multiply(&c[0][0], 4, 16, false, r.in, y);
        for (size_t j = 0; j < 4; j++) {
            y[j] += b;
            db += r.d_out[j];
        }
        SAME(&variants[i], r.out, y, 4);
        multiply(&c[0][0], 4, 16, true, r.d_out, dx);
        SAME(&variants[i], r.d_in, dx, 16);
        SAME(&variants[i], r.d_weight[1], &db, 1);
    }
}

/* The textbook's convolution with k, full[p + a, q + b] = sum of k[a, b] x[p, q], on the 6x6 places
 * that it reaches from 4x4: the layer makes it with k turned by 180 degrees and padding 2, and its
 * middle 2x2, where the window is inside, without padding. */
static void test_convolution_is_a_correlation(void) {
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double k[9], full[6][6] = {{0}}, middle[4];
        draw_run(&r, 30);
        draw(k, 9, 31);
        for (size_t at = 0; at < 16 * 9; at++) {
            const size_t p = at / 9 / 4, q = at / 9 % 4, a = at % 9 / 3, b = at % 3;
            full[p + a][q + b] += k[3 * a + b] * r.in[4 * p + q];
        }
        for (size_t at = 0; at < 4; at++) {
            middle[at] = full[2 + at / 2][2 + at % 2];
        }
        for (size_t at = 0; at < 9; at++) {
            r.weight[0][at] = k[8 - at];
        }
        run_layer(&variants[i], "conv",
                  "{input: [1, 1, 4, 4], params: {filters: 1, kernel: 3, bias: false}}", &r);
        SAME(&variants[i], r.out, middle, 4);
        run_layer(&variants[i], "conv",
                  "{input: [1, 1, 4, 4], params: {filters: 1, kernel: 3, padding: 2, bias: false}}",
                  &r);
        SAME(&variants[i], r.out, &full[0][0], 36);
    }
}

/* dw[u, v] = sum of dy[i, j] x[i + u, j + v]: the correlation of the 4x4 input with the 2x2 output
 * gradient, which is what the layer computes forward with dy as its filter. */
static void test_filter_gradient_is_a_correlation(void) {
    static layer_run r, of_dy;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double dw[9] = {0};
        draw_run(&r, 32);
        run_layer(&variants[i], "conv",
                  "{input: [1, 1, 4, 4], params: {filters: 1, kernel: 3, bias: false}}", &r);
        for (size_t at = 0; at < 9 * 4; at++) {
            const size_t u = at / 4 / 3, v = at / 4 % 3, y = at % 4 / 2, x = at % 2;
            dw[3 * u + v] += r.d_out[2 * y + x] * r.in[4 * (y + u) + x + v];
        }
        SAME(&variants[i], r.d_weight[0], dw, 9);
        draw_run(&of_dy, 33);
        memcpy(of_dy.in, r.in, sizeof(r.in));
        memcpy(of_dy.weight[0], r.d_out, sizeof(r.d_out));
        run_layer(&variants[i], "conv",
                  "{input: [1, 1, 4, 4], params: {filters: 1, kernel: 2, bias: false}}", &of_dy);
        SAME(&variants[i], of_dy.out, dw, 9);
    }
}

/* The same C, transposed, makes a 4x4 image of a 2x2 one: y = C^T x + b, dx = C dy. */
static void test_transposed_convolution(void) {
    static layer_run r, of_conv;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double c[4][16], y[16], dx[4], db = 0;
        draw_run(&r, 12);
        matrix_of(r.weight[0], c);
        run_layer(&variants[i], "conv_transpose",
                  "{input: [1, 1, 2, 2], params: {filters: 1, kernel: 3}}", &r);
        multiply(&c[0][0], 4, 16, true, r.in, y);
        for (size_t p = 0; p < 16; p++) {
            y[p] += r.weight[1][0];
            db += r.d_out[p];
        }
        SAME(&variants[i], r.out, y, 16);
        multiply(&c[0][0], 4, 16, false, r.d_out, dx);
        SAME(&variants[i], r.d_in, dx, 4);
        SAME(&variants[i], r.d_weight[1], &db, 1);
        /* the filter's gradient is that of the convolution of dy, with the gradient x */
        draw_run(&of_conv, 13);
        memcpy(of_conv.in, r.d_out, sizeof(r.d_out));
        memcpy(of_conv.d_out, r.in, sizeof(r.in));
        run_layer(&variants[i], "conv", "{input: [1, 1, 4, 4], params: {filters: 1, kernel: 3}}",
                  &of_conv);
        SAME(&variants[i], r.d_weight[0], of_conv.d_weight[0], 9);
    }
}

/* A convolution of one sample, y = A x + b and A x = P w: A is (n_y, n_x), P (n_y, n_w), and so
 * many neighbours in y share a number of b. The run's output and gradients are those products. */
static void same_as_matrices(const variant *v, const layer_run *r, const double *a, const double *p,
                             size_t n_y, size_t n_x, size_t n_w, size_t neighbours) {
    static double y[MOST], dx[MOST], dw[MOST], db[MOST];
    memset(db, 0, sizeof(db));
    multiply(a, n_y, n_x, false, r->in, y);
    for (size_t q = 0; q < n_y; q++) {
        y[q] += r->weight[1][q / neighbours];
        db[q / neighbours] += r->d_out[q];
    }
    SAME(v, r->out, y, n_y);
    multiply(a, n_y, n_x, true, r->d_out, dx);
    SAME(v, r->d_in, dx, n_x);
    multiply(p, n_y, n_w, true, r->d_out, dw);
    SAME(v, r->d_weight[0], dw, n_w);
    SAME(v, r->d_weight[1], db, n_y / neighbours);
}

/* Channels, stride, padding, dilation and output padding: C^T for one sample, (3*8*10) x (2*3*4),
 * and the matrix of y as a function of the filters, (3*8*10) x (2*3*3*2). */
static void test_transposed_with_everything(void) {
    enum { I = 2, H = 3, W = 4, O = 3, KH = 3, KW = 2, OH = 8, OW = 10 };
    static double a[O * OH * OW][I * H * W], p[O * OH * OW][I * O * KH * KW];
    static layer_run r;

    for (size_t n = 0; n < N_VARIANTS; n++) {
        draw_run(&r, 14);
        memset(a, 0, sizeof(a));
        memset(p, 0, sizeof(p));
        for (int k = 0; k < I * O * KH * KW; k++) {
            const int v = k % KW, u = k / KW % KH, o = k / (KW * KH) % O, c = k / (KW * KH * O);
            for (int at = 0; at < H * W; at++) {
                const int row = at / W * 2 + u * 2 - 1, column = at % W * 3 + v - 1;
                const int q = (o * OH + row) * OW + column, from = c * H * W + at;
                if (row >= 0 && row < OH && column >= 0 && column < OW) {
                    a[q][from] += r.weight[0][k];
                    p[q][k] += r.in[from];
                }
            }
        }
        run_layer(&variants[n], "conv_transpose",
                  "{input: [1, 2, 3, 4], params: {filters: 3, kernel: [3, 2], stride: [2, 3],"
                  " padding: 1, dilation: [2, 1], output_padding: [1, 1]}}",
                  &r);
        same_as_matrices(&variants[n], &r, &a[0][0], &p[0][0], O * OH * OW, I * H * W,
                         I * O * KH * KW, OH * OW);
        CU_ASSERT_EQUAL(r.declared[0].init.fan_in, I * KH * KW);
        CU_ASSERT_EQUAL(r.declared[0].init.fan_out, O * KH * KW);
    }
}

/* Channels, stride, padding and dilation: C for one sample, (3*2*3) x (2*5*6), and the matrix of y
 * as a function of the filters, (3*2*3) x (3*2*3*2). */
static void test_convolution_with_everything(void) {
    enum { I = 2, H = 5, W = 6, O = 3, KH = 3, KW = 2, OH = 2, OW = 3 };
    static double c[O * OH * OW][I * H * W], p[O * OH * OW][O * I * KH * KW];
    static layer_run r;

    for (size_t n = 0; n < N_VARIANTS; n++) {
        draw_run(&r, 2);
        memset(c, 0, sizeof(c));
        memset(p, 0, sizeof(p));
        for (int o = 0; o < O; o++) {
            for (int at = 0; at < OH * OW * I * KH * KW; at++) {
                const int v = at % KW, u = at / KW % KH, ch = at / (KW * KH) % I;
                const int j = at / (KW * KH * I) % OW, i = at / (KW * KH * I * OW);
                const int row = i * 2 + u * 2 - 1, column = j * 3 + v - 1; /* strides, dilation */
                const int k = ((o * I + ch) * KH + u) * KW + v, q = (o * OH + i) * OW + j;
                if (row >= 0 && row < H && column >= 0 && column < W) {
                    c[q][(ch * H + row) * W + column] = r.weight[0][k];
                    p[q][k] = r.in[(ch * H + row) * W + column];
                }
            }
        }
        run_layer(&variants[n], "conv",
                  "{input: [1, 2, 5, 6], params: {filters: 3, kernel: [3, 2], stride: [2, 3],"
                  " padding: 1, dilation: [2, 1]}}",
                  &r);
        same_as_matrices(&variants[n], &r, &c[0][0], &p[0][0], O * OH * OW, I * H * W,
                         O * I * KH * KW, OH * OW);
        CU_ASSERT_EQUAL(r.declared[0].init.fan_in, I * KH * KW);
        CU_ASSERT_EQUAL(r.declared[0].init.fan_out, O * KH * KW);
    }
}

/* ---- Products of matrices ------------------------------------------------------------------ */

/* dX = dY W, dW = dY^T X, db = dY^T 1, on an image, whose logical order is C, H, W. */
static void test_dimension_rule(void) {
    enum { N = 3, F = 12, O = 5 };
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double y[N * O], dx[N * F], dw[O * F] = {0}, db[O] = {0};
        draw_run(&r, 3);
        run_layer(&variants[i], "linear", "{input: [3, 2, 3, 2], params: {units: 5}}", &r);
        for (size_t n = 0; n < N; n++) {
            multiply(r.weight[0], O, F, false, r.in + n * F, y + n * O);
            multiply(r.weight[0], O, F, true, r.d_out + n * O, dx + n * F);
            for (size_t o = 0; o < O; o++) {
                y[n * O + o] += r.weight[1][o];
                db[o] += r.d_out[n * O + o];
                for (size_t f = 0; f < F; f++) {
                    dw[o * F + f] += r.d_out[n * O + o] * r.in[n * F + f];
                }
            }
        }
        SAME(&variants[i], r.out, y, N * O);
        SAME(&variants[i], r.d_in, dx, N * F);
        SAME(&variants[i], r.d_weight[0], dw, O * F);
        SAME(&variants[i], r.d_weight[1], db, O);
    }
}

/* Z = A B, A: (n, k), B: (k, m). */
static void product(const double *a, const double *b, size_t n, size_t k, size_t m, double *z) {
    memset(z, 0, n * m * sizeof(*z));
    for (size_t i = 0; i < n * k * m; i++) {
        const size_t row = i / (k * m), inner = i / m % k, column = i % m;
        z[row * m + column] += a[row * k + inner] * b[inner * m + column];
    }
}

/* B = A^T, A: (n, m). */
static void transpose(const double *a, size_t n, size_t m, double *b) {
    for (size_t i = 0; i < n * m; i++) {
        b[i % m * n + i / m] = a[i];
    }
}

/* Samples as columns, X: (F, N): Y = W X + b 1^T, dW = dY X^T, dX = W^T dY, db = dY 1. The layer
 * has them as rows. */
static void test_columns(void) {
    enum { N = 4, F = 3, O = 2 };
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double x[F * N], y[O * N], d_y[O * N], w_t[F * O], d_x[F * N], d_w[O * F], db[O] = {0};
        double rows[MOST];
        draw_run(&r, 34);
        run_layer(&variants[i], "linear", "{input: [4, 3], params: {units: 2}}", &r);
        transpose(r.in, N, F, x);
        transpose(r.d_out, N, O, d_y);
        product(r.weight[0], x, O, F, N, y);
        for (size_t at = 0; at < O * N; at++) {
            y[at] += r.weight[1][at / N];
            db[at / N] += d_y[at];
        }
        transpose(y, O, N, rows);
        SAME(&variants[i], r.out, rows, N * O);
        product(d_y, r.in, O, N, F, d_w); /* the layer's rows are X^T */
        SAME(&variants[i], r.d_weight[0], d_w, O * F);
        transpose(r.weight[0], O, F, w_t);
        product(w_t, d_y, F, O, N, d_x);
        transpose(d_x, F, N, rows);
        SAME(&variants[i], r.d_in, rows, N * F);
        SAME(&variants[i], r.d_weight[1], db, O);
    }
}

/* Z = V (W x + b) + c: the gradient at x goes back through both, dx = (V W)^T dz. */
static void test_chain_rule(void) {
    enum { F = 4, M = 3, O = 2 };
    static layer_run first, second;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double vw[O * F] = {0}, z[O], vb[O], dx[F], dw[M * F];
        draw_run(&first, 4);
        draw_run(&second, 5);
        run_layer(&variants[i], "linear", "{input: [1, 4], params: {units: 3}}", &first);
        memcpy(second.in, first.out, sizeof(first.out));
        run_layer(&variants[i], "linear", "{input: [1, 3], params: {units: 2}}", &second);
        memcpy(first.d_out, second.d_in, sizeof(second.d_in));
        run_layer(&variants[i], "linear", "{input: [1, 4], params: {units: 3}}", &first);

        for (size_t o = 0; o < O; o++) {
            for (size_t m = 0; m < M; m++) {
                for (size_t f = 0; f < F; f++) {
                    vw[o * F + f] += second.weight[0][o * M + m] * first.weight[0][m * F + f];
                }
            }
        }
        multiply(vw, O, F, false, first.in, z);
        multiply(second.weight[0], O, M, false, first.weight[1], vb);
        for (size_t o = 0; o < O; o++) {
            z[o] += vb[o] + second.weight[1][o];
        }
        SAME(&variants[i], second.out, z, O);
        multiply(vw, O, F, true, second.d_out, dx);
        SAME(&variants[i], first.d_in, dx, F);
        for (size_t m = 0; m < M; m++) { /* dW = (V^T dz) x^T */
            for (size_t f = 0; f < F; f++) {
                dw[m * F + f] = (second.weight[0][m] * second.d_out[0] +
                                 second.weight[0][M + m] * second.d_out[1]) *
                                first.in[f];
            }
        }
        SAME(&variants[i], first.d_weight[0], dw, M * F);
    }
}

/* ---- Pooling and relu ---------------------------------------------------------------------- */

/* 2x2 windows at stride 1 on a 3x3 image: a matrix of quarters, and one that selects. */
static void test_pooling_is_a_matrix(void) {
    static const int window[4][4] = {{0, 1, 3, 4}, {1, 2, 4, 5}, {3, 4, 6, 7}, {4, 5, 7, 8}};
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double mean[4][9] = {{0}}, selects[4][9] = {{0}}, y[4], dx[9];
        draw_run(&r, 6);
        for (size_t q = 0; q < 4; q++) {
            int largest = window[q][0];
            for (size_t k = 0; k < 4; k++) {
                mean[q][window[q][k]] = 0.25;
                largest = r.in[window[q][k]] > r.in[largest] ? window[q][k] : largest;
            }
            selects[q][largest] = 1;
        }
        for (int max = 0; max < 2; max++) {
            const double *matrix = max ? &selects[0][0] : &mean[0][0];
            run_layer(&variants[i], max ? "max_pool" : "avg_pool",
                      "{input: [1, 1, 3, 3], params: {kernel: 2, stride: 1}}", &r);
            multiply(matrix, 4, 9, false, r.in, y);
            SAME(&variants[i], r.out, y, 4);
            multiply(matrix, 4, 9, true, r.d_out, dx);
            SAME(&variants[i], r.d_in, dx, 9);
        }
    }
}

/* The mean and the largest of a whole image: a row of a matrix. */
static void test_global_pooling(void) {
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double mean[6], selects[6] = {0}, y, dx[6];
        size_t largest = 0;
        draw_run(&r, 15);
        for (size_t k = 0; k < 6; k++) {
            mean[k] = 1.0 / 6;
            largest = r.in[k] > r.in[largest] ? k : largest;
        }
        selects[largest] = 1;
        for (int max = 0; max < 2; max++) {
            run_layer(&variants[i], max ? "global_max_pool" : "global_avg_pool",
                      "{input: [1, 1, 2, 3]}", &r);
            multiply(max ? selects : mean, 1, 6, false, r.in, &y);
            SAME(&variants[i], r.out, &y, 1);
            multiply(max ? selects : mean, 1, 6, true, r.d_out, dx);
            SAME(&variants[i], r.d_in, dx, 6);
        }
    }
}

/* Y = A_y X A_x^T and dX = A_y^T dY A_x, for an image of 3x2, with A_y: (6, 3) and A_x: (4, 2). */
static void two_sided(const char *type, const char *text, double a_y[6][3], double a_x[4][2]) {
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double y[24] = {0}, dx[6] = {0};
        draw_run(&r, 16);
        run_layer(&variants[i], type, text, &r);
        for (int k = 0; k < 24 * 6; k++) {
            const int at = k / 6, from = k % 6;
            const double a = a_y[at / 4][from / 2] * a_x[at % 4][from % 2];
            y[at] += a * r.in[from];
            dx[from] += a * r.d_out[at];
        }
        SAME(&variants[i], r.out, y, 24);
        SAME(&variants[i], r.d_in, dx, 6);
    }
}

static void test_upsampling_is_two_matrices(void) {
    static double nearest_y[6][3] = {{1}, {1}, {0, 1}, {0, 1}, {0, 0, 1}, {0, 0, 1}};
    static double nearest_x[4][2] = {{1}, {1}, {0, 1}, {0, 1}};
    static double edges_y[6][3] = {
        {1}, {0.75, 0.25}, {0.25, 0.75}, {0, 0.75, 0.25}, {0, 0.25, 0.75}, {0, 0, 1}};
    static double edges_x[4][2] = {{1}, {0.75, 0.25}, {0.25, 0.75}, {0, 1}};
    static double corners_y[6][3] = {{1},           {0.6, 0.4},    {0.2, 0.8},
                                     {0, 0.8, 0.2}, {0, 0.4, 0.6}, {0, 0, 1}};
    static double corners_x[4][2] = {{1}, {2.0 / 3, 1.0 / 3}, {1.0 / 3, 2.0 / 3}, {0, 1}};
    two_sided("upsample", "{input: [1, 1, 3, 2], params: {scale: 2}}", nearest_y, nearest_x);
    two_sided("upsample", "{input: [1, 1, 3, 2], params: {scale: 2, mode: bilinear}}", edges_y,
              edges_x);
    two_sided("upsample",
              "{input: [1, 1, 3, 2], params: {scale: 2, mode: bilinear, align_corners: true}}",
              corners_y, corners_x);
}

static void test_padding_is_two_matrices(void) {
    static double zeros_y[6][3] = {{0}, {0}, {1}, {0, 1}, {0, 0, 1}, {0}};
    static double zeros_x[4][2] = {{0}, {1}, {0, 1}, {0}};
    static double mirror_y[6][3] = {{0, 0, 1}, {0, 1}, {1}, {0, 1}, {0, 0, 1}, {0, 1}};
    static double mirror_x[4][2] = {{0, 1}, {1}, {0, 1}, {1}};
    static double copies_y[6][3] = {{1}, {1}, {1}, {0, 1}, {0, 0, 1}, {0, 0, 1}};
    static double copies_x[4][2] = {{1}, {1}, {0, 1}, {0, 1}};
    two_sided("pad", "{input: [1, 1, 3, 2], params: {padding: [2, 1, 1, 1]}}", zeros_y, zeros_x);
    two_sided("pad", "{input: [1, 1, 3, 2], params: {padding: [2, 1, 1, 1], mode: reflect}}",
              mirror_y, mirror_x);
    two_sided("pad", "{input: [1, 1, 3, 2], params: {padding: [2, 1, 1, 1], mode: replicate}}",
              copies_y, copies_x);
}

/* Of equal values the first in row order is the largest. */
static void test_max_pool_of_equals(void) {
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        draw_run(&r, 11);
        for (size_t k = 0; k < 9; k++) {
            r.in[k] = -1;
        }
        run_layer(&variants[i], "max_pool", "{input: [1, 1, 3, 3], params: {kernel: 2, stride: 1}}",
                  &r);
        const double dx[] = {r.d_out[0], r.d_out[1], 0, r.d_out[2], r.d_out[3], 0, 0, 0, 0};
        SAME(&variants[i], r.d_in, dx, 9);
    }
}

static void test_relu_is_a_diagonal(void) {
    static const double x[] = {-2, -0.5, 0, 0.25, 3}, y[] = {0, 0, 0, 0.25, 3};
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        draw_run(&r, 7);
        memcpy(r.in, x, sizeof(x));
        run_layer(&variants[i], "relu", "{input: [1, 5]}", &r);
        const double dx[] = {0, 0, 0, r.d_out[3], r.d_out[4]};
        SAME(&variants[i], r.out, y, 5);
        SAME(&variants[i], r.d_in, dx, 5);
    }
}

/* ---- Functions of one number --------------------------------------------------------------- */

/* f(x) and f'(x), as the page's table has them. */
typedef struct value {
    double f, slope;
} value;

static double sigmoid_of(double x) {
    return 1 / (1 + exp(-x));
}

static value leaky_relu(double x) { /* slope 0.1 */
    return x > 0 ? (value){x, 1} : (value){0.1 * x, 0.1};
}

static value elu(double x) { /* alpha 1.5 */
    return x > 0 ? (value){x, 1} : (value){1.5 * (exp(x) - 1), 1.5 * exp(x)};
}

static value selu(double x) {
    const double scale = 1.0507009873554805, alpha = 1.6732632423543772;
    return x > 0 ? (value){scale * x, scale}
                 : (value){scale * alpha * (exp(x) - 1), scale * alpha * exp(x)};
}

static value gelu(double x) {
    const double pi = acos(-1), p = (1 + erf(x / sqrt(2))) / 2;
    return (value){x * p, p + x * exp(-x * x / 2) / sqrt(2 * pi)};
}

static value gelu_tanh(double x) {
    const double c = sqrt(2 / acos(-1)), t = tanh(c * (x + 0.044715 * x * x * x));
    return (value){x * (1 + t) / 2,
                   (1 + t) / 2 + x / 2 * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)};
}

static value silu(double x) {
    const double s = sigmoid_of(x);
    return (value){x * s, s * (1 + x * (1 - s))};
}

static value mish(double x) {
    const double t = tanh(log(1 + exp(x)));
    return (value){x * t, t + x * (1 - t * t) * sigmoid_of(x)};
}

static value sigmoid(double x) {
    const double s = sigmoid_of(x);
    return (value){s, s * (1 - s)};
}

static value hyperbolic(double x) {
    return (value){tanh(x), 1 - tanh(x) * tanh(x)};
}

static value softplus(double x) { /* beta 2 */
    return (value){log(1 + exp(2 * x)) / 2, sigmoid_of(2 * x)};
}

static value hard_sigmoid(double x) {
    return x <= -3 ? (value){0, 0} : x >= 3 ? (value){1, 0} : (value){x / 6 + 0.5, 1.0 / 6};
}

static value hard_swish(double x) {
    return x <= -3 ? (value){0, 0} : x >= 3 ? (value){x, 1} : (value){x * (x + 3) / 6, x / 3 + 0.5};
}

static value clipped(double x) { /* -1 to 2.5 */
    return x <= -1 ? (value){-1, 0} : x >= 2.5 ? (value){2.5, 0} : (value){x, 1};
}

/* The Jacobian is diagonal, with f'(x). */
static void test_functions_of_one_number(void) {
    enum { N = 60 };
    static const struct {
        const char *type, *params;
        value (*of)(double x);
    } functions[] = {{"leaky_relu", "{slope: 0.1}", leaky_relu},
                     {"elu", "{alpha: 1.5}", elu},
                     {"selu", "{}", selu},
                     {"gelu", "{}", gelu},
                     {"gelu", "{approximate: tanh}", gelu_tanh},
                     {"silu", "{}", silu},
                     {"mish", "{}", mish},
                     {"sigmoid", "{}", sigmoid},
                     {"tanh", "{}", hyperbolic},
                     {"softplus", "{beta: 2}", softplus},
                     {"hard_sigmoid", "{}", hard_sigmoid},
                     {"hard_swish", "{}", hard_swish},
                     {"clip", "{min: -1, max: 2.5}", clipped}};
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        for (size_t k = 0; k < sizeof(functions) / sizeof(functions[0]); k++) {
            double y[N], dx[N];
            char text[128];
            draw_run(&r, 35);
            for (size_t n = 0; n < N; n++) {
                r.in[n] *= 6;
                const value v = functions[k].of(r.in[n]);
                y[n] = v.f;
                dx[n] = v.slope * r.d_out[n];
            }
            snprintf(text, sizeof(text), "{input: [2, 3, 5, 2], params: %s}", functions[k].params);
            run_layer(&variants[i], functions[k].type, text, &r);
            const bool right = SAME(&variants[i], r.out, y, N);
            if (!SAME(&variants[i], r.d_in, dx, N) || !right) {
                printf(" (%s %s)", functions[k].type, functions[k].params);
            }
        }
    }
}

/* ---- Norms --------------------------------------------------------------------------------- */

enum { M = 6, SETS = 3 };

/* xhat of M values, and its Jacobian r (I - 1 1^T / M - xhat xhat^T / M). */
static void xhat_of(const double *x, double eps, double xhat[M], double jacobian[M][M]) {
    double mean = 0, variance = 0;
    for (size_t i = 0; i < M; i++) {
        mean += x[i] / M;
    }
    for (size_t i = 0; i < M; i++) {
        variance += (x[i] - mean) * (x[i] - mean) / M;
    }
    const double r = 1 / sqrt(variance + eps);
    for (size_t i = 0; i < M; i++) {
        xhat[i] = (x[i] - mean) * r;
    }
    for (size_t i = 0; i < M; i++) {
        for (size_t j = 0; j < M; j++) {
            jacobian[i][j] = r * ((i == j) - 1.0 / M - xhat[i] * xhat[j] / M);
        }
    }
}

/* SETS sets of M values. With weights by set (a channel's) or by place in a set: y = w xhat + b and
 * what follows from it. A value of set s at place i is number s * of_set + i * of_place. */
static void check_norm(const char *type, const char *text, size_t of_set, size_t of_place,
                       bool by_set) {
    static layer_run r;
    for (size_t v = 0; v < N_VARIANTS; v++) {
        double y[SETS * M], dx[SETS * M], dw[MOST] = {0}, db[MOST] = {0};
        draw_run(&r, 9);
        for (size_t s = 0; s < SETS; s++) {
            double x[M], xhat[M], jacobian[M][M], d_xhat[M], d_x[M];
            for (size_t i = 0; i < M; i++) {
                x[i] = r.in[s * of_set + i * of_place];
            }
            xhat_of(x, 0.01, xhat, jacobian);
            for (size_t i = 0; i < M; i++) {
                const size_t at = s * of_set + i * of_place, w = by_set ? s : i;
                y[at] = r.weight[0][w] * xhat[i] + r.weight[1][w];
                d_xhat[i] = r.weight[0][w] * r.d_out[at];
                dw[w] += r.d_out[at] * xhat[i];
                db[w] += r.d_out[at];
            }
            multiply(jacobian[0], M, M, true, d_xhat, d_x);
            for (size_t i = 0; i < M; i++) {
                dx[s * of_set + i * of_place] = d_x[i];
            }
        }
        run_layer(&variants[v], type, text, &r);
        SAME(&variants[v], r.out, y, SETS * M);
        SAME(&variants[v], r.d_in, dx, SETS * M);
        SAME(&variants[v], r.d_weight[0], dw, by_set ? SETS : M);
        SAME(&variants[v], r.d_weight[1], db, by_set ? SETS : M);
    }
}

static void test_norms_have_one_jacobian(void) {
    check_norm("batch_norm", "{input: [6, 3], params: {eps: 0.01}}", 1, SETS, true);
    check_norm("batch_norm", "{input: [1, 3, 2, 3], params: {eps: 0.01}}", M, 1, true);
    check_norm("instance_norm", "{input: [1, 3, 2, 3], params: {eps: 0.01, affine: true}}", M, 1,
               true);
    check_norm("group_norm", "{input: [3, 6], params: {eps: 0.01, groups: 1}}", M, 1, false);
    check_norm("layer_norm", "{input: [3, 6], params: {eps: 0.01}}", M, 1, false);
    check_norm("layer_norm", "{input: [3, 1, 3, 2], params: {eps: 0.01}}", M, 1, false);
    check_norm("layer_norm", "{input: [1, 6, 1, 3], params: {eps: 0.01, over: channels}}", 1, SETS,
               false);
}

/* dy_j/dx_c = [j = c] s_c^-beta - beta x_j s_j^(-beta-1) (2 alpha / n) x_c [c around j], for an
 * even n, of which more channels before than after are around one. */
static void test_response_normalisation(void) {
    enum { C = 7, SIZE = 4 };
    const double alpha = 2, beta = 0.75;
    static layer_run r;
    for (size_t v = 0; v < N_VARIANTS; v++) {
        double s[C], y[C], dx[C], jacobian[C][C];
        draw_run(&r, 10);
        for (int j = 0; j < C; j++) {
            s[j] = 1;
            for (int c = j - SIZE / 2; c <= j + (SIZE - 1) / 2; c++) {
                s[j] += c >= 0 && c < C ? alpha / SIZE * r.in[c] * r.in[c] : 0;
            }
            y[j] = r.in[j] * pow(s[j], -beta);
        }
        for (int j = 0; j < C; j++) {
            for (int c = 0; c < C; c++) {
                const bool around = c >= j - SIZE / 2 && c <= j + (SIZE - 1) / 2;
                jacobian[j][c] = j == c ? pow(s[c], -beta) : 0;
                jacobian[j][c] -=
                    around ? beta * r.in[j] * pow(s[j], -beta - 1) * (2 * alpha / SIZE) * r.in[c]
                           : 0;
            }
        }
        multiply(jacobian[0], C, C, true, r.d_out, dx);
        run_layer(&variants[v], "lrn", "{input: [1, 7], params: {size: 4, alpha: 2}}", &r);
        SAME(&variants[v], r.out, y, C);
        SAME(&variants[v], r.d_in, dx, C);
    }
}

LAMINA_TESTS({"a convolution is y = Cx, its gradient C^T dy", test_convolution_is_a_matrix},
             {"so it is with channels, stride, padding, dilation",
              test_convolution_with_everything},
             {"it is a correlation: the textbook's convolution turns the filter",
              test_convolution_is_a_correlation},
             {"the filter's gradient is a correlation, too", test_filter_gradient_is_a_correlation},
             {"a transposed convolution is y = C^T x, its gradient C dy",
              test_transposed_convolution},
             {"so it is with channels, stride, padding, dilation, output padding",
              test_transposed_with_everything},
             {"linear follows the dimension rule", test_dimension_rule},
             {"samples as columns: dW = dY X^T, dX = W^T dY", test_columns},
             {"two linear layers follow the chain rule", test_chain_rule},
             {"pooling is a matrix", test_pooling_is_a_matrix},
             {"global pooling is a row of a matrix", test_global_pooling},
             {"upsampling is a matrix for each axis", test_upsampling_is_two_matrices},
             {"padding is a matrix for each axis", test_padding_is_two_matrices},
             {"max pooling takes the first of equals", test_max_pool_of_equals},
             {"relu is a diagonal matrix", test_relu_is_a_diagonal},
             {"functions of one number are diagonal matrices", test_functions_of_one_number},
             {"norms have one Jacobian", test_norms_have_one_jacobian},
             {"response normalisation", test_response_normalisation})
