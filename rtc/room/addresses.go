package room

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// The one socket is one candidate for pion, for each family, and has many names for the peers.
// With a candidate for each address, all of which read the one socket, pion takes an answer to
// a ping for the answer to another candidate's: a pair that the peer chose is then never
// confirmed, and DTLS never begins. It also asks for the addresses only once, and a network that
// comes up later would not be named.

// label lets the first address of each family be a candidate. It is for one connection.
func label() func(net.IP) bool {
	var four, six net.IP
	return func(ip net.IP) bool {
		one := &six
		if ip.To4() != nil {
			one = &four
		}
		if *one == nil {
			*one = ip
		}
		return one.Equal(ip)
	}
}

// named puts the server's addresses into an answer, each in the place of its family's label.
func (w *wire) named(description string, near bool) string {
	addresses := w.addresses(near)
	var b strings.Builder
	for line := range strings.Lines(description) {
		f := strings.Fields(line)
		if !strings.HasPrefix(line, "a=candidate:") || len(f) < 8 || f[7] != "host" {
			b.WriteString(line)
			continue
		}
		is, err := netip.ParseAddr(f[4])
		priority, err2 := strconv.ParseUint(f[3], 10, 32)
		if err != nil || err2 != nil {
			continue // ours: cannot be
		}
		n := 0
		for _, a := range addresses {
			if a.Is4() != is.Is4() {
				continue
			}
			// The first is liked best (RFC 8445 section 5.1.2); each has a base of its own.
			f[0] = "a=candidate:" + strconv.Itoa(n+1)
			if a.Is6() {
				f[0] += "6"
			}
			f[3] = strconv.FormatUint(priority-uint64(n)<<8, 10)
			f[4] = a.String()
			b.WriteString(strings.Join(f, " ") + "\r\n")
			n++
		}
	}
	return b.String()
}

// addresses are those under which a peer may reach the socket now. Loopback is for peers on this
// machine.
func (w *wire) addresses(near bool) []netip.Addr {
	var all []netip.Addr
	for _, a := range w.advertise {
		if ip, err := netip.ParseAddr(a); err == nil {
			all = append(all, ip)
		}
	}
	if len(all) > 0 && !near {
		return all
	}
	if ip, ok := netip.AddrFromSlice(w.addr.IP); ok && !ip.IsUnspecified() {
		return append(all, ip.Unmap())
	}
	links, err := net.InterfaceAddrs()
	if err != nil {
		return all
	}
	for _, l := range links {
		p, err := netip.ParsePrefix(l.String())
		if err != nil {
			continue
		}
		ip := p.Addr().Unmap()
		if ip.IsLoopback() && !near || ip.Is6() && ip.IsLinkLocalUnicast() || len(all) == maxAddresses {
			continue // a link-local address says nothing without its interface
		}
		all = append(all, ip)
	}
	return all
}

// maxAddresses bounds what a peer is told: it pings them all.
const maxAddresses = 16
