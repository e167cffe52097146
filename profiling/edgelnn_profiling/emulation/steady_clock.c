/* steady_clock.c - a clock that depends on nothing but how often it is asked.
 *
 *   cc -O2 -shared -fPIC -nostdlib -o libsteady_clock.so steady_clock.c
 *   LD_PRELOAD=./libsteady_clock.so QEMU_UNSET_ENV=LD_PRELOAD qemu-aarch64 program
 *
 * QEMU's user-mode emulator asks the C library for the time whenever the program under it does. ONNX Runtime writes the
 * times it takes into texts; how many digits they have decides how large a piece of memory they need, and that, where
 * later pieces are found: on a busy machine an inference then took some thousand instructions more or less. Here each
 * question is a microsecond later than the one before. No time may be taken with it, and nothing can wait by it.
 *
 * It uses no library, so that it fits an emulator with a C library of its own. A statically linked one ignores it. */

#define _POSIX_C_SOURCE 199309L
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
#define BEGIN_S 1700000000
#define STEP_NS 1000
#define NS_PER_S 1000000000

static unsigned long long asked;

EXPORT int clock_gettime(clockid_t clock, struct timespec *time) {
    (void)clock;
    unsigned long long ns = STEP_NS * __atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED);
    time->tv_sec = BEGIN_S + ns / NS_PER_S;
    time->tv_nsec = ns % NS_PER_S;
    return 0;
}
