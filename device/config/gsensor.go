package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"anchord/internal/media"
)

// SensorChips lists the chips that can be read on an I²C bus without a driver of the kernel.
func SensorChips() []string { return []string{"lis3dh", "sc7a20", "mma8452", "adxl345", "kxcj9"} }

// Addr gives the address on the I²C bus; 0 if there is none. Valid after Validate.
func (g GSensor) Addr() int {
	a, err := strconv.ParseUint(g.Address, 0, 7)
	if err != nil {
		return 0
	}
	return int(a)
}

// Mount gives the matrix; the zero one if the sensor's own holds. Valid after Validate.
func (g GSensor) Mount() media.Matrix {
	m, err := media.ParseMatrix(g.Matrix)
	if err != nil {
		return media.Matrix{}
	}
	return m
}

// check gives everything that is wrong.
func (g GSensor) check() []Fault {
	var f []Fault
	bad := func(key, value, format string, a ...any) {
		f = append(f, Fault{Key: "gsensor." + key, Value: value, Problem: fmt.Sprintf(format, a...)})
	}
	if modes := []string{"disable", "auto", "fixed180"}; !slices.Contains(modes, g.Mode) {
		bad("mode", g.Mode, "allowed: %s", strings.Join(modes, ", "))
	}
	kind, name, _ := strings.Cut(g.Device, ":")
	bus, chip, _ := strings.Cut(name, ":")
	_, err := strconv.ParseUint(bus, 10, 16)
	switch {
	case g.Device == "auto", g.Device == "test", kind == "iio" && name != "" && !strings.ContainsAny(name, "/ "):
	case kind == "i2c" && err == nil && slices.Contains(SensorChips(), chip):
		if g.Address == "" {
			bad("address", "", "the chip's address on bus %s is needed, for instance 0x19: no other is ever asked", bus)
		}
	default:
		bad("device", g.Device, "allowed: auto (the only one that the kernel has a driver for), iio:NAME (one of these), i2c:BUS:CHIP with a chip of %s, test", strings.Join(SensorChips(), ", "))
	}
	// The rest of the 7 bits is reserved (I²C-bus specification, UM10204, 3.1.12).
	if a := g.Addr(); g.Address != "" && (a < 0x08 || a > 0x77) {
		bad("address", g.Address, "allowed: 0x08 to 0x77, as i2cdetect shows it")
	}
	if g.Matrix != "" {
		if _, err := media.ParseMatrix(g.Matrix); err != nil {
			bad("matrix", g.Matrix, "%v", err)
		}
	}
	return f
}
