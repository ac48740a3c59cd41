package accel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/host/v3/sysfs"

	"anchord/hal"
	"anchord/internal/media"
)

// openBus opens an I²C bus for one address. It does not touch the bus.
type openBus func(bus int, address uint16) (i2c.BusCloser, error)

// i2cSlave is I2C_SLAVE of linux/i2c-dev.h.
const i2cSlave = 0x703

// kernelBus opens /dev/i2c-N. Transfers of several messages, as periph makes them, go past a
// driver that has the chip; so the kernel is asked first whether one does, by naming the
// address (https://docs.kernel.org/i2c/dev-interface.html), which sends nothing.
func kernelBus(bus int, address uint16) (i2c.BusCloser, error) {
	name := fmt.Sprintf("/dev/i2c-%d", bus)
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%w: there is no %s: is the module i2c-dev loaded, and the bus on in the device tree?", hal.ErrGone, name)
	}
	if err != nil {
		return nil, cause(fmt.Errorf("open %s: %w", name, err))
	}
	err = unix.IoctlSetInt(fd, i2cSlave, int(address))
	unix.Close(fd)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%w: a driver of the kernel has the chip: use it by iio:NAME, or auto", hal.ErrBusy)
	}
	if err != nil {
		return nil, cause(fmt.Errorf("ask for address 0x%02x: %w", address, err))
	}
	b, err := sysfs.NewI2C(bus)
	if err != nil {
		return nil, cause(err)
	}
	return b, nil
}

// i2cChip is one that is read by its registers.
type i2cChip struct {
	model
	bus     i2c.BusCloser
	address uint16
	what    hal.SensorInfo
}

// openI2C opens a chip at an address that it can have, and sets it up, once it has said that
// it is the one.
func (s *Sensors) openI2C(m model, bus, address int) (_ chip, err error) {
	if !slices.Contains(m.addresses, uint16(address)) {
		return nil, fmt.Errorf("%w: a %s cannot be at 0x%02x, only at %s", hal.ErrUnsupported, m.name, address, m.places())
	}
	b, err := s.bus(bus, uint16(address))
	if err != nil {
		return nil, err
	}
	c := &i2cChip{model: m, bus: b, address: uint16(address)}
	defer func() {
		if err != nil {
			c.bus.Close()
		}
	}()
	id, err := c.get(m.id, 1)
	if err != nil {
		return nil, err
	}
	which := slices.IndexFunc(m.ids, func(k ident) bool { return k.value == id[0] })
	if which < 0 {
		return nil, fmt.Errorf("%w: what answers is no %s: register 0x%02x has 0x%02x, not %s", hal.ErrUnsupported, m.name, m.id, id[0], m.idents())
	}
	k := m.ids[which]
	c.what = hal.SensorInfo{Device: hal.Device{ID: fmt.Sprintf("i2c:%d:%s", bus, m.name), Name: k.name, Node: fmt.Sprintf("/dev/i2c-%d", bus),
		Port: fmt.Sprintf("%d-%04x", bus, address)}, Mount: media.Identity(), Step: m.perLSB() * float64(int(1)<<k.unused)}
	for _, w := range m.start {
		if err := c.set(w); err != nil {
			return nil, err
		}
	}
	on := m.start[len(m.start)-1]
	got, err := c.get(on.register, 1)
	if err != nil {
		return nil, err
	}
	if got[0] != on.value {
		return nil, fmt.Errorf("%w: it does not keep its settings: register 0x%02x has 0x%02x, not 0x%02x", hal.ErrUnsupported, on.register, got[0], on.value)
	}
	return c, nil
}

func (c *i2cChip) info() hal.SensorInfo { return c.what }

func (c *i2cChip) read() (media.Vector, error) {
	b, err := c.get(c.data, 6)
	if err != nil {
		return media.Vector{}, err
	}
	var order binary.ByteOrder = binary.LittleEndian
	if c.big {
		order = binary.BigEndian
	}
	var v [3]float64
	for i := range v {
		v[i] = float64(int16(order.Uint16(b[2*i:]))) * c.perLSB()
	}
	return media.Vector{X: v[0], Y: v[1], Z: v[2]}, nil
}

// close lets the chip sleep. That it does not answer any more is known already.
func (c *i2cChip) close() error {
	_ = c.set(c.stop)
	return c.bus.Close()
}

func (c *i2cChip) get(register byte, n int) ([]byte, error) {
	b := make([]byte, n)
	if err := c.bus.Tx(c.address, []byte{register}, b); err != nil {
		return nil, cause(fmt.Errorf("read register 0x%02x at 0x%02x: %w", register, c.address, err))
	}
	return b, nil
}

func (c *i2cChip) set(w write) error {
	if err := c.bus.Tx(c.address, []byte{w.register, w.value}, nil); err != nil {
		return cause(fmt.Errorf("write register 0x%02x at 0x%02x: %w", w.register, c.address, err))
	}
	return nil
}
