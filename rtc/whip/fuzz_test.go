package whip

import (
	"bufio"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func FuzzLinks(f *testing.F) {
	for _, s := range []string{`<stun:a>; rel="ice-server"`, `<turn:x>;rel=ice-server;username="\"";credential=,<a>`, `<`, `<>;;;="`, `a,b,<c>;rel`, `<a>;rel="x`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		links := parseLinks([]string{s, s})
		if len(links) > maxLinks {
			t.Errorf("%d links", len(links))
		}
		for _, v := range iceServers(links) {
			if len(v.URLs) != 1 || !strings.HasPrefix(v.URLs[0], "stun") && !strings.HasPrefix(v.URLs[0], "turn") {
				t.Errorf("%+v", v)
			}
		}
	})
}

func FuzzLocate(f *testing.F) {
	base, err := url.Parse("https://room.example/whip")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", "/s", "//h", "http://h", "https://h/../x?y#z", ":", "https:opaque", "\\\\h\\x", "https://h\n/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := locate(base, s)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\x00\x1b\n") {
				t.Errorf("error %q", err)
			}
			return
		}
		if u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
			t.Errorf("%q gives %s", s, u)
		}
		if _, err := http.NewRequest(http.MethodDelete, u.String(), nil); err != nil {
			t.Logf("not requestable: %v", err) // is an error later, and clear
		}
	})
}

func FuzzFragment(f *testing.F) {
	for _, s := range []string{"", "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=candidate:1 1 udp 1 1.2.3.4 5 typ host\r\n",
		"a=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901", "a=ice-ufrag:\r\n", "m=\r\na=mid:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		answer, err := reanswered(testAnswer, s)
		if err == nil && (strings.Count(answer, "m=") != 2 && strings.Count(answer, "\r\nm=") != 2 || credentialsOf(answer).ufrag == "sfrg" || !strings.HasPrefix(answer, "v=0\r\n")) {
			t.Errorf("answer %q", answer)
		}
		_ = restarting(s)
		_ = checkAnswer(testOffer, &response{status: 201, body: []byte(s), header: http.Header{}})
	})
}

func FuzzStream(f *testing.F) {
	for _, s := range []string{"data: x\n\n", "event: kick\rdata: {}\r\r", "\xef\xbb\xbfid: 1\n\n", "data\n\n", "id: a\x00b\ndata:\n\n", ":\n\r\n\r", "event: subscribers\ndata: {\"count\":-1}\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		err := readStream(bufio.NewReaderSize(strings.NewReader(s), 16), func() {}, func(m message) bool {
			if strings.ContainsAny(m.id, "\r\n\x00") || strings.ContainsAny(m.name, "\r\n") {
				t.Errorf("%+v", m)
			}
			if e, ok := m.event(); ok && (e.Kind == 0 || e.Count < 0 || len(e.Reason) > maxReason || strings.ContainsAny(e.Reason+e.User, "\x1b\n")) {
				t.Errorf("%+v", e)
			}
			return true
		})
		if err != nil && len(s) < maxBody {
			t.Error(err)
		}
	})
}
