package pulse

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jfreymuth/pulse/proto"

	"anchord/hal"
	"anchord/internal/media"
)

const (
	sampleRate   = 48000
	blockSamples = sampleRate / 50
	stuckTime    = 500 * time.Millisecond
	maxName      = 127 // PA_NAME_MAX-1

	firstMeasure = 250 * time.Millisecond // doubled each time up to
	lastMeasure  = 2 * time.Second
	maxTrip      = 30 * time.Millisecond // of a question for the latency, to be believed
	maxBehind    = 5 * time.Second       // of a source, to be believed
)

// mic is one opened microphone. The reader of its connection fills blocks (sink), its keeper
// watches over it.
type mic struct {
	name string
	log  *slog.Logger
	conn *conn
	sink sink

	source uint32 // the server's index
	ended  chan struct{}
	check  chan struct{} // something happened: are we still where we were?

	mu     sync.Mutex
	err    error  // why ended is closed
	stream uint32 // index on this connection
	output uint32 // index in the server
	asleep bool   // the server suspended the source

	// Next's own.
	ctx   context.Context
	timer *time.Timer

	stop   context.CancelFunc
	keeper sync.WaitGroup
}

func newMic(name string, log *slog.Logger) *mic {
	m := &mic{name: name, log: log, source: proto.Undefined, stream: proto.Undefined, output: proto.Undefined,
		ended: make(chan struct{}), check: make(chan struct{}, 1), stop: func() {}}
	m.sink.init()
	return m
}

// open connects and finds the source.
func (m *mic) open(ctx context.Context, cfg Config) error {
	if m.name == "" || len(m.name) > maxName {
		return fmt.Errorf("name of %d bytes: %w", len(m.name), hal.ErrGone)
	}
	c, err := dial(ctx, cfg, hooks{message: m.message, sound: m.sink.sound, reply: m.sink.reply, closed: m.fail})
	if err != nil {
		return err
	}
	m.conn = c
	defer c.closeWith(ctx)()
	err = m.find()
	if err == nil {
		err = c.request(&proto.Subscribe{Mask: proto.SubscriptionMaskSource | proto.SubscriptionMaskSourceInput |
			proto.SubscriptionMaskServer}, nil)
	}
	if err == nil {
		err = m.verify() // it may have gone before we listened
	}
	if err != nil {
		c.close()
	}
	return err
}

func (m *mic) find() error {
	// By exact name here and by index later: the server itself would take names such as
	// @DEFAULT_SOURCE@ and "3" for something else.
	list, _, err := m.conn.sources()
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.SourceName != m.name {
			continue
		}
		if isMonitor(s) {
			return fmt.Errorf("it is a monitor, which records what is played: %w", hal.ErrUnsupported)
		}
		m.mu.Lock()
		m.source = s.SourceIndex
		m.mu.Unlock()
		return nil
	}
	return fmt.Errorf("no such source at %s: %w; is it plugged in?", m.conn.place, hal.ErrGone)
}

// Start implements hal.Microphone. It grants 48 kHz, and 1 or 2 channels.
func (m *mic) Start(ctx context.Context, f hal.SoundFormat) (hal.SoundFormat, error) {
	if m.ctx != nil {
		return hal.SoundFormat{}, fmt.Errorf("start microphone %s: started before", m.name)
	}
	if ctx.Err() != nil {
		return hal.SoundFormat{}, fmt.Errorf("start microphone %s: %w", m.name, hal.ErrStopped)
	}
	m.ctx = ctx
	granted := hal.SoundFormat{Rate: sampleRate, Channels: min(max(f.Channels, 1), 2)}
	m.sink.prepare(granted.Channels)
	stop := m.conn.closeWith(ctx)
	err := m.record(granted.Channels)
	stop()
	if err != nil {
		m.fail(err)
		if ctx.Err() != nil {
			err = hal.ErrStopped
		}
		return hal.SoundFormat{}, fmt.Errorf("start microphone %s: %w", m.name, err)
	}
	m.timer = time.NewTimer(stuckTime)
	kctx, cancel := context.WithCancel(ctx)
	m.stop = cancel
	m.keeper.Go(func() { m.keep(kctx) })
	return granted, nil
}

