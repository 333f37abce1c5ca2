package api

import "time"

// Verdicts of a claim.
const (
	ClaimExplained = "explained" // a disclosure of ours explains the sample
	ClaimOurs      = "ours"      // our customers, and no disclosure of ours explains the list
	ClaimForeign   = "foreign"   // somebody else's list
	ClaimUndecided = "undecided"
	ClaimSmall     = "small" // too few rows are ours, or the answer does not say whether any is
)

// ClaimRequest asks whether a sample is ours. The sample itself is the body.
type ClaimRequest struct {
	Rows     int      // how many rows the sample has at most: each counts
	Digest   string   // SHA-256 of the sample, in hexadecimal
	Brands   []string // from the group: the brands, all if empty
	Incident string   // the incident that the answer is kept with
	Exact    bool     // figures as they are, which takes a second person
	Ticket   string
}

// Claim is the answer about a list that somebody claims to have.
type Claim struct {
	Owner    string      `json:"owner" doc:"Brand, or the group, in whose log the answer is."`
	Entry    uint64      `json:"entry" doc:"Its entry there."`
	At       time.Time   `json:"at"`
	By       string      `json:"by"`
	Incident string      `json:"incident,omitempty"`
	Ticket   string      `json:"ticket,omitempty"`
	Digest   string      `json:"digest" doc:"SHA-256 of the sample. The sample itself is not kept."`
	Exact    bool        `json:"exact" doc:"The figures are as they are. Otherwise they are rounded and shifted, so that they do not tell of one person whether they are a customer."`
	Alone    bool        `json:"alone,omitempty" doc:"It is exact although no second person exists yet."`
	Read     ClaimRead   `json:"read"`
	Verdict  string      `json:"verdict" enum:"explained,ours,foreign,undecided,small"`
	Brands   []ClaimPart `json:"brands"`
	Limits   []string    `json:"limits" doc:"What the answer does not say."`
}

// ClaimRead is how the sample was read.
type ClaimRead struct {
	Format     string        `json:"format" enum:"csv,json,sql,text"`
	Encoding   string        `json:"encoding"`
	Delimiter  string        `json:"delimiter,omitempty"`
	Header     bool          `json:"header,omitempty"`
	Columns    []ClaimColumn `json:"columns"`
	Rows       int           `json:"rows"`
	Repeated   int           `json:"repeated" doc:"Rows of somebody who had one already."`
	Unreadable int           `json:"unreadable"`
	Empty      int           `json:"empty" doc:"Rows without an external id, e-mail address or phone number."`
	Cards      int           `json:"cards" doc:"Rows with a payment card number. The vault keeps none."`
}

// ClaimColumn is a column of a sample and what it was taken for.
type ClaimColumn struct {
	At    int    `json:"at" doc:"From 1."`
	Field string `json:"field,omitempty"`
	From  string `json:"from,omitempty" enum:"name,values"`
}

// ClaimPart is what a claim found at one brand.
type ClaimPart struct {
	Brand     string        `json:"brand"`
	Begun     uint64        `json:"begun" doc:"The entry of the brand's log that counted the rows, before any was looked up."`
	Verdict   string        `json:"verdict" enum:"explained,ours,foreign,undecided,small"`
	Ours      int           `json:"ours" doc:"Rows that lead to a customer; without exact figures, a multiple of ten, and 0 where there are fewer."`
	Customers int           `json:"customers" doc:"Distinct customers among them."`
	Altered   int           `json:"altered" doc:"Rows of ours with a value that the customer has not and had not, as far as is kept."`
	Former    int           `json:"former" doc:"Rows of ours with a value that the customer had before."`
	Mixed     int           `json:"mixed" doc:"Rows whose identifiers are of several customers."`
	NotOurs   int           `json:"not_ours" doc:"Rows that lead to nobody."`
	Fields    []ClaimField  `json:"fields,omitempty"`
	When      *ClaimWhen    `json:"when,omitempty"`
	Explained float64       `json:"explained_weight" doc:"Weight, from 0 to 1, of all disclosures together."`
	Elsewhere float64       `json:"elsewhere_weight" doc:"Weight of: our customers, from another place than a disclosure in the log."`
	Foreign   float64       `json:"foreign_weight" doc:"Weight of: somebody else's list."`
	Tie       int           `json:"tie" doc:"How many of the first sources are the answer: this sample does not distinguish them."`
	Sources   []ClaimSource `json:"sources,omitempty"`
	Second    []ClaimSource `json:"second,omitempty" doc:"Sources of the rows that the answer leaves over."`
	Left      int           `json:"left,omitempty" doc:"Customers of the sample that the answer leaves over."`
	Canaries  []ClaimCanary `json:"canaries,omitempty" doc:"Canaries in the sample, and who saw each. With exact figures only."`
	Erased    int           `json:"erased" doc:"Customers erased since. No row can be matched with them."`
	Words     []string      `json:"words" doc:"The answer in words."`
}

// ClaimField is how the rows of ours compare in a field.
type ClaimField struct {
	Field  string `json:"field"`
	Same   int    `json:"same"`
	Former int    `json:"former"`
	Other  int    `json:"other"`
}

// ClaimWhen says when a list was taken, by the values that it has.
type ClaimWhen struct {
	From    time.Time `json:"from,omitzero" doc:"Not before: values of the sample came into force then, or customers joined."`
	To      time.Time `json:"to,omitzero" doc:"Not after: values of the sample were replaced then."`
	Since   int       `json:"since" doc:"Rows with a value, or a customer, that is dated on the day of from."`
	Until   int       `json:"until" doc:"Rows with a value that was replaced on the day of to."`
	Dated   int       `json:"dated" doc:"Rows with a value whose change is kept."`
	Against int       `json:"against" doc:"Rows that contradict these times."`
	Joined  int       `json:"joined_since" doc:"Customers who joined after the newest of the sample."`
}

// ClaimSource is a disclosure, or all that somebody was shown, which explains a sample.
type ClaimSource struct {
	Names   []ClaimName `json:"names" doc:"Several names are of the same customers, which nothing tells apart."`
	Size    int         `json:"size" doc:"Distinct customers that it has."`
	Covered int         `json:"covered" doc:"Of those of the sample."`
	Weight  float64     `json:"weight"`
	First   time.Time   `json:"first"`
	Last    time.Time   `json:"last"`
	Lacks   bool        `json:"lacks,omitempty" doc:"The sample has fields that it never showed."`
}

// ClaimName names a source.
type ClaimName struct {
	Kind string `json:"kind" enum:"export,entry,credential,principal,recipient"`
	ID   string `json:"id"`
	Of   string `json:"of,omitempty" doc:"Of a credential, an export or an entry: whose."`
}

// ClaimCanary is a canary in a sample.
type ClaimCanary struct {
	Number int         `json:"number"`
	Seen   []ClaimName `json:"seen" doc:"Who saw it, by the log."`
}

// ClaimSummary is a claim in a list.
type ClaimSummary struct {
	Entry    uint64    `json:"entry"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Incident string    `json:"incident,omitempty"`
	Digest   string    `json:"digest"`
	Rows     int       `json:"rows"`
	Verdict  string    `json:"verdict"`
}
