package structure

import (
	"fmt"
	"go/ast"
	"go/types"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The packages that may open, and what they hand out.
const (
	openerDir   = "internal/vault/internal/opener"
	sealDir     = "internal/vault/seal"
	discloseDir = "internal/vault/disclose"

	profileType = sealDir + ".Profile"
	permitType  = openerDir + ".Permit"
)

// openers are the packages that may import the opener, and why.
var openers = map[string]string{
	sealDir:     "keeps the sealed records, and opens them for the functions listed below",
	discloseDir: "is the one way to a customer's data: it makes the permit",
}

// opening is a function that may open something sealed, or get it opened.
type opening struct {
	passes bool   // what it opened to its callers: they are listed, too
	why    string // not to
}

// openingRoots are what opens at all: every function that uses one is listed in openings.
var openingRoots = []string{openerDir + ".Open", openerDir + ".OpenBy", openerDir + ".Allow", "(crypto/cipher.AEAD).Open"}

var openings = map[string]opening{
	// Of customers, with a receipt.
	"(*internal/vault/seal.Store).Open":        {true, "takes the receipt that covers customers and fields, and a permit"},
	"(*internal/vault/disclose.Released).Open": {false, "the last step of the staircase: its receipt was given a line before"},
	"(*internal/vault/disclose.Desk).open":     {false, "the same steps for customers of an approved scope, whom the vault counts: it gives them to Places alone, which counts"},
	"(*internal/vault/seal.Store).Match":       {true, "an export's filter, with the receipt of an entry that names its fields: it says who meets it, and no more"},
	"(*internal/vault/export.Desk).match":      {false, "logs that the filter looks at everybody, and then does"},
	"(*internal/vault/seal.Store).Learn":       {true, "the likeness that canaries are made by, with the receipt of an entry about them: it keeps what many have in common"},
	"(*internal/watch/canary.Desk).placeNow":   {false, "logs that canaries are made, and then learns what customers are like"},

	"(*internal/vault/intake.Queue).open": {false, "a write that waits under a standing approval, to be written: it is answered to nobody"},
	"(*internal/vault/change.Desk).open":  {false, "what somebody asked for that needs a second person: of staff and settings, and no customer"},

	// Of customers, without a receipt that names them. None gives a value away.
	"(*internal/vault/seal.Unopened).matches":          {true, "says whether a customer has the value that a search was for: by chance a blind index finds others"},
	"(*internal/vault/seal.Unopened).Confirm":          {true, "drops those whom a search found by chance, so that the log names only those who have the value"},
	"(*internal/vault/disclose.Desk).Search":           {false, "confirms before it logs: who was found by chance is not disclosed"},
	"(*internal/vault/seal.Store).compare":             {true, "holds the rows of a sample against the customers whom they lead to: it says which fields agree, and gives no value"},
	"(*internal/vault/seal.Store).Compare":             {true, "the same, with the receipt of the entry that counts every row"},
	"(*internal/respond/claim.Check).match":            {false, "counts the rows that agree, once the entry of the claim is logged"},
	"(*internal/vault/seal.brandKeys).update":          {false, "compares a write with what is stored: the answer is that it changed or did not"},
	"(*internal/vault/seal.Store).RehearseCustomers":   {false, "compares a write with what is stored, as update does, and writes nothing"},
	"(*internal/vault/seal.Store).RehearsePurchases":   {false, "compares a write with what is stored, as PreparePurchases and append do, and writes nothing"},
	"(*internal/vault/seal.Store).PreparePurchasesBut": {false, "compares the external id that was asked for with the stored one: an index value may be shared"},
	"(*internal/vault/seal.packer).append":             {false, "compares purchases with those stored, and packs them again"},
	"(*internal/vault/seal.inspector).customer":        {false, "`db check`: which index rows a customer should have"},
	"(*internal/vault/seal.inspector).index":           {false, "`db check`: says whether an index row is its customer's"},
	"(*internal/vault/seal.mover).plan":                {false, "a rotation: index values under the new key, from the profiles"},
	"(*internal/vault/seal.Store).Untaken":             {false, "says whether the external id of a customer whose erasure is taken back became another's"},
	"(*internal/vault/seal.Store).remain":              {false, "the values by which an erased customer is known again, as keyed hashes"},
	"(*internal/vault/seal.wards).lessen":              {false, "compares a write with what is stored: which of its values an erased customer had, and this one has not"},
	"(*internal/vault/seal.brandKeys).indexes":         {false, "indexes a customer again whose erasure is taken back"},
	"(*internal/vault/seal.brandKeys).unindex":         {false, "reads which index values to delete with the customer, and by which address an erasure is taken back"},
	"(*internal/vault/seal.inspector).opens":           {true, "`db check`: says of each record whether it opens"},
	"(*internal/vault/seal.inspector).cooling":         {false, "`db check`: the same of a customer whose erasure cools"},

	// What passes customers on inside the store.
	openerDir + ".OpenBy":                       {true, "the cipher"},
	openerDir + ".Open":                         {true, "the cipher"},
	"(*internal/vault/seal.rows).openProfile":   {true, "decodes a profile for the functions above"},
	"(*internal/vault/seal.rows).openPurchases": {true, "decodes purchases for the functions above"},

	// Rows that tombstones keep out.
	"(*internal/vault/seal.withheld).open": {false, "a row that stays out, of which the request desk sees the external id"},

	// Keys, and what is sealed and no customer's.
	"(*internal/vault/seal.unwrapper).unwrap":   {false, "a customer's key, into the rows of the store: the log key makes the entry's commitment"},
	"(*internal/vault/seal.Store).unlay":        {false, "a customer's key that lies aside, into the rows of the store"},
	"(*internal/vault/seal.wrapper).rewrap":     {false, "a customer's key, from under one KEK to under another"},
	"internal/vault/seal.openProduct":           {true, "a product of the catalogue, which several customers bought"},
	"(*internal/vault/seal.Store).products":     {false, "the catalogue, to decode purchases with"},
	"(*internal/vault/seal.Store).findProducts": {false, "the catalogue, to number the products of a write"},
	"(*internal/vault/seal.Extract).Open":       {true, "what the vault keeps of an export: its list of ordinals and its filter"},
	"(*internal/vault/export.Desk).Gather":      {false, "an export's own filter, to go on with it"},
	"(*internal/vault/export.Store).named":      {false, "to whom an export's files are encrypted: a public key"},
	"internal/vault/export.openList":            {false, "an export's ordinals"},
	"(internal/platform/keys.MonthKey).Open":    {true, "the values of log entries: they name staff, and no customer"},
	"(*internal/vault/ledger.opener).values":    {false, "the values of log entries: they name staff, and no customer"},
	"(*internal/platform/follow.shelf).load":    {false, "a follower's snapshot: what detection counts, by numbers of customers"},
	"internal/platform/keys.unwrap":             {false, "brands' keys, under the root key"},
	"(*internal/watch/canary.Store).read":       {false, "which customers are canaries"},
	"(*internal/watch/canary.MailDesk).who":     {false, "the canary that a mail went to"},
	"(*internal/watch/canary.Store).Marked":     {false, "how many canaries a write met, for detection"},
	"(*internal/vault/signin.Desk).take":        {false, "what a browser carries between two steps of signing in"},
	"internal/watch/notify.open":                {false, "the address and secret of a receiver of alarms"},
}

// ciphers are the packages that may import a cipher, or what gets around types.
var ciphers = map[string]map[string]string{
	"crypto/aes": {
		"internal/platform/follow": "seals the snapshots of followers",
		"internal/platform/keys":   "wraps brands' keys under the root key",
		openerDir:                  "opens records",
		sealDir:                    "enciphers ordinals into tokens",
	},
	"crypto/cipher": {
		"internal/platform/follow": "seals the snapshots of followers",
		"internal/platform/keys":   "wraps brands' keys under the root key",
		openerDir:                  "opens records",
		sealDir:                    "seals records, with a key that is set up once",
	},
	"unsafe": {},
	"reflect": {
		"internal/platform/entry": "reads and writes the details of entries by their types",
		"internal/web/server":     "looks at the types of requests, to describe them",
	},
}

// checkOpenings finds who opens sealed things: every use of a root, or of a listed
// function that passes on what it opened, as a call, a value, a promoted method or through
// an interface of the same shape.
func checkOpenings(t *typed, pkgs []*checked, list map[string]opening) (faults []string, used map[string]bool) {
	used = map[string]bool{}
	guarded := map[string]bool{}
	for _, r := range openingRoots {
		guarded[r] = true
	}
	for name, o := range list {
		if o.passes {
			guarded[name] = true
		}
	}
	shapes := shapesOf(t, guarded)
	for _, p := range pkgs {
		p.within(func(in string, n ast.Node) {
			switch n := n.(type) {
			case *ast.Ident:
				f, ok := p.info.Uses[n].(*types.Func)
				if !ok || !guarded[short(f)] {
					return
				}
				if _, ok := list[in]; ok {
					used[in] = true
					return
				}
				faults = append(faults, fmt.Sprintf("%s: %s opens something sealed, by %s: go through disclose, or list it with its reason", t.at(n.Pos()), in, short(f)))
			case *ast.InterfaceType:
				it, ok := p.info.Types[n].Type.(*types.Interface)
				if !ok {
					return
				}
				for m := range it.ExplicitMethods() {
					for _, s := range shapes {
						if s.fits(p.pkg, m) {
							faults = append(faults, fmt.Sprintf("%s: an interface in %s has the shape of %s, and could hide it: use the type itself", t.at(n.Pos()), in, s.name))
						}
					}
				}
			}
		})
	}
	return faults, used
}

// shape is a guarded method as an interface could have it.
type shape struct {
	name, method, pkg string
	params, results   int
}

func (s shape) fits(in *types.Package, m *types.Func) bool {
	sig := m.Signature()
	return m.Name() == s.method && (m.Exported() || in.Path() == s.pkg) && sig.Params().Len() == s.params && sig.Results().Len() == s.results
}

func shapesOf(t *typed, guarded map[string]bool) (out []shape) {
	for _, dir := range t.dirs {
		p := t.pkgs[dir]
		for _, o := range p.info.Defs {
			if f, ok := o.(*types.Func); ok && f.Signature().Recv() != nil && guarded[short(f)] {
				out = append(out, shape{short(f), f.Name(), p.pkg.Path(), f.Signature().Params().Len(), f.Signature().Results().Len()})
			}
		}
	}
	return append(out, shape{"cipher.AEAD's Open", "Open", "crypto/cipher", 4, 2})
}

// checkReadable finds opened customers, and the permit to open them, outside the packages
// that may have them: as a type that is named, and as the type of anything.
func checkReadable(t *typed, pkgs []*checked) (faults []string) {
	for _, p := range pkgs {
		if _, ok := openers[p.dir]; ok || p.dir == openerDir {
			faults = append(faults, checkExported(t, p)...)
			continue
		}
		seen := map[int]bool{} // one fault a line
		for e, tv := range p.info.Types {
			if what := mentions(tv.Type, nil); what != "" && !tv.IsBuiltin() && !isMethodOf(p, e) {
				pos := t.fset.Position(e.Pos())
				if !seen[pos.Line] {
					seen[pos.Line] = true
					faults = append(faults, fmt.Sprintf("%s: %s has a %s in hand: go through disclose", t.at(e.Pos()), p.dir, what))
				}
			}
		}
		for id, inst := range p.info.Instances {
			for i := range inst.TypeArgs.Len() {
				if what := mentions(inst.TypeArgs.At(i), nil); what != "" {
					faults = append(faults, fmt.Sprintf("%s: %s has a %s in hand: go through disclose", t.at(id.Pos()), p.dir, what))
				}
			}
		}
	}
	return faults
}

// isMethodOf leaves uses of the guarded methods themselves to checkOpenings, which names
// them.
func isMethodOf(p *checked, e ast.Expr) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	f, ok := p.info.Uses[s.Sel].(*types.Func)
	return ok && strings.HasPrefix(short(f), "(*"+sealDir+".Store)")
}

