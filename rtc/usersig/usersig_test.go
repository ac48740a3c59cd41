package usersig

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"anchord/internal/secret"
	"anchord/internal/trtc"
)

// What TRTC's own signers (npm tls-sig-api-v2 1.0.2 and tls-sig-api-v2-golang) make of these,
// with the clock at made. The key is the one printed in their READMEs.
const (
	appID   = 1400000000
	demoKey = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
	user    = "xiaojun"
	life    = 15552000 * time.Second

	nodeToken  = "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwhWZiflZpXlQqeKU7MSCgswUJStDEwMogMiUZOamKlkZmqOKplYUZBaBxE1NTY3gosWZ6UpWSj5ljuYp*p7l5unBxXnF2WVhVU4uAf7Ozi5JpX7O5SbuHuUhzgZJmQXaTia2SrUAohcx8g__"
	goToken    = "eAEArABT-3siVExTLnZlciI6IjIuMCIsIlRMUy5pZGVudGlmaWVyIjoieGlhb2p1biIsIlRMUy5zZGthcHBpZCI6MTQwMDAwMDAwMCwiVExTLmV4cGlyZSI6MTU1NTIwMDAsIlRMUy50aW1lIjoxNzAwMDAwMDAwLCJUTFMuc2lnIjoiTHZBN2QvSXc3Z1NzbnNrdlZ6QkRQT0NDRGJ1TkN3NEdId1RDMGJpcCtCND0ifQoBAAD--9-DMfw_"
	nodeTicket = "eJxVjc0KgkAYRd-l2xb*kVQDLb5CVJCwEoJ2jo7TpKn410j07qFZ0N1c7jmL*4TAOykdq4CAoWgwH7eIWd6IRIxYirC4tfmk6jgNy1LEQPSFNuVjGnFnQPTlP2WyFNXATdM0frStWUXbBAggosPs7EqNUqfZvg84Iu6iwyW1VBzir8b63gsOBPo1dtSUD4e7vMAttcPUCy1N1rNOjb3I9Rmn5ySiR8-dwOsNn*tDuQ__"
	userSig    = "LvA7d/Iw7gSsnskvVzBDPOCCDbuNCw4GHwTC0bip+B4="
	ticketSig  = "y9Avb5xwHgIgoABbGakLaE0xs+v/dLcIPegbWfcbRLI="
	userbuf    = "0000077869616f6a756e53724e000000271066413f00000000ff00000000"
)

var made = time.Unix(1700000000, 0)

func demo() *Key { return &Key{AppID: appID, Secret: secret.New(demoKey)} }

