package capture

import (
	"image"
	"image/color"
	_ "image/jpeg" // kinds of mute pictures
	_ "image/png"
	"strings"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"anchord/internal/media"
)

// fit draws img whole and undistorted into a black picture of the size.
func fit(img image.Image, size media.Size) *image.RGBA {
	dst := image.NewRGBA(image.Rect(0, 0, size.W, size.H))
	draw.Draw(dst, dst.Bounds(), image.Black, image.Point{}, draw.Src)
	b := img.Bounds()
	w, h := size.W, size.W*b.Dy()/b.Dx()
	if h > size.H {
		w, h = size.H*b.Dx()/b.Dy(), size.H
	}
	w, h = max(w, 1), max(h, 1)
	at := image.Pt((size.W-w)/2, (size.H-h)/2)
	draw.BiLinear.Scale(dst, image.Rectangle{Min: at, Max: at.Add(image.Pt(w, h))}, img, b, draw.Over, nil)
	return dst
}

// slate draws lines of words, the first as a title, on dark blue.
func slate(lines []string, size media.Size) *image.RGBA {
	dst := image.NewRGBA(image.Rect(0, 0, size.W, size.H))
	draw.Draw(dst, dst.Bounds(), image.NewUniform(color.RGBA{0x12, 0x1d, 0x33, 0xff}), image.Point{}, draw.Src)
	const face = 13 // basicfont's line
	title := max(size.H/8/face, 1)
	small := max(size.H/20/face, 1)
	y := size.H / 3
	for i, line := range lines {
		scale := small
		if i == 0 {
			scale = title
		}
		most := max(size.W*9/10/(7*scale), 1)
		for _, part := range wrap(line, most) {
			if y+face*scale > size.H {
				return dst
			}
			write(dst, part, y, scale)
			y += face * scale * 5 / 4
		}
		y += face * small / 2
	}
	return dst
}

// write draws a centred line with its top at y, each pixel of the font scale wide.
func write(dst *image.RGBA, line string, y, scale int) {
	face := basicfont.Face7x13
	w := font.MeasureString(face, line).Ceil()
	text := image.NewAlpha(image.Rect(0, 0, max(w, 1), face.Height))
	d := font.Drawer{Dst: text, Src: image.Opaque, Face: face, Dot: fixed.P(0, face.Ascent)}
	d.DrawString(line)
	x := (dst.Bounds().Dx() - w*scale) / 2
	to := image.Rect(x, y, x+w*scale, y+face.Height*scale)
	mask := image.NewAlpha(image.Rect(0, 0, to.Dx(), to.Dy()))
	draw.NearestNeighbor.Scale(mask, mask.Bounds(), text, text.Bounds(), draw.Src, nil)
	draw.DrawMask(dst, to, image.NewUniform(color.RGBA{0xf2, 0xf4, 0xf8, 0xff}), image.Point{}, mask, image.Point{}, draw.Over)
}

// wrap cuts a line into parts of at most n letters, between words where it can. What the
// font does not have becomes a question mark.
func wrap(line string, n int) []string {
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, line)
	var out []string
	for len(line) > n {
		cut := strings.LastIndexByte(line[:n+1], ' ')
		if cut < 1 {
			cut = n
		}
		out = append(out, strings.TrimSpace(line[:cut]))
		line = strings.TrimSpace(line[cut:])
	}
	return append(out, line)
}

// toYUV fills f, YU12 or NV12 with an even size, with img by f's matrix in video range
// (ITU-R BT.601-7 and BT.709-6, 3.2). Chroma is the mean of four pixels.
func toYUV(f *media.Frame, img *image.RGBA) {
	kr, kb := 0.299, 0.114
	if f.Colour.Guess(f.Size).Matrix == media.BT709 {
		kr, kb = 0.2126, 0.0722
	}
	for y := 0; y+1 < f.Size.H; y += 2 {
		for x := 0; x+1 < f.Size.W; x += 2 {
			var cb, cr float64
			for i := range 4 {
				px, py := x+i&1, y+i>>1
				p := img.Pix[img.PixOffset(px, py):]
				r, g, b := float64(p[0])/255, float64(p[1])/255, float64(p[2])/255
				l := kr*r + (1-kr-kb)*g + kb*b
				f.Planes[0][py*f.Stride[0]+px] = uint8(16 + 219*l + .5)
				cb += (b - l) / (1 - kb)
				cr += (r - l) / (1 - kr)
			}
			u, v := uint8(128+112*cb/4+.5), uint8(128+112*cr/4+.5)
			if f.Pixel == media.NV12 {
				row := f.Planes[1][y/2*f.Stride[1]:]
				row[x], row[x+1] = u, v
			} else {
				f.Planes[1][y/2*f.Stride[1]+x/2] = u
				f.Planes[2][y/2*f.Stride[2]+x/2] = v
			}
		}
	}
}
