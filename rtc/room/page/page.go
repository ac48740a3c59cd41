// Package page is the viewer page of a room: the files of a small web page, and the handler that serves them.
//
// The page needs nothing from anywhere else: it is plain HTML, CSS and ECMAScript modules, without a build step. In the
// browser it reads the room's event stream at rooms/{room}/events and fetches each anchor's picture and sound by WHEP
// from whep/{room}/{user}; all addresses are relative, so that the page also works below a path of a reverse proxy.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

//go:embed viewer.html viewer.css viewer.js follow.js watch.js tile.js wall.js words.js icon.svg
var files embed.FS

// policy lets the page load its own files and talk to its own server, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src 'self' blob:; " +
	"img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"

// types are said by us, because what the machine's own table says differs from box to box.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// file is one embedded file, ready to be sent.
type file struct {
	body []byte
	kind string // Content-Type
	etag string
}

// Handler returns the handler for GET and HEAD of /rooms/{room}, which is the page whatever the room is called, and of
// /rooms/assets/{file}, its parts. Anything else below /rooms/ is 404. Browsers ask each time whether a file has
// changed (ETag, no-cache), so that a page left open on a wall is never older than its server after a reload.
//
// A server that has patterns of its own such as /rooms/{room}/events mounts Handler at "/rooms/" beside them.
func Handler() http.Handler {
	served := read()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protect(w.Header())
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this address is a page: use GET", http.StatusMethodNotAllowed)
			return
		}
		parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/rooms/"), "/")
		switch {
		case len(parts) == 1 && parts[0] != "":
			send(w, r, served["viewer.html"])
		case len(parts) == 2 && parts[0] != "" && parts[1] == "":
			// Relative, so that it stays right below a path of a reverse proxy.
			w.Header().Set("Location", "../"+parts[0]+query(r.URL))
			w.WriteHeader(http.StatusPermanentRedirect)
		case len(parts) == 2 && parts[0] == "assets" && parts[1] != "viewer.html":
			f, ok := served[parts[1]]
			if !ok {
				http.Error(w, "the viewer page has no such file", http.StatusNotFound)
				return
			}
			send(w, r, f)
		default:
			http.Error(w, "no page here: a room's page is /rooms/{room}", http.StatusNotFound)
		}
	})
}

func query(u *url.URL) string {
	if u.RawQuery == "" {
		return ""
	}
	return "?" + u.RawQuery
}

func protect(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// send answers with one file, or with 304 when the browser has it.
func send(w http.ResponseWriter, r *http.Request, f file) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("ETag", f.etag)
	h.Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
}

// read takes the embedded files apart by name.
func read() map[string]file {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic("page: embedded files: " + err.Error()) // cannot be: the compiler put them there
	}
	served := make(map[string]file, len(entries))
	for _, e := range entries {
		body, err := files.ReadFile(e.Name())
		if err != nil {
			panic("page: embedded files: " + err.Error())
		}
		sum := sha256.Sum256(body)
		served[e.Name()] = file{body: body, kind: types[path.Ext(e.Name())], etag: `"` + hex.EncodeToString(sum[:12]) + `"`}
	}
	return served
}
