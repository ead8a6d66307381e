/* Its type has the name of the sample plugin's. */
#include "broken.h"

BROKEN_PLUGIN("sample.mish", .flags = LAMINA_NEEDS_INPUT, .setup = same_shape, .forward = square,
              .backward = square_backward)
