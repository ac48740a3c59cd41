#ifndef VFS_H
#define VFS_H
#include <stdint.h>

typedef long long int64;

enum { OP_READ, OP_WRITE, OP_TRUNCATE, OP_SYNC, OP_OPEN, OP_CREATE, OP_REMOVE };

void *layer_new(uintptr_t disk, const char *name);
void layer_free(void *layer);
#endif
