package e2e

import (
	"bytes"
	"context"
	"fmt"
	"image/jpeg"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"anchord/hal/pulse/pulsetest"
	"anchord/internal/media"
	"anchord/test/viewer"
)

// box is a daemon that is in its own room with the test picture and tone.
const box = `
[room]
id = "101"
user = "box"
auto_enter = true
[camera]
match = "test"
[mic]
match = "test"
[video]
resolution = "640x360"
fps = 30
[control.http]
listen = "127.0.0.1:0"
token_file = "%DIR%/token"
[rooms]
enabled = true
`

func watch(t *testing.T, base, user string, sound bool) *viewer.Viewer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	v, err := viewer.Watch(ctx, base, "101", user, viewer.Options{Sound: sound})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// frame waits for a picture after now that fulfils ok.
func frame(t *testing.T, v *viewer.Viewer, within time.Duration, what string, ok func(viewer.Frame) bool) viewer.Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	f, err := v.FrameAfter(ctx, time.Now(), ok)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return f
}

func upright(f viewer.Frame) bool { return f.Test }

// Sound and picture of the same instant have the same time at a receiver, by RTP times
// and sender reports alone.
func TestSoundAndPictureShareOneClock(t *testing.T) {
	d := start(t, box)
	v := watch(t, d.http, "box", true)
	frame(t, v, 10*time.Second, "first picture", upright)
	until(t, 10*time.Second, "sender reports", func() bool { _, _, err := v.Reports(); return err == nil })
	time.Sleep(5 * time.Second)
	vr, sr, err := v.Reports()
	if err != nil {
		t.Fatal(err)
	}
	wall := func(r viewer.Report, rtp uint32, rate float64) float64 { // ms
		return float64(r.NTP.UnixMicro())/1000 + float64(int32(rtp-r.RTP))/rate*1000
	}
	// The picture says the capture clock, so it gives the wall time of that clock's zero.
	now := int64(media.Now() / 1e6)
	var zero []float64
	var last *viewer.Frame
	for _, f := range v.Frames() {
		if !f.Test {
			t.Errorf("a picture cannot be read")
			continue
		}
		if last != nil && int16(f.Reading.Counter-last.Reading.Counter) <= 0 {
			t.Errorf("frame %d after %d", f.Reading.Counter, last.Reading.Counter)
		}
		captured := now - int64(uint16(now-int64(f.Reading.Millis))) // it says 16 bits of it
		zero = append(zero, wall(vr, f.RTP, 90000)-float64(captured))
		last = &f
	}
	picture := median(zero)
	// The beep begins at each full second of the same clock.
	beeps := onsets(v.Blocks(), func(rtp uint32, ms float64) float64 { return wall(sr, rtp, 48000) + ms })
	if len(beeps) < 4 {
		t.Fatalf("%d beeps in 5 s", len(beeps))
	}
	var skew []float64
	for _, b := range beeps {
		d := math.Mod(b-picture, 1000)
		skew = append(skew, math.Mod(d+1500, 1000)-500)
	}
	t.Logf("sound minus picture: median %.2f ms over %d beeps %.2f", median(skew), len(skew), skew)
	if m := median(skew); math.Abs(m) > 10 {
		t.Errorf("sound is %.1f ms from the picture", m)
	}
	if lost, bad := v.Lost(); lost+bad > 0 {
		t.Errorf("%d packets lost, %d pictures undecodable", lost, bad)
	}
}

// onsets finds where the beep begins: the first sample of which the next 5 ms are much
// louder than the tone.
func onsets(bs []viewer.Block, at func(rtp uint32, ms float64) float64) (out []float64) {
	loud := false
	for _, b := range bs {
		for i := 0; i+48 <= len(b.PCM); i += 6 {
			var sum float64
			for _, s := range b.PCM[i : i+48] {
				sum += float64(s) * float64(s)
			}
			now := math.Sqrt(sum/48) > 5000
			if now && !loud {
				out = append(out, at(b.RTP, float64(i+24)/48))
			}
			if now || math.Sqrt(sum/48) < 3000 {
				loud = now
			}
		}
	}
	return out
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return s[len(s)/2]
}

