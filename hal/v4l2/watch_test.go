package v4l2

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func kernelMessage(action, subsystem string) []byte {
	return []byte(action + "@/devices/x\x00ACTION=" + action + "\x00DEVPATH=/devices/x\x00SUBSYSTEM=" + subsystem + "\x00DEVNAME=video0\x00SEQNUM=5\x00")
}

func udevMessage(action, subsystem string) []byte {
	props := []byte("ACTION=" + action + "\x00SUBSYSTEM=" + subsystem + "\x00DEVNAME=/dev/video0\x00")
	b := append([]byte("libudev\x00"), make([]byte, 32)...)
	binary.BigEndian.PutUint32(b[8:], udevMagic)
	binary.NativeEndian.PutUint32(b[12:], 40)
	binary.NativeEndian.PutUint32(b[16:], 40)
	binary.NativeEndian.PutUint32(b[20:], uint32(len(props)))
	return append(b, props...)
}

func TestParseUevent(t *testing.T) {
	cut := udevMessage("add", "video4linux")
	beyond := udevMessage("add", "video4linux")
	binary.NativeEndian.PutUint32(beyond[20:], 0xffffffff)
	magic := udevMessage("add", "video4linux")
	magic[8] = 0
	for _, tt := range []struct {
		name  string
		in    []byte
		group uint32
		ok    bool
		cam   bool
	}{
		{"plug by kernel", kernelMessage("add", "video4linux"), groupKernel, true, true},
		{"pull by kernel", kernelMessage("remove", "video4linux"), groupKernel, true, true},
		{"plug by udev", udevMessage("add", "video4linux"), groupUdev, true, true},
		{"pull by udev", udevMessage("remove", "video4linux"), groupUdev, true, true},
		{"changed", kernelMessage("change", "video4linux"), groupKernel, true, false},
		{"another subsystem", udevMessage("add", "block"), groupUdev, true, false},
		{"kernel's on udev's group", kernelMessage("add", "video4linux"), groupUdev, false, false},
		{"udev's on the kernel's group", udevMessage("add", "video4linux"), groupKernel, false, false},
		{"udev's magic is wrong", magic, groupUdev, false, false},
		{"udev's properties end behind the end", beyond, groupUdev, false, false},
		{"udev's, cut", cut[:50], groupUdev, false, false},
		{"only a head", []byte("add@/devices/x\x00"), groupKernel, false, false},
		{"no zero", []byte("add@/devices/x"), groupKernel, false, false},
		{"empty", nil, groupKernel, false, false},
	} {
		e, ok := parseUevent(tt.in, tt.group)
		if ok != tt.ok || ok && e.camera() != tt.cam {
			t.Errorf("%s: %+v, %v", tt.name, e, ok)
		}
	}
}

func FuzzParseUevent(f *testing.F) {
	f.Add(kernelMessage("add", "video4linux"), false)
	f.Add(udevMessage("remove", "video4linux"), true)
	f.Add([]byte("libudev\x00\xfe\xed\xca\xfe"), true)
	f.Fuzz(func(t *testing.T, b []byte, udev bool) {
		group := groupKernel
		if udev {
			group = groupUdev
		}
		e, ok := parseUevent(b, group)
		if ok && (e.action == "" || e.subsystem == "") {
			t.Errorf("%+v", e)
		}
		if ok && (len(e.action) > len(b) || strings.Contains(e.subsystem, "\x00")) {
			t.Errorf("%+v", e)
		}
	})
}

// uevents makes a pair of sockets that stands for the kernel's.
func uevents(t *testing.T) (bind func(uint32) (*os.File, error), send func([]byte)) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	bind = func(uint32) (*os.File, error) { return os.NewFile(uintptr(fds[0]), "test"), nil }
	return bind, func(b []byte) {
		if _, err := unix.Write(fds[1], b); err != nil {
			t.Error(err)
		}
	}
}

// watching runs Watch and gives the channel on which each call of changed is sent.
func watching(t *testing.T, s *Cameras) (changed chan time.Time, end func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	changed = make(chan time.Time, 100)
	done := make(chan error, 1)
	go func() { done <- s.Watch(ctx, func() { changed <- time.Now() }) }()
	return changed, func() error { cancel(); return <-done }
}

func TestWatch(t *testing.T) {
	m := newMachine(t)
	write(t, m.cameras(nil).udev, "")
	s := m.cameras(nil)
	var send func([]byte)
	s.bind, send = uevents(t)
	changed, end := watching(t, s)
	<-changed // at the start
	send([]byte("rubbish"))
	send(kernelMessage("add", "video4linux")) // not from udev
	send(udevMessage("add", "sound"))
	send(make([]byte, 20<<10)) // longer than any
	send(udevMessage("add", "video4linux"))
	<-changed
	send(udevMessage("remove", "video4linux"))
	<-changed
	if err := end(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if len(changed) != 0 {
		t.Errorf("%d calls more", len(changed))
	}
}

// Without udev the node's permissions come a little after the kernel's word.
func TestWatchWithoutUdevLooksAgain(t *testing.T) {
	s := newMachine(t).cameras(nil)
	var send func([]byte)
	s.bind, send = uevents(t)
	changed, end := watching(t, s)
	<-changed
	send(kernelMessage("add", "video4linux"))
	at := <-changed
	if d := (<-changed).Sub(at); d < 150*time.Millisecond || d > 800*time.Millisecond {
		t.Errorf("looked again after %v", d)
	}
	if d := (<-changed).Sub(at); d < 900*time.Millisecond || d > 3*time.Second {
		t.Errorf("looked a third time after %v", d)
	}
	send(kernelMessage("remove", "video4linux"))
	<-changed
	if err := end(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestTrust(t *testing.T) {
	root := unix.UnixCredentials(&unix.Ucred{Uid: 0})
	other := unix.UnixCredentials(&unix.Ucred{Uid: 4711})
	for _, tt := range []struct {
		name  string
		group uint32
		from  unix.Sockaddr
		oob   []byte
		want  bool
	}{
		{"kernel", groupKernel, &unix.SockaddrNetlink{Groups: groupKernel}, root, true},
		{"udev", groupUdev, &unix.SockaddrNetlink{Groups: groupUdev, Pid: 300}, root, true},
		{"a program as kernel", groupKernel, &unix.SockaddrNetlink{Groups: groupKernel, Pid: 300}, root, false},
		{"sent to us alone", groupUdev, &unix.SockaddrNetlink{Pid: 300}, root, false},
		{"another user", groupUdev, &unix.SockaddrNetlink{Groups: groupUdev, Pid: 300}, other, false},
		{"no credentials", groupUdev, &unix.SockaddrNetlink{Groups: groupUdev, Pid: 300}, nil, false},
		{"broken credentials", groupUdev, &unix.SockaddrNetlink{Groups: groupUdev, Pid: 300}, root[:5], false},
	} {
		w := watch{group: tt.group}
		if got := w.trusted(tt.from, tt.oob); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// The real socket: made, bound and ended.
func TestWatchKernel(t *testing.T) {
	changed, end := watching(t, New(Config{}))
	<-changed
	if err := end(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
