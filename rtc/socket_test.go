package rtc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const videoSSRC = 0xabcdef01

// rtpPacket makes something that looks like SRTP.
func rtpPacket(seq uint16, marker bool, ssrc uint32, size int) []byte {
	b := bytes.Repeat([]byte{byte(seq)}, size)
	b[0], b[1] = 0x80, 102
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	return b
}

// pair gives a socket that batches videoSSRC and a plain one that hears it, of the
// network "udp4", "udp6" or "udp" (both).
func pair(t testing.TB, network string) (s *socket, heard *net.UDPConn, to netip.AddrPort) {
	t.Helper()
	ip := net.IPv4(127, 0, 0, 1)
	if network == "udp6" {
		ip = net.IPv6loopback
	}
	heard, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = heard.Close() })
	_ = heard.SetReadBuffer(4 << 20)
	if network == "udp" {
		s, err = openSocket(0)
	} else {
		var c *net.UDPConn
		if c, err = net.ListenUDP(network, &net.UDPAddr{}); err == nil {
			s, err = newSocket(c)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.batch(videoSSRC)
	return s, heard, heard.LocalAddr().(*net.UDPAddr).AddrPort()
}

// hear reads n packets.
func hear(t testing.TB, c *net.UDPConn, n int) (got [][]byte) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for range n {
		b := make([]byte, 65536)
		k, err := c.Read(b)
		if err != nil {
			t.Fatalf("after %d of %d packets: %v", len(got), n, err)
		}
		got = append(got, b[:k])
	}
	return got
}

// silent tells that nothing more was sent to c: what is sent on loopback is there
// before the send returns.
func silent(t *testing.T, c *net.UDPConn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		if n, _, err := unix.Recvfrom(int(fd), make([]byte, 2000), unix.MSG_DONTWAIT|unix.MSG_PEEK); err != unix.EAGAIN {
			t.Errorf("%d bytes more arrived (%v)", n, err)
		}
	})
}

func TestSocketSendsPictures(t *testing.T) {
	tests := []struct {
		name  string
		sizes []int
		gso   uint64 // messages with GSO
	}{
		{"one packet", []int{700}, 1},
		{"equal, last shorter", []int{1180, 1180, 1180, 900}, 1},
		{"last longer", []int{1180, 1180, 1188}, 2},
		{"parameter sets first", []int{50, 1190, 1190, 400}, 2},
		{"all different", []int{100, 200, 300, 400}, 4},
		{"falling", []int{400, 300, 200, 100}, 2},
		{"100 kB", append(sizes(86, 1184), 700), 2},
		{"tiny", sizes(200, 20), 4},
	}
	for _, network := range []string{"udp4", "udp6", "udp"} {
		for mode, words := range []string{"GSO", "sendmmsg", "sendmsg"} {
			t.Run(network+" "+words, func(t *testing.T) {
				s, heard, to := pair(t, network)
				if mode == int(modeGSO) && s.mode.Load() != modeGSO {
					t.Log("this kernel has no UDP GSO")
				}
				s.mode.Store(max(s.mode.Load(), int32(mode)))
				seq := uint16(65500)
				for _, tt := range tests {
					before := s.sent.messages.Load()
					var want [][]byte
					for i, n := range tt.sizes {
						b := rtpPacket(seq, i == len(tt.sizes)-1, videoSSRC, n)
						if k, err := s.WriteToAddrPort(b, to); k != n || err != nil {
							t.Fatalf("%s: %d, %v", tt.name, k, err)
						}
						want = append(want, bytes.Clone(b))
						clear(b) // pion uses it again
						seq++
					}
					for i, b := range hear(t, heard, len(want)) {
						if !bytes.Equal(b, want[i]) {
							t.Fatalf("%s: packet %d of %d bytes differs (%d bytes)", tt.name, i, len(want[i]), len(b))
						}
					}
					wantMsgs := uint64(len(tt.sizes))
					if s.mode.Load() == modeGSO {
						wantMsgs = tt.gso
					}
					if n := s.sent.messages.Load() - before; n != wantMsgs {
						t.Errorf("%s: %d messages, want %d", tt.name, n, wantMsgs)
					}
				}
				silent(t, heard)
				if n := s.sent.lost.Load(); n != 0 {
					t.Errorf("%d packets lost", n)
				}
			})
		}
	}
}

