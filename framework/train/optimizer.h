/* Optimizers: a table of rules that turn a gradient into an update. A rule works on ranges of the
 * net's weight block, so it runs on all threads, each over its own part, in one pass over memory.
 *
 * sgd, as torch.optim.SGD: g += weight_decay * w; v = momentum * v + g (v = g at the first step);
 * d = nesterov ? g + momentum * v : v; w -= learning_rate * d. Sutskever et al. 2013 for
 * Nesterov's. */
#ifndef LAMINA_TRAIN_OPTIMIZER_H
#define LAMINA_TRAIN_OPTIMIZER_H

#include "graph/net.h"

typedef struct lamina__optimizer_type lamina__optimizer_type;

/* `optimizer: {type: sgd, learning_rate: 0.01, ...}` */
typedef struct lamina__optimizer_config {
    const lamina__optimizer_type *type;
    void *values; /* of the type's table; lamina__free */
} lamina__optimizer_config;

lamina_status lamina__optimizer_read(const lamina__node *, lamina__optimizer_config *,
                                     lamina__diags *);
void lamina__optimizer_config_free(lamina__optimizer_config *);
void lamina__optimizer_config_write(const lamina__optimizer_config *, lamina__text *);
const char *lamina__optimizer_config_name(const lamina__optimizer_config *);
double lamina__optimizer_learning_rate(const lamina__optimizer_config *); /* as configured */

/* What there is, for help and the manual. Returns the name. */
size_t lamina__optimizer_types(void);
const char *lamina__optimizer_type_at(size_t i, const char **doc, lamina__table *);

typedef struct lamina__optimizer lamina__optimizer;

/* Slots (momentum ...) for the net's weights, zeroed. */
lamina_status lamina__optimizer_create(const lamina__optimizer_config *, lamina__net *,
                                       lamina__optimizer **, lamina_error *);
void lamina__optimizer_free(lamina__optimizer *);
const char *lamina__optimizer_name(const lamina__optimizer *);
size_t lamina__optimizer_n_slots(const lamina__optimizer *);
const char *lamina__optimizer_slot_name(const lamina__optimizer *, size_t slot);
float *lamina__optimizer_slot_data(lamina__optimizer *, size_t slot);

/* Before each step. step: steps done before. */
void lamina__optimizer_begin(lamina__optimizer *, int64_t step, double learning_rate);
/* A lamina__update_fn; arg is the optimizer. */
void lamina__optimizer_update(void *optimizer, int32_t weight, int64_t begin, int64_t end,
                              const float *gradient);

#endif
