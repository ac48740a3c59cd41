package pulse

import (
	"fmt"

	"github.com/jfreymuth/pulse/proto"

	"anchord/hal"
)

var _ hal.Volumed = (*mic)(nil)

// Volume implements hal.Volumed: the loudest channel, in the server's own percent
// (https://www.freedesktop.org/wiki/Software/PulseAudio/Documentation/Developer/Clients/WritingVolumeControlUIs/).
func (m *mic) Volume() (percent int, muted bool, err error) {
	s, err := m.info()
	if err != nil {
		return 0, false, fmt.Errorf("read the volume of microphone %s: %w", m.name, err)
	}
	return loudest(s.ChannelVolumes), s.Mute, nil
}

// SetVolume implements hal.Volumed: all channels alike.
func (m *mic) SetVolume(percent int) (granted int, err error) {
	if percent < 0 || percent > 100 {
		return 0, fmt.Errorf("set the volume of microphone %s: %d percent: allowed: 0 to 100", m.name, percent)
	}
	s, err := m.info()
	if err == nil {
		all := make(proto.ChannelVolumes, len(s.ChannelVolumes))
		for i := range all {
			all[i] = uint32(int(proto.VolumeNorm) * percent / 100)
		}
		err = m.conn.request(&proto.SetSourceVolume{SourceIndex: m.source, ChannelVolumes: all}, nil)
	}
	if err == nil {
		s, err = m.info() // what it was set to is not what it has
	}
	if err != nil {
		return 0, fmt.Errorf("set the volume of microphone %s: %w", m.name, err)
	}
	return loudest(s.ChannelVolumes), nil
}

// info asks about the source, and makes sure that it still is the one that was opened.
func (m *mic) info() (s proto.GetSourceInfoReply, err error) {
	err = m.conn.request(&proto.GetSourceInfo{SourceIndex: m.source}, &s)
	if err == nil && s.SourceName != m.name {
		err = fmt.Errorf("source is %s now: %w", s.SourceName, hal.ErrGone)
	}
	return s, err
}

func loudest(v proto.ChannelVolumes) int {
	most := uint32(0)
	for _, x := range v {
		most = max(most, x)
	}
	return int((uint64(most)*100 + uint64(proto.VolumeNorm)/2) / uint64(proto.VolumeNorm))
}
