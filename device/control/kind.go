package control

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"anchord/internal/trtc"
)

// Kind is the type of an argument.
type Kind string

// The kinds. A command's function finds the value with the method of Args that is named.
const (
	Int      Kind = "int"      // a whole number from Min to Max, in Unit: Int
	Word     Kind = "word"     // no spaces: Word
	Text     Kind = "text"     // anything printable: Word
	Bool     Kind = "bool"     // on or off: On
	Enum     Kind = "enum"     // one word of Of: Word
	Size     Kind = "size"     // one of TRTC's resolutions: Resolution
	RoomID   Kind = "id"       // of a room: Word
	UserID   Kind = "user"     // a user's name in a room: Word
	Key      Kind = "key"      // a dotted key of the configuration, or a table: Word
	Duration Kind = "duration" // whole seconds from Min to Max, written 90s, 5m, 1h30m, 7d: Duration
	Secret   Kind = "secret"   // text that no message, help or completion shows: Word
)

// maxText is how many bytes a value may have if its argument does not say.
const maxText = 256

// most gives how many bytes the value may have.
func (x *Arg) most() int {
	if x.Max > 0 && (x.Kind == Text || x.Kind == Secret) {
		return x.Max
	}
	return maxText
}

// check gives the value that a text stands for.
func (x *Arg) check(v string) (any, error) {
	shown := short(v)
	if x.Kind == Secret {
		shown = "value"
	}
	allowed := func() error { return Errorf(CodeArgument, "%s %s: allowed: %s", x.Name, shown, x.values()) }
	switch {
	case len(v) > x.most():
		return nil, Errorf(CodeArgument, "%s is longer than %d bytes", x.Name, x.most())
	case strings.ContainsFunc(v, control):
		return nil, Errorf(CodeSyntax, "a control character in %s", shown)
	case v == "" && x.Empty:
		return v, nil
	case v == "":
		return nil, Errorf(CodeArgument, "%s is empty; give a value", x.Name)
	}
	switch x.Kind {
	case Int:
		n, err := strconv.Atoi(v)
		if err != nil || n < x.Min || n > x.Max {
			return nil, allowed()
		}
		return n, nil
	case Bool:
		if v != "on" && v != "off" {
			return nil, allowed()
		}
		return v == "on", nil
	case Enum:
		if !slices.Contains(x.Of, v) {
			return nil, allowed()
		}
	case Word:
		if strings.ContainsRune(v, ' ') {
			return nil, allowed()
		}
	case Key:
		if !dotted(v) {
			return nil, allowed()
		}
	case Size:
		r, err := trtc.ParseResolution(v)
		if err != nil {
			return nil, Errorf(CodeArgument, "%s: %v", x.Name, err)
		}
		return r, nil
	case RoomID:
		if err := trtc.CheckRoom(v); err != nil {
			return nil, err
		}
	case UserID:
		if err := trtc.CheckUser(v); err != nil {
			return nil, err
		}
	case Duration:
		d, ok := parseDuration(v)
		if !ok || d < x.least() || d > x.longest() {
			return nil, allowed()
		}
		return d, nil
	}
	return v, nil
}

func (x *Arg) least() time.Duration   { return time.Duration(x.Min) * time.Second }
func (x *Arg) longest() time.Duration { return time.Duration(x.Max) * time.Second }

// values says what is allowed.
func (x *Arg) values() string {
	s := string(x.Kind)
	switch x.Kind {
	case Int:
		s = fmt.Sprintf("%d to %d", x.Min, x.Max)
	case Bool:
		s = "on, off"
	case Enum:
		s = strings.Join(x.Of, ", ")
	case Word:
		s = "a word without spaces"
	case Text:
		s = "text"
		if x.Rest {
			s = "text; the rest of the line, no quotes needed"
		}
	case Size:
		s = "such as 1280x720, 720p or 112"
	case RoomID:
		s = fmt.Sprintf("1 to %d, or up to %d characters", uint32(trtc.MaxRoomNumber), trtc.MaxRoomBytes)
	case UserID:
		s = fmt.Sprintf("up to %d letters, digits, _ and -", trtc.MaxUserBytes)
	case Key:
		s = "a dotted key such as video.fps, or a table such as video"
	case Duration:
		s = fmt.Sprintf("%s to %s", formatDuration(x.least()), formatDuration(x.longest()))
	case Secret:
		s = "text, which is not shown again"
	}
	if x.Unit != "" {
		s += " " + x.Unit
	}
	return s
}

// usage gives the value's place in a line of usage.
func (x *Arg) usage() string {
	switch {
	case x.Kind == Bool:
		return "on|off"
	case x.Kind == Enum:
		return strings.Join(x.Of, "|")
	case x.Kind == Int:
		return fmt.Sprintf("%d…%d", x.Min, x.Max)
	case x.Rest:
		return strings.ToUpper(string(x.Kind)) + "…"
	}
	return strings.ToUpper(string(x.Kind))
}

// dotted tells whether s looks like a key of the configuration.
func dotted(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return false
		}
	}
	return true
}

// unit is what durations are written in.
type unit struct {
	name byte
	d    time.Duration
}

// units are the units, the longest first.
var units = []unit{{'d', 24 * time.Hour}, {'h', time.Hour}, {'m', time.Minute}, {'s', time.Second}}

// parseDuration reads 90s, 5m, 1h30m or 7d: each unit at most once, the longest first.
func parseDuration(s string) (sum time.Duration, ok bool) {
	const most = time.Duration(1 << 61)
	for rest := units; s != ""; {
		end := strings.IndexAny(s, "dhms")
		if end < 1 || strings.Trim(s[:end], "0123456789") != "" {
			return 0, false
		}
		i := slices.IndexFunc(rest, func(u unit) bool { return u.name == s[end] })
		n, err := strconv.ParseInt(s[:end], 10, 64)
		if i < 0 || err != nil || time.Duration(n) > most/rest[i].d {
			return 0, false
		}
		sum += time.Duration(n) * rest[i].d
		if sum > most {
			return 0, false
		}
		rest, s, ok = rest[i+1:], s[end+1:], true
	}
	return sum, ok
}

// formatDuration writes whole seconds as parseDuration reads them.
func formatDuration(d time.Duration) string {
	var b strings.Builder
	for _, u := range units {
		if n := d / u.d; n > 0 {
			fmt.Fprintf(&b, "%d%c", n, u.name)
			d -= n * u.d
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}
