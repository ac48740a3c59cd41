package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"anchord/device"
	"anchord/device/config"
	"anchord/hal"
	"anchord/hal/fake"
	"anchord/internal/media"
)

// root may do everything.
var root = Caller{"test", Admin}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// box is a configuration in which the rooms are in the daemon.
func box() config.Config {
	c := config.Default()
	c.Rooms.Enabled = true
	return c
}

// parts gives a table over a box that does not exist.
func parts() Parts {
	level := "info"
	two := func(kind string) func(context.Context) ([]hal.Device, error) {
		return func(context.Context) ([]hal.Device, error) {
			return []hal.Device{{ID: "usb-" + kind, Name: "The \x1b[31mred\u009b one", Node: "/dev/" + kind + "0", Port: "1.2"}, {ID: "other", Name: "Other", Node: "/dev/" + kind + "1"}}, nil
		}
	}
	hub := device.NewEvents()
	fields := func(f ...Field) func() Fields { return func() Fields { return f } }
	return Parts{
		Version: "1.2.3",
		Events:  hub, Health: device.NewHealth(hub, nil),
		Device:  device.New(box(), map[string]config.Source{"rooms.enabled": config.FromFile}),
		Status:  fields(Field{"room", "none wanted"}, Field{"ready", true}, Field{"z", 1}, Field{"a", 2}),
		Room:    fields(Field{"state", "out"}),
		Camera:  fields(Field{"muted", false}),
		Mic:     fields(Field{"level", -127}),
		Video:   fields(Field{"wanted", Fields{{"size", "640x360"}, {"fps", 15}}}, Field{"names", []string{"a", "b"}}),
		Stats:   fields(Field{"frames", uint64(1) << 40}, Field{"share", 1.0 / 3}),
		Cameras: two("video"), Mics: two("snd"),
		Snapshot: func(_ context.Context, q int) ([]byte, media.Size, error) {
			if q == 1 {
				return nil, media.Size{}, fmt.Errorf("take a snapshot: %w", context.DeadlineExceeded)
			}
			if q == 2 {
				return nil, media.Size{}, fmt.Errorf("take a snapshot: %w", hal.ErrGone)
			}
			if q == 3 {
				return nil, media.Size{}, Errorf(CodeState, "the camera is stopped: camera start")
			}
			if q == 4 {
				return nil, media.Size{}, errors.New("out of\npaper")
			}
			return []byte("jpeg"), media.Size{W: 640, H: 360}, nil
		},
		Tokens: &Tokens{}, LogLevel: func(part, l string) (Fields, error) {
			if part != "" && part != "camera" {
				return nil, Errorf(CodeArgument, "no part is called %q; there are camera", part)
			}
			old := level
			if l != "" {
				level = l
			}
			return Fields{{"level", level}, {"was", old}}, nil
		},
		Encoders: Encoders{
			Names: func() []string { return []string{"v4l2", "openh264"} },
			List: func() []Fields {
				return []Fields{{{"name", "v4l2"}, {"aside", "no answer for 500ms"}}, {{"name", "openh264"}, {"in_use", true}}}
			},
			Test: func(_ context.Context, name string) (Fields, error) {
				return Fields{{"name", name}, {"test", "good"}}, nil
			},
			Clear: func(string) error { return nil },
		},
		GSensor: device.NewGSensor(device.GSensorConfig{Log: slog.New(slog.DiscardHandler), Sensors: fake.NewAccelerometers()}, device.GSensorSettings{Mode: device.GSensorDisable}),
		Sensors: func(context.Context) ([]hal.Device, error) { return []hal.Device{{ID: "iio:lis3dh"}}, nil },
		LogTail: func(n int, level, part string) ([]string, error) {
			return []string{"one", "two\x1b[2J", level + part}[:min(n, 3)], nil
		},
		LogParts: func() []string { return []string{"camera"} },
		Jobs:     NewJobs(nil),
		Support:  func(_ context.Context, w io.Writer) error { _, err := io.WriteString(w, "bundle"); return err },
	}
}

// TestTranscripts plays the files in testdata: "> " is a line in, ">> " bytes in as a Go
// string, without a line's end, "< " a line out, "# " a remark. With UPDATE=1 in the
// environment it writes what is answered now: read the difference.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 3 {
		t.Fatalf("transcripts: %v, %v", files, err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			p := transcript{was: strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")}
			if err := Commands(parts()).serve(t.Context(), root, &p, &p.out); err != nil {
				t.Fatal(err)
			}
			now := strings.Join(p.now, "\n") + "\n"
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(name, []byte(now), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(b), now); d != "" {
				t.Errorf("answers (-want +got):\n%s", d)
			}
		})
	}
}

