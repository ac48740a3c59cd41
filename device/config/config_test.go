package config

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

const files = "../../configs/"

func TestDefaultFileSaysTheDefaults(t *testing.T) {
	b, err := os.ReadFile(files + "anchord.toml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("anchord.toml", b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Default(), c); d != "" {
		t.Errorf("the file and the code differ:\n%s", d)
	}
	at := places(b)
	for _, k := range Keys() {
		p, ok := at[k]
		if !ok {
			t.Errorf("%s is not in the file", k)
			continue
		}
		if above := strings.Split(string(b), "\n")[p.line-2]; !strings.HasPrefix(above, "#") {
			t.Errorf("%s has no comment above it", k)
		}
	}
}

func TestDemoFile(t *testing.T) {
	c, err := Load(files + "demo.toml")
	if err != nil || c.Name == "" || !c.Room.AutoEnter || c.Video.Size().W != 1280 {
		t.Errorf("%+v %v", c, err)
	}
}

func TestFaultsAreSaidAllAtOnce(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"[room]\nurl = \"ftp://x\"\nid = \"0\"\n[video]\nfps = 99\nrotation = 45\n", `
f:2:1: room.url: "ftp://x": allowed: embedded:, whip+https://host/path, whip+http://host/path
f:3:1: room.id: "0": *
f:5:1: video.fps: "99": allowed: 1 to 60 frames a second
f:6:1: video.rotation: "45": allowed: 0, 90, 180, 270 (degrees clockwise)`},
		{"[video]\nfsp = 3\n[vidoe]\nfps = 3\n", `
f:2:1: video.fsp: there is no such key (did you mean video.fps?)
f:3:*: vidoe*: there is no such key*`},
		{"[video]\nfps = \"x\"\nrotation = true\nmirror = 1\n", `
f:2:7: video.fps: *
f:3:12: video.rotation: *
f:4:10: video.mirror: *`},
		{"[video\n", "\nf:1:*"},
		{"[video]\nresolution = \"1280x7", "\nf:2:*"}, // written half
		{"[room]\nauto_enter = true\n[rooms]\nenabled = true\n", "\nf:2:1: room.auto_enter: \"true\": needs room.id and room.user"},
		{"[room]\nurl = \"whip+https://h/x?***\"\n", "\nf:2:1: room.url: \"whip+https://h/x?***\": *** is shown in place of a secret: give the address itself"},
		{"[room]\ntoken_file = \"credential:../x\"\n", "\nf:2:1: room.token_file: \"credential:../x\": allowed: a file's path, or credential:NAME *"},
		{"[room]\nurl = \"https://u:p@h/x?token=t\"\n", "\nf:2:1: room.url: \"https://***@h/x?***\": allowed: *"},
		{"[ice]\nservers = [\"turn:u:p@h\"]\n", "\nf:2:1: ice.servers: \"turn:***@h\": allowed: *"},
		{"[room]\nurl = \"whip+https://u:p@h/x\"\n", "\nf:2:1: room.url: \"whip+https://***@h/x\": secrets do not belong in the address: put the token into room.token_file"},
		{"[rooms]\nlisten = \"0.0.0.0:80\"\n", "\nf:2:1: rooms.listen: *: anybody who reaches this address could watch: set rooms.open = true to allow that"},
		{"[control.http]\nlisten = \"0.0.0.0:80\"\n", "\nf:2:1: control.http.listen: *: the control port has no TLS: allowed are 127.0.0.1, [::1] and localhost"},
		{"[video]\nbitrate = 100\nmin_bitrate = 200\n", "\nf:3:1: video.min_bitrate: *"},
		{"\x00\xff", "\nf:1:1: *"},
		{"\"\\u001b[31m\" = 1\n", "\nf:1:1: \"\\x1b[31m\": there is no such key"},
		{"[room]\nid = 101\n[mic]\nvolume = \"x\"\n[video]\nmirror = 1\n[ice]\nservers = \"stun:h\"\n[control]\nhttp = 1\n", `
f:2:6: room.id: needs a string in quotes
f:4:10: mic.volume: needs a whole number without quotes
f:6:10: video.mirror: needs true or false
f:8:11: ice.servers: needs a list of strings: ["…", "…"]
f:10:8: control.http: is a table: [control.http]`},
		{"[gsensor]\nmode = \"on\"\ndevice = \"i2c:x:lis3dh\"\naddress = \"0x90\"\nmatrix = \"1 0 0\"\n", `
f:2:1: gsensor.mode: "on": allowed: disable, auto, fixed180
f:3:1: gsensor.device: "i2c:x:lis3dh": allowed: auto *i2c:BUS:CHIP with a chip of lis3dh, *
f:4:1: gsensor.address: "0x90": allowed: 0x08 to 0x77, *
f:5:1: gsensor.matrix: "1 0 0": it has 3 numbers, not 9: *`},
		{"[gsensor]\ndevice = \"i2c:1:lis3dh\"\n", "\nf: gsensor.address: the chip's address on bus 1 is needed, *"},
		{"[gsensor]\ndevice = \"iio:../x\"\n", "\nf:2:1: gsensor.device: *"},
		{"[control]\nsocket = \"\"\n", "\nf:2:1: control.socket: needs a path, *"},
		{"[control]\nsocket = \"@anchord\"\n", "\nf:2:1: control.socket: \"@anchord\": needs a path, *"},
		{"[control]\nsocket = \"/" + strings.Repeat("x", 107) + "\"\n", "\nf:2:1: control.socket: *: a socket's path has at most 107 bytes"},
		{"[control.http]\nlisten = \"127.0.0.1:99999\"\n", "\nf:2:1: control.http.listen: *: allowed: host:port, *"},
		{"[rooms]\nudp = \"127.0.0.1:http\"\nlisten = \"8080\"\n", "\nf:2:1: rooms.udp: *: allowed: host:port, *\nf:3:1: rooms.listen: *: allowed: host:port, *"},
		{"[ice]\nservers = [\"stun:h\", \"turn:h:1\", \"stun:\", \"stun:a:99999\", \"stuns:[::1]:5349\"]\n", `
f:2:1: ice.servers: "turn:h:1": allowed: *
f:2:1: ice.servers: "stun:": allowed: *
f:2:1: ice.servers: "stun:a:99999": allowed: *`},
		{"[room]\nid = \"1\"\nuser = \"u\"\nauto_enter = true\n", "\nf: room.url: \"embedded:\": the room is in this daemon: *"},
		{"[log]\nfile = \"anchord.log\"\nmax_mb = 0\n", `
f:2:1: log.file: "anchord.log": allowed: a file's whole path, *
f:3:1: log.max_mb: "0": allowed: 1 to 1000 MB`},
		{"[log]\nfile = \"/var/log/\"\n", "\nf:2:1: log.file: \"/var/log/\": allowed: a file's whole path, *"},
		{"[room]\nurl = \"whip+http://:80/x\"\n", "\nf:2:1: room.url: *: no host*"},
		{"[room]\nurl = \"whip+http://h:99999/x\"\n", "\nf:2:1: room.url: *: no host, or not a port*"},
		{"[room]\nurl = \"whip+http://h/x#y\"\n", "\nf:2:1: room.url: *: nothing may follow a #*"},
	} {
		got, err := Parse("f", []byte(c.in))
		var f *Faults
		if !errors.As(err, &f) {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		if d := cmp.Diff(Default(), got); d != "" {
			t.Errorf("%q: a wrong file gave values:\n%s", c.in, d)
		}
		have, want := strings.Split(err.Error(), "\n"), strings.Split(strings.TrimPrefix(c.want, "\n"), "\n")
		if len(have) != len(want) {
			t.Errorf("%q:\n%s\nwant\n%s", c.in, err, c.want)
			continue
		}
		for i := range want {
			if !match(want[i], have[i]) {
				t.Errorf("%q: line %d is\n%s\nwant\n%s", c.in, i, have[i], want[i])
			}
		}
	}
}

