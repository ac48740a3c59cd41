// Package viewer is a receiver of one anchor of a room, for what a browser cannot say
// exactly: it takes frames apart, decodes them, reads the test picture, and maps sound
// and picture to one clock by RTP times and sender reports.
package viewer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"anchord/hal/fake"
	"anchord/hal/openh264/decode"
	"anchord/internal/media"
	"anchord/internal/opus"
)

// Frame is one decoded picture.
type Frame struct {
	At      time.Time // of its last packet
	RTP     uint32    // 90 kHz
	Key     bool
	Size    media.Size
	Test    bool // it is an upright test picture; then Reading is what it says
	Reading fake.Reading
}

// Block is one decoded block of sound.
type Block struct {
	At  time.Time
	RTP uint32 // 48 kHz, of the first sample
	PCM []int16
}

// Report maps a track's RTP time to wall time.
type Report struct {
	RTP uint32
	NTP time.Time
}

// Viewer watches one anchor.
type Viewer struct {
	pc       *webrtc.PeerConnection
	location string
	wg       sync.WaitGroup

	mu                         sync.Mutex
	frames                     []Frame
	blocks                     []Block
	videoReports, soundReports []Report
	lost                       int // video packets that never came
	undecodable                int
	o                          Options
	changed                    chan struct{}
}

// Options say how much of the media is looked at.
type Options struct {
	Sound    bool // blocks of sound keep their samples
	NoDecode bool // pictures are counted and not decoded
}

// Watch subscribes to a user of a room of the server at base.
func Watch(ctx context.Context, base, room, user string, o Options) (*Viewer, error) {
	m := &webrtc.MediaEngine{}
	for _, c := range []webrtc.RTPCodecParameters{
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000,
			SDPFmtpLine:  "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}}}, PayloadType: 102},
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, PayloadType: 111},
	} {
		kind := webrtc.RTPCodecTypeVideo
		if c.MimeType == webrtc.MimeTypeOpus {
			kind = webrtc.RTPCodecTypeAudio
		}
		if err := m.RegisterCodec(c, kind); err != nil {
			return nil, err
		}
	}
	r := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(m, r); err != nil {
		return nil, err
	}
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(r), webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	v := &Viewer{pc: pc, o: o, changed: make(chan struct{}, 1)}
	pc.OnTrack(func(t *webrtc.TrackRemote, rx *webrtc.RTPReceiver) {
		v.wg.Add(2)
		go func() { defer v.wg.Done(); v.reports(t, rx) }()
		defer v.wg.Done()
		if t.Kind() == webrtc.RTPCodecTypeVideo {
			v.video(t)
		} else {
			v.sound(t)
		}
	})
	if err := v.subscribe(ctx, base, room, user); err != nil {
		pc.Close()
		return nil, fmt.Errorf("watch %s in room %s of %s: %w", user, room, base, err)
	}
	return v, nil
}

func (v *Viewer) subscribe(ctx context.Context, base, room, user string) error {
	for _, k := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if _, err := v.pc.AddTransceiverFromKind(k, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			return err
		}
	}
	offer, err := v.pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(v.pc)
	if err := v.pc.SetLocalDescription(offer); err != nil {
		return err
	}
	<-gathered
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/whep/"+room+"/"+user+"?viewer=test", strings.NewReader(v.pc.LocalDescription().SDP))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/sdp")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusCreated {
		return fmt.Errorf("%s: %s %w", res.Status, b, err)
	}
	loc, err := res.Request.URL.Parse(res.Header.Get("Location"))
	if err != nil {
		return err
	}
	v.location = loc.String()
	return v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(b)})
}

// Close leaves.
func (v *Viewer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if req, err := http.NewRequestWithContext(ctx, http.MethodDelete, v.location, nil); err == nil {
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
		}
	}
	err := v.pc.GracefulClose()
	v.wg.Wait()
	http.DefaultClient.CloseIdleConnections()
	return err
}

// video takes packets apart into access units and decodes them.
func (v *Viewer) video(t *webrtc.TrackRemote) {
	d, err := decode.New()
	if err != nil {
		return
	}
	defer d.Close()
	var h codecs.H264Packet
	var au []byte
	var pic *media.Frame
	first, broken, waiting := true, false, true
	var last uint16
	var asked time.Time
	for {
		p, _, err := t.ReadRTP()
		if err != nil {
			return
		}
		if gap := p.SequenceNumber - last; !first && gap != 1 {
			if gap > 1<<15 {
				continue // a resent packet too late for its frame
			}
			v.mu.Lock()
			v.lost += int(gap) - 1
			v.mu.Unlock()
			broken = true
		}
		first, last = false, p.SequenceNumber
		if len(p.Payload) == 0 {
			continue
		}
		b, err := h.Unmarshal(p.Payload)
		if err != nil {
			broken = true
		}
		au = append(au, b...)
		if !p.Marker {
			continue
		}
		// After a loss nothing can be used up to the next key picture, which is asked for as
		// a browser does.
		key := media.IsKey(au)
		if key && !broken {
			waiting = false
		} else if broken {
			waiting = true
		}
		if !waiting {
			pic = v.picture(d, pic, au, p)
		} else if time.Since(asked) > 500*time.Millisecond {
			asked = time.Now()
			v.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(t.SSRC())}})
		}
		au, broken = au[:0], false
	}
}

