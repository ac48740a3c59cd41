package whip

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A server that repeats the token in its refusal does not get it into errors, which are
// logged and shown.
func TestTokenIsNotRepeated(t *testing.T) {
	const token = "canary-0123456789"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "no entry with %s", r.Header.Get("Authorization"))
	}))
	defer srv.Close()
	s, err := New(Config{URL: srv.URL, Token: func(context.Context) (string, error) { return token, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Publish(t.Context(), "v=0\r\n")
	if err == nil || strings.Contains(err.Error(), token) || !strings.Contains(err.Error(), "no entry with Bearer ***") {
		t.Errorf("%v", err)
	}
}
