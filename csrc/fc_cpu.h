/* CPU features, as fc_dispatch.c asks for them. */
#ifndef FC_CPU_H
#define FC_CPU_H

#if defined(__x86_64__)
int fc_cpu_has_avx2_fma(void);
int fc_cpu_has_avx512(void);
#endif

#endif
