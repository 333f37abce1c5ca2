package intake

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/cloakroom/cloakroom/internal/platform/record"
)

// Reasons for values that [record.Purchase.Check] does not see, and for those that a
// description reads.
var (
	errEmpty     = errors.New("is empty, though there is such a column")
	errQuantity  = errors.New("is not a whole number")
	errAt        = errors.New("is not a time such as 2024-05-31T12:00:00Z, nor a date")
	errNoZone    = errors.New("has no time zone, and none is guessed")
	errLayout    = errors.New("is not written as the mapping's time: or date: says")
	errTwoDays   = errors.New("is one day by one layout of the mapping and another by the next: declare one order")
	errOrder     = errors.New("is a date whose order is not declared, and none is guessed")
	errSerial    = errors.New("is a number, as spreadsheets keep dates, whose base is not declared")
	errMarks     = errors.New("is not written with the marks that are declared, and none are guessed")
	errGroups    = errors.New("has thousands marks in wrong places")
	errMinor     = errors.New("is not a whole number of minor units")
	errPerPiece  = errors.New("per piece times the quantity is too large")
	errWord      = errors.New("is none of the texts that values: in the mapping lists")
	errMistaken  = errors.New("is written in UTF-8, though the mapping declares another encoding: does the encoding change half-way?")
	errNobody    = errors.New("is missing: the row says whose purchase it is by nothing")
	errCountry   = record.ErrCountry
	errUndefined = errors.New("holds bytes that mean nothing in the declared encoding")
)

// hint is what a whole file's values have in common, and what to do about it.
type hint struct{ what, do string }

// hintOf returns what to do about a fault that rarely comes alone.
func hintOf(err error) hint {
	switch {
	case errors.Is(err, errNoZone):
		return hint{"have no time zone", "say --zone Europe/Paris (or another), or add `time: YYYY-MM-DD hh:mm:ss` and `zone: ...` to the mapping"}
	case errors.Is(err, errOrder):
		return hint{"are dates in another order than year, month, day", "add `date: DD/MM/YYYY` (or MM/DD/YYYY) to the mapping"}
	case errors.Is(err, errSerial):
		return hint{"are a spreadsheet's numbers for dates", "add `serial: 1900` (or 1904) to the mapping"}
	case errors.Is(err, errMarks):
		return hint{"are written with other marks than 1234.50", "add `decimal:`, `thousands:`, `currency-signs:` to the mapping"}
	case errors.Is(err, errNobody):
		return hint{"are missing", "sales to nobody in particular are left out, and counted, with `without-customer: skip` in a mapping that describes the file"}
	case errors.Is(err, errCountry):
		return hint{"are no countries", "map that column to an attribute, or drop it"}
	}
	return hint{}
}

// parseTime returns a time in UTC at the precision that a record keeps, so that the
// same file read again compares equal to what was stored.
func parseTime(s string) (time.Time, error) {
	if at, ok := record.PlainTime(s); ok {
		return at, nil
	}
	return parseAnyTime(s)
}

// zoned are the ways to write a time whose zone is beyond doubt.
var zoned = []string{
	time.RFC3339, time.DateOnly, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 Z07:00", "2006-01-02 15:04:05 -0700", "2006-01-02T15:04:05-0700",
	"2006-01-02 15:04:05 UTC", "2006-01-02 15:04:05 -0700 -0700",
}

func parseAnyTime(s string) (time.Time, error) {
	for _, layout := range zoned {
		if at, err := time.Parse(layout, s); err == nil {
			return time.UnixMicro(at.UnixMicro()).UTC(), nil
		}
	}
	return time.Time{}, unreadTime(s)
}

// zoneless are the ways to write a time that lacks nothing but its zone.
var zoneless = []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04"}

// unreadTime says what is missing in a time.
func unreadTime(s string) error {
	for _, layout := range zoneless {
		if _, err := time.Parse(layout, s); err == nil {
			return errNoZone
		}
	}
	if err := unreadDate(s); err != nil {
		return err
	}
	return errAt
}

