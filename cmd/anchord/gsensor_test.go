package main

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"anchord/device"
	"anchord/device/config"
	"anchord/hal/accel"
	"anchord/internal/media"
)

// TestUpright: the sensor makes the picture upright, and what is turned and mirrored by hand
// comes after that, for every turn of both.
func TestUpright(t *testing.T) {
	type corners [4]byte // clockwise from the top left
	turn := func(c corners, r media.Rotation) corners {
		for range r / 90 {
			c = corners{c[3], c[0], c[1], c[2]}
		}
		return c
	}
	mirror := func(c corners, yes bool) corners {
		if yes {
			c = corners{c[1], c[0], c[3], c[2]}
		}
		return c
	}
	for hand := media.Rotate0; hand < 360; hand += 90 {
		for sensor := media.Rotate0; sensor < 360; sensor += 90 {
			for _, m := range []bool{false, true} {
				c := corners{'a', 'b', 'c', 'd'}
				want := turn(mirror(turn(c, sensor), m), hand)
				u := upright(media.Turn{Rotation: hand, Mirror: m}, sensor)
				if got := turn(mirror(c, u.Mirror), u.Rotation); got != want || !u.Rotation.Valid() {
					t.Errorf("by hand %v and mirrored %v, sensor %v: %s, want %s", hand, m, sensor, got, want)
				}
			}
		}
	}
}

// TestSensorWords: what the configuration lets through there is.
func TestSensorWords(t *testing.T) {
	if !slices.Equal(config.SensorChips(), accel.Chips()) {
		t.Errorf("the configuration knows %v, the driver %v", config.SensorChips(), accel.Chips())
	}
	for _, m := range device.GSensorModes() {
		c := config.Default()
		c.GSensor.Mode = m
		if f := c.Validate(); f != nil {
			t.Errorf("%s: %v", m, f)
		}
	}
}

// value gives what an answer says under a key.
func value(answer, key string) string {
	for l := range strings.Lines(answer) {
		if v, ok := strings.CutPrefix(l, key+": "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// wait waits until an answer has a value under a key.
func wait(t *testing.T, socket, key, want string, words ...string) string {
	t.Helper()
	answer := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if answer = says(t, socket, words...); value(answer, key) == want {
			return answer
		}
	}
	t.Fatalf("%v does not say %s: %s, but\n%s", words, key, want, answer)
	return ""
}

// TestPictureFollowsTheBox: from the sensor to the pixels, and back in one frame.
func TestPictureFollowsTheBox(t *testing.T) {
	dir := t.TempDir()
	w, socket, end := begin(t, embedded+fmt.Sprintf("[gsensor]\ndevice = \"test\"\n[store]\npath = %q\n", filepath.Join(dir, "anchord.db")))
	defer end()
	until(t, w, "onSendFirstLocalVideoFrame")
	if a := says(t, socket, "gsensor", "show"); value(a, "state") != "off" || value(a, "reads") != "" {
		t.Errorf("off, it says\n%s", a)
	}
	if a := says(t, socket, "video", "rotation", "0"); strings.Contains(a, "note") {
		t.Errorf("off, it says\n%s", a)
	}
	if a := says(t, socket, "gsensor", "calibrate", "top"); !strings.Contains(a, "gsensor mode auto") {
		t.Errorf("off, calibrated:\n%s", a)
	}
	if a := says(t, socket, "gsensor", "mode", "sideways"); !strings.Contains(a, "disable, auto, fixed180") {
		t.Errorf("a mode that is none:\n%s", a)
	}
	size := func() string {
		t.Helper()
		file := filepath.Join(dir, "picture.jpg")
		says(t, socket, "snapshot", "-o", file)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := jpeg.DecodeConfig(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%dx%d", c.Width, c.Height)
	}
	says(t, socket, "gsensor", "mode", "auto")
	wait(t, socket, "adds", "90", "gsensor", "show")
	if a := says(t, socket, "video", "rotation", "180"); value(a, "note") != "gsensor auto adds 90" {
		t.Errorf("the answer is\n%s", a)
	}
	if a := says(t, socket, "video", "show"); value(a, "turned") != "270" || value(a, "wanted.rotation") != "180" {
		t.Errorf("video show says\n%s", a)
	}
	if s := size(); s != "360x640" {
		t.Errorf("on its side the picture is %s", s)
	}
	says(t, socket, "gsensor", "mode", "disable")
	if s := size(); s != "640x360" {
		t.Errorf("switched off, the next picture is %s", s)
	}
	if a := says(t, socket, "video", "show"); value(a, "turned") != "180" {
		t.Errorf("switched off, video show says\n%s", a)
	}
	says(t, socket, "video", "rotation", "0")

	says(t, socket, "gsensor", "mode", "fixed180")
	a := wait(t, socket, "adds", "180", "gsensor", "show")
	for _, k := range []string{"raw", "filtered", "angle", "tilt", "sensor", "matrix", "reads", "quadrant"} {
		if value(a, k) == "" {
			t.Errorf("%s is missing in\n%s", k, a)
		}
	}
	file := filepath.Join(dir, "box.csv")
	if a := says(t, socket, "gsensor", "record", "2s", "-o", file); !strings.Contains(a, file) {
		t.Error(a)
	}
	if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), device.RecordHead+"\n0.") || bytes.Count(b, []byte("\n")) < 15 {
		t.Errorf("recorded: %v\n%s", err, b)
	}
	says(t, socket, "config", "set", "gsensor.address", "0x19")
	says(t, socket, "config", "set", "gsensor.device", "i2c:60000:lis3dh")
	a = wait(t, socket, "state", "fault", "gsensor", "show")
	if !strings.Contains(value(a, "fault"), "/dev/i2c-60000") {
		t.Errorf("a bus that is not there:\n%s", a)
	}
	if a := says(t, socket, "health"); !strings.Contains(a, device.GSensorNone) || strings.Contains(a, device.PartFailed) {
		t.Errorf("health says\n%s", a)
	}
	if a := says(t, socket, "config", "get", "gsensor.mode"); !strings.Contains(a, "fixed180") {
		t.Errorf("the mode is\n%s", a)
	}
}
