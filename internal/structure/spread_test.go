package structure

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cloakroom/cloakroom/internal/platform/db"
)

// spread reads from a statement which shards it asks.
type spread struct{ layout map[string]db.Placement }

func newSpread() spread {
	s := spread{map[string]db.Placement{}}
	for _, p := range db.Layout() {
		if p.Column != "" {
			s.layout[p.Table] = p
		}
	}
	return s
}

// group is the table that leads the group of tables that lie beside each other.
func (s spread) group(table string) string {
	if with := s.layout[table].With; with != "" {
		return with
	}
	return table
}

// reach is what one statement asks of one distributed table.
type reach struct {
	table  string
	values []int64 // of the distribution column
}

var (
	sqlTable    = regexp.MustCompile(`(?i)\b(?:FROM|JOIN|INTO|USING|UPDATE|COPY)\s+(\w+)(?:\s+(?:AS\s+)?(\w+))?`)
	notAlias    = []string{"on", "where", "set", "join", "order", "values", "for", "limit", "left", "inner", "select", "group", "using", "from", "cross"}
	forUpdate   = regexp.MustCompile(`(?i)\b(FOR\s+UPDATE|DO\s+UPDATE)\b`)
	reads       = regexp.MustCompile(`(?i)^\s*SELECT\b`)
	insertInto  = regexp.MustCompile(`(?is)^\s*INSERT\s+INTO\s+(\w+)\s*\(([^)]*)\)\s*VALUES\s*(.*)$`)
	valueRow    = regexp.MustCompile(`\(([^()]*)\)`)
	disjunction = regexp.MustCompile(`(?i)\bOR\b`)
	either      = regexp.MustCompile(`(?i)\([^()]*\bOR\b[^()]*\)`)
)

// reaches returns the distributed tables that a statement asks, and the faults: a
// table whose distribution column is not bound by equality is asked on every shard.
func (s spread) reaches(a *asked) (out []reach, faults []string) {
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Sprintf(format, args...)+": "+strings.Join(strings.Fields(a.sql), " "))
	}
	if m := insertInto.FindStringSubmatch(a.sql); m != nil {
		p, ok := s.layout[m[1]]
		if !ok {
			return nil, nil
		}
		r := reach{table: m[1]}
		columns := strings.Split(m[2], ",")
		at := slices.IndexFunc(columns, func(c string) bool { return strings.TrimSpace(c) == p.Column })
		body, _, _ := strings.Cut(m[3], "ON CONFLICT")
		rows := valueRow.FindAllStringSubmatch(body, -1)
		if at < 0 || len(rows) == 0 {
			fault("%s is not among the columns written", p.Column)
			return nil, faults
		}
		for _, row := range rows {
			values := strings.Split(row[1], ",")
			if len(values) != len(columns) {
				fault("a row of values that this test cannot read")
				return nil, faults
			}
			vs, err := s.value(a, values[at])
			if err != nil {
				fault("%s: %v", p.Column, err)
			}
			r.values = append(r.values, vs...)
		}
		return []reach{r}, faults
	}
	text := forUpdate.ReplaceAllString(a.sql, "")
	type use struct{ table, alias string }
	var uses []use
	for _, m := range sqlTable.FindAllStringSubmatch(text, -1) {
		if _, ok := s.layout[m[1]]; !ok {
			continue
		}
		u := use{m[1], m[2]}
		if u.alias == "" || slices.Contains(notAlias, strings.ToLower(u.alias)) {
			u.alias = u.table
		}
		uses = append(uses, u)
	}
	text = either.ReplaceAllString(text, "()") // what stands in it binds nothing
	if len(uses) > 0 && disjunction.MatchString(text) {
		fault("OR may ask other shards than the one that AND binds")
	}
	for _, u := range uses {
		r := reach{table: u.table}
		column := s.layout[u.table].Column
		name := `\b` + u.alias + `\.` + column + `\b`
		if len(uses) == 1 {
			name = `(?:\b` + u.alias + `\.)?\b` + column + `\b`
		}
		bound := false
		for _, m := range regexp.MustCompile(`(?i)`+name+`\s*=\s*(ANY\s*\(\s*\$\d+|\$\d+|\d+|\w+\.\w+)`).FindAllStringSubmatch(text, -1) {
			if joined, other, ok := strings.Cut(m[1], "."); ok {
				// Beside a table of its own group on the distribution column.
				i := slices.IndexFunc(uses, func(v use) bool { return v.alias == joined })
				if i < 0 || s.group(uses[i].table) != s.group(u.table) || s.layout[uses[i].table].Column != other {
					continue
				}
				bound = true
				continue
			}
			vs, err := s.value(a, m[1])
			if err != nil {
				fault("%s: %v", column, err)
			}
			r.values, bound = append(r.values, vs...), true
		}
		if !bound && len(uses) > 1 && regexp.MustCompile(`(?i)\w+\.`+column+`\s*=\s*`+u.alias+`\.`+column+`\b`).MatchString(text) {
			bound = true // the other side of a join
		}
		if !bound {
			fault("%s.%s is not bound by equality, so every shard is asked", u.table, column)
		}
		out = append(out, r)
	}
	if len(uses) > 1 && !slices.ContainsFunc(out, func(r reach) bool { return len(r.values) > 0 }) {
		fault("a join of which no side is bound by equality")
	}
	return out, faults
}