// match compares with * for anything.
func match(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for i, p := range parts[1:] {
		j := strings.LastIndex(s, p)
		if i < len(parts)-2 {
			j = strings.Index(s, p)
		}
		if j < 0 {
			return false
		}
		s = s[j+len(p):]
	}
	return s == "" || strings.HasSuffix(pattern, "*")
}

// asNobody names a file that this program reads as a user without rights, instead of testing.
const asNobody = "ANCHORD_TEST_READ_AS_NOBODY"

func TestMain(m *testing.M) {
	if file := os.Getenv(asNobody); file != "" {
		if err := syscall.Setuid(65534); err != nil {
			fmt.Println(err)
		}
		_, err := Load(file)
		fmt.Println(err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{filepath.Join(dir, "none.toml"): "there is no such file", dir: "no ordinary file", "/dev/zero": "no ordinary file", pipe: "no ordinary file"} {
		f, err := Load(name)
		if err == nil || !strings.Contains(err.Error(), want) || cmp.Diff(Default(), f.Config) != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	secret := filepath.Join(dir, "secret.toml")
	if err := os.WriteFile(secret, nil, 0o600); err != nil || os.Chmod(dir, 0o755) != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // else nobody is already who runs this
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), asNobody+"="+secret)
		if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "denied") && !strings.Contains(string(out), "check its owner and mode") {
			t.Errorf("mode 0600 of another user: %s %v", out, err)
		}
	}
	if _, err := Parse("bom", []byte("\xef\xbb\xbf[log]\r\nlevel = \"debug\"\r\n")); err != nil {
		t.Error(err)
	}
	if _, err := Parse("big", make([]byte, maxFile+1)); err == nil || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("big: %v", err)
	}
}

