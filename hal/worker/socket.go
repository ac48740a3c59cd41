package worker

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is one end of a pair of connected SOCK_SEQPACKET sockets, which keep messages
// apart and tell when the other end is gone. Messages of every picture are sent and
// received raw, without waiting: the ordinary system call path wakes the runtime's
// monitor thread each time, which costs more than the call.
type socket struct {
	f   *os.File
	raw syscall.RawConn

	// Arguments and results of the functions below, which are kept so that a message
	// allocates nothing.
	out      []byte
	in       [maxMessage]byte
	control  [32]byte // room for a descriptor or two
	n        int
	attached int // bytes of control
	flags    int
	errno    unix.Errno
	iov      unix.Iovec
	msg      unix.Msghdr

	sender, plain, withFDs func(fd uintptr) bool
}

// newSocket makes fd a socket, which owns it.
func newSocket(fd int) (*socket, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	s := &socket{f: os.NewFile(uintptr(fd), "worker socket")}
	var err error
	if s.raw, err = s.f.SyscallConn(); err == nil {
		err = s.f.SetReadDeadline(time.Time{}) // fails if the poller did not take it
	}
	if err != nil {
		s.f.Close()
		return nil, err
	}
	s.sender, s.plain, s.withFDs = s.send, s.receive, s.receiveFDs
	return s, nil
}

// pair gives two ends: ours, and the one that a child gets, which waits as programs in C
// expect it to.
func pair() (ours *socket, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	if ours, err = newSocket(fds[0]); err != nil {
		unix.Close(fds[1])
		return nil, nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	return ours, os.NewFile(uintptr(fds[1]), "worker socket"), nil
}

func (s *socket) send(fd uintptr) bool {
	_, _, s.errno = unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&s.out[0])), uintptr(len(s.out)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return true // the other side reads each message before the next is due: a full socket is a fault
}

// write sends a message, with a descriptor when fd is not negative.
func (s *socket) write(b []byte, fd int) error {
	if fd >= 0 {
		var err error
		cerr := s.raw.Control(func(sock uintptr) {
			err = unix.Sendmsg(int(sock), b, unix.UnixRights(fd), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		})
		return errors.Join(cerr, err)
	}
	s.out = b
	if err := s.raw.Write(s.sender); err != nil {
		return err
	}
	if s.errno != 0 {
		return s.errno
	}
	return nil
}

// errEnded says that the other end is closed.
var errEnded = errors.New("the other end is closed")

// receive takes a message and throws away descriptors that are attached: recvfrom has no
// room for them, and the kernel closes what is not taken.
func (s *socket) receive(fd uintptr) bool {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&s.in[0])), uintptr(len(s.in)),
		unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	if e == unix.EAGAIN || e == unix.EINTR {
		return false
	}
	s.n, s.errno = int(n), e
	return true
}

// read waits for a message until the deadline. It is valid until the next read.
func (s *socket) read() ([]byte, error) {
	if err := s.raw.Read(s.plain); err != nil {
		return nil, err
	}
	return s.message(s.n)
}

// message gives the n bytes that came.
func (s *socket) message(n int) ([]byte, error) {
	switch {
	case s.errno == unix.ECONNRESET, s.errno == 0 && n == 0:
		return nil, errEnded
	case s.errno != 0:
		return nil, s.errno
	case n > len(s.in):
		return nil, fmt.Errorf("%w: a message of %d bytes, longer than %d", errProtocol, n, len(s.in))
	}
	return s.in[:n], nil
}

func (s *socket) receiveFDs(fd uintptr) bool {
	s.iov.Base = &s.in[0]
	s.iov.SetLen(len(s.in))
	s.msg = unix.Msghdr{Iov: &s.iov, Control: &s.control[0]}
	s.msg.SetIovlen(1)
	s.msg.SetControllen(len(s.control))
	n, _, e := unix.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&s.msg)),
		unix.MSG_DONTWAIT|unix.MSG_TRUNC|unix.MSG_CMSG_CLOEXEC)
	if e == unix.EAGAIN || e == unix.EINTR {
		return false
	}
	s.n, s.errno = int(n), e
	s.attached, s.flags = int(s.msg.Controllen), int(s.msg.Flags)
	return true
}

// readFD waits for a message and the descriptor that may come with it, -1 when none did.
// The caller owns it. More than one is a fault.
func (s *socket) readFD() (b []byte, fd int, err error) {
	if err := s.raw.Read(s.withFDs); err != nil {
		return nil, -1, err
	}
	fd = -1
	if s.errno == 0 && s.attached > 0 {
		fds := rights(s.control[:min(s.attached, len(s.control))])
		if len(fds) == 1 {
			fd = fds[0]
		} else {
			for _, f := range fds {
				unix.Close(f)
			}
		}
		if len(fds) > 1 || s.flags&unix.MSG_CTRUNC != 0 {
			err = fmt.Errorf("%w: a message with more than one descriptor", errProtocol)
		}
	}
	if err == nil {
		b, err = s.message(s.n)
	}
	if err != nil && fd >= 0 {
		unix.Close(fd)
		fd = -1
	}
	return b, fd, err
}

// rights gives the descriptors in a control message.
func rights(control []byte) (fds []int) {
	msgs, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for i := range msgs {
		if got, err := unix.ParseUnixRights(&msgs[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

// within bounds the next read.
func (s *socket) within(d time.Duration) error { return s.f.SetReadDeadline(time.Now().Add(d)) }

// ring makes the read that waits now, or else the next one, end at once.
func (s *socket) ring() { _ = s.f.SetReadDeadline(time.Unix(1, 0)) } // fails on a closed file, on which nobody waits

func (s *socket) close() { _ = s.f.Close() }
