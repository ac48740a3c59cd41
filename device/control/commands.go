package control

import (
	"context"
	"encoding/base64"
	"io"
	"slices"
	"strings"

	"anchord/device"
	"anchord/device/config"
	"anchord/hal"
	"anchord/internal/media"
)

// Parts is what commands act on. Each function may be called from any goroutine.
type Parts struct {
	Version  string
	Device   *device.Device                                                              // what is wanted
	Status   func() Fields                                                               // everything at a glance
	Room     func() Fields                                                               // how the room stands
	Camera   func() Fields                                                               // the camera in use
	Mic      func() Fields                                                               // the microphone in use
	Video    func() Fields                                                               // what is coded
	Stats    func() Fields                                                               // counters and latencies
	Cameras  func(context.Context) ([]hal.Device, error)                                 // what is plugged in
	Mics     func(context.Context) ([]hal.Device, error)                                 // what is plugged in
	Snapshot func(ctx context.Context, quality int) (jpeg []byte, s media.Size, e error) // the next picture
	LogLevel func(part, level string) (Fields, error)                                    // sets it, of all parts if none is named; "" only asks
	LogTail  func(lines int, level, part string) ([]string, error)                       // the newest lines, of all levels and parts if none is named
	LogParts func() []string                                                             // the names of parts that log
	Jobs     *Jobs                                                                       // what takes longer than an answer may
	Support  func(context.Context, io.Writer) error                                      // writes the bundle, a gzipped tar without secrets; nil: there is none
	GSensor  *device.GSensor                                                             // which way is up
	Sensors  func(context.Context) ([]hal.Device, error)                                 // accelerometers that the kernel has
	Encoders Encoders                                                                    // those that can be chosen
	Tokens   *Tokens                                                                     // who may come in by HTTP
	Events   *device.Events                                                              // what happens
	Health   *device.Health                                                              // what is wrong
}

// Commands gives the table for the parts.
func Commands(p Parts) Table {
	var t Table
	t = append(t, general(p, &t)...)
	t = append(t, faults(p)...)
	t = append(t, events(p)...)
	t = append(t, room(p)...)
	t = append(t, camera(p)...)
	t = append(t, mic(p)...)
	t = append(t, video(p)...)
	t = append(t, gsensor(p)...)
	t = append(t, encoders(p)...)
	t = append(t, settings(p)...)
	t = append(t, tokens(p.Tokens)...)
	t = append(t, p.Jobs.rows()...)
	if p.Support != nil {
		t = append(t, support(p))
	}
	for i := range t {
		if t[i].Name == "help" {
			for _, c := range t {
				t[i].Args[0].Hints = append(t[i].Args[0].Hints, c.Name)
			}
		}
	}
	return t
}

type call = func(context.Context, Args) (Fields, error)

// show makes a command's function of one that cannot fail.
func show(f func() Fields) call {
	return func(context.Context, Args) (Fields, error) { return f(), nil }
}

// change makes a command's function of an edit of what is wanted.
func change(p Parts, edit func(*config.Config, Args) error) call {
	return func(ctx context.Context, a Args) (Fields, error) {
		same, err := p.Device.Change(CallerOf(ctx).Name, func(w *config.Config) error { return edit(w, a) })
		if err != nil || !same {
			return nil, err
		}
		return Fields{{"unchanged", true}}, nil
	}
}

