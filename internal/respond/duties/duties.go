// Package duties says which laws ask for a notice after a breach, by when, in which order,
// and which do not and why. It is no legal advice, and says so wherever it answers.
//
// The rules are data, one file for each law of one jurisdiction. A file says where the law
// stands, what an article demands in our own words, who read it and when, and holds worked
// cases: facts with what follows from them. The cases run when the files are read, and a
// test changes every number, operator and flag of every rule and sees a case fail.
//
// # Three answers
//
// A condition holds, does not hold, or nobody has said yet. A duty is due where all of its
// conditions hold, and open where it hangs on what nobody has said: the answer names the
// question. Two statements that contradict each other count as none.
//
// # What is never said
//
// "Without undue delay" is shown as the time that has passed, never as a date. A rule that
// no named person has read never yields a plain "not due": it says to ask counsel.
package duties

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
)

//go:embed rules/*.yaml
var embedded embed.FS

// Advice stands on every answer and page.
const Advice = "This is not legal advice. The rules are a reading of public sources by their authors; ask counsel before you rely on them."

// ErrRules is joined to errors of files of rules.
var ErrRules = fault.New(fault.Invalid, "the rules of duties do not hold")

// Book is a set of rules that was read and checked.
type Book struct {
	Version string   // digest of the rules: the first 16 hexadecimal digits of a SHA-256
	Overlay []string // rules that an operator's files add or replace
	laws    []Law
	sets    map[string][][]string
	byID    map[string]*bound
	order   []*bound
}

// bound is a rule with the law that it stands in.
type bound struct {
	*Rule
	law *Law
}

// place is the jurisdiction whose residents a rule counts.
func (b *bound) place() string { return b.law.Jurisdiction }

// Load reads the rules of this release, and over them an operator's own files.
func Load(overlay ...fs.FS) (*Book, error) {
	sub, err := fs.Sub(embedded, "rules")
	if err != nil {
		return nil, err
	}
	b, err := read(sub)
	if err != nil {
		return nil, err
	}
	for _, o := range overlay {
		if err := b.lay(o); err != nil {
			return nil, err
		}
	}
	if err := b.finish(); err != nil {
		return nil, err
	}
	return b, b.Prove()
}

// read reads every file of a folder.
func read(files fs.FS) (*Book, error) {
	b := &Book{sets: map[string][][]string{}}
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		if name == setsFile {
			if err := decode(name, text, &struct {
				Sets *map[string][][]string `yaml:"sets"`
			}{&b.sets}); err != nil {
				return nil, err
			}
			continue
		}
		var l Law
		if err := decode(name, text, &l); err != nil {
			return nil, err
		}
		l.file = name
		b.laws = append(b.laws, l)
	}
	return b, nil
}

// setsFile names sets of classes of fields, which rules share.
const setsFile = "sets.yaml"

// lay puts an operator's rules over those that are there: a rule of a known id takes its
// place, another is added. Each brings its worked cases.
func (b *Book) lay(files fs.FS) error {
	o, err := read(files)
	if err != nil {
		return err
	}
	for name, lists := range o.sets {
		if b.sets[name] != nil {
			return fmt.Errorf("%w: %s: the set %s exists: give yours another name", ErrRules, setsFile, name)
		}
		b.sets[name] = lists
	}
	for i := range o.laws {
		l := o.laws[i]
		for _, r := range l.Rules {
			for k := range b.laws {
				b.laws[k].Rules = slices.DeleteFunc(b.laws[k].Rules, func(x Rule) bool { return x.ID == r.ID })
			}
			b.Overlay = append(b.Overlay, r.ID)
		}
		b.laws = append(b.laws, l)
	}
	slices.Sort(b.Overlay)
	return nil
}

// finish indexes and checks the rules, and names their version.
func (b *Book) finish() error {
	b.byID, b.order = map[string]*bound{}, nil
	for i := range b.laws {
		l := &b.laws[i]
		for k := range l.Rules {
			r := &l.Rules[k]
			if b.byID[r.ID] != nil {
				return fmt.Errorf("%w: %s: the id %s stands twice", ErrRules, l.file, r.ID)
			}
			b.byID[r.ID] = &bound{r, l}
			b.order = append(b.order, b.byID[r.ID])
		}
	}
	slices.SortFunc(b.order, func(x, y *bound) int { return strings.Compare(x.place()+" "+x.ID, y.place()+" "+y.ID) })
	for i := range b.laws {
		if err := b.checkLaw(&b.laws[i]); err != nil {
			return err
		}
	}
	if err := b.checkCycles(); err != nil {
		return err
	}
	text, err := b.pack()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	b.Version = hex.EncodeToString(sum[:8])
	return nil
}

// packed is a book as an incident keeps it: without worked cases, which prove the rules
// and decide nothing.
type packed struct {
	Sets    map[string][][]string
	Laws    []Law
	Overlay []string `json:",omitempty"`
}

func (b *Book) pack() ([]byte, error) {
	p := packed{Sets: b.sets, Overlay: b.Overlay}
	for _, l := range b.laws {
		l.Rules = slices.Clone(l.Rules)
		for i := range l.Rules {
			l.Rules[i].Cases = nil
		}
		p.Laws = append(p.Laws, l)
	}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("packing the rules: %w", err)
	}
	return text, nil
}

// Counts are how many rules a book has, how many of them no named person has read, and in
// how many jurisdictions.
func (b *Book) Counts() (rules, unread, jurisdictions int) {
	places := map[string]bool{}
	for _, r := range b.order {
		places[r.place()] = true
		if !r.read() {
			unread++
		}
	}
	return len(b.order), unread, len(places)
}
