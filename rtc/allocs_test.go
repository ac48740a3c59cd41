//go:build !race

package rtc

import (
	"testing"
	"time"

	"anchord/internal/media"
)

// Not under the race detector, where sync.Pool, which pion uses, drops at random.
func TestPictureAllocatesNothing(t *testing.T) {
	w := sink(t)
	defer w.close(t)
	video, audio := NewVideoTrack("cam", nil), NewAudioTrack("cam")
	p := publish(t, LinkConfig{Video: video, Audio: audio}, w)
	defer p.close(t)
	pic, sound := clip(2, media.Now())[1], blocks(1, media.Now())[0]
	pic.Data = picture720()
	step := func() {
		pic.Marks[media.Captured] = pic.Marks[media.Captured].Add(time.Second / 30)
		sound.Marks[media.Captured] = sound.Marks[media.Captured].Add(time.Second / 50)
		if _, err := video.WriteVideo(pic); err != nil {
			t.Fatal(err)
		}
		if _, err := audio.WriteAudio(sound); err != nil {
			t.Fatal(err)
		}
	}
	// This counts the whole process's: the receiver's, ICE's and RTCP's are there as
	// well, but they are few a second and not one a picture.
	if n := testing.AllocsPerRun(300, step); n >= 1 {
		t.Errorf("%v allocations for a picture and a block of sound", n)
	}
}