// checkExported holds that what others can call of a package hands out nothing readable.
func checkExported(t *typed, p *checked) (faults []string) {
	if p.dir == openerDir {
		return nil
	}
	say := func(o types.Object, what string) {
		if name := short(o); name != "(*"+sealDir+".Store).Open" {
			faults = append(faults, fmt.Sprintf("%s: %s hands a %s to its callers", t.at(o.Pos()), name, what))
		}
	}
	for _, name := range p.pkg.Scope().Names() {
		o := p.pkg.Scope().Lookup(name)
		if !o.Exported() || short(o) == profileType {
			continue
		}
		tn, isType := o.(*types.TypeName)
		if !isType {
			if what := mentions(o.Type(), nil); what != "" {
				say(o, what)
			}
			continue
		}
		if what := mentions(tn.Type().Underlying(), exportedOnly); what != "" {
			say(o, what)
		}
		for m := range types.NewMethodSet(types.NewPointer(tn.Type())).Methods() {
			if what := mentions(m.Type(), nil); what != "" && m.Obj().Exported() {
				say(m.Obj(), what)
			}
		}
	}
	return faults
}

func exportedOnly(v *types.Var) bool { return v.Exported() }

// mentions says which guarded type stands in a type, "" for none. field, if set, says
// which fields of structs count.
func mentions(x types.Type, field func(*types.Var) bool) string {
	var walk func(x types.Type, depth int) string
	walk = func(x types.Type, depth int) string {
		if depth > 8 || x == nil {
			return ""
		}
		tuple := func(list *types.Tuple) string {
			for i := range list.Len() {
				if what := walk(list.At(i).Type(), depth+1); what != "" {
					return what
				}
			}
			return ""
		}
		switch x := types.Unalias(x).(type) {
		case *types.Named:
			if s := short(x.Obj()); s == profileType || s == permitType {
				return s
			}
			for i := range x.TypeArgs().Len() {
				if what := walk(x.TypeArgs().At(i), depth+1); what != "" {
					return what
				}
			}
		case *types.Pointer:
			return walk(x.Elem(), depth+1)
		case *types.Slice:
			return walk(x.Elem(), depth+1)
		case *types.Array:
			return walk(x.Elem(), depth+1)
		case *types.Chan:
			return walk(x.Elem(), depth+1)
		case *types.Map:
			return walk(x.Key(), depth+1) + walk(x.Elem(), depth+1)
		case *types.Tuple:
			return tuple(x)
		case *types.Signature:
			return tuple(x.Params()) + tuple(x.Results())
		case *types.Struct:
			for f := range x.Fields() {
				if field != nil && !field(f) {
					continue
				}
				if what := walk(f.Type(), depth+1); what != "" {
					return what
				}
			}
		case *types.Interface:
			for m := range x.Methods() {
				if what := walk(m.Type(), depth+1); what != "" {
					return what
				}
			}
		}
		return ""
	}
	return walk(x, 0)
}

