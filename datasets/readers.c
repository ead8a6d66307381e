/* The table of dataset readers, in readers.h's order. */
#include "datasets/readers.h"

#include "data/source.h"

#define LAMINA__DECLARE(name) extern const lamina__reader lamina__##name##_reader;
LAMINA__READERS(LAMINA__DECLARE)

#define LAMINA__ENTRY(name) &lamina__##name##_reader,
const lamina__reader *const lamina__readers[] = {LAMINA__READERS(LAMINA__ENTRY) NULL};
