package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The chart is drawn in units of a pixel. Colours follow what the reader's
// system prefers, also where the picture is embedded in a page.
const (
	panelWidth, panelHeight = 330, 250
	plotLeft, plotTop       = 62, 46
	plotRight, plotBottom   = 24, 46
)

const chartStyle = `
  .paper { fill: #ffffff } .grid { stroke: #d8dee4; stroke-width: 1 } .axis { stroke: #57606a; stroke-width: 1 }
  text { font: 12px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600; font-size: 13px } .unit { fill: #57606a }
  .line { fill: none; stroke-width: 2 } .s0 { stroke: #0969da } .s1 { stroke: #bc4c00 } .d0 { fill: #0969da } .d1 { fill: #bc4c00 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } .grid { stroke: #30363d } .axis { stroke: #8b949e }
    text { fill: #e6edf3 } .unit { fill: #8b949e }
    .s0 { stroke: #58a6ff } .s1 { stroke: #f0883e } .d0 { fill: #58a6ff } .d1 { fill: #f0883e }
  }
`

// A panel is one pair of logarithmic axes.
type panel struct {
	title, x, y string
	lines       []line
}

type line struct {
	name   string
	xs, ys []float64
}

// growthChart draws a row of panels for each curve.
func growthChart(all []curve) string {
	var rows [][]panel
	for _, c := range all {
		of := func(name string, i int) line {
			l := line{name: name}
			for _, p := range c.points {
				if m := p.medians(); m != nil {
					l.xs, l.ys = append(l.xs, float64(p.n)), append(l.ys, m[i])
				}
			}
			return l
		}
		rows = append(rows, []panel{
			{"Requests a second", c.of, "requests/s", []line{of("", growthRate)}},
			{"p99 of a request", c.of, "ms", []line{of("", growthP99)}},
			{"Memory", c.of, "MB", []line{of("p", growthPublic), of(c.origin, growthOrigin)}},
		})
	}
	return chart(rows)
}

// chart writes panels in rows as an SVG picture.
func chart(rows [][]panel) string {
	wide := 0
	for _, r := range rows {
		wide = max(wide, len(r))
	}
	w, h := wide*panelWidth, len(rows)*panelHeight
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, "<title>How cost grows</title>\n<style>%s</style>\n<rect class=\"paper\" width=\"%d\" height=\"%d\"/>\n", chartStyle, w, h)
	for i, r := range rows {
		for j, p := range r {
			fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", j*panelWidth, i*panelHeight)
			p.draw(&b)
			b.WriteString("</g>\n")
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// An axis maps values to pixels, by their logarithms.
type axis struct {
	low, high float64 // values
	from, to  float64 // pixels
	ticks     []float64
}

// newAxis makes one from a power of ten to another, so that what hardly changes does
// not look as if it did. With fewer than three powers, their doubles and
// fivefolds are ticks too.
func newAxis(values []float64, from, to float64) axis {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if v > 0 {
			low, high = min(low, v), max(high, v)
		}
	}
	if low > high {
		low, high = 1, 10
	}
	first, last := int(math.Floor(math.Log10(low))), int(math.Ceil(math.Log10(high)))
	last = max(last, first+1)
	a := axis{low: math.Pow10(first), high: math.Pow10(last), from: from, to: to}
	for e := first; e <= last; e++ {
		a.ticks = append(a.ticks, math.Pow10(e))
		if e < last && last-first < 2 {
			a.ticks = append(a.ticks, 2*math.Pow10(e), 5*math.Pow10(e))
		}
	}
	return a
}

func (a axis) at(v float64) float64 {
	part := (math.Log10(v) - math.Log10(a.low)) / (math.Log10(a.high) - math.Log10(a.low))
	return a.from + part*(a.to-a.from)
}

func (p panel) draw(b *strings.Builder) {
	var xs, ys []float64
	for _, l := range p.lines {
		xs, ys = append(xs, l.xs...), append(ys, l.ys...)
	}
	x := newAxis(xs, plotLeft, panelWidth-plotRight)
	y := newAxis(ys, panelHeight-plotBottom, plotTop)
	text := func(x, y float64, class, anchor, s string) {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`+"\n", x, y, class, anchor, html.EscapeString(s))
	}
	text(plotLeft, 18, "title", "start", p.title)
	text(plotLeft, 35, "unit", "start", p.y)
	text((x.from+x.to)/2, panelHeight-10, "unit", "middle", p.x)
	for _, v := range x.ticks {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`+"\n", x.at(v), x.at(v), y.from, y.to)
		text(x.at(v), y.from+16, "", "middle", label(v))
	}
	for _, v := range y.ticks {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`+"\n", x.from, x.to, y.at(v), y.at(v))
		text(x.from-7, y.at(v)+4, "", "end", label(v))
	}
	fmt.Fprintf(b, `<path class="axis" fill="none" d="M%.1f %.1fV%.1fH%.1f"/>`+"\n", x.from, y.to, y.from, x.to)
	for i, l := range p.lines {
		var way strings.Builder
		for k := range l.xs {
			if l.ys[k] <= 0 {
				continue // has no place on a logarithmic axis
			}
			verb := "L"
			if way.Len() == 0 {
				verb = "M"
			}
			fmt.Fprintf(&way, "%s%.1f %.1f", verb, x.at(l.xs[k]), y.at(l.ys[k]))
			fmt.Fprintf(b, `<circle class="d%d" cx="%.1f" cy="%.1f" r="3"/>`+"\n", i, x.at(l.xs[k]), y.at(l.ys[k]))
		}
		if way.Len() > 0 {
			fmt.Fprintf(b, `<path class="line s%d" d="%s"/>`+"\n", i, way.String())
		}
		if l.name != "" {
			// A key in the row of the unit, away from the lines.
			at := float64(plotLeft + 60 + 70*i)
			fmt.Fprintf(b, `<path class="line s%d" d="M%.1f 31h16"/>`+"\n", i, at)
			text(at+21, 35, "", "start", l.name)
		}
	}
}

// label writes a tick.
func label(v float64) string {
	if v < 1 {
		return fmt.Sprintf("%g", math.Round(v*1e9)/1e9)
	}
	return thousands(int64(math.Round(v)))
}
