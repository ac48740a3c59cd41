// Package browser watches a room the way a person does: with a real Chromium on the viewer page. The programs beside
// this file (*.mjs) drive it with playwright-core; this package runs them and reads what they say.
//
// It needs chromium, nodejs, npm and pulseaudio on the machine. What npm brings goes to a cache outside the checkout
// (install.sh).
package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrNotOK is wrapped by the error of a program that ran to its end and found something wrong.
var ErrNotOK = errors.New("not as it should be")

// Gap is a time in which no frame was shown, in Unix milliseconds.
type Gap struct {
	From, To int64
}

// Watched is what watch.mjs saw and heard; watch.mjs documents each figure.
type Watched struct {
	User         string
	FirstFrameMs float64
	Width        int
	Height       int
	FPS          struct {
		PerSecond []float64
		Min, Mean float64
	}
	LongestGapMs float64
	Counter      struct {
		Samples, Unreadable, Min, Max, Backwards int
		Jumps                                    [][2]int
		First, Last                              int
	}
	Corners     map[string][3]int // topLeft, topRight, bottomLeft, bottomRight: red, green, blue
	CornersOK   bool              `json:"cornersOk"`
	Connections int               // peer connections that were in use, one after the other
	State       string
	Sound       struct {
		Rate, Seconds  float64
		Beeps          int
		ToneHz, BeepHz float64
		ToneDb, BeepDb float64
	}
	Skew struct {
		N                      int
		MedianMs, MinMs, MaxMs float64
		ListMs, SettlingMs     []float64
		Phase                  string
		PhaseErrorMs           float64
		ByStatsMs              float64
	}
	LatencyMs *struct{ Median, P95 float64 } // capture to display; nil unless the capture clock is this machine's
	Faults    []string
}

// States is what states.mjs wrote down: each change, with its Unix milliseconds.
type States struct {
	Tiles []struct {
		T           int64
		User, State string
		Words       string
	}
	Link []struct {
		T    int64
		Link string
	}
	Frames  int
	Gaps    []Gap
	QuietMs float64 // since the last frame, at the end
	Faults  []string
}

// Watch opens the viewer page at url, waits for a picture and watches it for so many seconds. More arguments of
// watch.mjs may follow.
func Watch(ctx context.Context, url string, seconds int, args ...string) (Watched, error) {
	var w Watched
	err := Run(ctx, nil, &w, "watch.mjs", append([]string{"--url", url, "--seconds", fmt.Sprint(seconds)}, args...)...)
	return w, err
}

// Follow writes down for so many seconds how the viewer page at url stands. open, unless nil, is called once the first
// frame is there.
func Follow(ctx context.Context, url string, seconds int, open func(), args ...string) (States, error) {
	var s States
	err := Run(ctx, open, &s, "states.mjs", append([]string{"--url", url, "--seconds", fmt.Sprint(seconds)}, args...)...)
	return s, err
}

// Run runs one of the programs and decodes the line of JSON that it prints into result, also when the program says
// that something is wrong (ErrNotOK). open, unless nil, is called when the program says "open". When ctx ends the
// program and its browser are stopped before Run returns.
func Run(ctx context.Context, open func(), result any, program string, args ...string) error {
	dir, err := install(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "node", append([]string{filepath.Join(dir, program)}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// The program closes its browser when asked to end; what is left after that goes with the group.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var out, said bytes.Buffer
	cmd.Stdout = &out
	watch := &watcher{w: &said, open: open}
	cmd.Stderr = watch
	err = cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // nobody is left, as a rule
	}
	if ctx.Err() != nil {
		return fmt.Errorf("run %s: %w", program, ctx.Err())
	}
	var verdict struct {
		OK     bool
		Error  string
		Faults []string
	}
	if jerr := json.Unmarshal(out.Bytes(), &verdict); jerr != nil {
		return fmt.Errorf("run %s: no result (%w): %s %s", program, jerr, out.String(), said.String())
	}
	if result != nil {
		if jerr := json.Unmarshal(out.Bytes(), result); jerr != nil {
			return fmt.Errorf("run %s: read its result: %w: %s", program, jerr, out.String())
		}
	}
	if !verdict.OK {
		return fmt.Errorf("run %s: %w: %s %s", program, ErrNotOK, verdict.Error, strings.Join(verdict.Faults, "; "))
	}
	if err != nil {
		return fmt.Errorf("run %s: %w: %s", program, err, said.String())
	}
	return nil
}

// install makes the programs ready and returns their directory.
func install(ctx context.Context) (string, error) {
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("find the browser programs: the test was built without paths")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(here), "install.sh"))
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("install the browser programs: %w: %s", err, said.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// watcher keeps what a program says and calls open at its first word "open".
type watcher struct {
	w    io.Writer
	open func()
	once sync.Once
}

func (w *watcher) Write(p []byte) (int, error) {
	if w.open != nil && bytes.Contains(p, []byte("open\n")) {
		w.once.Do(w.open)
	}
	return w.w.Write(p)
}
