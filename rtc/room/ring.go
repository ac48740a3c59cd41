package room

import "sync"

// ringSize is how many packets can be sent again: at 2.5 Mbit/s about two seconds. A power of
// two.
const ringSize = 512

// ring keeps the last packets of one source for all its viewers. All its memory is there from
// the start.
type ring struct {
	mu    sync.Mutex
	slots [ringSize]slot
	arena []byte
}

type slot struct {
	p    packet // without payload
	size int
	full bool
}

func newRing() *ring { return &ring{arena: make([]byte, ringSize*maxPacket)} }

func (r *ring) put(p *packet) {
	i := int(p.seq) % ringSize
	r.mu.Lock()
	s := &r.slots[i]
	s.p, s.full = *p, true
	s.p.payload = nil
	s.size = copy(r.arena[i*maxPacket:(i+1)*maxPacket], p.payload)
	r.mu.Unlock()
}

// get copies packet seq to p and its payload to buf, which has room for maxPacket bytes.
func (r *ring) get(seq uint16, p *packet, buf []byte) bool {
	i := int(seq) % ringSize
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.slots[i]
	if !s.full || s.p.seq != seq {
		return false
	}
	*p = s.p
	p.payload = buf[:copy(buf, r.arena[i*maxPacket:i*maxPacket+s.size])]
	return true
}
