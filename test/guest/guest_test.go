//go:build e2e

package guest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"anchord/test/viewer"
)

// conf is the daemon's configuration in the guest. Its room is reached through QEMU's
// port forwarding, so media must be told of the outer address.
const conf = `
[room]
id = "101"
user = "box"
auto_enter = true
[camera]
match = "any"
format = "%%FORMAT%%"
slate = false
[mic]
match = "mic"
server = "unix:/run/pa/native"
[video]
resolution = "320x240"
fps = 15
[control]
socket = "/tmp/c.sock"
[rooms]
enabled = true
listen = "0.0.0.0:8080"
udp = "0.0.0.0:%d"
advertise = ["127.0.0.1"]
open = true
`

// guest is a running guest with the daemon's files.
type guest struct {
	t    *testing.T
	dir  string
	base string // of the room server, from here
}

// boot boots the guest, with the daemon for arch.
func boot(t *testing.T, arch string) *guest {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, dir: t.TempDir()}
	if out, err := exec.Command(filepath.Join(root, ".ci/cross.sh"), arch, filepath.Join(g.dir, "anchord")).CombinedOutput(); err != nil {
		t.Fatalf("cross build: %v\n%s", err, out)
	}
	tcp, udp := port(t, "tcp"), port(t, "udp")
	g.base = fmt.Sprintf("http://127.0.0.1:%d", tcp)
	g.write("anchord.toml", fmt.Sprintf(conf, udp))
	sh, err := os.ReadFile("guest.sh")
	if err != nil {
		t.Fatal(err)
	}
	g.write("guest.sh", string(sh))
	cmd := exec.Command(filepath.Join(root, "test/rig/rig.sh"), "run", "-s", g.dir, "-t", "600",
		"-f", fmt.Sprintf("tcp:127.0.0.1:%d-:8080", tcp), "-f", fmt.Sprintf("udp:127.0.0.1:%d-:%d", udp, udp), "--", "sh /host/guest.sh")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) // rig.sh takes its guest along
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Error("the rig did not end")
		}
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if t.Failed() || testing.Verbose() {
			log, _ := os.ReadFile(filepath.Join(g.dir, "log"))
			t.Logf("rig:\n%s\ndaemon:\n%s", out.String(), log)
		}
	})
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(g.dir, "ready")); err == nil {
			return g
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the guest ended: %v\n%s", err, out.String())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("the guest is not up after 90 s\n%s", out.String())
		}
	}
}

// port gives a port that is free now.
func port(t *testing.T, network string) int {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).Port
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (g *guest) write(name, text string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name), []byte(text), 0o644); err != nil {
		g.t.Fatal(err)
	}
}

// do runs a script in the guest and gives its output.
func (g *guest) do(script string) string {
	g.t.Helper()
	done := filepath.Join(g.dir, "done")
	os.Remove(done)
	g.write("do.new", script+"\n")
	if err := os.Rename(filepath.Join(g.dir, "do.new"), filepath.Join(g.dir, "do")); err != nil {
		g.t.Fatal(err)
	}
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		st, err := os.ReadFile(done)
		if err == nil {
			out, _ := os.ReadFile(filepath.Join(g.dir, "out"))
			if s := strings.TrimSpace(string(st)); s != "0" {
				g.t.Fatalf("guest: %s: status %s: %s", script, s, out)
			}
			return string(out)
		}
		if time.Now().After(end) {
			g.t.Fatalf("guest: %s: no answer within 60 s", script)
		}
	}
}

