package disclose

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"unicode"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/door"
)

const (
	// fewest is how many customers of one batch must share the name of a region before it is
	// written down: what fewer have may be anything that somebody typed.
	fewest = 10
	// maxRegion is the longest name of a region that is counted by itself, in bytes.
	maxRegion = 40
	// maxPlaces bounds the rows of a breakdown, so that they fit an entry of the log.
	maxPlaces = 500
	// Other stands for regions that are not counted by themselves.
	Other = "other"
)

// Places opens country, region and standing of a batch and adds them to a breakdown. Nothing
// of a customer leaves it but that they count.
func (d *Desk) Places(ctx context.Context, v *door.Visit, b *Batch, ticket string, from int, counts string, into *api.Breakdown) error {
	profiles, err := d.open(ctx, v, b, ticket, from, counts)
	if err != nil {
		return err
	}
	there := b.sealed.Ords()
	gone := slices.DeleteFunc(slices.Clone(b.ords), func(ord record.Ordinal) bool {
		_, ok := slices.BinarySearch(there, ord)
		return ok
	})
	if len(gone) > 0 {
		cooling, err := d.Ledger.Cooling(ctx, v.Brand.ID, gone)
		if err != nil {
			return err
		}
		into.Cooling += cooling.Len()
		into.Erased += len(gone) - cooling.Len()
	}
	held, err := d.Ledger.Held(ctx, v.Brand.ID, b.ords)
	if err != nil {
		return err
	}
	into.Held += held.Len()
	into.Opened += len(profiles)
	p := newPlaces(into)
	for i := range profiles {
		x := &profiles[i]
		p.add(x.Value(record.Country), x.Value(record.Region))
		for word := range strings.SplitSeq(x.Value(record.Standing), ",") {
			switch word {
			case record.Deceased:
				into.Deceased++
			case record.Minor:
				into.Minors++
			case record.Represented, record.DoNotWrite, record.ErasureAsked:
				p.protected[i] = true
			}
		}
	}
	into.Protected += len(p.protected)
	p.finish(into)
	return nil
}

// place is a row of a breakdown.
type place struct{ country, region string }

// places counts customers by country and region.
type places struct {
	rows      map[place]int
	batch     map[place]int // of names that are written down only where several share them
	protected map[int]bool
}

func newPlaces(before *api.Breakdown) *places {
	p := &places{map[place]int{}, map[place]int{}, map[int]bool{}}
	for _, r := range before.Places {
		p.rows[place{r.Country, r.Region}] = r.Records
	}
	return p
}

func (p *places) add(country, region string) {
	if len(country) != 2 {
		country = "" // of an older release, as it was written
	}
	name, known := regionOf(country, region)
	if known {
		p.count(place{country, name}, 1)
		return
	}
	p.batch[place{country, name}]++
}

// count adds to a row. When there are as many as fit, what is new counts with other regions
// of its country.
func (p *places) count(at place, n int) {
	if _, ok := p.rows[at]; !ok && len(p.rows) >= maxPlaces && at.region != "" {
		at.region = Other
	}
	p.rows[at] += n
}

func (p *places) finish(into *api.Breakdown) {
	order := func(a, b place) int {
		return cmp.Or(cmp.Compare(a.country, b.country), cmp.Compare(a.region, b.region))
	}
	var names []place
	for at := range p.batch {
		names = append(names, at)
	}
	slices.SortFunc(names, order) // so that which rows fit does not hang on chance
	for _, at := range names {
		n := p.batch[at]
		if n < fewest {
			at.region = Other
		}
		p.count(at, n)
	}
	into.Places = into.Places[:0]
	for at, n := range p.rows {
		into.Places = append(into.Places, api.BreakdownPlace{Country: at.country, Region: at.region, Records: n})
	}
	slices.SortFunc(into.Places, func(a, b api.BreakdownPlace) int {
		return order(place{a.Country, a.Region}, place{b.Country, b.Region})
	})
}

// regionOf returns the region as it is counted, and whether it is of a closed set: a code, or
// nothing. A name of a state of the United States or a province of Canada becomes its code,
// because duties hang on it. What could not be a name is other.
func regionOf(country, region string) (name string, known bool) {
	region = strings.Join(strings.Fields(region), " ")
	if region == "" {
		return "", true
	}
	upper := strings.ToUpper(region)
	upper = strings.TrimPrefix(upper, country+"-")
	if codes, ok := states[country]; ok {
		if slices.Contains(codes.all, upper) {
			return upper, true
		}
		if code, ok := codes.named[upper]; ok {
			return code, true
		}
		return Other, true
	}
	if len(upper) <= 3 && strings.Trim(upper, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == "" {
		return upper, false
	}
	if len(region) > maxRegion {
		return Other, true
	}
	for _, r := range region {
		if !unicode.IsLetter(r) && !unicode.IsMark(r) && !strings.ContainsRune(" -'.’", r) {
			return Other, true
		}
	}
	return region, false
}

// codes are the regions of a country.
type codes struct {
	all   []string
	named map[string]string
}

func codesOf(text string) codes {
	c := codes{named: map[string]string{}}
	for line := range strings.SplitSeq(text, ";") {
		code, names, _ := strings.Cut(strings.TrimSpace(line), " ")
		c.all = append(c.all, code)
		for name := range strings.SplitSeq(names, "|") {
			c.named[strings.ToUpper(name)] = code
		}
	}
	return c
}

// states are the regions by which the law of a country differs (ISO 3166-2).
var states = map[string]codes{
	"US": codesOf(`AL Alabama;AK Alaska;AZ Arizona;AR Arkansas;CA California;CO Colorado;CT Connecticut;DE Delaware;DC District of Columbia|Washington DC|Washington D.C.;
FL Florida;GA Georgia;HI Hawaii|Hawai'i;ID Idaho;IL Illinois;IN Indiana;IA Iowa;KS Kansas;KY Kentucky;LA Louisiana;ME Maine;MD Maryland;MA Massachusetts;
MI Michigan;MN Minnesota;MS Mississippi;MO Missouri;MT Montana;NE Nebraska;NV Nevada;NH New Hampshire;NJ New Jersey;NM New Mexico;NY New York;
NC North Carolina;ND North Dakota;OH Ohio;OK Oklahoma;OR Oregon;PA Pennsylvania;RI Rhode Island;SC South Carolina;SD South Dakota;TN Tennessee;
TX Texas;UT Utah;VT Vermont;VA Virginia;WA Washington;WV West Virginia;WI Wisconsin;WY Wyoming;PR Puerto Rico;GU Guam;VI Virgin Islands|U.S. Virgin Islands;
AS American Samoa;MP Northern Mariana Islands`),
	"CA": codesOf(`AB Alberta;BC British Columbia;MB Manitoba;NB New Brunswick;NL Newfoundland and Labrador|Newfoundland;NS Nova Scotia;NT Northwest Territories;
NU Nunavut;ON Ontario;PE Prince Edward Island;QC Quebec|Québec;SK Saskatchewan;YT Yukon`),
}
