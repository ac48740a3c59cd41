package control

import "context"

// Caller is whoever says a command.
type Caller struct {
	Name  string // for events and logs: "token first", "socket, uid 1000"
	Level Level
}

// may gives an error if the caller's level is not enough for what.
func (c Caller) may(need Level, what string) error {
	if c.Level.Allows(need) {
		return nil
	}
	return Errorf(CodeForbidden, "%s needs the level %s and this token has %s: use a token with more", what, need, c.Level)
}

type callerKey struct{}

// withCaller lets what runs in ctx know for whom.
func withCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf gives who said the command that runs in ctx; the zero Caller if it was no command.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
