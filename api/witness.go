package api

import "time"

// WitnessState says how far a witness is with a brand's log.
type WitnessState struct {
	Witness  string    `json:"witness"`
	VKey     string    `json:"verifier_key" doc:"The key that verifies its cosignatures (C2SP tlog-cosignature)."`
	URL      string    `json:"url"`
	State    string    `json:"state" enum:"signs,waits,fails"`
	What     string    `json:"what,omitempty" doc:"Why it does not sign."`
	Origin   string    `json:"origin" doc:"Of the log as it is now: what the witness's operator enrols."`
	LogKey   string    `json:"log_key" doc:"The log's verifier key under that origin."`
	Size     uint64    `json:"size" doc:"Entries that the log has."`
	Signed   uint64    `json:"signed" doc:"Entries of the newest checkpoint that this server saw it sign."`
	SignedAt time.Time `json:"signed_at,omitzero" doc:"By the witness's clock."`
	// Last is that checkpoint, which may be of an earlier epoch.
	Last string `json:"last,omitempty" doc:"That checkpoint with its cosignature; of an earlier epoch where the witness has not signed this one."`
}
