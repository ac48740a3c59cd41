package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"
)

// roomPrefix begins the keys that are kept in the plain file too.
const roomPrefix = "room."

// roomFile is the plain file: a line of JSON and a line with its SHA-256, so that
// sha256sum and a text editor are all that is needed to look at it.
type roomFile struct {
	Version int               `json:"version"`
	Seq     int64             `json:"seq"` // the save it belongs to
	Values  map[string]string `json:"values"`
}

const sumWord = "sha256 "

func roomOf(values map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range values {
		if strings.HasPrefix(k, roomPrefix) {
			out[k] = v
		}
	}
	return out
}

func encodeRoom(seq int64, values map[string]string) ([]byte, error) {
	line, err := json.Marshal(roomFile{Version: 1, Seq: seq, Values: roomOf(values)})
	if err != nil {
		return nil, err
	}
	line = append(line, '\n')
	sum := sha256.Sum256(line)
	return fmt.Appendf(line, "%s%s\n", sumWord, hex.EncodeToString(sum[:])), nil
}

// decodeRoom gives what encodeRoom was given, or an error for all else.
func decodeRoom(data []byte) (roomFile, error) {
	line, rest, found := bytes.Cut(data, []byte("\n"))
	if !found {
		return roomFile{}, errors.New("it ends too early")
	}
	line = data[:len(line)+1]
	sum := sha256.Sum256(line)
	if string(rest) != sumWord+hex.EncodeToString(sum[:])+"\n" {
		return roomFile{}, errors.New("its checksum does not fit")
	}
	var r roomFile
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return roomFile{}, err
	}
	switch {
	case r.Version != 1:
		return roomFile{}, fmt.Errorf("its version is %d, this anchord knows 1", r.Version)
	case r.Seq < 0:
		return roomFile{}, errors.New("its count is below 0")
	}
	for k, v := range r.Values {
		if err := check(k, v); err != nil {
			return roomFile{}, err
		}
		if !strings.HasPrefix(k, roomPrefix) {
			return roomFile{}, fmt.Errorf("key %q is none of a room's", k)
		}
	}
	return r, nil
}

// overlay puts the room of r in the place of the one in values.
func overlay(values, room map[string]string) map[string]string {
	out := maps.Clone(values)
	if out == nil {
		out = map[string]string{}
	}
	maps.DeleteFunc(out, func(k, _ string) bool { return strings.HasPrefix(k, roomPrefix) })
	maps.Copy(out, room)
	return out
}

// Bounds of what is stored: far above what the configuration has, far below what a small
// flash would feel.
const (
	maxKey   = 128
	maxValue = 64 << 10
	maxKeys  = 1024
	maxBytes = 64 << 20 // of any of the files
)

func check(key, value string) error {
	switch {
	case key == "" || len(key) > maxKey || !utf8.ValidString(key) || strings.ContainsRune(key, 0):
		return fmt.Errorf("key %.40q: allowed: 1 to %d bytes of UTF-8", key, maxKey)
	case len(value) > maxValue || !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return fmt.Errorf("value of %s: allowed: at most %d bytes of UTF-8", key, maxValue)
	}
	return nil
}
