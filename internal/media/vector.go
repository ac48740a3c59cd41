package media

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Gravity is the standard acceleration of free fall in m/s².
const Gravity = 9.80665

// Vector is an acceleration along three axes, in m/s².
type Vector struct{ X, Y, Z float64 }

// Length is how strong it is, whatever its direction.
func (v Vector) Length() float64 { return math.Sqrt(v.Dot(v)) }

// Dot is the scalar product.
func (v Vector) Dot(w Vector) float64 { return v.X*w.X + v.Y*w.Y + v.Z*w.Z }

// Cross is the vector product.
func (v Vector) Cross(w Vector) Vector {
	return Vector{v.Y*w.Z - v.Z*w.Y, v.Z*w.X - v.X*w.Z, v.X*w.Y - v.Y*w.X}
}

// Plus adds two.
func (v Vector) Plus(w Vector) Vector { return Vector{v.X + w.X, v.Y + w.Y, v.Z + w.Z} }

// Times makes it longer.
func (v Vector) Times(k float64) Vector { return Vector{k * v.X, k * v.Y, k * v.Z} }

// String gives "0.12 9.81 -0.03".
func (v Vector) String() string { return fmt.Sprintf("%.2f %.2f %.2f", v.X, v.Y, v.Z) }

// Matrix turns a vector from one frame of axes into another: row by row, x' = m[0]·x +
// m[1]·y + m[2]·z and so on, as mount matrices of the kernel do
// (https://www.kernel.org/doc/Documentation/devicetree/bindings/iio/mount-matrix.txt). The
// zero Matrix is not one.
type Matrix [9]float64

// Identity is the matrix that changes nothing.
func Identity() Matrix { return Matrix{1, 0, 0, 0, 1, 0, 0, 0, 1} }

// Zero tells whether there is none.
func (m Matrix) Zero() bool { return m == Matrix{} }

// Apply turns a vector.
func (m Matrix) Apply(v Vector) Vector {
	return Vector{m.row(0).Dot(v), m.row(1).Dot(v), m.row(2).Dot(v)}
}

// After gives the matrix that turns by n first and by m then.
func (m Matrix) After(n Matrix) Matrix {
	var out Matrix
	for i := range 3 {
		for j := range 3 {
			out[3*i+j] = m.row(i).Dot(Vector{n[j], n[3+j], n[6+j]})
		}
	}
	return out
}

func (m Matrix) row(i int) Vector { return Vector{m[3*i], m[3*i+1], m[3*i+2]} }

// Rounded gives it with four digits after the point, which is more than any chip knows.
func (m Matrix) Rounded() Matrix {
	for i := range m {
		m[i] = math.Round(m[i]*1e4) / 1e4
	}
	return m
}

// String gives what ParseMatrix reads.
func (m Matrix) String() string {
	var b strings.Builder
	for i, x := range m {
		switch {
		case i == 0:
		case i%3 == 0:
			b.WriteString("; ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(strconv.FormatFloat(x+0, 'f', -1, 64)) // + 0: no -0
	}
	return b.String()
}

// skew is how far a matrix may be from one that turns and does nothing else: device trees
// have numbers such as 0.866 in them.
const skew = 0.1

// ParseMatrix reads nine numbers, row by row, as the kernel's files have them: "a, b, c; d,
// e, f; g, h, i", in brackets or not. Numbers may also be separated by spaces alone. A matrix
// that stretches or skews is refused, one that mirrors is not.
func ParseMatrix(s string) (Matrix, error) {
	var m Matrix
	s = strings.TrimSpace(s)
	if in, ok := strings.CutPrefix(s, "["); ok {
		if s, ok = strings.CutSuffix(in, "]"); !ok {
			return Matrix{}, errors.New("a bracket is open")
		}
	}
	words := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(",; \t\n", r) })
	if len(words) != len(m) {
		return Matrix{}, fmt.Errorf("it has %d numbers, not 9: row by row, for instance \"0, -1, 0; 1, 0, 0; 0, 0, 1\"", len(words))
	}
	for i, w := range words {
		x, err := strconv.ParseFloat(w, 64)
		if err != nil || math.Abs(x) > 2 { // NaN fails below
			return Matrix{}, fmt.Errorf("%.20q is no number from -1 to 1", w)
		}
		m[i] = x
	}
	for i := range 3 {
		a, b := m.row(i), m.row((i+1)%3)
		if !(math.Abs(a.Length()-1) <= skew && math.Abs(a.Dot(b)) <= skew) {
			return Matrix{}, errors.New("it does not only turn: each row needs the length 1, and a right angle to the others")
		}
	}
	return m, nil
}
