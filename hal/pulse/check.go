package pulse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"github.com/jfreymuth/pulse/proto"
)

// Bounds on what proto's decoder takes: it gives up on longer strings without a word, and
// allocates lists before it has seen them.
const (
	maxString = 1000
	maxList   = 256
)

var errTruncated = errors.New("truncated")

// check walks through b as proto's decoder would to fill a t, and says how many bytes that
// takes. It gives an error wherever the decoder would panic, loop or lose its place. A
// slice type is a list that goes on to the end of b.
func check(t reflect.Type, version int, b []byte) (int, error) {
	k := checker{b: b, version: version}
	if t.Kind() != reflect.Slice {
		k.fields(t)
		return k.at, k.err
	}
	for n := 0; k.err == nil && k.at < len(b); n++ {
		if n == maxList {
			return 0, fmt.Errorf("more than %d entries", maxList)
		}
		k.fields(t.Elem().Elem())
	}
	return k.at, k.err
}

// checker is a place in a command and the first error. After an error everything it reads
// is zero.
type checker struct {
	b       []byte
	at      int
	version int
	err     error
}

func (k *checker) fail(format string, args ...any) {
	if k.err == nil {
		k.err = fmt.Errorf("byte %d: "+format, append([]any{k.at}, args...)...)
	}
}

func (k *checker) take(n int) []byte {
	if k.err != nil {
		return nil
	}
	if n < 0 || n > len(k.b)-k.at {
		k.err = errTruncated
		return nil
	}
	k.at += n
	return k.b[k.at-n : k.at]
}

func (k *checker) byte() byte {
	if b := k.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (k *checker) uint32() uint32 {
	if b := k.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (k *checker) want(c byte) {
	if got := k.byte(); k.err == nil && got != c {
		k.fail("type %q, want %q", got, c)
	}
}

func (k *checker) string() {
	if k.err != nil {
		return
	}
	n := bytes.IndexByte(k.b[k.at:], 0)
	switch {
	case n < 0:
		k.err = errTruncated
	case n > maxString:
		k.fail("string of %d bytes", n)
	default:
		k.at += n + 1
	}
}

func (k *checker) properties() {
	for k.err == nil {
		switch c := k.byte(); {
		case k.err != nil || c == 'N':
			return
		case c != 't':
			k.fail("type %q in a property list", c)
		}
		k.string()
		k.want('L')
		n := k.uint32()
		k.want('x')
		if m := k.uint32(); m != n {
			k.fail("property with two lengths")
		}
		k.bytes(n)
	}
}

func (k *checker) bytes(n uint32) {
	if k.err == nil && uint64(n) > uint64(len(k.b)-k.at) {
		k.err = errTruncated
	}
	k.take(int(n))
}

func (k *checker) format() {
	k.want('f')
	k.formatBody()
}

func (k *checker) formatBody() {
	k.want('B')
	k.take(1)
	k.want('P')
	k.properties()
}

// skipped tells whether a field with this tag is not sent at this version: tags are "n",
// from version n on, or "<n", before it.
func skipped(tag string, version int) bool {
	if tag == "" {
		return false
	}
	if v, err := strconv.Atoi(tag); err == nil {
		return v > version
	}
	if tag[0] == '<' {
		v, err := strconv.Atoi(tag[1:])
		return err == nil && v <= version
	}
	return false
}

func (k *checker) fields(t reflect.Type) {
	for i := 0; i < t.NumField() && k.err == nil; i++ {
		f := t.Field(i)
		if !skipped(string(f.Tag), k.version) {
			k.field(f.Type)
		}
	}
}

func (k *checker) field(t reflect.Type) {
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct {
		k.list(t)
		return
	}
	c := k.byte()
	fits := false
	switch t.Kind() {
	case reflect.String:
		fits = c == 't' || c == 'N'
	case reflect.Bool:
		fits = c == '1' || c == '0'
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		fits = c == 'L' || c == 'B' || c == 'R' || c == 'U' || c == 'V'
	case reflect.Int64:
		fits = c == 'r'
	case reflect.Struct:
		fits = c == 'a' && t == reflect.TypeFor[proto.SampleSpec]() ||
			c == 'T' && t == reflect.TypeFor[proto.Time]() ||
			c == 'f' && t == reflect.TypeFor[proto.FormatInfo]()
	case reflect.Slice:
		bytes := t.Elem().Kind() == reflect.Uint8
		fits = bytes && (c == 'm' || c == 'x') || c == 'v' && t.Elem().Kind() == reflect.Uint32
	case reflect.Map:
		fits = c == 'P'
	}
	if k.err == nil && !fits {
		k.fail("type %q for a %s", c, t)
	}
	switch c {
	case 't':
		k.string()
	case 'B':
		k.take(1)
	case 'L', 'V':
		k.take(4)
	case 'R', 'U', 'r', 'T':
		k.take(8)
	case 'a':
		k.take(6)
	case 'x':
		k.bytes(k.uint32())
	case 'm':
		k.take(int(k.byte()))
	case 'v':
		k.take(4 * int(k.byte()))
	case 'P':
		k.properties()
	case 'f':
		k.formatBody()
	}
}

func (k *checker) list(t reflect.Type) {
	if t.Elem() == reflect.TypeFor[proto.FormatInfo]() {
		k.want('B')
		for n := k.byte(); n > 0 && k.err == nil; n-- {
			k.format()
		}
		return
	}
	k.want('L')
	n := k.uint32()
	if n > maxList {
		k.fail("list of %d", n)
	}
	for ; n > 0 && k.err == nil; n-- {
		k.fields(t.Elem())
	}
}
