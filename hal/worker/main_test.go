package worker

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"anchord/hal"
	"anchord/hal/fake"
	"anchord/hal/openh264"
	"anchord/internal/media"
)

// double names the variable that makes this test program a worker.
const double = "ANCHORD_TEST_WORKER"

func TestMain(m *testing.M) {
	if how := os.Getenv(double); how != "" {
		os.Exit(play(how))
	}
	goleak.VerifyTestMain(m)
}

// play is the worker's process.
func play(how string) int {
	var m hal.VideoEncoders
	switch name, _, _ := strings.Cut(how, " "); name {
	case "openh264":
		m = openh264.New(openh264.Config{})
	case "fake":
		m = &fake.Encoders{}
	default:
		return misbehave(how)
	}
	if err := Serve(context.Background(), 3, m); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// workers gives encoders of which each is a process that plays how.
func workers(t *testing.T, how string, px ...media.PixelFormat) *Encoders {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A program with the race detector in it takes a second to end unless told otherwise.
	env := []string{double + "=" + how, "GORACE=atexit_sleep_ms=0"}
	return New(Config{Log: testLog(t), Name: strings.ReplaceAll(how, " ", "-"), Command: []string{self}, Env: env, Inputs: px})
}