// unreadDate says what is missing in a date, or nil where it looks like none.
func unreadDate(s string) error {
	if n, err := strconv.ParseFloat(s, 64); err == nil && n > 0 && n < 100_000 {
		return errSerial
	}
	day, _, _ := strings.Cut(s, " ")
	parts := strings.FieldsFunc(day, func(r rune) bool { return r == '/' || r == '.' || r == '-' })
	if len(parts) == 3 && strings.Trim(strings.Join(parts, ""), "0123456789") == "" && len(parts[0]) <= 2 {
		return errOrder
	}
	return nil
}

// time reads a time as the rules say, and returns it as a record keeps it.
func (r *valueRules) time(s string) (string, error) {
	var found []time.Time
	zone := r.zone
	for _, layout := range r.times {
		in := zone
		if strings.Contains(layout, "-07") {
			in = time.UTC
		}
		if in == nil {
			if _, err := time.Parse(layout, s); err == nil && strings.Contains(layout, "15") {
				return "", errNoZone
			}
			in = time.UTC
		}
		if at, err := time.ParseInLocation(layout, s, in); err == nil {
			found = append(found, at)
		}
	}
	if len(r.times) > 0 && len(found) == 0 {
		for _, layout := range r.dates {
			in := zone
			if in == nil {
				in = time.UTC
			}
			if at, err := time.ParseInLocation(layout, s, in); err == nil && !strings.Contains(layout, "15") {
				found = append(found, at)
			}
		}
	}
	if len(found) == 0 {
		if at, err := parseAnyTime(s); err == nil {
			return at.Format(time.RFC3339Nano), nil
		}
		if at, ok := r.ofSerial(s); ok {
			if zone == nil {
				return "", errNoZone
			}
			at = time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), 0, zone)
			return at.UTC().Format(time.RFC3339Nano), nil
		}
		if len(r.times) > 0 {
			return "", errLayout
		}
		return "", unreadTime(s)
	}
	for _, at := range found[1:] {
		if !at.Equal(found[0]) {
			return "", errTwoDays
		}
	}
	return time.UnixMicro(found[0].UnixMicro()).UTC().Format(time.RFC3339Nano), nil
}

// date reads a date as the rules say.
func (r *valueRules) date(s string) (string, error) {
	if _, err := time.Parse(time.DateOnly, s); err == nil {
		return s, nil
	}
	var found []string
	for _, layout := range slices.Concat(r.dates, r.times) {
		if at, err := time.Parse(layout, s); err == nil {
			found = append(found, at.Format(time.DateOnly))
		}
	}
	if len(found) == 0 {
		if at, ok := r.ofSerial(s); ok {
			return at.Format(time.DateOnly), nil
		}
		if len(r.dates) > 0 {
			return "", errLayout
		}
		if err := unreadDate(s); err != nil {
			return "", err
		}
		return s, nil // the record's check says what is wrong
	}
	if slices.Sort(found); len(slices.Compact(found)) > 1 {
		return "", errTwoDays
	}
	return found[0], nil
}

// ofSerial reads a spreadsheet's number of a date.
func (r *valueRules) ofSerial(s string) (time.Time, bool) {
	if r.serial == 0 {
		return time.Time{}, false
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || n < 1 || n >= 2_958_466 { // the last day of 9999
		return time.Time{}, false
	}
	base := time.Date(1904, 1, 1, 0, 0, 0, 0, time.UTC)
	if r.serial == 1900 {
		// Day 1 is the first of January; there is a 29th of February 1900 in it.
		base = time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)
		if n < 61 {
			base = base.AddDate(0, 0, 1)
		}
	}
	days := int(n)
	seconds := int((n-float64(days))*86400 + 0.5)
	return base.AddDate(0, 0, days).Add(time.Duration(seconds) * time.Second), true
}

func isSpace(r rune) bool { return unicode.IsSpace(r) || r == '\u202f' || r == '\u00a0' }

