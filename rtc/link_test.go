package rtc

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"anchord/internal/media"
)

func TestEveryPictureArrives(t *testing.T) {
	for mode, words := range []string{"GSO", "sendmmsg", "sendmsg"} {
		for _, twcc := range []bool{false, true} {
			t.Run(words, func(t *testing.T) {
				w := newWatcher(t, nil, webrtc.SettingEngine{})
				defer w.close(t)
				video := NewVideoTrack("cam", nil)
				p := publish(t, LinkConfig{Video: video, TWCC: twcc}, w)
				defer p.close(t)
				p.link.sock.mode.Store(max(int32(mode), p.link.sock.mode.Load()))
				sent := clip(30, media.Now())
				turns := []media.Turn{{}, {Rotation: 90}, {Rotation: 180}, {Rotation: 270, Mirror: true}}
				i := 0
				pace(sent, func(k *media.Packet) {
					k.Turn = turns[i/5%4]
					i++
					m, err := video.WriteVideo(k)
					if err != nil {
						t.Fatal(err)
					}
					if m.Between(media.Packetized, media.Sent) <= 0 || m[media.Packetized] == 0 {
						t.Errorf("marks %v", m)
					}
				})
				eventually(t, "all pictures", func() bool { return complete(w.packets(webrtc.RTPCodecTypeVideo)) >= len(sent) })
				_, last := check(t, sent, w.packets(webrtc.RTPCodecTypeVideo))
				for i, p := range last {
					if e := p.GetExtension(w.cvo); len(e) != 1 || e[0] != cvo(turns[i/5%4]) {
						t.Errorf("picture %d: orientation %v", i, e)
					}
				}
				if n := p.link.Wire(); n.Packets < video.Sending().Packets || n.Lost != 0 || n.GSO && n.Messages >= n.Packets/4 {
					t.Errorf("%+v", n)
				}
				s := video.Sending()
				if s.Frames != uint64(len(sent)) || s.Unsent+s.Errors != 0 || s.Packets == 0 || s.Bytes < 300_000 {
					t.Errorf("%+v", s)
				}
				if !video.Turns() {
					t.Error("orientation is not negotiated")
				}
			})
		}
	}
}

func TestLostPacketsAreSentAgain(t *testing.T) {
	for _, profile := range cipherOrder(true) {
		var settings webrtc.SettingEngine
		settings.SetSRTPProtectionProfiles(profile)
		var lost atomic.Int32
		var bad atomic.Bool
		var seen sync.Map
		w := newWatcher(t, func(seq uint16) bool {
			if _, again := seen.LoadOrStore(seq, true); again || seq%20 != 7 || !bad.Load() {
				return false
			}
			lost.Add(1)
			return true
		}, settings)
		video := NewVideoTrack("cam", nil)
		p := publish(t, LinkConfig{Video: video}, w)
		sent := clip(40, media.Now())
		i := 0
		pace(sent, func(k *media.Packet) {
			i++
			bad.Store(i > 1 && i < 35) // nobody can miss what nothing follows
			if _, err := video.WriteVideo(k); err != nil {
				t.Fatal(err)
			}
		})
		defer func() {
			if t.Failed() {
				w.dump(t)
				t.Logf("%+v", video.Sending())
			}
		}()
		eventually(t, "all pictures", func() bool { return complete(w.packets(webrtc.RTPCodecTypeVideo)) >= len(sent) })
		check(t, sent, w.packets(webrtc.RTPCodecTypeVideo))
		s := video.Sending()
		if n := uint64(lost.Load()); n < 10 || s.Resent < n || s.Resent > 2*n {
			t.Errorf("%d lost, %d sent again", n, s.Resent)
		}
		eventually(t, "a report", func() bool { return video.Sending().Arrived != 0 })
		t.Logf("%d lost: %+v", lost.Load(), video.Sending())
		p.close(t)
		w.close(t)
	}
}

// blocks gives n blocks of sound of 20 ms.
func blocks(n int, start media.Time) (p []*media.Packet) {
	for i := range n {
		k := media.NewPacket(nil)
		k.Data, k.Key, k.Samples, k.Level, k.Voice = unit(0x78, 60+i%100), true, 960, uint8(i%128), i%2 == 0
		k.Marks[media.Captured] = start.Add(time.Duration(i) * 20 * time.Millisecond)
		p = append(p, k)
	}
	return p
}

