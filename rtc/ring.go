package rtc

import (
	"sync"
	"time"

	"github.com/pion/rtp"

	"anchord/internal/media"
)

// ring keeps the newest packets of one stream as they were sent, header and payload,
// in memory that was allocated once.
type ring struct {
	mu    sync.Mutex
	slots []slot // a power of two, indexed by sequence number
	buf   []byte // slotSize bytes for each
}

type slot struct {
	used   bool
	seq    uint16
	head   uint16 // bytes of header
	size   uint16 // … with payload
	resent media.Time
}

const slotSize = mtu - srtpTag + 8 // and some air for an extension that was not counted on

// newRing makes a ring for n packets, a power of two.
func newRing(n int) *ring { return &ring{slots: make([]slot, n), buf: make([]byte, n*slotSize)} }

// put keeps a packet; one that is too large is not kept.
func (r *ring) put(h *rtp.Header, payload []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := int(h.SequenceNumber) & (len(r.slots) - 1)
	s, b := &r.slots[i], r.buf[i*slotSize:(i+1)*slotSize]
	s.used = false
	n, err := h.MarshalTo(b)
	if err != nil || n+len(payload) > len(b) {
		return
	}
	copy(b[n:], payload)
	*s = slot{used: true, seq: h.SequenceNumber, head: uint16(n), size: uint16(n + len(payload))}
}

// get copies a packet to b, which has slotSize bytes, for sending it again, and gives
// the lengths of its header and of all of it. ok is false when the packet is not there
// (any more) or was given less than gap ago.
func (r *ring) get(seq uint16, now media.Time, gap time.Duration, b []byte) (head, size int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := int(seq) & (len(r.slots) - 1)
	s := &r.slots[i]
	if !s.used || s.seq != seq || s.resent != 0 && now.Sub(s.resent) < gap {
		return 0, 0, false
	}
	s.resent = now
	copy(b, r.buf[i*slotSize:][:s.size])
	return int(s.head), int(s.size), true
}

// allowance bounds how often something is done: resendBurst times at once, and every resendEvery
// in the long run.
type allowance struct{ paid media.Time }

// full says whether it was done too often.
func (p *allowance) full(now media.Time) bool { return p.paid.Sub(now) >= resendBurst*resendEvery }

// take counts that it is done.
func (p *allowance) take(now media.Time) { p.paid = max(p.paid, now).Add(resendEvery) }
