package rtc

import (
	"net/url"
	"strings"
	"testing"
)

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"embedded:", "whip+http://h", "whip+https://h/{room}?u={user}", "livekit+wss://[::1]:1/x", "whip+http://h/%zz", ":", "whip+http:\\\\h"} {
		f.Add(s, "101", "cart-7")
	}
	f.Fuzz(func(t *testing.T, s, room, user string) {
		a, err := ParseAddress(s)
		if err != nil || a.Scheme == Embedded || (Target{a, room, user}).Check() != nil {
			return
		}
		// Ids stay where they are put: they cannot change the host.
		u, err := url.Parse(a.Endpoint(room, user))
		v, err2 := url.Parse(a.Endpoint("1", "a"))
		if err != nil || err2 != nil || u.Host != v.Host && !strings.Contains(v.Host, "1") && !strings.Contains(v.Host, "a") || u.User != nil {
			t.Errorf("%q with %q, %q: %v %v", s, room, user, u, err)
		}
	})
}

func TestAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"embedded:":                           "",
		"whip+http://box-a:8080":              "http://box-a:8080/whip/ward%203?user=cart-7",
		"WHIP+HTTPS://h/live/{room}?u={user}": "https://h/live/ward%203?u=cart-7",
		"whip+https://h/fixed?key=hunter2":    "https://h/fixed?key=hunter2",
		"livekit+wss://h":                     "wss://h",
		"whip+https://[::1]:8443/x":           "https://[::1]:8443/x",
		"":                                    "error",
		"https://h/":                          "error",
		"embedded:x":                          "error",
		"whip+https:":                         "error",
		"whip+https://":                       "error",
		"whip+https://u:hunter2@h/":           "error",
		"whip+https://h/#hunter2":             "error",
		"whip+https:opaque-hunter2":           "error",
		"whip+http://h:port-hunter2/":         "error",
		"rtmp://hunter2/":                     "error",
	} {
		a, err := ParseAddress(in)
		got := "error"
		if err == nil {
			got = a.Endpoint("ward 3", "cart-7")
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: secret in %q", in, err)
		}
		if got != want {
			t.Errorf("%q: %q (%v), want %q", in, got, err, want)
		}
		if strings.Contains(a.String(), "hunter2") {
			t.Errorf("%q: secret in %q", in, a)
		}
	}
}