func TestGetKnowsEveryKey(t *testing.T) {
	c := Default()
	for _, k := range Keys() {
		if _, ok := c.Get(k); !ok {
			t.Errorf("%s", k)
		}
	}
	if v, _ := c.Get("video.fps"); v != 15 {
		t.Errorf("video.fps is %v", v)
	}
	if _, ok := c.Get("video"); ok {
		t.Error("a table has a value")
	}
}

func TestBitsFollowTRTC(t *testing.T) {
	for _, c := range []struct {
		v             Video
		target, least int
	}{
		{Video{Resolution: "640x360", FPS: 15}, 900e3, 225e3},
		{Video{Resolution: "112", FPS: 30}, 2700e3, 675e3},
		{Video{Resolution: "720p", FPS: 30, Bitrate: 1000, MinBitrate: 300}, 1000e3, 300e3},
	} {
		if a, b := c.v.Bits(); a != c.target || b != c.least {
			t.Errorf("%+v: %d %d", c.v, a, b)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, n := range []string{"anchord.toml", "demo.toml"} {
		b, err := os.ReadFile(files + n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("[video]\nfps = \"x\"\n[[video]]\n"))
	f.Add([]byte("a.b.c = 1\n[a]\nb = 2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse("f", b)
		var faults *Faults
		switch {
		case err == nil:
			if len(c.Validate()) > 0 {
				t.Fatal("passed with faults")
			}
			if _, err := toml.Marshal(c); err != nil {
				t.Fatal(err)
			}
		case !errors.As(err, &faults) || len(faults.Faults) == 0 || err.Error() == "":
			t.Fatalf("%v", err)
		}
	})
}

// What Export writes Parse reads back, whatever the values are.
func TestExportIsRead(t *testing.T) {
	c := Default()
	c.Camera.Match = "say \"cheese\" \\ \x01é\u007f, any"
	c.ICE.Servers = []string{"stun:a", "stun:b:1"}
	c.Video.FPS, c.Video.Mirror = 25, true
	c.Control.HTTP.Listen = "127.0.0.1:80"
	all := Export(c, func(string) bool { return true })
	some := Export(c, func(k string) bool { return len(Diff(Default(), c)[k]) > 0 })
	for _, lines := range [][]string{all, some} {
		got, err := Parse("export", []byte(strings.Join(lines, "\n")))
		if d := cmp.Diff(c, got); err != nil || d != "" {
			t.Errorf("%v\n%s", err, d)
		}
	}
	want := "[ice]\nservers = [\"stun:a\", \"stun:b:1\"]\n\n[camera]\nmatch = \"say \\\"cheese\\\" \\\\ \\u0001é\\u007F, any\"\n\n[video]\nfps = 25\nmirror = true\n\n[control.http]\nlisten = \"127.0.0.1:80\""
	if d := cmp.Diff(want, strings.Join(some, "\n")); d != "" {
		t.Error(d)
	}
}

func TestTextIsReadBack(t *testing.T) {
	c := Default()
	for _, k := range Keys() {
		text, ok := c.Text(k)
		again := Default()
		if f := again.SetText(k, text); !ok || f != nil {
			t.Errorf("%s = %q: %v", k, text, f)
		}
		if d := cmp.Diff(c, again); d != "" {
			t.Errorf("%s = %q: %s", k, text, d)
		}
	}
}

func TestLoadKnowsWhatTheFileHas(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.toml")
	if err := os.WriteFile(name, []byte("\xef\xbb\xbfvideo.fps = 20\n[control]\nhttp.listen = \"127.0.0.1:80\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Load(name)
	if d := cmp.Diff(map[string]Source{"video.fps": FromFile, "control.http.listen": FromFile}, f.From); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
}
