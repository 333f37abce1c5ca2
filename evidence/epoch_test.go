package evidence

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cloakroom/cloakroom/internal/platform/entry"
)

// checkpointOf signs the tree of some leaves under the origin of an epoch.
func checkpointOf(t testing.TB, seed byte, name string, leaves [][]byte) []byte {
	t.Helper()
	_, hashes := write(t, signer(t, seed), leaves)
	root, err := tlog.TreeHash(int64(len(leaves)), hashes)
	if err != nil {
		t.Fatal(err)
	}
	of := entry.EpochOrigin(origin, name)
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	vkey, err := note.NewEd25519VerifierKey(of, key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: of, Tree: tlog.Tree{N: int64(len(leaves)), Hash: root}}.String()}, &signs{v, key, vkey})
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

const second = "2-0a0b0c0d"

// parted is a log of ten entries that lost its last four and goes on in a second epoch. change
// changes what the entry says that begins it.
func parted(t testing.TB, change func(*entry.EpochBegun)) (f files, former, lost []byte) {
	t.Helper()
	all := leaves(t, 10)
	former, lost = checkpointOf(t, 1, "", all[:6]), checkpointOf(t, 1, "", all)
	d := entry.EpochBegun{Epoch: 2, Name: second, Cause: entry.CauseRestore, By: entry.ByOwner, Checkpoint: string(former), Kept: string(lost), Missing: 4}
	if change != nil {
		change(&d)
	}
	leaf, _, err := entry.Marshal(&entry.Entry{Kind: entry.KindEpoch, At: entry.DayTime(20), Brand: 1, Detail: d}, entry.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	log := append(append([][]byte{}, all[:6]...), leaf, leafOf(t, 30), leafOf(t, 31))
	f, _ = write(t, signer(t, 1), log)
	f[checkpointPath] = checkpointOf(t, 1, second, log)
	return f, former, lost
}

// One key and whatever checkpoint of a former epoch verify a log that goes on after a loss.
func TestALogVerifiesAcrossEpochs(t *testing.T) {
	f, former, lost := parted(t, nil)
	s := signer(t, 1)
	later, err := note.NewEd25519VerifierKey(entry.EpochOrigin(origin, second), s.key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	for _, vkey := range []string{s.vkey, later} {
		r, err := Verify(t.Context(), f, vkey, former, nil)
		if err != nil || r.OlderSize != 6 || r.Lost != 0 || len(r.Epochs) != 1 || r.Epochs[0].First != 6 {
			t.Errorf("%+v, %v", r, err)
		}
		r, err = Verify(t.Context(), f, vkey, lost, nil)
		if err != nil || r.OlderSize != 0 || r.Lost != 4 {
			t.Errorf("of what is lost: %+v, %v", r, err)
		}
	}
	if r, err := Verify(t.Context(), f, s.vkey, checkpointOf(t, 1, "", leaves(t, 8)), nil); err != nil || r.Lost != 2 {
		t.Errorf("of some of what is lost: %+v, %v", r, err)
	}
}

func TestAnEpochHidesNothing(t *testing.T) {
	s := signer(t, 1)
	_, _, lost := parted(t, nil)
	others := leaves(t, 12)
	others[3] = leafOf(t, 40)
	for name, x := range map[string]struct {
		change func(*entry.EpochBegun)
		older  []byte
		want   error
	}{
		"it names no loss":                 {func(d *entry.EpochBegun) { d.Kept, d.Missing = "", 0 }, lost, ErrShorter},
		"it names a smaller loss":          {func(d *entry.EpochBegun) { d.Kept = string(checkpointOf(t, 1, "", leaves(t, 9))) }, lost, ErrShorter},
		"more was seen than it names":      {nil, checkpointOf(t, 1, "", leaves(t, 11)), ErrShorter},
		"another past was seen":            {nil, checkpointOf(t, 1, "", others[:5]), ErrOlder},
		"another end of that length":       {nil, checkpointOf(t, 1, "", others[:10]), ErrShorter},
		"an epoch that the log has not":    {nil, checkpointOf(t, 1, "2-ffffffff", leaves(t, 7)), ErrOlder},
		"a later one of its own was seen":  {nil, checkpointOf(t, 1, second, leaves(t, 12)), ErrShorter},
		"it goes on from another tree":     {func(d *entry.EpochBegun) { d.Checkpoint = string(checkpointOf(t, 1, "", others[:6])) }, nil, ErrEntry},
		"it goes on from fewer":            {func(d *entry.EpochBegun) { d.Checkpoint = string(checkpointOf(t, 1, "", leaves(t, 5))) }, nil, ErrEntry},
		"what it goes on from is unsigned": {func(d *entry.EpochBegun) { d.Checkpoint = string(checkpointOf(t, 2, "", leaves(t, 6))) }, nil, ErrEntry},
		"what it names as lost is not":     {func(d *entry.EpochBegun) { d.Kept = string(checkpointOf(t, 2, "", leaves(t, 10))) }, nil, ErrEntry},
		"its number is another":            {func(d *entry.EpochBegun) { d.Epoch, d.Name = 3, "3-0a0b0c0d" }, nil, ErrEntry},
		"its name is another":              {func(d *entry.EpochBegun) { d.Name = "2-0a0b0c0e" }, nil, ErrEntry},
		"its name is none":                 {func(d *entry.EpochBegun) { d.Name = "two" }, nil, ErrEntry},
	} {
		f, _, _ := parted(t, x.change)
		if _, err := Verify(t.Context(), f, s.vkey, x.older, nil); !errors.Is(err, x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f, _, _ := parted(t, nil)
	if _, err := Verify(t.Context(), f, signer(t, 2).vkey, nil, nil); !errors.Is(err, ErrSignature) {
		t.Errorf("another brand's key: %v", err)
	}
	f[checkpointPath] = lost
	if _, err := Verify(t.Context(), f, s.vkey, nil, nil); err == nil {
		t.Error("the head is of the former epoch, and nothing was found")
	}
}
