package server_test

import (
	"bytes"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/parquet-go/parquet-go"

	"github.com/cloakroom/cloakroom/api"
)

func TestFormsAndFormats(t *testing.T) {
	t.Parallel()
	onEach(t, onShelf(12, formsAndFormats))
}

func formsAndFormats(t *testing.T, s *shelf) {
	officer := s.as["data-protection-officer"]
	req := s.extract()
	req.Tokens, req.Purpose, req.Format = s.tokens, "migration", "parquet"
	x := s.approved(officer, req)
	b, err := s.file(officer, x.ID, 1, "purchases")
	s.must(err)
	type sale struct {
		Token    *string `parquet:"token,optional"`
		Quantity *int64  `parquet:"quantity,optional"`
		Amount   *string `parquet:"amount,optional"`
		Channel  *string `parquet:"channel,optional"`
	}
	rows, err := parquet.Read[sale](bytes.NewReader(b), int64(len(b)))
	s.must(err)
	if len(rows) != 12 || *rows[0].Quantity != 2 || *rows[0].Amount != "90.00" || rows[0].Channel != nil || !strings.HasPrefix(*rows[0].Token, "ext_") {
		t.Errorf("%d rows, the first %+v", len(rows), rows)
	}
	req.Form, req.Format, req.Fields = "masked", "jsonl", []string{"email", "attributes", "purchases"}
	x = s.approved(officer, req)
	b, err = s.file(officer, x.ID, 1, "customers")
	s.must(err)
	if lines := strings.Count(string(b), "\n"); lines != 12 || !bytes.Contains(b, []byte(`"email":"c•••@e•••.com"`)) || !bytes.Contains(b, []byte(`"attributes":{}`)) {
		t.Errorf("masked: %s", b)
	}
	b, err = s.file(officer, x.ID, 1, "purchases")
	if err != nil || bytes.Contains(b, []byte("90.00")) || !bytes.Contains(b, []byte(`"at":"2025-03"`)) {
		t.Errorf("masked purchases: %s, %v", b, err)
	}
	other, err := age.GenerateX25519Identity()
	s.must(err)
	var sealed bytes.Buffer
	_, err = officer.ExportFile(t.Context(), "gucci", x.ID, 1, "customers", &sealed)
	s.must(err)
	if _, err := age.Decrypt(&sealed, other); err == nil {
		t.Error("somebody else opens the file")
	}
	if _, err := s.file(officer, x.ID, 2, "customers"); !isType(err, api.TypeNotFound) {
		t.Errorf("a part that is not there: %v", err)
	}
}
