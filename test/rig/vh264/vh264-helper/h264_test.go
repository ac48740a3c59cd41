// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// A still picture costs next to nothing after its key frame, a changed block its own size.
func TestEncodeChangedBlocksOnly(t *testing.T) {
	j := &job{Width: 64, Height: 32, CropW: 64, CropH: 30, Stride: 64, Fourcc: fourccNV12}
	p := make([]byte, 64*32*3/2)
	for i := range p {
		p[i] = byte(i*7) | 4 // nothing that needs emulation prevention
	}
	s := &stream{}
	data, key := s.encode(j, p)
	if !key || len(data) < len(p) || !bytes.Contains(data, []byte{0, 0, 0, 1, 0x67}) || !bytes.Contains(data, []byte{0, 0, 0, 1, 0x65}) {
		t.Fatalf("first picture: key %v, %d bytes", key, len(data))
	}
	if data, key = s.encode(j, p); key || len(data) > 32 {
		t.Errorf("still picture: key %v, %d bytes", key, len(data))
	}
	p[0] ^= 8
	if data, key = s.encode(j, p); key || len(data) < mbSize || len(data) > mbSize+32 {
		t.Errorf("one block changed: key %v, %d bytes", key, len(data))
	}
	j.Flags = flagKey
	if _, key = s.encode(j, p); !key {
		t.Error("a demanded key frame is none")
	}
}

func TestNALHasNoStartCodeInside(t *testing.T) {
	n := nal(nil, 0x41, []byte{0, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 3})
	if bytes.Contains(n[4:], []byte{0, 0, 0}) || bytes.Contains(n[4:], []byte{0, 0, 1}) {
		t.Errorf("% x", n)
	}
}

func TestParseRefusesShortJobs(t *testing.T) {
	b, err := binary.Append(nil, binary.LittleEndian, job{Magic: magic, Width: 16, Height: 16, Stride: 16})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, b[:10], b, append(make([]byte, jobSize), make([]byte, 384)...)} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%d bytes are taken", len(bad))
		}
	}
	if _, err := parse(append(b, make([]byte, 384)...)); err != nil {
		t.Error(err)
	}
}
