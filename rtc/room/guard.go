package room

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// guard keeps other people's web pages out, and says the headers that every answer has. Programs
// send no Origin; our own page sends the one it came from.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'") // the page has its own
		if origin := r.Header.Get("Origin"); origin != "" {
			u, err := url.Parse(origin)
			if err != nil || !strings.EqualFold(u.Host, r.Host) {
				refuse(w, problem(http.StatusForbidden, "foreign_origin", "a page of another site may not do this",
					"open the room's own page on this server"))
				return
			}
		}
		if s.cfg.Open && !s.knownHost(r.Host) {
			refuse(w, problem(http.StatusMisdirectedRequest, "unknown_host", "this server does not go by that name",
				"use its address, or add the name to the server's hosts"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// knownHost refuses names that anybody may have pointed at this machine (DNS rebinding).
func (s *Server) knownHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return true
	}
	same := func(name string) bool { return strings.EqualFold(name, host) }
	return !strings.Contains(host, ".") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".localhost") ||
		slices.ContainsFunc(s.cfg.Hosts, same) || slices.ContainsFunc(s.cfg.Advertise, same)
}

// isNear says whether a request comes from this machine.
func isNear(r *http.Request) bool {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && a.Addr().Unmap().IsLoopback()
}
