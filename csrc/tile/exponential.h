/* Exponential functions of vectors: exp, expm1, tanh, log1p, logarithms, and the tail of the normal distribution.
 *
 * Arguments are reduced as in Cody & Waite, "Software manual for the elementary functions", 1980: x = k ln 2 + r with
 * |r| <= ln 2 / 2, ln 2 being the sum of a number of few digits, whose product with k is exact, and the rest. On the
 * reduced interval stand polynomials of least relative error, found by Remez' exchange. Each has an error of a tenth of
 * a unit in the last place (ulp) or less, but for expm1 in float32 (a quarter); what is more is rounding.
 *
 * Errors at normal results are at most 1 ulp for exp, 2 for expm1 and log1p, 4 for tanh, 5 for the normal tail (6
 * without fused multiply-adds), and 8 for x - tanh(x); the C tests check the activations made of them, within 8. Results
 * below the normal range are rounded once more, to what there is. NaN gives NaN.
 */
#ifndef FC_EXPONENTIAL_H
#define FC_EXPONENTIAL_H

#include "simd.h"

static const double ATANH_TERMS_DOUBLE[] = {
    0.0833333333333333478987, 0.0124999999999981180493, 0.00223214285722734516782, 0.000434027775888100840319,
    0.0000887784336080719972106, 0.000018779848548991881943, 0.00000407007014187914041856, 8.93856075294114415658e-7,
    2.09285153087794568963e-7, 3.33511138964325002559e-8, 1.9630975301637267906e-8};

#if FC_REAL_BYTES == 4
typedef uint32_t uvec __attribute__((vector_size(FC_VECTOR_BYTES)));
enum { MANTISSA = 23 };
#define ONE_BITS 0x3f800000u
#define HALF_BITS 0x3f000000u
#define SIGN_BITS 0x80000000u
#define UPPER_HALF 0xfffff000u                 /* 12 digits: their square is exact */
static const real ROUNDER = 0x1.8p23f;         /* what is added to it is rounded to a whole number */
static const real LN2_HIGH = 0x1.62ep-1f, LN2_LOW = 3.19461849453e-5f;
static const real EXP_LOW = -120, EXP_HIGH = 89;       /* beyond, exp is 0 or infinite, and times 1e4 still 0 */
static const real EXPM1_LOW = -20, EXPM1_TINY = 0x1p-26f;
static const real NORMAL_END = 14.6f, NORMAL_CENTRE = 2.875f;
static const real NORMAL_ROUNDER = 0x1.8p23f + 127 + 64, NORMAL_SCALE = 0x1p-64f;
static const real EXP_TERMS[] = {0.49999998132f, 0.166665436301f, 0.0416672035127f, 0.00836652173082f, 0.00138823796717f};
static const real ATANH_TERMS[] = {0.0833333445276f, 0.0124996492911f, 0.00223569415129f, 0.000418508868918f,
                                   0.000118656977824f};
static const real SHRINK_TERMS[] = {0.333333331571f, -0.13333310695f, 0.0539634209513f, -0.0218295854665f,
                                    0.00869795099045f, -0.00320695357781f, 0.000923609206119f, -0.000142823940341f};
static const real NORMAL_TERMS[] = {0.724279907951f, -0.492497053307f, 0.206556059839f, -0.0314330290823f,
                                    -0.0141918533344f, 0.0053208894907f, 0.00190532331132f, -0.000737102719014f,
                                    -0.000384316263018f, 6.47768673966e-5f, 5.3363741771e-5f};
#else
#define ATANH_TERMS ATANH_TERMS_DOUBLE
typedef uint64_t uvec __attribute__((vector_size(FC_VECTOR_BYTES)));
enum { MANTISSA = 52 };
#define ONE_BITS 0x3ff0000000000000u
#define HALF_BITS 0x3fe0000000000000u
#define SIGN_BITS 0x8000000000000000u
#define UPPER_HALF 0xfffffffff8000000u         /* 26 digits */
static const real ROUNDER = 0x1.8p52;
static const real LN2_HIGH = 0x1.62e42fefa3p-1, LN2_LOW = 2.82352905630315771226e-13;
static const real EXP_LOW = -760, EXP_HIGH = 710;
static const real EXPM1_LOW = -40, EXPM1_TINY = 0x1p-54;
static const real NORMAL_END = 39.5, NORMAL_CENTRE = 2.75;
static const real NORMAL_ROUNDER = 0x1.8p52 + 1023 + 512, NORMAL_SCALE = 0x1p-512;
static const real EXP_TERMS[] = {
    0.500000000000000000847, 0.166666666666666765081, 0.041666666666666508865, 0.00833333333332169109359,
    0.00138888888889623524515, 0.000198412698859670504395, 0.0000248015871725533520716, 0.00000275572443730423518302,
    2.7557402639421613949e-7, 2.5108979286734201228e-8, 2.08753295076304187311e-9};
