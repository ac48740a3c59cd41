// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"slices"
	"sync"
)

// easel makes each painter once. An emulated machine needs a second or more for one, which no real
// camera does.
type easel struct {
	mu   sync.Mutex
	made map[motif]func() painter
}

// motif is what a painter paints.
type motif struct {
	fourcc string
	size   size
}

func (e *easel) painter(f format, z size, h264 [][]byte) painter {
	k := motif{f.fourcc, z}
	e.mu.Lock()
	once, ok := e.made[k]
	if !ok {
		once = sync.OnceValue(func() painter { return newPainter(k, h264) })
		if e.made == nil {
			e.made = map[motif]func() painter{}
		}
		e.made[k] = once
	}
	e.mu.Unlock()
	return once()
}

func newPainter(k motif, h264 [][]byte) painter {
	switch k.fourcc {
	case "YUYV":
		return newRawPainter(k.size)
	case "MJPG":
		p, err := newJPEGPainter(k.size)
		if err != nil {
			panic(err) // the pictures are ours: they can be encoded
		}
		return p
	}
	return loopPainter{h264}
}

// prepare makes the painters of each format's smallest size, and then the others, smallest first, while
// the camera is in use already. stop waits for the one that is being made.
func (w *webcam) prepare() (stop func()) {
	type job struct {
		f format
		z size
	}
	var now, later []job
	for _, f := range w.formats {
		for i, z := range bySize(f.sizes) {
			if i == 0 {
				now = append(now, job{f, z})
			} else {
				later = append(later, job{f, z})
			}
		}
	}
	slices.SortStableFunc(later, func(a, b job) int { return cmp.Compare(a.z.w, b.z.w) })
	for _, j := range now {
		w.easel.painter(j.f, j.z, w.h264)
	}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, j := range later {
			select {
			case <-ended:
				return
			default:
				w.easel.painter(j.f, j.z, w.h264)
			}
		}
	})
	return func() {
		close(ended)
		wg.Wait()
	}
}

func bySize(z []size) []size {
	return slices.SortedFunc(slices.Values(z), func(a, b size) int { return cmp.Compare(a.w*a.h, b.w*b.h) })
}
