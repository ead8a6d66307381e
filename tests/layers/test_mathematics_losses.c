/* The matrices of docs/mathematics.md for least squares, losses and softmax, built one number at a
 * time, against the layers. */
#include "matrix_checks.h"

/* ---- Least squares ------------------------------------------------------------------------- */

/* L = |Xw - t|^2 / 2 has the gradient X^T (Xw - t), which is 0 where X^T X w = X^T t. */
static void test_least_squares(void) {
    static const double x[] = {1, 1, 1, -1, 1, 1, 1, -1}; /* (4, 2), orthogonal columns */
    static const double t[] = {3, 0, 1, 1};
    static const double solution[] = {1.25, 0.75}, other[] = {2, -1}, zero[] = {0, 0};
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        for (int at_solution = 0; at_solution < 2; at_solution++) {
            double gradient[2];
            memcpy(r.in, x, sizeof(x));
            memcpy(r.weight[0], at_solution ? solution : other, sizeof(other));
            run_layer(&variants[i], "linear", "{input: [4, 2], params: {units: 1, bias: false}}",
                      &r);
            for (size_t n = 0; n < 4; n++) {
                r.d_out[n] = r.out[n] - t[n];
            }
            run_layer(&variants[i], "linear", "{input: [4, 2], params: {units: 1, bias: false}}",
                      &r);
            multiply(x, 4, 2, true, r.d_out, gradient);
            SAME(&variants[i], r.d_weight[0], at_solution ? zero : gradient, 2);
        }
    }
}

/* The inverse of the symmetric, positive definite a: (n, n), by Gauss and Jordan. */
static void invert(const double *a, size_t n, double *inverse) {
    double work[16];
    CU_ASSERT_FATAL(n * n <= 16);
    memcpy(work, a, n * n * sizeof(*a));
    for (size_t i = 0; i < n * n; i++) {
        inverse[i] = i % n == i / n;
    }
    for (size_t k = 0; k < n; k++) {
        const double pivot = work[k * n + k];
        CU_ASSERT_FATAL(pivot > 0);
        for (size_t j = 0; j < n; j++) {
            work[k * n + j] /= pivot;
            inverse[k * n + j] /= pivot;
        }
        for (size_t i = 0; i < n; i++) {
            const double factor = work[i * n + k];
            for (size_t j = 0; j < n && i != k; j++) {
                work[i * n + j] -= factor * work[k * n + j];
                inverse[i * n + j] -= factor * inverse[k * n + j];
            }
        }
    }
}

/* X^T X, (p, p), of x: (n, p). */
static void gram(const double *x, size_t n, size_t p, double *xtx) {
    for (size_t i = 0; i < p * p; i++) {
        xtx[i] = 0;
        for (size_t row = 0; row < n; row++) {
            xtx[i] += x[row * p + i / p] * x[row * p + i % p];
        }
    }
}

/* Steps of gradient descent on the mean of (Xw - t)^2, taken by the two layers, end at
 * (X^T X)^-1 X^T t; the columns of X are far from orthogonal. */
static void test_descent_solves_least_squares(void) {
    enum { N = 6, P = 3, STEPS = 1500 };
    static const char *const linear = "{input: [6, 3], params: {units: 1, bias: false}}";
    static layer_run layer, loss;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double xtx[P * P], inverse[P * P], xtt[P], solution[P], distance = 0;
        draw_run(&layer, 21);
        draw_run(&loss, 22);
        for (size_t n = 0; n < N; n++) {
            layer.in[n * P + 1] += 0.75 * layer.in[n * P]; /* column 1 leans to column 0 */
            loss.d_out[n] = 1.0 / N;
        }
        gram(layer.in, N, P, xtx);
        CU_ASSERT(fabs(xtx[1]) > 0.5 * xtx[0]);
        invert(xtx, P, inverse);
        multiply(layer.in, N, P, true, loss.target, xtt);
        multiply(inverse, P, P, false, xtt, solution);
        for (size_t j = 0; j < P; j++) {
            distance += fabs(layer.weight[0][j] - solution[j]); /* NaN, if one is */
        }
        CU_ASSERT(distance > 0.1); /* where it begins */
        for (int step = 0; step < STEPS; step++) {
            run_layer(&variants[i], "linear", linear, &layer);
            memcpy(loss.in, layer.out, N * sizeof(*loss.in));
            run_layer(&variants[i], "mse_loss", "{input: [6, 1], target: values}", &loss);
            memcpy(layer.d_out, loss.d_in, N * sizeof(*loss.d_in));
            run_layer(&variants[i], "linear", linear, &layer);
            for (size_t j = 0; j < P; j++) {
                layer.weight[0][j] -= 0.5 * layer.d_weight[0][j];
            }
        }
        distance = 0;
        for (size_t j = 0; j < P; j++) {
            distance += fabs(layer.weight[0][j] - solution[j]);
        }
        CU_ASSERT(distance < (variants[i].dtype == LAMINA_F64 ? 1e-11 : 1e-5));
    }
}

