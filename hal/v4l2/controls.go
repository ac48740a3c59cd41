package v4l2

import (
	"fmt"
	"log/slog"

	"anchord/internal/media"
)

// setting is what became of one control.
type setting struct {
	name      string
	want, got int32
	err       error
}

func (s setting) String() string {
	if s.err != nil {
		return fmt.Sprintf("%s=%d (%v)", s.name, s.want, s.err)
	}
	return fmt.Sprintf("%s=%d (is %d)", s.name, s.want, s.got)
}

// controls sets controls of an encoder one by one, since a driver refuses a set of them for
// one that it does not have. No refusal is a failure: what matters is looked for in the
// stream.
type controls struct {
	c       coder
	refused []setting // or set to something else
}

// set sets one, brought into its range, and says what it is now; ok is false when there is
// no such control or it is refused.
func (k *controls) set(name string, id uint32, v int32) (got int32, ok bool) {
	s := setting{name: name, want: v}
	if r, err := k.c.controlRange(id); err != nil {
		s.err = err
	} else {
		v = r.clamp(v)
		if s.err = k.c.setControl(id, v); s.err == nil {
			s.got = v
			if got, err := k.c.control(id); err == nil {
				s.got = got
			}
		}
	}
	if s.err != nil || s.got != s.want {
		k.refused = append(k.refused, s)
	}
	return s.got, s.err == nil
}

// clamp brings a value into the control's range.
func (r *controlRange) clamp(v int32) int32 {
	v = min(max(v, r.min), r.max)
	if r.step > 1 {
		v = r.min + (v-r.min)/r.step*r.step
	}
	return v
}

// stream sets what all our streams have in common: constrained baseline, no B pictures,
// key pictures only when asked for, parameter sets in front of each, a constant bit rate.
func (k *controls) stream(q *quirk, bitrate int) (granted int) {
	k.set("frame_level_rate_control", cidRateControl, 1)
	k.set("bitrate_mode", cidBitrateMode, 1)
	granted, _ = k.bitrate(bitrate)
	k.set("b_frames", cidBFrames, 0)
	if _, ok := k.set("gop_size", cidGOPSize, keyNever); !ok {
		// Older firmware knows this one only (https://github.com/raspberrypi/linux/issues/4740).
		k.set("h264_i_frame_period", cidIPeriod, keyNever)
	}
	if got, ok := k.set("h264_profile", cidProfile, profileConstrained); !ok || got != profileConstrained {
		k.set("h264_profile", cidProfile, profileBaseline)
	}
	k.set("h264_entropy_mode", cidEntropy, 0)
	k.set("h264_8x8_transform", cidTransform8x8, 0)
	k.set("header_mode", cidHeaderMode, 1)
	k.set("repeat_sequence_header", cidRepeatHeader, 1)
	k.set("prepend_sps_pps_to_idr", cidPrependSets, 1)
	k.set("access_unit_delimiter", cidDelimiter, 0)
	k.set("h264_minimum_qp", cidMinQP, max(q.minQP, usualMinQP))
	k.set("h264_maximum_qp", cidMaxQP, usualMaxQP)
	return granted
}

const (
	profileBaseline    = 0
	profileConstrained = 1

	// keyNever is more pictures than any control allows: each takes its most.
	keyNever = 1<<31 - 1

	// With a maximum of 51 hardly anything is left of a picture, and with less of a
	// minimum a still one takes bits that nobody sees.
	usualMinQP = 12
	usualMaxQP = 48
)

// bitrate sets the bit rate; ok is false if it is refused.
func (k *controls) bitrate(bits int) (granted int, ok bool) {
	got, ok := k.set("video_bitrate", cidBitrate, int32(min(bits, 1<<31-1)))
	if !ok {
		return bits, false
	}
	return int(got), true
}

// level sets the lowest level that the driver takes from want's upwards, and gives it; 0 if
// it takes none.
func (k *controls) level(want int) int {
	for i, idc := range levelMenu {
		if idc < want || idc == level1b {
			continue
		}
		if got, ok := k.set("h264_level", cidLevel, int32(i)); ok && int(got) >= i && int(got) < len(levelMenu) {
			return levelMenu[got]
		}
	}
	return 0
}

// levelMenu are the level_idc of enum v4l2_mpeg_video_h264_level.
var levelMenu = [...]int{10, level1b, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52}

const level1b = 9

// log says what was refused.
func (k *controls) log(log *slog.Logger, device string) {
	if len(k.refused) > 0 {
		log.Debug("encoder leaves controls as they are", "device", device, "controls", fmt.Sprint(k.refused))
	}
}

// coloursOf gives the kernel's names for the code points of ITU-T H.273, 0 where it has
// none: the reverse of colour. An encoder writes them into the stream, if it writes any.
func coloursOf(c media.Colour, f *picFormat) {
	switch c.Primaries {
	case media.BT709:
		f.space = 3 // V4L2_COLORSPACE_REC709
	case media.BT601:
		f.space = 1 // V4L2_COLORSPACE_SMPTE170M
	case media.BT470B:
		f.space = 6 // V4L2_COLORSPACE_470_SYSTEM_BG
	case bt2020:
		f.space = 10
	}
	switch c.Transfer {
	case media.BT709, media.BT601:
		f.xfer = 1 // V4L2_XFER_FUNC_709
	case media.SRGB:
		f.xfer = 2
	}
	switch c.Matrix {
	case media.BT601, media.BT470B:
		f.enc = 1 // V4L2_YCBCR_ENC_601
	case media.BT709:
		f.enc = 2
	case bt2020:
		f.enc = 6
	}
	f.quant = 2 // V4L2_QUANTIZATION_LIM_RANGE
	if c.Full {
		f.quant = 1
	}
}
