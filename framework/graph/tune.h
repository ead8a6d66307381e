/* The plan by measurement. */
#ifndef LAMINA_GRAPH_TUNE_H
#define LAMINA_GRAPH_TUNE_H

#include "graph/net.h"

/* Finds the plan for a network on this machine: in options->cache, or, with options->measure, by
 * measuring; then the cache has it, too. False when there is none, or the options leave nothing to
 * find out (then the order of preference decides): nothing that goes wrong here is an error.
 * lamina__plan_record_free. False as well when options->stop ended it; then nothing is kept. */
bool lamina__tune(const lamina__network *, const lamina__net_options *, lamina__plan_record *);

#endif
