package store

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// FS is the file layer under a store. OS is the real one; tests put one in its place that
// fails and cuts.
type FS interface {
	// VFS names SQLite's own file layer; "" is its default.
	VFS() string
	// MkdirAll makes a directory and its parents.
	MkdirAll(dir string) error
	// Size gives a file's size in bytes; an error that is fs.ErrNotExist says there is none.
	Size(name string) (int64, error)
	// ReadFile reads a whole file.
	ReadFile(name string) ([]byte, error)
	// ReadDir gives the names in a directory.
	ReadDir(dir string) ([]string, error)
	// Create makes or empties a file that only its owner may read.
	Create(name string) (File, error)
	// Rename replaces newName at once.
	Rename(oldName, newName string) error
	// Remove removes a file.
	Remove(name string) error
	// Sync brings a file or a directory to the disk.
	Sync(name string) error
	// Lock takes a lock that ends with the process or with Close. The error is ErrLocked
	// when somebody else has it.
	Lock(name string) (io.Closer, error)
}

// File is a file being written.
type File interface {
	io.WriteCloser
	Sync() error
}

// OS is the file layer of the operating system.
type OS struct{}

// VFS is SQLite's default.
func (OS) VFS() string { return "" }

// MkdirAll makes a directory that only its owner and group may enter.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o750) }

// Size gives a file's size.
func (OS) Size(name string) (int64, error) {
	st, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// ReadFile reads a file; what is not a plain file is an error, so that a pipe cannot hang it.
func (OS) ReadFile(name string) ([]byte, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: name, Err: errors.New("not a plain file")}
	}
	if st.Size() > maxBytes {
		return nil, &os.PathError{Op: "read", Path: name, Err: syscall.EFBIG}
	}
	return os.ReadFile(name)
}

// ReadDir gives the names in a directory.
func (OS) ReadDir(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// Create makes or empties a file.
func (OS) Create(name string) (File, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
}

// Rename renames a file.
func (OS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }

// Remove removes a file.
func (OS) Remove(name string) error { return os.Remove(name) }

// Sync calls fsync(2).
func (OS) Sync(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Lock calls flock(2), which the kernel undoes however the process ends.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrLocked
	}
	return nil, &os.PathError{Op: "flock", Path: name, Err: err}
}

// writeFile replaces a file at once: whoever reads it after a power cut finds the old or
// the new content, never a part. The name is on the disk when it returns.
func writeFile(fs FS, name string, data []byte) error {
	tmp := name + ".new"
	f, err := fs.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fs.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(fs.Remove(tmp)))
	}
	return fs.Sync(filepath.Dir(name))
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
