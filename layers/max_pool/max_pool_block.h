/* What is done with the runs of max_pool_vector.h, for the instruction set of the file that
 * includes this. It has defined
 *   TARGET                         the attribute that turns the instructions on
 *   vector, codes, mask            WIDTH floats; a position for each; yes or no for each
 *   load, store, load_codes, store_codes, same_code(position), zero
 *   stays(best, x)                 whether `best` goes before x, which comes after it
 *   choose, choose_codes(m, a, b)  a where m says yes, else b
 *   is_code(codes, same_code), only(m, x), add_only(m, sum, x)
 *
 * There are at least WIDTH channels: a pixel's last vector begins so early that it ends with the
 * pixel, and what it has in common with the one before is computed twice. */
#include "layers/unroll.h"

/* So few taps are kept in registers: the functions below are compiled for some numbers of them,
 * `few`, and for any, 0. */
enum { FEW = 9 };

/* The largest tap of one vector of a window. */
INLINE vector largest_tap(const lamina__pool_run *run, const int few, const float *in,
                          const int64_t at[FEW], const codes position[FEW], codes *which) {
    vector best = load(in + (few ? at[0] : run->at[0]));
    *which = few ? position[0] : same_code(run->code[0]);
    UNROLL
    for (int k = 1; k < few; k++) {
        const vector x = load(in + at[k]);
        const mask m = stays(best, x);
        best = choose(m, best, x);
        *which = choose_codes(m, *which, position[k]);
    }
    for (int64_t k = 1; few == 0 && k < run->taps; k++) {
        const vector x = load(in + run->at[k]);
        const mask m = stays(best, x);
        best = choose(m, best, x);
        *which = choose_codes(m, *which, same_code(run->code[k]));
    }
    return best;
}

INLINE void largest_of(const lamina__pool_run *run, const int few, const int coded, const float *in,
                       float *out, uint8_t *code) {
    const int64_t channels = run->channels, tap_step = run->tap_step;
    int64_t at[FEW];
    codes position[FEW], which;

    UNROLL
    for (int k = 0; k < few; k++) {
        at[k] = run->at[k];
        position[k] = same_code(run->code[k]);
    }
    for (int64_t i = run->count; i > 0; i--) {
        for (int64_t begin = 0; begin < channels; begin += WIDTH) {
            const int64_t c = begin < channels - WIDTH ? begin : channels - WIDTH;
            store(out + c, largest_tap(run, few, in + c, at, position, &which));
            if (coded) {
                store_codes(code + c, which);
            }
        }
        in += tap_step;
        out += channels;
        code = coded ? code + channels : code;
    }
}

TARGET static void largest(const lamina__pool_run *run, const float *in, float *out,
                           uint8_t *code) {
    if (code == NULL) {
        largest_of(run, 0, 0, in, out, code);
    } else if (run->taps == 4) {
        largest_of(run, 4, 1, in, out, code);
    } else if (run->taps == 9) {
        largest_of(run, 9, 1, in, out, code);
    } else {
        largest_of(run, 0, 1, in, out, code);
    }
}

INLINE void spread_to(const lamina__pool_run *run, const int few, const float *d_out,
                      const uint8_t *code, float *d_in) {
    const int64_t channels = run->channels, tap_step = run->tap_step;
    int64_t at[FEW];
    codes position[FEW];

    UNROLL
    for (int k = 0; k < few; k++) {
        at[k] = run->at[k];
        position[k] = same_code(run->code[k]);
    }
    for (int64_t i = run->count; i > 0; i--) {
        for (int64_t begin = 0; begin < channels; begin += WIDTH) {
            const int64_t c = begin < channels - WIDTH ? begin : channels - WIDTH;
            const vector x = load(d_out + c);
            const codes which = load_codes(code + c);
            UNROLL
            for (int k = 0; k < few; k++) {
                store(d_in + at[k] + c, only(is_code(which, position[k]), x));
            }
            for (int64_t k = 0; few == 0 && k < run->taps; k++) {
                store(d_in + run->at[k] + c, only(is_code(which, same_code(run->code[k])), x));
            }
        }
        d_out += channels;
        code += channels;
        d_in += tap_step;
    }
}

TARGET static void spread(const lamina__pool_run *run, const float *d_out, const uint8_t *code,
                          float *d_in) {
    if (run->taps == 4) {
        spread_to(run, 4, d_out, code, d_in);
    } else {
        spread_to(run, 0, d_out, code, d_in);
    }
}

INLINE void collect_from(const lamina__pool_run *run, const int few, const float *d_out,
                         const uint8_t *code, float *d_in) {
    const int64_t channels = run->channels, step = run->step, tap_step = run->tap_step;
    int64_t at[FEW];
    codes position[FEW];

    UNROLL
    for (int k = 0; k < few; k++) {
        at[k] = run->at[k];
        position[k] = same_code(run->code[k]);
    }
    for (int64_t i = run->count; i > 0; i--) {
        for (int64_t begin = 0; begin < channels; begin += WIDTH) {
            const int64_t c = begin < channels - WIDTH ? begin : channels - WIDTH;
            vector sum = zero();
            UNROLL
            for (int k = 0; k < few; k++) {
                const mask m = is_code(load_codes(code + at[k] + c), position[k]);
                sum = add_only(m, sum, load(d_out + at[k] + c));
            }
            for (int64_t k = 0; few == 0 && k < run->taps; k++) {
                const int64_t from = run->at[k] + c;
                const mask m = is_code(load_codes(code + from), same_code(run->code[k]));
                sum = add_only(m, sum, load(d_out + from));
            }
            store(d_in + c, sum);
        }
        d_out += tap_step;
        code += tap_step;
        d_in += step;
    }
}

TARGET static void collect(const lamina__pool_run *run, const float *d_out, const uint8_t *code,
                           float *d_in) {
    if (run->taps == 1) {
        collect_from(run, 1, d_out, code, d_in);
    } else if (run->taps == 2) {
        collect_from(run, 2, d_out, code, d_in);
    } else if (run->taps == 4) {
        collect_from(run, 4, d_out, code, d_in);
    } else {
        collect_from(run, 0, d_out, code, d_in);
    }
}
