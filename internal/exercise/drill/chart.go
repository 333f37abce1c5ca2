package drill

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
)

// What plots look like. Sizes are in the units of the SVG.
const (
	chartWidth, chartHeight              = 640, 300
	marginLeft, marginRight              = 76, 16
	marginTop, marginBottom              = 14, 44
	rowHeight, dotRadius                 = 19, 6 // a row of the overview is of one run
	overviewLeft, overviewLegend         = 192, 30
	shortest                     float64 = 60 // seconds: the left end of a plot's time
)

// mark is how one set of defences is drawn: never by colour alone.
type mark struct{ class, dash string }

// marks draws each set of a result in its own way, the same in every plot.
func marks(r *Result) map[string]mark {
	fixed := map[string]mark{
		"all on": {"s0", ""}, "without budgets": {"s1", "8 4"}, "without canaries": {"s2", "2 4"},
		"without detection": {"s3", "10 3 2 3"}, "none": {"s4", "16 6"},
	}
	out := map[string]mark{}
	for _, v := range r.Variants {
		for _, run := range v.Runs {
			m, ok := fixed[run.Defence]
			if !ok {
				m = mark{"s5", "1 3"}
			}
			out[run.Defence] = m
		}
	}
	return out
}

// chartStyle colours plots, in light and in dark. It stands in each picture, so that one
// can be used alone.
const chartStyle = `
.bg{fill:#fff}.axis,.grid{stroke:#8a8f98;stroke-width:1;fill:none}.grid{stroke:#e3e5e9}
text{font:13.5px system-ui,sans-serif;fill:#22262c}@media (max-width:40rem){text{font-size:18px}}.dim{fill:#5a616b}
.fig{paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}
.line{fill:none;stroke-width:2.5}.bound{stroke:#22262c;stroke-width:1.2;stroke-dasharray:2 3;fill:none}
.s0{stroke:#0b7a53}.s1{stroke:#b45f06}.s2{stroke:#7a3fb5}.s3{stroke:#1f5fbf}.s4{stroke:#bf2b2b}.s5{stroke:#555b64}
.dot.s0{fill:#0b7a53}.dot.s1{fill:#b45f06}.dot.s2{fill:#7a3fb5}.dot.s3{fill:#1f5fbf}.dot.s4{fill:#bf2b2b}.dot.s5{fill:#555b64}
@media (prefers-color-scheme:dark){.bg{fill:#14171b}.axis{stroke:#8a919c}.grid{stroke:#2b3038}text{fill:#e7e9ec}.dim{fill:#a9b0ba}.fig{stroke:#14171b}
.bound{stroke:#e7e9ec}.s0{stroke:#3ecf9a}.s1{stroke:#f0a04b}.s2{stroke:#c79bf2}.s3{stroke:#7fb0ff}.s4{stroke:#ff7d7d}.s5{stroke:#b4bac3}
.dot.s0{fill:#3ecf9a}.dot.s1{fill:#f0a04b}.dot.s2{fill:#c79bf2}.dot.s3{fill:#7fb0ff}.dot.s4{fill:#ff7d7d}.dot.s5{fill:#b4bac3}}
`

type picture struct{ strings.Builder }

func (p *picture) printf(format string, args ...any) { fmt.Fprintf(&p.Builder, format, args...) }

