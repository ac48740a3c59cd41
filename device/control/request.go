package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"
)

// request is a command in JSON: {"id":7,"cmd":"room enter","args":{"id":101}}. The command
// has the syntax of a text line, so that it may carry arguments as well.
type request struct {
	id    json.RawMessage // given back with the answer; nil: there is none
	words []word
}

// maxID is how long a request's id may be, in bytes.
const maxID = 128

// readRequest reads a request, and nothing but a request: what is given twice or is not
// known may be a slip of the pen, and doing half of what was meant is worse than nothing.
// With an error it gives the id, if that could be read.
func readRequest(line []byte) (request, error) {
	var q request
	wrong := func(why string) (request, error) {
		return q, Errorf(CodeSyntax, `not a request like {"id":1,"cmd":"status"}: %s`, why)
	}
	if !utf8.Valid(line) {
		return wrong("it is not UTF-8")
	}
	var fields map[string]json.RawMessage
	var bad *json.SyntaxError
	switch err := json.Unmarshal(line, &fields); {
	case errors.As(err, &bad):
		return wrong(bad.Error() + " at byte " + strconv.FormatInt(bad.Offset, 10))
	case err != nil || fields == nil:
		return wrong("an object is needed")
	}
	seen := map[string]bool{}
	var twice, strange *string // a key may be ""
	var args []word
	if err := each(line, func(key string, raw json.RawMessage) (err error) {
		if seen[key] && twice == nil {
			twice = &key
		}
		seen[key] = true
		switch key {
		case "id":
			q.id, err = checkID(raw)
		case "cmd":
			if raw[0] != '"' {
				return Errorf(CodeSyntax, `"cmd": a string is needed`)
			}
			var cmd string
			if cmd, err = unquote(raw); err == nil {
				q.words, err = split(cmd)
			}
		case "args":
			args, err = arguments(raw)
		default:
			if strange == nil {
				strange = &key
			}
		}
		return err
	}); err != nil {
		return q, err
	}
	switch {
	case twice != nil:
		if *twice == "id" {
			q.id = nil
		}
		return wrong(short(*twice) + " is given twice")
	case strange != nil:
		return wrong("it has id, cmd and args, and not " + short(*strange))
	case len(q.words) == 0:
		return q, Errorf(CodeSyntax, `"cmd" is missing`)
	}
	q.words = append(q.words, args...)
	return q, nil
}

// each calls f with the members of an object that is valid JSON, in their order, and with
// those that are there twice twice.
func each(object []byte, f func(key string, raw json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		key, _ := t.(string)
		if err := f(key, raw); err != nil {
			return err
		}
	}
	return nil
}

func checkID(raw json.RawMessage) (json.RawMessage, error) {
	switch {
	case len(raw) > maxID:
		return nil, Errorf(CodeTooLong, "the request's id has more than %d bytes", maxID)
	case raw[0] == '{' || raw[0] == '[' || raw[0] == 't' || raw[0] == 'f':
		return nil, Errorf(CodeSyntax, "the request's id: a string or a number is needed")
	}
	return raw, nil
}

// arguments gives the members of "args" as named words.
func arguments(raw json.RawMessage) ([]word, error) {
	if string(raw) == "null" {
		return nil, nil
	}
	if raw[0] != '{' {
		return nil, Errorf(CodeSyntax, `"args": an object is needed`)
	}
	var out []word
	err := each(raw, func(key string, raw json.RawMessage) error {
		if key == "" {
			return Errorf(CodeArgument, "an argument without a name")
		}
		v, err := argument(key, raw)
		out = append(out, word{key, v})
		return err
	})
	return out, err
}

// argument gives an argument's value as it would stand in a line.
func argument(key string, raw json.RawMessage) (string, error) {
	switch raw[0] {
	case '"':
		return unquote(raw)
	case 't':
		return "on", nil
	case 'f':
		return "off", nil
	case '{', '[', 'n':
		return "", Errorf(CodeArgument, "argument %s: a string, number or boolean is needed", short(key))
	}
	x, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || x != math.Trunc(x) || math.Abs(x) > 1<<53 {
		return "", Errorf(CodeArgument, "argument %s: a whole number is needed", short(key))
	}
	return strconv.FormatInt(int64(x), 10), nil
}

// unquote reads a JSON string. Half a surrogate pair, which stands for no character, is an
// error: encoding/json would put another character in its place.
func unquote(raw []byte) (string, error) {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", Errorf(CodeSyntax, "not a JSON string: %s", short(string(raw)))
	}
	if !paired(raw) {
		return "", Errorf(CodeSyntax, "half a surrogate pair, which is no character, in %s", short(s))
	}
	return s, nil
}

// paired tells whether the escapes of a valid JSON string stand for whole characters.
func paired(raw []byte) bool {
	half := false // a first half stands before raw[0]
	for len(raw) > 0 {
		n, high, low := 1, false, false
		if raw[0] == '\\' {
			n = 2
			if raw[1] == 'u' {
				n = 6
				v, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
				if err != nil {
					return false
				}
				high, low = v&0xfc00 == 0xd800, v&0xfc00 == 0xdc00
			}
		}
		if low != half {
			return false
		}
		half, raw = high, raw[n:]
	}
	return !half
}
