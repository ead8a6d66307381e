/* Evaluation: loss, accuracy and metrics over a whole split, in its own order. */
#include "train/run.h"

#include <math.h>

double lamina__result_accuracy(const lamina__result *result) {
    return result->labelled > 0 ? (double)result->correct / (double)result->labelled : (double)NAN;
}

double lamina__result_metric(const lamina__result *result, int32_t metric) {
    return result->measured[metric] > 0 ? result->metrics[metric] / (double)result->measured[metric]
                                        : (double)NAN;
}

lamina_status lamina__evaluate(lamina__net *net, const lamina__source *source,
                               const lamina__normalize *normalize, int64_t batch, int64_t classes,
                               int64_t *confusion, const volatile int *stop, lamina__result *result,
                               lamina_error *error) {
    const lamina__loader_options options = {.batch = batch, .normalize = normalize};
    const lamina__batch *next;
    lamina__loader *loader = NULL;
    lamina_status status = lamina__loader_open(source, &options, &loader, error);
    *result = (lamina__result){0};
    if (status != LAMINA_OK) {
        return status;
    }
    lamina__loader_start(loader, 0, 0);
    while ((next = lamina__loader_next(loader)) != NULL) {
        lamina__result part = {0};
        if (stop != NULL && *stop != 0) {
            status = lamina__fail(error, LAMINA_ERROR_INTERRUPTED, "stopped while testing");
            break;
        }
        status = lamina__net_evaluate(net, next, &part, error);
        if (status != LAMINA_OK) {
            break;
        }
        lamina__result_add(result, &part);
        const int32_t *predicted = lamina__net_predictions(net);
        for (int64_t i = 0; confusion != NULL && i < next->samples; i++) {
            if (lamina__net_counts_label(net, next->labels[i]) && predicted[i] >= 0 &&
                predicted[i] < classes) { /* -1: its scores are no numbers */
                confusion[next->labels[i] * classes + predicted[i]]++;
            }
        }
    }
    lamina__loader_close(loader);
    return status;
}
