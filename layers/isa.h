/* Which instruction set our own kernels use. The best one that this processor has is taken at run
 * time, so a build runs everywhere; the environment variable LAMINA_ISA (avx512, avx2, portable)
 * asks for less, for tests and for comparing. */
#ifndef LAMINA_LAYERS_ISA_H
#define LAMINA_LAYERS_ISA_H

#if defined(__x86_64__) && defined(__GNUC__)
#define LAMINA__ISA_X86 1
#else
#define LAMINA__ISA_X86 0
#endif

/* Each has all that is before it. */
typedef enum lamina__isa {
    LAMINA__ISA_PORTABLE = 0, /* what every compiler makes of plain C */
    LAMINA__ISA_AVX2,         /* AVX2 and FMA */
    LAMINA__ISA_AVX512,       /* AVX-512 F, BW, DQ, VL */
    LAMINA__N_ISAS
} lamina__isa;

/* What this processor has. */
lamina__isa lamina__isa_of_processor(void);
/* The one to use: the processor's, or less if LAMINA_ISA says so. Any thread. For create(), not for
 * inner loops: a kernel keeps what it chose. */
lamina__isa lamina__isa_to_use(void);
const char *lamina__isa_name(lamina__isa);
/* The set of kernels for the instruction set in use, of three that are named alike: set_avx512,
 * set_avx2 and set_portable, where others than x86 have the last alone. */
#if LAMINA__ISA_X86
#define LAMINA__SET_TO_USE(set)                                                                    \
    (lamina__isa_to_use() == LAMINA__ISA_AVX512 ? &set##_avx512                                    \
     : lamina__isa_to_use() == LAMINA__ISA_AVX2 ? &set##_avx2                                      \
                                                : &set##_portable)
#else
#define LAMINA__SET_TO_USE(set) (&set##_portable)
#endif

/* 1 when LAMINA_ISA is not set, or is a name that this processor can follow. */
int lamina__isa_is_valid(void);

#endif
