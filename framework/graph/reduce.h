/* The sum of the shards' gradients, a piece at a time. */
#ifndef LAMINA_GRAPH_REDUCE_H
#define LAMINA_GRAPH_REDUCE_H

#include <stdbool.h>
#include <stdint.h>

/* Floats that are summed, checked and applied together. All that belongs to a piece and to the next
 * one, which is fetched meanwhile, fits the first-level cache. */
enum { LAMINA__PIECE = 256 };

/* sum[i] = the shards' gradient[i], gradient[i + apart] ..., added by pairs at growing distance;
 * they become 0. count: at most LAMINA__PIECE. Are the sums finite? */
bool lamina__take_gradients(float *gradient, int64_t apart, int32_t shards, int64_t count,
                            float *sum);

bool lamina__all_finite(const float *values, int64_t count);

#endif
