package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"anchord/device"
	"anchord/device/config"
	"anchord/device/control"
	"anchord/device/store"
	"anchord/internal/media"
	"anchord/internal/secret"
	"anchord/rtc/room"
	"anchord/systemd"
)

// full is a sample in which every metric has a value.
func full() *sample {
	s := &sample{up: time.Hour, wanted: config.Default(), rooms: &room.Totals{}, store: &store.Stats{},
		said: []control.Count{{Way: "socket", Result: "ok", N: 1}}, served: []control.Count{{Way: "/metrics", Result: "200", N: 1}}}
	s.wish.Bitrate = 1e6
	s.encoder.Encoder = "openh264"
	s.room.Video.RTT, s.room.Since = time.Millisecond, time.Now()
	var l device.Latency
	s.stages = l.Distributions()
	d, err := newDaemon()
	if err != nil {
		panic(err)
	}
	s.parts = d.group.States()
	return s
}

// newDaemon wires a daemon with everything switched on; it does not run.
func newDaemon() (*daemon, error) {
	c := config.Default()
	c.Rooms.Enabled, c.Control.HTTP.Listen, c.Camera.Match, c.Mic.Match = true, "127.0.0.1:0", "test", "test"
	log := systemd.NewLog(&strings.Builder{}, slog.LevelError)
	return wire(device.New(c, nil), slog.New(log), log, new(secret.Mask))
}

func TestMetricsAreGoodPrometheus(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(newCollector(full))
	got, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(got).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	var names []string
	for _, f := range got {
		names = append(names, f.GetName())
	}
	for _, m := range append(metrics(), metric{name: stageSeconds}) {
		if !slices.Contains(names, m.name) {
			t.Errorf("%s has no value", m.name)
		}
		if !strings.HasPrefix(m.name, "anchord_") || strings.HasPrefix(m.name, "anchord_anchord") {
			t.Errorf("%s is not called anchord_…", m.name)
		}
	}
}

// TestMetricsOfAnEmptyBox leaves out what is not known, and still is whole.
func TestMetricsOfAnEmptyBox(t *testing.T) {
	d, err := newDaemon()
	if err != nil {
		t.Fatal(err)
	}
	d.rooms = nil
	r := d.registry()
	text := scrape(t, metricsHandler(r))
	for _, line := range []string{"anchord_room_state{state=\"idle\"} 1", "anchord_room_wanted 0", "anchord_uptime_seconds ", "anchord_build_info{goversion=",
		"anchord_frames_total{part=\"camera\"} 0", "anchord_control_refused_total{reason=\"wrong\"} 0", "process_start_time_seconds ", "go_goroutines "} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("no line begins %q", line)
		}
	}
	for _, name := range []string{"anchord_rooms", "anchord_store", "anchord_send_rtt", "anchord_encoder_info", "anchord_encoder_allowed"} {
		if strings.Contains(text, "\n"+name) {
			t.Errorf("%s has a value", name)
		}
	}
}

func scrape(t testing.TB, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	return w.Body.String()
}

