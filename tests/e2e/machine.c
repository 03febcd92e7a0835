/*
 * A library to preload into a server. MACHINE_HOME is the home of the server's user in the password database, and MACHINE_CLOCK the
 * number of seconds that the clock is ahead.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pwd.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef int look_up(uid_t, struct passwd *, char *, size_t, struct passwd **);
typedef int tell(clockid_t, struct timespec *);

int getpwuid_r(uid_t user, struct passwd *entry, char *buffer, size_t size, struct passwd **found)
{
    int error = ((look_up *) dlsym(RTLD_NEXT, "getpwuid_r"))(user, entry, buffer, size, found);
    char *home = getenv("MACHINE_HOME");

    if (error == 0 && *found && user == geteuid() && home && *home)
        entry->pw_dir = home;
    return error;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static tell *real;
    int error;

    if (!real)
        real = (tell *) dlsym(RTLD_NEXT, "clock_gettime");
    error = real(clock, now);
    if (error == 0 && clock == CLOCK_REALTIME)
    {
        const char *ahead = getenv("MACHINE_CLOCK");

        now->tv_sec += ahead ? atol(ahead) : 0;
    }
    return error;
}
