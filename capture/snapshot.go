package capture

import (
	"context"
	"fmt"

	"anchord/internal/media"
	"anchord/internal/pixel"
)

// Snapshot gives the next picture as an upright JPEG file. It is a reader like any
// other: it wakes a camera that rests because nobody watches. ctx bounds the wait.
func Snapshot(ctx context.Context, tap *media.Tap[*media.Frame], demand *media.Demand, quality int) ([]byte, media.Size, error) {
	sink := demand.Sink()
	defer sink.Close()
	sink.Set(media.Wish{Subscribed: true, Turn: true}) // what the frame still owes is paid below
	box := media.NewLatest()
	remove := tap.Add(box.Put)
	defer box.Clear()
	defer remove()
	f, err := box.Get(ctx)
	if err != nil {
		return nil, media.Size{}, fmt.Errorf("take a snapshot: no picture came from the camera: %w", err)
	}
	defer func() { f.Release() }()
	if !f.Turn.Zero() {
		out := media.Format{Pixel: media.YU12, Size: f.Size.Turned(f.Turn.Rotation)}
		var conv pixel.Converter
		defer conv.Close()
		g := media.NewFrames(out, 1).Get()
		if err := conv.Convert(g, f); err != nil {
			g.Release()
			return nil, media.Size{}, fmt.Errorf("take a snapshot: %w", err)
		}
		f.Release()
		f = g
	}
	b, err := pixel.EncodeJPEG(nil, f, quality)
	if err != nil {
		return nil, media.Size{}, fmt.Errorf("take a snapshot: %w", err)
	}
	return b, f.Size, nil
}
