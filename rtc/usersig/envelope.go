package usersig

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"anchord/internal/trtc"
)

// What a token may have at most, in bytes. Real ones have 300 and, inflated, 400; a small
// one can be made to inflate to anything.
const (
	maxToken = 8 << 10
	maxJSON  = 8 << 10
)

// envelope is the JSON object in a token.
type envelope struct {
	user         string
	app          uint32
	time, expire int64
	userbuf      []byte // nil: none
	sig          []byte
}

func (e *envelope) claims() *Claims {
	return &Claims{User: e.user, AppID: e.app, Made: time.Unix(e.time, 0), Life: time.Duration(e.expire) * time.Second}
}

// letters is base64 with TRTC's letters, which pass through URLs: * - _ for + / =. Those of
// RFC 4648 5 are others.
func letters() *base64.Encoding {
	return base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-").WithPadding('_').Strict()
}

// encode gives the token's text.
func (e *envelope) encode() (string, error) {
	text := struct {
		Version string `json:"TLS.ver"`
		User    string `json:"TLS.identifier"`
		App     uint32 `json:"TLS.sdkappid"`
		Expire  int64  `json:"TLS.expire"`
		Time    int64  `json:"TLS.time"`
		Userbuf []byte `json:"TLS.userbuf,omitempty"`
		Sig     []byte `json:"TLS.sig"`
	}{"2.0", e.user, e.app, e.expire, e.time, e.userbuf, e.sig}
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if err := errors.Join(json.NewEncoder(z).Encode(text), z.Close()); err != nil {
		return "", fmt.Errorf("write a token: %w", err)
	}
	return letters().EncodeToString(b.Bytes()), nil
}

// decode reads a token's text. Its error is an *Error.
func decode(token string) (*envelope, error) {
	e, err := open(token)
	if err != nil {
		return nil, refuse(trtc.SigDamaged, "the token is damaged or cut off: %v; copy all of it", err)
	}
	return e, nil
}

func open(token string) (*envelope, error) {
	if len(token) > maxToken {
		return nil, fmt.Errorf("it has more than %d bytes", maxToken)
	}
	packed, err := letters().DecodeString(token)
	if err != nil || strings.ContainsAny(token, "\r\n") { // which the decoder skips
		return nil, errors.New("not base64 in TRTC's letters")
	}
	text, err := inflate(packed)
	if err != nil {
		return nil, err
	}
	return parse(text)
}

// inflate unpacks a zlib stream that ends where b ends.
func inflate(b []byte) ([]byte, error) {
	r := bytes.NewReader(b)
	z, err := zlib.NewReader(r)
	if err != nil {
		return nil, errors.New("not a zlib stream")
	}
	text, err := io.ReadAll(io.LimitReader(z, maxJSON+1))
	switch {
	case len(text) > maxJSON:
		return nil, fmt.Errorf("it unpacks to more than %d bytes", maxJSON)
	case err != nil:
		return nil, errors.New("its zlib stream is damaged")
	case r.Len() > 0:
		return nil, errors.New("something follows its zlib stream")
	}
	return text, nil
}

// parse reads the JSON object. encoding/json alone takes a key for another that differs in
// case, and the last of two: what was signed must have one reading only.
func parse(text []byte) (*envelope, error) {
	fields, err := object(text)
	if err != nil {
		return nil, err
	}
	var version, sig string
	e := &envelope{}
	for _, err := range []error{
		word(fields, "TLS.ver", &version), word(fields, "TLS.identifier", &e.user), word(fields, "TLS.sig", &sig),
		number(fields, "TLS.time", lastTime, &e.time), number(fields, "TLS.expire", longestLife, &e.expire),
	} {
		if err != nil {
			return nil, err
		}
	}
	var app int64
	if err := number(fields, "TLS.sdkappid", math.MaxUint32, &app); err != nil {
		return nil, err
	}
	e.app = uint32(app)
	if version != "2.0" {
		return nil, errors.New(`"TLS.ver" is not 2.0`)
	}
	if trtc.CheckUser(e.user) != nil {
		return nil, errors.New(`"TLS.identifier" is no user's name`)
	}
	if e.sig, err = base64.StdEncoding.Strict().DecodeString(sig); err != nil || len(e.sig) != sha256.Size {
		return nil, errors.New(`"TLS.sig" is no signature`)
	}
	if _, ok := fields["TLS.userbuf"]; ok {
		var buf string
		if err := word(fields, "TLS.userbuf", &buf); err != nil {
			return nil, err
		}
		if e.userbuf, err = base64.StdEncoding.Strict().DecodeString(buf); err != nil || len(e.userbuf) == 0 {
			return nil, errors.New(`"TLS.userbuf" is not base64`)
		}
	}
	return e, nil
}

// object reads a JSON object whose keys are different.
func object(text []byte) (map[string]json.RawMessage, error) {
	bad := errors.New("not a JSON object")
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, bad
	}
	fields := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return nil, bad
		}
		if _, twice := fields[key]; twice {
			return nil, fmt.Errorf("%.40q is there twice", key)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, bad
		}
		fields[key] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, bad
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows its JSON object")
	}
	return fields, nil
}

func word(fields map[string]json.RawMessage, key string, to *string) error {
	raw := fields[key]
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, to) != nil {
		return fmt.Errorf("%q is missing or no string", key)
	}
	return nil
}

// number reads a whole number from 0 to most, without sign, point or exponent.
func number(fields map[string]json.RawMessage, key string, most int64, to *int64) error {
	n, err := strconv.ParseUint(string(fields[key]), 10, 63)
	if err != nil || int64(n) > most {
		return fmt.Errorf("%q is missing or not 0 to %d", key, most)
	}
	*to = int64(n)
	return nil
}
