// Package pulsetest runs real PulseAudio servers for tests. Each is private to its test:
// it has its own home, finds no hardware and is found by nobody else.
package pulsetest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Names of the sources that Start makes.
const (
	Mic     = "mic"         // a sine tone, mono, 48 kHz
	Silent  = "silent"      // zeros, stereo, 44.1 kHz
	Monitor = "spk.monitor" // what a speaker that nobody uses plays
	Tone    = 440           // Mic's frequency in Hz
)

// mic is a source like a microphone's: the tone is played in a booth and heard there.
// PulseAudio's own sine source makes 2 s of sound at once, each 2 s.
const mic = "module-remap-source master=booth.monitor source_name=" + Mic

// Server is a PulseAudio server.
type Server struct {
	Dir    string // its home
	Socket string // where it listens

	t       testing.TB
	modules []string
	cmd     *exec.Cmd
	ear     *exec.Cmd    // see listen
	log     bytes.Buffer // the server's output; read it when it has ended
	ended   chan struct{}
	wait    sync.WaitGroup
}

// New makes a server that does not run yet. modules are loaded beside the socket, each as
// in a line "load-module" of default.pa; none means Mic, Silent and the speaker that
// Monitor belongs to. The server ends with the test.
func New(t testing.TB, modules ...string) *Server {
	t.Helper()
	if len(modules) == 0 {
		modules = []string{
			"module-null-sink sink_name=spk rate=48000 channels=1",
			"module-null-sink sink_name=booth rate=48000 channels=1",
			fmt.Sprintf("module-sine sink=booth frequency=%d", Tone),
			mic,
			"module-null-source source_name=" + Silent,
		}
	}
	// The name of a socket has room for 107 bytes, which t.TempDir may need for itself.
	dir, err := os.MkdirTemp("", "pulse")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Dir: dir, Socket: filepath.Join(dir, "run", "native"), t: t, modules: modules}
	t.Cleanup(func() {
		s.Kill()
		os.RemoveAll(dir)
	})
	return s
}

// Start makes a server and waits until it answers.
func Start(t testing.TB, modules ...string) *Server {
	t.Helper()
	s := New(t, modules...)
	s.Start()
	return s
}

// Address is the server's address as in $PULSE_SERVER.
func (s *Server) Address() string { return "unix:" + s.Socket }

// Start starts the server, also after Kill, and waits until it answers and has loaded all
// modules.
func (s *Server) Start() {
	s.t.Helper()
	s.Launch()
	deadline := time.Now().Add(20 * time.Second)
	for {
		// The protocol's module is loaded last, so what can be asked is complete.
		err := s.pactl("info").Run()
		if err == nil {
			s.listen()
			return
		}
		select {
		case <-s.ended:
			s.t.Fatalf("pulseaudio ended: %s", s.log.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("pulseaudio does not answer: %v", err)
		}
	}
}

// Launch starts the server and does not wait.
func (s *Server) Launch() {
	s.t.Helper()
	if s.cmd != nil {
		s.t.Fatal("pulseaudio runs already")
	}
	if err := os.MkdirAll(filepath.Dir(s.Socket), 0o700); err != nil {
		s.t.Fatal(err)
	}
	var script strings.Builder
	for _, m := range s.modules {
		fmt.Fprintln(&script, "load-module", m)
	}
	fmt.Fprintf(&script, "load-module module-native-protocol-unix socket=%s auth-anonymous=1\n", s.Socket)
	file := filepath.Join(s.Dir, "test.pa")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.log.Reset()
	cmd := exec.Command("pulseaudio", "-n", "-F", file, "--daemonize=no", "--use-pid-file=no",
		"--exit-idle-time=-1", "--realtime=no", "--high-priority=no")
	cmd.Env = s.env()
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	// A test that crashes must not leave servers behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start pulseaudio: %v; install the packages pulseaudio and pulseaudio-utils", err)
	}
	s.cmd, s.ended = cmd, make(chan struct{})
	ended := s.ended
	s.wait.Go(func() { _ = cmd.Wait(); close(ended) })
}

func (s *Server) env() []string {
	run := filepath.Dir(s.Socket)
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.Dir, "XDG_RUNTIME_DIR=" + run, "PULSE_RUNTIME_PATH=" + run,
		"PULSE_STATE_PATH=" + s.Dir, "PULSE_SERVER=" + s.Address(), "LC_ALL=C"}
}