static const real SHRINK_TERMS[] = {
    0.333333333333333328597, -0.133333333333330905689, 0.0539682539680467408573, -0.0218694885291397388744,
    0.00886323540474114139268, -0.00359212668086737437777, 0.00145582470113050049335, -0.000589979331921453526315,
    0.000238957161057483220769, -0.0000964630051721158493769, 0.0000383899514785316119599, -0.0000146065019237478370115,
    0.00000498803824059126272452, -0.00000137931947801096702728, 2.63348481255044499307e-7, -2.51604411168663623071e-8};
static const real NORMAL_TERMS[] = {
    0.718986037554109130533, -0.47435412658332876359, 0.182334535995758660869, -0.016565961731978266906,
    -0.0164486181781148820996, 0.0032103259166084609149, 0.00252547529328726122149, -0.000297229654478446249158,
    -0.000510548393361547108904, -0.000051860456794915354235, 0.0000937890641171223420475,
    0.0000409684879716681577491, -0.00000739103454641678224127, -0.000012911999122297033705,
    -0.00000365709557785187347864, 0.00000170456036256424347258, 0.00000183679048793395416637,
    4.85593013165372324454e-7, -2.77283960323715153215e-7, -3.14647370960738173424e-7, -8.54468179279206272792e-8,
    5.95079762260141777779e-8, 5.15324211258432226025e-8, 3.77220613202203579913e-9, -8.59774812628887391029e-9,
    -2.56501040337590915367e-9};
#endif

static const real LOG2_E = (real)1.44269504088896340736;
static const real INVERSE_ROOT_TWO_PI = (real)0.39894228040143267794;

#define TERMS(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* The polynomial with these coefficients, the lowest first. */
INLINE vec polynomial(const real *terms, int count, vec x)
{
    vec sum = splat(terms[count - 1]);
    UNROLL
    for (int i = count - 2; i >= 0; i--) sum = sum * x + terms[i];
    return sum;
}

INLINE vec magnitude(vec x) { return (vec)((uvec)x & ~((uvec){0} + SIGN_BITS)); }
INLINE vec with_sign_of(vec x, vec sign) { return (vec)((uvec)x | ((uvec)sign & ((uvec){0} + SIGN_BITS))); }
INLINE vec between(real low, real high, vec x) { return at_most(splat(high), at_least(splat(low), x)); }

/* 2 to the power of a whole number, given as ROUNDER plus the number. */
INLINE vec power_of_two(vec rounded) { return (vec)(((uvec)rounded << MANTISSA) + ONE_BITS); }

/* A number as value * scale, which may lie outside of what a single one can say; the scale is a power of two, and the
 * value of ordinary size. Multiply by the scale last, so that a result below the normal range is rounded once. */
typedef struct scaled {
    vec value, scale;
} scaled;

/* exp(x + more), where |more| is small beside 1. */
INLINE scaled exp_scaled(vec x, vec more)
{
    x = between(EXP_LOW, EXP_HIGH, x);
    const vec k = (x * LOG2_E + ROUNDER) - ROUNDER;
    const vec r = ((x - k * LN2_HIGH) - k * LN2_LOW) + more;
    const vec half = k * (real)0.5 + ROUNDER;
    const vec other = (k - (half - ROUNDER)) + ROUNDER;
    const vec mantissa = 1 + (r + (r * r) * polynomial(EXP_TERMS, TERMS(EXP_TERMS), r));
    return (scaled){mantissa * power_of_two(half), power_of_two(other)};
}

INLINE vec exp_of(vec x)
{
    const scaled e = exp_scaled(x, (vec){0});
    return e.value * e.scale;
}

