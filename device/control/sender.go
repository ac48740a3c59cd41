package control

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
)

// sender is who stands behind a request: an address; the whole /64 network, which one host
// can have all of, with IPv6; and on this machine, where all have the same address, the
// user who runs the client. A browser beside us cannot keep a technician out.
type sender struct {
	net netip.Prefix
	uid string // "" if not on this machine, or not known
}

func (p sender) String() string {
	switch {
	case p.uid != "":
		return "user " + p.uid + " of this machine"
	case p.net.IsSingleIP():
		return p.net.Addr().String()
	}
	return p.net.String()
}

// senderOf gives who sent a request. The user is looked up only on this machine.
func senderOf(r *http.Request) sender {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return sender{}
	}
	a := from.Addr().Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() && !a.IsLoopback() {
		bits = 64
	}
	p := sender{net: netip.PrefixFrom(a, bits).Masked()}
	if to, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && a.IsLoopback() {
		if to, err := netip.ParseAddrPort(to.String()); err == nil {
			p.uid = userOf(from, to)
		}
	}
	return p
}

// userOf gives who has the socket that is connected from an address of this machine to
// another, "" if it cannot be found
// (https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html).
func userOf(from, to netip.AddrPort) string {
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		uid := findSocket(f, from, to)
		f.Close() // it was only read
		if uid != "" {
			return uid
		}
	}
	return ""
}

// findSocket looks for a connection in the kernel's table.
func findSocket(table io.Reader, from, to netip.AddrPort) string {
	// An IPv6 socket can have an IPv4 connection.
	local, mapped := hexAddr(from, false)+" "+hexAddr(to, false)+" ", hexAddr(from, true)+" "+hexAddr(to, true)+" "
	for s := bufio.NewScanner(table); s.Scan(); {
		_, rest, _ := strings.Cut(s.Text(), ": ")
		if !strings.HasPrefix(rest, local) && !strings.HasPrefix(rest, mapped) {
			continue
		}
		if f := strings.Fields(rest); len(f) > 6 && len(f[6]) <= 10 {
			return f[6]
		}
	}
	return ""
}

// hexAddr writes an address as the kernel does: words of 32 bits as this machine has them.
func hexAddr(a netip.AddrPort, long bool) string {
	b := a.Addr().Unmap().AsSlice()
	if long {
		sixteen := a.Addr().As16()
		b = sixteen[:]
	}
	var s strings.Builder
	for ; len(b) >= 4; b = b[4:] {
		fmt.Fprintf(&s, "%08X", binary.NativeEndian.Uint32(b))
	}
	fmt.Fprintf(&s, ":%04X", a.Port())
	return s.String()
}