// transcript reads the lines in of a transcript, one at a time, and notes what comes out.
type transcript struct {
	was, now []string
	out      bytes.Buffer
}

func (p *transcript) Read(b []byte) (int, error) {
	for l := range strings.Lines(p.out.String()) {
		p.now = append(p.now, "< "+strings.TrimSuffix(l, "\n"))
	}
	p.out.Reset()
	for len(p.was) > 0 {
		l := p.was[0]
		p.was = p.was[1:]
		kind, rest, _ := strings.Cut(l, " ")
		if kind == "<" {
			continue
		}
		p.now = append(p.now, l)
		switch kind {
		case ">":
			return copy(b, rest+"\n"), nil
		case ">>":
			raw, err := strconv.Unquote(rest)
			return copy(b, raw), err
		case "#":
		default:
			return 0, fmt.Errorf("transcript: %q", l)
		}
	}
	return 0, io.EOF
}

// one gives the only line that answers a line, or the last.
func last(t *testing.T, table Table, line string) string {
	t.Helper()
	var out bytes.Buffer
	if err := table.serve(t.Context(), root, strings.NewReader(line), &out); err != nil {
		t.Fatal(err)
	}
	ls := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	return ls[len(ls)-1]
}

func TestLongLines(t *testing.T) {
	table := Commands(parts())
	const tooLong = "ERR 103 too-long a line has at most 4096 bytes"
	const cutOff = "ERR 100 syntax the line has no end: it was cut off, and nothing was done"
	pad := func(n int) string { return "version" + strings.Repeat(" ", n-len("version")) }
	for _, c := range []struct {
		name, in, want string
	}{
		{"the longest", pad(MaxLine) + "\n", "OK"},
		{"the longest with CR", pad(MaxLine) + "\r\n", "OK"},
		{"too long", pad(MaxLine+1) + "\n", tooLong},
		{"much too long", pad(1<<20) + "\n", tooLong},
		{"too long without an end", pad(1 << 16), cutOff},
		{"long JSON", `{"cmd":"` + pad(MaxLine) + `"}` + "\n", tooLong},
		{"a good one follows", pad(1<<16) + "\nversion\n", "OK"},
		{"the last without an end", "version", cutOff},
		{"a good one before one without an end", "version\nvideo fps 3", cutOff},
		{"long argument", "camera select " + strings.Repeat("x", 257) + "\n", "ERR 102 bad-argument match is longer than 256 bytes"},
		{"long tag", "@" + strings.Repeat("x", 33) + " version\n", "ERR 100 syntax a tag is @ and up to 32 characters"},
	} {
		if got := last(t, table, c.in); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Commands(parts()).serve(ctx, root, strings.NewReader("version\n"), &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestServeEndsWhenNobodyReads(t *testing.T) {
	for _, in := range []string{"version\nversion\n", strings.Repeat("x", 1<<16)} {
		if err := Commands(parts()).serve(t.Context(), root, strings.NewReader(in), brokenPipe{}); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%.10q: %v", in, err)
		}
	}
}

func TestEveryCommandIsDocumented(t *testing.T) {
	table := Commands(parts())
	seen := map[string]bool{}
	for i := range table {
		c := &table[i]
		if seen[c.Name] || len(strings.Fields(c.Name)) > 2 {
			t.Errorf("%s: twice, or more than two words", c.Name)
		}
		seen[c.Name] = true
		if !strings.HasSuffix(c.Help, ".") || c.Run == nil || c.Level == 0 {
			t.Errorf("%s: help %q, level %s", c.Name, c.Help, c.Level)
		}
		optional := false
		for i := range c.Args {
			a := &c.Args[i]
			if optional && !a.Optional {
				t.Errorf("%s: %s is needed and follows one that is not", c.Name, a.Name)
			}
			optional = optional || a.Optional
			if err := stands(a); err != nil {
				t.Errorf("%s: %s: %v", c.Name, a.Name, err)
			}
			if a.Rest && i < len(c.Args)-1 {
				t.Errorf("%s: %s takes what %s should get", c.Name, a.Name, c.Args[i+1].Name)
			}
		}
		if len(c.Args) > 0 && c.Example == "" {
			t.Errorf("%s: has arguments and no example", c.Name)
		}
		if u := c.Usage(); !strings.HasPrefix(u, c.Name) || strings.Count(u, "=") != len(c.Args) {
			t.Errorf("%s: usage %q", c.Name, u)
		}
		words, err := split(c.example())
		if err != nil {
			t.Fatalf("%s: example: %v", c.Name, err)
		}
		got, rest, err := table.find(words)
		if err != nil || got != c {
			t.Fatalf("%s: the example is another command's: %v", c.Name, err)
		}
		if _, err := c.args(rest); err != nil {
			t.Errorf("%s: example: %v", c.Name, err)
		}
		if f, err := table.help(c.Name); err != nil || f[0] != (Field{c.Name, c.Help}) {
			t.Errorf("help %s: %v, %v", c.Name, f, err)
		}
	}
}

// stands tells what is wrong with an argument's row.
func stands(a *Arg) error {
	number := a.Kind == Int || a.Kind == Duration
	switch {
	case a.Name == "" || a.Help == "":
		return errors.New("without a name or help")
	case strings.HasSuffix(a.Help, "."):
		return errors.New("the help ends like a sentence, and goes on")
	case number && a.Min >= a.Max:
		return fmt.Errorf("from %d to %d", a.Min, a.Max)
	case !number && (a.Min != 0 || a.Max != 0 && a.Kind != Text && a.Kind != Secret):
		return errors.New("a range of no number")
	case a.Kind == Int && a.Unit == "" && a.Max < math.MaxInt32: // greater ones are numbers, not quantities
		return errors.New("a number without a unit")
	case (a.Kind == Enum) != (len(a.Of) > 0):
		return errors.New("words to choose from belong to an enum, and an enum has some")
	case a.Rest && a.Kind != Text:
		return errors.New("the rest of a line is a text")
	case a.Default != "" && !a.Optional:
		return errors.New("a default that nobody can want")
	case a.values() == string(a.Kind) && a.Kind != Text:
		return fmt.Errorf("kind %q is not known", a.Kind)
	}
	if a.Default != "" {
		if _, err := a.check(a.Default); err != nil {
			return fmt.Errorf("default: %w", err)
		}
	}
	return nil
}

// TestWhatIsWanted says each command that changes something, and looks at what is wanted.
func TestWhatIsWanted(t *testing.T) {
	p := parts()
	table := Commands(p)
	for _, c := range []struct {
		line string
		ok   func(config.Config) bool
	}{
		{"room enter 101 cart-7", func(w config.Config) bool {
			return w.Room.AutoEnter && w.Room.ID == "101" && w.Room.User == "cart-7"
		}},
		{"room exit", func(w config.Config) bool { return !w.Room.AutoEnter && w.Room.ID == "101" }},
		{"room enter", func(w config.Config) bool { return w.Room.AutoEnter && w.Room.User == "cart-7" }},
		{"room enter user=other", func(w config.Config) bool { return w.Room.ID == "101" && w.Room.User == "other" }},
		{`room enter id="a b"`, func(w config.Config) bool { return w.Room.ID == "a b" }},
		{`camera select "HD Pro, test"`, func(w config.Config) bool { return w.Camera.Match == "HD Pro, test" }},
		{"camera stop", func(w config.Config) bool { return w.Camera.Stopped }},
		{"camera start", func(w config.Config) bool { return !w.Camera.Stopped }},
		{"camera mute on", func(w config.Config) bool { return w.Camera.Muted }},
		{"camera mute off", func(w config.Config) bool { return !w.Camera.Muted }},
		{"mic select usb", func(w config.Config) bool { return w.Mic.Match == "usb" }},
		{"mic stop", func(w config.Config) bool { return w.Mic.Stopped }},
		{"mic start", func(w config.Config) bool { return !w.Mic.Stopped }},
		{"mic mute state=on", func(w config.Config) bool { return w.Mic.Muted }},
		{"mic volume device=80", func(w config.Config) bool { return w.Mic.Volume == 100 && w.Mic.Device == 80 }},
		{"mic volume 150", func(w config.Config) bool { return w.Mic.Volume == 150 }},
		{"video resolution 720p", func(w config.Config) bool {
			target, _ := w.Video.Bits()
			return w.Video.Resolution == "1280x720" && w.Video.Bitrate == 0 && w.Video.MinBitrate == 0 && target == 1800e3
		}},
		{"video fps 30", func(w config.Config) bool { return w.Video.FPS == 30 }},
		{"video bitrate 100", func(w config.Config) bool { return w.Video.Bitrate == 100 && w.Video.MinBitrate <= 100 }},
		{"video rotation 270", func(w config.Config) bool { return w.Video.Rotation == 270 }},
		{"config set video.fps 20", func(w config.Config) bool { return w.Video.FPS == 20 }},
		{"config set ice.servers stun:a.example,stun:b.example", func(w config.Config) bool { return len(w.ICE.Servers) == 2 }},
		{`config set ice.servers ""`, func(w config.Config) bool { return len(w.ICE.Servers) == 0 }},
		{"config reset video.fps", func(w config.Config) bool { return w.Video.FPS == 15 }},
		{"video mirror on", func(w config.Config) bool { return w.Video.Mirror }},
	} {
		if got := last(t, table, c.line+"\n"); got != "OK" || !c.ok(p.Device.Wanted()) {
			t.Errorf("%s: %s, %+v", c.line, got, p.Device.Wanted())
		}
	}
	before := p.Device.Wanted()
	for _, line := range []string{"room enter id=0", "room enter user=a.b", "camera select \"\"", "mic volume 151", "video resolution 7x7", "video fps 0", "video rotation 45", "config set video.fps 0",
		"config set video.fsp 3", "config set video 3", "config set store.path /x", "config set log.level loud", "config reset vid", "config get vid"} {
		got := last(t, table, line+"\n")
		if d := cmp.Diff(before, p.Device.Wanted()); !strings.HasPrefix(got, "ERR ") || d != "" {
			t.Errorf("%s: %s, %s", line, got, d)
		}
	}
}

func TestFieldsKeepTheirOrder(t *testing.T) {
	b, err := json.Marshal(Fields{{"z", 1}, {"a", Fields{{"y", "\x1b"}, {"b", []Fields{{{"k", true}}}}}}, {"m", []string{"x"}}})
	if want := "{\"z\":1,\"a\":{\"y\":\"\ufffd\",\"b\":[{\"k\":true}]},\"m\":[\"x\"]}"; err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	if _, err := json.Marshal(Fields{{"f", func() {}}}); err == nil {
		t.Error("a function was written")
	}
	table := Table{{Name: "bad", Level: Read, Run: func(context.Context, Args) (Fields, error) { return Fields{{"f", func() {}}}, nil }}}
	if got := string(table.reply(t.Context(), root, []byte(`{"cmd":"bad"}`)).json()); !strings.Contains(got, `"code":500`) || !json.Valid([]byte(got)) {
		t.Error(got)
	}
}

func TestNumbersHaveNoExponent(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 30: "30", 29.97: "29.97", 1.0 / 3: "0.3333", 0.00001234: "0.00001234", 999.96: "1000",
		10000: "10000", 12345.6: "12346", 1e15: "1000000000000000", -20000.4: "-20000", -0.5: "-0.5"} {
		if got := number(v); got != want {
			t.Errorf("%g: %q, want %q", v, got, want)
		}
	}
}

func TestCommandsHaveADeadline(t *testing.T) {
	seen := 0
	table := Table{{Name: "wait", Level: Read, Run: func(ctx context.Context, _ Args) (Fields, error) {
		if _, ok := ctx.Deadline(); ok {
			seen++
		}
		return nil, nil
	}}}
	table.answer(t.Context(), root, []byte("wait"))
	table.answer(t.Context(), root, []byte(`{"cmd":"wait"}`))
	table.reply(t.Context(), root, []byte(`{"cmd":"wait"}`))
	if seen != 3 {
		t.Errorf("%d of 3 calls have a deadline", seen)
	}
}

func TestSlugs(t *testing.T) {
	for code, want := range map[int]string{CodeSyntax: "syntax", CodeUnknown: "unknown-command", CodeArgument: "bad-argument", CodeTooLong: "too-long",
		CodeState: "bad-state", CodeNotFound: "not-found", CodeTimeout: "timeout", CodeBusy: "busy", CodeDenied: "denied", CodeForbidden: "forbidden", CodeInternal: "internal"} {
		if got := slug(code); got != want {
			t.Errorf("%d: %s, want %s", code, got, want)
		}
	}
	if got := slug(-3301); got == "internal" || strings.ContainsAny(got, " \n") {
		t.Errorf("-3301: %q", got)
	}
}
