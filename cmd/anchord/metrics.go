package main

import (
	"bytes"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"anchord/capture"
	"anchord/device"
	"anchord/device/config"
	"anchord/device/control"
	"anchord/device/store"
	"anchord/encoder"
	"anchord/internal/media"
	"anchord/internal/run"
	"anchord/rtc"
	"anchord/rtc/room"
)

// sample is everything that metrics are read from, as it was when they were asked for.
type sample struct {
	up      time.Duration
	wanted  config.Config
	wish    media.Wish
	camera  capture.CameraStatus
	mic     capture.MicrophoneStatus
	encoder encoder.VideoStatus
	opus    encoder.AudioStatus
	room    rtc.Stats
	rooms   *room.Totals // nil: not enabled
	stages  []device.Distribution
	parts   []run.State
	store   *store.Stats // nil: nothing is kept
	bad     int          // stored values that were left out, and what was wrong with the store's files at the start
	tokens  []control.Token
	refused control.Refused
	health  []device.Standing
	dropped [2]uint64       // lines of the log: for stderr, for the file
	said    []control.Count // commands
	served  []control.Count // HTTP requests
}

// sample asks every part once. Nothing is added to a part's work between two samples.
func (d *daemon) sample() *sample {
	s := &sample{
		up: time.Since(d.begun), wanted: d.device.Wanted(), wish: d.demand.Wish(),
		camera: d.camera.Status(), mic: d.mic.Status(), encoder: d.encoder.Status(), opus: d.opus.Status(),
		room: d.session.Stats(), stages: d.latency.Distributions(), parts: d.group.States(),
		health: d.health.Standing(), tokens: d.tokens.List(), refused: d.gate.Refused(), said: d.said.Counts(), served: d.served.Counts(),
	}
	s.dropped[0], s.dropped[1] = d.sink.Dropped()
	if d.rooms != nil {
		t := d.rooms.Totals()
		s.rooms = &t
	}
	if d.kept != nil && d.kept.store != nil {
		st := d.kept.store.Stats()
		s.store, s.bad = &st, len(d.kept.bad)+len(d.kept.found.Problems)
	}
	return s
}

// put gives one value of a metric, with its labels' values.
type put func(value float64, labels ...string)

// metric is one metric: what it is called, what it says, and how it is read off a sample.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	read       func(*sample, put)
}

// stageSeconds is the one histogram.
const (
	stageSeconds = "anchord_stage_seconds"
	stageHelp    = "How long a picture that was sent took in each stage; total is from the driver's time stamp to the socket, overhead is total without the encoder."
)

// collector gives the daemon's metrics when somebody asks.
type collector struct {
	sample  func() *sample
	metrics []metric
	desc    []*prometheus.Desc
	stages  *prometheus.Desc
}

func newCollector(s func() *sample) *collector {
	c := &collector{sample: s, metrics: metrics(), stages: prometheus.NewDesc(stageSeconds, stageHelp, []string{"stage"}, nil)}
	for _, m := range c.metrics {
		c.desc = append(c.desc, prometheus.NewDesc(m.name, m.help, m.labels, nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.desc {
		ch <- d
	}
	ch <- c.stages
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.sample()
	for i, m := range c.metrics {
		m.read(s, func(v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(c.desc[i], m.kind, v, labels...)
		})
	}
	for _, d := range s.stages {
		upto := make(map[float64]uint64, len(d.Upto))
		for i, n := range d.Upto {
			upto[d.Edge(i).Seconds()] = n
		}
		ch <- prometheus.MustNewConstHistogram(c.stages, d.Count, d.Sum.Seconds(), upto, d.Stage)
	}
}

// registry gives all metrics: the daemon's, the process's and the Go runtime's.
func (d *daemon) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(newCollector(d.sample), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	return r
}

// metricsHandler serves metrics as text (https://prometheus.io/docs/instrumenting/exposition_formats/),
// uncompressed: on loopback that would cost more than it saves.
func metricsHandler(r prometheus.Gatherer) http.HandlerFunc {
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	return func(w http.ResponseWriter, _ *http.Request) {
		all, err := r.Gather()
		var b bytes.Buffer
		e := expfmt.NewEncoder(&b, format)
		for _, f := range all {
			if err == nil {
				err = e.Encode(f)
			}
		}
		if err != nil {
			http.Error(w, "gather metrics: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", string(format))
		w.Write(b.Bytes())
	}
}

// goVersion is what the daemon was built with.
func goVersion() string { return runtime.Version() }