func TestMetricsSayWhenTheyCannotBeGathered(t *testing.T) {
	r := prometheus.NewRegistry()
	r.MustRegister(prometheus.CollectorFunc(func(ch chan<- prometheus.Metric) {
		ch <- prometheus.NewInvalidMetric(prometheus.NewDesc("x", "x", nil, nil), errors.New("boom"))
	}))
	w := httptest.NewRecorder()
	metricsHandler(r)(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "boom") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestMetricsAddNothingToAFrame: what is counted for a frame is counted by the parts already; the
// one observation of ours allocates nothing, also while metrics are read.
func TestMetricsAddNothingToAFrame(t *testing.T) {
	d, err := newDaemon()
	if err != nil {
		t.Fatal(err)
	}
	h := metricsHandler(d.registry())
	var m media.Marks
	for i := range m {
		m[i] = media.Time(time.Hour).Add(time.Duration(i) * time.Millisecond)
	}
	p := &media.Packet{}
	if n := testing.AllocsPerRun(1000, func() { d.sent(p, m) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
	if text := scrape(t, h); !strings.Contains(text, "anchord_stage_seconds_count{stage=\"total\"} 1001\n") {
		t.Error("the frames are not in the histogram")
	}
}

// BenchmarkScrape is one GET /metrics, without the connection.
func BenchmarkScrape(b *testing.B) {
	d, err := newDaemon()
	if err != nil {
		b.Fatal(err)
	}
	h := metricsHandler(d.registry())
	b.ReportMetric(float64(len(scrape(b, h))), "bytes")
	r := httptest.NewRequest("GET", "/metrics", nil)
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/float64(b.N)/1000, "CPU-µs/op")
}

// TestScrape asks a running daemon for its metrics, with and without a token.
func TestScrape(t *testing.T) {
	dir := t.TempDir()
	file, socket := demo(t, dir, embedded+fmt.Sprintf("[store]\npath = %q\n", filepath.Join(dir, "anchord.db")))
	var w written
	d := program("anchord", "-config", file)
	d.Stderr = &w
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, &w, "onSendFirstLocalVideoFrame")
	get := func(token string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address(t, &w)+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		if err != nil {
			t.Error(err)
		}
		return a.StatusCode, string(b)
	}
	a, err := (&control.Client{Socket: socket}).Do(t.Context(), []string{"token", "create", "name=prom", "level=read"})
	if err != nil || a.Error != nil {
		t.Fatal(err, a)
	}
	if code, _ := get(""); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", code)
	}
	code, text := get(a.Word("token"))
	if code != http.StatusOK {
		t.Errorf("%d %s", code, text)
	}
	for _, line := range []string{`anchord_room_state{state="in"} 1`, `anchord_room_state{state="idle"} 0`, `anchord_room_wanted 1`, `anchord_camera_open 1`, `anchord_rooms_anchors 1`,
		`anchord_encoder_info{encoder="openh264",size="640x360"} 1`, `anchord_part_up{part="camera"} 1`, `anchord_control_tokens 2`, `anchord_store_writes_total 1`,
		`anchord_control_requests_total{result="ok",transport="socket"} 1`, `anchord_control_refused_total{reason="missing"} 1`, `anchord_http_requests_total{code="401",path="/metrics"} 1`} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	for _, part := range []string{"camera", "encoder", "video", "mic", "opus", "audio"} {
		if strings.Contains(text, fmt.Sprintf("\nanchord_frames_total{part=%q} 0\n", part)) {
			t.Errorf("%s counts nothing", part)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	d.Process.Signal(syscall.SIGTERM)
	if _, err := ends(t, d, &w); err != nil {
		t.Error(err)
	}
}

// metricsPage gives docs/metrics.md's table.
func metricsPage() string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | |\n|---|---|---|---|\n")
	rows := append(metrics(), metric{stageSeconds, stageHelp, 0, []string{"stage"}, nil})
	slices.SortFunc(rows, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	for _, m := range rows {
		kind := map[prometheus.ValueType]string{prometheus.CounterValue: "counter", prometheus.GaugeValue: "gauge"}[m.kind]
		if kind == "" {
			kind = "histogram"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, kind, strings.Join(m.labels, ", "), m.help)
	}
	return b.String()
}

func TestMetricsPageIsUpToDate(t *testing.T) {
	const name, from, to = "../../docs/metrics.md", "<!-- from here on made by: UPDATE=1 go test ./cmd/anchord -run MetricsPage -->\n", "<!-- to here -->\n"
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), from)
	table, tail, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", name)
	}
	want := metricsPage()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(name, []byte(head+from+want+to+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		table = want
	}
	if d := cmp.Diff(want, table); d != "" {
		t.Errorf("docs/metrics.md is not what the daemon has; make it anew with: UPDATE=1 go test ./cmd/anchord -run MetricsPage\n%s", d)
	}
}
