package media

import "sync"

// Wish is what one sink (a room, a preview, a recorder) wants of the parts upstream.
type Wish struct {
	// Subscribed says that somebody takes what is made. A sink that does not know says
	// true: only a room that says that nobody subscribes lets the encoder rest.
	Subscribed bool
	// Bitrate is the most that the sink can carry, bits a second; 0 is no opinion.
	Bitrate int
	// Turn says that the sink passes Turn on to its receivers (CVO was negotiated), so
	// that pictures need not be turned in pixels.
	Turn bool
	// Loss is the share of packets lost on the sink's way, 0…1: sound protects itself
	// against it (Opus in-band FEC).
	Loss float64
}

// KeyWish says how soon a key picture is wanted.
type KeyWish int

// The wishes, in rising urgency.
const (
	NoKey   KeyWish = iota
	KeySoon         // a receiver lost something (PLI, FIR): at most one a second
	KeyNow          // somebody new waits in front of a black picture
)

// Demand is the one thing that flows back upstream: the wishes of all sinks merged
// into one. The zero Demand has no sinks and wants nothing.
type Demand struct {
	mu     sync.Mutex
	sinks  []*Sink
	merged Wish
	key    KeyWish
	notify []chan struct{}
}

// Sink is one sink's side of a Demand.
type Sink struct {
	d    *Demand
	wish Wish
}

// Sink adds a sink, which wants nothing until it says so.
func (d *Demand) Sink() *Sink {
	s := &Sink{d: d}
	d.mu.Lock()
	d.sinks = append(d.sinks, s)
	d.mu.Unlock()
	return s
}

// Set replaces the sink's wish.
func (s *Sink) Set(w Wish) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if s.wish != w {
		s.wish = w
		s.d.merge()
	}
}

// Wish gives what was last set.
func (s *Sink) Wish() Wish {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	return s.wish
}

// WantKey asks for a key picture.
func (s *Sink) WantKey(k KeyWish) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if k > s.d.key {
		s.d.key = k
		s.d.tell()
	}
}

// Close takes the sink out.
func (s *Sink) Close() {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	for i, o := range s.d.sinks {
		if o == s {
			s.d.sinks = append(s.d.sinks[:i], s.d.sinks[i+1:]...)
			break
		}
	}
	s.d.merge()
}

// Wish gives the merged wish: somebody is subscribed if any sink is; the bit rate is
// the lowest that a subscribed sink named; turns are passed on only if every
// subscribed sink does so; the loss is the worst.
func (d *Demand) Wish() Wish {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.merged
}

// Key gives the wish for a key picture without taking it.
func (d *Demand) Key() KeyWish {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.key
}

// KeyMade says that a key picture was made: the wish is fulfilled.
func (d *Demand) KeyMade() {
	d.mu.Lock()
	d.key = NoKey
	d.mu.Unlock()
}

// Changed gives a channel that is signalled after each change; one slow reader misses
// nothing but the count of the changes. remove ends it.
func (d *Demand) Changed() (c <-chan struct{}, remove func()) {
	ch := make(chan struct{}, 1)
	d.mu.Lock()
	d.notify = append(d.notify, ch)
	d.mu.Unlock()
	return ch, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for i, o := range d.notify {
			if o == ch {
				d.notify = append(d.notify[:i], d.notify[i+1:]...)
				break
			}
		}
	}
}

func (d *Demand) merge() {
	var m Wish
	turn := true
	for _, s := range d.sinks {
		w := s.wish
		if !w.Subscribed {
			continue
		}
		m.Subscribed = true
		if w.Bitrate > 0 && (m.Bitrate == 0 || w.Bitrate < m.Bitrate) {
			m.Bitrate = w.Bitrate
		}
		turn = turn && w.Turn
		m.Loss = max(m.Loss, w.Loss)
	}
	m.Turn = turn && m.Subscribed
	if m != d.merged {
		d.merged = m
		d.tell()
	}
}

func (d *Demand) tell() {
	for _, c := range d.notify {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