// inside gives a token's JSON, decoded in another way than the package does it.
func inside(t *testing.T, token string) map[string]any {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(strings.NewReplacer("*", "+", "-", "/", "_", "=").Replace(token))
	if err != nil {
		t.Fatal(err)
	}
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.NewDecoder(z).Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

// pack makes a token of any JSON.
func pack(text string) string { return packer()(text) }

// packer makes many of them.
func packer() func(text string) string {
	z := zlib.NewWriter(nil)
	letters := strings.NewReplacer("+", "*", "/", "-", "=", "_")
	return func(text string) string {
		var b bytes.Buffer
		z.Reset(&b)
		z.Write([]byte(text))
		z.Close()
		return letters.Replace(base64.StdEncoding.EncodeToString(b.Bytes()))
	}
}

func TestSignAsTRTCDoes(t *testing.T) {
	got, err := demo().Sign(user, made, life)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(inside(t, nodeToken), inside(t, got)); d != "" {
		t.Error(d)
	}
	if s := inside(t, got)["TLS.sig"]; s != userSig {
		t.Errorf("signature %v", s)
	}
	ticket, err := demo().SignTicket(user, Room{Number: 10000}, AllRights, made, life)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(inside(t, nodeTicket), inside(t, ticket)); d != "" {
		t.Error(d)
	}
	in := inside(t, ticket)
	raw, _ := base64.StdEncoding.DecodeString(in["TLS.userbuf"].(string))
	if in["TLS.sig"] != ticketSig || hex.EncodeToString(raw) != userbuf {
		t.Errorf("%v, %x", in["TLS.sig"], raw)
	}
}

func TestVerifyWhatTRTCSigned(t *testing.T) {
	want := &Claims{User: user, AppID: appID, Made: made, Life: life}
	for name, token := range map[string]string{"node": nodeToken, "go": goToken} {
		for _, who := range []string{user, ""} {
			got, err := demo().Verify(token, who, made.Add(100*time.Second))
			if err != nil {
				t.Fatal(name, err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(name, d)
			}
		}
	}
	got, err := demo().VerifyTicket(nodeTicket, user, Room{Number: 10000}, AllRights, made)
	ticket := &Ticket{User: user, AppID: appID, Room: Room{Number: 10000}, Ends: made.Add(life), Rights: AllRights}
	if d := cmp.Diff(ticket, got); d != "" || err != nil {
		t.Error(d, err)
	}
	c, err := Decode(nodeTicket)
	if d := cmp.Diff(&Claims{User: user, AppID: appID, Made: made, Life: life, Ticket: ticket}, c); d != "" || err != nil {
		t.Error(d, err)
	}
}

// TestNamedRoom has the layout of a ticket for a room with a name, byte by byte.
func TestNamedRoom(t *testing.T) {
	token, err := demo().SignTicket(user, Room{Text: "ward 7"}, ViewerRights, made, life)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.StdEncoding.DecodeString(inside(t, token)["TLS.userbuf"].(string))
	want := "01" + "0007" + hex.EncodeToString([]byte(user)) + "53724e00" + "00000000" + "66413f00" + "0000002a" + "00000000" + "0006" + hex.EncodeToString([]byte("ward 7"))
	if got := hex.EncodeToString(raw); got != want {
		t.Errorf("%s\n%s", got, want)
	}
	got, err := demo().VerifyTicket(token, user, Room{Text: "ward 7"}, ViewerRights, made)
	if err != nil || got.Rights != 42 || got.Room.Text != "ward 7" {
		t.Errorf("%+v, %v", got, err)
	}
}

// code gives the code of a refusal, 0 for none.
func code(err error) trtc.Code {
	var e *Error
	var id *trtc.IDError
	switch {
	case errors.As(err, &e):
		return e.Code
	case errors.As(err, &id):
		return id.Code
	case err != nil:
		return 1
	}
	return 0
}

// changed makes a token like the vector's with something put in place of something else.
func changed(t *testing.T, token string, pairs ...string) string {
	t.Helper()
	b, err := json.Marshal(inside(t, token))
	if err != nil {
		t.Fatal(err)
	}
	out := strings.NewReplacer(pairs...).Replace(string(b))
	if out == string(b) {
		t.Fatalf("%v is not in %s", pairs, b)
	}
	return pack(out)
}

func TestRefusals(t *testing.T) {
	expired := made.Add(life + time.Second)
	other := &Key{AppID: appID, Secret: secret.New(strings.Repeat("0", 64))}
	kind := demo()
	kind.Skew = time.Minute
	bomb := pack(strings.Repeat(" ", 50<<20))
	at := func(k *Key, token, who string, now time.Time) error {
		_, err := k.Verify(token, who, now)
		return err
	}
	for _, c := range []struct {
		name string
		err  error
		code trtc.Code
		says string
	}{
		{"good in its last second", at(demo(), nodeToken, user, made.Add(life+999*time.Millisecond)), 0, ""},
		{"made in the future", at(demo(), nodeToken, user, made.Add(-time.Hour)), 0, ""},
		{"expired", at(demo(), nodeToken, user, expired), -70001, "expired at 2024-05-12T22:13:20Z"},
		{"within the allowance", at(kind, nodeToken, user, expired.Add(59*time.Second)), 0, ""},
		{"beyond the allowance", at(kind, nodeToken, user, expired.Add(60*time.Second)), -70001, "clock"},
		{"no life", at(demo(), changed(t, nodeToken, "15552000", "0"), user, made.Add(time.Second)), -70001, "expired"},
		{"another key", at(other, nodeToken, user, made), -70009, "another key"},
		{"another user", at(demo(), nodeToken, "anna", made), -70013, "xiaojun's, not anna's"},
		{"another user inside", at(demo(), changed(t, nodeToken, user, "anna"), "anna", made), -70009, "changed since"},
		{"another application", at(&Key{AppID: 7, Secret: secret.New(demoKey)}, nodeToken, user, made), -70014, "application 1400000000, not for 7"},
		{"another application inside", at(demo(), changed(t, nodeToken, "1400000000", "1400000001"), user, made), -70014, ""},
		{"a longer life", at(demo(), changed(t, nodeToken, "15552000", "25552000"), user, made), -70009, ""},
		{"a later time", at(demo(), changed(t, nodeToken, "1700000000", "1700000001"), user, made), -70009, ""},
		{"another signature", at(demo(), changed(t, nodeToken, "LvA7", "LvA8"), user, made), -70009, ""},
		{"a ticket", at(demo(), nodeTicket, user, made), -100018, "a ticket"},
		{"no application", at(&Key{Secret: secret.New(demoKey)}, nodeToken, user, made), -3317, ""},
		{"no key", at(&Key{AppID: appID}, nodeToken, user, made), -2, ""},

		{"empty", at(demo(), "", user, made), -70003, ""},
		{"cut off", at(demo(), nodeToken[:100], user, made), -70003, "copy all of it"},
		{"cut off by a bit", at(demo(), nodeToken[:len(nodeToken)-4], user, made), -70003, ""},
		{"something behind", at(demo(), nodeToken+"AAAA", user, made), -70003, ""},
		{"a line break", at(demo(), nodeToken[:40]+"\n"+nodeToken[40:], user, made), -70003, ""},
		{"other letters", at(demo(), strings.NewReplacer("_", "=", "*", "+", "-", "/").Replace(nodeToken), user, made), -70003, "base64"},
		{"not zlib", at(demo(), base64.StdEncoding.EncodeToString([]byte("not zlib")), user, made), -70003, ""},
		{"a bomb", at(demo(), bomb, user, made), -70003, "more than"},
		{"a small bomb", at(demo(), pack(strings.Repeat(" ", 2*maxJSON)), user, made), -70003, "unpacks to more than"},
		{"too long", at(demo(), strings.Repeat("A", maxToken+1), user, made), -70003, "more than"},
		{"not JSON", at(demo(), pack("hello"), user, made), -70003, "JSON"},
		{"an array", at(demo(), pack("[]"), user, made), -70003, "JSON"},
		{"two objects", at(demo(), pack("{}{}"), user, made), -70003, "follows"},
		{"no fields", at(demo(), pack("{}"), user, made), -70003, "missing"},
		{"a field twice", at(demo(), changed(t, nodeToken, `"TLS.ver"`, `"TLS.expire":99999999,"TLS.ver"`), user, made), -70003, "twice"},
		{"a field in capitals", at(demo(), changed(t, nodeToken, `"TLS.sig"`, `"TLS.SIG"`), user, made), -70003, "TLS.sig"},
		{"version 1", at(demo(), changed(t, nodeToken, `"2.0"`, `"1.0"`), user, made), -70003, "2.0"},
		{"a number as text", at(demo(), changed(t, nodeToken, "1700000000", `"1700000000"`), user, made), -70003, "TLS.time"},
		{"a negative number", at(demo(), changed(t, nodeToken, "15552000", "-1"), user, made), -70003, "TLS.expire"},
		{"a fraction", at(demo(), changed(t, nodeToken, "15552000", "15552000.5"), user, made), -70003, "TLS.expire"},
		{"an endless life", at(demo(), changed(t, nodeToken, "15552000", "9223372036854775807"), user, made), -70003, "TLS.expire"},
		{"a user with a line break", at(demo(), changed(t, nodeToken, user, `x\n`), "", made), -70003, "identifier"},
		{"a short signature", at(demo(), changed(t, nodeToken, userSig, "AAAA"), user, made), -70003, "TLS.sig"},
		{"an empty buffer", at(demo(), changed(t, nodeToken, `"TLS.ver"`, `"TLS.userbuf":"","TLS.ver"`), user, made), -70003, "userbuf"},
	} {
		if got := code(c.err); got != c.code || c.err != nil && !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%s: %d %v, want %d %s", c.name, int(got), c.err, int(c.code), c.says)
		}
		if c.err != nil && (strings.Contains(c.err.Error(), demoKey) || strings.Contains(c.err.Error(), nodeToken[:20])) {
			t.Errorf("%s: the message has a secret: %v", c.name, c.err)
		}
	}
}

func TestTicketRefusals(t *testing.T) {
	room := Room{Number: 10000}
	at := func(token, who string, r Room, need Rights, now time.Time) error {
		_, err := demo().VerifyTicket(token, who, r, need, now)
		return err
	}
	with := func(rights Rights) string {
		s, err := demo().SignTicket(user, room, rights, made, life)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	// inner makes a well signed ticket of any buffer.
	inner := func(edit func([]byte) []byte) string {
		b := (&Ticket{User: user, AppID: appID, Room: room, Ends: made.Add(life), Rights: AllRights}).encode()
		e := &envelope{user: user, app: appID, time: made.Unix(), expire: int64(life / time.Second), userbuf: edit(b)}
		e.sig = demo().mac(e)
		s, err := e.encode()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	set := func(i int, v byte) string { return inner(func(b []byte) []byte { b[i] = v; return b }) }
	for _, c := range []struct {
		name string
		err  error
		code trtc.Code
		says string
	}{
		{"good", at(nodeTicket, user, room, AllRights, made), 0, ""},
		{"nothing needed", at(with(0), user, room, 0, made), 0, ""},
		{"another room", at(nodeTicket, user, Room{Number: 10001}, 0, made), -100006, "room 10000, not for room 10001"},
		{"the same digits as a name", at(nodeTicket, user, Room{Text: "10000"}, 0, made), -100006, `not for room "10000"`},
		{"another user", at(nodeTicket, "anna", room, 0, made), -100006, "anna"},
		{"expired", at(nodeTicket, user, room, 0, made.Add(life+time.Second)), -100006, "expired"},
		{"another key", func() error {
			_, err := (&Key{AppID: appID, Secret: secret.New("x")}).VerifyTicket(nodeTicket, user, room, 0, made)
			return err
		}(), -100006, "another key"},
		{"a user's token", at(nodeToken, user, room, 0, made), -100006, "where a ticket"},
		{"damaged", at(nodeTicket[:50], user, room, 0, made), -100006, "damaged"},
		{"changed", at(changed(t, nodeTicket, "AAAHeG", "AAAHeH"), user, room, 0, made), -100006, "another key"},
		{"create", at(with(AllRights&^CreateRoom), user, room, CreateRoom|EnterRoom, made), -102010, "create the room"},
		{"enter", at(with(AllRights&^EnterRoom), user, room, EnterRoom|SendVideo, made), -102011, "enter the room"},
		{"send sound", at(with(AllRights&^SendAudio), user, room, AnchorRights, made), -100006, "send sound"},
		{"send pictures", at(with(ViewerRights), user, room, EnterRoom|SendVideo, made), -102013, "send pictures (privileges 42): sign one with 58"},
		{"send a second", at(with(AnchorRights), user, room, AnchorRights|SendSub, made), -102015, "second"},
		{"receive pictures", at(with(AnchorRights), user, room, ReceiveVideo, made), -102019, "receive pictures"},
		{"receive a second", at(with(AnchorRights), user, room, ReceiveSub, made), -102019, "second"},

		{"inner version", at(set(0, 2), user, room, 0, made), -100006, "version 2"},
		{"inner version of a named room", at(set(0, 1), user, room, 0, made), -100006, "damaged"},
		{"inner user", at(set(3, 'y'), user, room, 0, made), -100006, "yiaojun"},
		{"inner application", at(set(13, 1), user, room, 0, made), -100006, "application"},
		{"inner end", at(set(18, 0), user, room, 0, made), -100006, "expired"},
		{"inner room 0", at(inner(func(b []byte) []byte { copy(b[14:], make([]byte, 4)); return b }), user, room, 0, made), -100006, "damaged"},
		{"inner length", at(set(2, 200), user, room, 0, made), -100006, "too early"},
		{"cut", at(inner(func(b []byte) []byte { return b[:len(b)-1] }), user, room, 0, made), -100006, "too early"},
		{"one byte", at(inner(func(b []byte) []byte { return b[:1] }), user, room, 0, made), -100006, "too early"},
		{"something behind", at(inner(func(b []byte) []byte { return append(b, 0) }), user, room, 0, made), -100006, "follows"},
	} {
		if got := code(c.err); got != c.code || c.err != nil && !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%s: %d %v, want %d %s", c.name, int(got), c.err, int(c.code), c.says)
		}
	}
}

func TestSignRefusals(t *testing.T) {
	k := demo()
	sign := func(u string, now time.Time, l time.Duration) error { _, err := k.Sign(u, now, l); return err }
	ticket := func(r Room, l time.Duration) error { _, err := k.SignTicket(user, r, 0, made, l); return err }
	for name, c := range map[string]struct {
		err  error
		code trtc.Code
	}{
		"no user":             {sign("", made, life), -3319},
		"a user with a break": {sign("a\nTLS.sdkappid:7", made, life), -3319},
		"no life":             {sign(user, made, 999*time.Millisecond), -2},
		"before 1970":         {sign(user, time.Unix(-1, 0), life), -2},
		"too late":            {sign(user, time.Unix(lastTime+1, 0), life), -2},
		"no room":             {ticket(Room{}, life), -3318},
		"two rooms":           {ticket(Room{1, "a"}, life), -3318},
		"a bad room":          {ticket(Room{Text: "a\n"}, life), -3318},
		"the last number":     {ticket(Room{Number: 1<<32 - 1}, life), -3318},
		"beyond 2106":         {ticket(Room{Number: 1}, 100*365*24*time.Hour), -2},
		"digits as a name":    {ticket(Room{Text: "007"}, life), 0},
	} {
		if got := code(c.err); got != c.code {
			t.Errorf("%s: %d %v, want %d", name, int(got), c.err, int(c.code))
		}
	}
}

func TestRoomOf(t *testing.T) {
	for id, want := range map[string]Room{"101": {Number: 101}, "4294967294": {Number: 4294967294}, "a101": {Text: "a101"}, "1 2": {Text: "1 2"}} {
		if got, err := RoomOf(id); err != nil || got != want {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
	}
	for _, id := range []string{"", "0", "4294967295", "a\n"} {
		if got, err := RoomOf(id); err == nil {
			t.Errorf("%q: %+v", id, got)
		}
	}
}

// TestForging tries 100,000 tokens that nobody signed: with one byte changed in the text,
// in what is signed, in the signature; with keys near the right one; cut and joined.
func TestForging(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	k := demo()
	text, err := json.Marshal(inside(t, nodeToken))
	if err != nil {
		t.Fatal(err)
	}
	pack := packer()
	const n = 100_000
	accepted, same, other := 0, 0, 0
	for i := range n {
		token, key := nodeToken, k
		switch i % 5 {
		case 0:
			b := []byte(token)
			const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-_"
			at := r.IntN(len(b))
			b[at] = letters[(strings.IndexByte(letters, b[at])+1+r.IntN(64))%65]
			token = string(b)
		case 1:
			b := bytes.Clone(text)
			b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
			token = pack(string(b))
		case 2:
			sig := make([]byte, 32)
			for j := range sig {
				sig[j] = byte(r.Uint32())
			}
			token = pack(strings.Replace(string(text), userSig, base64.StdEncoding.EncodeToString(sig), 1))
		case 3:
			b := []byte(demoKey)
			b[r.IntN(len(b))] ^= byte(1 + r.IntN(127))
			key = &Key{AppID: appID, Secret: secret.New(string(b))}
		case 4:
			token = nodeToken[:r.IntN(len(nodeToken))] + goToken[r.IntN(len(goToken)):]
		}
		c, err := key.Verify(token, "", made)
		switch {
		case err != nil:
		case token == nodeToken && key == k || token == goToken:
			same++ // nothing was changed
		case key == k && *c == (Claims{User: user, AppID: appID, Made: made, Life: life}):
			other++ // another text for what was signed, such as an escaped letter: not a forgery
		default:
			accepted++
			t.Errorf("accepted: %s %+v", token, c)
		}
	}
	t.Logf("%d tokens: %d accepted; %d were not changed, %d are other texts of what was signed", n, accepted, same, other)
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{nodeToken, goToken, nodeTicket, "", pack("{}"), nodeToken[:50]} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := Decode(token)
		if err != nil {
			if code(err) != trtc.SigDamaged && code(err) != trtc.InvalidPrivateMapKey {
				t.Errorf("%v", err)
			}
			return
		}
		// What could be read can be signed, and is read again.
		k := &Key{AppID: c.AppID, Secret: secret.New("k")}
		if k.AppID == 0 || c.Life == 0 {
			return
		}
		again, err := k.Sign(c.User, c.Made, c.Life)
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.Verify(again, c.User, c.Made)
		if err != nil || got.User != c.User || !got.Made.Equal(c.Made) || got.Life != c.Life {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// FuzzInside has the JSON and the ticket fuzzed without the packing around them.
func FuzzInside(f *testing.F) {
	raw, _ := hex.DecodeString(userbuf)
	f.Add([]byte(`{"TLS.ver":"2.0"}`), raw)
	f.Add([]byte(`{"TLS.ver":"2.0","TLS.identifier":"a","TLS.sdkappid":1,"TLS.time":1,"TLS.expire":1,"TLS.sig":"`+userSig+`"}`), []byte{1})
	f.Fuzz(func(t *testing.T, text, buf []byte) {
		if e, err := parse(text); err == nil {
			s, err := e.encode()
			if err != nil {
				t.Fatal(err)
			}
			again, err := decode(s)
			if err != nil || again.user != e.user || again.time != e.time || again.expire != e.expire || again.app != e.app || !bytes.Equal(again.userbuf, e.userbuf) {
				t.Errorf("%+v, %+v, %v", e, again, err)
			}
		}
		if ticket, err := readTicket(buf); err == nil {
			if got, err := readTicket(ticket.encode()); err != nil || *got != *ticket {
				t.Errorf("%+v, %+v, %v", ticket, got, err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	k := demo()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Verify(nodeToken, user, made); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleKey_Sign() {
	k := Key{AppID: 1400000000, Secret: secret.New("the application's secret key")}
	now := time.Unix(1700000000, 0)
	token, err := k.Sign("cart-7", now, 7*24*time.Hour)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = k.Verify(token, "cart-7", now.Add(8*24*time.Hour))
	fmt.Println(err)
	// Output: the token expired at 2023-11-21T22:13:20Z: sign a new one; if it is new, set this machine's clock
}
