package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anchord/device"
	"anchord/device/control"
	"anchord/internal/run"
	"anchord/rtc"
)

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// metrics lists all metrics but the histogram. docs/metrics.md comes from it.
func metrics() []metric {
	var all []metric
	for _, some := range [][]metric{boxMetrics(), pictureMetrics(), sendMetrics(), roomMetrics(), controlMetrics()} {
		all = append(all, some...)
	}
	return all
}

// of makes the function of a metric that has one value.
func of(f func(*sample) float64) func(*sample, put) {
	return func(s *sample, p put) { p(f(s)) }
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// bytesOf gives bits as bytes.
func bytesOf(bits int) float64 { return float64(bits) / 8 }

func boxMetrics() []metric {
	return []metric{
		{"anchord_build_info", "Always 1; the version and the Go that built it are labels.", gauge, []string{"version", "goversion"},
			func(_ *sample, p put) { p(1, version, goVersion()) }},
		{"anchord_uptime_seconds", "Time since the daemon started, by a clock that nobody sets.", gauge, nil,
			of(func(s *sample) float64 { return s.up.Seconds() })},
		{"anchord_part_up", "1 while a part runs, 0 while it waits to be started again.", gauge, []string{"part"},
			func(s *sample, p put) {
				for _, x := range s.parts {
					p(yes(x.Phase == run.Running), x.Name)
				}
			}},
		{"anchord_part_failures", "Failures of a part in a row.", gauge, []string{"part"},
			func(s *sample, p put) {
				for _, x := range s.parts {
					p(float64(x.Tries), x.Name)
				}
			}},
		{"anchord_health_conditions", "Conditions that stand now, by how bad they are: anchorctl health shows them.", gauge, []string{"severity"},
			func(s *sample, p put) {
				n := map[device.Severity]int{}
				for _, x := range s.health {
					n[x.Severity]++
				}
				for x := device.SeverityInfo; x <= device.SeverityError; x++ {
					p(float64(n[x]), x.String())
				}
			}},
		{"anchord_log_dropped_lines_total", "Lines of the log that stderr or the file did not take in time.", counter, []string{"to"},
			func(s *sample, p put) {
				p(float64(s.dropped[0]), "stderr")
				p(float64(s.dropped[1]), "file")
			}},
		{"anchord_store_writes_total", "Changes of what is wanted that are safe on the disk.", counter, nil,
			func(s *sample, p put) {
				if s.store != nil {
					p(float64(s.store.Writes))
				}
			}},
		{"anchord_store_problems_total", "What went wrong with the store. start: something about its files or values at the start; refused: a change that could not be stored; stale: a copy or the room's file that could not be written.", counter, []string{"kind"},
			func(s *sample, p put) {
				if s.store != nil {
					p(float64(s.bad), "start")
					p(float64(s.store.Failed), "refused")
					p(float64(s.store.Stale), "stale")
				}
			}},
	}
}

func pictureMetrics() []metric {
	return []metric{
		{"anchord_frames_total", "Pictures and blocks of sound that a part handed on: camera, encoder, video (sent); mic, opus, audio (sent).", counter, []string{"part"},
			func(s *sample, p put) {
				p(float64(s.camera.Frames), "camera")
				p(float64(s.encoder.Frames), "encoder")
				p(float64(s.room.Video.Frames), "video")
				p(float64(s.mic.Blocks), "mic")
				p(float64(s.opus.Packets), "opus")
				p(float64(s.room.Audio.Frames), "audio")
			}},
		{"anchord_frames_dropped_total", "Pictures and blocks of sound that went no further, by part and reason; docs/metrics.md says what each means.", counter, []string{"part", "reason"}, dropped},
		{"anchord_camera_restamped_frames_total", "Frames whose time stamp could not be believed; they were handed on with a time of ours.", counter, nil,
			of(func(s *sample) float64 { return float64(s.camera.Faults.Stale) })},
		{"anchord_camera_open", "1 while a camera streams.", gauge, nil,
			of(func(s *sample) float64 { return yes(s.camera.Mode.Size.W > 0) })},
		{"anchord_encoder_keys_total", "Key pictures that were coded.", counter, nil,
			of(func(s *sample) float64 { return float64(s.encoder.Keys) })},
		{"anchord_encoder_bytes_total", "Coded pictures, in bytes.", counter, nil,
			of(func(s *sample) float64 { return float64(s.encoder.Bytes) })},
		{"anchord_encoder_resting", "1 while the encoder rests because nobody subscribes.", gauge, nil,
			of(func(s *sample) float64 { return yes(s.encoder.Resting) })},
		{"anchord_encoder_info", "1 for the encoder in use and the size that it codes; nothing while none is open.", gauge, []string{"encoder", "size"},
			func(s *sample, p put) {
				if s.encoder.Encoder != "" {
					p(1, s.encoder.Encoder, s.encoder.Input.Size.String())
				}
			}},
		{"anchord_encoder_wanted_bytes_per_second", "Bit rate that the configuration wants, in bytes.", gauge, nil,
			of(func(s *sample) float64 { most, _ := s.wanted.Video.Bits(); return bytesOf(most) })},
		{"anchord_encoder_allowed_bytes_per_second", "Bit rate that the network allows, in bytes; nothing while it says nothing.", gauge, nil,
			func(s *sample, p put) {
				if s.wish.Bitrate > 0 {
					p(bytesOf(s.wish.Bitrate))
				}
			}},
		{"anchord_encoder_granted_bytes_per_second", "Bit rate that the encoder granted, in bytes; 0 while none is open.", gauge, nil,
			of(func(s *sample) float64 { return bytesOf(s.encoder.Bitrate) })},
		{"anchord_mic_open", "1 while a microphone records.", gauge, nil,
			of(func(s *sample) float64 { return yes(s.mic.Format.Rate > 0) })},
		{"anchord_sound_level_dbov", "Level of the last block of sound: 0 is the loudest, -127 silence.", gauge, nil,
			of(func(s *sample) float64 { return float64(s.opus.Level) })},
		{"anchord_sound_silent_seconds", "For how long the microphone has given nothing but zeros: a switch on it, or it is dead.", gauge, nil,
			of(func(s *sample) float64 { return float64(s.mic.Zeros) / 50 })},
		{"anchord_sound_bytes_total", "Coded sound, in bytes.", counter, nil,
			of(func(s *sample) float64 { return float64(s.opus.Bytes) })},
	}
}

// dropped gives what was lost on the way, in its order.
func dropped(s *sample, p put) {
	for _, x := range []struct {
		part, reason string
		n            uint64
	}{
		{"camera", "lost", s.camera.Faults.Lost}, {"camera", "broken", s.camera.Faults.Broken}, {"camera", "short", s.camera.Faults.Short},
		{"camera", "corrupt", s.camera.Corrupt}, {"camera", "late", s.camera.Late},
		{"encoder", "late", s.encoder.Late}, {"encoder", "skipped", s.encoder.Skipped}, {"encoder", "failed", s.encoder.Failed},
		{"video", "late", s.room.VideoDropped}, {"video", "unsent", s.room.Video.Unsent},
		{"opus", "late", s.opus.Late}, {"opus", "failed", s.opus.Failed},
		{"audio", "late", s.room.AudioDropped}, {"audio", "unsent", s.room.Audio.Unsent},
	} {
		p(float64(x.n), x.part, x.reason)
	}
}

// both gives a value for picture and sound.
func both(f func(rtc.Sending) float64) func(*sample, put) {
	return func(s *sample, p put) {
		p(f(s.room.Video), "video")
		p(f(s.room.Audio), "audio")
	}
}

func sendMetrics() []metric {
	media := []string{"media"}
	return []metric{
		{"anchord_send_packets_total", "RTP packets sent to the room, without those sent again.", counter, media,
			both(func(x rtc.Sending) float64 { return float64(x.Packets) })},
		{"anchord_send_bytes_total", "Bytes of these packets, with RTP header and authentication tag.", counter, media,
			both(func(x rtc.Sending) float64 { return float64(x.Bytes) })},
		{"anchord_send_resent_packets_total", "Packets sent again because a receiver missed them.", counter, media,
			both(func(x rtc.Sending) float64 { return float64(x.Resent) })},
		{"anchord_send_errors_total", "Packets that could not be given to the network.", counter, media,
			both(func(x rtc.Sending) float64 { return float64(x.Errors) })},
		{"anchord_send_loss_ratio", "Share of packets lost in the receiver's last interval, 0 to 1.", gauge, media,
			both(func(x rtc.Sending) float64 { return x.Loss })},
		{"anchord_send_jitter_seconds", "Interarrival jitter as the receiver reports it.", gauge, media,
			both(func(x rtc.Sending) float64 { return x.Jitter.Seconds() })},
		{"anchord_send_rtt_seconds", "Round-trip time to the receiver; nothing while it is not known.", gauge, media,
			func(s *sample, p put) {
				for _, x := range []struct {
					name string
					rtt  time.Duration
				}{{"video", s.room.Video.RTT}, {"audio", s.room.Audio.RTT}} {
					if x.rtt > 0 {
						p(x.rtt.Seconds(), x.name)
					}
				}
			}},
		{"anchord_send_plis_total", "Key pictures that receivers asked for (PLI, FIR).", counter, nil,
			of(func(s *sample) float64 { return float64(s.room.Video.Keys) })},
	}
}

func roomMetrics() []metric {
	room := func(f func(*sample) float64) func(*sample, put) {
		return func(s *sample, p put) {
			if s.rooms != nil {
				p(f(s))
			}
		}
	}
	return []metric{
		{"anchord_room_wanted", "1 while the box is to be in a room.", gauge, nil,
			of(func(s *sample) float64 { return yes(s.room.Wanted) })},
		{"anchord_room_state", "1 for the state of the session, 0 for the others: idle, entering, in, recovering, exiting.", gauge, []string{"state"},
			func(s *sample, p put) {
				for x := rtc.Idle; x <= rtc.Exiting; x++ {
					p(yes(x == s.room.State), x.String())
				}
			}},
		{"anchord_room_state_seconds", "For how long the session has been in its state.", gauge, nil,
			func(s *sample, p put) {
				if !s.room.Since.IsZero() {
					p(max(0, time.Since(s.room.Since).Seconds()))
				}
			}},
		{"anchord_room_failures", "Attempts to enter that failed in a row.", gauge, nil,
			of(func(s *sample) float64 { return float64(s.room.Tries) })},
		{"anchord_room_losses_total", "Times that the room was lost.", counter, nil,
			of(func(s *sample) float64 { return float64(s.room.Lost) })},
		{"anchord_reconnects_total", "Times that the room was lost and found again.", counter, nil,
			of(func(s *sample) float64 { return float64(s.room.Reconnects) })},
		{"anchord_room_subscribers", "Who take this box's picture or sound; nothing if the room does not say.", gauge, nil,
			func(s *sample, p put) {
				if s.room.Subscribers >= 0 {
					p(float64(s.room.Subscribers))
				}
			}},
		{"anchord_rooms", "Rooms of the server inside the daemon; these and the next only if it is enabled.", gauge, nil,
			room(func(s *sample) float64 { return float64(s.rooms.Rooms) })},
		{"anchord_rooms_anchors", "Who send in these rooms.", gauge, nil,
			room(func(s *sample) float64 { return float64(s.rooms.Anchors) })},
		{"anchord_rooms_viewers", "Viewers' sessions in these rooms.", gauge, nil,
			room(func(s *sample) float64 { return float64(s.rooms.Viewers) })},
		{"anchord_rooms_received_packets_total", "RTP packets that came from anchors.", counter, nil,
			room(func(s *sample) float64 { return float64(s.rooms.Received) })},
		{"anchord_rooms_received_bytes_total", "Payload of these packets, in bytes.", counter, nil,
			room(func(s *sample) float64 { return float64(s.rooms.ReceivedBytes) })},
		{"anchord_rooms_forwarded_packets_total", "RTP packets that went to viewers, those sent again with them.", counter, nil,
			room(func(s *sample) float64 { return float64(s.rooms.Forwarded) })},
		{"anchord_rooms_forwarded_bytes_total", "Payload of these packets, in bytes.", counter, nil,
			room(func(s *sample) float64 { return float64(s.rooms.ForwardedBytes) })},
		{"anchord_rooms_resent_packets_total", "Of them those sent again because a viewer missed them.", counter, nil,
			room(func(s *sample) float64 { return float64(s.rooms.Resent) })},
		{"anchord_rooms_plis_total", "Key pictures that anchors were asked for.", counter, nil,
			room(func(s *sample) float64 { return float64(s.rooms.PLIs) })},
	}
}

func controlMetrics() []metric {
	counts := func(of func(*sample) []control.Count) func(*sample, put) {
		return func(s *sample, p put) {
			for _, c := range of(s) {
				p(float64(c.N), c.Way, c.Result)
			}
		}
	}
	return []metric{
		{"anchord_control_requests_total", "Commands that were answered, by the way they came and by ok or the error's name.", counter, []string{"transport", "result"},
			counts(func(s *sample) []control.Count { return s.said })},
		{"anchord_control_refused_total", "HTTP requests that were not let in. missing: no token; wrong: one that nobody holds, or not any more; limited: not looked at, after too many wrong ones; level: one that does not allow it.", counter, []string{"reason"},
			func(s *sample, p put) {
				p(float64(s.refused.Missing), "missing")
				p(float64(s.refused.Wrong), "wrong")
				p(float64(s.refused.Limited), "limited")
				p(float64(s.refused.Level), "level")
			}},
		{"anchord_control_tokens", "Tokens that let somebody in by HTTP, the first one with them.", gauge, nil,
			of(func(s *sample) float64 {
				n := 0
				for _, k := range s.tokens {
					if !k.Expired && !k.Revoked {
						n++
					}
				}
				return float64(n)
			})},
		{"anchord_http_requests_total", "HTTP requests that were answered, by the pattern of their path and by status; other is a path that nobody serves.", counter, []string{"path", "code"},
			counts(func(s *sample) []control.Count { return s.served })},
	}
}