INLINE vec expm1_of(vec x)
{
    const vec z = between(EXPM1_LOW, EXP_HIGH, x);
    const vec rounded = z * LOG2_E + ROUNDER, k = rounded - ROUNDER;
    const vec r = (z - k * LN2_HIGH) - k * LN2_LOW;
    const vec p = r + (r * r) * polynomial(EXP_TERMS, TERMS(EXP_TERMS), r);
    const vec half = (vec)(((uvec)rounded << MANTISSA) + HALF_BITS);  /* 2^k may overflow */
    const vec result = 2 * (half * p + (half - (real)0.5));
    return choose_by(greater(splat(EXPM1_TINY), magnitude(x)), x, result);
}

/* log(1 + x) for 0 <= x <= 1, as 2 atanh(x / (2 + x)). */
INLINE vec log1p_of(vec x)
{
    const vec q = x / (1 + (real)0.5 * x), w = q * q;
    return q + q * (w * polynomial(ATANH_TERMS, TERMS(ATANH_TERMS), w));
}

/* log(x) for a finite x >= 1, in double precision: the exponent's part and log(1 + x') of the rest have one sign. */
INLINE double_vec log_of(double_vec x)
{
    typedef uint64_t bits __attribute__((vector_size(FC_VECTOR_BYTES)));
    const bits exponent = ((bits)x >> 52) | 0x4330000000000000u;  /* as the last digits of 2^52 */
    const double_vec k = (double_vec)exponent - (0x1p52 + 1023);
    const double_vec rest = (double_vec)(((bits)x & 0x000fffffffffffffu) | 0x3ff0000000000000u) - 1;
    const double_vec q = rest / (1 + 0.5 * rest), w = q * q;
    double_vec sum = (double_vec){0} + ATANH_TERMS_DOUBLE[TERMS(ATANH_TERMS_DOUBLE) - 1];
    UNROLL
    for (int i = TERMS(ATANH_TERMS_DOUBLE) - 2; i >= 0; i--) sum = sum * w + ATANH_TERMS_DOUBLE[i];
    return k * 0.69314718055994530942 + (q + q * (w * sum)) + (x - x);  /* NaN stays */
}

INLINE vec tanh_of(vec x)
{
    const vec e = expm1_of(-2 * magnitude(x));
    return with_sign_of(-e / (2 + e), x);
}

/* x - tanh(x); near 0, where the two cancel, x^3 times a polynomial of x^2. */
INLINE vec tanhshrink_of(vec x)
{
    const vec w = x * x;
    const vec near = x * (w * polynomial(SHRINK_TERMS, TERMS(SHRINK_TERMS), w));
    return choose_by(greater(splat(1), magnitude(x)), near, x - tanh_of(x));
}

/* The tail of the normal distribution, Phi(-z) for 0 <= z <= NORMAL_END: exp(-z^2 / 2) times a function that varies
 * slowly, a polynomial of t = (z - a) / (z + a) over z + a (Shepherd & Laframboise, "Chebyshev approximation of
 * (1 + 2x) exp(x^2) erfc x in 0 <= x < infinity", Math. Comp. 36, 1981). The square is formed in two parts, as its
 * rounding would be the exponential's error. With a below 3 the rounding of z + a costs little where z is small. The
 * exponent is bounded: a constant makes 2^k a normal number, and the rounder has it among its last digits. */
typedef struct normal_tail {
    vec tail;     /* Phi(-z) over NORMAL_SCALE */
    vec density;  /* exp(-z^2 / 2) over NORMAL_SCALE */
} normal_tail;

INLINE normal_tail normal_tail_of(vec z)
{
    const vec upper = (vec)((uvec)z & UPPER_HALF), x = ((real)-0.5 * upper) * upper;
    const vec rounded = x * LOG2_E + NORMAL_ROUNDER, k = rounded - NORMAL_ROUNDER;
    const vec r = ((x - k * LN2_HIGH) - k * LN2_LOW) - (real)0.5 * ((z - upper) * (z + upper));
    const vec power = (vec)((uvec)rounded << MANTISSA);
    const vec rest = r * (1 + r * polynomial(EXP_TERMS, TERMS(EXP_TERMS), r));
    const vec inverse = 1 / (z + NORMAL_CENTRE), t = (z - NORMAL_CENTRE) * inverse;
    const vec ratio = power * (inverse * polynomial(NORMAL_TERMS, TERMS(NORMAL_TERMS), t));
    return (normal_tail){ratio + ratio * rest, power + power * rest};  /* 1 + rest, not rounded by itself */
}

#endif
