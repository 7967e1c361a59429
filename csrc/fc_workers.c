/* The worker pool: a few parked threads that take numbered tasks, each first those of a range of its own.
 *
 * Life of a job: the caller publishes it and bumps `generation`; workers that see the new generation join, claim
 * task numbers with fetch-and-add until none is left, and leave. Neighbouring tasks meet the same memory, and so does
 * the same task of the next call: a thread claims from its own range of numbers, then from what others have left of
 * theirs. The caller works too, then waits for those that joined. Between jobs a worker spins for a short while and
 * then parks on a condition variable.
 *
 * One job at a time: a second caller (another Python thread, or a task that itself calls in) finds the pool
 * busy and runs its tasks alone. After fork the child has no workers; it forgets the pool and starts afresh.
 */
#define _GNU_SOURCE
#include "fc_api.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

int64_t fc_nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void free_blocks(void *of_thread);  /* scratch memory, below */

#ifdef FC_SERIAL

/* ---- without threads: one does it all ---------------------------------------------------------- */

enum { MAX_WORKERS = 0 };

int fc_workers_awake(void) { return 0; }

void fc_workers_run(fc_task task, void *context, int64_t begin, int64_t end, int threads)
{
    (void)threads;
    for (int64_t index = begin; index < end; index++) task(context, index);
}

static void free_at_end_of_thread(void *blocks)
{
    (void)blocks;
    (void)free_blocks;  /* its end is that of the process */
}

#else

/* ---- the pool ---------------------------------------------------------------------------------- */

#include <pthread.h>

enum { MAX_WORKERS = FC_MOST_THREADS - 1, SPIN_NANOSECONDS = 200000 };

static pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;   /* held by the caller whose job runs */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;   /* guards the condition variables' predicates */
static pthread_cond_t published = PTHREAD_COND_INITIALIZER;
static pthread_cond_t left = PTHREAD_COND_INITIALIZER;
static int workers;                                        /* threads started; changed only under `busy` ... */
static _Atomic int started;                                /* ... whether there are any */

/* Tasks of a job that one thread claims before others do. */
typedef struct range {
    _Atomic int64_t next;        /* the first that nobody has claimed */
    int64_t end;
    char apart[64 - 2 * sizeof(int64_t)];
} range;

static struct {
    fc_task task;
    void *context;
    range ranges[MAX_WORKERS + 1];
    int threads;                 /* that have ranges; the caller's is the first */
    _Atomic int places;          /* workers that may still join this job; each has the range of the place it takes */
    _Atomic int inside;          /* workers between joining and leaving */
    _Atomic uint64_t generation; /* odd while the job is open to join */
    _Atomic int parked;          /* workers waiting on `published`; changed only under `lock` */
} job;

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void take_tasks(int mine)
{
    const fc_task task = job.task;
    void *const context = job.context;
    const int threads = job.threads;
    int64_t index;
    for (int i = 0; i < threads; i++) {
        range *r = &job.ranges[(mine + i) % threads];
        while ((index = atomic_fetch_add(&r->next, 1)) < r->end) task(context, index);
    }
}

/* Wait until a job newer than `seen` is open: spin first, then park. */
static uint64_t await_job(uint64_t seen)
{
    const int64_t deadline = fc_nanoseconds() + SPIN_NANOSECONDS;
    uint64_t now;
    do {
        for (int i = 0; i < 64; i++) {
            now = atomic_load(&job.generation);
            if ((now & 1) && now != seen) return now;
            relax();
        }
    } while (fc_nanoseconds() < deadline);
    pthread_mutex_lock(&lock);
    atomic_fetch_add(&job.parked, 1);
    while (!((now = atomic_load(&job.generation)) & 1) || now == seen) pthread_cond_wait(&published, &lock);
    atomic_fetch_sub(&job.parked, 1);
    pthread_mutex_unlock(&lock);
    return now;
}

static void *worker(void *unused)
{
    (void)unused;
    uint64_t seen = 0;
    for (;;) {
        seen = await_job(seen);
        /* `inside` is raised before `generation` is read again: the caller closes the job first and reads
         * `inside` after, so either it waits for us or we see that the job is closed. */
        atomic_fetch_add(&job.inside, 1);
        int place;
        if (atomic_load(&job.generation) == seen && (place = atomic_fetch_sub(&job.places, 1)) > 0) take_tasks(place);
        if (atomic_fetch_sub(&job.inside, 1) == 1) {
            pthread_mutex_lock(&lock);
            pthread_cond_signal(&left);
            pthread_mutex_unlock(&lock);
        }
    }
    return NULL;
}