func general(p Parts, t *Table) Table {
	return Table{
		{Name: "version", Help: "Version of the daemon.", Level: Read, Run: show(func() Fields { return Fields{{"version", p.Version}} })},
		{Name: "status", Help: "How the box stands, at a glance.", Level: Read, Run: show(p.Status)},
		health(p),
		{Name: "stats", Help: "Counters, and latencies by stage in milliseconds.", Level: Read, Run: show(p.Stats)},
		{Name: "help", Help: "The commands, or one of them.", Level: Read, Example: "help room enter",
			Args: []Arg{{Name: "command", Kind: Text, Optional: true, Rest: true, Help: "a command, or the first word of several"}},
			Run:  func(_ context.Context, a Args) (Fields, error) { return t.help(a.Word("command")) }},
		{Name: "complete", Help: "What the last word of a line may become, for shells; in quotes, so that a space at its end is seen.", Level: Read, Example: `complete "room en"`,
			Args: []Arg{{Name: "line", Kind: Text, Max: 2048, Empty: true, Help: "as far as it was typed"}},
			Run: func(ctx context.Context, a Args) (Fields, error) {
				return Fields{{"word", t.Complete(ctx, a.Word("line"))}}, nil
			}},
		{Name: "snapshot", Help: "Take the next picture. The file itself comes as base64 with data=on; anchorctl snapshot -o FILE writes it.", Level: Operate, Example: "snapshot quality=70",
			Args: []Arg{{Name: "quality", Kind: Int, Min: 1, Max: 100, Unit: "percent", Optional: true, Default: "85", Help: "of the JPEG"},
				{Name: "data", Kind: Bool, Optional: true, Default: "off", Help: "with the file"}},
			Run: func(ctx context.Context, a Args) (Fields, error) {
				b, s, err := p.Snapshot(ctx, a.Int("quality"))
				if err != nil {
					return nil, err
				}
				f := Fields{{"size", s.String()}, {"bytes", len(b)}}
				if a.On("data") {
					f = append(f, Field{"jpeg", base64.StdEncoding.EncodeToString(b)})
				}
				return f, nil
			}},
		{Name: "log level", Help: "How much is logged, from now until the next start.", Level: Operate, Example: "log level debug part=whip",
			Args: []Arg{{Name: "level", Kind: Enum, Of: logLevels, Optional: true, Help: "the least that is logged; not given: only asks"},
				{Name: "part", Kind: Word, Optional: true, Help: "of this part only; not given: of all, also those that had their own", Suggest: logParts(p)}},
			Run: func(_ context.Context, a Args) (Fields, error) { return p.LogLevel(a.Word("part"), a.Word("level")) }},
		{Name: "log tail", Help: "The newest lines of the log.", Level: Operate, Example: "log tail 50 level=warn part=camera",
			Args: []Arg{{Name: "lines", Kind: Int, Min: 1, Max: 400, Unit: "lines", Optional: true, Default: "20", Help: "how many"},
				{Name: "level", Kind: Enum, Of: logLevels, Optional: true, Help: "from this level on; warnings and errors are remembered longer than the rest"},
				{Name: "part", Kind: Word, Optional: true, Help: "of this part only", Suggest: logParts(p)}},
			Run: func(_ context.Context, a Args) (Fields, error) {
				lines, err := p.LogTail(a.Int("lines"), a.Word("level"), a.Word("part"))
				if err != nil {
					return nil, err
				}
				return Fields{{"log", lines}}, nil
			}},
	}
}

// logLevels are the log's levels, in their order.
var logLevels = []string{"debug", "info", "warn", "error"}

func logParts(p Parts) func(context.Context) []string {
	return func(context.Context) []string { return p.LogParts() }
}

func (t Table) help(name string) (Fields, error) {
	var f Fields
	for _, c := range t {
		if name == "" || c.Name == name || strings.HasPrefix(c.Name, name+" ") {
			f = append(f, Field{c.Name, c.Help})
			if name != "" {
				f = append(f, Field{"usage", c.Usage()})
				for i := range c.Args {
					f = append(f, Field{"  " + c.Args[i].Name, c.Args[i].Explain()})
				}
				if len(c.Args) > 0 {
					f = append(f, Field{"example", c.Example})
				}
				f = append(f, Field{"level", c.Level.String()})
			}
		}
	}
	if len(f) == 0 {
		return nil, Errorf(CodeUnknown, "there is no command %s; see help", short(name))
	}
	return f, nil
}

func support(p Parts) Command {
	return Command{Name: "support", Help: "Gather in one file what is needed to find a fault, without secrets. A job does it; anchorctl support -o FILE waits and writes it.", Level: Admin,
		Run: p.Jobs.later(func(ctx context.Context, _ Args, w io.Writer) (Fields, error) { return nil, p.Support(ctx, w) })}
}

