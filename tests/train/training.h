/* A small experiment on made-up images, for the tests of training. */
#ifndef LAMINA_TESTS_TRAINING_H
#define LAMINA_TESTS_TRAINING_H

#include "support.h"
#include "train/run.h"

/* 40 samples in batches of 12: 4 steps in an epoch, the last with 4 samples. Two printf arguments:
 * what goes into `train:` beside the batch, and further sections. */
#define TRAINING_CONFIG                                                                            \
    "seed: 5\n"                                                                                    \
    "data:\n"                                                                                      \
    "  train: {type: synthetic, samples: 40, height: 8, width: 8, classes: 3}\n"                   \
    "  test: {type: synthetic, samples: 10, first: 40, height: 8, width: 8, classes: 3}\n"         \
    "  normalize: {mean: 0.5, std: 0.25}\n"                                                        \
    "network:\n"                                                                                   \
    "  - conv: {name: conv1, filters: 3, kernel: 3}\n"                                             \
    "  - relu\n"                                                                                   \
    "  - max_pool: {kernel: 2, stride: 2}\n"                                                       \
    "  - linear: {name: fc1, units: 3}\n"                                                          \
    "  - softmax_loss\n"                                                                           \
    "train:\n"                                                                                     \
    "  batch: 12\n"                                                                                \
    "%s\n"                                                                                         \
    "%s\n"

/* Reads it; NULL, and a failed test with the diagnostics printed, when it is wrong. */
static inline lamina__experiment *training_experiment(const char *train, const char *more) {
    char text[4096];
    lamina__diags diags = {0};
    lamina__experiment *experiment = NULL;
    snprintf(text, sizeof(text), TRAINING_CONFIG, train, more);
    const lamina__experiment_options options = {.text = text};
    if (lamina__experiment_read("test.yaml", &options, &experiment, &diags) != LAMINA_OK) {
        for (size_t i = 0; i < diags.kept; i++) {
            printf("\n      %s", diags.text[i]);
        }
        CU_FAIL("the experiment cannot be read");
    }
    lamina__diags_free(&diags);
    return experiment;
}

#endif
