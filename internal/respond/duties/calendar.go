package duties

import (
	"fmt"
	"time"
	_ "time/tzdata" // a bare machine has no zones of its own

	"github.com/rickar/cal/v2"
	"github.com/rickar/cal/v2/us"
)

// The years for which the tables of holidays hold. A law may add a holiday; a deadline
// outside of them is said not to be computable, instead of being computed wrongly.
const firstYear, lastYear = 2024, 2030

// calendar returns the days on which business is done, by name; nil for an unknown one. A holiday that is in doubt is
// left out: its day counts as one of business, so that a deadline is too early at worst.
func calendar(name string) *cal.BusinessCalendar {
	switch name {
	case "US-SEC":
		// Federal holidays of 5 U.S.C. 6103, as the SEC counts them (Form 8-K, General
		// Instruction B.1); the library's table of 2026 was held against OPM's.
		return business(us.Holidays...)
	case "BR":
		// National holidays alone: Law 662 of 1949 as amended by Law 10.607 of 2002, Law
		// 6.802 of 1980, Law 14.759 of 2023 (20 November); Good Friday by the yearly
		// ordinance. Carnival and Corpus Christi are optional, not holidays, and count.
		return business(
			fixed("Ano Novo", time.January, 1), easter("Sexta-feira Santa", -2), fixed("Tiradentes", time.April, 21),
			fixed("Trabalho", time.May, 1), fixed("Independencia", time.September, 7), fixed("Aparecida", time.October, 12),
			fixed("Finados", time.November, 2), fixed("Republica", time.November, 15), fixed("Consciencia Negra", time.November, 20),
			fixed("Natal", time.December, 25))
	case "CO":
		// Law 51 of 1983: some holidays move to the next Monday.
		return business(
			fixed("Ano Nuevo", time.January, 1), monday("Reyes", time.January, 6), monday("San Jose", time.March, 19),
			easter("Jueves Santo", -3), easter("Viernes Santo", -2), fixed("Trabajo", time.May, 1), easter("Ascension", 43),
			easter("Corpus Christi", 64), easter("Sagrado Corazon", 71), monday("San Pedro y San Pablo", time.June, 29),
			fixed("Independencia", time.July, 20), fixed("Boyaca", time.August, 7), monday("Asuncion", time.August, 15),
			monday("Diversidad", time.October, 12), monday("Todos los Santos", time.November, 1), monday("Cartagena", time.November, 11),
			fixed("Inmaculada", time.December, 8), fixed("Navidad", time.December, 25))
	case "VT":
		// 1 V.S.A. 371, without days that are moved from a weekend.
		return business(
			fixed("New Year's Day", time.January, 1), nth("Martin Luther King Jr.'s Birthday", time.January, time.Monday, 3),
			nth("Washington's Birthday", time.February, time.Monday, 3), nth("Town Meeting Day", time.March, time.Tuesday, 1),
			nth("Memorial Day", time.May, time.Monday, -1), fixed("Independence Day", time.July, 4),
			fixed("Bennington Battle Day", time.August, 16), nth("Labor Day", time.September, time.Monday, 1),
			nth("Indigenous Peoples' Day", time.October, time.Monday, 2), fixed("Veterans' Day", time.November, 11),
			nth("Thanksgiving Day", time.November, time.Thursday, 4), fixed("Christmas Day", time.December, 25))
	}
	return nil
}

func business(list ...*cal.Holiday) *cal.BusinessCalendar {
	c := cal.NewBusinessCalendar()
	c.AddHoliday(list...)
	return c
}

func fixed(name string, m time.Month, day int) *cal.Holiday {
	return &cal.Holiday{Name: name, Month: m, Day: day, Func: cal.CalcDayOfMonth}
}

func easter(name string, offset int) *cal.Holiday {
	return &cal.Holiday{Name: name, Offset: offset, Func: cal.CalcEasterOffset}
}

func nth(name string, m time.Month, day time.Weekday, n int) *cal.Holiday {
	return &cal.Holiday{Name: name, Month: m, Weekday: day, Offset: n, Func: cal.CalcWeekdayOffset}
}

// monday is a holiday that is kept on the Monday on or after its day.
func monday(name string, m time.Month, day int) *cal.Holiday {
	return &cal.Holiday{Name: name, Month: m, Day: day, Weekday: time.Monday, Offset: 1, Func: cal.CalcWeekdayFrom}
}

// end returns when a deadline ends that begins at a moment, and what to know about the day.
// Hours run through nights, weekends and changes of the clock. Days are those of the zone:
// the day on which it begins does not count, and the last ends with its last second. No day
// is moved because it is a holiday: a law that allows it gives more time, never less.
func (d *Deadline) end(begin time.Time, zone *time.Location) (time.Time, string, error) {
	if d.Unit == "hours" {
		return begin.Add(time.Duration(d.N) * time.Hour), "", nil
	}
	y, m, day := begin.In(zone).Date()
	var last time.Time // midday, so that no change of the clock is near
	switch d.Unit {
	case "days":
		last = time.Date(y, m, day+d.N, 12, 0, 0, 0, zone)
	case "months":
		last = time.Date(y, m+time.Month(d.N), 1, 12, 0, 0, 0, zone)
		if days := last.AddDate(0, 1, -1).Day(); day > days {
			day = days // the month has no such day: its last
		}
		last = last.AddDate(0, 0, day-1)
	case "business_days":
		c := calendar(d.Calendar)
		last = time.Date(y, m, day, 12, 0, 0, 0, zone)
		for left := d.N; left > 0; {
			last = last.AddDate(0, 0, 1)
			if y := last.Year(); y < firstYear || y > lastYear {
				return time.Time{}, "", fmt.Errorf("the calendar %s holds from %d to %d", d.Calendar, firstYear, lastYear)
			}
			if c.IsWorkday(last) {
				left--
			}
		}
	}
	y, m, day = last.Date()
	note := ""
	if cal.IsWeekend(last) {
		note = "the last day is a " + last.Weekday().String() + ": send it before"
	}
	return time.Date(y, m, day, 23, 59, 59, 0, zone), note, nil
}
