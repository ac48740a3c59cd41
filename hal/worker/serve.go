package worker

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// keeps is how many pictures an encoder here may still read after it has answered, as one
// that gives them to hardware does.
const keeps = 4

// Serve is a worker: it opens encoders of make m for who holds the other end of the socket
// fd, which it owns, until that end is closed or says that it is done. It believes the other
// side no more than that side believes it. An error says that the protocol was broken; what
// goes wrong with the encoder is told to the other side.
func Serve(ctx context.Context, fd int, m hal.VideoEncoders) error {
	sock, err := newSocket(fd)
	if err != nil {
		return fmt.Errorf("serve encoder: %w", err)
	}
	defer sock.close()
	stop := context.AfterFunc(ctx, sock.ring)
	defer stop()
	s := server{ctx: ctx, sock: sock, make: m}
	defer s.home()
	for {
		more, err := s.next()
		if errors.Is(err, errEnded) || ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve encoder: %w", err)
		}
		if !more {
			return nil
		}
	}
}

// server is the worker's side.
type server struct {
	ctx  context.Context
	sock *socket
	make hal.VideoEncoders
	w    writer

	greeted bool
	enc     hal.VideoEncoder
	config  hal.VideoConfig
	area    []byte // for packets
	memory  memory // of pictures
}

// next takes one message and answers it; more is false after the last.
func (s *server) next() (more bool, err error) {
	b, fd, err := s.sock.readFD()
	if err != nil {
		return false, err
	}
	k, serial, body, err := header(b)
	if err == nil {
		s.w.begin(k|answer, serial)
		more, err = s.handle(k, &body, fd)
	}
	if fd >= 0 {
		_ = unix.Close(fd) // what is mapped stays mapped, and who needs it has a copy
	}
	if errors.Is(err, errProtocol) {
		return false, err
	}
	if err != nil {
		s.w.begin(refused|answer, serial)
		putRefusal(&s.w, err)
		more = true
	}
	return more, s.sock.write(s.w.bytes(), -1)
}

// handle does what is asked and puts the answer behind the header that is there.
func (s *server) handle(k kind, body *reader, fd int) (more bool, err error) {
	switch {
	case k == hello && !s.greeted:
		err = s.greet(body)
	case !s.greeted:
		err = fmt.Errorf("%w: %v before hello", errProtocol, k)
	case k == open && s.enc == nil:
		err = s.open(body, fd)
	case k == closing:
		return false, s.close()
	case s.enc == nil:
		err = fmt.Errorf("%w: %v while no encoder is open", errProtocol, k)
	case k == mapping:
		err = s.mapRegion(body, fd)
	case k == unmapping:
		var m mapAsk
		if !m.get(body) {
			return false, malformed(k)
		}
		err = s.memory.unmap(m.region)
	case k == encode:
		err = s.encode(body)
	case k == rate:
		err = s.rate(body)
	default:
		err = fmt.Errorf("%w: an unexpected message %v", errProtocol, k)
	}
	return true, err
}

func (s *server) greet(body *reader) error {
	var m helloAsk
	if !m.get(body) {
		return malformed(hello)
	}
	if m.lowest > Version || m.highest < Version {
		return fmt.Errorf("this worker speaks version %d of the protocol, the other side %d to %d: %w", Version, m.lowest, m.highest, hal.ErrUnsupported)
	}
	s.greeted = true
	in := s.make.Inputs()
	helloAnswer{version: Version, keeps: keeps, dmabuf: true, name: s.make.Name(), inputs: in[:min(len(in), maxInputs)]}.put(&s.w)
	return nil
}

func (s *server) open(body *reader, fd int) error {
	var m openAsk
	if !m.get(body) {
		return malformed(open)
	}
	area, err := mapFile(fd, media.Memfd, int(m.area), unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return fmt.Errorf("map the memory for packets: %w", err)
	}
	e, granted, err := s.make.Open(s.ctx, m.config)
	if err != nil {
		_ = unix.Munmap(area)
		return err
	}
	s.enc, s.config, s.area = e, m.config, area
	s.memory.format = m.config.Input
	putConfig(&s.w, granted)
	return nil
}

func (s *server) mapRegion(body *reader, fd int) error {
	var m mapAsk
	if !m.get(body) {
		return malformed(mapping)
	}
	return s.memory.mapRegion(m, fd)
}

func (s *server) encode(body *reader) error {
	var m encodeAsk
	if !m.get(body) {
		return malformed(encode)
	}
	if uint64(m.at)+uint64(m.room) > uint64(len(s.area)) {
		return fmt.Errorf("%w: room for a packet at %d+%d of %d bytes", errProtocol, m.at, m.room, len(s.area))
	}
	f, err := s.memory.picture(m)
	if err != nil {
		return err
	}
	s.memory.sync(f, true)
	p, err := s.enc.Encode(f, m.key)
	s.memory.sync(f, false)
	f.Release()
	if err != nil {
		return err
	}
	a := encodeAnswer{read: s.memory.read()}
	if p != nil {
		defer p.Release()
		if len(p.Data) > int(m.room) {
			return fmt.Errorf("the packet has %d bytes, there is room for %d", len(p.Data), m.room)
		}
		a.length = uint32(copy(s.area[m.at:], p.Data))
		a.key = p.Key
		a.picture = uint32(p.Marks[cookie])
	}
	a.put(&s.w)
	return nil
}

func (s *server) rate(body *reader) error {
	var m rateAsk
	if !m.get(body) {
		return malformed(rate)
	}
	got, err := s.enc.SetRate(m.bitrate, m.rate)
	if err != nil {
		return err
	}
	putGranted(&s.w, got)
	return nil
}

func (s *server) close() error {
	if s.enc == nil {
		return nil
	}
	err := s.enc.Close()
	s.enc = nil
	return err
}

// home gives everything back.
func (s *server) home() {
	_ = s.close() // the other side is gone: nobody could be told
	s.memory.close()
	if s.area != nil {
		_ = unix.Munmap(s.area)
	}
}
