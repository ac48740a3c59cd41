package control

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// HTTP serves the commands as HTTP.
type HTTP struct {
	Table Table
	// Token is the bearer token that every request but /healthz needs.
	Token []byte
	// Snapshot is Parts.Snapshot.
	Snapshot func(r *http.Request) ([]byte, error)
}

// maxBody bounds requests.
const maxBody = 64 << 10

// Register adds the handlers to mux.
func (h *HTTP) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, "ok\n")
	})
	mux.Handle("GET /v1/status", h.guard(func(w http.ResponseWriter, r *http.Request) {
		h.answer(w, h.Table.answerJSON(r.Context(), []byte(`{"cmd":"status"}`)))
	}))
	mux.Handle("POST /v1/command", h.guard(h.command))
	mux.Handle("GET /v1/snapshot.jpg", h.guard(func(w http.ResponseWriter, r *http.Request) {
		b, err := h.Snapshot(r)
		if err != nil {
			fail(w, http.StatusServiceUnavailable, errorOf(err))
			return
		}
		w.Header().Set("Content-Type", "image/jpeg")
		w.Write(b)
	}))
}

func (h *HTTP) command(w http.ResponseWriter, r *http.Request) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		fail(w, http.StatusUnsupportedMediaType, Errorf(CodeSyntax, "the body must be application/json"))
		return
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			fail(w, http.StatusRequestEntityTooLarge, Errorf(CodeTooLong, "a body has at most %d bytes", maxBody))
			return
		}
		fail(w, http.StatusBadRequest, Errorf(CodeSyntax, "the body ends too early"))
		return
	}
	h.answer(w, h.Table.answerJSON(r.Context(), b))
}

// answer writes a JSON answer with the status that fits its error.
func (h *HTTP) answer(w http.ResponseWriter, b []byte) {
	var r struct{ Error *replyError }
	if err := json.Unmarshal(b, &r); err == nil && r.Error != nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status(r.Error.Code))
		w.Write(append(b, '\n'))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(b, '\n'))
}

func status(code int) int {
	switch code {
	case CodeSyntax, CodeArgument:
		return http.StatusBadRequest
	case CodeUnknown, CodeNotFound:
		return http.StatusNotFound
	case CodeTooLong:
		return http.StatusRequestEntityTooLarge
	case CodeState:
		return http.StatusConflict
	case CodeTimeout:
		return http.StatusGatewayTimeout
	case CodeBusy:
		return http.StatusServiceUnavailable
	case CodeDenied:
		return http.StatusUnauthorized
	}
	if code < 0 {
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}

func fail(w http.ResponseWriter, code int, e *Error) {
	b, err := json.Marshal(reply{Error: &replyError{e.Code, slug(e.Code), Clean(e.Message)}})
	if err != nil {
		b = []byte(`{"ok":false}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(b, '\n'))
}

// guard lets requests through that carry the token. Bearer tokens do not travel by
// themselves as cookies do, so another site's page has nothing to ride on; the Host
// and Origin checks are in Local.
func (h *HTTP) guard(next http.HandlerFunc) http.Handler {
	want := sha256.Sum256(h.Token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		got := sha256.Sum256([]byte(strings.TrimSpace(t)))
		if !ok || len(h.Token) == 0 || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="anchord"`)
			fail(w, http.StatusUnauthorized, Errorf(CodeDenied, "a bearer token is needed; the first one is in the file that [control.http] token_file names"))
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		next(w, r)
	})
}

// Local wraps the handler of a listener on loopback: it answers only to the names of
// this machine, so that a page elsewhere cannot reach it by a name that it makes point
// here (DNS rebinding), and only to requests of its own origin.
func Local(next http.Handler) http.Handler {
	var origin http.CrossOriginProtection
	return origin.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.Trim(host, "[]")
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			fail(w, http.StatusMisdirectedRequest, Errorf(CodeDenied, "this server is called 127.0.0.1 or localhost"))
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// FirstToken gives the token in the file, which it makes, with mode 0600, if there is
// none. A file that others can read is refused: its token is not a secret any more.
func FirstToken(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newToken(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the token file: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at the token file: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("token file %s can be read by others (mode %04o): remove it, a new one is made at the next start", path, st.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return nil, fmt.Errorf("read the token file: %w", err)
	}
	t := strings.TrimSpace(string(b))
	if len(t) < 32 {
		return nil, fmt.Errorf("token file %s holds less than 32 characters: remove it, a new one is made at the next start", path)
	}
	return []byte(t), nil
}

func newToken(path string) ([]byte, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the token file's folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the token file: %w", err)
	}
	var b [32]byte
	rand.Read(b[:])
	t := base64.RawURLEncoding.EncodeToString(b[:])
	_, err = f.WriteString(t + "\n")
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return nil, fmt.Errorf("write the token file: %w", err)
	}
	return []byte(t), nil
}
