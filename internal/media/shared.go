package media

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Shared is memory that another process can map: a memfd whose size is fixed, so that
// nobody who has its descriptor can take pages away from under those who read them
// (https://man7.org/linux/man-pages/man2/memfd_create.2.html).
type Shared struct {
	FD    int
	Bytes []byte // the whole of it, for reading and writing

	once sync.Once
}

// NewShared makes shared memory of size bytes, all zero. With readOnly nobody but this
// process can write to it (kernels before 5.1 cannot promise that).
func NewShared(name string, size int, readOnly bool) (*Shared, error) {
	if size <= 0 {
		return nil, fmt.Errorf("make shared memory %s: %d bytes are none", name, size)
	}
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("make shared memory %s: %w", name, err)
	}
	s := &Shared{FD: fd}
	if err := s.fix(size, readOnly); err != nil {
		s.Close()
		return nil, fmt.Errorf("make shared memory %s of %d bytes: %w", name, size, err)
	}
	return s, nil
}

// fix gives it its size, maps it and seals it. Our mapping stays writable when later ones
// are not.
func (s *Shared) fix(size int, readOnly bool) error {
	if err := unix.Ftruncate(s.FD, int64(size)); err != nil {
		return err
	}
	var err error
	if s.Bytes, err = unix.Mmap(s.FD, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return err
	}
	seals := unix.F_SEAL_SHRINK | unix.F_SEAL_GROW
	if readOnly {
		_, err = unix.FcntlInt(uintptr(s.FD), unix.F_ADD_SEALS, seals|unix.F_SEAL_FUTURE_WRITE|unix.F_SEAL_SEAL)
		if err != unix.EINVAL {
			return err
		}
	}
	_, err = unix.FcntlInt(uintptr(s.FD), unix.F_ADD_SEALS, seals|unix.F_SEAL_SEAL)
	return err
}

// Close gives the memory back: Bytes must not be touched any more. Other processes that
// have mapped it keep it. A second Close does nothing.
func (s *Shared) Close() {
	s.once.Do(func() {
		if s.Bytes != nil {
			_ = unix.Munmap(s.Bytes) // fails only for what is not mapped
		}
		_ = unix.Close(s.FD)
		s.Bytes, s.FD = nil, -1
	})
}

// pageSize is what frames in shared memory begin at a multiple of: what devices that
// import memory ask for.
const pageSize = 4096

// NewSharedFrames is NewFrames with all pictures in one Shared, which a process that
// encodes can read without a copy. The pool must be closed.
func NewSharedFrames(f Format, max int) (*Pool[*Frame], error) {
	var shape Frame
	n := shape.shape(f)
	if n == 0 {
		return nil, fmt.Errorf("make shared pictures: format %v has no fixed size", f)
	}
	each := (n + pageSize - 1) &^ (pageSize - 1)
	s, err := NewShared("anchord-pictures", each*max, true)
	if err != nil {
		return nil, err
	}
	next := 0
	p := newPool(max, func(free func(*Frame)) *Frame { // called at most max times
		g := NewFrame(free)
		g.Memory, g.FD, g.Offset = Memfd, s.FD, next
		g.lay(f, s.Bytes[next:next+n:next+n])
		next += each
		return g
	})
	p.end = s.Close
	return p, nil
}
