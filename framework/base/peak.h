/* The machine's limit, measured: how fast its threads multiply and add when there is nothing to
 * load or store. */
#ifndef LAMINA_BASE_PEAK_H
#define LAMINA_BASE_PEAK_H

#include <stddef.h>

/* Float32 operations a second of so many threads at once (a multiply-add is two), with the widest
 * instructions this processor has, whatever LAMINA_ISA says. Takes some tens of milliseconds. 0:
 * out of memory. */
double lamina__measure_peak(int threads);

/* "Intel(R) Xeon(R) Platinum 8481C" into dst; "unknown" where the system does not say. Returns dst.
 */
char *lamina__processor_name(char *dst, size_t size);

#endif
