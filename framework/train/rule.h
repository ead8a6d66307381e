/* An optimizer's rule: the file of one optimizer (sgd.c) fills this struct, optimizer.c lists it
 * and does the rest: config, slots, checkpoints, threads. */
#ifndef LAMINA_TRAIN_RULE_H
#define LAMINA_TRAIN_RULE_H

#include "train/optimizer.h"

#define LAMINA__MAX_SLOTS 4

/* A piece of one weight: the same `count` floats of the weight, its gradient and its slots. */
typedef struct lamina__rule_range {
    int64_t count;
    float *weight;
    const float *gradient; /* mean over the batch */
    float *slot[LAMINA__MAX_SLOTS];
    double learning_rate, decay_scale; /* of this weight; decay_scale: times the weight decay */
    int64_t step;                      /* done before this one */
    bool no_decay; /* the weight asks to be left alone by weight decay: a bias, a norm */
} lamina__rule_range;

struct lamina__optimizer_type {
    const char *name, *doc;
    size_t config_size;
    const lamina_param *params;
    size_t n_params;
    const char *const *slots; /* names, NULL-terminated */
    /* How many of them these values need. */
    size_t (*n_slots)(const void *values);
    /* Optional: what the table cannot say; reports to diags. `at`: the optimizer in the config. */
    void (*check)(const void *values, const lamina__node *at, lamina__diags *);
    double (*learning_rate)(const void *values);
    /* Any thread; ranges never overlap. */
    void (*update)(const void *values, const lamina__rule_range *);
};

/* `optimizer: {type: sgd, ...}`, or the type alone: the index of its name in names[], `fallback`
 * when the config gives no type, -1 when it was reported. */
int lamina__read_type(const lamina__node *, const char *subject, const char *const *names, size_t n,
                      int fallback, lamina__diags *);

#endif
