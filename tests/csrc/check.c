/* Guarded memory, exact data and messages; see check.h. */
#define _GNU_SOURCE
#include "check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static char call[200];

void describe(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(call, sizeof call, format, arguments);
    va_end(arguments);
}

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("%s float%d: %s: ", table->isa, 8 * FC_REAL_BYTES, call);
    vprintf(format, arguments);
    printf("\n");
    exit(1);
}

void expect_same(const real *got, const real *expected, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const int both_nan = isnan(got[i]) && isnan(expected[i]);
        if (got[i] != expected[i] && !both_nan)
            fail("element %lld is %g, expected %g", (long long)i, (double)got[i], (double)expected[i]);
    }
}

/* What was given back, for the next that is as large: to map and guard memory takes longer than most checks. */
static guarded spare[64];

static char *guarded_pages(size_t page, size_t bytes)
{
    for (int i = 0; i < COUNT(spare); i++)
        if (spare[i].pages != NULL && spare[i].bytes == bytes) {
            char *pages = spare[i].pages;
            spare[i].pages = NULL;
            return pages;
        }
    char *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages, page, PROT_NONE) != 0
        || mprotect(pages + bytes - page, page, PROT_NONE) != 0)
        fail("no guarded memory");
    return pages;
}

guarded guarded_new(int64_t count, enum side side)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (size_t)count * sizeof(real);
    size_t used = page;
    while (used < bytes + page) used *= 2;  /* few sizes, so that there is a spare one */
    guarded g = {.count = count, .bytes = used + 2 * page};
    g.pages = guarded_pages(page, g.bytes);
    g.data = (real *)(side == AT_START ? g.pages + page : g.pages + page + used - bytes);
    for (int64_t i = 0; i < count; i++) g.data[i] = UNTOUCHED;
    return g;
}

void guarded_free(guarded g)
{
    for (int i = 0; i < COUNT(spare); i++)
        if (spare[i].pages == NULL) {
            spare[i] = g;
            return;
        }
    munmap(g.pages, g.bytes);
}

/* splitmix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014) */
static uint64_t random_bits(void)
{
    static uint64_t state = 1;
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t random_below(int64_t n) { return (int64_t)(random_bits() % (uint64_t)n); }

void fill_integers(real *data, int64_t count)
{
    for (int64_t i = 0; i < count; i++) data[i] = (real)(random_below(9) - 4);
}

void fill_fractions(real *data, int64_t count)
{
    for (int64_t i = 0; i < count; i++) data[i] = (real)((double)random_below(1 << 30) / (1 << 29) - 1);
}
