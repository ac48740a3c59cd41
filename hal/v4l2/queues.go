package v4l2

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"anchord/internal/media"
)

// startSide lets one side stream, if it does not.
func (s *session) startSide(side side) error {
	if s.on[side] {
		return nil
	}
	if err := s.c.stream(side, true); err != nil {
		return err
	}
	s.on[side] = true
	return nil
}

// stopSide ends one side's stream: all its buffers are ours again.
func (s *session) stopSide(side side) error {
	if !s.on[side] {
		return nil
	}
	s.on[side] = false
	err := s.c.stream(side, false)
	if side == rawSide {
		for i := range s.raw {
			s.raw[i].out = false
		}
	} else {
		for i := range s.coded {
			s.coded[i].out = false
		}
	}
	return err
}

// giveCoded queues a buffer for the stream.
func (s *session) giveCoded(i int) error {
	c := &s.coded[i]
	s.arg = parcel{side: codedSide, memory: memoryMMAP, index: uint32(i), planes: 1}
	s.arg.length[0] = uint32(len(c.bytes))
	if e := s.c.queue(&s.arg); e != 0 {
		return fmt.Errorf("queue a buffer for the stream: %w", e)
	}
	c.out = true
	return nil
}

// freeRaw gives a buffer for a picture, if there is one: with DMA buffers the one that was
// last queued with the same memory, which the kernel then finds mapped.
func (s *session) freeRaw(fd int) (int, bool) {
	found := -1
	for i := range s.raw {
		switch r := &s.raw[i]; {
		case r.out:
		case s.memory == memoryMMAP || r.fd == int32(fd):
			return i, true
		case found < 0 || r.fd < 0 && s.raw[found].fd >= 0:
			found = i
		}
	}
	return found, found >= 0
}

// giveRaw queues a picture.
func (s *session) giveRaw(i, fd int, stamp int64) unix.Errno {
	r := &s.raw[i]
	s.arg = parcel{side: rawSide, memory: s.memory, index: uint32(i), planes: s.layout.pieces, stamp: stamp}
	for k := range s.layout.pieces {
		s.arg.used[k] = uint32(s.layout.bytes[k])
		if s.memory == memoryMMAP {
			s.arg.length[k] = uint32(len(r.pieces[k]))
		} else { // of a DMA buffer the kernel knows the length
			s.arg.fd[k], r.fd = int32(fd), int32(fd)
		}
	}
	e := s.c.queue(&s.arg)
	r.out = e == 0
	return e
}

// takeRaw takes a picture's buffer back, if one is done.
func (s *session) takeRaw() (i int, e unix.Errno) {
	for {
		s.arg = parcel{side: rawSide, memory: s.memory, planes: s.layout.pieces}
		if e := s.c.dequeue(&s.arg); e != 0 {
			return -1, e
		}
		if i := s.arg.index; int(i) < len(s.raw) && s.raw[i].out {
			s.raw[i].out = false
			return int(i), 0
		} // a driver that counts wrong
	}
}

// takeCoded takes a buffer of the stream, if there is one: its bytes are valid until it is
// given back.
func (s *session) takeCoded() (i int, e unix.Errno) {
	for {
		s.arg = parcel{side: codedSide, memory: memoryMMAP, planes: 1}
		if e := s.c.dequeue(&s.arg); e != 0 {
			return -1, e
		}
		if i := s.arg.index; int(i) < len(s.coded) && s.coded[i].out {
			s.coded[i].out = false
			return int(i), 0
		}
	}
}

// data gives the stream in the buffer that takeCoded took last.
func (s *session) data() []byte {
	b := s.coded[s.arg.index].bytes
	used, skip := int(s.arg.used[0]), int(s.arg.skip)
	if used > len(b) || skip > used {
		return nil // a driver that counts wrong
	}
	return b[skip:used]
}

// rawOut is how many pictures the driver has.
func (s *session) rawOut() (n int) {
	for i := range s.raw {
		if s.raw[i].out {
			n++
		}
	}
	return n
}

// ready waits until there is something to take; false when the time is up. That poll gives
// nothing but an error says that the driver has given up.
func (s *session) ready(events int16, wait time.Duration) (bool, error) {
	got, err := s.c.poll(events, wait)
	switch {
	case err != nil:
		return false, fmt.Errorf("wait for the driver: %w", err)
	case got&unix.POLLHUP != 0:
		return false, fmt.Errorf("wait for the driver: %w", unix.ENODEV)
	case got&(events|unix.POLLERR) == unix.POLLERR:
		return false, fmt.Errorf("wait for the driver: %w", errGaveUp)
	}
	return got&events != 0, nil
}

// errGaveUp is what poll's error means.
var errGaveUp = fmt.Errorf("it has given up: %w", unix.EIO)

// drain lets the driver finish what it has; each buffer of the stream that comes goes to
// take. It ends by itself when limit is over: a driver may never say that it is done.
func (s *session) drain(limit time.Duration, take func(i int) error) error {
	if s.endless {
		return errNoEnd
	}
	if err := s.c.command(cmdStop); err != nil {
		return nil // it knows no such thing
	}
	for end := media.Now().Add(limit); !s.ended; {
		left := end.Sub(media.Now())
		if left <= 0 {
			s.endless = true // and is not asked again: some count how often
			return errNoEnd
		}
		if _, err := s.ready(unix.POLLIN, left); err != nil {
			return err
		}
		for {
			i, e := s.takeCoded()
			if e == unix.EAGAIN {
				break
			}
			if e == unix.EPIPE {
				s.ended = true
				break
			}
			if e != 0 {
				return e
			}
			last := s.arg.flags&flagLast != 0
			if err := take(i); err != nil {
				return err
			}
			s.ended = s.ended || last
		}
	}
	return nil
}

// errNoEnd says that a drain had no end.
var errNoEnd = errors.New("the driver does not finish what it has")

// restart ends the coded side's stream and begins it anew: the next picture is a key
// picture with its parameter sets
// (https://docs.kernel.org/userspace-api/media/v4l/dev-encoder.html#reset).
func (s *session) restart() error {
	if err := s.stopSide(codedSide); err != nil {
		return fmt.Errorf("stop the stream: %w", err)
	}
	for i := range s.coded {
		if err := s.giveCoded(i); err != nil {
			return err
		}
	}
	s.ended = false
	if err := s.startSide(codedSide); err != nil {
		return fmt.Errorf("start the stream again: %w", err)
	}
	return nil
}

// close gives everything back, as far as it came.
func (s *session) close() error {
	var errs []error
	note := func(what string, err error) {
		if err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	note("stop the pictures", s.stopSide(rawSide))
	note("stop the stream", s.stopSide(codedSide))
	unmap := func(b []byte) {
		if b != nil {
			note("unmap a buffer", s.c.munmap(b))
		}
	}
	for i := range s.raw {
		for _, b := range s.raw[i].pieces {
			unmap(b)
		}
	}
	for i := range s.coded {
		unmap(s.coded[i].bytes)
	}
	if s.raw != nil {
		_, err := s.c.request(rawSide, s.memory, 0)
		note("give the pictures' buffers back", err)
	}
	if s.coded != nil {
		_, err := s.c.request(codedSide, memoryMMAP, 0)
		note("give the stream's buffers back", err)
	}
	s.raw, s.coded = nil, nil
	note("close", s.c.close())
	return errors.Join(errs...)
}
