package control

import (
	"context"
	"strings"
	"testing"
	"time"

	"anchord/internal/trtc"
)

// TestKinds gives each kind good and bad values.
func TestKinds(t *testing.T) {
	for _, c := range []struct {
		arg   Arg
		value string
		want  any    // nil: it is refused
		says  string // within the error
	}{
		{Arg{Kind: Int, Min: -5, Max: 10, Unit: "things"}, "-5", -5, ""},
		{Arg{Kind: Int, Min: -5, Max: 10, Unit: "things"}, "11", nil, `x "11": allowed: -5 to 10 things`},
		{Arg{Kind: Int, Min: 0, Max: 10}, "1.0", nil, "allowed"},
		{Arg{Kind: Int, Min: 0, Max: 10}, "0x1", nil, "allowed"},
		{Arg{Kind: Int, Min: 0, Max: 10}, "१", nil, "allowed"},
		{Arg{Kind: Int, Min: 0, Max: 10}, "99999999999999999999", nil, "allowed"},
		{Arg{Kind: Word}, "a.b:c/é", "a.b:c/é", ""},
		{Arg{Kind: Word}, "a b", nil, "a word without spaces"},
		{Arg{Kind: Text}, "a b", "a b", ""},
		{Arg{Kind: Text}, "", nil, "is empty"},
		{Arg{Kind: Text, Empty: true}, "", "", ""},
		{Arg{Kind: Text}, strings.Repeat("x", 256), strings.Repeat("x", 256), ""},
		{Arg{Kind: Text}, strings.Repeat("x", 257), nil, "longer than 256 bytes"},
		{Arg{Kind: Text, Max: 300}, strings.Repeat("x", 300), strings.Repeat("x", 300), ""},
		{Arg{Kind: Text, Max: 300}, strings.Repeat("x", 301), nil, "longer than 300 bytes"},
		{Arg{Kind: Text}, "a\x00", nil, "control character"},
		{Arg{Kind: Bool}, "on", true, ""},
		{Arg{Kind: Bool}, "off", false, ""},
		{Arg{Kind: Bool}, "true", nil, "allowed: on, off"},
		{Arg{Kind: Bool}, "ON", nil, "allowed: on, off"},
		{Arg{Kind: Enum, Of: []string{"a", "b"}}, "b", "b", ""},
		{Arg{Kind: Enum, Of: []string{"a", "b"}}, "c", nil, "allowed: a, b"},
		{Arg{Kind: Size}, "720p", trtc.Resolution{Number: 112, W: 1280, H: 720, CallKbps: 1200, LiveKbps: 1800}, ""},
		{Arg{Kind: Size}, "7x7", nil, "not one of TRTC's"},
		{Arg{Kind: RoomID}, "4294967294", "4294967294", ""},
		{Arg{Kind: RoomID}, "4294967295", nil, "room number"},
		{Arg{Kind: RoomID}, "a/b", nil, "byte 2 is not allowed"},
		{Arg{Kind: UserID}, "cart-7", "cart-7", ""},
		{Arg{Kind: UserID}, strings.Repeat("u", 33), nil, "33 bytes"},
		{Arg{Kind: Key}, "video.min_bitrate", "video.min_bitrate", ""},
		{Arg{Kind: Key}, "all", "all", ""},
		{Arg{Kind: Key}, "video.", nil, "a dotted key"},
		{Arg{Kind: Key}, "Video", nil, "a dotted key"},
		{Arg{Kind: Key}, "../etc", nil, "a dotted key"},
		{Arg{Kind: Duration, Min: 1, Max: 86400}, "1h30m", 90 * time.Minute, ""},
		{Arg{Kind: Duration, Min: 1, Max: 86400}, "1d", 24 * time.Hour, ""},
		{Arg{Kind: Duration, Min: 1, Max: 86400}, "0s", nil, "allowed: 1s to 1d"},
		{Arg{Kind: Duration, Min: 1, Max: 90061}, "1d1h1m2s", nil, "allowed: 1s to 1d1h1m1s"},
		{Arg{Kind: Duration, Min: 1, Max: 86400}, "5", nil, "allowed"},
		{Arg{Kind: Duration, Min: 1, Max: 86400}, "1m1h", nil, "allowed"},
		{Arg{Kind: Duration, Min: 1, Max: 86400}, "1m1m", nil, "allowed"},
		{Arg{Kind: Duration, Min: 1, Max: 86400}, "-1s", nil, "allowed"},
		{Arg{Kind: Duration, Min: 1, Max: 86400}, "99999999999999999999d", nil, "allowed"},
		{Arg{Kind: Duration, Min: 1, Max: 86400}, "9999999999999d", nil, "allowed"},
		{Arg{Kind: Secret}, "hunter2", "hunter2", ""},
		{Arg{Kind: Secret}, "hunter2\x1b", nil, "control character in value"},
		{Arg{Kind: Secret}, "hunter2" + strings.Repeat("x", 256), nil, "longer than"},
	} {
		c.arg.Name = "x"
		got, err := c.arg.check(c.value)
		if got != c.want || (err == nil) != (c.want != nil) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %.40q: %v, %v", c.arg.Kind, c.value, got, err)
		}
		if err != nil && c.arg.Kind == Secret && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the secret is said: %v", err)
		}
	}
}

func TestDefaults(t *testing.T) {
	var got Args
	table := Table{{Name: "c", Level: Read, Args: []Arg{
		{Name: "n", Kind: Int, Min: 0, Max: 9, Optional: true, Default: "7"},
		{Name: "d", Kind: Duration, Min: 1, Max: 3600, Optional: true, Default: "1m"},
		{Name: "s", Kind: Size, Optional: true, Default: "720p"},
		{Name: "b", Kind: Bool, Optional: true},
	}, Run: func(_ context.Context, a Args) (Fields, error) { got = a; return nil, nil }}}
	table.answer(t.Context(), root, []byte("c b=on"))
	if got.Int("n") != 7 || got.Duration("d") != time.Minute || got.Resolution("s").W != 1280 || !got.On("b") || got.Has("n") || !got.Has("b") {
		t.Errorf("%+v", got)
	}
	table.answer(t.Context(), root, []byte("c 3 d=2s"))
	if got.Int("n") != 3 || got.Duration("d") != 2*time.Second || got.On("b") || !got.Has("n") || got.Has("b") {
		t.Errorf("%+v", got)
	}
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"90s", "1d1h1m1s", "", "1", "m", "99999999999d", "1m1h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := parseDuration(s)
		if !ok {
			return
		}
		if d < 0 {
			t.Fatalf("%q is %v", s, d)
		}
		if again, ok := parseDuration(formatDuration(d)); !ok || again != d {
			t.Fatalf("%q is %v, written as %q", s, d, formatDuration(d))
		}
	})
}
