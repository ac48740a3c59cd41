package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"anchord/hal"
	"anchord/hal/openh264"
	"anchord/hal/pulse"
	"anchord/hal/v4l2"
	"anchord/internal/media"
)

// probeTime is how long one device may take to answer.
const probeTime = 5 * time.Second

// probe says what this board has and what works, without a daemon: each camera gives a
// frame, each microphone a block of sound, each encoder a picture.
func probe(stdout, stderr io.Writer) int {
	bad := probeCameras(stdout) + probeMics(stdout) + probeEncoders(stdout)
	if bad > 0 {
		fmt.Fprintf(stderr, "anchorctl: %d of them do not work\n", bad)
		return failed
	}
	return done
}

func probeCameras(w io.Writer) (bad int) {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	cs := v4l2.New(v4l2.Config{})
	ds, err := cs.List(ctx)
	if err != nil {
		fmt.Fprintf(w, "cameras: cannot be listed: %v\n", err)
		return 1
	}
	if len(ds) == 0 {
		fmt.Fprintln(w, "cameras: none")
	}
	for _, d := range ds {
		fmt.Fprintf(w, "camera: %s\n  name: %s\n  node: %s\n  port: %s\n", d.ID, d.Name, d.Node, d.Port)
		if err := probeCamera(w, cs, d); err != nil {
			fmt.Fprintf(w, "  works: no: %v\n", err)
			bad++
		}
	}
	return bad
}

func probeCamera(w io.Writer, cs hal.Cameras, d hal.Device) error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	c, err := cs.Open(ctx, d)
	if err != nil {
		return err
	}
	defer c.Close()
	ms, err := c.Modes()
	if err != nil {
		return err
	}
	for _, m := range ms {
		fmt.Fprintf(w, "  mode: %v %v %v fps\n", m.Pixel, m.Size, m.Rate)
	}
	if len(ms) == 0 {
		return errors.New("it offers no modes")
	}
	m, err := c.Start(ctx, ms[0])
	if err != nil {
		return err
	}
	begun := time.Now()
	f, err := c.Next()
	if err != nil {
		return err
	}
	f.Release()
	fmt.Fprintf(w, "  works: yes: a frame of %v %v after %v\n", m.Pixel, m.Size, time.Since(begun).Round(time.Millisecond))
	return nil
}

func probeMics(w io.Writer) (bad int) {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	ms := pulse.New(pulse.Config{})
	ds, err := ms.List(ctx)
	if err != nil {
		fmt.Fprintf(w, "microphones: none: %v\n", err)
		return 0 // a box without sound is a box
	}
	if len(ds) == 0 {
		fmt.Fprintln(w, "microphones: none")
	}
	for _, d := range ds {
		fmt.Fprintf(w, "microphone: %s\n  name: %s\n", d.ID, d.Name)
		if err := probeMic(w, ms, d); err != nil {
			fmt.Fprintf(w, "  works: no: %v\n", err)
			bad++
		}
	}
	return bad
}

func probeMic(w io.Writer, ms hal.Microphones, d hal.Device) error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	m, err := ms.Open(ctx, d)
	if err != nil {
		return err
	}
	defer m.Close()
	f, err := m.Start(ctx, hal.SoundFormat{Rate: 48000, Channels: 1})
	if err != nil {
		return err
	}
	s, err := m.Next()
	if err != nil {
		return err
	}
	word := ""
	if s.Silent {
		word = ", nothing but zeros"
	}
	s.Release()
	fmt.Fprintf(w, "  works: yes: %d Hz, %d channel%s\n", f.Rate, f.Channels, word)
	return nil
}

func probeEncoders(w io.Writer) (bad int) {
	for _, m := range []hal.VideoEncoders{openh264.New(openh264.Config{})} {
		fmt.Fprintf(w, "encoder: %s\n", m.Name())
		for _, s := range []media.Size{{W: 640, H: 360}, {W: 1280, H: 720}, {W: 1920, H: 1080}} {
			t, err := probeEncoder(m, s)
			if err != nil {
				fmt.Fprintf(w, "  %v: no: %v\n", s, err)
				bad++
				continue
			}
			fmt.Fprintf(w, "  %v: %.1f ms a picture\n", s, float64(t.Microseconds())/1000)
		}
	}
	return bad
}

// probeEncoder gives the mean time for one of 15 pictures of moving noise, the worst an
// encoder can meet.
func probeEncoder(m hal.VideoEncoders, s media.Size) (time.Duration, error) {
	f := media.Format{Pixel: m.Inputs()[0], Size: s}
	f.Colour = f.Colour.Guess(s)
	e, _, err := m.Open(context.Background(), hal.VideoConfig{Input: f, Rate: media.FPS(30), Bitrate: 2e6})
	if err != nil {
		return 0, err
	}
	defer e.Close()
	pool := media.NewFrames(f, 1)
	p := pool.Get()
	defer p.Release()
	const n = 15
	seed := uint32(1)
	begun := time.Now()
	drawing := time.Duration(0)
	for i := range n {
		t := time.Now()
		for j := range p.Planes[0] {
			if j%16 == 0 {
				seed = seed*1664525 + 1013904223
			}
			p.Planes[0][j] = byte(seed >> 24)
		}
		drawing += time.Since(t)
		p.Marks[media.Captured] = media.Time(time.Hour).Add(time.Duration(i) * time.Second / 30)
		k, err := e.Encode(p, i == 0)
		if err != nil {
			return 0, err
		}
		if k != nil {
			k.Release()
		}
	}
	return (time.Since(begun) - drawing) / n, nil
}
