package room

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pion/ice/v4"
)

// The one socket is one candidate for pion, for each family, and has many names for the peers.
// With a candidate for each address, all of which read the one socket, pion takes an answer to
// a ping for the answer to another candidate's: a pair that the peer chose is then never
// confirmed, and DTLS never begins. It also asks for the addresses only once, and a network that
// comes up later would not be named.

// oneDoor is the mux as pion's agents see it. A filter of addresses would not do: pion asks no
// filter about a mux's addresses (ice/v4 4.4.8, gatherCandidatesLocalUDPMux).
type oneDoor struct{ *ice.UDPMuxDefault }

// GetListenAddresses gives one address for each family that the socket takes. Where the socket
// listens on all addresses it is a label only: peers are told those of addresses.
func (d oneDoor) GetListenAddresses() []net.Addr {
	at, ok := d.LocalAddr().(*net.UDPAddr)
	if !ok || !at.IP.IsUnspecified() {
		return []net.Addr{d.LocalAddr()}
	}
	doors := []net.Addr{&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at.Port}}
	if at.IP.To4() == nil {
		doors = append(doors, &net.UDPAddr{IP: net.IPv6loopback, Port: at.Port})
	}
	return doors
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
