package browser

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"slices"
	"testing"
)

// small returns a picture with the 256 colours that it uses most: a page has few, and the file is a
// third.
func small(text []byte) ([]byte, error) {
	full, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("decode a picture: %w", err)
	}
	counts := map[color.Color]int{}
	b := full.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			counts[full.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(counts), func(a, b color.Color) int { return cmp.Compare(counts[b], counts[a]) })
	few := image.NewPaletted(b, color.Palette(colours[:min(256, len(colours))]))
	nearest := map[color.Color]uint8{}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := full.At(x, y)
			i, known := nearest[c]
			if !known {
				i = uint8(few.Palette.Index(c))
				nearest[c] = i
			}
			few.SetColorIndex(x, y, i)
		}
	}
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, few)
	return out.Bytes(), err
}

func TestPicturesStayTheSameWithFewColours(t *testing.T) {
	t.Parallel()
	full := image.NewRGBA(image.Rect(0, 0, 20, 20))
	full.Set(3, 4, color.RGBA{R: 200, A: 255})
	var text bytes.Buffer
	check(t, png.Encode(&text, full))
	few, err := small(text.Bytes())
	check(t, err)
	got, err := png.Decode(bytes.NewReader(few))
	check(t, err)
	if r, _, _, _ := got.At(3, 4).RGBA(); r>>8 != 200 {
		t.Errorf("the red is %d", r>>8)
	}
	if _, err := small([]byte("x")); err == nil {
		t.Error("what is no picture is taken for one")
	}
}
