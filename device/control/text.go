package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// answer gives the lines that answer one line of the text protocol that by said, and
// nothing for an empty line. A line that begins with { is a JSON request and has one JSON line for an
// answer.
func (t Table) answer(ctx context.Context, by Caller, line []byte) []byte {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return nil
	}
	if line[0] == '{' {
		return append(t.reply(ctx, by, line).json(), '\n')
	}
	tag, text := "", string(line)
	if text[0] == '@' {
		tag, text, _ = strings.Cut(text, " ")
		if len(tag) > 33 || Quote(tag) != tag {
			return []byte(fmt.Sprintf("ERR %d %s a tag is @ and up to 32 characters\n", CodeSyntax, slug(CodeSyntax)))
		}
		tag += " "
	}
	var b bytes.Buffer
	words, err := split(text)
	var f Fields
	if err == nil {
		f, err = t.call(ctx, by, words)
	}
	if err != nil {
		e := errorOf(err)
		fmt.Fprintf(&b, "%sERR %d %s %s\n", tag, e.Code, slug(e.Code), Clean(e.Message))
		return b.Bytes()
	}
	writeFields(&b, tag, "", f)
	b.WriteString(tag + "OK\n")
	return b.Bytes()
}

// writeFields writes "key: value" lines; what is nested has dotted keys, and elements of
// lists are numbered from 1.
func writeFields(b *bytes.Buffer, tag, prefix string, f Fields) {
	for _, x := range f {
		key := prefix + Clean(x.Key)
		switch v := x.Value.(type) {
		case Fields:
			writeFields(b, tag, key+".", v)
		case []Fields:
			for i, e := range v {
				writeFields(b, tag, fmt.Sprintf("%s.%d.", key, i+1), e)
			}
		case []string:
			for _, s := range v {
				fmt.Fprintf(b, "%s%s: %s\n", tag, key, Clean(s))
			}
		case float64:
			fmt.Fprintf(b, "%s%s: %s\n", tag, key, number(v))
		case bool:
			fmt.Fprintf(b, "%s%s: %s\n", tag, key, map[bool]string{true: "yes", false: "no"}[v])
		default:
			fmt.Fprintf(b, "%s%s: %s\n", tag, key, Clean(fmt.Sprint(v)))
		}
	}
}

// number writes four digits, or all before the point, and never an exponent.
func number(v float64) string {
	if math.Abs(v) >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		short = v // cannot happen: it was written as a number
	}
	return strconv.FormatFloat(short, 'f', -1, 64)
}

// reply is a JSON answer.
type reply struct {
	ID     json.RawMessage `json:"id,omitempty"`
	OK     bool            `json:"ok"`
	Result Fields          `json:"result,omitempty"`
	Error  *replyError     `json:"error,omitempty"`
}

type replyError struct {
	Code    int    `json:"code"`
	Slug    string `json:"slug"`
	Message string `json:"message"`
}

// refusal is the answer that gives an error.
func refusal(e *Error) reply {
	return reply{Error: &replyError{e.Code, slug(e.Code), Clean(e.Message)}}
}

// json gives the answer without a line's end.
func (r reply) json() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		return []byte(fmt.Sprintf(`{"ok":false,"error":{"code":%d,"slug":"internal","message":"the answer cannot be written"}}`, CodeInternal))
	}
	return b
}

// reply answers one JSON request.
func (t Table) reply(ctx context.Context, by Caller, line []byte) reply {
	var q Request
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	err := d.Decode(&q)
	if err == nil {
		if _, e := d.Token(); !errors.Is(e, io.EOF) {
			err = errors.New("something follows the request")
		}
	}
	var f Fields
	if err != nil {
		q.ID = nil
		err = Errorf(CodeSyntax, `not a request like {"id":1,"cmd":"status"}: %v`, err)
	} else {
		var words []word
		if words, err = q.words(); err == nil {
			f, err = t.call(ctx, by, words)
		}
	}
	r := reply{OK: true, Result: f}
	if err != nil {
		r = refusal(errorOf(err))
	}
	r.ID = q.ID
	return r
}

// serve talks the text protocol until r ends. A line that is too long is thrown away up
// to its end and answered with one error.
func (t Table) serve(ctx context.Context, by Caller, r io.Reader, w io.Writer) error {
	br := bufio.NewReaderSize(r, MaxLine+2)
	for ctx.Err() == nil {
		line, err := br.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = br.ReadSlice('\n')
			}
			line = nil
			if _, e := fmt.Fprintf(w, "ERR %d %s a line has at most %d bytes\n", CodeTooLong, slug(CodeTooLong), MaxLine); e != nil {
				return e
			}
		}
		if out := t.answer(ctx, by, line); len(out) > 0 {
			if _, e := w.Write(out); e != nil {
				return e
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
	return ctx.Err()
}
