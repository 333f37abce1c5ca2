package claim

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cloakroom/cloakroom/api"
)

func percent(w float64) float64 { return math.Round(w*100) / 100 }

func day(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(24 * time.Hour)
}

// limits say what an answer does not say.
func limits(k *Check) []string {
	out := []string{
		"Customers who were erased cannot be matched: the vault keeps nothing that they could be known by.",
		"A list that nothing in the log explains may come from a copy outside the vault, or from before it.",
		"The weights hold if the list was taken from one source, with some rows from elsewhere. A thief who mixes sources on purpose can mislead them.",
	}
	if !k.asked.Exact {
		out = append(out, "The figures are rounded and shifted, so that they reveal no single person. Exact figures take a second person.")
	}
	for _, p := range k.parts {
		if n := p.found.set.Len(); n > len(p.found.places) {
			out = append(out, fmt.Sprintf("%s: times and sources were found from %d of its customers, taken at random.", p.visit.Brand.Name, len(p.found.places)))
		}
	}
	if k.read.Unreadable > 0 {
		out = append(out, "Some rows could not be read. They count neither as ours nor as another's.")
	}
	return out
}

// sure says a weight in words.
func sure(w float64) string {
	switch {
	case w >= 0.999:
		return "practically certain"
	case w >= 0.99:
		return "almost certain"
	case w >= 0.95:
		return "very likely"
	case w >= 0.8:
		return "likely, and not decided"
	}
	return "not decided"
}

// words say the answer of a brand as a board reads it.
func words(p *api.ClaimPart, exact, bare bool) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	total, about := p.Ours+p.NotOurs, ""
	if !exact {
		about = "about "
	}
	switch {
	case p.Verdict == api.ClaimSmall:
		if p.Ours == 0 {
			say("Fewer than ten rows are customers of %s, or none: the answer does not distinguish these.", p.Brand)
		} else {
			say("About %d rows are customers of %s: too few to say more.", p.Ours, p.Brand)
		}
		return out
	case p.Ours == 0:
		say("Fewer than ten rows are customers of %s, or none. The list is somebody else's.", p.Brand)
		return out
	}
	say("%s%d of %d rows are customers of %s, %s%d are not.", upper(about), p.Ours, total, p.Brand, about, p.NotOurs)
	if p.Altered > 0 {
		say("%s%d of them say something else than we have or had, as far as we keep it: they were altered, or are older.", upper(about), p.Altered)
	}
	if p.Former > 0 {
		say("%s%d carry a value that has been replaced since.", upper(about), p.Former)
	}
	if p.Mixed > 0 {
		say("%s%d join the data of several customers in one row: they were made up.", upper(about), p.Mixed)
	}
	switch p.Verdict {
	case api.ClaimExplained:
		first := p.Sources[0]
		say("It is %s that the list was taken from what we disclosed.", sure(p.Explained))
		if p.Tie == 1 {
			say("It is explained by %s: it has %s%d of the %s%d customers of the sample, among %d.", title(first.Names), about, first.Covered, about, p.Customers, first.Size)
		} else {
			var names []string
			for i := range min(p.Tie, 5) {
				names = append(names, title(p.Sources[i].Names))
			}
			say("%d disclosures explain it alike, and this sample does not distinguish them: %s.", p.Tie, strings.Join(names, "; "))
		}
		if first.Lacks {
			say("The sample has fields that this disclosure never showed: they come from somewhere else.")
		}
	case api.ClaimOurs:
		say("It is %s that the people are our customers and that no disclosure in the log explains the list.", sure(p.Elsewhere))
	case api.ClaimForeign:
		say("It is %s that the list is somebody else's, whose people are partly our customers, too.", sure(p.Foreign))
	default:
		say("Whether the list was taken from us is not decided: %.0f %% speaks for one of our disclosures, %.0f %% for our customers from elsewhere, %.0f %% for somebody else's list.", 100*p.Explained, 100*p.Elsewhere, 100*p.Foreign)
	}
	if len(p.Second) > 0 {
		say("%s%d customers are left over, which a second source explains: %s.", upper(about), p.Left, title(p.Second[0].Names))
	}
	out = append(out, timed(p, about)...)
	if n := len(p.Canaries); n > 0 {
		seen := map[api.ClaimName]int{}
		for _, c := range p.Canaries {
			for _, s := range c.Seen {
				seen[s]++
			}
		}
		var all []string
		for _, c := range p.Canaries[0].Seen {
			if seen[c] == n {
				all = append(all, title([]api.ClaimName{c}))
			}
		}
		say("%d canaries are in the sample. They exist in our vault and nowhere else, so data of ours is in it.", n)
		if len(all) > 0 {
			say("All of them were seen by: %s.", strings.Join(all, "; "))
		}
	}
	if p.Erased > 0 {
		say("%d customers were erased since the log began. Where they are in the sample, they count as not ours.", p.Erased)
	}
	if bare {
		say("Of some disclosures the log no longer says who made them: their retention is over.")
	}
	return out
}

// timed says when the list was taken.
func timed(p *api.ClaimPart, about string) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	w := p.When
	date := func(t time.Time) string { return t.UTC().Format("2 January 2006") }
	rows := func(n int, what string) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprintf(": %s%d rows %s", about, n, what)
	}
	if w != nil && !w.From.IsZero() {
		say("It was taken on %s or later%s.", date(w.From), rows(w.Since, "carry a customer or a value that is of that day"))
	}
	if w != nil && !w.To.IsZero() {
		say("It was taken on %s or before%s.", date(w.To), rows(w.Until, "carry a value that was replaced on that day"))
	}
	if w != nil && w.Against > 0 {
		say("%s%d rows contradict these times.", upper(about), w.Against)
	}
	if w != nil && w.Joined > 0 {
		say("Since the newest customer of the sample joined, %d others have, and none of them is in it.", w.Joined)
	}
	if w == nil || w.To.IsZero() {
		say("No value of the sample was replaced since, as far as we keep it, so nothing bounds how late it was taken.")
	}
	if p.Tie > 0 {
		s := p.Sources[0]
		if date(s.First) == date(s.Last) {
			say("The disclosure was on %s.", date(s.First))
		} else {
			say("The disclosures were from %s to %s.", date(s.First), date(s.Last))
		}
	}
	return out
}

func title(names []api.ClaimName) string {
	var out []string
	for _, n := range names {
		s := n.Kind + " " + n.ID
		if n.Of != "" {
			s += " of " + n.Of
		}
		out = append(out, s)
	}
	return strings.Join(out, " = ")
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
