package control

import (
	"bytes"
	"encoding/json"
)

// Field is one line of an answer.
type Field struct {
	Key   string
	Value any // string, bool, int, uint64, float64, Fields, []Fields, []string
}

// Fields is an answer, in order.
type Fields []Field

// MarshalJSON writes an object whose keys keep their order. Its strings are cleaned: a
// program that shows them need not know where they come from.
func (f Fields) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, x := range f {
		if i > 0 {
			b.WriteByte(',')
		}
		k, err := json.Marshal(Clean(x.Key))
		if err != nil {
			return nil, err
		}
		switch s := x.Value.(type) {
		case string:
			x.Value = Clean(s)
		case []string:
			clean := make([]string, len(s))
			for i := range s {
				clean[i] = Clean(s[i])
			}
			x.Value = clean
		}
		v, err := json.Marshal(x.Value)
		if err != nil {
			return nil, err
		}
		b.Write(append(append(k, ':'), v...))
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