func sizes(n, size int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = size
	}
	return s
}

func TestSocketSendsTheRestAtOnce(t *testing.T) {
	s, heard, to := pair(t, "udp4")
	write := func(b []byte) {
		t.Helper()
		if n, err := s.WriteToAddrPort(b, to); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
	}
	write(rtpPacket(10, false, videoSSRC, 500))
	write(rtpPacket(11, false, videoSSRC, 500))
	silent(t, heard)
	rest := map[string][]byte{
		"STUN":         append([]byte{0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 20)...),
		"DTLS":         append([]byte{22, 254, 253}, make([]byte, 100)...),
		"RTCP":         append([]byte{0x80, 200, 0, 6, 0xab, 0xcd, 0xef, 0x01, 0xab, 0xcd, 0xef, 0x01}, make([]byte, 30)...),
		"sound":        rtpPacket(1, true, 5, 100),
		"sent again":   rtpPacket(9, true, videoSSRC, 300),
		"the same one": rtpPacket(11, false, videoSSRC, 500),
		"short":        {0x80},
		"huge":         rtpPacket(1, true, 5, 60000),
	}
	for name, b := range rest {
		write(b)
		if got := hear(t, heard, 1)[0]; !bytes.Equal(got, b) {
			t.Errorf("%s: %d bytes arrived instead of %d", name, len(got), len(b))
		}
		silent(t, heard)
	}
	s.flush()
	if got := hear(t, heard, 2); got[0][3] != 10 || got[1][3] != 11 {
		t.Errorf("flush sent %d and %d", got[0][3], got[1][3])
	}
	s.flush()
	silent(t, heard)
	write(rtpPacket(12, false, videoSSRC, 500))
	other := netip.AddrPortFrom(to.Addr(), to.Port()+1)
	if _, err := s.WriteToAddrPort(rtpPacket(13, true, videoSSRC, 500), other); err != nil { // the pair changed in a picture
		t.Log(err)
	}
	if got := hear(t, heard, 1)[0]; got[3] != 12 {
		t.Errorf("packet %d came after the address changed", got[3])
	}
	silent(t, heard)
}

func TestSocketFallsBack(t *testing.T) {
	tests := []struct {
		errno syscall.Errno
		want  int32
	}{
		{unix.EIO, modeMany},
		{unix.EINVAL, modeMany},
		{unix.EMSGSIZE, modeMany},
		{unix.ENOSYS, modeSingle},
	}
	for _, tt := range tests {
		t.Run(tt.errno.Error(), func(t *testing.T) {
			s, heard, to := pair(t, "udp4")
			s.mode.Store(modeGSO)
			s.many = func(fd uintptr, m *[maxBatch]unix.Mmsghdr, n int) (int, syscall.Errno) {
				if tt.errno == unix.ENOSYS || m[0].Hdr.Controllen > 0 {
					return 0, tt.errno
				}
				return sendMany(fd, m, 1) // the kernel may take fewer than it is given
			}
			for round := range 3 {
				for i := range 5 {
					if _, err := s.WriteToAddrPort(rtpPacket(uint16(5*round+i), i == 4, videoSSRC, 1000-10*(i/4)), to); err != nil {
						t.Fatal(err)
					}
				}
				for i, b := range hear(t, heard, 5) {
					if int(b[3]) != 5*round+i {
						t.Errorf("packet %d came as number %d", b[3], 5*round+i)
					}
				}
				if m := s.mode.Load(); m != tt.want {
					t.Errorf("mode %d, want %d", m, tt.want)
				}
			}
		})
	}
}

func TestSocketGivesUpWhatTheKernelRefuses(t *testing.T) {
	s, heard, to := pair(t, "udp4")
	s.mode.Store(modeMany)
	calls := 0
	s.many = func(fd uintptr, m *[maxBatch]unix.Mmsghdr, n int) (int, syscall.Errno) {
		if calls++; calls == 1 {
			return 0, unix.EPERM
		}
		return sendMany(fd, m, n)
	}
	_, err1 := s.WriteToAddrPort(rtpPacket(1, false, videoSSRC, 100), to)
	_, err2 := s.WriteToAddrPort(rtpPacket(2, true, videoSSRC, 100), to)
	if err1 != nil || !errors.Is(err2, unix.EPERM) {
		t.Errorf("errors %v, %v", err1, err2)
	}
	if b := hear(t, heard, 1)[0]; b[3] != 2 {
		t.Errorf("packet %d came", b[3])
	}
	if n := s.sent.lost.Load(); n != 1 {
		t.Errorf("%d lost", n)
	}
	if _, err := s.WriteToAddrPort(rtpPacket(3, true, videoSSRC, 100), netip.MustParseAddrPort("[::1]:9")); !errors.Is(err, unix.EAFNOSUPPORT) {
		t.Errorf("IPv6 on an IPv4 socket: %v", err)
	}
}