// checkCiphers finds packages that open by themselves, or get around types.
func checkCiphers(t *typed, pkgs []*checked) (faults []string) {
	for _, p := range pkgs {
		for _, f := range p.files {
			for _, imp := range f.Imports {
				name, _ := strconv.Unquote(imp.Path.Value)
				if name == module+"/"+openerDir && openers[p.dir] == "" {
					faults = append(faults, fmt.Sprintf("%s: %s imports the opener: go through disclose", t.at(imp.Pos()), p.dir))
				}
				if may, ok := ciphers[name]; ok && may[p.dir] == "" {
					faults = append(faults, fmt.Sprintf("%s: %s imports %s: list it with its reason, or leave it", t.at(imp.Pos()), p.dir, name))
				}
			}
		}
	}
	return faults
}

func all(t *typed) []*checked {
	var out []*checked
	for _, dir := range t.dirs {
		out = append(out, t.pkgs[dir])
	}
	return out
}

func TestOnlyListedFunctionsOpen(t *testing.T) {
	tr := oursTyped(t)
	faults, used := checkOpenings(tr, all(tr), openings)
	report(t, faults)
	for _, name := range slices.Sorted(maps.Keys(openings)) {
		if !used[name] {
			t.Errorf("%s is listed and opens nothing: take it off the list", name)
		}
	}
}

