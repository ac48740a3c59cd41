package room

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	typeSDP  = "application/sdp"
	typeFrag = "application/trickle-ice-sdpfrag"
	maxBody  = 64 << 10
)

// Handler serves WHIP below /whip/, WHEP below /whep/, and the rooms' pages, states and event
// streams below /rooms/.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/whip/{room}", s.entrance(true))
	mux.HandleFunc("/whep/{room}/{user}", func(w http.ResponseWriter, r *http.Request) {
		// A viewer's session has the shape of the address that it was made at.
		if r.Method == http.MethodPatch || r.Method == http.MethodDelete {
			r.SetPathValue("id", r.PathValue("user"))
			s.resource(false)(w, r)
			return
		}
		s.entrance(false)(w, r)
	})
	mux.HandleFunc("/whip/{room}/{id}", s.resource(true))
	mux.HandleFunc("/rooms/{room}/{what}", s.about)
	mux.Handle("/rooms/", s.page)
	return s.guard(mux)
}

// entrance lets peers in: POST with an SDP offer.
func (s *Server) entrance(anchor bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost:
		case http.MethodOptions:
			w.Header().Set("Accept-Post", typeSDP)
			w.Header().Set("Allow", "POST, OPTIONS")
			w.WriteHeader(http.StatusNoContent)
			return
		default:
			allow := "POST, OPTIONS"
			if !anchor {
				allow = "POST, PATCH, DELETE, OPTIONS"
			}
			refuseMethod(w, allow)
			return
		}
		room := r.PathValue("room")
		who, err := s.identify(r, room)
		if err == nil && anchor && !who.Anchor {
			err = problem(http.StatusForbidden, "may_not_publish", "you may not publish in this room", "ask for a token of an anchor")
		}
		if err == nil && !accepts(r, typeSDP) {
			err = problem(http.StatusNotAcceptable, "not_acceptable", "the answer would be SDP", "send Accept: %s or none", typeSDP)
		}
		var text string
		if err == nil {
			text, err = body(w, r, typeSDP)
		}
		if err != nil {
			refuse(w, err)
			return
		}
		e := entry{room: room, user: who.User, near: isNear(r), offer: text}
		if !anchor {
			e.target, e.person = r.PathValue("user"), person(r, who)
		}
		peer, answer, err := s.enter(r.Context(), e)
		if err != nil {
			refuse(w, err)
			return
		}
		s.links(w.Header(), peer)
		h := w.Header()
		h.Set("Location", peer.path())
		h.Set("ETag", peer.tag())
		h.Set("Accept-Patch", typeFrag)
		h.Set("Content-Type", typeSDP)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, answer)
	}
}

// resource serves one session: PATCH and DELETE.
func (s *Server) resource(anchor bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPatch && r.Method != http.MethodDelete {
			refuseMethod(w, "PATCH, DELETE")
			return
		}
		room := r.PathValue("room")
		peer, err := s.find(room, r.PathValue("id"), anchor)
		if err == nil {
			err = s.own(r, room, peer)
		}
		if err != nil {
			refuse(w, err)
			return
		}
		if r.Method == http.MethodDelete {
			s.end(peer, "exit")
			w.WriteHeader(http.StatusOK)
			return
		}
		text, err := body(w, r, typeFrag)
		if err != nil {
			refuse(w, err)
			return
		}
		f, p := parseFragment(text)
		if p != nil {
			refuse(w, p)
			return
		}
		reply, etag, err := peer.patch(r.Context(), r.Header.Get("If-Match"), f)
		if err != nil {
			refuse(w, err)
			return
		}
		w.Header().Set("ETag", etag)
		if reply == "" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", typeFrag)
		_, _ = io.WriteString(w, reply)
	}
}

