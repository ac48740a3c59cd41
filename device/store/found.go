package store

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/mattn/go-sqlite3"
)

// Errors that somebody acts on.
var (
	// ErrLocked: another process has the store open.
	ErrLocked = errors.New("in use by another process: stop the other anchord, or give each its own store.path (fuser shows who has it)")
	// ErrNewer: a newer anchord wrote the file.
	ErrNewer = errors.New("written by a newer anchord: install that version again, or move the file away to start without its settings")
	// ErrFull: no space. Nothing was changed; a later Save can succeed.
	ErrFull = errors.New("the disk is full: free some space, then say it again")
	// ErrReadOnly: the disk or the file may not be written. Nothing was changed.
	ErrReadOnly = errors.New("it may not be written: check that the disk is mounted rw and that this user owns the directory")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the store is closed")
)

// errCorrupt is the cause when a file is not what was written.
var errCorrupt = errors.New("damaged")

// Source says where the values came from.
type Source string

// The sources.
const (
	FromDatabase Source = "database"  // as they were saved
	FromBackup   Source = "backup"    // the last good copy
	FromRoomFile Source = "room file" // the room alone
	FromNothing  Source = "nothing"   // a first start, or nothing could be read
)

// Found is what Open found.
type Found struct {
	Source   Source
	Values   int       // how many
	Storing  bool      // false: Save fails until the cause is gone
	Problems []Problem // none on a good day and on a first start
}

// Problem is one thing that was wrong, fit for a health condition.
type Problem struct {
	Code  string // short-dashed-word
	Cause string
	Hint  string // what to do
}

// String is the problem in a line.
func (p Problem) String() string { return p.Code + ": " + p.Cause + ": " + p.Hint }

// Codes of problems.
const (
	CodeCorrupt  = "store-corrupt"   // the database was damaged and was put aside
	CodeOlder    = "store-older"     // the database is older than its copies
	CodeMissing  = "store-missing"   // the database was gone, copies were there
	CodeMemory   = "store-memory"    // nothing can be stored
	CodeBackup   = "store-backup"    // the last good copy is not good, or cannot be made
	CodeRoomFile = "store-room-file" // the room file is not good, or cannot be written
)

func (f *Found) add(code, hint, format string, args ...any) {
	f.Problems = append(f.Problems, Problem{code, fmt.Sprintf(format, args...), hint})
}

// explain turns an error of SQLite or of the file system into one an operator can act on.
func explain(err error) error {
	var e sqlite3.Error
	is := func(codes ...sqlite3.ErrNo) bool {
		for _, c := range codes {
			if errors.As(err, &e) && e.Code == c {
				return true
			}
		}
		return false
	}
	switch {
	case errors.Is(err, ErrFull), errors.Is(err, ErrReadOnly), errors.Is(err, ErrLocked):
		return err
	case is(sqlite3.ErrFull), isErrno(err, syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG):
		return fmt.Errorf("%w (%w)", ErrFull, err)
	case is(sqlite3.ErrReadonly, sqlite3.ErrPerm), errors.Is(err, fs.ErrPermission), isErrno(err, syscall.EROFS):
		return fmt.Errorf("%w (%w)", ErrReadOnly, err)
	case is(sqlite3.ErrBusy, sqlite3.ErrLocked):
		return fmt.Errorf("%w (%w)", ErrLocked, err)
	}
	return err
}

func isErrno(err error, all ...syscall.Errno) bool {
	var e sqlite3.Error
	if errors.As(err, &e) {
		for _, n := range all {
			if e.SystemErrno == n {
				return true
			}
		}
	}
	for _, n := range all {
		if errors.Is(err, n) {
			return true
		}
	}
	return false
}

// damaged says that the file is wrong, not the way to it.
func damaged(err error) bool {
	var e sqlite3.Error
	if errors.As(err, &e) {
		switch e.Code {
		case sqlite3.ErrCorrupt, sqlite3.ErrNotADB, sqlite3.ErrFormat, sqlite3.ErrError, sqlite3.ErrSchema,
			sqlite3.ErrTooBig, sqlite3.ErrMismatch, sqlite3.ErrConstraint, sqlite3.ErrInterrupt, sqlite3.ErrInternal:
			return true
		}
	}
	return errors.Is(err, errCorrupt)
}

// unreadable says that the disk refused to give a part of the file. One such answer can be
// a glitch; a second is a bad block.
func unreadable(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.ExtendedCode == sqlite3.ErrIoErrRead || e.ExtendedCode == sqlite3.ErrIoErrShortRead ||
		e.ExtendedCode == sqlite3.ErrIoErrFstat)
}
