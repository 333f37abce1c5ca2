package api

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
