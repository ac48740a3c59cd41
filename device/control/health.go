package control

import (
	"context"

	"anchord/device"
)

// health is the command for how well the box is.
func health(p Parts) Command {
	return Command{Name: "health", Help: "What is wrong now, the worst first, and what to do about it. docs/codes.md lists all that can be.", Level: Read,
		Run: show(func() Fields { return healthFields(p.Health.Standing()) })}
}

// faults are the commands for what was wrong.
func faults(p Parts) Table {
	return Table{
		{Name: "errors", Help: "The newest errors and warnings since the start, whether they still stand or not, the newest first.", Level: Read, Example: "errors 5",
			Args: []Arg{{Name: "n", Kind: Int, Min: 1, Max: 64, Unit: "errors", Optional: true, Default: "64", Help: "how many"}},
			Run: func(_ context.Context, a Args) (Fields, error) {
				all := p.Health.Faults()
				out := []Fields{}
				for _, e := range all[:min(len(all), a.Int("n"))] {
					f := Fields{{"time", moment(e.Last)}}
					if e.Code != 0 {
						f = append(f, Field{"code", int(e.Code)})
					}
					f = append(f, Field{"slug", e.Slug}, Field{"severity", e.Severity.String()}, Field{"cause", e.Cause}, Field{"count", e.Count})
					if e.Count > 1 {
						f = append(f, Field{"first", moment(e.First)})
					}
					out = append(out, f)
				}
				return Fields{{"error", out}}, nil
			}},
		{Name: "errors clear", Help: "Forget them, and conditions that stood only until somebody had seen them.", Level: Operate,
			Run: show(func() Fields { return Fields{{"cleared", p.Health.ClearFaults()}} })},
	}
}

// healthFields gives what stands.
func healthFields(all []device.Standing) Fields {
	state := "good"
	out := []Fields{}
	for i, s := range all {
		if i == 0 {
			state = s.Severity.String()
		}
		f := Fields{{"slug", s.Key()}, {"severity", s.Severity.String()}, {"part", s.Part}}
		if code := s.Code(); code != 0 {
			f = append(f, Field{"code", int(code)}, Field{"name", code.String()})
		}
		f = append(f, Field{"text", s.Text}, Field{"cause", s.Cause}, Field{"do", s.Do}, Field{"since", moment(s.Since)}, Field{"count", s.Count})
		out = append(out, f)
	}
	return Fields{{"health", state}, {"condition", out}}
}

// Problems gives what stands in one line each, for status: the worst first, and what is
// only good to know left out.
func Problems(h *device.Health) Fields {
	var f Fields
	for _, s := range h.Standing() {
		if s.Severity < device.SeverityWarning {
			continue
		}
		text := s.Text
		if s.Cause != "" {
			text += ": " + s.Cause
		}
		f = append(f, Field{"problem." + s.Key(), text + "; " + s.Do})
	}
	return f
}
