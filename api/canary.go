package api

import "time"

// CanaryRequest asks for canaries (decoy customers): a number, or a share. They are mixed into
// future imports, which also maintain the share.
type CanaryRequest struct {
	Count  int     `json:"count,omitempty" minimum:"0" maximum:"2000" doc:"Number of canaries to add; either this or rate."`
	Rate   float64 `json:"rate,omitempty" minimum:"0" maximum:"0.2" doc:"Share of the brand's customers that are canaries, existing ones included."`
	Domain string  `json:"domain,omitempty" maxLength:"200" doc:"Domain of their e-mail addresses; empty: example domains."`
	Prefix string  `json:"prefix,omitempty" maxLength:"20" doc:"Prefix of their external ids; empty: like the brand's own."`
	Digits int     `json:"digits,omitempty" minimum:"0" maximum:"18" doc:"Number of digits after the prefix; 0: 9 with a prefix."`
	Now    bool    `json:"now,omitempty" doc:"Place them now, at most 2000, in their own log entry; anyone who can read the database can recognise them."`
	DryRun bool    `json:"dry_run,omitempty" doc:"Show the number; change nothing."`
}

// CanariesPlaced says what was done.
type CanariesPlaced struct {
	Placed    int      `json:"placed" doc:"Number placed now, or that would be."`
	Left      int      `json:"left,omitempty" doc:"Number not yet placed: repeat the request."`
	Waiting   int      `json:"waiting" doc:"Number waiting for imports, without those of the rate."`
	Total     int      `json:"total" doc:"Number of canaries now."`
	Customers int64    `json:"customers" doc:"Number of customers of the brand, canaries excluded."`
	Receipt   *Receipt `json:"receipt,omitempty" doc:"Log entry of the placement."`
}

// Canary is a decoy customer.
type Canary struct {
	Token      string `json:"token"`
	ExternalID string `json:"external_id"`
	Email      string `json:"email,omitempty" doc:"E-mail address; some canaries have none, like customers."`
}

// CanariesRetired says how many decoys were erased.
type CanariesRetired struct {
	Retired int `json:"retired"`
	Left    int `json:"left,omitempty" doc:"Number still to erase: repeat the request."`
}

// CanaryMailRequest reports one mail that came for a domain of decoys. Nothing else of
// the mail is told to the vault.
type CanaryMailRequest struct {
	Recipients   []string `json:"recipients" minItems:"1" maxItems:"50" doc:"Addresses that it was sent to, of canaries or not."`
	Network      string   `json:"network,omitempty" maxLength:"64" doc:"The network of the sending machine: 192.0.2.0/24, 2001:db8::/48."`
	SenderDomain string   `json:"sender_domain,omitempty" maxLength:"253" doc:"The domain of the envelope's sender."`
	MessageHash  string   `json:"message_hash,omitempty" maxLength:"64" pattern:"^([0-9a-f]{64})?$" doc:"SHA-256 of its Message-ID, hexadecimal."`
}

// CanaryMailAccepted answers every report alike, whether an address is a decoy's or not.
type CanaryMailAccepted struct {
	Status string `json:"status" enum:"accepted"`
}

// CanaryMail is mail that came to a decoy.
type CanaryMail struct {
	Alarm        string    `json:"alarm"`
	At           time.Time `json:"at"`
	Times        int       `json:"times" doc:"Number of mails counted in the entry."`
	Token        string    `json:"token,omitempty" doc:"Token of the canary; empty: mails to many canaries were counted together."`
	Export       string    `json:"export,omitempty" doc:"The export that contains it; empty: none. Other exports may name it: see shown."`
	Shown        []uint64  `json:"shown,omitempty" doc:"The first entries of the log at which somebody was shown it or found it, exports included."`
	Network      string    `json:"network,omitempty"`
	SenderDomain string    `json:"sender_domain,omitempty"`
	MessageHash  string    `json:"message_hash,omitempty"`
}
