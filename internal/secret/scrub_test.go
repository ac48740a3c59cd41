package secret

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestURL(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"embedded:", "embedded:"},
		{"https://example.org", "https://example.org"},
		{"whip+https://example.org/whip/101", "whip+https://example.org/whip/101"},
		{"whip+https://h/whip/{room}?user={user}", ""},
		{"https://h/whip/{room}?user={user}&r={room}", ""},
		{"https://h/whip/{room}?user={user}&key=abc", "https://h/whip/{room}?***"},
		{"https://h/?{user}", "https://h/?***"},
		{"https://u:p@h:8443/x?usersig=abc&y=1#z", "https://***@h:8443/x?***"},
		{"https://h/x?token=a\"b c", "https://h/x?***"},
		{"https://h/x#access_token=a", "https://h/x#***"},
		{"https://u:p@q@h", "https://***@h"},
		{"https://h/5f2b7c1d9e8a4b6c8d7e6f5a/webRTC/publish", "https://h/***/webRTC/publish"},
		{"https://h/sessions/0f9b1c52-7a6b-4c1d-9e1e-27b0a1f5d6c3/", "https://h/sessions/***/"},
		{"https://h/a-long-name-without-any-number/x", "https://h/a-long-name-without-any-number/x"},
		{"stun:stun.example.org:3478", "stun:stun.example.org:3478"},
		{"turn:u:p@h:3478?transport=udp", "turn:***@h:3478?***"},
	} {
		want := c.want
		if want == "" {
			want = c.in
		}
		if got := URL(c.in); got != want {
			t.Errorf("%q: %q, not %q", c.in, got, want)
		}
	}
}

func TestScrub(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		// What is shown whole.
		{"", ""},
		{"the token is missing, wrong or expired: check room.token_file and the clock", ""},
		{"a wrong token: ask for another", ""},
		{"send Authorization: Bearer with a valid token for this room", ""},
		{`level=INFO msg="watch here" url=http://127.0.0.1:8080/rooms/1`, ""},
		{"room.token_file=/etc/anchord/room.token", ""},
		{"token_file = credential:room-token", ""},
		{"at 10:30:00 x: y = z; a::b ://c :=", ""},
		{"token=", ""},
		// URLs in a text.
		{"at https://h/x?***: refused", ""},
		{"at https://h/x?token=a: refused (https://h/?b), see https://h/#c.", "at https://h/x?***: refused (https://h/?***), see https://h/#***."},
		{`Post "https://u:p@h/x?token=a b": refused`, `Post "https://***@h/x?*** b": refused`},
		{`err="Post \"http://h/x?usersig=abc\": EOF"`, `err="Post \"http://h/x?***\": EOF"`},
		{"see <http://a/?x>, http://b/?y and http://c/z", "see <http://a/?***>, http://b/?*** and http://c/z"},
		{"proxy http://p/http://u:s@h/x", "proxy http://p/http://***@h/x"},
		// Names.
		{"token=abc", "token=***"},
		{"/whip/1?usersig=a&user=b", "/whip/1?usersig=***&user=b"},
		{"access_token=a;Token=b,TOKEN=c", "access_token=***;Token=***,TOKEN=***"},
		{`token = "a \" b" # c`, `token = "***" # c`},
		{`{"token":"a","x":1,"password": "b\"c"}`, `{"token":"***","x":1,"password": "***"}`},
		{`body="{\"usersig\":\"abc\",\"x\":2}"`, `body="{\"usersig\":\"***\",\"x\":2}"`},
		{"{URLs:[turn:h] Username:u Credential:pw1 Type:x}", "{URLs:[turn:h] Username:u Credential:*** Type:x}"},
		{`<turn:h>; rel="ice-server"; username="u"; credential="p; q"`, `<turn:h>; rel="ice-server"; username="u"; credential="***"`},
		{"a=ice-pwd:abcdefgh\r\na=mid:0", "a=ice-pwd:***\r\na=mid:0"},
		// Headers.
		{"Authorization: Bearer abcdefgh.ijkl-_~+/==", "Authorization: Bearer ***"},
		{"authorization: basic dTpw1", "authorization: basic ***"},
		{`map[Authorization:[Bearer c4nary]]`, `map[Authorization:[Bearer ***]]`},
		{"Authorization: SharedKey a:b\r\nHost: h", "Authorization: ***\r\nHost: h"},
		{"Cookie: a=b; c=d\nX: y", "Cookie: ***\nX: y"},
	} {
		want := c.want
		if want == "" {
			want = c.in
		}
		if got := Scrub(c.in); got != want {
			t.Errorf("%q:\n%q, not\n%q", c.in, got, want)
		}
	}
}

// TestScrubIsQuick gives it text that a search which begins again and again would take
// minutes for.
func TestScrubIsQuick(t *testing.T) {
	for _, s := range []string{"token=", "a://", "://", `"token":"`, "bearer ", "Authorization: ", `\`, `"`, "=", " "} {
		Scrub(strings.Repeat(s, 1<<20/len(s)))
	}
}

func FuzzScrub(f *testing.F) {
	for _, s := range []string{"https://u:p@h/x?token=a#b", `{"token":"a"}`, "Authorization: Bearer abcdefgh", `token="a\"b" x`, "a://b://c?d=e", "credential:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := Scrub(s)
		if len(once) > 3*len(s)+3 {
			t.Fatalf("%q grew to %q", s, once)
		}
		const canary = "C4naryC4nary"
		u := url.URL{Scheme: "https", User: url.UserPassword("u", canary+s), Host: "h", Path: "/x", RawQuery: url.Values{"x": {canary + s}}.Encode()}
		h := http.Header{"Authorization": {"Bearer " + canary}}
		for _, text := range []string{u.String(), "see " + u.String() + " and", "token=" + canary, h.Get("Authorization")} {
			if got := Scrub(text); strings.Contains(got, canary) {
				t.Fatalf("%q gave %q", text, got)
			}
		}
		if got := URL("https://h/?" + canary + s); strings.Contains(got, canary) {
			t.Fatal(got)
		}
	})
}

func BenchmarkScrub(b *testing.B) {
	line := `time=2026-01-02T03:04:05.678Z level=INFO msg="the room refused" part=room err="the room refused (401): go away" tries=3 after=1.5s`
	b.ReportAllocs()
	for b.Loop() {
		Scrub(line)
	}
}
