package worker

import (
	"sync"

	"anchord/internal/media"
)

// area is the memory that a worker writes packets into: a ring, and behind it room for
// one more, which is copied out at once. A packet is lent from the ring without a copy; the
// worker is told where to write, and gets no place that a reader still has. What a reader
// sees are bytes of another process: nothing about them may be believed that was not
// checked, not even that they stay the same.
type area struct {
	mu     sync.Mutex
	shared *media.Shared
	users  int // the encoder, and every packet that is out
	room   int // the longest packet
	ring   int // bytes of the ring; the room behind it begins here
	head   int // where the next packet goes

	slots       [maxPackets]slot // a ring too: packets in the order in which they were made
	first, used int
	copies      *media.Pool[*media.Packet]
}

// maxPackets is how many packets can be out at a time without a copy, and with one: some
// seconds of a queue, what is resent and a recorder's.
const maxPackets = 128

type slot struct {
	packet *media.Packet
	at, n  int
	home   bool
}

// newArea makes memory for the packets of pictures of format f.
func newArea(f media.Format) (*area, error) {
	// A coded picture has at most half the bytes of the picture itself (MinCR in H.264
	// table A-1), and small ones get some room for parameter sets and SEI.
	room := align(f.Bytes()/2+1<<16, 4096)
	// A ring that is smaller could not go round: a packet needs all its room at first.
	s, err := media.NewShared("anchord-packets", 4*room, false)
	if err != nil {
		return nil, err
	}
	return &area{shared: s, users: 1, room: room, ring: 3 * room, copies: media.NewPackets(4096, maxPackets)}, nil
}

func align(n, to int) int { return (n + to - 1) / to * to }

// reserve gives the place for the next packet, and a packet to copy it into when it is
// not in the ring. It says no when readers have all that can be out.
func (a *area) reserve() (at int, spare *media.Packet, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at, ok := a.free(); ok {
		a.head = at
		return at, nil, true
	}
	spare = a.copies.Get()
	return a.ring, spare, spare != nil
}

// free finds a place with enough room in the ring; mu is held.
func (a *area) free() (at int, ok bool) {
	if a.used == 0 {
		return 0, true
	}
	tail := a.slots[a.first].at
	switch {
	case a.used == maxPackets:
		return 0, false
	case a.head < tail: // it has gone round
		return a.head, tail-a.head > a.room // never up to the tail: that would look like empty
	case a.ring-a.head >= a.room:
		return a.head, true
	}
	return 0, tail > a.room
}

// lend makes a packet of n bytes at the place that reserve gave.
func (a *area) lend(at, n int) *media.Packet {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := (a.first + a.used) % maxPackets
	s := &a.slots[i]
	if s.packet == nil {
		s.packet = media.NewPacket(func(*media.Packet) { a.back(i) })
	}
	s.at, s.n, s.home = at, n, false
	a.used++
	a.users++
	a.head = at + align(n, 64)
	p := s.packet
	p.Data, p.Turn, p.Marks = a.shared.Bytes[at:at+n:at+n], media.Turn{}, media.Marks{}
	return p.Lend()
}

// bytes gives what the worker wrote.
func (a *area) bytes(at, n int) []byte { return a.shared.Bytes[at : at+n : at+n] }

// back takes the packet of slot i home. Places are given back in the order in which they
// were taken.
func (a *area) back(i int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.slots[i].home = true
	a.slots[i].packet.Data = nil
	for a.used > 0 && a.slots[a.first].home {
		a.first = (a.first + 1) % maxPackets
		a.used--
	}
	a.leave()
}

// close gives the memory back as soon as no packet is out.
func (a *area) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leave()
}

func (a *area) leave() {
	if a.users--; a.users == 0 {
		a.shared.Close()
	}
}
