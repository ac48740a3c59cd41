package control

import (
	"context"
	"slices"

	"anchord/device/config"
)

// Encoders is what the encoder commands act on. Each function may be called from any
// goroutine.
type Encoders struct {
	Names func() []string                                        // in the order in which they are tried
	List  func() []Fields                                        // how each stands
	Test  func(ctx context.Context, name string) (Fields, error) // a self-test, a few seconds
	Clear func(name string) error                                // forgets hangs; "" for all
}

// encoders are the commands for choosing and losing encoders.
func encoders(p Parts) Table {
	e := p.Encoders
	suggest := func(context.Context) []string { return e.Names() }
	known := func(name string) error {
		if !slices.Contains(e.Names(), name) {
			return Errorf(CodeNotFound, "there is no encoder %s: encoder list shows them", short(name))
		}
		return nil
	}
	name := Arg{Name: "name", Kind: Word, Help: "as encoder list shows it", Suggest: suggest}
	optional := name
	optional.Optional = true
	return Table{
		{Name: "encoder list", Help: "The encoders in the order in which they are tried; which is in use, which are put aside and why, how they did in their self-test.", Level: Read, Example: "encoder list",
			Run: func(context.Context, Args) (Fields, error) { return Fields{{"encoder", e.List()}}, nil }},
		{Name: "encoder probe", Help: "Test an encoder, or all: does it give pictures, key pictures when asked, the bit rate that was asked for, and how fast. One that fails is tried after the others from now on.", Level: Operate, Example: "encoder probe openh264",
			Args: []Arg{optional},
			Run: func(ctx context.Context, a Args) (Fields, error) {
				names := e.Names()
				if a.Has("name") {
					if err := known(a.Word("name")); err != nil {
						return nil, err
					}
					names = []string{a.Word("name")}
				}
				var out []Fields
				for _, n := range names {
					f, err := e.Test(ctx, n)
					if err != nil {
						return nil, err
					}
					out = append(out, f)
				}
				return Fields{{"encoder", out}}, nil
			}},
		{Name: "encoder select", Help: "Try this encoder first, now and after each start; auto: the order of the file.", Level: Operate, Example: "encoder select openh264",
			Args: []Arg{{Name: "name", Kind: Word, Help: "as encoder list shows it, or auto", Suggest: suggest}},
			Run: func(ctx context.Context, a Args) (Fields, error) {
				n := a.Word("name")
				if n == "auto" {
					keys, err := p.Device.Reset(CallerOf(ctx).Name, "encoder.order")
					if err == nil && keys == nil {
						return Fields{{"unchanged", true}}, nil
					}
					return nil, err
				}
				if err := known(n); err != nil {
					return nil, err
				}
				return change(p, func(c *config.Config, _ Args) error {
					c.Encoder.Order = append([]string{n}, slices.DeleteFunc(c.Encoder.Order, func(o string) bool { return o == n })...)
					return nil
				})(ctx, a)
			}},
		{Name: "encoder clear", Help: "Forget that an encoder hung, or all: it is tried again at once.", Level: Operate, Example: "encoder clear",
			Args: []Arg{optional},
			Run: func(_ context.Context, a Args) (Fields, error) {
				if a.Has("name") {
					if err := known(a.Word("name")); err != nil {
						return nil, err
					}
				}
				return nil, e.Clear(a.Word("name"))
			}},
	}
}
