package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// panel is one plot: both axes logarithmic.
type panel struct {
	title string
	lines []series
}

type series struct {
	label  string
	points []point
}

type point struct{ x, y float64 }

const (
	panelWidth, panelHeight = 420, 300
	plotLeft, plotTop       = 58, 34
	plotWidth, plotHeight   = 344, 180
	legendTop               = plotTop + plotHeight + 38
	columns                 = 2
)

// style is readable on light and on dark ground. Lines differ by dashes and marks
// too, not by colour alone.
const style = `<style>
svg { --ink: #1f2328; --soft: #59636e; --grid: #d1d9e0; --ground: #ffffff; --c0: #0969da; --c1: #bc4c00; --c2: #1a7f37; --c3: #8250df }
@media (prefers-color-scheme: dark) { svg { --ink: #f0f6fc; --soft: #9198a1; --grid: #3d444d; --ground: #0d1117; --c0: #4493f8; --c1: #f0883e; --c2: #3fb950; --c3: #ab7df8 } }
text { font: 12px system-ui, sans-serif; fill: var(--ink) } .soft { fill: var(--soft) } .title { font-weight: 600; font-size: 13px }
.grid { stroke: var(--grid); stroke-width: 1 } .ground { fill: var(--ground) } .line { fill: none; stroke-width: 2 }
.s0 { stroke: var(--c0) } .s1 { stroke: var(--c1); stroke-dasharray: 7 3 } .s2 { stroke: var(--c2); stroke-dasharray: 2 3 } .s3 { stroke: var(--c3); stroke-dasharray: 9 3 2 3 }
.m0 { fill: var(--c0) } .m1 { fill: var(--c1) } .m2 { fill: var(--c2) } .m3 { fill: var(--c3) }
</style>
`

// plot draws the panels as one SVG.
func plot(panels []panel) string {
	var b strings.Builder
	height := (len(panels) + columns - 1) / columns * panelHeight
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="How the vault grows with its customers; the table beside it has the numbers">`+"\n%s", columns*panelWidth, height, style)
	fmt.Fprintf(&b, `<rect class="ground" width="%d" height="%d"/>`+"\n", columns*panelWidth, height)
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%columns*panelWidth, i/columns*panelHeight)
		p.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// decades returns the powers of ten around values, at least one apart.
func decades(values []float64) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		lo, hi = min(lo, v), max(hi, v)
	}
	if lo > hi {
		return 0, 1
	}
	lo, hi = math.Floor(math.Log10(lo)), math.Ceil(math.Log10(hi))
	return lo, max(hi, lo+1)
}

func (p *panel) draw(b *strings.Builder) {
	var xs, ys []float64
	for _, s := range p.lines {
		for _, q := range s.points {
			xs, ys = append(xs, q.x), append(ys, q.y)
		}
	}
	x0, x1 := decades(xs)
	y0, y1 := decades(ys)
	x := func(v float64) float64 { return plotLeft + plotWidth*(math.Log10(v)-x0)/(x1-x0) }
	y := func(v float64) float64 { return plotTop + plotHeight*(1-(math.Log10(v)-y0)/(y1-y0)) }
	fmt.Fprintf(b, `<text class="title" x="%d" y="20">%s</text>`+"\n", plotLeft, html.EscapeString(p.title))
	for e := x0; e <= x1; e++ {
		at := x(math.Pow(10, e))
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="soft" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", at, at, plotTop, plotTop+plotHeight, at, plotTop+plotHeight+17, short(e))
	}
	for e := y0; e <= y1; e++ {
		at := y(math.Pow(10, e))
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="soft" x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", plotLeft, plotLeft+plotWidth, at, at, plotLeft-6, at+4, short(e))
	}
	for i, s := range p.lines {
		if len(s.points) == 0 {
			continue
		}
		var path strings.Builder
		for j, q := range s.points {
			fmt.Fprintf(&path, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[j == 0], x(q.x), y(q.y))
		}
		fmt.Fprintf(b, `<path class="line s%d" d="%s"/>`+"\n", i, path.String())
		for _, q := range s.points {
			mark(b, i, x(q.x), y(q.y), fmt.Sprintf("%s: %.4g at %.0f customers", s.label, q.y, q.x))
		}
		lx, ly := plotLeft+float64(i%2)*plotWidth/2, float64(legendTop+i/2*17)
		fmt.Fprintf(b, `<line class="line s%d" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, i, lx, lx+22, ly-4, ly-4)
		mark(b, i, lx+11, ly-4, "")
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%s</text>`+"\n", lx+28, ly, html.EscapeString(s.label))
	}
}

// mark draws a circle, a square, a triangle or a diamond.
func mark(b *strings.Builder, i int, x, y float64, says string) {
	title := ""
	if says != "" {
		title = "<title>" + html.EscapeString(says) + "</title>"
	}
	switch i {
	case 0:
		fmt.Fprintf(b, `<circle class="m0" cx="%.1f" cy="%.1f" r="4">%s</circle>`, x, y, title)
	case 1:
		fmt.Fprintf(b, `<rect class="m1" x="%.1f" y="%.1f" width="7" height="7">%s</rect>`, x-3.5, y-3.5, title)
	case 2:
		fmt.Fprintf(b, `<path class="m2" d="M%.1f %.1fl4.5 8h-9z">%s</path>`, x, y-5, title)
	default:
		fmt.Fprintf(b, `<path class="m3" d="M%.1f %.1fl5 5l-5 5l-5 -5z">%s</path>`, x, y-5, title)
	}
	b.WriteByte('\n')
}

// short writes a power of ten: 0.01, 10, 1k, 10M.
func short(e float64) string {
	v := math.Pow(10, e)
	switch {
	case e >= 9:
		return fmt.Sprintf("%.0fG", v/1e9)
	case e >= 6:
		return fmt.Sprintf("%.0fM", v/1e6)
	case e >= 3:
		return fmt.Sprintf("%.0fk", v/1e3)
	}
	return fmt.Sprintf("%g", v)
}