/* J = |Xw - y|^2, r = Xw - y: (n): dJ/dX = 2 r w^T has X's shape, dJ/dw = 2 X^T r has w's and
 * dJ/dy = -2 r has y's. mse_loss of one number for a sample is r[n]^2, and J their sum: dloss 1. */
static void test_dimension_rule_of_squares(void) {
    enum { N = 5, P = 3 };
    static const char *const linear = "{input: [5, 3], params: {units: 1, bias: false}}";
    static layer_run layer, loss;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        for (int mean = 0; mean < 2; mean++) { /* J, and J / n */
            const double scale = mean ? 1.0 / N : 1;
            double xw[N], r2[N], j = 0, sum = 0, d_pred[N], d_x[N * P], d_w[P], d_y[N];
            draw_run(&layer, 23);
            draw_run(&loss, 24);
            run_layer(&variants[i], "linear", linear, &layer);
            memcpy(loss.in, layer.out, N * sizeof(*loss.in));
            for (size_t n = 0; n < N; n++) {
                loss.d_out[n] = scale;
            }
            run_layer(&variants[i], "mse_loss", "{input: [5, 1], target: values}", &loss);
            memcpy(layer.d_out, loss.d_in, N * sizeof(*loss.d_in));
            run_layer(&variants[i], "linear", linear, &layer);

            multiply(layer.in, N, P, false, layer.weight[0], xw);
            for (size_t n = 0; n < N; n++) {
                const double r = xw[n] - loss.target[n];
                r2[n] = r * r;
                j += r2[n];
                sum += loss.out[n];
                d_pred[n] = 2 * scale * r;
                d_y[n] = -2 * scale * r;
                for (size_t p = 0; p < P; p++) {
                    d_x[n * P + p] = 2 * scale * r * layer.weight[0][p]; /* (n, 1) (1, p) */
                }
            }
            multiply(layer.in, N, P, true, d_pred, d_w); /* (p, n) (n, 1) */
            SAME(&variants[i], layer.out, xw, N);
            SAME(&variants[i], loss.out, r2, N);
            SAME(&variants[i], &sum, &j, 1);
            SAME(&variants[i], loss.d_in, d_pred, N);
            SAME(&variants[i], layer.d_in, d_x, N * P);
            SAME(&variants[i], layer.d_weight[0], d_w, P);
            SAME(&variants[i], loss.d_target, d_y, N);
        }
    }
}

/* ---- Losses of pairs of numbers ------------------------------------------------------------ */

/* l(x, t), and its slopes by x and by t. */
typedef struct pair {
    double l, by_x, by_t;
} pair;

static pair squares(double x, double t) {
    return (pair){(x - t) * (x - t), 2 * (x - t), -2 * (x - t)};
}

static double sign(double r) {
    return r > 0 ? 1 : r < 0 ? -1 : 0;
}

static pair sizes(double x, double t) {
    return (pair){fabs(x - t), sign(x - t), -sign(x - t)};
}

static pair huber(double x, double t) { /* beta 0.5 */
    const double r = x - t;
    return fabs(r) < 0.5 ? (pair){r * r, 2 * r, -2 * r} : (pair){fabs(r) - 0.25, sign(r), -sign(r)};
}

static pair binary(double x, double t) {
    const double s = 1 / (1 + exp(-x));
    return (pair){-t * log(s) - (1 - t) * log(1 - s), s - t, -x};
}

static pair binary_weighted(double x, double t) { /* pos_weight 3 */
    const double s = 1 / (1 + exp(-x));
    return (pair){-3 * t * log(s) - (1 - t) * log(1 - s), (1 - t) * s - 3 * t * (1 - s),
                  -3 * log(s) + log(1 - s)};
}

static pair binary_of_probabilities(double x, double t) {
    return (pair){-t * log(x) - (1 - t) * log(1 - x), (1 - t) / (1 - x) - t / x,
                  log(1 - x) - log(x)};
}

