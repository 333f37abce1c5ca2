// Package exercise is the wing of invented data and rehearsed breaches: generated
// customers and purchases, and the drill that attacks a vault as thieves did. It uses the
// assembled product through its public API, so it stands after app, and nothing but the
// command imports it. No real customer's data belongs here.
package exercise
