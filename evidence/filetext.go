package evidence

import (
	"fmt"
	"strings"
	"time"
)

// Good reports whether nothing was found wrong. What was not checked at all, Unchecked says.
func (r *FileReport) Good() bool { return len(r.Faults) == 0 && len(r.Logs) > 0 }

// Incomplete reports whether the file has entries that matter and that only a newer release
// understands.
func (r *FileReport) Incomplete() bool {
	for _, l := range r.Logs {
		if l.Critical > 0 {
			return true
		}
	}
	return false
}

// Checked says, in sentences for a lay reader, what was held against what.
func (r *FileReport) Checked() (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	say("The file: its %d parts are, byte for byte, what the key of %s signed. Its digest is %s.", r.Parts, r.Signer, r.Digest)
	for _, l := range r.Logs {
		key := "its key comes with the file, and the signature of " + r.Subject.Owner + " vouches for it"
		if l.Given {
			key = "with the key that you gave"
		}
		say("The log of %s: %d entries are in the log of %d that was signed (%s), with their times, people and lists of customers.", l.Brand, l.Entries, l.Size, key)
		if l.Checkpoints > 0 {
			say("The log of %s continues %d earlier states of itself: nothing of them was taken out or changed.", l.Brand, l.Checkpoints)
		}
		for _, w := range l.Cosigners {
			if w.Checked {
				say("The log of %s was seen in this state by the witness %s at %s.", l.Brand, w.Name, w.At.Format(time.RFC3339))
			}
		}
	}
	for _, s := range r.Scopes {
		if s.Recomputed {
			say("Version %d of the scope at %s: counted again from the entries, it is %d records in %d disclosures of %d entries, as the log says.", s.Version, s.Brand, s.Records, s.Disclosures, s.Entries)
		}
	}
	say("The story: %d facts and steps of the incident are entries of the log.", r.Facts)
	return out
}

// Unchecked says, in sentences for a lay reader, what the file cannot show.
func (r *FileReport) Unchecked() (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	say("That what people said is true: the log shows who recorded it and when.")
	say("Names of staff: the log has numbers. The names are the vault's word, signed.")
	say("Persons: one person may have a record at several brands. How many persons the records are is a signed figure, between the records of the largest brand and all of them.")
	say("Countries and regions: customers are row numbers here. Figures by country are signed figures, recomputable with the encrypted data only.")
	say("Alarms: they are the vault's word, signed.")
	if r.Data > 0 {
		say("Customers' data: %d parts are encrypted. Only their recipient can open them.", r.Data)
	}
	for _, s := range r.Scopes {
		if !s.Recomputed {
			say("Version %d of the scope at %s: %d records in %d disclosures are signed figures, not recomputed: %s.", s.Version, s.Brand, s.Records, s.Disclosures, s.Why)
		}
	}
	for _, l := range r.Logs {
		witnessed := false
		var claimed []string
		for _, w := range l.Cosigners {
			witnessed = witnessed || w.Checked
			if !w.Checked {
				claimed = append(claimed, printable(w.Name))
			}
		}
		switch {
		case len(claimed) > 0:
			say("The log of %s carries signatures of the witnesses %s, which take their keys to check.", l.Brand, strings.Join(claimed, ", "))
		case !witnessed:
			say("The log of %s has no witness: a holder of both its signing key and its database could have written another history before this file was made. An older checkpoint that you kept rules that out.", l.Brand)
		}
		if l.Erased > 0 {
			say("Of the log of %s, %d entries in the file have lost their times and people (log expire).", l.Brand, l.Erased)
		}
		if l.Newer > 0 {
			say("Of the log of %s, %d entries were written by a newer release: they are what was signed, and this release does not understand them.", l.Brand, l.Newer)
		}
		if n := l.Policies - l.Activated; n > 0 {
			say("Of %s, %d policies are signed with the file, and no entry of it says when they came into force.", l.Brand, n)
		}
	}
	return out
}
