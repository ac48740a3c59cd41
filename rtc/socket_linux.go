package rtc

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr is a struct sockaddr_in or sockaddr_in6 (netinet/in.h).
type sockaddr struct {
	b   [unix.SizeofSockaddrInet6]byte
	len uint32
}

// outbox is what sendmmsg(2) reads. It lives in the socket, so that nothing is
// allocated and nothing moves while the kernel looks at it.
type outbox struct {
	msgs [maxBatch]unix.Mmsghdr
	iovs [maxBatch]unix.Iovec
	ctl  [maxBatch]control
	of   [maxBatch]int // packets in each message
	name sockaddr
	done int   // packets that left or were given up
	err  error // of the last that was given up
	full bool  // the socket's buffer was full
}

// control is a control message with a uint16, padded as CMSG_SPACE does.
type control struct {
	head unix.Cmsghdr
	size uint16
	_    [unsafe.Sizeof(uintptr(0)) - 2]byte
}

// probe finds the socket's family and whether the kernel knows UDP_SEGMENT (4.18; an
// older one would take no notice of it and send one huge datagram).
func (s *socket) probe() error {
	var err error
	if e := s.raw.Control(func(fd uintptr) {
		var domain int
		if domain, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
			return
		}
		s.inet6 = domain == unix.AF_INET6
		if _, e := unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT); e != nil {
			s.mode.Store(modeMany)
		}
	}); e != nil {
		return e
	}
	return err
}

// address writes to as the socket's family wants it.
func (s *socket) address(a *sockaddr, to netip.AddrPort) error {
	ip := to.Addr()
	switch {
	case !s.inet6 && (ip.Is4() || ip.Is4In6()):
		v := ip.As4()
		binary.NativeEndian.PutUint16(a.b[:], unix.AF_INET)
		binary.BigEndian.PutUint16(a.b[2:], to.Port())
		copy(a.b[4:8], v[:])
		clear(a.b[8:16])
		a.len = unix.SizeofSockaddrInet4
	case s.inet6 && ip.IsValid():
		v := ip.As16()
		binary.NativeEndian.PutUint16(a.b[:], unix.AF_INET6)
		binary.BigEndian.PutUint16(a.b[2:], to.Port())
		clear(a.b[4:8]) // flow
		copy(a.b[8:24], v[:])
		binary.NativeEndian.PutUint32(a.b[24:], scope(ip.Zone()))
		a.len = unix.SizeofSockaddrInet6
	default:
		return syscall.EAFNOSUPPORT
	}
	return nil
}

// scope gives the number of an IPv6 zone, which is one or the name of an interface.
func scope(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}

func (a *sockaddr) addrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16(a.b[2:])
	if binary.NativeEndian.Uint16(a.b[:]) == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a.b[4:8])), port)
	}
	ip := netip.AddrFrom16([16]byte(a.b[8:24])).Unmap()
	if z := binary.NativeEndian.Uint32(a.b[24:]); z != 0 && ip.Is6() {
		ip = ip.WithZone(strconv.FormatUint(uint64(z), 10))
	}
	return netip.AddrPortFrom(ip, port)
}

// receive is one try to read.
func (s *socket) receive(fd uintptr) bool {
	r := &s.in
	r.name.len = uint32(len(r.name.b))
	p := unsafe.Pointer(unsafe.SliceData(r.buf))
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(p), uintptr(len(r.buf)), unix.MSG_DONTWAIT,
			uintptr(unsafe.Pointer(&r.name.b)), uintptr(unsafe.Pointer(&r.name.len)))
		switch e {
		case 0:
			r.n = int(n)
		case unix.EAGAIN:
			return false
		case unix.EINTR:
			continue
		default:
			r.n, r.err = 0, e
		}
		return true
	}
}

// transmit sends the rest of the batch; false when the socket's buffer is full. A
// message that the kernel refuses is given up, the rest is sent.
func (s *socket) transmit(o *transmitter, fd uintptr) bool {
	k := &o.kernel
	for k.done < o.n {
		mode := s.mode.Load()
		n := o.fill(mode)
		call := s.many
		if mode == modeSingle {
			call = s.one
		}
		left, e := call(fd, &k.msgs, n)
		switch {
		case e == 0:
			for _, packets := range k.of[:left] {
				k.done += packets
				s.sent.packets.Add(uint64(packets))
			}
			s.sent.messages.Add(uint64(left))
		case e == unix.EAGAIN:
			if !k.full {
				k.full = true
				_ = s.SetWriteDeadline(time.Now().Add(longestWait))
			}
			return false
		case e == unix.EINTR:
		case (e == unix.EIO || e == unix.EINVAL || e == unix.EMSGSIZE) && k.of[0] > 1:
			// No checksum offload below (before Linux 6.11), IPsec, or a path whose MTU is
			// smaller than a segment (EMSGSIZE since Linux 6.14,
			// https://github.com/torvalds/linux/commit/235174b):
			// udp_send_skb in net/ipv4/udp.c. One packet alone is sent in fragments.
			s.mode.CompareAndSwap(modeGSO, modeMany)
		case e == unix.ENOSYS && mode != modeSingle:
			s.mode.Store(modeSingle)
		default:
			k.done += k.of[0]
			k.err = e
			s.sent.lost.Add(uint64(k.of[0]))
		}
	}
	return true
}

// sendFunc gives some of n messages to the kernel.
type sendFunc func(fd uintptr, m *[maxBatch]unix.Mmsghdr, n int) (int, syscall.Errno)

// sendMany and sendOne give the messages that the kernel took.
func sendMany(fd uintptr, m *[maxBatch]unix.Mmsghdr, n int) (int, syscall.Errno) {
	left, _, e := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(m)), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	return int(left), e
}

func sendOne(fd uintptr, m *[maxBatch]unix.Mmsghdr, _ int) (int, syscall.Errno) {
	_, _, e := unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&m[0].Hdr)), unix.MSG_DONTWAIT)
	return 1, e
}

// fill makes messages of the packets that are not done. With GSO these are runs of one
// size, of which the last may be smaller.
func (o *transmitter) fill(mode int32) int {
	k := &o.kernel
	n := 0
	for i := k.done; i < o.n; n++ {
		start, first := o.start(i), i
		size := o.ends[i] - start
		i++
		for mode == modeGSO && i < o.n {
			next := o.ends[i] - o.ends[i-1]
			if next > size {
				break
			}
			i++
			if next < size {
				break
			}
		}
		k.of[n] = i - first
		m, v := &k.msgs[n].Hdr, &k.iovs[n]
		v.Base = &o.arena[start]
		v.SetLen(o.ends[i-1] - start)
		*m = unix.Msghdr{Name: &k.name.b[0], Namelen: k.name.len, Iov: v}
		m.SetIovlen(1)
		if i-first > 1 {
			c := &k.ctl[n]
			c.head.Level, c.head.Type = unix.SOL_UDP, unix.UDP_SEGMENT
			c.head.SetLen(unix.CmsgLen(2))
			c.size = uint16(size)
			m.Control = (*byte)(unsafe.Pointer(c))
			m.SetControllen(int(unsafe.Sizeof(*c)))
		}
	}
	return n
}

func (o *transmitter) start(i int) int {
	if i == 0 {
		return 0
	}
	return o.ends[i-1]
}