func TestOnlyDiscloseHasReadableCustomers(t *testing.T) {
	tr := oursTyped(t)
	report(t, checkReadable(tr, all(tr)))
}

func TestOnlyListedPackagesHaveCiphers(t *testing.T) {
	tr := oursTyped(t)
	report(t, checkCiphers(tr, all(tr)))
}

// Each way around the rules that somebody could write is shown to the checks.
func TestOpeningChecksSeePlantedFaults(t *testing.T) {
	tr := oursTyped(t)
	opens := func(t *typed, p []*checked) []string { f, _ := checkOpenings(t, p, openings); return f }
	const (
		imports = `import ("context"; "` + module + `/internal/vault/seal"; "` + module + `/internal/vault/ledger"); var _ ledger.Receipt; var _ context.Context; var _ *seal.Store; `
		desk    = imports + `type desk struct { Seal *seal.Store }; `
		secret  = `import ("` + module + `/internal/vault/internal/opener"); `
	)
	for _, c := range []struct {
		name, dir, src string
		check          func(*typed, []*checked) []string
		want           string // "" for no fault
	}{
		{"a call", "internal/vault/export", `package export; ` + desk + `func f(d *desk) { d.Seal.Learn(nil, ledger.Receipt{}, nil) }`, opens, "Store).Learn"},
		{"another name", "internal/vault/export", `package export; ` + desk + `func f(d *desk) { st := d.Seal; st.Learn(nil, ledger.Receipt{}, nil) }`, opens, "Store).Learn"},
		{"a method value", "internal/vault/export", `package export; ` + desk + `func f(d *desk) any { return d.Seal.Open }`, opens, "Store).Open"},
		{"a method expression", "internal/vault/export", `package export; ` + imports + `var open = (*seal.Store).Open`, opens, "Store).Open"},
		{"a value of a function", "internal/vault/seal", `package seal; import "` + module + `/internal/vault/internal/opener"; var decode = opener.Open`, opens, "opener.Open"},
		{"embedding", "internal/vault/export", `package export; ` + imports + `type mine struct{ *seal.Store }; func f(m mine) { m.Learn(nil, ledger.Receipt{}, nil) }`, opens, "Store).Learn"},
		{"embedding twice", "internal/watch/detect", `package detect; ` + imports + `type a struct{ *seal.Store }; type b struct{ a }; func f(m b) any { return m.Match }`, opens, "Store).Match"},
		{"an alias", "internal/vault/export", `package export; ` + imports + `type store = seal.Store; func f(s *store) { s.Learn(nil, ledger.Receipt{}, nil) }`, opens, "Store).Learn"},
		{"an import under no name", "internal/watch/odd", `package odd; import . "` + module + `/internal/vault/seal"; func f(s *Store) any { return s.Open }`, opens, "Store).Open"},
		{"an interface", "internal/watch/detect", `package detect; ` + imports + `type learner interface { Learn(context.Context, ledger.Receipt, any) error }`, opens, "could hide it"},
		{"an interface of type parameters", "internal/watch/detect", `package detect; ` + imports + `func f[P, Q, U any](s interface{ Open(context.Context, Q, ledger.Receipt, U) ([]P, error) }) {}`, opens, "could hide it"},
		{"a cipher's interface", "internal/watch/detect", `package detect; type gcm interface { Open(dst, nonce, b, aad []byte) ([]byte, error) }`, opens, "could hide it"},
		{"a function that nobody listed", "internal/vault/seal", `package seal; func (s *Store) Peek(r *rows) { r.openPurchases(1, nil) }`, opens, "Peek opens"},
		{"what a listed one passes on", "internal/vault/export", `package export; ` + imports + `func f(u *seal.Unopened) { u.Confirm(0, "", "") }`, opens, "export.f opens"},
		{"a method of the same name", "internal/vault/export", `package export; type file struct{}; func (file) Open() error { return nil }; func f() { file{}.Open() }`, opens, ""},
		{"an interface of the same name", "internal/vault/export", `package export; type file interface { Open() error }`, opens, ""},
		{"a profile", "internal/vault/export", `package export; import "` + module + `/internal/vault/seal"; var p seal.Profile`, checkReadable, "seal.Profile in hand"},
		{"a profile without its name", "internal/vault/export", `package export; ` + desk + "func f(d *desk) {\nvar no opener.Permit\np, _ := d.Seal.Open(nil, no, ledger.Receipt{}, nil)\nfor _, x := range p { _ = x.Token() } }", checkReadable, "seal.Profile in hand"},
		{"a profile of a parameter", "internal/watch/detect", `package detect; ` + imports + `func call[P any](f func() P) P { return f() }; func g(f func() []seal.Profile) { call(f) }`, checkReadable, "seal.Profile in hand"},
		{"a permit", "internal/vault/export", `package export; ` + secret + `var p = opener.Allow()`, checkReadable, "opener.Permit in hand"},
		{"making a permit", "internal/vault/export", `package export; ` + secret + `var p = opener.Allow()`, opens, "opener.Allow"},
		{"importing the opener", "internal/vault/export", `package export; ` + secret + `var _ = opener.Version`, checkCiphers, "imports the opener"},
		{"disclose hands one out", "internal/vault/disclose", `package disclose; import "` + module + `/internal/vault/seal"; func (d *Desk) Raw() []seal.Profile { return nil }`, checkReadable, "Raw hands"},
		{"disclose hands one out in a field", "internal/vault/disclose", `package disclose; import "` + module + `/internal/vault/seal"; type Raw struct { P *seal.Profile }`, checkReadable, "Raw hands"},
		{"disclose hands the permit out", "internal/vault/disclose", `package disclose; import "` + module + `/internal/vault/internal/opener"; var May = opener.Allow`, checkReadable, "May hands"},
		{"a cipher of its own", "internal/vault/export", `package export; import "crypto/cipher"; var _ cipher.Block`, checkCiphers, "imports crypto/cipher"},
		{"around types", "internal/vault/export", `package export; import "reflect"; var _ = reflect.TypeFor[int]`, checkCiphers, "imports reflect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := c.src
			if strings.Contains(src, "var no opener.") {
				src = strings.Replace(src, "import (", `import ("`+module+`/internal/vault/internal/opener"; `, 1)
			}
			p, err := tr.plant(c.dir, src)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(c.check(tr, []*checked{p}), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
		})
	}
}
