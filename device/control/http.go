package control

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"

	"anchord/device"
)

// HTTP serves the commands as HTTP.
type HTTP struct {
	Table Table
	// Gate lets requests in; only /healthz goes without.
	Gate *Gate
	// Tally counts the requests; nil: they are not counted.
	Tally *Tally
	// Snapshot is Parts.Snapshot.
	Snapshot func(r *http.Request) ([]byte, error)
	// Events are told at /v1/events.
	Events *device.Events
}

// maxBody bounds requests.
const maxBody = 64 << 10

// Register adds the handlers to mux.
func (h *HTTP) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, "ok\n")
	})
	mux.Handle("GET /v1/status", h.Gate.Guard(Read, func(w http.ResponseWriter, r *http.Request) {
		h.answer(w, r, []byte(`{"cmd":"status"}`))
	}))
	mux.Handle("POST /v1/command", h.Gate.Guard(Read, h.command))
	mux.Handle("GET /v1/snapshot.jpg", h.Gate.Guard(Operate, func(w http.ResponseWriter, r *http.Request) {
		b, err := h.Snapshot(r)
		if err != nil {
			fail(w, http.StatusServiceUnavailable, errorOf(err))
			return
		}
		w.Header().Set("Content-Type", "image/jpeg")
		w.Write(b)
	}))
	mux.Handle("GET /v1/events", h.Gate.Guard(Read, h.stream()))
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
	// The body is here: what is read from now on is only whether the client is still there,
	// and a job may be waited for.
	if err := bound(http.NewResponseController(w).SetReadDeadline(time.Time{})); err != nil {
		fail(w, http.StatusInternalServerError, errorOf(err))
		return
	}
	h.answer(w, r, b)
}

// send writes a JSON answer.
func send(w http.ResponseWriter, code int, r reply) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(r.json(), '\n'))
}

// writeTime is how long an answer may take on its way.
const writeTime = 30 * time.Second

// bound gives the error of setting a deadline, if it is one: where there is no connection
// there is nothing to wait for.
func bound(err error) error {
	if err == nil || errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return fmt.Errorf("bound the connection: %w", err)
}

// answer runs a request and writes its answer, with the status that fits its error.
func (h *HTTP) answer(w http.ResponseWriter, r *http.Request, request []byte) {
	a := h.Table.reply(h.Tally.counted(r.Context(), "http"), CallerOf(r.Context()), request)
	code := http.StatusOK
	if a.Error != nil {
		code = status(a.Error.Code)
	}
	// A client that does not read is let go.
	if err := bound(http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime))); err != nil {
		code, a = http.StatusInternalServerError, refusal(errorOf(err))
	}
	send(w, code, a)
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
	case CodeForbidden:
		return http.StatusForbidden
	}
	if code < 0 {
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}

func fail(w http.ResponseWriter, code int, e *Error) { send(w, code, refusal(e)) }

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
		if ip := net.ParseIP(host); !strings.EqualFold(host, "localhost") && (ip == nil || !ip.IsLoopback()) {
			fail(w, http.StatusMisdirectedRequest, Errorf(CodeDenied, "this server is called 127.0.0.1 or localhost"))
			return
		}
		next.ServeHTTP(w, r)
	}))
}
