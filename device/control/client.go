package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"

	"anchord/internal/secret"
)

// Client says commands to a daemon: by its socket, or by HTTP when URL is set.
type Client struct {
	Socket string
	URL    string
	Token  secret.Value
}

// Answer is what the daemon answered.
type Answer struct {
	Raw    []byte // the JSON line
	Result json.RawMessage
	Error  *AnswerError
}

// AnswerError is a command's error as the daemon said it.
type AnswerError struct {
	Code          int
	Slug, Message string
}

// maxAnswer bounds an answer; the largest is a snapshot.
const maxAnswer = 16 << 20

// Do says one command, the words of a command line: "room", "enter", "id=101".
func (c *Client) Do(ctx context.Context, words []string) (*Answer, error) {
	q, err := writeRequest(words)
	if err != nil {
		return nil, err
	}
	return c.Say(ctx, string(q))
}

// Say says one line: a command in the syntax of lines, or a JSON request.
func (c *Client) Say(ctx context.Context, line string) (*Answer, error) {
	q := []byte(line)
	if !strings.HasPrefix(line, "{") {
		var err error
		if q, err = sayLine(line); err != nil {
			return nil, err
		}
	}
	raw, err := c.exchange(ctx, q)
	if err != nil {
		return nil, err
	}
	if e := lineError(raw); e != nil {
		return &Answer{Raw: refusal(&Error{e.Code, e.Message}).json(), Error: e}, nil
	}
	return readAnswer(raw)
}

// readAnswer reads one JSON answer.
func readAnswer(raw []byte) (*Answer, error) {
	var a struct {
		OK     bool
		Result json.RawMessage
		Error  *AnswerError
	}
	if err := json.Unmarshal(raw, &a); err != nil || a.OK == (a.Error != nil) {
		return nil, fmt.Errorf("not a daemon's answer: %s", short(string(raw)))
	}
	return &Answer{raw, a.Result, a.Error}, nil
}

// lineError reads an error of the text protocol, which is what a client gets that is
// sent away before it could say that it speaks JSON; nil: it is something else.
func lineError(raw []byte) *AnswerError {
	p := strings.SplitN(string(raw), " ", 4)
	if len(p) < 4 || p[0] != "ERR" {
		return nil
	}
	code, err := strconv.Atoi(p[1])
	if err != nil {
		return nil
	}
	return &AnswerError{code, Clean(p[2]), Clean(p[3])}
}

// writeRequest gives the JSON of a command line.
func writeRequest(words []string) ([]byte, error) { return sayLine(Line(words)) }

func sayLine(line string) ([]byte, error) {
	return json.Marshal(struct {
		Cmd string `json:"cmd"`
	}{line})
}

// Line writes the words of a shell's command line as a line of the text protocol. The shell
// has taken the quotes off already: a word with = in it is a named argument, whatever the
// value holds. Others are kept in their order, as the command's words and positional
// arguments.
func Line(words []string) string {
	var line []string
	for _, w := range words {
		name, value, named := strings.Cut(w, "=")
		if named && name != "" && !strings.ContainsAny(name, " \t\"") {
			line = append(line, name+"="+Quote(value))
		} else {
			line = append(line, Quote(w))
		}
	}
	return strings.Join(line, " ")
}

func (c *Client) exchange(ctx context.Context, q []byte) ([]byte, error) {
	if c.URL != "" {
		return c.post(ctx, q)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.Socket)
	if err != nil {
		return nil, fmt.Errorf("no daemon answers on %s: %s (%w)", c.Socket, remedy(err), err)
	}
	defer conn.Close()
	if t, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(t); err != nil {
			return nil, fmt.Errorf("set a deadline: %w", err)
		}
	}
	_, sent := conn.Write(append(q, '\n'))
	// A daemon that sends a client away says why and does not read.
	b, err := bufio.NewReader(io.LimitReader(conn, maxAnswer)).ReadBytes('\n')
	switch {
	case err == nil:
		return bytes.TrimSpace(b), nil
	case sent != nil:
		return nil, fmt.Errorf("ask the daemon: %w", sent)
	case errors.Is(err, io.EOF):
		return nil, errors.New("the daemon went away without an answer: is it being stopped?")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errors.New("the daemon took the command and does not answer: see its log")
	}
	return nil, fmt.Errorf("read the daemon's answer: %w", err)
}

// remedy says what to do about a socket that cannot be reached.
func remedy(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it does not run, or its socket is elsewhere: name it with -socket"
	case errors.Is(err, fs.ErrPermission):
		return "you may not use its socket: become its user, or a member of its group"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "it ended without removing its socket: start it"
	}
	return "is it running?"
}

func (c *Client) post(ctx context.Context, q []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.URL, "/")+"/v1/command", bytes.NewReader(q))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.URL, err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+c.Token.Reveal())
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w: is it running, and is [control.http] listen this address?", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the daemon's answer: %w", err)
	}
	return bytes.TrimSpace(b), nil
}

// Word gives a string of the result, "" if it is not there.
func (a *Answer) Word(key string) string { return member[string](a, key) }

// Int gives a number of the result, 0 if it is not there.
func (a *Answer) Int(key string) int { return int(member[float64](a, key)) }

// Words gives a list of strings of the result.
func (a *Answer) Words(key string) []string {
	var out []string
	for _, v := range member[[]any](a, key) {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func member[T any](a *Answer, key string) T {
	var m map[string]any
	var none T
	if json.Unmarshal(a.Result, &m) != nil {
		return none
	}
	v, _ := m[key].(T)
	return v
}

// Text gives the result as the lines of the text protocol. A result that is one list of lines
// (a log, a file) is given without its key, so that it can be used as it is.
func (a *Answer) Text() string {
	f, err := ordered(json.NewDecoder(bytes.NewReader(a.Result)))
	if err != nil || len(f) == 0 {
		return ""
	}
	if lines, ok := f[0].Value.([]string); ok && len(f) == 1 {
		var b strings.Builder
		for _, l := range lines {
			b.WriteString(Clean(l) + "\n")
		}
		return b.String()
	}
	var b bytes.Buffer
	writeFields(&b, "", "", f)
	return b.String()
}

// ordered reads an object with its keys in their order.
func ordered(d *json.Decoder) (Fields, error) {
	d.UseNumber()
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if t != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	v, err := object(d)
	if err != nil {
		return nil, err
	}
	return v, nil
}

func object(d *json.Decoder) (Fields, error) {
	f := Fields{}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := k.(string)
		if !ok {
			return nil, errors.New("not a key")
		}
		v, err := value(d)
		if err != nil {
			return nil, err
		}
		f = append(f, Field{key, v})
	}
	_, err := d.Token()
	return f, err
}

func value(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		return object(d)
	case json.Delim('['):
		var words []string
		var objects []Fields
		for d.More() {
			v, err := value(d)
			if err != nil {
				return nil, err
			}
			if o, ok := v.(Fields); ok {
				objects = append(objects, o)
			} else {
				words = append(words, fmt.Sprint(v))
			}
		}
		if _, err := d.Token(); err != nil {
			return nil, err
		}
		if objects != nil {
			return objects, nil
		}
		return words, nil
	}
	if n, ok := t.(json.Number); ok && strings.ContainsAny(n.String(), ".eE") {
		return n.Float64() // so that it is written as the daemon writes it
	}
	return t, nil
}