func TestSoundAndPictureShareOneClock(t *testing.T) {
	w := newWatcher(t, nil, webrtc.SettingEngine{})
	defer w.close(t)
	video, audio := NewVideoTrack("cam", nil), NewAudioTrack("cam")
	p := publish(t, LinkConfig{Video: video, Audio: audio}, w)
	defer p.close(t)
	start := media.Now()
	sound := blocks(60, start)
	pace(sound, func(k *media.Packet) {
		if _, err := audio.WriteAudio(k); err != nil {
			t.Fatal(err)
		}
	})
	sight := clip(30, start)
	pace(sight, func(k *media.Packet) {
		if _, err := video.WriteVideo(k); err != nil {
			t.Fatal(err)
		}
	})
	eventually(t, "everything", func() bool {
		return complete(w.packets(webrtc.RTPCodecTypeVideo)) >= len(sight) && len(w.packets(webrtc.RTPCodecTypeAudio)) >= len(sound) &&
			len(w.reports(webrtc.RTPCodecTypeVideo)) > 0 && len(w.reports(webrtc.RTPCodecTypeAudio)) > 0
	})
	stamps, _ := check(t, sight, w.packets(webrtc.RTPCodecTypeVideo))
	heard := w.packets(webrtc.RTPCodecTypeAudio)
	for i, p := range heard {
		if !bytes.Equal(sound[i].Data, p.Payload) {
			t.Fatalf("block %d differs", i)
		}
		want := byte(i % 128)
		if i%2 == 0 {
			want |= 0x80
		}
		if e := p.GetExtension(w.lvl); len(e) != 1 || e[0] != want {
			t.Errorf("block %d: level %v, want %d", i, e, want)
		}
		if p.Timestamp-heard[0].Timestamp != uint32(i*960) || p.Marker != (i == 0) {
			t.Errorf("block %d: time stamp %d after the first, marker %v", i, p.Timestamp-heard[0].Timestamp, p.Marker)
		}
	}
	// The wall time of the first picture and of the first sound, both captured at start.
	when := func(sr *rtcp.SenderReport, ts uint32, rate float64) time.Duration {
		wall := time.Duration(float64(sr.NTPTime>>32)*1e9) + time.Duration(float64(sr.NTPTime&0xffffffff)/(1<<32)*1e9)
		return wall - time.Duration(float64(int32(sr.RTPTime-ts))/rate*1e9)
	}
	v := when(w.reports(webrtc.RTPCodecTypeVideo)[0], stamps[0], 90000)
	a := when(w.reports(webrtc.RTPCodecTypeAudio)[0], heard[0].Timestamp, 48000)
	if d := v - a; d < -time.Millisecond || d > time.Millisecond {
		t.Errorf("picture and sound of one instant are %v apart", d)
	}
	wall := time.Duration(newWall().ntp(start)>>32) * time.Second
	if d := v - wall; d < -time.Second || d > 2*time.Second {
		t.Errorf("the reports are %v off the wall clock", d)
	}
}

func TestReceiverAsksForKeyPicture(t *testing.T) {
	w := newWatcher(t, nil, webrtc.SettingEngine{})
	defer w.close(t)
	var keys atomic.Int32
	video := NewVideoTrack("cam", func() { keys.Add(1) })
	p := publish(t, LinkConfig{Video: video}, w)
	defer p.close(t)
	for _, k := range clip(2, media.Now()) {
		if _, err := video.WriteVideo(k); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "pictures", func() bool { return len(w.packets(webrtc.RTPCodecTypeVideo)) > 0 })
	ssrc := w.packets(webrtc.RTPCodecTypeVideo)[0].SSRC
	for i, ask := range []rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}, &rtcp.FullIntraRequest{MediaSSRC: ssrc, FIR: []rtcp.FIREntry{{SSRC: ssrc}}}} {
		if err := w.pc.WriteRTCP([]rtcp.Packet{ask}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "being asked", func() bool { return keys.Load() == int32(i+1) })
	}
	if s := video.Sending(); s.Keys != 2 || s.Heard == 0 {
		t.Errorf("%+v", s)
	}
	if err := w.pc.WriteRTCP([]rtcp.Packet{&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e6, SSRCs: []uint32{ssrc}}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the estimate", func() bool { return video.Sending().REMB > 990_000 })
	// A sender report has gone out: the next receiver report tells the round trip.
	eventually(t, "a round trip time", func() bool { return video.Sending().RTT > 0 })
}

func TestTrackOutlivesPeerConnections(t *testing.T) {
	video, audio := NewVideoTrack("cam", nil), NewAudioTrack("cam")
	video.seq = 0xfffe // would wrap at once: the number is not used near the wrap
	start := media.Now()
	sight, sound := clip(10, start), blocks(20, start)
	if _, err := video.WriteVideo(sight[0]); !errors.Is(err, ErrNotSending) {
		t.Errorf("without a session: %v", err)
	}
	var seq uint16
	var stamp, heard uint32
	var ssrc uint32
	for round := range 2 {
		w := newWatcher(t, nil, webrtc.SettingEngine{})
		p := publish(t, LinkConfig{Video: video, Audio: audio}, w)
		for _, k := range sight[5*round : 5*round+5] {
			if _, err := video.WriteVideo(k); err != nil {
				t.Fatal(err)
			}
		}
		for _, k := range sound[10*round : 10*round+10] {
			if _, err := audio.WriteAudio(k); err != nil {
				t.Fatal(err)
			}
		}
		defer func() {
			if t.Failed() {
				w.dump(t)
				t.Logf("%+v %+v", video.Sending(), audio.Sending())
			}
		}()
		eventually(t, "everything", func() bool {
			return complete(w.packets(webrtc.RTPCodecTypeVideo)) >= 5 && len(w.packets(webrtc.RTPCodecTypeAudio)) >= 10
		})
		got, audible := w.packets(webrtc.RTPCodecTypeVideo), w.packets(webrtc.RTPCodecTypeAudio)
		_, stamps, last := pictures(t, got)
		switch {
		case round == 0 && got[0].SequenceNumber != 0:
			t.Errorf("begins with %d", got[0].SequenceNumber)
		case round == 1 && (got[0].SequenceNumber != seq+1 || stamps[0]-stamp > 5*33*90+1 || stamps[0]-stamp < 5*33*90-1 || audible[0].Timestamp != heard+10*960):
			t.Errorf("%d follows %d, picture %d %d, sound %d %d", got[0].SequenceNumber, seq, stamps[0], stamp, audible[0].Timestamp, heard)
		case round == 1 && got[0].SSRC == ssrc:
			t.Error("same SSRC again")
		}
		seq, stamp, heard, ssrc = last[len(last)-1].SequenceNumber, stamps[0], audible[0].Timestamp, got[0].SSRC
		p.close(t)
		w.close(t)
		if _, err := video.WriteVideo(sight[0]); !errors.Is(err, ErrNotSending) {
			t.Errorf("after the session: %v", err)
		}
	}
}
