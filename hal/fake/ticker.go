package fake

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// ticker ticks at a steady rate by a timerfd, as a driver's file descriptor would: a
// Go timer wakes three threads a tick, a descriptor one.
type ticker struct {
	f     *os.File
	raw   syscall.RawConn
	next  media.Time
	every time.Duration
	buf   [8]byte
	err   error
	read  func(uintptr) bool
	stop  func()
}

// newTicker ticks each every until ctx ends; the first tick is on the next whole
// multiple of it on CLOCK_MONOTONIC.
func newTicker(ctx context.Context, every time.Duration) (*ticker, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	t := &ticker{f: os.NewFile(uintptr(fd), "timerfd"), every: every}
	t.next = (media.Now()/media.Time(every) + 1) * media.Time(every)
	spec := unix.ItimerSpec{Interval: unix.NsecToTimespec(int64(every)), Value: unix.NsecToTimespec(int64(t.next))}
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		t.f.Close()
		return nil, err
	}
	if t.raw, err = t.f.SyscallConn(); err != nil {
		t.f.Close()
		return nil, err
	}
	t.read = func(fd uintptr) bool {
		n, _, e := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&t.buf)), 8)
		t.err = nil
		if e == unix.EAGAIN {
			return false
		}
		if n != 8 {
			t.err = e
		}
		return true
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { t.f.SetReadDeadline(time.Unix(1, 0)); close(ended) })
	t.stop = func() {
		if !stop() {
			<-ended
		}
	}
	return t, nil
}

// wait waits for the next tick and gives its due time and how many were missed before
// it. It gives hal.ErrStopped when the context has ended.
func (t *ticker) wait() (due media.Time, missed uint64, err error) {
	if err := t.raw.Read(t.read); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed) {
			return 0, 0, hal.ErrStopped
		}
		return 0, 0, err
	}
	if t.err != nil {
		return 0, 0, t.err
	}
	n := binary.NativeEndian.Uint64(t.buf[:])
	due = t.next.Add(time.Duration(n-1) * t.every)
	t.next = due.Add(t.every)
	return due, n - 1, nil
}

func (t *ticker) close() {
	t.stop()
	t.f.Close()
}