// about serves what can be known about a room.
func (s *Server) about(w http.ResponseWriter, r *http.Request) {
	room, what := r.PathValue("room"), r.PathValue("what")
	if room == "assets" || what != "events" && what != "state" {
		s.page.ServeHTTP(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuseMethod(w, "GET, HEAD")
		return
	}
	if p := checkRoom(room); p != nil {
		refuse(w, p)
		return
	}
	who, err := s.identify(r, room)
	if err != nil {
		refuse(w, err)
		return
	}
	if what == "events" {
		s.events(w, r, room, who)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(s.State(room)) // the client went
}

// identify tells who makes the request.
func (s *Server) identify(r *http.Request, room string) (Identity, error) {
	if s.cfg.Open {
		user := r.URL.Query().Get("user")
		if user != "" {
			if p := checkUser(user); p != nil {
				return Identity{}, p
			}
		}
		return Identity{User: user, Anchor: true}, nil
	}
	who, err := s.cfg.Authorize(r, room)
	if err == nil {
		return who, nil
	}
	var p *Problem
	if errors.As(err, &p) {
		return Identity{}, p
	}
	s.cfg.Log.Info("request refused", "room", room, "from", r.RemoteAddr, "error", err)
	return Identity{}, problem(http.StatusUnauthorized, "unauthorized", "the room does not know you", "send Authorization: Bearer with a valid token for this room")
}

// own refuses a session to everybody but who made it. In an open room knowing its id is enough.
func (s *Server) own(r *http.Request, room string, peer *session) error {
	who, err := s.identify(r, room)
	if err == nil && !s.cfg.Open && who.User != peer.user {
		return noSession()
	}
	return err
}

// person names whom a viewer's session counts for: a page that watches several anchors says the
// same name each time.
func person(r *http.Request, who Identity) string {
	if v := r.URL.Query().Get("viewer"); v != "" && len(v) <= 64 {
		return "v:" + v
	}
	if who.User != "" {
		return "u:" + who.User
	}
	return ""
}

// path is where a session is found.
func (p *session) path() string {
	kind := "/whep/"
	if p.sends {
		kind = "/whip/"
	}
	return kind + url.PathEscape(p.room.id) + "/" + p.id
}

// tag is the ETag of the session's ICE.
func (p *session) tag() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.etag
}

// links names the ICE servers (RFC 9725 section 4.6) and the event stream of a session.
func (s *Server) links(h http.Header, p *session) {
	for _, server := range s.cfg.ICEServers {
		for _, u := range server.URLs {
			link := "<" + u + `>; rel="ice-server"`
			if server.Username != "" {
				link += "; username=" + quote(server.Username) + "; credential=" + quote(server.Credential.Reveal()) + `; credential-type="password"`
			}
			h.Add("Link", link)
		}
	}
	kind := "whep"
	names := "snapshot,join,leave,state,video,audio,viewers,kick,dissolve,speaking"
	if p.sends {
		kind, names = "whip", names+",subscribers"
	}
	h.Add("Link", "</rooms/"+url.PathEscape(p.room.id)+"/events?id="+p.id+
		`>; rel="urn:ietf:params:`+kind+`:ext:core:server-sent-events"; events="`+names+`"`)
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// body reads a request's body of the one type that is taken.
func body(w http.ResponseWriter, r *http.Request, kind string) (string, error) {
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || got != kind {
		return "", problem(http.StatusUnsupportedMediaType, "wrong_type", "the body is of the wrong type", "send Content-Type: %s", kind)
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		return "", problem(http.StatusRequestEntityTooLarge, "too_large", "the body is too large", "at most %d bytes are taken", maxBody)
	case err != nil:
		return "", problem(http.StatusBadRequest, "cut_off", "the body did not come whole", "send it again")
	}
	return string(b), nil
}

// accepts says whether the client takes an answer of a type.
func accepts(r *http.Request, kind string) bool {
	all := r.Header.Values("Accept")
	if len(all) == 0 {
		return true
	}
	for one := range strings.SplitSeq(strings.Join(all, ","), ",") {
		got, params, err := mime.ParseMediaType(one)
		if err != nil || params["q"] == "0" {
			continue
		}
		if got == kind || got == "*/*" || got == "application/*" {
			return true
		}
	}
	return false
}

func refuseMethod(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	refuse(w, problem(http.StatusMethodNotAllowed, "wrong_method", "this address does not do that", "use %s", allow))
}

// refuse answers with a problem.
func refuse(w http.ResponseWriter, err error) {
	var p *Problem
	if !errors.As(err, &p) {
		p = problem(http.StatusInternalServerError, "failed", "the server could not do it", "%v", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.After > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.After+time.Second-1)/time.Second)))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client went
}
