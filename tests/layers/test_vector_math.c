/* The functions of layers/vector_math.h: each within its bound of libm's double everywhere, and
 * right where it overflows, underflows or is given no number. */
#include "layers/vector_math.h"
#include "support.h"

/* The largest error of f over [low, high] in units of the last place of the true value, which count
 * as those of `floor` below it. */
static double worst(float (*f)(float), double (*truth)(double), double low, double high,
                    double floor) {
    enum { STEPS = 400000 };
    double most = 0;
    for (int i = 0; i <= STEPS; i++) {
        const float x = (float)(low + (high - low) * i / STEPS);
        const double want = truth((double)x);
        const double size = fabs(want) > floor ? fabs(want) : floor;
        const double unit = (double)nextafterf((float)size, INFINITY) - (double)(float)size;
        const double error = fabs((double)f(x) - want) / unit;
        most = error > most || error != error ? error : most;
    }
    return most;
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static void accurate(void) {
    CU_ASSERT(worst(lamina__vector_exp, exp, -87.3, 88.7, 0) < 2);
    CU_ASSERT(worst(lamina__vector_exp, exp, -0.5, 0.5, 0) < 2);
    CU_ASSERT(worst(lamina__vector_tanh, tanh, -20, 20, 0) < 3);
    CU_ASSERT(worst(lamina__vector_tanh, tanh, -1e-3, 1e-3, 0) < 3);
    CU_ASSERT(worst(lamina__vector_erf, erf, -6, 6, 0) < 3);
    CU_ASSERT(worst(lamina__vector_erf, erf, -1e-3, 1e-3, 0) < 3);
    CU_ASSERT(worst(lamina__vector_log1p, log1p, 0, 1, 0) < 3);
    CU_ASSERT(worst(lamina__vector_sigmoid, sigmoid, -87, 40, 0) < 4);
}

static void limits(void) {
    CU_ASSERT_EQUAL(lamina__vector_exp(INFINITY), INFINITY);
    CU_ASSERT_EQUAL(lamina__vector_exp(89), INFINITY);
    CU_ASSERT_EQUAL(lamina__vector_exp(-INFINITY), 0);
    CU_ASSERT_EQUAL(lamina__vector_exp(-200), 0);
    CU_ASSERT_EQUAL(lamina__vector_exp(0), 1);
    CU_ASSERT_EQUAL(lamina__vector_tanh(INFINITY), 1);
    CU_ASSERT_EQUAL(lamina__vector_tanh(-INFINITY), -1);
    CU_ASSERT_EQUAL(lamina__vector_tanh(0), 0);
    CU_ASSERT_EQUAL(lamina__vector_erf(INFINITY), 1);
    CU_ASSERT_EQUAL(lamina__vector_erf(-INFINITY), -1);
    CU_ASSERT_EQUAL(lamina__vector_log1p(0), 0);
    CU_ASSERT_EQUAL(lamina__vector_sigmoid(INFINITY), 1);
    CU_ASSERT_EQUAL(lamina__vector_sigmoid(-INFINITY), 0);
}

static void not_a_number(void) {
    CU_ASSERT(isnan(lamina__vector_exp(NAN)));
    CU_ASSERT(isnan(lamina__vector_tanh(NAN)));
    CU_ASSERT(isnan(lamina__vector_erf(NAN)));
    CU_ASSERT(isnan(lamina__vector_log1p(NAN)));
    CU_ASSERT(isnan(lamina__vector_sigmoid(NAN)));
}

LAMINA_TESTS({"accurate", accurate}, {"limits", limits}, {"not a number", not_a_number})