func (p *picture) open(id, title, desc string, w, h int) {
	p.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="%s-t %s-d">`, w, h, id, id)
	p.printf(`<title id="%s-t">%s</title><desc id="%s-d">%s</desc><style>%s</style>`, id, html.EscapeString(title), id, html.EscapeString(desc), chartStyle)
	p.printf(`<rect class="bg" width="%d" height="%d"/>`, w, h)
}

func (p *picture) text(x, y float64, anchor, class, words string) {
	p.printf(`<text x="%.1f" y="%.1f" text-anchor="%s" class="%s">%s</text>`, x, y, anchor, class, html.EscapeString(words))
}

// dot draws the sign of a set of defences.
func (p *picture) dot(x, y float64, class string) {
	const r = dotRadius
	switch class {
	case "s1":
		p.printf(`<rect class="dot %s" x="%.1f" y="%.1f" width="%d" height="%d"/>`, class, x-r+1, y-r+1, 2*r-2, 2*r-2)
	case "s2":
		p.printf(`<path class="dot %s" d="M%.1f %.1fl%d %dh%dz"/>`, class, x, y-r, r, 2*r-1, -2*r)
	case "s3":
		p.printf(`<path class="dot %s" d="M%.1f %.1fl%d %dl%d %dl%d %dz"/>`, class, x, y-r, r, r, -r, r, -r, -r)
	case "s4": // a cross: the worst is not to be taken for anything else
		p.printf(`<path class="dot %s" style="stroke-width:3" d="M%.1f %.1fl%d %dm0 %dl%d %d"/>`, class, x-r+1, y-r+1, 2*r-2, 2*r-2, -2*r+2, -2*r+2, 2*r-2)
	case "s5":
		p.printf(`<path class="dot %s" d="M%.1f %.1fh%dv%dh%dz"/>`, class, x-r+1, y-2, 2*r-2, 4, -2*r+2)
	default:
		p.printf(`<circle class="dot %s" cx="%.1f" cy="%.1f" r="%d"/>`, class, x, y, r-1)
	}
}

// decades is the largest power of ten that is not above n.
func decades(n int) int { return int(math.Log10(float64(max(n, 10)))) }

// most is the largest number in a picture: the shop goes on to find customers.
func (r *Result) most() int {
	n := r.Customers
	for _, v := range r.Variants {
		for _, run := range v.Runs {
			n = max(n, run.Lost)
		}
	}
	return n
}

// places puts a number of customers on a logarithmic axis, which begins at 1 and ends at the
// most. Nobody lost is drawn at its beginning, and the figure at the mark says 0.
func places(n float64, most int) float64 {
	return math.Log10(max(n, 1)) / math.Log10(max(float64(most), 10))
}

// end is where the line of a run ends.
type end struct {
	x, y  float64
	class string
	words string
}

const figureHeight, figureWidth = 18, 76

// figures writes the figure of each end beside it, none over another and the largest number on
// top. Ends that lie on each other have their figures one below the other, each after its mark.
func (p *picture) figures(ends []end) {
	slices.SortStableFunc(ends, func(a, b end) int { return cmp.Compare(a.y, b.y) })
	for len(ends) > 0 {
		near := []end{ends[0]}
		var rest []end
		for _, e := range ends[1:] {
			last := near[len(near)-1]
			if math.Abs(e.x-near[0].x) < 2*figureWidth && e.y-last.y < figureHeight {
				near = append(near, e)
			} else {
				rest = append(rest, e)
			}
		}
		p.stack(near)
		ends = rest
	}
}

// stack writes the figures of ends that lie near each other.
func (p *picture) stack(near []end) {
	right := near[0].x
	for _, e := range near {
		right = max(right, e.x)
	}
	anchor, tx, mark := "start", right+dotRadius+4, 0.0
	if len(near) > 1 {
		mark = 2*dotRadius + 4
	}
	if tx+mark+figureWidth > chartWidth {
		anchor, tx = "end", near[0].x-dotRadius-4
	}
	height := float64(figureHeight * (len(near) - 1))
	top := (near[0].y+near[len(near)-1].y)/2 - height/2
	top = min(max(top, marginTop), chartHeight-marginBottom-6-height)
	for i, e := range near {
		y := top + float64(i*figureHeight)
		if mark > 0 {
			at := tx + dotRadius
			if anchor == "end" {
				at = tx - dotRadius
			}
			p.dot(at, y, e.class)
		}
		if anchor == "end" {
			p.text(tx-mark, y+4, anchor, "fig", e.words)
		} else {
			p.text(tx+mark, y+4, anchor, "fig", e.words)
		}
	}
}

func count(n int) string {
	switch {
	case n >= 1_000_000 && n%100_000 == 0:
		return strconv.FormatFloat(float64(n)/1e6, 'g', -1, 64) + " M"
	case n >= 1000:
		return count3(n)
	}
	return strconv.Itoa(n)
}

func count3(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Picture returns the plot of one variant: customers lost over time, for each set of
// defences, both on scales of powers of ten.
func Picture(r *Result, v *VariantResult) string {
	m := marks(r)
	top := decades(r.most())
	last := float64(r.HorizonDays) * 86400
	x := func(s int64) float64 {
		at := math.Log(max(float64(s), shortest)/shortest) / math.Log(last/shortest)
		return marginLeft + min(at, 1)*(chartWidth-marginLeft-marginRight)
	}
	y := func(n float64) float64 {
		return chartHeight - marginBottom - places(n, r.most())*(chartHeight-marginTop-marginBottom)
	}
	p := &picture{}
	var said []string
	for _, run := range v.Runs {
		said = append(said, fmt.Sprintf("%s: %s lost, %s", run.Defence, count(run.Lost), run.End()))
	}
	p.open("v"+v.Variant, v.Title+": customers lost over time", strings.Join(said, "; ")+".", chartWidth, chartHeight)
	for d := 0; d <= top; d++ {
		n := math.Pow10(d)
		p.printf(`<path class="grid" d="M%d %.1fH%d"/>`, marginLeft, y(n), chartWidth-marginRight)
		p.text(marginLeft-6, y(n)+4, "end", "dim", count(int(n)))
	}
	for _, t := range []struct {
		s    int64
		name string
	}{{60, "1 min"}, {600, "10 min"}, {3600, "1 h"}, {6 * 3600, "6 h"}, {86400, "1 d"}, {3 * 86400, "3 d"}, {14 * 86400, "14 d"}} {
		if float64(t.s) > last {
			break
		}
		p.printf(`<path class="axis" d="M%.1f %dv5"/>`, x(t.s), chartHeight-marginBottom)
		anchor := "middle"
		if x(t.s) > chartWidth-marginRight-12 {
			anchor = "end"
		}
		p.text(x(t.s), chartHeight-marginBottom+18, anchor, "dim", t.name)
	}
	p.printf(`<path class="axis" d="M%d %d.5H%d"/>`, marginLeft, chartHeight-marginBottom, chartWidth-marginRight)
	p.text(marginLeft, chartHeight-6, "start", "dim", "time since the attack began (both scales logarithmic)")
	var ends []end
	for i := range v.Runs {
		run := &v.Runs[i]
		k := m[run.Defence]
		p.printf(`<path class="line %s" stroke-dasharray="%s" d="M%.1f %.1f`, k.class, k.dash, x(0), y(0))
		for _, at := range run.Series {
			p.printf(`H%.1fV%.1f`, x(at[0]), y(float64(at[1])))
		}
		p.printf(`H%.1f"/>`, x(run.EndedAfter))
		ends = append(ends, end{x(run.EndedAfter), y(float64(run.Lost)), k.class, count(run.Lost)})
	}
	for _, e := range ends { // over all lines
		p.dot(e.x, e.y, e.class)
	}
	p.figures(ends)
	p.printf(`</svg>`)
	return p.String()
}

