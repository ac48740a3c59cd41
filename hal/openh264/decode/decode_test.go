package decode

import (
	"testing"

	"anchord/internal/media"
)

func TestNonsenseIsAnError(t *testing.T) {
	d, err := New()
	if err != nil {
		t.Fatal(err)
	}
	f := media.NewFrame(nil)
	if ok, err := d.Decode(nil, f); ok || err != nil {
		t.Error("nothing: ", ok, err)
	}
	for _, au := range [][]byte{
		{0, 0, 0, 1, 0x65, 0x88, 0x84, 1, 2, 3}, // an IDR slice without parameter sets
		{0, 0, 0, 1, 0x67, 0xff},
		make([]byte, 100),
	} {
		if ok, err := d.Decode(au, f); ok {
			t.Errorf("% x is decoded: %v", au, err)
		}
	}
	d.Close()
	d.Close()
	if _, err := d.Decode([]byte{0, 0, 0, 1, 0x65}, f); err == nil {
		t.Error("a closed decoder decodes")
	}
}
