/* The table of built-in layers: one line for each. */
#ifndef LAMINA_LAYERS_BUILTIN_H
#define LAMINA_LAYERS_BUILTIN_H

#include "lamina/layer.h"

#define LAMINA__BUILTIN_LAYERS(X)                                                                  \
    X(conv)                                                                                        \
    X(conv_transpose)                                                                              \
    X(linear)                                                                                      \
    X(max_pool)                                                                                    \
    X(avg_pool)                                                                                    \
    X(global_avg_pool)                                                                             \
    X(global_max_pool)                                                                             \
    X(upsample)                                                                                    \
    X(pad)                                                                                         \
    X(relu)                                                                                        \
    X(leaky_relu)                                                                                  \
    X(prelu)                                                                                       \
    X(elu)                                                                                         \
    X(selu)                                                                                        \
    X(gelu)                                                                                        \
    X(silu)                                                                                        \
    X(mish)                                                                                        \
    X(sigmoid)                                                                                     \
    X(tanh)                                                                                        \
    X(softplus)                                                                                    \
    X(hard_sigmoid)                                                                                \
    X(hard_swish)                                                                                  \
    X(clip)                                                                                        \
    X(batch_norm)                                                                                  \
    X(group_norm)                                                                                  \
    X(instance_norm)                                                                               \
    X(layer_norm)                                                                                  \
    X(lrn)                                                                                         \
    X(softmax)                                                                                     \
    X(log_softmax)                                                                                 \
    X(dropout)                                                                                     \
    X(dropout2d)                                                                                   \
    X(add)                                                                                         \
    X(multiply)                                                                                    \
    X(concat)                                                                                      \
    X(slice)                                                                                       \
    X(flatten)                                                                                     \
    X(reshape)                                                                                     \
    X(softmax_loss)                                                                                \
    X(nll_loss)                                                                                    \
    X(mse_loss)                                                                                    \
    X(l1_loss)                                                                                     \
    X(smooth_l1_loss)                                                                              \
    X(bce_loss)                                                                                    \
    X(hinge_loss)                                                                                  \
    X(accuracy)                                                                                    \
    X(mean_absolute_error)

/* NULL-terminated. */
extern const lamina_layer_type *const lamina__builtin_layers[];
/* The same compiled in double, without other libraries' kernels; linked into tests only. */
extern const lamina_layer_type *const lamina__builtin_layers_f64[];

/* The manual's groups, in the order of the table: a title and the type that it begins with. */
typedef struct lamina__layer_group {
    const char *title, *first;
} lamina__layer_group;
extern const lamina__layer_group lamina__layer_groups[]; /* the last one's title is NULL */

#endif
