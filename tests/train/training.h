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

/* The same steps with three numbers to learn for each image, two losses and two metrics. Two printf
 * arguments: the test split (a line, or ""), and what goes into `train:`. */
#define REGRESSION_CONFIG                                                                          \
    "seed: 5\n"                                                                                    \
    "data:\n"                                                                                      \
    "  train: {type: synthetic, samples: 40, height: 8, width: 8, targets: 3}\n"                   \
    "%s\n"                                                                                         \
    "  normalize: {mean: 0.5, std: 0.25}\n"                                                        \
    "network:\n"                                                                                   \
    "  - linear: {name: fc1, units: 10}\n"                                                         \
    "  - tanh\n"                                                                                   \
    "  - linear: {name: fc2, units: 3}\n"                                                          \
    "  - mse_loss\n"                                                                               \
    "  - smooth_l1_loss: {loss_weight: 0.5}\n"                                                     \
    "  - mean_absolute_error: {name: mae}\n"                                                       \
    "  - mean_absolute_error: {name: away, from: [fc2, fc2]}\n"                                    \
    "train:\n"                                                                                     \
    "  batch: 12\n"                                                                                \
    "%s\n"

#define REGRESSION_TEST                                                                            \
    "  test: {type: synthetic, samples: 10, first: 40, height: 8, width: 8, targets: 3}"

/* NULL, and a failed test with the diagnostics printed, when it is wrong. */
static inline lamina__experiment *training_read(const char *text) {
    lamina__diags diags = {0};
    lamina__experiment *experiment = NULL;
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

static inline lamina__experiment *training_experiment(const char *train, const char *more) {
    char text[4096];
    snprintf(text, sizeof(text), TRAINING_CONFIG, train, more);
    return training_read(text);
}

static inline lamina__experiment *training_regression(const char *test, const char *train) {
    char text[4096];
    snprintf(text, sizeof(text), REGRESSION_CONFIG, test, train);
    return training_read(text);
}

#endif
