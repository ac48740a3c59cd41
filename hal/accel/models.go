package accel

import (
	"fmt"
	"strings"

	"anchord/internal/media"
)

// model is a kind of chip: all that is needed to read it at ±2 g, 50 times a second.
type model struct {
	name      string
	addresses []uint16
	id        byte // the register that says which chip it is
	ids       []ident
	start     []write // in this order; the last one switches it on, and is read back
	stop      write
	data      byte    // first register of x, y, z, two bytes each; with the bit for several at once
	big       bool    // the high byte comes first
	perG      float64 // what 1 g gives, of the 16 bits
}

// ident is a chip of the kind.
type ident struct {
	value  byte
	name   string
	unused int // lowest bits of the 16 that it does not have
}

type write struct{ register, value byte }

// perLSB is what the lowest of the 16 bits means, in m/s².
func (m *model) perLSB() float64 { return media.Gravity / m.perG }

func (m *model) places() string {
	var out []string
	for _, a := range m.addresses {
		out = append(out, fmt.Sprintf("0x%02x", a))
	}
	return strings.Join(out, ", ")
}

func (m *model) idents() string {
	var out []string
	for _, k := range m.ids {
		out = append(out, fmt.Sprintf("0x%02x", k.value))
	}
	return strings.Join(out, ", ")
}

// Chips gives the names of the chips that can be read without a driver of the kernel.
func Chips() []string {
	var out []string
	for _, m := range models {
		out = append(out, m.name)
	}
	return out
}

// models are the chips. The facts are those of their makers' data sheets, as the kernel's
// drivers have them too.
var models = []model{
	// https://www.st.com/resource/en/datasheet/lis3dh.pdf: CTRL_REG1 (0x20): 50 Hz, three axes;
	// CTRL_REG4 (0x23): samples whole (BDU), ±2 g, 12 bits (HR), 1 mg a step. Bit 7 of the
	// register's number goes on to the next.
	// https://github.com/torvalds/linux/blob/master/drivers/iio/accel/st_accel_core.c
	{name: "lis3dh", addresses: []uint16{0x18, 0x19}, id: 0x0f, ids: []ident{{0x33, "LIS3DH or LIS2DH12", 4}},
		start: []write{{0x23, 0x88}, {0x20, 0x47}}, stop: write{0x20, 0x07}, data: 0x28 | 0x80, perG: 1000 << 4},
	// Silan's copy, which differs in its number alone: "register-compatible with the LIS2DH"
	// (https://github.com/torvalds/linux/blob/master/drivers/iio/accel/st_accel_core.c).
	{name: "sc7a20", addresses: []uint16{0x18, 0x19}, id: 0x0f, ids: []ident{{0x11, "SC7A20", 4}},
		start: []write{{0x23, 0x88}, {0x20, 0x47}}, stop: write{0x20, 0x07}, data: 0x28 | 0x80, perG: 1000 << 4},
	// https://www.nxp.com/docs/en/data-sheet/MMA8452Q.pdf: XYZ_DATA_CFG (0x0E): ±2 g, no
	// high-pass; CTRL_REG1 (0x2A): 50 Hz and active, the only bit that may change while it is.
	// https://github.com/torvalds/linux/blob/master/drivers/iio/accel/mma8452.c
	{name: "mma8452", addresses: []uint16{0x1c, 0x1d}, id: 0x0d,
		ids:   []ident{{0x1a, "MMA8451", 2}, {0x2a, "MMA8452", 4}, {0x3a, "MMA8453", 6}, {0x4a, "MMA8652", 4}, {0x5a, "MMA8653", 6}, {0x6a, "FXLS8471", 2}},
		start: []write{{0x2a, 0x00}, {0x0e, 0x00}, {0x2a, 0x21}}, stop: write{0x2a, 0x00}, data: 0x01, big: true, perG: 4096 << 2},
	// https://www.analog.com/media/en/technical-documentation/data-sheets/adxl345.pdf:
	// DATA_FORMAT (0x31): full resolution, ±2 g, 3.9 mg a step, aligned to the right; BW_RATE
	// (0x2C): 50 Hz; POWER_CTL (0x2D): measure.
	{name: "adxl345", addresses: []uint16{0x1d, 0x53}, id: 0x00, ids: []ident{{0xe5, "ADXL345", 0}},
		start: []write{{0x2d, 0x00}, {0x31, 0x08}, {0x2c, 0x09}, {0x2d, 0x08}}, stop: write{0x2d, 0x00}, data: 0x32, perG: 256},
	// CTRL_REG1 (0x1B): PC1 off to change the rest, 12 bits, ±2 g, then on; DATA_CTRL (0x21):
	// 50 Hz. https://github.com/torvalds/linux/blob/master/drivers/iio/accel/kxcjk-1013.c; the
	// numbers: https://chromium.googlesource.com/chromiumos/platform/ec/+/refs/heads/main/driver/accel_kxcj9.h
	{name: "kxcj9", addresses: []uint16{0x0e, 0x0f}, id: 0x0f, ids: []ident{{0x0a, "KXCJ9", 4}, {0x11, "KXCJK-1013", 4}, {0x09, "KXTJ2", 4}},
		start: []write{{0x1b, 0x40}, {0x21, 0x02}, {0x1b, 0xc0}}, stop: write{0x1b, 0x40}, data: 0x06, perG: 1024 << 4},
}
