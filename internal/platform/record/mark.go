package record

import (
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
)

// Mark says how far a feed had come when it sent a record: of two records of one source,
// the one with the later mark is the newer, in whatever order they arrive. The zero Mark
// is that of what no feed sent.
type Mark struct {
	Source uint32 // of the feed's name, never 0 in a mark
	At     int64  // a position, or microseconds
}

// NewMark returns the mark of a source at a place.
func NewMark(source string, at int64) Mark {
	h := fnv.New32a()
	_, _ = h.Write([]byte(source)) // never fails
	return Mark{max(h.Sum32(), 1), at}
}

// Covers reports whether what has this mark is as new as what has the other, or newer.
// Marks of two sources say nothing of each other.
func (m Mark) Covers(o Mark) bool { return o.Source != 0 && m.Source == o.Source && m.At >= o.At }

const (
	// marksColumn is where a customer's marks lie among the columns: attributes hold no
	// string of their own.
	marksColumn = Attributes
	// maxMarks bounds the sources whose marks a customer keeps.
	maxMarks = 16
)

// Covers reports whether the customer has a mark that covers this one.
func (c *Customer) Covers(m Mark) bool {
	return slices.ContainsFunc(c.marks(), func(have Mark) bool { return have.Covers(m) })
}

// Mark gives the customer a mark, in place of an older one of its source. With more than
// 16 sources the oldest mark goes.
func (c *Customer) Mark(m Mark) {
	marks := slices.DeleteFunc(c.marks(), func(have Mark) bool { return have.Source == m.Source })
	marks = append(marks, m)
	if len(marks) > maxMarks {
		at := 0
		for i := range marks[:maxMarks] {
			if marks[i].At < marks[at].At {
				at = i
			}
		}
		marks = slices.Delete(marks, at, at+1)
	}
	slices.SortFunc(marks, func(a, b Mark) int { return int(int64(a.Source) - int64(b.Source)) })
	var b strings.Builder
	for i, m := range marks {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(uint64(m.Source), 36) + ":" + strconv.FormatInt(m.At, 36))
	}
	c.Columns[marksColumn] = b.String()
}

func (c *Customer) marks() (out []Mark) {
	for one := range strings.SplitSeq(c.Columns[marksColumn], ",") {
		source, at, ok := strings.Cut(one, ":")
		s, err := strconv.ParseUint(source, 36, 32)
		n, err2 := strconv.ParseInt(at, 36, 64)
		if ok && err == nil && err2 == nil {
			out = append(out, Mark{uint32(s), n})
		}
	}
	return out
}
