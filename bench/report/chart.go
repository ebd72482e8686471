package report

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// Chart writes an SVG: a bar for each row from 1 to its median on a logarithmic scale, a whisker from min to max, a mark
// where it should be. It is drawn with the page's own font and readable on light and dark ground.
func (t *Table) Chart(w io.Writer) error {
	const left, right, line, top = 420, 300, 24, 30
	lo, hi := -1.0, 1.0
	for _, r := range t.Rows {
		for _, v := range []float64{r.Min(), r.Max(), r.Wanted} {
			if v > 0 {
				lo, hi = min(lo, math.Floor(math.Log10(v))), max(hi, math.Ceil(math.Log10(v)))
			}
		}
	}
	width, height := left+600+right, top+line*len(t.Rows)+30
	x := func(v float64) float64 {
		return left + 600*(min(max(math.Log10(max(v, 1e-9)), lo), hi)-lo)/(hi-lo)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	for e := lo; e <= hi; e++ {
		v := math.Pow(10, e)
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ccc"/><text x="%.1f" y="%d" text-anchor="middle" fill="#555">%g</text>`+"\n",
			x(v), top-8, x(v), height-24, x(v), height-8, v)
	}
	fmt.Fprintf(&b, `<text x="%d" y="16" fill="#555">ratio, logarithmic; bar: median, whisker: all rounds, mark: wanted</text>`+"\n", left)
	for i, r := range t.Rows {
		y := top + line*i
		color := "#2a7"
		if !r.Reached() {
			color = "#c52"
		} else if r.Wanted == 0 {
			color = "#789"
		}
		from, to := min(x(1), x(r.Median())), max(x(1), x(r.Median()))
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-8, y+14, html.EscapeString(r.Work))
		fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="14" fill="%s"/>`, from, y+3, max(to-from, 1), color)
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#222"/>`, x(r.Min()), y+10, x(r.Max()), y+10)
		if r.Wanted > 0 {
			fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#000" stroke-width="3"/>`, x(r.Wanted), y, x(r.Wanted), y+20)
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d">%s of %s`, left+608, y+14, number(r.Median()), html.EscapeString(r.Against))
		if r.Wanted > 0 {
			fmt.Fprintf(&b, `, wanted %s`, html.EscapeString(r.wish()))
		}
		b.WriteString("</text>\n")
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}
