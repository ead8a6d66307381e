/* The choice of the instruction set: isa.h. */
#include "layers/isa.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64

#include <stdlib.h>
#include <string.h>

static const char *const names[LAMINA__N_ISAS] = {"portable", "avx2", "avx512"};

const char *lamina__isa_name(lamina__isa isa) {
    return names[isa];
}

lamina__isa lamina__isa_of_processor(void) {
#if LAMINA__ISA_X86
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("fma")) {
        return LAMINA__ISA_AVX512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return LAMINA__ISA_AVX2;
    }
#endif
    return LAMINA__ISA_PORTABLE;
}

/* What LAMINA_ISA names; LAMINA__N_ISAS: nothing that there is. */
static lamina__isa named(void) {
    const char *name = getenv("LAMINA_ISA");
    int i = 0;
    while (name != NULL && i < LAMINA__N_ISAS && strcmp(name, names[i]) != 0) {
        i++;
    }
    return name != NULL ? (lamina__isa)i : lamina__isa_of_processor();
}

lamina__isa lamina__isa_to_use(void) {
    const lamina__isa most = lamina__isa_of_processor(), wanted = named();
    return wanted < most ? wanted : most;
}

int lamina__isa_is_valid(void) {
    return named() <= lamina__isa_of_processor();
}

#endif
