package intake

import "testing"

// A full name is taken apart where the mapping or a comma says, and nowhere else.
func TestFullNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		given, family  namePart
		text           string
		first, surname string
	}{
		{givenOfFirst, familyOfFirst, "Ana Maria Rossi", "Ana", "Maria Rossi"},
		{givenOfLast, familyOfLast, "Li Wei", "Wei", "Li"},
		{givenOfLast, familyOfLast, "García Márquez, Gabriel José", "Gabriel José", "García Márquez"},
		{givenOfLast, familyOfLast, "Acme, Inc, Rome", "Inc, Rome", "Acme,"},
		{givenOfFirst, familyOfFirst, "Acme & Sons", "", "Acme & Sons"},
		{givenOfLast, familyOfLast, "Cher", "", "Cher"},
	} {
		if given, family := c.given.split(c.text), c.family.split(c.text); given != c.first || family != c.surname {
			t.Errorf("%s: %q and %q", c.text, given, family)
		}
	}
}
