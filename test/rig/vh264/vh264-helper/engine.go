// SPDX-License-Identifier: Apache-2.0

package main

import "fmt"

// coded is what an engine makes of a picture; no data: it was left out.
type coded struct {
	data []byte
	head int // length of the parameter sets that data begins with
	key  bool
}

// engine codes one stream.
type engine interface {
	encode(j *job, p []byte) (coded, error)
	close()
}

// engines has the streams' engines, the newest last: a few, because nobody says when a stream has ended.
type engines struct{ all []stream }

type stream struct {
	ctx, kind uint32
	engine
}

const mostEngines = 4

func (e *engines) of(j *job) (engine, error) {
	for i, s := range e.all {
		if s.ctx == j.Ctx && s.kind == j.Engine {
			e.all = append(append(e.all[:i:i], e.all[i+1:]...), s)
			return s, nil
		}
	}
	s := stream{ctx: j.Ctx, kind: j.Engine}
	switch j.Engine {
	case engineLossless:
		s.engine = &lossless{}
	case engineOpenH264:
		s.engine = &real{}
	default:
		return nil, fmt.Errorf("no engine %d", j.Engine)
	}
	if len(e.all) >= mostEngines {
		e.all[0].close()
		e.all = e.all[1:]
	}
	e.all = append(e.all, s)
	return s, nil
}

func (e *engines) encode(j *job, p []byte) (coded, error) {
	s, err := e.of(j)
	if err != nil {
		return coded{}, err
	}
	return s.encode(j, p)
}

func (e *engines) close() {
	for _, s := range e.all {
		s.close()
	}
}
