package control

import (
	"encoding/json"
	"math"
	"strconv"
)

// Request is a command in JSON. Cmd has the syntax of a text line, so that it may carry
// arguments as well.
type Request struct {
	ID   json.RawMessage            `json:"id,omitempty"`
	Cmd  string                     `json:"cmd"`
	Args map[string]json.RawMessage `json:"args,omitempty"`
}

// words gives the request as the words of a text line.
func (r *Request) words() ([]word, error) {
	out, err := split(r.Cmd)
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, Errorf(CodeSyntax, `"cmd" is missing`)
	}
	for k, raw := range r.Args {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, Errorf(CodeSyntax, "argument %s: %v", short(k), err)
		}
		switch x := v.(type) {
		case string:
			out = append(out, word{k, x})
		case float64:
			if x != math.Trunc(x) || math.Abs(x) > 1<<53 {
				return nil, Errorf(CodeArgument, "argument %s: a whole number is needed", short(k))
			}
			out = append(out, word{k, strconv.FormatInt(int64(x), 10)})
		case bool:
			out = append(out, word{k, map[bool]string{true: "on", false: "off"}[x]})
		default:
			return nil, Errorf(CodeArgument, "argument %s: a string, number or boolean is needed", short(k))
		}
		if k == "" {
			return nil, Errorf(CodeArgument, "an argument without a name")
		}
	}
	return out, nil
}