func TestSocketWaitsForRoom(t *testing.T) {
	s, heard, to := pair(t, "udp4")
	full := 3
	s.many = func(fd uintptr, m *[maxBatch]unix.Mmsghdr, n int) (int, syscall.Errno) {
		if full--; full >= 0 {
			return 0, unix.EAGAIN
		}
		return sendMany(fd, m, n)
	}
	// The poller says at once that there is room, edge-triggered: once per wake-up. So
	// each try but the first needs a nudge; here it is the deadline that ends the wait.
	_, err := s.WriteToAddrPort(rtpPacket(1, true, videoSSRC, 100), to)
	if err == nil {
		t.Fatal("sent into a full buffer")
	}
	if n := s.sent.lost.Load(); n != 1 {
		t.Errorf("%d lost", n)
	}
	full = 0
	if _, err := s.WriteToAddrPort(rtpPacket(2, true, videoSSRC, 100), to); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	if b := hear(t, heard, 1)[0]; b[3] != 2 {
		t.Errorf("packet %d came", b[3])
	}
}

func TestSocketReads(t *testing.T) {
	for _, network := range []string{"udp4", "udp6", "udp"} {
		t.Run(network, func(t *testing.T) {
			s, other, from := pair(t, network)
			port := s.LocalAddr().(*net.UDPAddr).Port
			for _, n := range []int{1, 100, 1400} {
				b := rtpPacket(uint16(n), false, 1, max(n, 12))[:n]
				if _, err := other.WriteToUDPAddrPort(b, netip.AddrPortFrom(from.Addr(), uint16(port))); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 2000)
				k, a, err := s.ReadFromAddrPort(got)
				if err != nil || a != from || !bytes.Equal(got[:k], b) {
					t.Errorf("%d bytes from %v, %v; want %d from %v", k, a, err, n, from)
				}
			}
			done := make(chan error)
			go func() {
				_, _, err := s.ReadFrom(make([]byte, 10))
				done <- err
			}()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				t.Errorf("reading a closed socket: %v", err)
			}
			s.quiet()
			if _, err := s.WriteToAddrPort([]byte{1}, from); err == nil {
				t.Error("wrote to a closed socket")
			}
		})
	}
}

func TestSocketAllocatesNothing(t *testing.T) {
	s, heard, to := pair(t, "udp")
	seq := uint16(0)
	p := rtpPacket(0, false, videoSSRC, 1180)
	buf := make([]byte, 2000)
	_, port, err := net.SplitHostPort(s.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	self := netip.MustParseAddrPort("127.0.0.1:" + port)
	n := testing.AllocsPerRun(100, func() {
		for i := range 9 {
			p[1] = 102
			if i == 8 {
				p[1] |= 0x80
			}
			binary.BigEndian.PutUint16(p[2:], seq)
			seq++
			_, _ = s.WriteToAddrPort(p, to)
		}
		_, _ = s.WriteToAddrPort(buf[:100], self)
		_, _, _ = s.ReadFromAddrPort(buf)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	_ = heard
}

func BenchmarkSocket(b *testing.B) {
	for mode, words := range []string{"GSO", "sendmmsg", "sendmsg"} {
		b.Run(fmt.Sprintf("picture of 9 packets/%s", words), func(b *testing.B) {
			s, _, to := pair(b, "udp")
			s.mode.Store(int32(mode))
			p := rtpPacket(0, false, videoSSRC, 1180)
			seq := uint16(0)
			b.ReportAllocs()
			for b.Loop() {
				for i := range 9 {
					p[1] = 102
					if i == 8 {
						p[1] |= 0x80
					}
					binary.BigEndian.PutUint16(p[2:], seq)
					seq++
					_, _ = s.WriteToAddrPort(p, to)
				}
			}
		})
	}
}
