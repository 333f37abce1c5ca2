package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cloakroom/cloakroom/api"
	"github.com/cloakroom/cloakroom/evidence"
)

// provenFile is the answer to log verify --proof --json.
type provenFile struct {
	Origin      string  `json:"origin"`
	Size        uint64  `json:"size"`
	Token       string  `json:"token,omitempty"`
	Disclosures int     `json:"disclosures,omitempty"`
	Unproven    int     `json:"unproven,omitempty"`
	Entry       *uint64 `json:"entry,omitempty"`
}

// verifyProof checks a file that who-read --json or log proof --json printed, offline.
func (c *logVerifyCmd) verifyProof(std Streams, vkey string) error {
	b, err := os.ReadFile(c.Proof)
	if err != nil {
		return fmt.Errorf("reading the proof: %w", err)
	}
	var shape struct {
		Disclosures json.RawMessage `json:"disclosures"`
		Leaf        json.RawMessage `json:"leaf"`
	}
	if err := json.Unmarshal(b, &shape); err != nil || (shape.Disclosures == nil) == (shape.Leaf == nil) {
		return errors.New("this is no proof: give the file that `cloakroom who-read --json` or `cloakroom log proof --json` printed")
	}
	origin, _, _ := strings.Cut(strings.TrimSpace(vkey), "+")
	out := provenFile{Origin: origin}
	var say func(w io.Writer)
	if shape.Leaf != nil {
		var p provenEntry
		if err := json.Unmarshal(b, &p); err != nil {
			return fmt.Errorf("reading the proof: %w", err)
		}
		inclusion, err := evidence.Hashes(p.Inclusion)
		if err != nil {
			return err
		}
		e, size, err := evidence.VerifyInclusion(vkey, []byte(p.Checkpoint), p.Leaf, p.Index, inclusion)
		if err != nil {
			return err
		}
		out.Size, out.Entry = size, &p.Index
		say = func(w io.Writer) {
			fmt.Fprintf(w, "%s signed a log of %d entries; entry %d of it is this %s\n", origin, size, p.Index, e.Kind)
		}
	} else {
		var d api.Disclosures
		if err := json.Unmarshal(b, &d); err != nil {
			return fmt.Errorf("reading the proof: %w", err)
		}
		tree, err := evidence.VerifyDisclosures(vkey, &d)
		if err != nil {
			return err
		}
		out.Size, out.Token, out.Disclosures, out.Unproven = uint64(tree.N), d.Token, len(d.Disclosures), evidence.Unproven(&d)
		say = func(w io.Writer) {
			if out.Unproven > 0 {
				fmt.Fprintf(w, "whose %d of these disclosures are cannot be proven: the vault says that it lost their commitments\n", out.Unproven)
			}
			fmt.Fprintf(w, "%s signed a log of %d entries; %d disclosures of %s are in it as the file says\n", origin, tree.N, len(d.Disclosures), d.Token)
		}
	}
	return c.print(std, out, say)
}