static void test_losses_of_numbers(void) {
    enum { N = 3, F = 5 };
    static const struct {
        const char *type, *params;
        pair (*of)(double x, double t);
    } losses[] = {{"mse_loss", "{}", squares},
                  {"l1_loss", "{}", sizes},
                  {"smooth_l1_loss", "{beta: 0.5}", huber},
                  {"bce_loss", "{}", binary},
                  {"bce_loss", "{pos_weight: 3}", binary_weighted},
                  {"bce_loss", "{logits: false}", binary_of_probabilities}};
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        for (size_t k = 0; k < sizeof(losses) / sizeof(losses[0]); k++) {
            double loss[N] = {0}, dx[N * F], dt[N * F];
            char text[128];
            draw_run(&r, 25);
            for (size_t f = 0; f < N * F; f++) {
                if (strcmp(losses[k].type, "bce_loss") == 0) {
                    r.target[f] = r.target[f] / 2 + 0.5;
                }
                if (strcmp(losses[k].params, "{logits: false}") == 0) {
                    r.in[f] = r.in[f] / 2 + 0.5;
                }
                const pair l = losses[k].of(r.in[f], r.target[f]);
                loss[f / F] += l.l / F;
                dx[f] = r.d_out[f / F] / F * l.by_x;
                dt[f] = r.d_out[f / F] / F * l.by_t;
            }
            snprintf(text, sizeof(text), "{input: [3, 5], target: values, params: %s}",
                     losses[k].params);
            run_layer(&variants[i], losses[k].type, text, &r);
            bool right = SAME(&variants[i], r.out, loss, N);
            right = SAME(&variants[i], r.d_in, dx, N * F) && right;
            if (!SAME(&variants[i], r.d_target, dt, N * F) || !right) {
                printf(" (%s %s)", losses[k].type, losses[k].params);
            }
        }
    }
}

/* ---- Scores and labels --------------------------------------------------------------------- */

/* Each column of the matrix E: (K, K) has the rows k != t of e_k - e_t where the score k is in the
 * margin; dx of z = max(0, margin - x_t + x_k) to the power 1 or 2 is their sum, weighted. */
static void test_margins(void) {
    enum { N = 4, K_SCORES = 5 };
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        for (int p = 1; p <= 2; p++) {
            double loss[N] = {0}, dx[N * K_SCORES] = {0};
            char text[128];
            draw_run(&r, 26);
            for (size_t n = 0; n < N; n++) {
                const size_t t = (3 * n + 1) % K_SCORES;
                const double *x = r.in + n * K_SCORES;
                r.label[n] = (int32_t)t;
                for (size_t k = 0; k < K_SCORES; k++) {
                    const double z = k != t ? 0.5 - x[t] + x[k] : 0;
                    if (z > 0) {
                        const double slope = r.d_out[n] / K_SCORES * (p == 1 ? 1 : 2 * z);
                        loss[n] += pow(z, p) / K_SCORES;
                        dx[n * K_SCORES + k] += slope;
                        dx[n * K_SCORES + t] -= slope;
                    }
                }
            }
            snprintf(text, sizeof(text), "{input: [4, 5], params: {margin: 0.5, p: %d}}", p);
            run_layer(&variants[i], "hinge_loss", text, &r);
            SAME(&variants[i], r.out, loss, N);
            SAME(&variants[i], r.d_in, dx, N * K_SCORES);
        }
    }
}

/* ---- Softmax ------------------------------------------------------------------------------- */

enum { K = 5 };

/* s = softmax(x) and its Jacobian diag(s) - s s^T. */
static void softmax_of(const double *x, double *s, double jacobian[K][K]) {
    double sum = 0;
    for (size_t k = 0; k < K; k++) {
        s[k] = exp(x[k]);
        sum += s[k];
    }
    for (size_t k = 0; k < K; k++) {
        s[k] /= sum;
    }
    for (size_t k = 0; k < K; k++) {
        for (size_t l = 0; l < K; l++) {
            jacobian[k][l] = (k == l ? s[k] : 0) - s[k] * s[l];
        }
    }
}

/* Each unit vector as the output's gradient takes out one row of the Jacobian; a vector of ones,
 * the gradient of a plain sum, gives 0. */
