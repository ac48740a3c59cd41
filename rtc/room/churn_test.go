package room

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// files counts this process's open files.
func files(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// Viewers that come and go, some without a word, some before they are connected, leave nothing
// behind in the server.
func TestViewersComeAndGo(t *testing.T) {
	s, url := start(t, Config{})
	pub := publisher(t)
	pub.enter(url + "/whip/1?user=a")
	stop := flow(pub, 65000, 1)
	defer stop()
	once := func(n int) {
		v := viewer(t)
		defer v.close()
		if n%5 == 0 { // never connects
			res, _ := do(t, http.MethodPost, url+"/whep/1/a", typeSDP, v.offer(), nil)
			if where, err := res.Location(); err == nil {
				do(t, http.MethodDelete, where.String(), "", "", nil)
			}
			return
		}
		v.enter(fmt.Sprintf("%s/whep/1/%s", url, []string{"a", "nobody"}[n%2]))
		if n%3 == 0 {
			return // goes without a word: DTLS says it
		}
		time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
		do(t, http.MethodDelete, v.where, "", "", nil)
	}
	rest := func() (goroutines, open int) {
		wait(t, "all viewers are gone", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.sessions) == 1 && s.viewers == 0 && len(s.halls["1"].anchors) == 1
		})
		http.DefaultClient.CloseIdleConnections()
		last := -1
		wait(t, "goroutines are steady", func() bool {
			before := last
			last = runtime.NumGoroutine()
			time.Sleep(20 * time.Millisecond)
			return last == before
		})
		return last, files(t)
	}
	once(1)
	goroutines, open := rest()
	for range 4 {
		var wg sync.WaitGroup
		for n := range 10 {
			wg.Go(func() { once(n) })
		}
		wg.Wait()
	}
	wait(t, "as few goroutines and files as before", func() bool {
		g, f := rest()
		return g <= goroutines+2 && f <= open+2
	})
	if n := len(s.halls["1"].anchors["a"].video.all()); n != 0 {
		t.Errorf("%d sinks are left", n)
	}
}
