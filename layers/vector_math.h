/* Functions of one number that a compiler can turn into vector code: no branches, no calls, no
 * tables. In the float build they are polynomials over a reduced range, accurate to a few units in
 * the last place (tests/layers/test_vector_math.c measures each); in the double build they are
 * libm's, so that the reference is exact.
 *
 * Coefficients are minimax fits, made by reweighted least squares on Chebyshev points. Infinities
 * give the function's limit, NaN gives NaN. Without -ffast-math the compiler must keep what is
 * written, so rounding tricks are safe. */
#ifndef LAMINA_LAYERS_VECTOR_MATH_H
#define LAMINA_LAYERS_VECTOR_MATH_H

#include "layers/real.h"

#include <stdint.h>
#include <string.h>

#if LAMINA_LAYERS_F64

static inline double lamina__vector_exp(double x) {
    return exp(x);
}

static inline double lamina__vector_tanh(double x) {
    return tanh(x);
}

static inline double lamina__vector_erf(double x) {
    return erf(x);
}

/* log(1 + u) for u in [0, 1]. */
static inline double lamina__vector_log1p(double u) {
    return log1p(u);
}

#else

/* 2^n for n = -126 .. 128, given as a float with that integer value; 128 gives infinity. */
static inline float lamina__power_of_two(float n) {
    /* Adding 1.5 * 2^23 puts n into the low bits of the number. */
    const float shifted = n + 12582912.0F;
    uint32_t bits;
    float power;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* exp(x) = 2^n * exp(r), with n the integer next to x / log 2, so |r| <= log(2) / 2; log 2 is taken
 * in two parts so that r is exact. Results below the smallest normal number are 0. */
__attribute__((always_inline)) static inline float lamina__vector_exp(float x) {
    const float clamped = x > 88.8F ? 88.8F : x < -87.4F ? -87.4F : x;
    const float n = (clamped * 1.44269504F + 12582912.0F) - 12582912.0F;
    const float r = (clamped - n * 0.693359375F) + n * 2.12194440e-4F;
    float p = 0.00138131424F;
    p = p * r + 0.00836941879F;
    p = p * r + 0.0416684560F;
    p = p * r + 0.166665152F;
    p = p * r + 0.49999994F;
    p = (p * r * r + r) + 1;
    /* In two steps, as 2^128 alone is not a float. */
    const float half = ((n * 0.5F) + 12582912.0F) - 12582912.0F;
    const float y = p * lamina__power_of_two(half) * lamina__power_of_two(n - half);
    return x > 88.72284F ? INFINITY : x < -87.33654F ? 0 : y;
}

/* x + x^3 P(x^2) near 0; further out (1 - e) / (1 + e) with e = exp(-2|x|). */
__attribute__((always_inline)) static inline float lamina__vector_tanh(float x) {
    const float size = x < 0 ? -x : x, z = x * x;
    float p = -0.00570497848F;
    p = p * z + 0.0206390787F;
    p = p * z - 0.0537397116F;
    p = p * z + 0.133314416F;
    p = p * z - 0.333332807F;
    const float near = x + x * z * p;
    const float e = lamina__vector_exp(-2 * size);
    const float far = (1 - e) / (1 + e);
    return size < 0.625F ? near : x < 0 ? -far : far;
}

/* x P(x^2) near 0; further out 1 - exp(-x^2) Q(1 / (1 + |x|/2)). */
__attribute__((always_inline)) static inline float lamina__vector_erf(float x) {
    const float size = x < 0 ? -x : x, z = x * x;
    float p = 7.85385782e-5F;
    p = p * z - 8.01019254e-4F;
    p = p * z + 0.00518832775F;
    p = p * z - 0.0268538110F;
    p = p * z + 0.112835854F;
    p = p * z - 0.376126260F;
    p = p * z + 1.12837911F;
    const float t = 1 / (1 + 0.5F * size);
    float q = -0.228571892F;
    q = q * t + 0.630160213F;
    q = q * t - 0.0568605736F;
    q = q * t + 0.392387718F;
    q = q * t + 0.260978043F;
    q = q * t + 0.00167516771F;
    const float far = 1 - lamina__vector_exp(-z) * q;
    return size < 1 ? x * p : x < 0 ? -far : far;
}

/* log(1 + u) for u in [0, 1]: u P(u). */
__attribute__((always_inline)) static inline float lamina__vector_log1p(float u) {
    float p = -0.00324397953F;
    p = p * u + 0.0198512562F;
    p = p * u - 0.0569591485F;
    p = p * u + 0.106036156F;
    p = p * u - 0.153055698F;
    p = p * u + 0.196759313F;
    p = p * u - 0.249541327F;
    p = p * u + 0.333299637F;
    p = p * u - 0.499999017F;
    p = p * u + 1;
    return u * p;
}

#endif

/* 1 / (1 + exp(-x)), by the exponential that does not overflow. */
__attribute__((always_inline)) static inline lamina_real lamina__vector_sigmoid(lamina_real x) {
    const lamina_real e = lamina__vector_exp(x < 0 ? x : -x);
    return (x < 0 ? e : 1) / (1 + e);
}

#endif
