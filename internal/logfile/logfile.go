// Package logfile writes the log into a file on boxes that have no journal. The file and
// the older ones beside it, compressed, together stay below a cap, and leave the disk some
// room; what cannot be written is dropped and counted, and written again as soon as it can.
//
// Libraries for this rotate by the size of one file and count of files, so nobody can say
// what they take in all; they keep writing into a file that logrotate moved or somebody
// deleted, and a full disk is their caller's problem.
package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Config says where and how much.
type Config struct {
	Path string
	Max  int64 // bytes that all files take together; at least 1 MB is sensible
	// Log hears when the file cannot be written and when it can again, once each; nil: nobody.
	// What it is told must not be written into this file before Write returns.
	Log *slog.Logger
	// Opened, if not nil, is called with each file that is opened, from Write.
	Opened func(*os.File)
}

// File is the log's file. Only one goroutine at a time may call Write and Close; State may
// be called from any.
type File struct {
	cfg Config
	dir string
	seg int64 // bytes after which a file is put aside

	// The disk; tests fill it.
	put    func(*os.File, []byte) (int, error)
	statfs func(*os.File) (free, all uint64, err error)

	f       *os.File // nil: not open
	id      identity
	size    int64
	torn    bool      // its last line is cut
	looked  time.Time // when file and disk were looked at
	written int64     // bytes since then
	again   time.Time // not tried before then after a failure

	mu    sync.Mutex // guards what follows
	state State
}

// State is how the file stands.
type State struct {
	Path  string
	Err   error     // why nothing can be written; nil: it can
	Since time.Time // of Err
	Lost  uint64    // lines that could not be written, in all
}

// identity is what tells one file from another that has its name.
type identity struct{ dev, ino uint64 }

const (
	// lookEvery is how often file and disk are looked at, and how often is tried again.
	lookEvery = time.Second
	// lookAfter is how many bytes are written at most without looking.
	lookAfter = 256 << 10
	// reserve is what is left free on the disk, or a twentieth of a small one: for the store,
	// and for whoever else needs it more.
	reserve = 16 << 20
	// mode lets a group read the log, such as Debian's adm.
	mode = 0o640
	// chunk is what is written at once.
	chunk = 32 << 10
)

// New makes a file's writer, and opens nothing.
func New(c Config) *File {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &File{cfg: c, dir: filepath.Dir(c.Path), seg: max(c.Max/16, 4<<10), put: (*os.File).Write, statfs: statfs, state: State{Path: c.Path}}
}

// State gives how the file stands.
func (f *File) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

// Write writes whole lines. What it cannot write is lost: the error says why.
func (f *File) Write(b []byte) (int, error) {
	now := time.Now()
	if now.Before(f.again) {
		return 0, f.lose(b, f.State().Err)
	}
	done := 0
	for done < len(b) {
		part := cut(b[done:])
		n, err := f.write(part, now)
		done += n
		if err != nil {
			f.again = now.Add(lookEvery)
			return done, f.lose(b[done:], err)
		}
	}
	f.well()
	return done, nil
}

// cut gives the first lines of b, chunk bytes at most if they are not one line.
func cut(b []byte) []byte {
	if len(b) <= chunk {
		return b
	}
	if i := bytes.LastIndexByte(b[:chunk], '\n'); i >= 0 {
		return b[:i+1]
	}
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i+1]
	}
	return b
}

// lose counts lines as lost, and says so if it is the first time.
func (f *File) lose(b []byte, err error) error {
	f.mu.Lock()
	first := f.state.Err == nil
	f.state.Err = err
	f.state.Lost += uint64(bytes.Count(b, []byte("\n")))
	if first {
		f.state.Since = time.Now()
	}
	f.mu.Unlock()
	if first {
		f.cfg.Log.Error("the log's file cannot be written: lines are dropped until it can", "err", err)
	}
	return err
}

// well notes that the file is written.
func (f *File) well() {
	f.mu.Lock()
	was, lost := f.state.Err, f.state.Lost
	f.state.Err, f.state.Since = nil, time.Time{}
	f.mu.Unlock()
	if was != nil {
		f.cfg.Log.Warn("the log's file is written again", "file", f.cfg.Path, "lost", lost)
	}
}

// Close writes nothing more.
func (f *File) Close() error {
	if f.f == nil {
		return nil
	}
	err := errors.Join(f.f.Sync(), f.f.Close())
	f.f = nil
	return err
}

