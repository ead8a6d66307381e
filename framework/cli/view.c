/* The view of a training run. The live line is drawn at most ten times a second, so that it costs
 * nothing that can be measured. */
#include "cli/view.h"

#include "cli/cli.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LIVE_SECONDS 0.1

void lamina__view_init(lamina__view *view, const char *config, const char *out, bool quiet) {
    const char *term = getenv("TERM");
    *view = (lamina__view){
        .config = config,
        .out = out,
        .quiet = quiet,
        .terminal = !quiet && isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0,
    };
}

static void clear_live(lamina__view *view) {
    if (view->live) {
        fputs("\r\033[K", stdout);
        view->live = false;
    }
}

/* ---- The plan ------------------------------------------------------------------------------ */

/* "direct", or "direct/onednn/onednn" where the passes have different kernels. "" for a layer that
 * has only one way. */
static void kernels_text(const lamina__instance *layer, char *dst, size_t size) {
    const char *name[LAMINA__N_PASSES];
    bool same = true;
    dst[0] = '\0';
    if (layer->type->kernels == NULL || layer->type->kernels[0] == NULL ||
        layer->type->kernels[1] == NULL) {
        return;
    }
    for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
        name[pass] = lamina__instance_kernel(layer, pass);
        same = same && (name[pass] == NULL || name[0] == NULL || strcmp(name[pass], name[0]) == 0);
    }
    if (same) {
        snprintf(dst, size, "%s", name[0] ? name[0] : "");
        return;
    }
    snprintf(dst, size, "%s/%s/%s", name[0] ? name[0] : "-", name[1] ? name[1] : "-",
             name[2] ? name[2] : "-");
}

/* One line for each choice of kernels, with the layers that have it. */
static void print_kernels(const lamina__net *net) {
    int32_t n = lamina__net_n_layers(net);
    char text[256], other[256];
    for (int32_t i = 0; i < n; i++) {
        bool first = true;
        kernels_text(lamina__net_layer(net, i), text, sizeof(text));
        for (int32_t k = 0; k < i && first; k++) {
            kernels_text(lamina__net_layer(net, k), other, sizeof(other));
            first = strcmp(text, other) != 0;
        }
        if (!first || text[0] == '\0') {
            continue;
        }
        printf("kernels %s:", text);
        for (int32_t k = i; k < n; k++) {
            kernels_text(lamina__net_layer(net, k), other, sizeof(other));
            if (strcmp(text, other) == 0) {
                printf(" %s", lamina__net_layer(net, k)->name);
            }
        }
        printf("\n");
    }
}

static void print_start(const lamina__event *event, const lamina__view *view) {
    const lamina__net *net = event->net;
    char weights[32], slices[32] = "";
    int64_t count = 0;
    if (lamina__net_slices(net) > 1) {
        snprintf(slices, sizeof(slices), " of %d slices", (int)lamina__net_slices(net));
    }
    for (int32_t i = 0; i < lamina__net_n_weights(net); i++) {
        count += lamina__shape_count(&lamina__net_weight_at(net, i).weight->shape);
    }
    int32_t shards = lamina__net_shards(net), threads = lamina__net_threads(net);
    lamina__say(stdout, "%s: %d layers, %s weights, %d shard%s%s on %d thread%s; writing to %s",
                view->config, (int)lamina__net_n_layers(net), lamina__grouped(count, weights),
                (int)shards, shards == 1 ? "" : "s", slices, (int)threads, threads == 1 ? "" : "s",
                view->out);
    print_kernels(net);
    if (event->path != NULL) {
        lamina__say(stdout, "going on from %s: step %" PRId64 ", epoch %" PRId64 " of %" PRId64,
                    event->path, event->step, event->epoch, event->epochs);
    }
    fflush(stdout);
}

/* ---- Epochs and steps ---------------------------------------------------------------------- */

/* Columns of the net's metrics: as wide as their names, at least so wide. */
#define METRIC_WIDTH 9

static void print_metric_heads(const lamina__net *net) {
    for (int32_t m = 0; m < lamina__net_n_metrics(net); m++) {
        printf(" %*s", METRIC_WIDTH, lamina__net_layer(net, lamina__net_metric_at(net, m))->name);
    }
}

