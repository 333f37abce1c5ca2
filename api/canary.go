package api

import "time"

// CanaryRequest asks for decoy customers: so many, or as many as make a share. They go in
// with the customers that applications bring in next, and a share goes on being kept.
type CanaryRequest struct {
	Count  int     `json:"count,omitempty" minimum:"0" maximum:"2000" doc:"How many more. Either this or rate."`
	Rate   float64 `json:"rate,omitempty" minimum:"0" maximum:"0.2" doc:"Which share of the brand's customers is to be decoys, those there are included."`
	Domain string  `json:"domain,omitempty" maxLength:"200" doc:"The domain of their e-mail addresses; without one they have addresses at example domains."`
	Prefix string  `json:"prefix,omitempty" maxLength:"20" doc:"What their external ids begin with; empty: as the brand's own look."`
	Digits int     `json:"digits,omitempty" minimum:"0" maximum:"18" doc:"How many digits follow the prefix; 9 if 0 and there is a prefix."`
	Now    bool    `json:"now,omitempty" doc:"Make them at once, at most 2000, in an entry of the log of their own: whoever holds the database can tell those."`
	DryRun bool    `json:"dry_run,omitempty" doc:"Say how many it would be, and place none."`
}

// CanariesPlaced says what was done.
type CanariesPlaced struct {
	Placed    int      `json:"placed" doc:"How many were made at once, or would be."`
	Left      int      `json:"left,omitempty" doc:"How many are to be made at once still: ask again."`
	Waiting   int      `json:"waiting" doc:"How many wait for imports of customers, beside those of the rate."`
	Total     int      `json:"total" doc:"How many there are now."`
	Customers int64    `json:"customers" doc:"How many customers the brand has now, decoys not counted."`
	Receipt   *Receipt `json:"receipt,omitempty" doc:"Where the log says that decoys were placed."`
}

// Canary is a decoy.
type Canary struct {
	Token      string `json:"token"`
	ExternalID string `json:"external_id"`
	Email      string `json:"email,omitempty" doc:"Where mail to it would go; some have none, as customers do."`
}

// CanariesRetired says how many decoys were erased.
type CanariesRetired struct {
	Retired int `json:"retired"`
	Left    int `json:"left,omitempty" doc:"How many there are still: ask again."`
}

// CanaryMailRequest reports one mail that came for a domain of decoys. Nothing else of
// the mail is told to the vault.
type CanaryMailRequest struct {
	Recipients   []string `json:"recipients" minItems:"1" maxItems:"50" doc:"Addresses that it was sent to, decoys' or not."`
	Network      string   `json:"network,omitempty" maxLength:"64" doc:"The network of the sending machine: 192.0.2.0/24, 2001:db8::/48."`
	SenderDomain string   `json:"sender_domain,omitempty" maxLength:"253" doc:"The domain of the envelope's sender."`
	MessageHash  string   `json:"message_hash,omitempty" maxLength:"64" pattern:"^[0-9a-f]*$" doc:"SHA-256 of its Message-ID, hexadecimal."`
}

// CanaryMailAccepted answers every report alike, whether an address is a decoy's or not.
type CanaryMailAccepted struct {
	Status string `json:"status" enum:"accepted"`
}

// CanaryMail is mail that came to a decoy.
type CanaryMail struct {
	Alarm        string    `json:"alarm"`
	At           time.Time `json:"at"`
	Times        int       `json:"times" doc:"How many mails the entry stands for."`
	Token        string    `json:"token,omitempty" doc:"The decoy's; empty: many decoys were written to at once, and were counted together."`
	Export       string    `json:"export,omitempty" doc:"The one export that it was put into; empty: none. It may have left in others where it was named: see shown."`
	Shown        []uint64  `json:"shown,omitempty" doc:"The first entries of the log at which somebody was shown it or found it, exports included."`
	Network      string    `json:"network,omitempty"`
	SenderDomain string    `json:"sender_domain,omitempty"`
	MessageHash  string    `json:"message_hash,omitempty"`
}
