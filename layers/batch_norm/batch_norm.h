/* Batch normalisation: what its kernels share. The layer itself is in batch_norm.c. */
#ifndef LAMINA_LAYERS_BATCH_NORM_H
#define LAMINA_LAYERS_BATCH_NORM_H

#include "layers/real.h"

typedef struct lamina__batch_norm_config {
    double eps, momentum;
    int32_t affine;
} lamina__batch_norm_config;

/* Filled by setup(), read-only afterwards. in[0] and out[0] are dense, channels last. weight[0] and
 * weight[1] are weight and bias (C), if affine; state[0] and state[1] the running mean and variance
 * (C). */
typedef struct lamina__batch_norm {
    const lamina__batch_norm_config *config;
    int64_t channels;
    int64_t pixels; /* of a sample; 1 for (N, F) */
    int32_t threads;
    int32_t saves; /* 1: saved[0] has the moments for backward; else they are in shared memory */
} lamina__batch_norm;

/* What x is normalised with, each (C): (x - mean - rest) * inverse. The mean is kept in two parts,
 * as x may be so far from 0 that a float says too little of its distance from the mean. */
typedef struct lamina__batch_norm_moments {
    lamina_real *mean, *rest, *inverse;
} lamina__batch_norm_moments;

enum { LAMINA__BATCH_NORM_MOMENTS = 3 };

/* In so many times `channels` numbers. */
static inline lamina__batch_norm_moments lamina__batch_norm_moments_in(const lamina__batch_norm *bn,
                                                                       lamina_real *memory) {
    return (lamina__batch_norm_moments){memory, memory + bn->channels, memory + 2 * bn->channels};
}

/* Those of the batch, from each channel's mean and sum of squared distances from it; the running
 * mean and variance take their part of them. */
void LAMINA__REAL_NAME(batch_norm_of_batch)(const lamina__batch_norm *, const lamina_io *,
                                            const double *mean, const double *square,
                                            lamina__batch_norm_moments);
/* Those of the running mean and variance. */
void LAMINA__REAL_NAME(batch_norm_of_state)(const lamina__batch_norm *, const lamina_io *,
                                            lamina__batch_norm_moments);

/* From each channel's sums of dy and of dy (x - mean): adds to the weights' gradients that are
 * wanted. */
void LAMINA__REAL_NAME(batch_norm_add_gradients)(const lamina__batch_norm *, const lamina_io *,
                                                 lamina__batch_norm_moments, const double *sum,
                                                 const double *product);

/* Has a call in LAMINA_TRAIN values that can have a variance? fail()s if not. */
int32_t LAMINA__REAL_NAME(batch_norm_check)(const lamina__batch_norm *, lamina_call *,
                                            const lamina_io *);

/* Does backward() in this call need the sums: for the weights, or for d_in while training? */
static inline int lamina__batch_norm_needs_sums(const lamina__batch_norm *bn, const lamina_io *io) {
    return io->phase == LAMINA_TRAIN ||
           (bn->config->affine && (io->d_weight[0] != NULL || io->d_weight[1] != NULL));
}

/* The host calls backward-weights before backward-data. The sums of one are those of the other, so
 * where d_in is wanted, too, the second does all, and the first nothing. */
static inline int lamina__batch_norm_does_nothing(uint32_t pass, const lamina_io *io) {
    return pass == LAMINA_PASS_BACKWARD_WEIGHTS && io->d_in[0] != NULL;
}

extern const lamina_kernel LAMINA__REAL_NAME(batch_norm_reference);
#if !LAMINA_LAYERS_F64
extern const lamina_kernel lamina__batch_norm_blocks;
#endif

#endif