func room(p Parts) Table {
	return Table{
		{Name: "room enter", Help: "Be in a room, from now on: the box comes back by itself after every fault.", Level: Operate, Example: "room enter id=101 user=cart-7",
			Args: []Arg{{Name: "id", Kind: RoomID, Optional: true, Help: "the room; the last one if not given"},
				{Name: "user", Kind: UserID, Optional: true, Help: "this box's name in it; the last one if not given"}},
			Run: change(p, func(w *config.Config, a Args) error {
				w.Room.AutoEnter = true
				if a.Has("id") {
					w.Room.ID = a.Word("id")
				}
				if a.Has("user") {
					w.Room.User = a.Word("user")
				}
				if w.Room.ID == "" || w.Room.User == "" {
					return Errorf(CodeArgument, "id and user are needed the first time: room enter id=101 user=cart-7")
				}
				return nil
			})},
		{Name: "room exit", Help: "Be in no room.", Level: Operate,
			Run: change(p, func(w *config.Config, _ Args) error { w.Room.AutoEnter = false; return nil })},
		{Name: "room show", Help: "How the room stands.", Level: Read, Run: show(p.Room)},
	}
}

// devices makes the answer of a list command.
func devices(list func(context.Context) ([]hal.Device, error), key string) call {
	return func(ctx context.Context, _ Args) (Fields, error) {
		ds, err := list(ctx)
		if err != nil {
			return nil, err
		}
		out := make([]Fields, len(ds))
		for i, d := range ds {
			out[i] = Fields{{"id", d.ID}, {"name", d.Name}, {"node", d.Node}, {"port", d.Port}}
		}
		return Fields{{key, out}}, nil
	}
}

// ids suggests what a list command lists.
func ids(list func(context.Context) ([]hal.Device, error)) func(context.Context) []string {
	return func(ctx context.Context) []string {
		ds, err := list(ctx)
		if err != nil {
			return nil // no suggestion is no fault
		}
		var out []string
		for _, d := range ds {
			out = append(out, d.ID)
		}
		return out
	}
}

func camera(p Parts) Table {
	return Table{
		{Name: "camera list", Help: "The cameras that are plugged in.", Level: Read, Run: devices(p.Cameras, "camera")},
		{Name: "camera show", Help: "The camera in use.", Level: Read, Run: show(p.Camera)},
		{Name: "camera select", Help: "Use this camera, now and whenever it is plugged in.", Level: Operate, Example: `camera select "HD Pro Webcam, any"`,
			Args: []Arg{{Name: "match", Kind: Text, Help: "id, port or part of the name; any; test; several, comma-separated: the first that is there", Hints: []string{"any", "test"}, Suggest: ids(p.Cameras)}},
			Run:  change(p, func(w *config.Config, a Args) error { w.Camera.Match = a.Word("match"); return nil })},
		{Name: "camera start", Help: "Open the camera, and again whenever it was lost.", Level: Operate,
			Run: change(p, func(w *config.Config, _ Args) error { w.Camera.Stopped = false; return nil })},
		{Name: "camera stop", Help: "Close the camera: its lamp goes out.", Level: Operate,
			Run: change(p, func(w *config.Config, _ Args) error { w.Camera.Stopped = true; return nil })},
		{Name: "camera mute", Help: "Send no picture; the camera stays open.", Level: Operate, Example: "camera mute on",
			Args: []Arg{{Name: "state", Kind: Bool, Help: "muted or not"}},
			Run:  change(p, func(w *config.Config, a Args) error { w.Camera.Muted = a.On("state"); return nil })},
	}
}

