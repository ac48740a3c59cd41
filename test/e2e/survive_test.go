package e2e

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"anchord/device/control"
)

// hall starts a daemon that is only a room server, and gives its address.
func hall(t *testing.T) *daemon {
	t.Helper()
	return start(t, "[control.http]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"%DIR%/token\"\n[rooms]\nenabled = true\n[camera]\nmatch = \"none\"\nslate = false\n[mic]\nmatch = \"none\"\n[store]\npath = \"\"\n")
}

// publisher is the configuration of a box that enters the hall's room by itself.
func publisher(h *daemon, more string) string {
	return fmt.Sprintf("[room]\nurl = \"whip+%s\"\nid = \"101\"\nuser = \"box\"\nauto_enter = true\n[camera]\nmatch = \"test\"\nslate = false\n[mic]\nmatch = \"test\"\n"+
		"[video]\nresolution = \"320x240\"\nfps = 30\n[control.http]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"%%DIR%%/token\"\n%s", h.http, more)
}

// A box that is killed in its room is back in it, and sends, by itself.
func TestBackInTheRoomAfterAKill(t *testing.T) {
	h := hall(t)
	conf := publisher(h, fmt.Sprintf("[store]\npath = %q\n", filepath.Join(t.TempDir(), "state.db")))
	d := start(t, conf)
	v := watch(t, h.http, "box", false)
	frame(t, v, 10*time.Second, "first picture", upright)
	var worst time.Duration
	var all []time.Duration
	for range 10 {
		time.Sleep(rand.N(300 * time.Millisecond))
		d.kill()
		begun := time.Now()
		d = start(t, conf)
		f := frame(t, v, 10*time.Second, "pictures again", upright)
		for f.At.Before(begun.Add(50 * time.Millisecond)) { // what was under way
			f = frame(t, v, 10*time.Second, "pictures again", upright)
		}
		took := f.At.Sub(begun)
		all, worst = append(all, took.Round(time.Millisecond)), max(worst, took)
	}
	t.Logf("process started → a picture at the viewer: %v", all)
	if worst > 2*time.Second {
		t.Errorf("sending %v after the start", worst)
	}
}

// Daemons that are told something all the time are killed 200 times, at random moments: what
// was acknowledged is there after the next start, and at most one thing more.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	for w := range 4 {
		t.Run(strconv.Itoa(w), func(t *testing.T) {
			t.Parallel()
			conf := fmt.Sprintf("[rooms]\nenabled = true\n[camera]\nmatch = \"none\"\nslate = false\n[mic]\nmatch = \"none\"\n[control.http]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"%%DIR%%/token\"\n[store]\npath = %q\n", filepath.Join(t.TempDir(), "state.db"))
			acknowledged, said := 0, 0
			for round := range 50 {
				d := start(t, conf)
				got := number(d, t, "room.id")
				if got < acknowledged || got > said {
					t.Fatalf("round %d: %d acknowledged, %d said, found %d", round, acknowledged, said, got)
				}
				if user := d.do("config", "get", "room.user")["room.user"]; user != fmt.Sprintf("u%d", got) && got > 0 {
					t.Fatalf("round %d: half a change: %v of %d", round, user, got)
				}
				stop := time.AfterFunc(rand.N(120*time.Millisecond), func() { _ = d.cmd.Process.Kill() })
				c := control.Client{Socket: d.socket}
				n := got
				for {
					said = n + 1
					a, err := c.Do(t.Context(), []string{"room", "enter", fmt.Sprintf("id=%d", said), fmt.Sprintf("user=u%d", said)})
					if err != nil {
						break // killed
					}
					if a.Error != nil {
						t.Fatalf("round %d: %v", round, a.Error)
					}
					n = said
					acknowledged = n
				}
				stop.Stop()
				d.kill()
			}
			t.Logf("%d commands acknowledged in 50 lives", acknowledged)
		})
	}
}

// number gives the value of a key that holds a number; 0 if it is empty.
func number(d *daemon, t *testing.T, key string) int {
	t.Helper()
	v := d.do("config", "get", key)[key].(string)
	if v == "" {
		return 0
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// count counts the lines of the log that hold all of what.
func (d *daemon) count(what ...string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
lines:
	for _, l := range d.log {
		for _, w := range what {
			if !strings.Contains(l, w) {
				continue lines
			}
		}
		n++
	}
	return n
}

// A change starts nothing again that it does not concern, and viewers notice nothing.
func TestAChangeRestartsOnePart(t *testing.T) {
	h := hall(t)
	d := start(t, publisher(h, "[store]\npath = \"\"\n"))
	v := watch(t, h.http, "box", false)
	frame(t, v, 10*time.Second, "first picture", upright)
	state := func() [4]int {
		return [4]int{d.count("camera streams"), d.count("microphone records"), d.count("encoder opened"), d.count("part=room", "from=")}
	}
	// The picture is here before the line about its encoder is read.
	until(t, 5*time.Second, "the lines of the start", func() bool { return state() == [4]int{1, 1, 1, 2} })
	before := state()
	begun := time.Now()
	for _, kbps := range []string{"700", "400", "600"} {
		d.do("config", "set", "video.bitrate", kbps)
		frame(t, v, 5*time.Second, "a picture after the change", upright)
	}
	time.Sleep(time.Second)
	gap, last := time.Duration(0), begun
	for _, f := range v.Frames() {
		if f.At.After(begun) {
			gap, last = max(gap, f.At.Sub(last)), f.At
		}
	}
	if now := state(); now != before {
		t.Errorf("video.bitrate: camera, microphone, encoder and room started %v times, before %v", now, before)
	}
	t.Logf("longest gap over three changes of the bit rate: %v", gap.Round(time.Millisecond))
	if gap > time.Second {
		t.Errorf("a gap of %v", gap)
	}
	d.do("config", "set", "camera.match", "none")
	time.Sleep(200 * time.Millisecond)
	d.do("config", "set", "camera.match", "any, test")
	frame(t, v, 5*time.Second, "a picture of the camera again", upright)
	want := [4]int{before[0] + 1, before[1], before[2], before[3]}
	until(t, 5*time.Second, "the line of the camera", func() bool { return state()[0] >= want[0] })
	now := state()
	if now != want {
		t.Errorf("camera.match: camera, microphone, encoder and room started %v times, want %v\n%s", now, want, d.tail(20))
	}
	if st := d.do("room", "show"); st["lost"] != float64(0) || st["reconnects"] != float64(0) || st["state"] != "in" {
		t.Errorf("%v", st)
	}
	if c := d.do("config", "get", "camera.match"); c["camera.match"] != "any, test" || fmt.Sprint(c["from"]) != "map[camera.match:command]" {
		t.Errorf("%v", c)
	}
}