func (m *mic) record(channels int) error {
	block := uint32(blockSamples * 2 * channels)
	volume, where := make(proto.ChannelVolumes, channels), proto.ChannelMap{proto.ChannelMono}
	for i := range volume {
		volume[i] = uint32(proto.VolumeNorm)
	}
	if channels == 2 {
		where = proto.ChannelMap{proto.ChannelLeft, proto.ChannelRight}
	}
	var r proto.CreateRecordStreamReply
	err := m.conn.request(&proto.CreateRecordStream{
		SampleSpec:         proto.SampleSpec{Format: proto.FormatInt16LE, Channels: byte(channels), Rate: sampleRate},
		ChannelMap:         where,
		SourceIndex:        m.source,
		BufferMaxLength:    block * 100, // a stall of ours may be that long before sound is lost
		BufferFragSize:     block,
		AdjustLatency:      true, // else the source goes on in fragments of its own, often 100 ms
		NoMove:             true,
		DirectOnInputIndex: proto.Undefined,
		Properties: proto.PropList{
			"media.name": proto.PropListString("microphone"),
		},
		// Said rather than left out: module-stream-restore would set what was heard last.
		// Relative, as an absolute volume turns the source itself where volumes are flat.
		ChannelVolumes: volume, VolumeSet: true, RelativeVolume: true, MutedSet: true,
	}, &r)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.stream, m.output, m.asleep = r.StreamIndex, r.SourceOutputIndex, r.SourceSuspended
	m.mu.Unlock()
	if r.SourceIndex != m.source || r.SourceName != m.name {
		return fmt.Errorf("server gave source %s instead: %w", r.SourceName, hal.ErrGone)
	}
	if s := r.SampleSpec; s.Format != proto.FormatInt16LE || s.Rate != sampleRate || int(s.Channels) != channels {
		return fmt.Errorf("server gave format %d, %d Hz, %d channels instead: %w", s.Format, s.Rate, s.Channels, hal.ErrUnsupported)
	}
	m.log.Debug("recording", "source", m.name, "fragment", r.BufferFragSize, "latency", time.Duration(r.SourceLatency)*time.Microsecond)
	return m.verify()
}

// verify asks the server whether stream and source are still what they were.
func (m *mic) verify() error {
	m.mu.Lock()
	output := m.output
	m.mu.Unlock()
	if output != proto.Undefined {
		var o proto.GetSourceOutputInfoReply
		if err := m.conn.request(&proto.GetSourceOutputInfo{SourceOutpuIndex: output}, &o); err != nil {
			return err
		}
		if o.SourceIndex != m.source {
			return fmt.Errorf("stream was moved to another source: %w", hal.ErrGone)
		}
	}
	var s proto.GetSourceInfoReply
	if err := m.conn.request(&proto.GetSourceInfo{SourceIndex: m.source}, &s); err != nil {
		return err
	}
	if s.SourceIndex != m.source || s.SourceName != m.name {
		return fmt.Errorf("source is %s now: %w", s.SourceName, hal.ErrGone)
	}
	return nil
}

// message hears what the server says unasked, on the reader's goroutine and in order with
// the sound: nothing of another source is passed on after a move.
func (m *mic) message(msg any) {
	m.mu.Lock()
	stream, output, source := m.stream, m.output, m.source
	m.mu.Unlock()
	switch e := msg.(type) {
	case *proto.RecordStreamKilled:
		if e.StreamIndex == stream {
			m.fail(fmt.Errorf("server ended the stream, its source went away: %w", hal.ErrGone))
		}
	case *proto.RecordStreamMoved:
		if e.StreamIndex == stream && (e.DestIndex != source || e.DestName != m.name) {
			m.fail(fmt.Errorf("stream was moved to source %s: %w", e.DestName, hal.ErrGone))
		}
	case *proto.RecordStreamSuspended:
		if e.StreamIndex == stream {
			m.mu.Lock()
			m.asleep = e.Suspended
			m.mu.Unlock()
			if !e.Suspended {
				m.sink.resumed()
			}
		}
	case *proto.SubscribeEvent:
		gone := e.Event.GetType() == proto.EventRemove
		switch f := e.Event.GetFacility(); {
		case gone && f == proto.EventSource && e.Index == source:
			m.fail(fmt.Errorf("source was removed: %w", hal.ErrGone))
		case gone && f == proto.EventSinkSourceOutput && e.Index == output:
			m.fail(fmt.Errorf("server ended the stream: %w", hal.ErrGone))
		default:
			poke(m.check)
		}
	}
}

