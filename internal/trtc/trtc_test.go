package trtc

import (
	"errors"
	"strings"
	"testing"
)

func TestCodesAreUniqueAndNamed(t *testing.T) {
	numbers, names := map[Code]bool{}, map[string]bool{}
	for _, m := range Codes() {
		if numbers[m.Code] || names[m.Name] {
			t.Errorf("%d %s is there twice", m.Code, m.Name)
		}
		numbers[m.Code], names[m.Name] = true, true
		prefix := "ERR_"
		if m.Code.Warning() {
			prefix = "WARNING_"
		}
		if !strings.HasPrefix(m.Name, prefix) || m.Text == "" || m.Code.String() != m.Name {
			t.Errorf("%+v", m)
		}
	}
	for c, want := range map[Code]string{-1314: "ERR_CAMERA_NOT_AUTHORIZED", -3301: "ERR_TRTC_ENTER_ROOM_FAILED",
		-100018: "ERR_TRTC_USER_SIG_CHECK_FAILED", 1116: "WARNING_CAMERA_DISCONNECTED", -99: "code -99"} {
		if c.String() != want {
			t.Errorf("%d is %s, want %s", int(c), c, want)
		}
	}
}

func TestResolutions(t *testing.T) {
	last := 0
	for _, r := range Resolutions() {
		if r.Number <= last || r.LiveKbps <= r.CallKbps || r.CallKbps <= 0 {
			t.Errorf("%+v", r)
		}
		last = r.Number
		for _, s := range []string{r.String(), r.Name(), strings.ToUpper(r.Name())} {
			if got, err := ParseResolution(s); err != nil || got != r {
				t.Errorf("%q: %+v %v", s, got, err)
			}
		}
		if got, ok := ByNumber(r.Number); !ok || got != r {
			t.Errorf("%d: %+v", r.Number, got)
		}
		if got := Nearest(r.W, r.H); got != r {
			t.Errorf("nearest to %s is %s", r, got)
		}
	}
	for s, want := range map[string]int{"720p": 112, "360P": 108, "112": 112, " 640*480 ": 62, "1080p": 114} {
		if r, err := ParseResolution(s); err != nil || r.Number != want {
			t.Errorf("%q: %+v %v, want %d", s, r, err, want)
		}
	}
	for _, s := range []string{"", "x", "1280", "0x0", "4320p", "1280x"} {
		if r, err := ParseResolution(s); err == nil {
			t.Errorf("%q is %+v", s, r)
		}
	}
	if r := Nearest(1300, 740); r.Number != 112 {
		t.Errorf("nearest to 1300x740 is %s", r)
	}
	if _, ok := ByNumber(2); ok {
		t.Error("there is no number 2")
	}
}

func TestIDs(t *testing.T) {
	for id, good := range map[string]bool{
		"1": true, "4294967294": true, "4294967295": false, "0": false, "007": false, "99999999999999999999": false,
		"ward 3": true, "a!#$%&()+-:;<=.>?@[]^_{}|~,": true, "": false, "a/b": false, "a\"b": false, "ünder": false,
		strings.Repeat("x", 64): true, strings.Repeat("x", 65): false, "a\x00": false, "a\n": false,
	} {
		err := CheckRoom(id)
		check(t, "room", id, err, good, InvalidRoomID)
	}
	for id, good := range map[string]bool{
		"cart-7": true, "a": true, "A_9": true, "": false, "a b": false, "é": false, "a\x1b[2J": false,
		strings.Repeat("x", 32): true, strings.Repeat("x", 33): false,
	} {
		check(t, "user", id, CheckUser(id), good, InvalidUserID)
	}
}

func check(t *testing.T, kind, id string, err error, good bool, code Code) {
	t.Helper()
	if (err == nil) != good {
		t.Errorf("%s %q: %v", kind, id, err)
	}
	if err == nil {
		return
	}
	var e *IDError
	if !errors.As(err, &e) || e.Code != code || strings.ContainsAny(err.Error(), "\x00\n\x1b") || len(err.Error()) > 200 {
		t.Errorf("%s %q: error %q", kind, id, err)
	}
}

func TestWords(t *testing.T) {
	for _, r := range []Role{Anchor, Audience} {
		if got, ok := ParseRole(strings.ToUpper(r.String())); !ok || got != r {
			t.Errorf("role %d: %d", r, got)
		}
	}
	for s := VideoCall; s <= VoiceChatRoom; s++ {
		if got, ok := ParseScene(strings.ToLower(s.String())); !ok || got != s {
			t.Errorf("scene %d: %d", s, got)
		}
		if s.Roles() != (s == LIVE || s == VoiceChatRoom) {
			t.Errorf("scene %s: roles %v", s, s.Roles())
		}
	}
	if _, ok := ParseRole("king"); ok {
		t.Error("king is no role")
	}
	if _, ok := ParseScene("opera"); ok {
		t.Error("opera is no scene")
	}
	if Role(1).String() != "unknown" || Scene(9).String() != "unknown" {
		t.Error("unknown words")
	}
}
