// Package powercut is a disk for tests, under plain files and under SQLite alike. It counts
// and records every operation that changes something, can fail any of them, and can lay out
// the files as a power cut at any moment may leave them.
package powercut

// #include <stdlib.h>
// #include "vfs.h"
import "C"

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/cgo"
	"sync"
	"syscall"
	"unsafe"

	"anchord/device/store"
)

// Kind is what an operation does.
type Kind int

// The kinds, in the order of vfs.h as far as SQLite has them. Read and Open are asked about
// and never recorded: they leave nothing on a disk.
const (
	Read Kind = iota
	Write
	Truncate
	Sync
	Open
	Create
	Remove
	Rename
	SyncDir
)

// String names the kind.
func (k Kind) String() string {
	return [...]string{"read", "write", "truncate", "sync", "open", "create", "remove", "rename", "syncdir"}[k]
}

// Op is one operation.
type Op struct {
	Kind Kind
	Path string
	To   string // Rename
	Off  int64  // Write, Truncate; Create and Remove: 1 if the directory is synced with it
	Data []byte // Write
	Size int    // Read, Write: bytes
}

// Disk is a file layer for a store. It does all on the real disk except that nothing is
// brought to the platter: the test decides what would have been.
type Disk struct {
	store.OS

	// Fault is asked before operation number n, which is done when it gives nil. Set it
	// before the disk is used.
	Fault func(n int, op Op) error
	// Record keeps the operations. Set it before the disk is used.
	Record bool

	mu     sync.Mutex
	n      int
	log    []Op
	handle cgo.Handle
	layer  unsafe.Pointer
	name   string
}

// New makes a disk and registers it with SQLite. Close it in the end.
func New() (*Disk, error) {
	d := &Disk{}
	d.handle = cgo.NewHandle(d)
	d.name = fmt.Sprintf("powercut-%d", uintptr(d.handle))
	c := C.CString(d.name)
	defer C.free(unsafe.Pointer(c))
	if d.layer = C.layer_new(C.uintptr_t(d.handle), c); d.layer == nil {
		d.handle.Delete()
		return nil, errors.New("register a file layer: SQLite is not linked or refused it")
	}
	return d, nil
}

// Close takes the disk out of SQLite. No store may be open on it.
func (d *Disk) Close() {
	C.layer_free(d.layer)
	d.handle.Delete()
}

// Count gives how many operations there were.
func (d *Disk) Count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n
}

// Log gives the recorded operations.
func (d *Disk) Log() []Op {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log
}

func (d *Disk) do(op Op) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.n
	d.n++
	if d.Fault != nil {
		if err := d.Fault(n, op); err != nil {
			return err
		}
	}
	if d.Record && op.Kind != Read && op.Kind != Open {
		d.log = append(d.log, op)
	}
	return nil
}

// Result codes: https://www.sqlite.org/rescode.html
const (
	sqliteReadOnly = 8
	sqliteFull     = 13
	sqliteCantOpen = 14
)

//export diskOp
func diskOp(disk C.uintptr_t, kind C.int, path *C.char, data unsafe.Pointer, n C.int, off C.int64) C.int {
	d := cgo.Handle(disk).Value().(*Disk)
	op := Op{Kind: Kind(kind), Path: C.GoString(path), Off: int64(off), Size: int(n)}
	if op.Kind == Write && d.Record {
		op.Data = C.GoBytes(data, n)
	}
	switch err := d.do(op); {
	case err == nil && op.Kind == Sync:
		return -1 // answered, not done
	case err == nil:
		return 0
	case op.Kind == Open || op.Kind == Create:
		return sqliteCantOpen
	case errors.Is(err, syscall.ENOSPC):
		return sqliteFull
	case errors.Is(err, syscall.EROFS):
		return sqliteReadOnly
	default:
		// SQLITE_IOERR with _READ, _WRITE, _TRUNCATE, _FSYNC, _DELETE.
		return C.int(10 | map[Kind]int{Read: 1, Write: 3, Truncate: 6, Sync: 4, Remove: 10}[op.Kind]<<8)
	}
}

// VFS is the layer's name at SQLite.
func (d *Disk) VFS() string { return d.name }

// ReadFile reads a file.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	if err := d.do(Op{Kind: Read, Path: name}); err != nil {
		return nil, err
	}
	return d.OS.ReadFile(name)
}

// Create makes or empties a file.
func (d *Disk) Create(name string) (store.File, error) {
	if err := d.do(Op{Kind: Create, Path: name}); err != nil {
		return nil, err
	}
	f, err := d.OS.Create(name)
	if err != nil {
		return nil, err
	}
	return &file{d, name, 0, f}, nil
}

// Rename renames a file; one that is not there is not counted.
func (d *Disk) Rename(from, to string) error {
	if _, err := d.Size(from); err != nil {
		return err
	}
	if err := d.do(Op{Kind: Rename, Path: from, To: to}); err != nil {
		return err
	}
	return d.OS.Rename(from, to)
}

// Remove removes a file; one that is not there is not counted.
func (d *Disk) Remove(name string) error {
	if _, err := d.Size(name); err != nil {
		return err
	}
	if err := d.do(Op{Kind: Remove, Path: name}); err != nil {
		return err
	}
	return d.OS.Remove(name)
}

// Sync records that a file or a directory would be on the platter now.
func (d *Disk) Sync(name string) error {
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		return d.do(Op{Kind: SyncDir, Path: name})
	}
	return d.do(Op{Kind: Sync, Path: name})
}

// Lock is the operating system's: a lock leaves nothing on a disk.
func (d *Disk) Lock(name string) (io.Closer, error) { return d.OS.Lock(name) }

type file struct {
	d    *Disk
	name string
	off  int64
	f    store.File
}

func (f *file) Write(p []byte) (int, error) {
	if err := f.d.do(Op{Kind: Write, Path: f.name, Off: f.off, Data: append([]byte(nil), p...), Size: len(p)}); err != nil {
		n, _ := f.f.Write(p[:len(p)/2]) // a failed write leaves a part
		return n, err
	}
	n, err := f.f.Write(p)
	f.off += int64(n)
	return n, err
}

func (f *file) Sync() error  { return f.d.do(Op{Kind: Sync, Path: f.name}) }
func (f *file) Close() error { return f.f.Close() }
