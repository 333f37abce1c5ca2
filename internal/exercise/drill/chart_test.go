package drill

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// played is a result as a drill writes it, with these losses in the order of AllDefences.
func played(lost map[string][]int) *Result {
	r := &Result{Customers: 200_000, HorizonDays: 14}
	for _, v := range Variants() {
		list, ok := lost[v.Name]
		if !ok {
			continue
		}
		x := VariantResult{Variant: v.Name, Title: v.Title}
		for i, n := range list {
			at := int64(2400)
			run := RunResult{Defence: Label(AllDefences()[i]), Lost: n, EndedAfter: 2400, WithinBound: true, Exact: true, Bystanders: &Bystanders{}, Series: [][2]int64{{60, int64(n)}}}
			if i == 0 {
				run.Contained = &at
			}
			x.Runs = append(x.Runs, run)
		}
		r.Variants = append(r.Variants, x)
	}
	return r
}

var shapes = regexp.MustCompile(`class="dot s\d"|x="[^"]*"|y="[^"]*"|cx="[^"]*"|cy="[^"]*"|M[-0-9.]+ [-0-9.]+`)

// Sets of defences differ by the shape of their mark and by their dashes, not by colour alone.
func TestMarksDifferWithoutColour(t *testing.T) {
	t.Parallel()
	r := played(map[string][]int{"a": {39, 1847, 40, 39, 209_983}})
	shape, dash := map[string]string{}, map[string]string{}
	for name, m := range marks(r) {
		p := &picture{}
		p.dot(100, 100, m.class)
		form := shapes.ReplaceAllString(p.String(), "")
		if other, twice := shape[form]; twice {
			t.Errorf("%s and %s have one mark", name, other)
		}
		if other, twice := dash[m.dash]; twice {
			t.Errorf("%s and %s have one dash", name, other)
		}
		shape[form], dash[m.dash] = name, name
	}
	if len(shape) != 5 {
		t.Errorf("%d marks", len(shape))
	}
}

// A logarithmic axis has no zero; figures stand at the marks, a 0 too.
func TestPicturesSayTheirFigures(t *testing.T) {
	t.Parallel()
	r := played(map[string][]int{"a": {0, 1847, 40, 39, 209_983}, "d": {20, 20, 103, 20, 632}})
	for what, svg := range map[string]string{"overview": Overview(r), "a": Picture(r, &r.Variants[0])} {
		if strings.Contains(svg, `class="dim">0<`) || !strings.Contains(svg, `class="dim">1<`) {
			t.Errorf("%s: the axis begins with 0, or not with 1", what)
		}
		for _, figure := range []string{"0", "1,847", "40", "39", "209,983"} {
			if !strings.Contains(svg, `class="`+map[string]string{"overview": "", "a": "fig"}[what]+`">`+figure+`</text>`) {
				t.Errorf("%s: no figure %s at a mark", what, figure)
			}
		}
		wellFormed(t, []byte(svg))
	}
}

// Where lines end on each other, each figure stands after the mark that it is of, the largest
// number on top, and none over another.
func TestFiguresOfEndsThatLieOnEachOther(t *testing.T) {
	t.Parallel()
	r := played(map[string][]int{"a": {40, 209_000, 40, 39, 209_983}})
	figures := regexp.MustCompile(`class="dot (s\d)"[^>]*/><text x="[^"]*" y="([^"]*)" text-anchor="start" class="fig">([^<]*)</text>`).FindAllStringSubmatch(Picture(r, &r.Variants[0]), -1)
	var got []string
	last := -100.0
	for _, f := range figures {
		y, err := strconv.ParseFloat(f[2], 64)
		if err != nil || y-last < 13.5 {
			t.Errorf("%s stands at %s, the one before at %.1f", f[3], f[2], last)
		}
		last = y
		got = append(got, f[1]+" "+f[3])
	}
	if want := "s4 209,983, s1 209,000, s0 40, s2 40, s3 39"; strings.Join(got, ", ") != want {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
}

// The verdict is of what was played.
func TestTheVerdict(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]*Result{
		"the worst of 2 attacks (stolen associates) got the data of 2,247 of 209,983 customers (1.1 %); it was contained after 40 min. With none, the worst got 209,983 (100 %).": played(map[string][]int{"a": {39, 1847, 40, 39, 209_983}, "c": {2247, 4107, 2360, 19_231, 209_983}}),
		"the attack (walking) got the data of 40 of 200,000 customers (0.02 %); it was contained after 40 min.":                                                                   played(map[string][]int{"e": {40}}),
		"broke a promise": func() *Result {
			r := played(map[string][]int{"a": {39}})
			r.Variants[0].Runs[0].Exact = false
			return r
		}(),
	} {
		if got := r.Verdict(); !strings.HasSuffix(strings.TrimSuffix(got, ": do not rely on it before that is mended."), want) {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	c := Config{Customers: 20_000}
	if s := c.story(Variants()[2]); !strings.Contains(s, "The keys of 4 store associates") {
		t.Error(s)
	}
}

// The page is well formed at every number of attacks and sets of defences.
func TestThePageOfAFewRuns(t *testing.T) {
	t.Parallel()
	page(t, played(map[string][]int{"a": {0, 1847, 40, 39, 209_983}, "d": {20, 20, 103, 20, 632}}))
	page(t, played(map[string][]int{"e": {40}}))
}