// Overview returns a picture of all variants: the customers lost with each set of
// defences.
func Overview(r *Result) string {
	m := marks(r)
	var order []string
	for _, off := range AllDefences() {
		if _, ok := m[Label(off)]; ok {
			order = append(order, Label(off))
		}
	}
	for i := range r.Variants {
		for _, run := range r.Variants[i].Runs {
			known := false
			for _, o := range order {
				known = known || o == run.Defence
			}
			if !known {
				order = append(order, run.Defence)
			}
		}
	}
	const perLine = 3
	lines := (len(order) + perLine - 1) / perLine
	top := decades(r.most())
	band := 12 // of one attack: a line for each set of defences
	for _, v := range r.Variants {
		band = max(band, 12+len(v.Runs)*rowHeight)
	}
	height := marginTop + lines*24 + 10 + len(r.Variants)*band + marginBottom
	begin := float64(marginTop + lines*24 + 10)
	x := func(n float64) float64 {
		return overviewLeft + places(n, r.most())*(chartWidth-overviewLeft-2*marginRight)
	}
	p := &picture{}
	var said []string
	for _, v := range r.Variants {
		for _, run := range v.Runs {
			said = append(said, fmt.Sprintf("%s, %s: %s", v.Title, run.Defence, count(run.Lost)))
		}
	}
	p.open("overview", fmt.Sprintf("Customers lost of %s, by attack and defences", count(r.Customers)), strings.Join(said, "; ")+".", chartWidth, height)
	for i, name := range order {
		cx, cy := 16+float64(i%perLine)*206, float64(marginTop+i/perLine*24+6)
		p.dot(cx, cy, m[name].class)
		p.text(cx+12, cy+5, "start", "", name)
	}
	bottom := begin + float64(len(r.Variants)*band)
	for d := 0; d <= top; d++ {
		n := math.Pow10(d)
		p.printf(`<path class="grid" d="M%.1f %.1fV%.1f"/>`, x(n), begin, bottom)
		p.text(x(n), bottom+18, "middle", "dim", count(int(n)))
	}
	for i, v := range r.Variants {
		cy := begin + (float64(i)+0.5)*float64(band)
		p.text(12, cy+4, "start", "", v.Variant+"  "+v.Title)
		p.printf(`<path class="grid" d="M12 %.1fH%d"/>`, begin+float64((i+1)*band), chartWidth-marginRight)
		for j := range v.Runs {
			run := &v.Runs[j]
			at, y := x(float64(run.Lost)), cy+(float64(j)-float64(len(v.Runs)-1)/2)*rowHeight
			p.dot(at, y, m[run.Defence].class)
			if at+dotRadius+figureWidth > chartWidth {
				p.text(at-dotRadius-4, y+4, "end", "", count(run.Lost))
			} else {
				p.text(at+dotRadius+4, y+4, "start", "", count(run.Lost))
			}
		}
	}
	p.text(12, bottom+38, "start", "dim", "customers lost (logarithmic scale)")
	p.printf(`</svg>`)
	return p.String()
}
