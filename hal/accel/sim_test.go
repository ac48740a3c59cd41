package accel

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"anchord/internal/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// simChip is a chip as its data sheet has it: registers, of which those with samples follow
// what there is to measure once it was switched on.
type simChip struct {
	address  uint16
	id, is   byte    // the register that says which it is, and what it says
	data     byte    // first register of the samples
	repeat   byte    // bit of a register's number without which it is read again and again
	on       [3]byte // register, bits and their value when it measures
	big      bool
	perG     float64 // steps
	shift    uint    // to the left
	frozen   byte    // register whose bit 0 forbids changes of others (MMA8452)
	register [128]byte
}

func chips() []*simChip {
	return []*simChip{
		{address: 0x19, id: 0x0f, is: 0x33, data: 0x28, repeat: 0x80, on: [3]byte{0x20, 0xf7, 0x47}, perG: 1000, shift: 4},
		{address: 0x18, id: 0x0f, is: 0x11, data: 0x28, repeat: 0x80, on: [3]byte{0x20, 0xf7, 0x47}, perG: 1000, shift: 4},
		{address: 0x1c, id: 0x0d, is: 0x2a, data: 0x01, on: [3]byte{0x2a, 1, 1}, big: true, perG: 1024, shift: 4, frozen: 0x2a},
		{address: 0x1d, id: 0x0d, is: 0x1a, data: 0x01, on: [3]byte{0x2a, 1, 1}, big: true, perG: 4096, shift: 2, frozen: 0x2a},
		{address: 0x53, id: 0x00, is: 0xe5, data: 0x32, on: [3]byte{0x2d, 8, 8}, perG: 256},
		{address: 0x0e, id: 0x0f, is: 0x0a, data: 0x06, on: [3]byte{0x1b, 0x80, 0x80}, perG: 1024, shift: 4},
	}
}

// sim is a bus with the chips on it. It fails on demand.
type sim struct {
	t *testing.T

	mu     sync.Mutex
	chips  []*simChip
	up     media.Vector
	fails  int
	err    error // of those
	hang   chan struct{}
	seen   map[uint16]int // requests, by address
	opened int
}

func newSim(t *testing.T) *sim {
	s := &sim{t: t, chips: chips(), err: unix.EIO, seen: map[uint16]int{}}
	for _, c := range s.chips {
		c.register[c.id] = c.is
	}
	return s
}

func (s *sim) open(bus int, _ uint16) (i2c.BusCloser, error) {
	if bus != 1 {
		return nil, cause(fmt.Errorf("open: %w", unix.ENOENT))
	}
	s.mu.Lock()
	s.opened++
	s.mu.Unlock()
	return s, nil
}

func (s *sim) Close() error {
	s.mu.Lock()
	s.opened--
	s.mu.Unlock()
	return nil
}

func (s *sim) String() string                  { return "sim" }
func (s *sim) SetSpeed(physic.Frequency) error { return nil }

// Tx implements i2c.Bus, with errors as periph makes them.
func (s *sim) Tx(address uint16, w, r []byte) error {
	s.mu.Lock()
	hang := s.hang
	s.mu.Unlock()
	if hang != nil {
		<-hang
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[address]++
	if s.fails > 0 {
		s.fails--
		return fmt.Errorf("sysfs-i2c: %v", s.err)
	}
	for _, c := range s.chips {
		if c.address == address {
			c.tx(s.up, w, r)
			return nil
		}
	}
	return fmt.Errorf("sysfs-i2c: %v", unix.ENXIO)
}

func (c *simChip) tx(up media.Vector, w, r []byte) {
	at := w[0]
	for i, v := range w[1:] {
		k := at + byte(i)
		if c.frozen != 0 && c.register[c.frozen]&1 == 1 && k != c.frozen {
			continue
		}
		c.register[k] = v
	}
	if c.register[c.on[0]]&c.on[1] == c.on[2] {
		for i, x := range []float64{up.X, up.Y, up.Z} {
			v := uint16(int16(math.Round(x/media.Gravity*c.perG)) << c.shift)
			low, high := c.data+byte(2*i), c.data+byte(2*i)+1
			if c.big {
				low, high = high, low
			}
			c.register[low], c.register[high] = byte(v), byte(v>>8)
		}
	}
	for i := range r {
		k := at &^ c.repeat
		if c.repeat == 0 || at&c.repeat != 0 {
			k += byte(i)
		}
		r[i] = c.register[k]
	}
}

// with changes the bus.
func (s *sim) with(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// until waits for cond.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not: %s", what)
		}
	}
}
