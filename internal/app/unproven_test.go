package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/evidence"
	"github.com/cloakroom/cloakroom/internal/app/apptest"
)

// Somebody deletes, or changes, what the vault keeps of an erased customer for the proofs of
// others. That costs the proof of the entries that both were in, and nothing else: who read
// the other customer is answered, and each line is held against its entry.
func TestALostCommitmentCostsOneProof(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]string{"deleted": `DELETE FROM log_commitments`, "changed": `UPDATE log_commitments SET hash = hash || hash`} {
		t.Run(name, func(t *testing.T) {
			apptest.Each(t, func(t *testing.T, h *apptest.House) {
				ctx := t.Context()
				agent := h.Person("alice", map[string]string{"gucci": "support-agent"})
				officer := h.Person("dana", map[string]string{"gucci": "data-protection-officer"})
				tokens := h.Put("gucci", api.Fields{"external_id": "C-1", "email": "c1@example.com"}, api.Fields{"external_id": "C-2", "email": "c2@example.com"})
				reveal := func(tokens ...string) {
					_, err := h.Disclose.Reveal(ctx, agent, "gucci", api.RevealRequest{Tokens: tokens, Fields: []string{"email"}, Purpose: "customer-support"})
					h.Must(err)
				}
				reveal(tokens...)
				reveal(tokens[1])
				_, err := h.Erase.Erase(ctx, officer, "gucci", tokens[0], false)
				h.Must(err)
				h.Later(8 * 24 * time.Hour)
				if n, err := h.Erase.DestroyCooled(ctx, time.Minute); err != nil || n != 1 {
					t.Fatalf("%d keys destroyed, %v", n, err)
				}
				ask := func() *api.Disclosures {
					d, err := h.Audit.WhoRead(ctx, officer, "gucci", tokens[1])
					h.Must(err)
					if _, err := evidence.VerifyDisclosures(d.VerifierKey, d); err != nil {
						t.Error(err)
					}
					if len(d.Disclosures) != 2 || d.Disclosures[1].Unproven != "" {
						t.Errorf("%d disclosures, or the second is unproven", len(d.Disclosures))
					}
					return d
				}
				if d := ask(); evidence.Unproven(d) != 0 || len(d.Disclosures[0].Proof.Commitment) != 32 {
					t.Errorf("a proof is missing from the beginning: %s", d.Disclosures[0].Unproven)
				}
				_, err = h.DB.Exec(ctx, do)
				h.Must(err)
				d := ask()
				if evidence.Unproven(d) != 1 || !strings.Contains(d.Disclosures[0].Unproven, "erased customers") {
					t.Errorf("unproven is %d: %s", evidence.Unproven(d), d.Disclosures[0].Unproven)
				}
				// What is unproven is held against its entry all the same.
				d.Disclosures[0].Purpose = "marketing"
				if _, err := evidence.VerifyDisclosures(d.VerifierKey, d); err == nil {
					t.Error("a line that says another purpose than its entry verifies")
				}
			})
		})
	}
}
