package control

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestPeerOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:4000":            "192.0.2.7",
		"[::ffff:192.0.2.7]:4000":   "192.0.2.7",
		"[2001:db8:1:2:3::4]:4000":  "2001:db8:1:2::/64",
		"[2001:db8:1:2:ff::9]:4000": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:4000":       "fe80::/64",
		"127.0.0.1:4000":            "127.0.0.1",
		"[::1]:4000":                "::1",
		"pipe":                      "invalid Prefix",
	} {
		if got := senderOf(&http.Request{RemoteAddr: remote}).String(); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}

// TestPeerOnThisMachine asks the kernel who has the other end of a connection.
func TestPeerOnThisMachine(t *testing.T) {
	me := "user " + strconv.Itoa(os.Getuid()) + " of this machine"
	for _, on := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
		l, err := net.Listen("tcp", on)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan sender, 1)
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- senderOf(r) }))
		s.Listener.Close()
		s.Listener = l
		s.Start()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		host := "127.0.0.1"
		if on == "[::1]:0" {
			host = "::1"
		}
		r, err := s.Client().Get("http://" + net.JoinHostPort(host, port))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if p := <-got; p.String() != me || p.net.Addr().String() != host {
			t.Errorf("%s: %v", on, p)
		}
		s.Close()
	}
}

func TestFindSocket(t *testing.T) {
	a, b := netip.MustParseAddrPort("127.0.0.1:41537"), netip.MustParseAddrPort("127.0.0.1:8080")
	head := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	row := func(from, to string, uid string) string {
		return "   0: " + from + " " + to + " 01 00000000:00000000 00:00000000 00000000  " + uid + "        0 198154 1 0000000068b9826f 100 0 0 10 0\n"
	}
	x, y := hexAddr(a, false), hexAddr(b, false)
	for _, c := range []struct{ name, table, uid string }{
		{"it is there", head + row(y, x, "7") + row(x, y, "1000"), "1000"},
		{"as IPv6", head + row(hexAddr(a, true), hexAddr(b, true), "33"), "33"},
		{"the server's end alone", head + row(y, x, "7"), ""},
		{"nothing", head, ""},
		{"no table", "", ""},
		{"cut short", "0: " + x + " " + y + " 01 ", ""},
		{"not a number's length", row(x, y, strings.Repeat("9", 11)), ""},
	} {
		if got := findSocket(strings.NewReader(c.table), a, b); got != c.uid {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

func TestPeerWithoutAUser(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "127.0.0.1:1"
	ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2}))
	if p := senderOf(r.WithContext(ctx)); p.uid != "" || p.String() != "127.0.0.1" {
		t.Errorf("%v", p)
	}
}