static void test_softmax_jacobian(void) {
    static const double zeros[K];
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double s[K], jacobian[K][K];
        draw_run(&r, 8);
        softmax_of(r.in, s, jacobian);
        for (size_t k = 0; k <= K; k++) {
            for (size_t l = 0; l < K; l++) {
                r.d_out[l] = k == l || k == K;
            }
            run_layer(&variants[i], "softmax", "{input: [1, 5]}", &r);
            SAME(&variants[i], r.out, s, K);
            SAME(&variants[i], r.d_in, k < K ? jacobian[k] : zeros, K);
        }
    }
}

/* Over the channels of each pixel: (1, 5, 1, 2) is two vectors of five, side by side. */
static void test_softmax_of_pixels(void) {
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double s[2][K], jacobian[2][K][K], x[K], ds[K], dx[K], all_s[2 * K], all_dx[2 * K];
        draw_run(&r, 9);
        for (size_t p = 0; p < 2; p++) {
            for (size_t k = 0; k < K; k++) {
                x[k] = r.in[2 * k + p];
                ds[k] = r.d_out[2 * k + p];
            }
            softmax_of(x, s[p], jacobian[p]);
            multiply(&jacobian[p][0][0], K, K, true, ds, dx);
            for (size_t k = 0; k < K; k++) {
                all_s[2 * k + p] = s[p][k];
                all_dx[2 * k + p] = dx[k];
            }
        }
        run_layer(&variants[i], "softmax", "{input: [1, 5, 1, 2]}", &r);
        SAME(&variants[i], r.out, all_s, 2 * K);
        SAME(&variants[i], r.d_in, all_dx, 2 * K);
    }
}

/* The Jacobian times the gradient of -log s_t is s - e_t. */
static void test_softmax_and_cross_entropy(void) {
    enum { N = 3 };
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double loss[N], dx[N * K], difference[N * K];
        draw_run(&r, 10);
        for (size_t n = 0; n < N; n++) {
            const size_t t = (2 * n + 1) % K;
            double s[K], jacobian[K][K], ds[K] = {0};
            softmax_of(r.in + n * K, s, jacobian);
            r.label[n] = (int32_t)t;
            loss[n] = -log(s[t]);
            ds[t] = -r.d_out[n] / s[t];
            multiply(&jacobian[0][0], K, K, true, ds, dx + n * K);
            for (size_t k = 0; k < K; k++) {
                difference[n * K + k] = r.d_out[n] * (s[k] - (k == t));
            }
        }
        run_layer(&variants[i], "softmax_loss", "{input: [3, 5]}", &r);
        SAME(&variants[i], r.out, loss, N);
        SAME(&variants[i], r.d_in, dx, N * K);
        SAME(&variants[i], r.d_in, difference, N * K);
    }
}

/* Scores that exp() could not take, and one that is no number. */
static void test_softmax_loss_of_extremes(void) {
    static const double x[3][K] = {
        {1000, 999, -1000, 0, 0}, {-5000, 0, 0, 0, 0}, {0, NAN, 0, 0, 0}};
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        const double loss[2] = {log1p(exp(-1)), 5000 + log(4)};
        const double dx[2 * K] = {
            -1 / (1 + exp(1)), 1 / (1 + exp(1)), 0, 0, 0, -1, 0.25, 0.25, 0.25, 0.25};
        memcpy(r.in, x, sizeof(x));
        for (size_t n = 0; n < 3; n++) {
            r.label[n] = 0;
            r.d_out[n] = 1;
        }
        run_layer(&variants[i], "softmax_loss", "{input: [3, 5]}", &r);
        SAME(&variants[i], r.out, loss, 2);
        SAME(&variants[i], r.d_in, dx, 2 * K);
        CU_ASSERT_TRUE(isnan(r.out[2]));
        CU_ASSERT_TRUE(isnan(r.d_in[2 * K]));
    }
}

/* loss = -sum over k of c_k log s_k for any c: the Jacobian times -c / s is s (sum of c) - c. c is
 * made of a label (of which one is ignored), class weights and smoothing, times what makes the mean
 * over the batch one by the labels' weights. */
