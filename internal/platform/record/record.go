// Package record defines what Cloakroom keeps about a customer, in clear and in
// memory: the fields of a profile, the purchases, their normal forms and the
// versioned binary form in which they are sealed.
//
// It knows nothing of keys, storage or policy. Every other package speaks in its
// words: an [Ordinal] names a customer inside the deployment, a [BrandID] a brand,
// a [Field] one kind of personal data and a [FieldSet] several.
package record

import (
	"fmt"
	"math/bits"
	"strings"
)

// Ordinal numbers a customer, densely from 1, unique in the whole deployment, so
// that a set of customers is a bitmap. It never leaves the server: outside, a
// customer is a token. The zero Ordinal is nobody.
type Ordinal uint32

// FirstNobody is the first ordinal that no customer gets. Earlier releases logged a
// search that found nobody under one of these, drawn at random. Their entries stay in the
// log, so a reader separates them from customers with [Customers].
const FirstNobody Ordinal = 1<<32 - 1<<20

// Nobody reports whether the ordinal stands for a search that found nobody.
func (o Ordinal) Nobody() bool { return o >= FirstNobody }

// Customers returns those of an ascending list who are customers, and how many of the
// list stand for a search that found nobody.
func Customers(ords []Ordinal) (customers []Ordinal, nobody int) {
	n := len(ords)
	for n > 0 && ords[n-1].Nobody() {
		n--
	}
	return ords[:n], len(ords) - n
}

// BrandID numbers a brand (a controller in the sense of GDPR Art. 4(7)).
type BrandID uint16

// Group is the brand number of the group's own administration. It has a log but
// no customers.
const Group BrandID = 0

// Field is one kind of personal data, and the unit in which policy, masks and the
// log speak of it. The numbers are part of the log's format: never renumber.
type Field uint8

// The fields of a customer. The first [NumColumns] and Standing hold one string each:
// [Field.Text] tells.
const (
	ExternalID Field = iota // the brand's own customer number, unique in the brand
	GivenName
	FamilyName
	Email
	Phone
	Street
	PostalCode
	City
	Region
	Country // ISO 3166-1 alpha-2
	Locale  // BCP 47
	BirthDate
	CreatedAt
	Attributes // every attr.NAME together
	Purchases
	Standing // what has to be known before anybody writes to the customer: see [ReadStanding]

	NumFields               // how many fields there are
	NumColumns = Attributes // fields below this are the columns
)

var fieldNames = [NumFields]string{
	"external_id", "given_name", "family_name", "email", "phone", "street", "postal_code",
	"city", "region", "country", "locale", "birth_date", "created_at", "attributes", "purchases", "standing",
}

// textBits are the fields that hold one string.
const textBits = 1<<NumColumns - 1 | 1<<Standing

// Text reports whether the field holds one string.
func (f Field) Text() bool { return f < NumFields && textBits>>f&1 == 1 }

// Texts are the fields that hold one string, in ascending order.
var Texts = FieldSet(textBits).List()

// String returns the field's name as it stands in files, requests and policies.
func (f Field) String() string {
	if f >= NumFields {
		return fmt.Sprintf("field(%d)", uint8(f))
	}
	return fieldNames[f]
}

// ParseField returns the field of that name. An unknown name is an error that
// lists the known ones, because a misspelt field must never be dropped silently.
func ParseField(name string) (Field, error) {
	for i, n := range fieldNames {
		if n == name {
			return Field(i), nil
		}
	}
	return 0, fmt.Errorf("unknown field: known fields are %s", strings.Join(fieldNames[:], ", "))
}

// FieldSet is a set of fields: bit i stands for Field i.
type FieldSet uint32

// AllFields holds every field, purchases included.
const AllFields FieldSet = 1<<NumFields - 1

// Fields returns the set of the given fields.
func Fields(fs ...Field) FieldSet {
	var s FieldSet
	for _, f := range fs {
		s |= 1 << f
	}
	return s
}

// ParseFields returns the set of the named fields.
func ParseFields(names []string) (FieldSet, error) {
	var s FieldSet
	for _, n := range names {
		f, err := ParseField(n)
		if err != nil {
			return 0, err
		}
		s |= 1 << f
	}
	return s, nil
}

// Has reports whether f is in the set.
func (s FieldSet) Has(f Field) bool { return s&(1<<f) != 0 }

// With returns the set with f in it.
func (s FieldSet) With(f Field) FieldSet { return s | 1<<f }

// Without returns the set without f.
func (s FieldSet) Without(f Field) FieldSet { return s &^ (1 << f) }

// Len returns the number of fields in the set.
func (s FieldSet) Len() int { return bits.OnesCount32(uint32(s)) }

// List returns the fields in ascending order.
func (s FieldSet) List() []Field {
	out := make([]Field, 0, s.Len())
	for f := range NumFields {
		if s.Has(f) {
			out = append(out, f)
		}
	}
	return out
}

// Names returns the names of the fields in ascending order of field.
func (s FieldSet) Names() []string {
	out := make([]string, 0, s.Len())
	for _, f := range s.List() {
		out = append(out, f.String())
	}
	return out
}

// String returns the names joined by commas.
func (s FieldSet) String() string { return strings.Join(s.Names(), ",") }