// amount reads an amount as the rules say, and returns it as a record writes it.
func (r *valueRules) amount(s string) (string, error) {
	negative := false
	if inner, ok := strings.CutPrefix(s, "("); ok && r.parentheses {
		if inner, ok = strings.CutSuffix(inner, ")"); ok {
			s, negative = strings.TrimSpace(inner), true
		}
	}
	if r.signs {
		s = strings.TrimFunc(s, func(c rune) bool { return unicode.Is(unicode.Sc, c) || unicode.IsLetter(c) || isSpace(c) })
		if sign := strings.TrimPrefix(s, "-"); sign != s {
			s = "-" + strings.TrimLeftFunc(sign, func(c rune) bool { return unicode.Is(unicode.Sc, c) || isSpace(c) })
		}
	}
	if negative {
		if strings.HasPrefix(s, "-") {
			return "", errMarks
		}
		s = "-" + s
	}
	decimal := r.decimal
	if decimal == "" {
		decimal = "."
	}
	whole, frac, point := strings.Cut(s, decimal)
	if r.thousands != "" {
		var err error
		if whole, err = ungrouped(whole, r.thousands); err != nil {
			return "", err
		}
	}
	if strings.Trim(strings.TrimLeft(whole, "+-"), "0123456789") != "" || strings.Trim(frac, "0123456789") != "" {
		return "", errMarks
	}
	if point {
		return whole + "." + frac, nil
	}
	return whole, nil
}

// ungrouped takes the thousands marks out of a number.
func ungrouped(s, mark string) (string, error) {
	digits := strings.TrimLeft(s, "+-")
	sign := s[:len(s)-len(digits)]
	if mark == " " {
		digits = strings.Map(func(c rune) rune {
			if isSpace(c) {
				return ' '
			}
			return c
		}, digits)
	}
	groups := strings.Split(digits, mark)
	for i, g := range groups[1:] {
		// Lakhs and crores are groups of two, with commas; the last group is of three
		// everywhere.
		if last := i == len(groups)-2; len(g) != 3 && (last || len(g) != 2 || mark != ",") {
			return "", errGroups
		}
	}
	if len(groups) > 1 && (groups[0] == "" || len(groups[0]) > 3) {
		return "", errGroups
	}
	return sign + strings.Join(groups, ""), nil
}

// unreadAmount says what is wrong with an amount that was not described.
func unreadAmount(s string, err error) error {
	if strings.ContainsAny(s, "0123456789") && strings.ContainsFunc(s, func(c rune) bool {
		return c == ',' || c == '(' || c == '\'' || isSpace(c) || unicode.Is(unicode.Sc, c) || unicode.IsLetter(c)
	}) {
		return errMarks
	}
	return err
}

func parseQuantity(s string) (int64, error) {
	if s == "" {
		return 0, errEmpty
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		// A spreadsheet's 2.00.
		if whole, zeros, ok := strings.Cut(s, "."); ok && zeros != "" && strings.Trim(zeros, "0") == "" {
			n, err = strconv.ParseInt(whole, 10, 64)
		}
	}
	if err != nil {
		return 0, errQuantity
	}
	return n, nil
}

func parseAmount(s string) (record.Amount, error) {
	if s == "" {
		return record.Amount{}, errEmpty
	}
	a, err := record.ParseAmount(s)
	if err != nil {
		return a, unreadAmount(s, err)
	}
	return a, nil
}

// split takes a full name apart. The first word is one part, the rest the other. What is
// one word, or has a sign of a company in it, is a family name.
func (p namePart) split(s string) string {
	if family, given, ok := strings.Cut(s, ","); ok && (p == givenOfLast || p == familyOfLast) && !strings.Contains(given, ",") {
		// Family name, comma, given names: the comma says where.
		if p == familyOfLast {
			return strings.TrimSpace(family)
		}
		return strings.TrimSpace(given)
	}
	words := strings.Fields(s)
	whole := len(words) < 2 || strings.ContainsAny(s, "&@0123456789")
	switch p {
	case givenOfFirst, givenOfLast:
		if whole {
			return ""
		}
		if p == givenOfFirst {
			return words[0]
		}
		return strings.Join(words[1:], " ")
	case familyOfFirst, familyOfLast:
		if whole {
			return s
		}
		if p == familyOfLast {
			return words[0]
		}
		return strings.Join(words[1:], " ")
	}
	return s
}

// text reads any text as the rules say, before it is read as what it is.
func (r *valueRules) text(s string) string {
	s = trimmed(s)
	if r.apostrophes && len(s) > 1 && s[0] == '\'' && strings.IndexByte("0123456789+-=@.(", s[1]) >= 0 {
		s = trimmed(s[1:])
	}
	if len(r.null) > 0 && slices.Contains(r.null, strings.ToLower(s)) {
		return ""
	}
	return s
}
