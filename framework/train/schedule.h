/* Learning-rate schedules: a factor on the optimizer's learning rate, a function of the step.
 *
 * constant: 1. step: gamma^(epoch / every), every in epochs. inverse (Caffe's "inv"):
 * (1 + gamma * step)^-power. */
#ifndef LAMINA_TRAIN_SCHEDULE_H
#define LAMINA_TRAIN_SCHEDULE_H

#include "config/params.h"

typedef struct lamina__schedule_type lamina__schedule_type;

typedef struct lamina__schedule_config {
    const lamina__schedule_type *type;
    void *values; /* lamina__free */
} lamina__schedule_config;

lamina_status lamina__schedule_read(const lamina__node *, lamina__schedule_config *,
                                    lamina__diags *);
void lamina__schedule_config_free(lamina__schedule_config *);
void lamina__schedule_config_write(const lamina__schedule_config *, lamina__text *);
/* step and epoch: done before. */
double lamina__schedule_factor(const lamina__schedule_config *, int64_t step, int64_t epoch);

/* What there is, for help and the manual. Returns the name. */
size_t lamina__schedule_types(void);
const char *lamina__schedule_type_at(size_t i, const char **doc, lamina__table *);

#endif
