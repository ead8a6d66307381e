/* backward() reads in[] although the flags do not say so. */
#include "broken.h"

BROKEN_PLUGIN("test.undeclared_input", .setup = same_shape, .forward = square,
              .backward = square_backward)
