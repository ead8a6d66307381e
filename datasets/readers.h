/* The table of dataset readers: one line for each. */
#ifndef LAMINA_DATASETS_READERS_H
#define LAMINA_DATASETS_READERS_H

#define LAMINA__READERS(X)                                                                         \
    X(idx)                                                                                         \
    X(synthetic)

#endif
