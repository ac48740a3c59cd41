package control

import (
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
		return append(t.reply(withJSON(ctx), by, line).json(), '\n')
	}
	tag, text := "", string(line)
	if text[0] == '@' {
		tag, text, _ = strings.Cut(text, " ")
		if len(tag) > 33 || Quote(tag) != tag {
			e := Errorf(CodeSyntax, "a tag is @ and up to 32 characters")
			count(ctx, e)
			return fmt.Appendf(nil, "ERR %d %s %s\n", e.Code, slug(e.Code), e.Message)
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
		count(ctx, e)
		fmt.Fprintf(&b, "%sERR %d %s %s\n", tag, e.Code, slug(e.Code), Clean(e.Message))
		return b.Bytes()
	}
	count(ctx, nil)
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
	q, err := readRequest(line)
	var f Fields
	if err == nil {
		f, err = t.call(ctx, by, q.words)
	}
	r := reply{OK: true, Result: f}
	var e *Error
	if err != nil {
		e = errorOf(err)
		r = refusal(e)
	}
	count(ctx, e)
	r.ID = q.id
	return r
}

// serve talks the text protocol until r ends.
func (t Table) serve(ctx context.Context, by Caller, r io.Reader, w io.Writer) error {
	in := newLines(r)
	for ctx.Err() == nil {
		line, err := in.next()
		var bad *Error
		var out []byte
		switch {
		case errors.As(err, &bad):
			count(ctx, bad)
			out = fmt.Appendf(nil, "ERR %d %s %s\n", bad.Code, slug(bad.Code), bad.Message)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		default:
			out = t.answer(ctx, by, line)
		}
		if len(out) > 0 {
			if _, err := w.Write(out); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}
