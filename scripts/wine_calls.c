/* Calls functions of Windows' libraries for a program outside of Wine: scripts/wine compiles and tests/faults/wine.py asks it.
 *
 * A request: name length (u32), "library!function", number of arguments (u32), each a tag (u32): 0 and 8 bytes, the argument as
 * it stands in its register; or the length of a buffer + 1, and its bytes, whose address is passed. The answer: what the
 * function gave (8 bytes), GetLastError (u32), errno of the library (u32), and the buffers, as they are now.
 * At the end of the requests every descriptor is closed, and with it what it locked, before the process ends.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#define MOST 8           /* arguments */
#define DESCRIPTORS 2048 /* of the C library */

typedef uint64_t (*function)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

/* Whether so many bytes came; a request that is torn ends everything, as the end does. */
static int take(void *to, DWORD count)
{
    DWORD moved;
    for (char *at = to; count; at += moved, count -= moved)
        if (!ReadFile(GetStdHandle(STD_INPUT_HANDLE), at, count, &moved, NULL) || !moved)
            return 0;
    return 1;
}

static void give(const void *from, DWORD count)
{
    DWORD moved;
    for (const char *at = from; count; at += moved, count -= moved)
        if (!WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), at, count, &moved, NULL))
            ExitProcess(2);
}

static function find(char *name)
{
    char *cut = strchr(name, '!');
    if (!cut)
        return NULL;
    *cut = 0;
    HMODULE library = LoadLibraryA(name);
    return library ? (function)(void *)GetProcAddress(library, cut + 1) : NULL;
}

/* One call. 0 at the end of the requests. */
static int serve(int *(*error_number)(void))
{
    char name[128];
    uint32_t length, count, sizes[MOST];
    uint64_t values[MOST] = {0};

    if (!take(&length, sizeof length) || length >= sizeof name || !take(name, length))
        return 0;
    if (!take(&count, sizeof count) || count > MOST)
        return 0;
    name[length] = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!take(&sizes[i], sizeof sizes[i]))
            return 0;
        if (!sizes[i]) {
            if (!take(&values[i], sizeof values[i]))
                return 0;
            continue;
        }
        void *buffer = malloc(sizes[i]);
        if (!buffer || !take(buffer, sizes[i] - 1))
            return 0;
        values[i] = (uint64_t)(uintptr_t)buffer;
    }

    function call = find(name);
    uint64_t result = (uint64_t)-1;
    DWORD error = ERROR_PROC_NOT_FOUND;
    if (call) {
        *error_number() = 0;
        SetLastError(0);
        result = call(values[0], values[1], values[2], values[3], values[4], values[5], values[6], values[7]);
        error = GetLastError();
    }
    uint32_t number = (uint32_t)*error_number();
    give(&result, sizeof result);
    give(&error, sizeof error);
    give(&number, sizeof number);
    for (uint32_t i = 0; i < count; i++)
        if (sizes[i]) {
            give((void *)(uintptr_t)values[i], sizes[i] - 1);
            free((void *)(uintptr_t)values[i]);
        }
    return 1;
}

/* A descriptor that is none shall be an error, not the end. */
static void go_on(const wchar_t *text, const wchar_t *where, const wchar_t *file, unsigned line, uintptr_t zero)
{
    (void)text, (void)where, (void)file, (void)line, (void)zero;
}

int main(void)
{
    HMODULE runtime = LoadLibraryA("ucrtbase.dll"); /* the one that a Python of Windows calls */
    int *(*error_number)(void) = (int *(*)(void))(void *)GetProcAddress(runtime, "_errno");
    int (*close_one)(int) = (int (*)(int))(void *)GetProcAddress(runtime, "_close");
    void *(*set_handler)(void *) = (void *(*)(void *))(void *)GetProcAddress(runtime, "_set_invalid_parameter_handler");
    if (!error_number || !close_one || !set_handler)
        return 3;
    set_handler((void *)go_on);
    while (serve(error_number)) {
    }
    for (int descriptor = 3; descriptor < DESCRIPTORS; descriptor++)
        close_one(descriptor);
    return 0;
}