/* "-" for the mean of nothing. */
static const char *number(double value, int digits, const char *unit, char dst[32]) {
    snprintf(dst, 32, "-");
    if (!isnan(value)) {
        snprintf(dst, 32, "%.*f%s", digits, value, unit);
    }
    return dst;
}

static void print_metrics(const lamina__net *net, const double *metrics) {
    for (int32_t m = 0; m < lamina__net_n_metrics(net); m++) {
        const char *name = lamina__net_layer(net, lamina__net_metric_at(net, m))->name;
        const int length = (int)strlen(name);
        char text[32];
        printf(" %*s", length > METRIC_WIDTH ? length : METRIC_WIDTH,
               number(metrics[m], 5, "", text));
    }
}

static void print_heading(const lamina__event *event, bool tested) {
    printf("%6s %9s %11s %11s", "epoch", "step", "train loss", "test loss");
    if (event->classifies) {
        printf(" %9s", tested ? "test acc" : "train acc");
    }
    if (tested) {
        print_metric_heads(event->net);
    }
    printf(" %11s %9s %9s\n", "learn rate", "images/s", "seconds");
}

static void print_epoch(lamina__view *view, const lamina__event *event) {
    bool tested = event->test_metrics != NULL;
    char train_loss[32], test_loss[32], percent[32];
    double accuracy = tested ? event->test_accuracy : event->train_accuracy;
    if (!view->heading) {
        print_heading(event, tested);
        view->heading = true;
    }
    printf("%6" PRId64 " %9" PRId64 " %11s %11s", event->epoch, event->step,
           number(event->train_loss, 5, "", train_loss),
           number(event->test_loss, 5, "", test_loss));
    if (event->classifies) {
        printf(" %9s", number(100 * accuracy, 2, "%", percent));
    }
    if (tested) {
        print_metrics(event->net, event->test_metrics);
    }
    printf(" %11.3g %9.0f %9.1f%s\n", event->learning_rate, event->images_per_second,
           event->seconds, event->best ? " *" : "");
    fflush(stdout);
    if (event->best) {
        view->best_accuracy = event->classifies ? accuracy : (double)NAN;
        view->best_loss = tested ? event->test_loss : event->train_loss;
        view->best_epoch = event->epoch;
    }
}

static void draw_live(lamina__view *view, const lamina__event *event) {
    if (event->seconds < view->next_live) {
        return;
    }
    view->next_live = event->seconds + LIVE_SECONDS;
    struct winsize window = {0};
    char bar[21], line[256], accuracy[48] = "", percent[32], loss[32];
    double part = (double)event->step_of_epoch / (double)event->steps_of_epoch;
    for (int i = 0; i < 20; i++) {
        bar[i] = i < (int)(part * 20) ? '#' : '.';
    }
    bar[20] = '\0';
    if (event->classifies) {
        snprintf(accuracy, sizeof(accuracy), "  acc %s",
                 number(100 * event->train_accuracy, 2, "%", percent));
    }
    snprintf(line, sizeof(line),
             "epoch %" PRId64 "/%" PRId64 " [%s] %" PRId64 "/%" PRId64 "  loss %s%s  %.0f images/s",
             event->epoch, event->epochs, bar, event->step_of_epoch, event->steps_of_epoch,
             number(event->train_loss, 4, "", loss), accuracy, event->images_per_second);
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 &&
        window.ws_col < sizeof(line)) {
        line[window.ws_col - 1] = '\0'; /* a line that wraps cannot be taken back */
    }
    printf("\r%s\033[K", line);
    fflush(stdout);
    view->live = true;
}

void lamina__view_event(void *user, const lamina__event *event) {
    lamina__view *view = user;
    view->steps = event->step;
    if (view->quiet) {
        return;
    }
    switch (event->kind) {
    case LAMINA__EVENT_START:
        print_start(event, view);
        break;
    case LAMINA__EVENT_STEP:
        if (view->terminal) {
            draw_live(view, event);
        }
        break;
    case LAMINA__EVENT_EPOCH:
        clear_live(view);
        print_epoch(view, event);
        break;
    case LAMINA__EVENT_CHECKPOINT:
        break;
    }
}

void lamina__view_end(lamina__view *view) {
    clear_live(view);
    fflush(stdout);
}
