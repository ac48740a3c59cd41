package media

import (
	"errors"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapped tells how many bytes of fd can be mapped with prot, by what a second mapping
// shows or refuses.
func mapped(fd, size, prot int) ([]byte, error) {
	return unix.Mmap(fd, 0, size, prot, unix.MAP_SHARED)
}

func TestSharedKeepsItsSize(t *testing.T) {
	s, err := NewShared("test", 8192, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, n := range []int64{0, 4096, 16384} {
		if err := unix.Ftruncate(s.FD, n); !errors.Is(err, unix.EPERM) {
			t.Errorf("size changed to %d: %v", n, err)
		}
	}
	if _, err := unix.FcntlInt(uintptr(s.FD), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); !errors.Is(err, unix.EPERM) {
		t.Errorf("sealed again: %v", err)
	}
	b, err := mapped(s.FD, 8192, unix.PROT_READ)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	s.Bytes[8191] = 7
	if b[8191] != 7 {
		t.Error("not the same memory")
	}
	if w, err := mapped(s.FD, 8192, unix.PROT_READ|unix.PROT_WRITE); !errors.Is(err, unix.EPERM) {
		t.Errorf("others can write: %v", err)
		_ = unix.Munmap(w)
	}
	both, err := NewShared("test", 10, false)
	if err != nil {
		t.Fatal(err)
	}
	defer both.Close()
	w, err := mapped(both.FD, 10, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		t.Fatalf("others cannot write: %v", err)
	}
	_ = unix.Munmap(w)
	if _, err := NewShared("test", 0, false); err == nil {
		t.Error("nothing was shared")
	}
}

func TestSharedFrames(t *testing.T) {
	f := Format{Pixel: YU12, Size: Size{W: 322, H: 242}}
	p, err := NewSharedFrames(f, 3)
	if err != nil {
		t.Fatal(err)
	}
	plain := NewFrames(f, 1).Get()
	var all []*Frame
	for range 3 {
		g := p.Get()
		if g.Memory != Memfd || g.Offset%pageSize != 0 || g.Format != f || g.Stride != plain.Stride {
			t.Errorf("%+v", g)
		}
		all = append(all, g)
	}
	if p.Get() != nil {
		t.Error("more than the bound")
	}
	// Offset says where Planes[0] is, and the others follow.
	end := all[2].Offset + len(all[2].Planes[0]) + len(all[2].Planes[1]) + len(all[2].Planes[2])
	b, err := mapped(all[0].FD, end, unix.PROT_READ)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	for i, g := range all {
		for k, pl := range g.Planes {
			if len(pl) != len(plain.Planes[k]) {
				t.Errorf("plane %d has %d bytes", k, len(pl))
			}
			at := g.Offset + int(uintptr(unsafe.Pointer(&pl[0]))-uintptr(unsafe.Pointer(&g.Planes[0][0])))
			pl[5], pl[len(pl)-1] = byte(10*i+k), 99
			if b[at+5] != byte(10*i+k) || b[at+len(pl)-1] != 99 {
				t.Errorf("frame %d plane %d is not at %d", i, k, at)
			}
		}
	}
	if _, err := NewSharedFrames(Format{Pixel: MJPG, Size: f.Size}, 1); err == nil {
		t.Error("pictures without a fixed size were made")
	}

	fd := all[0].FD
	open := func() bool { _, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); return err == nil }
	all[0].Release()
	p.Close()
	p.Close()
	if p.Get() != nil {
		t.Error("a closed pool gives frames")
	}
	all[1].Release()
	all[2].Planes[0][0] = 1 // still there
	if !open() {
		t.Error("closed while a frame was out")
	}
	all[2].Release()
	if open() {
		t.Error("the memory was not given back")
	}
	if p.Out() != 0 {
		t.Error("frames are out")
	}
	empty, err := NewSharedFrames(f, 1)
	if err != nil {
		t.Fatal(err)
	}
	empty.Close()
	NewFrames(f, 1).Close() // does nothing
}