func (v *Viewer) picture(d *decode.Decoder, pic *media.Frame, au []byte, p *rtp.Packet) *media.Frame {
	f := Frame{At: time.Now(), RTP: p.Timestamp, Key: media.IsKey(au)}
	if v.o.NoDecode {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.frames = append(v.frames, f)
		v.tell()
		return nil
	}
	if f.Key {
		for nal, rest := media.NextNAL(au); len(nal) > 0; nal, rest = media.NextNAL(rest) {
			s, err := media.ParseSPS(nal)
			if err == nil && (pic == nil || pic.Size != s.Size) {
				pic = media.NewFrames(media.Format{Pixel: media.YU12, Size: s.Size, Colour: s.Colour}, 1).Get()
			}
			if err == nil {
				pic.Colour = s.Colour
			}
		}
	}
	if pic == nil {
		return nil
	}
	ok, err := d.Decode(au, pic)
	v.mu.Lock()
	defer v.mu.Unlock()
	if !ok || err != nil {
		v.undecodable++
		return pic
	}
	f.Size = pic.Size
	if r, err := fake.Read(pic); err == nil {
		f.Test, f.Reading = true, r
	}
	v.frames = append(v.frames, f)
	v.tell()
	return pic
}

func (v *Viewer) sound(t *webrtc.TrackRemote) {
	d, err := opus.NewDecoder(1)
	if err != nil {
		return
	}
	defer d.Close()
	pcm := make([]int16, 5760)
	for {
		p, _, err := t.ReadRTP()
		if err != nil {
			return
		}
		if len(p.Payload) == 0 {
			continue
		}
		n, err := d.Decode(pcm, p.Payload)
		if err != nil {
			continue
		}
		b := Block{At: time.Now(), RTP: p.Timestamp}
		v.mu.Lock()
		if v.o.Sound {
			b.PCM = append([]int16(nil), pcm[:n]...)
		}
		v.blocks = append(v.blocks, b)
		v.tell()
		v.mu.Unlock()
	}
}

func (v *Viewer) reports(t *webrtc.TrackRemote, rx *webrtc.RTPReceiver) {
	for {
		ps, _, err := rx.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range ps {
			sr, ok := p.(*rtcp.SenderReport)
			if !ok || sr.SSRC != uint32(t.SSRC()) {
				continue
			}
			const to1970 = 2208988800 // seconds from NTP's beginning (RFC 5905)
			sec, frac := sr.NTPTime>>32-to1970, sr.NTPTime&0xffffffff
			r := Report{sr.RTPTime, time.Unix(int64(sec), int64(frac*1e9>>32))}
			v.mu.Lock()
			if t.Kind() == webrtc.RTPCodecTypeVideo {
				v.videoReports = append(v.videoReports, r)
			} else {
				v.soundReports = append(v.soundReports, r)
			}
			v.mu.Unlock()
		}
	}
}

func (v *Viewer) tell() {
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

// Frames gives all pictures so far.
func (v *Viewer) Frames() []Frame {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]Frame(nil), v.frames...)
}

// Blocks gives all blocks of sound so far.
func (v *Viewer) Blocks() []Block {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]Block(nil), v.blocks...)
}

// Lost gives packets of pictures that never came, and pictures that could not be decoded.
func (v *Viewer) Lost() (packets, undecodable int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.lost, v.undecodable
}

// Reports gives the newest sender report of each track.
func (v *Viewer) Reports() (video, sound Report, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.videoReports) == 0 || len(v.soundReports) == 0 {
		return video, sound, errors.New("no sender report yet")
	}
	return v.videoReports[len(v.videoReports)-1], v.soundReports[len(v.soundReports)-1], nil
}

// FrameAfter waits for a picture that came after t and fulfils ok (nil: any), and gives
// it.
func (v *Viewer) FrameAfter(ctx context.Context, t time.Time, ok func(Frame) bool) (Frame, error) {
	for seen := 0; ; {
		fs := v.Frames()
		for ; seen < len(fs); seen++ {
			if fs[seen].At.After(t) && (ok == nil || ok(fs[seen])) {
				return fs[seen], nil
			}
		}
		select {
		case <-v.changed:
		case <-ctx.Done():
			return Frame{}, fmt.Errorf("no such picture among %d: %w", len(fs), ctx.Err())
		}
	}
}

// BlockAfter waits for a block of sound that came after t.
func (v *Viewer) BlockAfter(ctx context.Context, t time.Time) (Block, error) {
	for {
		bs := v.Blocks()
		if n := len(bs); n > 0 && bs[n-1].At.After(t) {
			return bs[n-1], nil
		}
		select {
		case <-v.changed:
		case <-ctx.Done():
			return Block{}, fmt.Errorf("no sound among %d blocks: %w", len(bs), ctx.Err())
		}
	}
}