// Commands take effect in decoded pixels and sound.
func TestCommandsChangeWhatIsSeen(t *testing.T) {
	d := start(t, box)
	v := watch(t, d.http, "box", true)
	frame(t, v, 10*time.Second, "first picture", upright)

	d.do("video", "rotation", "90")
	f := frame(t, v, 5*time.Second, "turned by 90", func(f viewer.Frame) bool { return f.Size == media.Size{W: 360, H: 640} })
	if f.Test || !f.Key {
		t.Errorf("a turned picture is upright (%v), or not a key picture (%v)", f.Test, f.Key)
	}
	d.do("video", "rotation", "0")
	frame(t, v, 5*time.Second, "upright again", upright)
	d.do("video", "mirror", "on")
	frame(t, v, 5*time.Second, "mirrored", func(f viewer.Frame) bool { return !f.Test })
	d.do("video", "mirror", "off")
	frame(t, v, 5*time.Second, "not mirrored", upright)
	d.do("video", "resolution", "1280x720")
	frame(t, v, 8*time.Second, "720p", func(f viewer.Frame) bool { return f.Test && f.Size.W == 1280 })

	d.do("camera", "mute", "on")
	until(t, 5*time.Second, "no pictures while muted", func() bool {
		fs := v.Frames()
		return time.Since(fs[len(fs)-1].At) > time.Second
	})
	d.do("camera", "mute", "off")
	frame(t, v, 3*time.Second, "pictures after mute", upright)
	d.do("camera", "stop")
	if s := d.do("status")["camera"]; s != "stopped" {
		t.Errorf("camera is %v", s)
	}
	d.do("camera", "start")
	frame(t, v, 5*time.Second, "pictures after stop", upright)

	d.do("mic", "mute", "on")
	until(t, 5*time.Second, "silence while muted", func() bool { return loudness(v) < 20 })
	d.do("mic", "mute", "off")
	until(t, 5*time.Second, "sound after mute", func() bool { return loudness(v) > 1000 })

	if a := d.do("room", "enter", "id=101", "user=box"); a["unchanged"] != true {
		t.Errorf("entering the same room says %v", a)
	}
	d.do("room", "exit")
	until(t, 5*time.Second, "out of the room", func() bool { return d.do("room", "show")["state"] == "idle" })
	d.do("room", "enter")
	frame(t, v, 8*time.Second, "pictures after coming back", upright)
}

// loudness is the root mean square of the newest 200 ms.
func loudness(v *viewer.Viewer) float64 {
	bs := v.Blocks()
	var sum, n float64
	for _, b := range bs[max(0, len(bs)-10):] {
		for _, s := range b.PCM {
			sum += float64(s) * float64(s)
			n++
		}
	}
	if len(bs) == 0 || time.Since(bs[len(bs)-1].At) > 300*time.Millisecond {
		return 0
	}
	return math.Sqrt(sum / n)
}

// Nobody watches: the encoder rests. Somebody comes: a key picture at once.
func TestRestsAndWakes(t *testing.T) {
	d := start(t, box)
	until(t, 15*time.Second, "the encoder rests", func() bool { return d.do("video", "show")["resting"] == true })
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		begun := time.Now()
		v, err := viewer.Watch(ctx, d.http, "101", "box", viewer.Options{})
		if err != nil {
			t.Fatal(err)
		}
		f, err := v.FrameAfter(ctx, begun, nil)
		cancel()
		if err != nil || !f.Key {
			t.Fatalf("%+v %v", f, err)
		}
		t.Logf("first picture %v after asking", f.At.Sub(begun).Round(time.Millisecond))
		if f.At.Sub(begun) > 3*time.Second {
			t.Errorf("first picture after %v", f.At.Sub(begun))
		}
		v.Close()
		until(t, 10*time.Second, "the encoder rests again", func() bool { return d.do("video", "show")["resting"] == true })
	}
}

func TestSnapshot(t *testing.T) {
	d := start(t, box)
	d.do("video", "rotation", "90")
	until(t, 10*time.Second, "a camera", func() bool { return d.do("camera", "show")["id"] == "test-picture" })
	tok, err := os.ReadFile(filepath.Join(d.dir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	get := func(token string) (*http.Response, []byte) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, d.http+"/v1/snapshot.jpg", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, b
	}
	if res, _ := get("wrong"); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong token: %s", res.Status)
	}
	res, b := get(strings.TrimSpace(string(tok)))
	m, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil || res.Header.Get("Content-Type") != "image/jpeg" {
		t.Fatalf("%s: %v", res.Status, err)
	}
	// Turned by 90° the red corner is at the top right.
	if s := m.Bounds().Size(); s.X != 360 || s.Y != 640 {
		t.Errorf("size %v", s)
	}
	if r, g, bl, _ := m.At(350, 10).RGBA(); r>>8 < 200 || g>>8 > 60 || bl>>8 > 60 {
		t.Errorf("the corner is %d %d %d", r>>8, g>>8, bl>>8)
	}
	// The same by anchorctl.
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(d.dir, "s.jpg")
	out, err := exec.Command(filepath.Join(filepath.Dir(bin), "anchorctl"), "-socket", d.socket, "snapshot", "-o", file).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("360x640")) {
		t.Errorf("%v: %s", err, out)
	}
}