// write writes lines of at most a chunk.
func (f *File) write(b []byte, now time.Time) (int, error) {
	if err := f.ready(now, len(b)); err != nil {
		return 0, err
	}
	if f.torn {
		if _, err := f.put(f.f, []byte{'\n'}); err != nil {
			return 0, f.explain(err)
		}
		f.size, f.torn = f.size+1, false
	}
	n, err := f.put(f.f, b)
	f.size, f.written = f.size+int64(n), f.written+int64(n)
	if n > 0 {
		f.torn = b[n-1] != '\n'
	}
	if err != nil && full(err) && f.prune(f.archived()-1) {
		m := 0
		m, err = f.put(f.f, b[n:])
		n, f.size = n+m, f.size+int64(m)
		f.torn = n > 0 && b[n-1] != '\n'
	}
	if err != nil {
		return n, f.explain(err)
	}
	return n, nil
}

// full tells whether an error says that there is no space.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, errReserve)
}

// errReserve is a disk that has little space left.
var errReserve = errors.New("the disk is nearly full")

// explain says what to do.
func (f *File) explain(err error) error {
	switch {
	case full(err):
		return fmt.Errorf("write %s: %w: make room on its disk, or lower log.max_mb", f.cfg.Path, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("write %s: %w: give its folder to the daemon's user, or choose another in log.file", f.cfg.Path, err)
	}
	return fmt.Errorf("write %s: %w", f.cfg.Path, err)
}

// ready makes the file ready to take n more bytes.
func (f *File) ready(now time.Time, n int) error {
	if f.f != nil && (now.Sub(f.looked) >= lookEvery || f.written >= lookAfter) {
		f.look()
	}
	if f.f == nil {
		if err := f.open(); err != nil {
			return f.explain(err)
		}
	}
	if f.looked.IsZero() {
		f.looked = now
		if err := f.room(); err != nil {
			return f.explain(err)
		}
	}
	if f.size > 0 && f.size+int64(n) > f.seg {
		return f.rotate()
	}
	return nil
}

// look closes the file if it is not any more the one that has its name: logrotate moved
// it, or somebody deleted or replaced it or its folder. Its size may have changed too.
func (f *File) look() {
	f.written, f.looked = 0, time.Time{}
	var st, open unix.Stat_t
	if unix.Stat(f.cfg.Path, &st) == nil && unix.Fstat(int(f.f.Fd()), &open) == nil && f.id == (identity{uint64(st.Dev), uint64(st.Ino)}) {
		f.size = open.Size
		return
	}
	_ = f.f.Close() // it is not ours any more
	f.f = nil
}

// statfs gives how many bytes of f's file system are free for us, and how many it has.
func statfs(f *os.File) (free, all uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, 0, err
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

// room makes sure that the disk keeps its reserve: older files go first.
func (f *File) room() error {
	for {
		free, all, err := f.statfs(f.f)
		if err != nil || all == 0 {
			return nil // a file system that does not know lets us try
		}
		least := min(reserve, all/20)
		if f.State().Err != nil {
			least += least / 4 // else it would be full again with the next line
		}
		if free > least {
			return nil
		}
		if !f.prune(f.archived() - 1) {
			return errReserve
		}
	}
}

// open opens the file, whose folder is made if it is missing, and mends its end: a power
// cut leaves half a line there, or zeros.
func (f *File) open() error {
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(f.cfg.Path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, mode)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EISDIR) {
		return errNoFile
	}
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		_ = file.Close()
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = file.Close()
		return errNoFile
	}
	f.f, f.id, f.size, f.torn, f.written, f.looked = file, identity{uint64(st.Dev), uint64(st.Ino)}, st.Size, false, 0, time.Time{}
	if st.Size == 0 {
		_ = file.Chmod(mode) // whatever the umask is; without it the umask's word stands
	}
	f.mend()
	f.tidy()
	if f.cfg.Opened != nil {
		f.cfg.Opened(file)
	}
	return nil
}

// errNoFile is a name that is taken by something else.
var errNoFile = errors.New("it is not an ordinary file: move it away, or name another in log.file")

// mend cuts zeros from the end of the file and finds out whether its last line is whole.
func (f *File) mend() {
	b := make([]byte, chunk)
	end := f.size
	for end > 0 {
		n := min(int64(len(b)), end)
		if _, err := f.f.ReadAt(b[:n], end-n); err != nil && !errors.Is(err, io.EOF) {
			return
		}
		if kept := bytes.TrimRight(b[:n], "\x00"); len(kept) > 0 {
			end -= n - int64(len(kept))
			f.torn = kept[len(kept)-1] != '\n'
			break
		}
		end -= n
	}
	if end < f.size && f.f.Truncate(end) == nil {
		f.size = end
	}
}
