package api

// CanaryRequest asks for decoy customers: so many, or as many as make a share.
type CanaryRequest struct {
	Count  int     `json:"count,omitempty" minimum:"0" maximum:"2000" doc:"How many more. Either this or rate."`
	Rate   float64 `json:"rate,omitempty" minimum:"0" maximum:"0.2" doc:"Which share of the brand's customers is to be decoys, those there are included; at most 2000 are placed at once."`
	Domain string  `json:"domain,omitempty" maxLength:"200" doc:"The domain of their e-mail addresses; without one they have addresses at example domains."`
	Prefix string  `json:"prefix,omitempty" maxLength:"20" doc:"What their external ids begin with; C if empty."`
	Digits int     `json:"digits,omitempty" minimum:"0" maximum:"18" doc:"How many digits follow the prefix; 9 if 0."`
	DryRun bool    `json:"dry_run,omitempty" doc:"Say how many it would be, and place none."`
}

// CanariesPlaced says what was done.
type CanariesPlaced struct {
	Placed    int      `json:"placed" doc:"How many were placed, or would be."`
	Left      int      `json:"left,omitempty" doc:"How many are missing to the rate: ask again."`
	Total     int      `json:"total" doc:"How many there are now."`
	Customers int64    `json:"customers" doc:"How many customers the brand has now, decoys included."`
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