// Kill ends the server at once, as a crash does, and waits until it is gone. Its socket's
// file stays.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended by itself
	if s.ear != nil {
		_ = s.ear.Process.Kill()
	}
	s.wait.Wait()
	s.cmd, s.ear = nil, nil
}

// listen makes the booth steady, when there is one. A null sink that nobody wants short
// fragments of makes 2 s of sound at once, and is as far ahead of time when somebody does.
// So a parec that wants them is always there, from before the first sound on.
func (s *Server) listen() {
	s.t.Helper()
	if !strings.Contains(s.Pactl("list", "short", "sources"), "\t"+booth+"\t") {
		return
	}
	s.Pactl("suspend-sink", "booth", "1")
	s.ear = exec.Command("parec", "-d", booth, "--latency-msec=20", "--client-name="+ear)
	s.ear.Env = s.env()
	s.ear.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.ear.Start(); err != nil {
		s.t.Fatalf("start parec: %v", err)
	}
	cmd := s.ear
	s.wait.Go(func() { _ = cmd.Wait() })
	for deadline := time.Now().Add(10 * time.Second); len(s.streams(true)) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("parec does not record")
		}
	}
	s.Pactl("suspend-sink", "booth", "0")
}

const booth = "booth.monitor"

// ear is the name of listen's client.
const ear = "pulsetest"

// Streams gives the indexes of the streams that programs record now.
func (s *Server) Streams() []string {
	s.t.Helper()
	return s.streams(false)
}

func (s *Server) streams(own bool) (list []string) {
	for _, b := range strings.Split(s.Pactl("list", "source-outputs"), "Source Output #")[1:] {
		// The server's own have no client, thus no name.
		if strings.Contains(b, "application.name = ") && strings.Contains(b, `application.name = "`+ear+`"`) == own {
			id, _, _ := strings.Cut(b, "\n")
			list = append(list, id)
		}
	}
	return list
}

// Restart is Kill and Start.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.Start()
}

// Hang stops the server's process (hang true) or lets it go on.
func (s *Server) Hang(hang bool) {
	s.t.Helper()
	sig := syscall.SIGCONT
	if hang {
		sig = syscall.SIGSTOP
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// Pactl runs pactl with args and gives its output.
func (s *Server) Pactl(args ...string) string {
	s.t.Helper()
	out, err := s.TryPactl(args...)
	if err != nil {
		s.t.Fatalf("pactl %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// TryPactl is Pactl for what may be refused.
func (s *Server) TryPactl(args ...string) (string, error) {
	out, err := s.pactl(args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (s *Server) pactl(args ...string) *exec.Cmd {
	cmd := exec.Command("pactl", args...)
	cmd.Env = s.env()
	return cmd
}

// LoadModule loads a module and gives its index.
func (s *Server) LoadModule(args ...string) string {
	s.t.Helper()
	return s.Pactl(append([]string{"load-module"}, args...)...)
}

// UnloadModule unloads a module by index, or all of one name.
func (s *Server) UnloadModule(module string) {
	s.t.Helper()
	s.Pactl("unload-module", module)
}

// Unplug removes Mic, as when it is pulled out.
func (s *Server) Unplug() {
	s.t.Helper()
	s.UnloadModule("module-remap-source")
}

// Plug brings Mic back.
func (s *Server) Plug() {
	s.t.Helper()
	s.LoadModule(strings.Fields(mic)...)
}

// Suspend suspends a source or lets it go on.
func (s *Server) Suspend(source string, suspend bool) {
	s.t.Helper()
	s.Pactl("suspend-source", source, map[bool]string{true: "1", false: "0"}[suspend])
}

// ListenTCP lets the server listen on loopback too, where it wants a cookie, and gives its
// address and the cookie's file.
func (s *Server) ListenTCP() (address, cookie string) {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // for a port that is free
	if err != nil {
		s.t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	l.Close()
	cookie = filepath.Join(s.Dir, "cookie")
	s.LoadModule("module-native-protocol-tcp", fmt.Sprintf("port=%d", at.Port), "listen=127.0.0.1", "auth-cookie="+cookie)
	return "tcp:" + at.String(), cookie
}