// value reads the numbers that an expression stands for.
func (s spread) value(a *asked, expr string) ([]int64, error) {
	expr = strings.TrimSpace(expr)
	if i := strings.IndexByte(expr, '$'); i >= 0 {
		digits, _, _ := strings.Cut(expr[i+1:], ":")
		n, err := strconv.Atoi(strings.TrimSpace(digits))
		if err != nil {
			return nil, fmt.Errorf("%q is not an argument", expr)
		}
		return a.ints(n)
	}
	v, err := strconv.ParseInt(expr, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is not a value that this test can read", expr)
	}
	return []int64{v}, nil
}

// checkTransaction says what makes a transaction of the hot path span more than one
// shard. A batch may read many customers at once, and nothing but that.
func (s spread) checkTransaction(stmts []asked, batch bool) (faults []string) {
	asked := map[string][]int64{} // by group
	var changes string
	for i := range stmts {
		a := &stmts[i]
		rs, fs := s.reaches(a)
		faults = append(faults, fs...)
		for _, m := range append(writes.FindAllStringSubmatch(a.sql, -1), updates.FindAllStringSubmatch(a.sql, -1)...) {
			if _, ok := s.layout[m[1]]; !ok {
				faults = append(faults, fmt.Sprintf("a reference table is written, on every node: %s", strings.Join(strings.Fields(a.sql), " ")))
			}
		}
		locks := strings.Contains(strings.ToUpper(a.sql), "FOR UPDATE")
		for _, r := range rs {
			g := s.group(r.table)
			for _, v := range r.values {
				if !slices.Contains(asked[g], v) {
					asked[g] = append(asked[g], v)
				}
			}
			if locks || !reads.MatchString(a.sql) {
				changes = strings.Join(strings.Fields(a.sql), " ")
			}
		}
	}
	if len(asked) > 1 {
		var groups []string
		for g := range asked {
			groups = append(groups, g)
		}
		slices.Sort(groups)
		faults = append(faults, fmt.Sprintf("one transaction asks the groups of %s: %s", strings.Join(groups, " and "), stmts[len(stmts)-1].sql))
	}
	for g, values := range asked {
		switch {
		case len(values) <= 1:
		case changes != "":
			faults = append(faults, fmt.Sprintf("one transaction that writes or locks asks %d values of the group of %s: %s", len(values), g, changes))
		case !batch || g != "customers":
			faults = append(faults, fmt.Sprintf("one transaction asks %d values of the group of %s: %s", len(values), g, stmts[0].sql))
		}
	}
	return faults
}
