/* A name without a dot belongs to Lamina. */
#include "broken.h"

BROKEN_PLUGIN("square", .flags = LAMINA_NEEDS_INPUT, .setup = same_shape, .forward = square,
              .backward = square_backward)