func (g *guest) watch() *viewer.Viewer {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 20*time.Second)
	defer cancel()
	for { // the rooms' port opens a little after the control socket
		v, err := viewer.Watch(ctx, g.base, "101", "box", viewer.Options{Sound: true})
		if err == nil {
			return v
		}
		select {
		case <-ctx.Done():
			g.t.Fatal(err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// after waits for a picture that came after t, and says how long after.
func (g *guest) after(t *testing.T, v *viewer.Viewer, from time.Time, within time.Duration) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	f, err := v.FrameAfter(ctx, from, nil)
	if err != nil {
		lost, bad := v.Lost()
		t.Fatalf("no picture within %v: %v (%d packets lost, %d undecodable)\n%s", within, err, lost, bad,
			g.do("/tmp/anchorctl -socket /tmp/c.sock status; /tmp/anchorctl -socket /tmp/c.sock stats; dmesg | tail -n 20"))
	}
	return f.At.Sub(from)
}

func (g *guest) show(key string) string {
	for _, l := range strings.Split(g.do("/tmp/anchorctl -socket /tmp/c.sock room show"), "\n") {
		if v, ok := strings.CutPrefix(l, key+": "); ok {
			return v
		}
	}
	return ""
}

const replugs = 10

// A USB camera in the guest is watched from here: plugged, for a minute, pulled and put
// back ten times; and the sound server dies and comes back.
func TestUSBCamera(t *testing.T) {
	g := boot(t, "arm64")
	g.do("sound")
	for _, format := range []string{"mjpeg", "yuyv"} {
		t.Run(format, func(t *testing.T) {
			g := &guest{t, g.dir, g.base}
			g.do("daemon " + format)
			v := g.watch()
			defer v.Close()
			begun := time.Now()
			if format == "mjpeg" {
				g.do("start_vusb -plug=false; vusb_cmd unplug") // answered when its pictures are painted
				begun = time.Now()
			}
			g.do("vusb_cmd plug; wait_until 10 video_node")
			first := g.after(t, v, begun, 30*time.Second)
			t.Logf("%s: plugged → first picture decoded here: %v", format, first.Round(time.Millisecond))
			if first > 10*time.Second { // about 4 s on an idle machine; an emulated one is slow when it is not
				t.Errorf("first picture after %v", first)
			}
			g.steady(t, v, time.Minute)
			g.replug(t, v)
			if format == "mjpeg" {
				g.killPulse(t, v)
			}
			g.do("vusb_cmd unplug")
		})
	}
}

// The 32-bit daemon, on the same kernel: its system calls and its atomics.
func TestARMv7(t *testing.T) {
	g := boot(t, "armv7")
	g.do("sound; start_vusb; wait_until 10 video_node; daemon mjpeg")
	v := g.watch()
	defer v.Close()
	t.Logf("first picture after %v", g.after(t, v, time.Now(), 30*time.Second).Round(time.Millisecond))
	g.steady(t, v, 10*time.Second)
}

func (g *guest) steady(t *testing.T, v *viewer.Viewer, long time.Duration) {
	begun := time.Now()
	time.Sleep(long)
	n, gap, last := 0, time.Duration(0), begun
	for _, f := range v.Frames() {
		if f.At.Before(begun) {
			continue
		}
		n++
		gap, last = max(gap, f.At.Sub(last)), f.At
	}
	fps := float64(n) / time.Since(begun).Seconds()
	t.Logf("%v: %.1f frames/s, longest gap %v", long, fps, gap.Round(time.Millisecond))
	if fps < 10 || gap > 2*time.Second {
		t.Errorf("%.1f frames/s, longest gap %v", fps, gap)
	}
}

func (g *guest) replug(t *testing.T, v *viewer.Viewer) {
	var worst time.Duration
	var all []time.Duration
	for range replugs {
		g.do("vusb_cmd unplug; wait_until 10 eval '! video_node'")
		time.Sleep(300 * time.Millisecond) // pictures under way arrive
		g.do("vusb_cmd plug; wait_until 10 video_node")
		back := g.after(t, v, time.Now(), 20*time.Second)
		all, worst = append(all, back.Round(time.Millisecond)), max(worst, back)
	}
	t.Logf("node there → new picture: %v", all)
	if worst > 3*time.Second {
		t.Errorf("new pictures after %v", worst)
	}
	if s, l := g.show("state"), g.show("lost"); s != "in" || l != "0" {
		t.Errorf("the room is %q, lost %q times", s, l)
	}
}

func (g *guest) killPulse(t *testing.T, v *viewer.Viewer) {
	heard := func(from time.Time, within time.Duration) time.Duration {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		b, err := v.BlockAfter(ctx, from)
		if err != nil {
			t.Fatal(err)
		}
		return b.At.Sub(from)
	}
	heard(time.Now(), 10*time.Second)
	g.do("kill_pulse")
	time.Sleep(time.Second) // blocks under way arrive
	g.do("sound")
	back := heard(time.Now(), 20*time.Second)
	t.Logf("PulseAudio is back → sound: %v", back.Round(time.Millisecond))
	if back > 3*time.Second {
		t.Errorf("sound came back after %v", back)
	}
}