// keep lives as long as the stream: it verifies after events, measures the clock, and
// hangs up at the end, so that the microphone is free (and its lamp off) at once.
func (m *mic) keep(ctx context.Context) {
	defer m.conn.nc.Close()
	wait := firstMeasure
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		soon := false
		select {
		case <-ctx.Done():
			m.fail(hal.ErrStopped)
			return
		case <-m.ended:
			return
		case <-m.check:
			if err := m.verify(); err != nil {
				m.fail(err)
				return
			}
			continue
		case <-m.sink.ask:
			soon = m.measure()
		case <-t.C:
			soon = m.measure()
			wait = min(2*wait, lastMeasure)
		}
		if soon {
			t.Reset(firstMeasure)
		} else {
			t.Reset(wait)
		}
	}
}

// measure asks how far behind the sound is, and sets the clock. It tells whether to ask
// again soon.
func (m *mic) measure() (soon bool) {
	m.mu.Lock()
	stream := m.stream
	m.mu.Unlock()
	asked := media.Now()
	var r proto.GetRecordLatencyReply
	err := m.conn.request(&proto.GetRecordLatency{StreamIndex: stream}, &r)
	// What lies between source and us: the device's buffer, and what the server has not
	// sent yet (https://freedesktop.org/software/pulseaudio/doxygen/structpa__timing__info.html).
	waits := r.WriteIndex - r.ReadIndex
	behind := time.Duration(r.Latency)*time.Microsecond +
		time.Duration(waits)*time.Second/time.Duration(2*m.sink.channels*sampleRate)
	if err != nil || !r.Running || r.Latency > proto.Microseconds(maxBehind.Microseconds()) || waits < 0 || waits > 1<<20 ||
		media.Now().Sub(asked) > maxTrip {
		m.sink.guessed()
		return true
	}
	return m.sink.measured(asked, behind)
}

// fail ends the stream with its first error. Nothing is passed on afterwards.
func (m *mic) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = err
		m.sink.end()
		close(m.ended)
	}
}

// Next implements hal.Microphone. ErrStuck is not the end: when the source gives sound again
// so does Next.
func (m *mic) Next() (*media.Sound, error) {
	if m.timer == nil {
		return nil, fmt.Errorf("microphone %s: not started", m.name)
	}
	m.timer.Reset(stuckTime)
	for {
		select {
		case <-m.ended:
			return nil, m.failure()
		default:
		}
		select {
		case s := <-m.sink.blocks:
			return s, nil
		case <-m.ended:
			return nil, m.failure()
		case <-m.ctx.Done():
			return nil, fmt.Errorf("microphone %s: %w", m.name, hal.ErrStopped)
		case <-m.timer.C:
			m.mu.Lock()
			asleep := m.asleep
			m.mu.Unlock()
			if asleep {
				return nil, fmt.Errorf("microphone %s: %w: its source is suspended; see pactl suspend-source, or a profile without input", m.name, hal.ErrStuck)
			}
			return nil, fmt.Errorf("microphone %s: %w for %v", m.name, hal.ErrStuck, stuckTime)
		}
	}
}

func (m *mic) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil || errors.Is(m.err, hal.ErrStopped) {
		return fmt.Errorf("microphone %s: %w", m.name, hal.ErrStopped)
	}
	return fmt.Errorf("microphone %s: %w", m.name, m.err)
}

// Close implements hal.Microphone. Blocks that are out stay valid.
func (m *mic) Close() error {
	m.fail(hal.ErrStopped)
	m.stop()
	m.conn.close()
	m.keeper.Wait()
	if m.timer != nil {
		m.timer.Stop()
	}
	m.sink.clear()
	return nil
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// samples reads little endian PCM and tells whether all of it is zero.
func samples(pcm []int16, b []byte) (silent bool) {
	var any uint16
	for i := range pcm {
		v := binary.LittleEndian.Uint16(b[2*i:])
		any |= v
		pcm[i] = int16(v)
	}
	return any == 0
}