static void test_coefficients_of_labels(void) {
    enum { N = 4, IGNORED = 2 };
    static const double w[K] = {1, 2, 0.5, 3, 0.25}, e = 0.125;
    static const int32_t labels[N] = {4, 1, IGNORED, 3};
    static layer_run r, nll;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        const double factor = N / (w[4] + w[1] + w[3]);
        double loss[N] = {0}, dx[N * K], sum_rule[N * K];
        double nll_loss[N], nll_dx[N * K] = {0};
        draw_run(&r, 27);
        draw_run(&nll, 28);
        memcpy(r.label, labels, sizeof(labels));
        memcpy(nll.label, labels, sizeof(labels));
        for (size_t n = 0; n < N; n++) {
            const size_t t = (size_t)labels[n];
            double s[K], jacobian[K][K], ds[K], total = 0, c[K];
            softmax_of(r.in + n * K, s, jacobian);
            for (size_t k = 0; k < K; k++) {
                c[k] =
                    t == IGNORED ? 0 : factor * ((1 - e) * w[t] * (double)(k == t) + e * w[k] / K);
                loss[n] -= c[k] * log(s[k]);
                ds[k] = -r.d_out[n] * c[k] / s[k];
                total += c[k];
            }
            multiply(&jacobian[0][0], K, K, true, ds, dx + n * K);
            for (size_t k = 0; k < K; k++) {
                sum_rule[n * K + k] = r.d_out[n] * (s[k] * total - c[k]);
            }
            const double counts = t == IGNORED ? 0 : factor * w[t];
            nll_loss[n] = -counts * nll.in[n * K + t];
            nll_dx[n * K + t] = -counts * nll.d_out[n];
        }
        run_layer(&variants[i], "softmax_loss",
                  "{input: [4, 5], params: {class_weights: [1, 2, 0.5, 3, 0.25], ignore_label: 2,"
                  " label_smoothing: 0.125}}",
                  &r);
        SAME(&variants[i], r.out, loss, N);
        SAME(&variants[i], r.d_in, dx, N * K);
        SAME(&variants[i], r.d_in, sum_rule, N * K);
        run_layer(&variants[i], "nll_loss",
                  "{input: [4, 5], params: {class_weights: [1, 2, 0.5, 3, 0.25], ignore_label: 2}}",
                  &nll);
        SAME(&variants[i], nll.out, nll_loss, N);
        SAME(&variants[i], nll.d_in, nll_dx, N * K);
    }
}

/* The same with c made of probabilities p, which have a gradient, too. */
static void test_coefficients_of_probabilities(void) {
    enum { N = 3 };
    static const double w[K] = {1, 2, 0.5, 3, 0.25}, e = 0.125;
    static layer_run r;
    for (size_t i = 0; i < N_VARIANTS; i++) {
        double loss[N] = {0}, dx[N * K], dp[N * K];
        draw_run(&r, 29);
        for (size_t n = 0; n < N; n++) {
            double s[K], jacobian[K][K], ds[K];
            softmax_of(r.in + n * K, s, jacobian);
            for (size_t k = 0; k < K; k++) {
                r.target[n * K + k] = (double)(n + k) / 16;
                const double c = w[k] * ((1 - e) * r.target[n * K + k] + e / K);
                loss[n] -= c * log(s[k]);
                ds[k] = -r.d_out[n] * c / s[k];
                dp[n * K + k] = -r.d_out[n] * w[k] * (1 - e) * log(s[k]);
            }
            multiply(&jacobian[0][0], K, K, true, ds, dx + n * K);
        }
        run_layer(&variants[i], "softmax_loss",
                  "{input: [3, 5], target: values, params: {class_weights: [1, 2, 0.5, 3, 0.25],"
                  " label_smoothing: 0.125}}",
                  &r);
        SAME(&variants[i], r.out, loss, N);
        SAME(&variants[i], r.d_in, dx, N * K);
        SAME(&variants[i], r.d_target, dp, N * K);
    }
}

LAMINA_TESTS({"least squares", test_least_squares},
             {"linear and mse_loss descend to (X^T X)^-1 X^T t", test_descent_solves_least_squares},
             {"the gradients of |Xw - y|^2 by X, w and y", test_dimension_rule_of_squares},
             {"losses of numbers and their slopes", test_losses_of_numbers},
             {"margins of scores", test_margins},
             {"the Jacobian of softmax is diag(s) - s s^T", test_softmax_jacobian},
             {"softmax over the channels of each pixel", test_softmax_of_pixels},
             {"softmax and cross-entropy leave s - e_t", test_softmax_and_cross_entropy},
             {"softmax loss of extreme scores", test_softmax_loss_of_extremes},
             {"class weights, smoothing and an ignored label", test_coefficients_of_labels},
             {"probabilities instead of a label", test_coefficients_of_probabilities})
