// A file layer for SQLite that asks Go before everything that changes the disk, and hands
// the rest to the default one. The structures are those of SQLite's stable interface:
// https://www.sqlite.org/c3ref/vfs.html and https://www.sqlite.org/c3ref/io_methods.html.
#include "vfs.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "_cgo_export.h"

typedef struct methods methods;
typedef struct { const methods *m; } file;
struct methods {
  int version;
  int (*close)(file *);
  int (*read)(file *, void *, int, int64);
  int (*write)(file *, const void *, int, int64);
  int (*truncate)(file *, int64);
  int (*sync)(file *, int);
  int (*size)(file *, int64 *);
  int (*lock)(file *, int);
  int (*unlock)(file *, int);
  int (*reserved)(file *, int *);
  int (*control)(file *, int, void *);
  int (*sector)(file *);
  int (*device)(file *);
};

typedef struct vfs vfs;
struct vfs {
  int version, file_size, path_max;
  vfs *next;
  const char *name;
  void *app;
  int (*open)(vfs *, const char *, file *, int, int *);
  int (*remove)(vfs *, const char *, int);
  int (*access)(vfs *, const char *, int, int *);
  int (*full)(vfs *, const char *, int, char *);
  void *(*dlopen)(vfs *, const char *);
  void (*dlerror)(vfs *, int, char *);
  void (*(*dlsym)(vfs *, void *, const char *))(void);
  void (*dlclose)(vfs *, void *);
  int (*random)(vfs *, int, char *);
  int (*sleep)(vfs *, int);
  int (*time)(vfs *, double *);
  int (*error)(vfs *, int, char *);
  int (*time64)(vfs *, int64 *);
};

// Weak: they come from the SQLite that the program is linked with in the end.
extern vfs *sqlite3_vfs_find(const char *) __attribute__((weak));
extern int sqlite3_vfs_register(vfs *, int) __attribute__((weak));
extern int sqlite3_vfs_unregister(vfs *) __attribute__((weak));

typedef struct {
  vfs v;
  vfs *real;
  uintptr_t disk;
  char name[32];
} layer;

typedef struct {
  file f;
  uintptr_t disk;
  const char *name; // SQLite keeps it until the file is closed; NULL for a scratch file
} shim;

#define REAL(f) ((file *)((shim *)(f) + 1))
#define DOWN(f, call, ...) (REAL(f)->m->call(REAL(f), ##__VA_ARGS__))

static int ask(file *f, int kind, const void *data, int n, int64 off) {
  shim *s = (shim *)f;
  if (!s->name) return 0;
  return diskOp(s->disk, kind, (char *)s->name, (void *)data, n, off);
}

static int f_close(file *f) { return DOWN(f, close); }
static int f_read(file *f, void *p, int n, int64 o) {
  int rc = ask(f, OP_READ, 0, n, o);
  return rc ? rc : DOWN(f, read, p, n, o);
}
static int f_write(file *f, const void *p, int n, int64 o) {
  int rc = ask(f, OP_WRITE, p, n, o);
  return rc ? rc : DOWN(f, write, p, n, o);
}
static int f_truncate(file *f, int64 o) {
  int rc = ask(f, OP_TRUNCATE, 0, 0, o);
  return rc ? rc : DOWN(f, truncate, o);
}
static int f_sync(file *f, int flags) {
  int rc = ask(f, OP_SYNC, 0, 0, 0);
  if (rc < 0) return 0;
  return rc ? rc : DOWN(f, sync, flags);
}
static int f_size(file *f, int64 *p) { return DOWN(f, size, p); }
static int f_lock(file *f, int l) { return DOWN(f, lock, l); }
static int f_unlock(file *f, int l) { return DOWN(f, unlock, l); }
static int f_reserved(file *f, int *p) { return DOWN(f, reserved, p); }
static int f_control(file *f, int op, void *p) { return DOWN(f, control, op, p); }
static int f_sector(file *f) { return DOWN(f, sector); }
static int f_device(file *f) { return DOWN(f, device); }

static const methods shim_methods = {1, f_close, f_read, f_write, f_truncate, f_sync, f_size,
                                     f_lock, f_unlock, f_reserved, f_control, f_sector, f_device};

#define LAYER(v) ((layer *)(v))

static int v_open(vfs *v, const char *name, file *f, int flags, int *out) {
  layer *l = LAYER(v);
  shim *s = (shim *)f;
  s->f.m = 0;
  s->disk = l->disk;
  s->name = name;
  if (name && (flags & 0x4)) { // SQLITE_OPEN_CREATE
    int there = access(name, F_OK) == 0;
    // SQLite brings the directory to the disk with a new journal's first sync (os_unix.c).
    int journal = (flags & (0x80000 | 0x800)) != 0; // SQLITE_OPEN_WAL, SQLITE_OPEN_MAIN_JOURNAL
    int rc = there ? ask(f, OP_OPEN, 0, 0, 0) : ask(f, OP_CREATE, 0, 0, journal);
    if (rc) return rc;
  }
  int rc = l->real->open(l->real, name, REAL(f), flags, out);
  // SQLite calls close also after a failed open if the methods are set.
  if (REAL(f)->m) s->f.m = &shim_methods;
  return rc;
}
static int v_remove(vfs *v, const char *name, int sync_dir) {
  int rc = access(name, F_OK) == 0 ? diskOp(LAYER(v)->disk, OP_REMOVE, (char *)name, 0, 0, sync_dir) : 0;
  return rc ? rc : LAYER(v)->real->remove(LAYER(v)->real, name, 0);
}
static int v_access(vfs *v, const char *n, int f, int *o) { return LAYER(v)->real->access(LAYER(v)->real, n, f, o); }
static int v_full(vfs *v, const char *n, int l, char *o) { return LAYER(v)->real->full(LAYER(v)->real, n, l, o); }
static int v_random(vfs *v, int n, char *o) { return LAYER(v)->real->random(LAYER(v)->real, n, o); }
static int v_sleep(vfs *v, int us) { return LAYER(v)->real->sleep(LAYER(v)->real, us); }
static int v_time(vfs *v, double *o) { return LAYER(v)->real->time(LAYER(v)->real, o); }
static int v_error(vfs *v, int n, char *o) { return LAYER(v)->real->error(LAYER(v)->real, n, o); }
static int v_time64(vfs *v, int64 *o) { return LAYER(v)->real->time64(LAYER(v)->real, o); }

void *layer_new(uintptr_t disk, const char *name) {
  if (!sqlite3_vfs_find || !sqlite3_vfs_register) return 0;
  vfs *real = sqlite3_vfs_find(0);
  layer *l = calloc(1, sizeof *l);
  if (!real || !l) return 0;
  l->v = *real;
  l->v.version = 2;
  l->v.file_size = sizeof(shim) + real->file_size;
  l->v.next = 0;
  strncpy(l->name, name, sizeof l->name - 1);
  l->v.name = l->name;
  l->v.open = v_open;
  l->v.remove = v_remove;
  l->v.access = v_access;
  l->v.full = v_full;
  l->v.random = v_random;
  l->v.sleep = v_sleep;
  l->v.time = v_time;
  l->v.error = v_error;
  l->v.time64 = v_time64;
  l->real = real;
  l->disk = disk;
  if (sqlite3_vfs_register(&l->v, 0)) {
    free(l);
    return 0;
  }
  return l;
}

void layer_free(void *p) {
  sqlite3_vfs_unregister(&((layer *)p)->v);
  free(p);
}
