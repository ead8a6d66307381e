/* What `lamina train` shows while it trains: the plan, one row for each epoch, and on a terminal
 * one live line. Elsewhere plain lines without control characters. */
#ifndef LAMINA_CLI_VIEW_H
#define LAMINA_CLI_VIEW_H

#include "train/run.h"

typedef struct lamina__view {
    const char *config, *out; /* paths, for the first line */
    bool quiet, terminal;
    double next_live;     /* when the live line may be drawn again */
    bool live;            /* it is on the screen */
    bool heading;         /* the table's heading was printed */
    double best_accuracy; /* NaN: there is none, the loss counts */
    double best_loss;
    int64_t best_epoch, steps;
} lamina__view;

void lamina__view_init(lamina__view *, const char *config, const char *out, bool quiet);
/* A lamina__event_fn; user is the view. */
void lamina__view_event(void *view, const lamina__event *);
/* Takes the live line off the screen. */
void lamina__view_end(lamina__view *);

#endif