/* In a forked child only the forking thread lives on: no workers, and locks in whatever state they were. */
static void forget_pool(void)
{
    pthread_mutex_init(&busy, NULL);
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&published, NULL);
    pthread_cond_init(&left, NULL);
    workers = 0;
    atomic_store(&started, 0);
    atomic_store(&job.parked, 0);
    atomic_store(&job.inside, 0);
    atomic_store(&job.generation, 0);
}

static void register_fork_handler(void) { pthread_atfork(NULL, NULL, forget_pool); }

static void start_workers(int wanted)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_fork_handler);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    while (workers < wanted && workers < MAX_WORKERS) {
        if (pthread_create(&thread, &attributes, worker, NULL) != 0) break;  /* fewer threads, same result */
        workers++;
        atomic_store(&started, 1);
    }
    pthread_attr_destroy(&attributes);
}

int fc_workers_awake(void) { return atomic_load(&started) && !atomic_load(&job.parked); }

void fc_workers_run(fc_task task, void *context, int64_t begin, int64_t end, int threads)
{
    if (threads > end - begin) threads = (int)(end - begin);
    if (threads > MAX_WORKERS + 1) threads = MAX_WORKERS + 1;
    if (threads <= 1 || pthread_mutex_trylock(&busy) != 0) {
        for (int64_t index = begin; index < end; index++) task(context, index);
        return;
    }
    if (workers < threads - 1) start_workers(threads - 1);
    job.task = task;
    job.context = context;
    job.threads = threads;
    for (int i = 0; i < threads; i++) {
        job.ranges[i].end = begin + (end - begin) * (i + 1) / threads;
        atomic_store(&job.ranges[i].next, begin + (end - begin) * i / threads);
    }
    atomic_store(&job.places, threads - 1);
    pthread_mutex_lock(&lock);
    atomic_fetch_add(&job.generation, 1);  /* open */
    if (atomic_load(&job.parked)) pthread_cond_broadcast(&published);
    pthread_mutex_unlock(&lock);

    take_tasks(0);

    atomic_fetch_add(&job.generation, 1);  /* closed: nobody joins any more */
    const int64_t deadline = fc_nanoseconds() + SPIN_NANOSECONDS;
    while (atomic_load(&job.inside) && fc_nanoseconds() < deadline) relax();
    if (atomic_load(&job.inside)) {
        pthread_mutex_lock(&lock);
        while (atomic_load(&job.inside)) pthread_cond_wait(&left, &lock);
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_unlock(&busy);
}

static pthread_key_t blocks_key;
static pthread_once_t blocks_once = PTHREAD_ONCE_INIT;

static void make_blocks_key(void) { pthread_key_create(&blocks_key, free_blocks); }

static void free_at_end_of_thread(void *blocks)
{
    pthread_once(&blocks_once, make_blocks_key);
    pthread_setspecific(blocks_key, blocks);
}

#endif

/* ---- how many threads -------------------------------------------------------------------------- */

static _Atomic int thread_count = 1;

int fastconv_get_num_threads(void) { return atomic_load_explicit(&thread_count, memory_order_relaxed); }

void fastconv_set_num_threads(int count)
{
    const int most = MAX_WORKERS + 1;
    atomic_store(&thread_count, count < 1 ? 1 : count > most ? most : count);
}

/* ---- scratch memory ---------------------------------------------------------------------------- */

enum { KEPT_BYTES = 64 << 20 };  /* a call's block that is larger is freed at its end */

typedef struct block {
    void *memory;
    size_t bytes;
} block;

typedef struct blocks {
    block task, call;
} blocks;

static _Thread_local blocks mine;

static void free_blocks(void *of_thread)
{
    blocks *b = of_thread;
    free(b->task.memory);
    free(b->call.memory);
    *b = (blocks){{NULL, 0}, {NULL, 0}};
}

/* `b` with room for `bytes`, its old contents lost; empty if memory is short. */
static void make_room(block *b, size_t bytes)
{
    if (b->memory && bytes <= b->bytes) return;
    free_at_end_of_thread(&mine);
    free(b->memory);
    b->memory = NULL;
    b->bytes = (bytes | 4095) + 1;
    if (b->bytes < bytes || posix_memalign(&b->memory, 64, b->bytes) != 0) *b = (block){NULL, 0};
}

void *fc_task_scratch(size_t bytes)
{
    make_room(&mine.task, bytes);
    return mine.task.memory;
}

void *fc_take_scratch(size_t bytes, size_t *held)
{
    make_room(&mine.call, bytes);
    const block taken = mine.call;
    mine.call = (block){NULL, 0};
    *held = taken.bytes;
    return taken.memory;
}

void fc_give_scratch(void *memory, size_t held)
{
    if (mine.call.memory || held > KEPT_BYTES)
        free(memory);
    else
        mine.call = (block){memory, held};
}
