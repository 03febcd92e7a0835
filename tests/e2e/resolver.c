/*
 * A library to preload into a server.
 *
 * getaddrinfo fails or hangs for some names, and is the system's for all others. It logs each name below .test to the file RESOLVER_LOG.
 * Names below .two.test have the addresses 127.0.0.9 and 127.0.0.1.
 *
 * setsockopt sets TCP's keepalive time and interval to KEEPALIVE_SECONDS.
 *
 * connect goes to LINK_LOCAL_PORT of 127.0.0.1 instead of to 169.254.0.0/16, the addresses of credentials of instances and containers, and
 * logs it. If CONNECT_LACKS has the number of an error, TCP connections fail with it, unless the file CONNECT_LEFT has a byte left. Each
 * connection removes one.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef int resolve(const char *, const char *, const struct addrinfo *, struct addrinfo **);
typedef int set_option(int, int, int, const void *, socklen_t);
typedef int connect_to(int, const struct sockaddr *, socklen_t);

static int is_below(const char *name, const char *domain)
{
    size_t length = strlen(name), least = strlen(domain);

    return length >= least && strcmp(name + length - least, domain) == 0;
}

static void log_name(const char *name)
{
    const char *path = getenv("RESOLVER_LOG");
    char line[300];
    int length = snprintf(line, sizeof line, "%s\n", name);
    int file = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;

    if (file < 0)
        return;
    /* One write, so that lines of two threads do not mix. */
    if (length < (int) sizeof line && write(file, line, length) != length)
        abort();
    close(file);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    if (name && is_below(name, ".test"))
    {
        log_name(name);
        if (is_below(name, ".fails.test"))
            return EAI_NONAME;
        if (is_below(name, ".again.test"))
            return EAI_AGAIN;
        if (is_below(name, ".hangs.test"))
        {
            struct timespec left = {30, 0};

            while (nanosleep(&left, &left) != 0 && errno == EINTR)
                ;
            return EAI_AGAIN;
        }
        if (is_below(name, ".two.test"))
        {
            int failed = getaddrinfo("127.0.0.9", service, hints, found);
            struct addrinfo *last = failed ? NULL : *found;

            while (last && last->ai_next)
                last = last->ai_next;
            return failed ? failed : getaddrinfo("127.0.0.1", service, hints, &last->ai_next);
        }
        if (is_below(name, ".local.test"))
            name = "127.0.0.1";
    }
    return ((resolve *) dlsym(RTLD_NEXT, "getaddrinfo"))(name, service, hints, found);
}

static int lacks(void)
{
    const char *number = getenv("CONNECT_LACKS"), *path = getenv("CONNECT_LEFT");
    struct stat left;

    if (!number || !path || stat(path, &left) != 0)
        return 0;
    return left.st_size > 0 && truncate(path, left.st_size - 1) == 0 ? 0 : atoi(number);
}

int connect(int descriptor, const struct sockaddr *address, socklen_t length)
{
    const char *port = getenv("LINK_LOCAL_PORT");
    struct sockaddr_in other;
    int number = address && address->sa_family == AF_INET ? lacks() : 0;

    if (number)
    {
        errno = number;
        return -1;
    }
    if (port && address && address->sa_family == AF_INET && length >= sizeof other)
    {
        const unsigned char *bytes;
        char name[16];

        memcpy(&other, address, sizeof other);
        bytes = (const unsigned char *) &other.sin_addr;
        if (bytes[0] == 169 && bytes[1] == 254)
        {
            snprintf(name, sizeof name, "%d.%d.%d.%d", bytes[0], bytes[1], bytes[2], bytes[3]);
            log_name(name);
            other.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            other.sin_port = htons(atoi(port));
            address = (const struct sockaddr *) &other;
        }
    }
    return ((connect_to *) dlsym(RTLD_NEXT, "connect"))(descriptor, address, length);
}

int setsockopt(int descriptor, int level, int option, const void *value, socklen_t length)
{
    const char *seconds = getenv("KEEPALIVE_SECONDS");
    int other = seconds ? atoi(seconds) : 0;

    if (other && level == IPPROTO_TCP && (option == TCP_KEEPIDLE || option == TCP_KEEPINTVL))
        value = &other;
    return ((set_option *) dlsym(RTLD_NEXT, "setsockopt"))(descriptor, level, option, value, length);
}
