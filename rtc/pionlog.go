package rtc

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// PionLog passes pion's errors, warnings and changes of state on for debugging, at the
// level of log's part, and nothing below, which would be a line per packet. They are about
// one packet or one candidate, and whoever is on the other side can make as many of them
// as he likes: what matters of them shows in sessions that end.
func PionLog(log *slog.Logger) logging.LoggerFactory { return pionLog{log} }

type pionLog struct{ log *slog.Logger }

// NewLogger is pion's.
func (p pionLog) NewLogger(scope string) logging.LeveledLogger {
	return pionLog{p.log.With("pion", scope)}
}

func (pionLog) Trace(string)          {}
func (pionLog) Tracef(string, ...any) {}
func (pionLog) Debug(string)          {}
func (pionLog) Debugf(string, ...any) {}

func (p pionLog) Info(msg string)              { p.log.Debug(msg) }
func (p pionLog) Infof(f string, args ...any)  { p.printf(f, args) }
func (p pionLog) Warn(msg string)              { p.log.Debug(msg) }
func (p pionLog) Warnf(f string, args ...any)  { p.printf(f, args) }
func (p pionLog) Error(msg string)             { p.log.Debug(msg) }
func (p pionLog) Errorf(f string, args ...any) { p.printf(f, args) }

func (p pionLog) printf(f string, args []any) {
	if p.log.Enabled(context.Background(), slog.LevelDebug) {
		p.log.Debug(fmt.Sprintf(f, args...))
	}
}
