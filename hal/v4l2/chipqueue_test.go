package v4l2

import (
	"time"

	"golang.org/x/sys/unix"

	"anchord/internal/media"
)

func (s *seat) stream(side side, on bool) error {
	name := "streamoff"
	if on {
		name = "streamon"
	}
	if err := s.call(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if on && int(s.controls[cidLevel]) < s.minLevel {
		return unix.ESRCH
	}
	if s.on[side] = on; !on {
		s.queued[side], s.done[side] = nil, nil
		if side == codedSide {
			s.drains, s.over = false, false
			s.started = s.started && s.keyless["restart"]
		} else {
			s.waiting = nil
		}
		return nil
	}
	if s.told == 0 || !s.deaf {
		s.told = int(s.controls[cidBitrate])
	}
	s.work()
	return nil
}

func (s *seat) command(cmd uint32) error {
	if err := s.call("command"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if cmd == cmdStop && !s.endless {
		s.drains = true
		s.work()
	}
	return nil
}

func (s *seat) queue(p *parcel) unix.Errno {
	if err := s.call("queue"); err != nil {
		return err.(unix.Errno)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.memory == memoryDMABUF {
		if s.farDMA {
			return unix.EINVAL
		}
		s.imported++
	}
	s.queued[p.side] = append(s.queued[p.side], *p)
	s.work()
	return 0
}

func (s *seat) dequeue(p *parcel) unix.Errno {
	if err := s.call("dequeue"); err != nil {
		return err.(unix.Errno)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.done[p.side]
	if len(d) == 0 {
		if p.side == codedSide && s.over {
			return unix.EPIPE
		}
		return unix.EAGAIN
	}
	*p = shift(&s.done[p.side])
	return 0
}

func (s *seat) poll(events int16, wait time.Duration) (int16, error) {
	if err := s.call("poll"); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.work()
	if got := s.state() & events; got != 0 {
		return got, nil
	}
	// A cond knows no time: this broadcasts when it is up. It is stopped, and waited for,
	// before poll returns.
	up, ended := false, make(chan struct{})
	t := time.AfterFunc(wait, func() {
		s.mu.Lock()
		up = true
		s.mu.Unlock()
		s.woken.Broadcast()
		close(ended)
	})
	defer func() {
		if !t.Stop() {
			s.mu.Unlock()
			<-ended
			s.mu.Lock()
		}
	}()
	for {
		s.work()
		if got := s.state() & events; got != 0 || up {
			return got, nil
		}
		s.woken.Wait()
	}
}

func (s *seat) state() (got int16) {
	if len(s.done[codedSide]) > 0 || s.over {
		got |= unix.POLLIN
	}
	if len(s.done[rawSide]) > 0 {
		got |= unix.POLLOUT
	}
	return got
}

// shift takes the first of a list, and lets its memory be used again.
func shift(l *[]parcel) parcel {
	p := (*l)[0]
	*l = append((*l)[:0], (*l)[1:]...)
	return p
}

// work does what can be done now; mu is held.
func (s *seat) work() {
	for s.on[rawSide] && s.on[codedSide] && !s.stuck && len(s.queued[rawSide]) > 0 {
		p := shift(&s.queued[rawSide])
		s.waiting = append(s.waiting, p)
		if !s.holdsRaw {
			s.done[rawSide] = append(s.done[rawSide], p)
		}
	}
	for s.on[codedSide] && len(s.queued[codedSide]) > 0 && !s.over {
		keep := s.holds
		if s.drains {
			keep = 0
		}
		if len(s.waiting) <= keep || s.stuck {
			break
		}
		if !s.code() {
			return
		}
	}
	if s.drains && len(s.waiting) == 0 && len(s.queued[rawSide]) == 0 && !s.over && len(s.queued[codedSide]) > 0 {
		s.give(nil, 0, flagLast)
		s.over = true
	}
	s.woken.Broadcast()
}

// give fills the next stream buffer; false if there is none.
func (s *seat) give(data []byte, stamp int64, flags uint32) bool {
	if len(s.queued[codedSide]) == 0 {
		return false
	}
	p := shift(&s.queued[codedSide])
	b := s.bufs[codedSide][p.index]
	if len(data) > len(b) {
		data, flags = nil, flags|flagError
	}
	p.used[0], p.stamp, p.flags = uint32(copy(b, data)), stamp, flags
	s.done[codedSide] = append(s.done[codedSide], p)
	return true
}

// code codes the oldest picture that waits; false if a buffer is missing.
func (s *seat) code() bool {
	p := shift(&s.waiting)
	if s.holdsRaw {
		s.done[rawSide] = append(s.done[rawSide], p)
	}
	s.pictures++
	if s.garbage {
		s.garbage = false
		s.give([]byte("rubbish that no decoder knows"), 0, 0)
	}
	stamp := p.stamp
	if s.mangles {
		stamp = int64(s.pictures) * 7
	}
	switch {
	case s.broken > 0:
		s.broken--
		return s.give(nil, stamp, flagError)
	case s.shy > 0:
		s.shy--
		return true
	case s.skips > 0 && s.pictures%s.skips == 0 && !s.keyNext && s.started:
		return true
	}
	if s.canned != nil && s.started && !s.keyNext {
		return s.give(s.canned, stamp, 0)
	}
	isKey := !s.started || s.keyNext || s.controls[cidGOPSize] > 0 && s.pictures%int(s.controls[cidGOPSize]) == 0
	var au []byte
	sets := parameterSets(media.Size{W: int(s.area.width), H: int(s.area.height)}, media.Size{W: int(s.formats[rawSide].width), H: int(s.formats[rawSide].height)})
	if isKey && (!s.once || !s.started) {
		if s.apart {
			s.give(sets, stamp, 0)
		} else {
			au = append(au, sets...)
		}
	}
	s.started, s.keyNext = true, false
	au = append(au, s.slice(isKey)...)
	s.number++
	if s.split > 0 && len(au) > s.split {
		s.give(au[:s.split], stamp, 0)
		return s.give(au[s.split:], stamp, 0)
	}
	var flags uint32
	if s.ends > 0 && s.pictures == s.ends {
		s.ends, s.over, flags = 0, true, flagLast
	}
	return s.give(au, stamp, flags) // and never flagKeyframe
}

// slice makes a picture of the size that the bit rate asks for. A key picture is three
// times as large, and those after it are smaller for it.
func (s *seat) slice(isKey bool) []byte {
	bits := s.told
	if !s.deaf {
		bits = int(s.controls[cidBitrate])
	}
	if s.liar > 0 {
		bits = s.liar
	}
	n := 4000
	if s.num > 0 {
		n = bits / 8 * int(s.num) / int(s.den)
	}
	if isKey {
		s.credit += 2 * n
		n *= 3
	} else if d := min(s.credit, n/4); d > 0 {
		s.credit -= d
		n -= d
	}
	out := []byte{0, 0, 0, 1, 0x41}
	if isKey {
		out[4] = 0x65
	}
	out = append(out, 0x80|byte(s.number>>21), 0x80|byte(s.number>>14), 0x80|byte(s.number>>7), 0x80|byte(s.number))
	for i := len(out); i < n; i++ {
		out = append(out, byte(i)|1)
	}
	return out
}

// parameterSets makes an SPS for visible pictures within coded ones, and a PPS.
func parameterSets(visible, coded media.Size) []byte {
	var w bitWriter
	w.u(8, 66)
	w.u(8, 0xc0)
	w.u(8, 31)
	for _, v := range []uint{0, 0, 2, 1} { // id, log2_max_frame_num, pic_order_cnt_type, references
		w.ue(v)
	}
	w.u(1, 0)
	mw, mh := (coded.W+15)/16, (coded.H+15)/16
	w.ue(uint(mw - 1))
	w.ue(uint(mh - 1))
	w.u(2, 3)
	w.u(1, 1)
	w.ue(0)
	w.ue(uint(mw*16-visible.W) / 2)
	w.ue(0)
	w.ue(uint(mh*16-visible.H) / 2)
	w.u(1, 0)
	w.u(1, 1)
	out := []byte{0, 0, 0, 1, 0x67}
	zeros := 0
	for _, b := range w.bytes() {
		if zeros >= 2 && b <= 3 {
			out, zeros = append(out, 3), 0
		}
		if out = append(out, b); b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return append(out, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80)
}

type bitWriter struct {
	b []byte
	n int
}

func (w *bitWriter) u(n int, v uint) {
	for i := n - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
}

func (w *bitWriter) ue(v uint) {
	n := 0
	for x := v + 1; x > 1; x >>= 1 {
		n++
	}
	w.u(n, 0)
	w.u(n+1, v+1)
}

func (w *bitWriter) bytes() []byte { return w.b }