// A microphone's server dies and comes back: sound is back within 3 s.
func TestPulseAudioKilledAndStarted(t *testing.T) {
	pa := pulsetest.Start(t)
	d := start(t, strings.Replace(box, "[mic]\nmatch = \"test\"", fmt.Sprintf("[mic]\nmatch = %q\nserver = %q", pulsetest.Mic, pa.Address()), 1))
	v := watch(t, d.http, "box", true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := v.BlockAfter(ctx, time.Now()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		pa.Kill()
		until(t, 3*time.Second, "the loss is seen", func() bool { return d.do("status")["mic"] == "none" })
		until(t, 3*time.Second, "no sound", func() bool { return loudness(v) == 0 })
		begun := time.Now()
		pa.Start()
		until(t, 10*time.Second, "sound", func() bool { return loudness(v) > 300 })
		back := time.Since(begun)
		t.Logf("sound is back %v after the server was started", back.Round(time.Millisecond))
		if back > 3*time.Second {
			t.Errorf("sound came back after %v", back)
		}
	}
	if s := d.do("room", "show"); s["lost"] != float64(0) {
		t.Errorf("the room was lost: %v", s)
	}
}

// One daemon's room is the other's WHIP server. The server is killed and started: the
// other sends again within 3 s of its listening.
func TestServerKilledAndStarted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	server := "[control.http]\nlisten = \"" + addr + "\"\ntoken_file = \"%DIR%/token\"\n[rooms]\nenabled = true\n[camera]\nmatch = \"none\"\n[mic]\nmatch = \"none\"\n"
	s := start(t, server)
	a := start(t, strings.Replace(box, "id = \"101\"", "url = \"whip+http://"+addr+"\"\nid = \"101\"", 1))
	v := watch(t, s.http, "box", false)
	frame(t, v, 10*time.Second, "first picture", upright)
	for _, pause := range []time.Duration{100 * time.Millisecond, 4 * time.Second} {
		s.kill()
		v.Close()
		time.Sleep(pause)
		s = start(t, server)
		begun := time.Now()
		v = watch(t, s.http, "box", false)
		f := frame(t, v, 15*time.Second, "pictures again", upright)
		t.Logf("after %v away: a picture %v after the server listens", pause, f.At.Sub(begun).Round(time.Millisecond))
		if f.At.Sub(begun) > 3*time.Second {
			t.Errorf("sending again after %v", f.At.Sub(begun))
		}
	}
	if st := a.do("room", "show"); st["state"] != "in" || st["reconnects"] != float64(2) {
		t.Errorf("%v", st)
	}
}

// What commands changed survives a kill; after the next start the box is in its room
// and sends, by itself.
func TestWantedSurvivesAKill(t *testing.T) {
	conf := strings.Replace(box, "auto_enter = true", "", 1) + fmt.Sprintf("[store]\npath = %q\n", filepath.Join(t.TempDir(), "state.db"))
	d := start(t, conf)
	d.do("room", "enter", "id=101", "user=kept")
	for i := range 10 {
		d.do("mic", "volume", fmt.Sprint(90+i))
		d.do("video", "bitrate", fmt.Sprint(500+i))
		d.kill()
		d = start(t, conf)
		if v := d.do("mic", "show")["volume"]; v != float64(90+i) {
			t.Errorf("volume is %v after the kill", v)
		}
	}
	begun := time.Now()
	v := watch(t, d.http, "kept", false)
	f := frame(t, v, 5*time.Second, "a picture after the kill", upright)
	t.Logf("a picture %v after the daemon answered", f.At.Sub(begun).Round(time.Millisecond))
	d.do("room", "exit")
	d.kill()
	d = start(t, conf)
	if st := d.do("room", "show"); st["wanted"] != false {
		t.Errorf("%v", st)
	}
}

// The process leaves nothing behind, and a second daemon on the same socket is refused
// without harm to the first.
func TestStopsCleanly(t *testing.T) {
	d := start(t, box)
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(bin, "-config", filepath.Join(d.dir, "anchord.toml")).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("another daemon answers")) {
		t.Errorf("second daemon: %v %s", err, out)
	}
	d.do("status")
	begun := time.Now()
	d.stop()
	if e := time.Since(begun); e > 3*time.Second {
		t.Errorf("ending took %v", e)
	}
	if _, err := os.Stat(d.socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestExitStatus(t *testing.T) {
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.toml")
	if err := os.WriteFile(bad, []byte("[video]\nfps = 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctl := filepath.Join(filepath.Dir(bin), "anchorctl")
	for _, c := range []struct {
		want int
		args []string
	}{
		{0, []string{bin, "-version"}},
		{0, []string{bin, "-check", "-config", "../../configs/anchord.toml"}},
		{2, []string{bin, "-check", "-config", bad}},
		{2, []string{bin, "-config", filepath.Join(dir, "none.toml")}},
		{2, []string{bin, "status"}},
		{2, []string{bin, "-nonsense"}},
		{1, []string{ctl, "-socket", filepath.Join(dir, "none.sock"), "status"}},
		{2, []string{ctl}},
		{2, []string{ctl, "-url", "http://127.0.0.1:1", "status"}},
	} {
		cmd := exec.Command(c.args[0], c.args[1:]...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != c.want || len(out) == 0 {
			t.Errorf("%v: exit %d, want %d: %s", c.args[1:], got, c.want, out)
		}
	}
}