func mic(p Parts) Table {
	return Table{
		{Name: "mic list", Help: "The microphones that are plugged in.", Level: Read, Run: devices(p.Mics, "mic")},
		{Name: "mic show", Help: "The microphone in use.", Level: Read, Run: show(p.Mic)},
		{Name: "mic select", Help: "Use this microphone, and never another by accident.", Level: Operate, Example: `mic select "USB Audio, any"`,
			Args: []Arg{{Name: "match", Kind: Text, Help: "as for camera select", Hints: []string{"any", "test"}, Suggest: ids(p.Mics)}},
			Run:  change(p, func(w *config.Config, a Args) error { w.Mic.Match = a.Word("match"); return nil })},
		{Name: "mic start", Help: "Open the microphone, and again whenever it was lost.", Level: Operate,
			Run: change(p, func(w *config.Config, _ Args) error { w.Mic.Stopped = false; return nil })},
		{Name: "mic stop", Help: "Close the microphone.", Level: Operate,
			Run: change(p, func(w *config.Config, _ Args) error { w.Mic.Stopped = true; return nil })},
		{Name: "mic mute", Help: "Send silence; the microphone stays open.", Level: Operate, Example: "mic mute on",
			Args: []Arg{{Name: "state", Kind: Bool, Help: "muted or not"}},
			Run:  change(p, func(w *config.Config, a Args) error { w.Mic.Muted = a.On("state"); return nil })},
		{Name: "mic volume", Help: "Software gain, and the device's own volume: two things.", Level: Operate, Example: "mic volume 120",
			Args: []Arg{{Name: "percent", Kind: Int, Min: 0, Max: 150, Unit: "percent", Optional: true, Help: "gain: 100 leaves the sound as it is, above it loud sounds are distorted"},
				{Name: "device", Kind: Int, Min: -1, Max: 100, Unit: "percent", Optional: true, Help: "the device's own volume, whenever it is opened; -1 leaves the device as it is"}},
			Run: change(p, func(w *config.Config, a Args) error {
				if !a.Has("percent") && !a.Has("device") {
					return Errorf(CodeArgument, "give percent, device, or both: mic volume 120 device=80")
				}
				if a.Has("percent") {
					w.Mic.Volume = a.Int("percent")
				}
				if a.Has("device") {
					w.Mic.Device = a.Int("device")
				}
				return nil
			})},
	}
}

func video(p Parts) Table {
	return Table{
		{Name: "video show", Help: "What is wanted, captured and coded.", Level: Read, Run: show(p.Video)},
		{Name: "video resolution", Help: "Size of the picture; the camera's nearest is taken. The bit rate becomes TRTC's recommendation.", Level: Operate, Example: "video resolution 1280x720",
			Args: []Arg{{Name: "size", Kind: Size, Help: "width and height, a name, or TRTC's number"}},
			Run: change(p, func(w *config.Config, a Args) error {
				w.Video.Resolution, w.Video.Bitrate, w.Video.MinBitrate = a.Resolution("size").String(), 0, 0
				return nil
			})},
		{Name: "video fps", Help: "Frames a second.", Level: Operate, Example: "video fps 30",
			Args: []Arg{{Name: "fps", Kind: Int, Min: 1, Max: 60, Unit: "pictures a second", Help: "the camera's nearest is taken"}},
			Run:  change(p, func(w *config.Config, a Args) error { w.Video.FPS = a.Int("fps"); return nil })},
		{Name: "video bitrate", Help: "Most bits that the picture may take; the network can press it lower.", Level: Operate, Example: "video bitrate 1200",
			Args: []Arg{{Name: "kbps", Kind: Int, Min: 50, Max: 20000, Unit: "kbit/s", Help: "the most"}},
			Run: change(p, func(w *config.Config, a Args) error {
				w.Video.Bitrate = a.Int("kbps")
				w.Video.MinBitrate = min(w.Video.MinBitrate, w.Video.Bitrate)
				return nil
			})},
		{Name: "video rotation", Help: "Turn the picture clockwise, whatever the G-sensor adds to that.", Level: Operate, Example: "video rotation 90",
			Args: []Arg{{Name: "degrees", Kind: Enum, Of: []string{"0", "90", "180", "270"}, Unit: "degrees", Help: "clockwise"}},
			Run: turned(p, func(w *config.Config, a Args) error {
				w.Video.Rotation = 90 * slices.Index([]string{"0", "90", "180", "270"}, a.Word("degrees"))
				return nil
			})},
		{Name: "video mirror", Help: "Mirror the picture left to right, for all viewers.", Level: Operate, Example: "video mirror on",
			Args: []Arg{{Name: "state", Kind: Bool, Help: "mirrored or not"}},
			Run:  change(p, func(w *config.Config, a Args) error { w.Video.Mirror = a.On("state"); return nil })},
	}
}
