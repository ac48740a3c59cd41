package control

import (
	"bufio"
	"errors"
	"io"
)

// errLine is a line that was thrown away.
var (
	errLong = Errorf(CodeTooLong, "a line has at most %d bytes", MaxLine)
	errCut  = Errorf(CodeSyntax, "the line has no end: it was cut off, and nothing was done")
)

// lines cuts a stream into lines. CR, LF and CRLF end one; of CRLF the LF ends an empty
// line more, which means nothing.
type lines struct {
	r   *bufio.Reader
	buf []byte
}

func newLines(r io.Reader) *lines {
	return &lines{bufio.NewReader(r), make([]byte, 0, MaxLine)}
}

// next gives the next line, which is the reader's own until the next call. A line that is
// too long is read up to its end, and one that the stream's end cuts off is not given:
// half a command may be another command. The error is errLong or errCut then; after the
// others nothing follows.
func (l *lines) next() ([]byte, error) {
	l.buf = l.buf[:0]
	long := false
	for {
		c, err := l.r.ReadByte()
		switch {
		case err != nil && errors.Is(err, io.EOF) && (long || len(l.buf) > 0):
			return nil, errCut
		case err != nil:
			return nil, err
		case c != '\n' && c != '\r':
			if long = long || len(l.buf) == MaxLine; !long {
				l.buf = append(l.buf, c)
			}
		case long:
			return nil, errLong
		default:
			return l.buf, nil
		}
	}
}
