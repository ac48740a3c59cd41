package rtc

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// How many packets one flush takes. The kernel's bounds for one GSO message are 64
// segments (UDP_MAX_SEGMENTS in include/linux/udp.h; 128 from 6.9 on) and a UDP
// datagram's 65507 bytes. A larger picture leaves in several flushes.
const (
	maxBatch = 64
	maxBytes = 65000
)

// socket is the UDP socket below ICE's mux. It sends a picture in one system call: it
// keeps the packets of the stream that batch named until the one with the marker, then
// sends all as one GSO message, or with one sendmmsg where the kernel or the route
// does not do that, or one by one where even that is missing. Everything else (STUN,
// DTLS, RTCP, sound, packets sent again) leaves at once. SRTP leaves the RTP header
// readable, so the packets themselves say which is what.
//
// Its system calls never block: the runtime's poller waits instead, and they are made
// raw, because entering an ordinary system call wakes the runtime's monitor thread,
// which costs more than sending does.
type socket struct {
	*net.UDPConn
	raw   syscall.RawConn
	local *net.UDPAddr
	inet6 bool // the socket's family: IPv4 is mapped (RFC 4291 2.5.5.2)

	video atomic.Uint64 // SSRC of the stream to batch, with bit 32 set; 0: none
	mode  atomic.Int32
	many  sendFunc
	one   sendFunc

	in  receiver
	out transmitter // batched packets
	now transmitter // the others

	sent sent
}

// sent counts what the socket did.
type sent struct {
	messages, packets, lost atomic.Uint64 // lost: packets that the kernel refused
}

// longestWait is how long a full socket buffer may hold up its writer: a picture that
// could not leave for so long is worth nothing any more.
const longestWait = time.Second

// The ways to send a batch, best first.
const (
	modeGSO int32 = iota
	modeMany
	modeSingle
)

// receiver is what one read needs.
type receiver struct {
	mu   sync.Mutex
	buf  []byte
	n    int
	err  error
	name sockaddr
	call func(fd uintptr) bool
}

// transmitter is a batch and what sending it needs.
type transmitter struct {
	mu    sync.Mutex
	arena []byte
	ends  [maxBatch]int // of each packet in the arena
	n     int
	to    netip.AddrPort
	next  uint16 // the sequence number that continues the batched stream
	begun bool

	kernel outbox
	call   func(fd uintptr) bool
}

// openSocket opens a socket on all addresses, of both families where there are two.
// Its buffer holds a key picture.
func openSocket(port int) (*socket, error) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
	if err != nil {
		return nil, fmt.Errorf("open UDP port %d: %w", port, err)
	}
	_ = c.SetWriteBuffer(1 << 20) // as much as the kernel allows
	s, err := newSocket(c)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return s, nil
}

func newSocket(c *net.UDPConn) (*socket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("use UDP socket: %w", err)
	}
	s := &socket{UDPConn: c, raw: raw}
	s.local, _ = c.LocalAddr().(*net.UDPAddr)
	if err := s.probe(); err != nil {
		return nil, fmt.Errorf("use UDP socket: %w", err)
	}
	s.many, s.one = sendMany, sendOne
	s.in.call = s.receive
	s.out.arena = make([]byte, 0, maxBytes)
	s.now.arena = make([]byte, 0, maxBytes)
	s.out.call = func(fd uintptr) bool { return s.transmit(&s.out, fd) }
	s.now.call = func(fd uintptr) bool { return s.transmit(&s.now, fd) }
	return s, nil
}

// batch names the stream whose packets leave together.
func (s *socket) batch(ssrc uint32) { s.video.Store(1<<32 | uint64(ssrc)) }

// WriteToAddrPort is ice.AddrPortReaderWriter's. A packet that is kept for the rest of
// its picture counts as written; that it was not is seen by the socket's counters.
func (s *socket) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	o := &s.out
	if !s.batched(b) {
		return s.single(b, to)
	}
	seq := binary.BigEndian.Uint16(b[2:])
	o.mu.Lock()
	if o.begun && int16(seq-o.next) < 0 { // sent again
		o.mu.Unlock()
		return s.single(b, to)
	}
	defer o.mu.Unlock()
	o.begun, o.next = true, seq+1
	if o.n > 0 && (o.to != to || o.n == maxBatch || len(o.arena)+len(b) > maxBytes) {
		_ = s.send(o) // counted
	}
	o.push(b, to)
	if b[1]&0x80 != 0 {
		if err := s.send(o); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// batched tells RTP of the named stream from everything else on the socket (RFC 7983,
// RFC 5761 4).
func (s *socket) batched(b []byte) bool {
	if len(b) < rtpHeader || len(b) > 2*mtu || b[0]>>6 != 2 || b[1] >= 192 && b[1] <= 223 {
		return false
	}
	return s.video.Load() == 1<<32|uint64(binary.BigEndian.Uint32(b[8:]))
}

func (s *socket) single(b []byte, to netip.AddrPort) (int, error) {
	o := &s.now
	if len(b) > maxBytes {
		return 0, syscall.EMSGSIZE
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.push(b, to)
	if err := s.send(o); err != nil {
		return 0, err
	}
	return len(b), nil
}

// flush sends what waits for a marker that did not come.
func (s *socket) flush() {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	if s.out.n > 0 {
		_ = s.send(&s.out) // counted
	}
}

func (o *transmitter) push(b []byte, to netip.AddrPort) {
	o.arena = append(o.arena, b...)
	o.ends[o.n] = len(o.arena)
	o.n++
	o.to = to
}

// send empties the batch, whatever happens to it.
func (s *socket) send(o *transmitter) error {
	k := &o.kernel
	k.done, k.err = 0, nil
	err := s.address(&k.name, o.to)
	if err == nil {
		err = s.raw.Write(o.call)
	}
	if k.full {
		k.full = false
		_ = s.SetWriteDeadline(time.Time{})
	}
	s.sent.lost.Add(uint64(o.n - k.done))
	o.arena, o.n = o.arena[:0], 0
	if err != nil {
		return err
	}
	return k.err
}

// ReadFromAddrPort is ice.AddrPortReaderWriter's.
func (s *socket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	r := &s.in
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buf, r.err = b, nil
	err := s.raw.Read(r.call)
	r.buf = nil
	if err == nil {
		err = r.err
	}
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	return r.n, r.name.addrPort(), nil
}

// quiet waits until a closed socket's reader has noticed.
func (s *socket) quiet() {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
}

// ReadFrom is net.PacketConn's.
func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	n, a, err := s.ReadFromAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(a), nil
}

// WriteTo is net.PacketConn's.
func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, syscall.EAFNOSUPPORT
	}
	return s.WriteToAddrPort(b, u.AddrPort())
}

// LocalAddr is net.PacketConn's.
func (s *socket) LocalAddr() net.Addr { return s.local }
