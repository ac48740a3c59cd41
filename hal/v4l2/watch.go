package v4l2

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// settle are the times after a plug at which changed is called again where no udev runs:
// the node and its permissions are made by a program (mdev) that is told of the plug when
// we are.
var settle = [...]time.Duration{200 * time.Millisecond, time.Second}

// Watch listens to the kernel's device events, or to udev's where one runs, and calls
// changed after each camera that comes or goes, and once when it has begun to listen. It
// blocks until ctx ends and then gives its error.
func (s *Cameras) Watch(ctx context.Context, changed func()) error {
	group := groupKernel
	if _, err := os.Stat(s.udev); err == nil {
		group = groupUdev
	}
	f, err := s.bind(group)
	if err != nil {
		return fmt.Errorf("watch cameras: %w", err)
	}
	w := watch{group: group, changed: changed, alarm: alarm{f: f}, buf: make([]byte, 16<<10), oob: make([]byte, 256)}
	var ending sync.WaitGroup
	ending.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer ending.Done()
		w.alarm.end()
	})
	err = w.run(f)
	if stop() {
		ending.Done()
	}
	ending.Wait()
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		return ctx.Err()
	}
	return fmt.Errorf("watch cameras: %w", err)
}

// bindUevents makes a socket that hears one group.
func bindUevents(group uint32) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("make a socket for device events: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return nil, errors.Join(fmt.Errorf("ask for the senders of device events: %w", err), unix.Close(fd))
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: group}); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for device events: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "uevents"), nil
}

// watch is one run of Watch.
type watch struct {
	group   uint32
	changed func()
	alarm   alarm
	due     []time.Time // when changed is to be called again, rising
	buf     []byte
	oob     []byte
}

func (w *watch) run(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	w.changed()
	for {
		var next time.Time // none
		if len(w.due) > 0 {
			next = w.due[0]
		}
		if err := w.alarm.set(next); err != nil {
			return err
		}
		e, heard, err := w.receive(conn)
		switch {
		case w.alarm.over():
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			if len(w.due) > 0 {
				w.due = w.due[1:]
				w.changed()
			}
		case errors.Is(err, unix.ENOBUFS):
			w.changed() // events were lost: anything may have happened
		case err != nil:
			return err
		case heard && e.camera():
			w.changed()
			if w.group == groupKernel && e.action == "add" {
				w.due = w.due[:0]
				for _, d := range settle {
					w.due = append(w.due, time.Now().Add(d))
				}
			}
		}
	}
}

// receive waits for one message; heard is false when it is none that counts.
func (w *watch) receive(conn syscall.RawConn) (e uevent, heard bool, err error) {
	var n, oobn, flags int
	var from unix.Sockaddr
	var failed error
	err = conn.Read(func(fd uintptr) bool {
		for {
			if n, oobn, flags, from, failed = unix.Recvmsg(int(fd), w.buf, w.oob, unix.MSG_DONTWAIT); failed != unix.EINTR {
				return failed != unix.EAGAIN
			}
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil || flags&unix.MSG_TRUNC != 0 || !w.trusted(from, w.oob[:oobn]) {
		return uevent{}, false, err
	}
	e, heard = parseUevent(w.buf[:n], w.group)
	return e, heard, nil
}

// trusted tells whether a message was sent to the group by the kernel or by root: any
// program may send to a netlink socket's own address.
func (w *watch) trusted(from unix.Sockaddr, oob []byte) bool {
	if a, ok := from.(*unix.SockaddrNetlink); ok {
		if a.Groups&w.group == 0 || w.group == groupKernel && a.Pid != 0 {
			return false
		}
	}
	ms, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return false
	}
	for i := range ms {
		if c, err := unix.ParseUnixCredentials(&ms[i]); err == nil {
			return c.Uid == 0 || c.Uid == uint32(os.Getuid())
		}
	}
	return false
}
