package e2e

import (
	"testing"
	"time"
)

// Encoders are listed, tested while one of them works, and chosen; viewers notice nothing.
func TestEncoderCommands(t *testing.T) {
	d := start(t, box)
	v := watch(t, d.http, "box", false)
	frame(t, v, 10*time.Second, "first picture", upright)
	list := func() map[string]any {
		for _, e := range d.do("encoder", "list")["encoder"].([]any) {
			if m := e.(map[string]any); m["name"] == "openh264" {
				return m
			}
		}
		t.Fatal("openh264 is not listed")
		return nil
	}
	if e := list(); e["in_use"] != true || e["software"] != true || e["aside"] != nil || e["test"] != nil {
		t.Errorf("%v", e)
	}
	begun := time.Now()
	r := d.do("encoder", "probe", "openh264")["encoder"].([]any)[0].(map[string]any)
	t.Logf("%v: %v", time.Since(begun).Round(time.Millisecond), r)
	if r["result"] != "good" || r["key_on_demand"] != true || r["obeys_bitrate"] != true || r["median_ms"].(float64) <= 0 {
		t.Errorf("%v", r)
	}
	if e := list(); e["test"] == nil || e["in_use"] != true {
		t.Errorf("%v", e)
	}
	d.do("encoder", "select", "openh264")
	d.do("encoder", "select", "auto")
	d.do("encoder", "clear")
	frame(t, v, 5*time.Second, "pictures go on", upright)
	if n := d.count("encoder opened"); n != 1 {
		t.Errorf("the encoder in use was opened %d times", n)
	}
}
