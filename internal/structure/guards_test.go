package structure

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/parser"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// guard is one place in the program that keeps a promise, and the same place without it.
// The program itself has no switches: the text is replaced in an overlay of the build.
type guard struct {
	row      string // of docs/promises.md
	file     string
	old, new string
	test     string // folder.Name of the test that turns red then
}

// guards switches off each guard of docs/promises.md. A row whose test plants its faults
// itself, such as those of this package, names that test in plants.
var guards = []guard{
	{"P1.1", "internal/vault/seal/seal.go", "append(b, byte(k)), number)", "append(b, byte(k)), 0)", "internal/vault/seal.TestTamperedRecordsSaySo"},
	{"P1.2", "internal/vault/seal/catalogue.go", "catalogueBuyers = 3", "catalogueBuyers = 1", "internal/vault/seal.TestOnlyWhatSeveralBoughtIsCatalogued"},

	{"P2.1", "internal/vault/seal/open.go", "if !receipt.Covers(r.ord) {", "if false {", "internal/vault/seal.TestNothingOpensWithoutItsReceipt"},
	{"P2.1", "internal/vault/seal/open.go", "if !by.Valid() || ", "if ", "internal/vault/seal.TestNothingOpensWithoutItsReceipt"},
	{"P2.2", "internal/vault/ledger/receipt.go", "return r.size > 0", "return true", "internal/vault/ledger.TestZeroReceiptsCoverNothing"},
	{"P2.3", "internal/vault/seal/extract.go", " || receipt.Kind() != entry.KindExport || f.Fields()&^receipt.Fields() != 0 {", " || receipt.Kind() == entry.Kind(0) {", "internal/vault/seal.TestAFilterNeedsItsEntry"},

	{"P2.20", "internal/customer/message/send.go", "if !ok || m.Job != p.job.ID || ", "if ok && m.Job != p.job.ID && ", "internal/customer/message.TestAForgedRowSendsNothing"},
	{"P3.60", "internal/customer/message/desk.go", "Class: budget.Message, ", "Class: budget.Masked, ", "internal/customer/message.TestMessagesHaveABudget"},
	{"P3.61", "internal/customer/message/send.go", "if !set.Has(m.ord) {", "if !set.Has(m.ord) && m.ord == 0 {", "internal/customer/campaign.TestNobodyOutsideTheScope"},
	{"P3.62", "internal/customer/message/post.go", "if err := claim(); err != nil {", "if err := error(nil); err != nil {", "internal/customer/message.TestAMailServerThatFails"},
	{"P3.63", "internal/customer/message/send.go", "case j.Epoch != epoch:", "case j.Epoch != epoch && j.ID == 0:", "internal/customer/campaign.TestACampaignPauses"},
	{"P3.1", "internal/vault/budget/budget.go", "if uint64(used)+uint64(asked) <= uint64(limit-kept) {", "if uint64(used) <= uint64(limits[w].Limit) {", "internal/vault/budget.TestNoHistoryTakesMoreThanTheBound"},
	{"P3.2", "internal/vault/ledger/projection.go", "return p.take(it.index, e, ords)", "return p.note(it.index, e, ords)", "internal/vault/ledger.TestConcurrentServersShareOneBudget"},
	{"P3.7", "internal/vault/ledger/draft.go", "if d.stops(&e) {", "if false {", "internal/vault/ledger.TestEveryServerObeysAStopOfTheLog"},
	{"P3.8", "internal/vault/ledger/commit.go", "if err := c.settle(); err != nil {", "if err := error(nil); err != nil {", "internal/vault/ledger.TestAnOwedStopIsWrittenBeforeTheNextRelease"},
	{"P3.9", "internal/vault/ledger/commit.go", "apart.Abs() > db.MaxApart {", "apart.Abs() > 1000*db.MaxApart {", "internal/vault/ledger.TestAJumpOfTheClockIsNotLogged"},
	{"P3.3", "internal/vault/budget/rules.go", "\t\t\tif d.kind == Lineage {", "\t\t\tif d.kind == Lineage && d.role == \"nobody\" {", "internal/web/server.TestASecondKeyGainsNothing"},
	{"P3.4", "internal/vault/disclose/disclose.go", "r, err := d.Ledger.Append(ctx, nobody, nil)", "_ = nobody\n\t\tr, err := d.Ledger.Record(ctx, ledger.Event{Kind: entry.KindAudit, Who: v.Who})", "internal/web/server.TestSearchesThatFindNobodyAreCounted"},

	{"P3.6", "internal/vault/ledger/projection.go", "return append(out, d), nil\n", "_ = d\n\treturn out, nil\n", "internal/vault/ledger.TestSeveralServersShareTheBudgetOfWrites"},
	{"P3.6", "internal/vault/intake/bounds.go", "ev.Class = budget.Write.String()", "ev.Class = \"\"\n\t\t\t_ = budget.Write", "internal/web/server.TestAStolenKeyDestroysNoMoreThanItsBudget"},
	{"P3.40", "internal/vault/disclose/cohort.go", "		if !c.has(ord) {\n", "		if !c.has(ord) && ord == 0 {\n", "internal/vault/disclose.TestNobodyOutsideTheApprovedVersionIsOpened"},
	{"P3.40", "internal/vault/ledger/projection.go", "d.Approval = entry.ApprovalOf(e.Detail)", "d.Approval = 0 * entry.ApprovalOf(e.Detail)", "internal/vault/disclose.TestTheLogBoundsWhatAnApprovedVersionOpens"},
	{"P3.41", "internal/respond/incident/approve.go", "return change.Need{Two: true}, nil", "return change.Need{}, nil", "internal/respond/incident.TestWhereTheCustomersOfAnApprovedVersionLive"},
	{"P3.50", "internal/platform/entry/entry.go", "\t\treturn b.Rows\n", "\t\treturn 1 + 0*b.Rows\n", "internal/respond/claim.TestEveryRowOfASampleCounts"},
	{"P3.51", "internal/respond/claim/claim.go", "return change.Need{Two: p.Exact}, nil", "return change.Need{Two: p.Exact && p.Rows == 0}, nil", "internal/respond/claim.TestALargeSampleTakesTwoPeople"},

	{"P4.1", "evidence/replay.go", "case r.root != r.head.Hash:", "case false:", "evidence.TestAttacks"},
	{"P4.2", "evidence/epoch.go", "case known && r.marked && r.olderRoot == r.older.Hash:", "case known && r.marked:", "evidence.TestAttacks"},
	{"P4.3", "internal/vault/ledger/commit.go", "if !bytes.Equal(want, s.cp) {", "if len(want) == 0 {", "internal/vault/ledger.TestAttacksOnTheLogAreFound"},
	{"P4.4", "internal/vault/ledger/snapshot.go", "return h, err == nil && bytes.Equal(want, data)", "return h, err == nil && want != nil", "internal/vault/ledger.TestAChangedSnapshotIsPassedOver"},
	{"P4.5", "internal/vault/ledger/index.go", "n < 1 || !hmac.Equal(c.indexCode(key, bucket, first, data[:n]), data[n:])", "n < 1 || hmac.Equal(nil, data[n:])", "internal/vault/ledger.TestAChangedIndexHidesNothing"},
	{"P4.6", "internal/vault/ledger/commit.go", "		err = c.holdRead(ctx, p)\n", "		_ = c.holdRead\n", "internal/vault/ledger.TestARestartedServerSignsNoSecondHistory"},
	{"P4.7", "internal/vault/ledger/watch.go", "return tree.add(it.leaf)\n\t\t})\n\t\tif err != nil {\n\t\t\treturn err", "return tree.add(it.leaf)\n\t\t})\n\t\tif err != nil {\n\t\t\treturn nil", "internal/vault/ledger.TestAServerLooksAfterItsLogs"},
	{"P4.8", "internal/app/app.go", "if err == nil && !seen.Empty() {", "if err == nil && !seen.Empty() && false {", "internal/app.TestAnEmptiedDatabaseIsNoNewVault"},
	{"P4.9", "internal/vault/ledger/rights.go", "fits := size == c.proj.known && len(c.proj.rights.Hold(c.secret, brand, found)) == 0", "fits := size > 0 || len(c.proj.rights.Hold(c.secret, brand, found)) == 0", "internal/app.TestWhatTheLogDidNotGrantDoesNotExist"},
	{"P4.9", "internal/vault/ledger/rights.go", "fits := size == c.proj.known && len(", "fits := size > 0 && len(", "internal/vault/ledger.TestAServerThatIsBehindAsksTheLog"},
	{"P4.9", "internal/vault/containment/containment.go", "o.Brand == brand && rights.Holds(q, o.row()) != nil", "o.Brand == brand && false", "internal/app.TestAnActConfirmsNoChangedRow"},
	{"P4.9", "internal/vault/ledger/rights.go", "if p.moved != nil && len(e.Rows) > 0 && p", "if p.moved != nil && len(e.Rows) > 1<<30 && p", "internal/app.TestAMovedRevisionKeepsNobodyInForce"},
	{"P4.10", "evidence/epoch.go", "beyond && c.N < l.Tree.N", "c.N < l.Tree.N", "evidence.TestAnEpochHidesNothing"},
	{"P4.10", "internal/vault/ledger/watch.go", "case uint64(old.N) > from:", "case uint64(old.N) > from && false:", "internal/vault/ledger.TestAServerThatSawMoreDoesNotFollowANewEpoch"},
	{"P4.19", "evidence/file.go", "if want[i] != buf[i] {", "if want[i] != buf[i] && i < 0 {", "evidence.TestAFlippedBitAnywhereIsFoundAndNamed"},
	{"P4.20", "evidence/filecheck.go", "	case same:\n", "	case same || r.digest != \"\":\n", "evidence.TestLiesThatAreSignedAreFound"},
	{"P4.21", "internal/watch/witness/witness.go", "return nil, time.Time{}, ErrUnreachable", "return nil, time.Time{}, nil", "internal/watch/witness.TestAStrangeWitnessSignsNothing"},
	{"P4.15", "internal/web/server/log.go", "if !c.Owner {", "if false {", "internal/web/server.TestAServerFollowsANewEpochWhenItsOperatorConfirms"},
	{"P4.16", "internal/govern/upkeep/loss.go", "return change.Need{Two: true}, nil", "return change.Need{}, nil", "internal/govern/upkeep.TestALossIsAcceptedByTwoPeople"},
	{"P4.16", "internal/vault/change/people.go", "return !cut, nil", "return !cut || true, nil", "internal/govern/upkeep.TestBrokenGlassAcceptsALossAtTheSocketAlone"},

	{"P5.1", "internal/vault/seal/index.go", "\t\tif ok {\n\t\t\tkept", "\t\tif ok = true; ok {\n\t\t\tkept", "internal/vault/disclose.TestASearchDropsChanceMatchesBeforeItLogs"},
	{"P5.2", "internal/vault/audit/audit.go", "if !rel.Released() || ", "if ", "internal/web/server.TestTheWayOfOneCustomer"},
	{"P5.3", "evidence/disclosures.go", "if x.Proof.Counter != uint32(i) {", "if x.Proof.Counter > 1<<30 {", "evidence.TestDisclosuresVerifyOffline"},
	{"P5.4", "internal/vault/ledger/snapshot.go", "codec.Put(w, uint64(i), uint64(count))", "codec.Put(w, uint64(i), uint64(count)+1)", "internal/vault/ledger.TestWhatFollowsFromTheLogIsTheSameByEveryWay"},
	{"P5.9", "evidence/tally.go", "if e.Level == entry.Counted {", "if e.Level == entry.Counted && e.Kind == 0 {", "internal/respond/incident.TestWhereTheCustomersOfAnApprovedVersionLive"},

	{"P6.1", "internal/vault/seal/erase.go", "`DELETE FROM customer_keys WHERE ord = $1 AND version = $2`", "`UPDATE customer_keys SET version = version WHERE ord = $1 AND version = $2`", "internal/vault/seal.TestAnErasedCustomerIsGoneFromEveryFile"},
	{"P6.2", "internal/vault/erase/erase.go", "slices.Chunk(list, finishedAtOnce)", "slices.Chunk(list[:0], finishedAtOnce)", "internal/govern/backup.TestLogErasesAgain"},
	{"P6.3", "internal/platform/keys/rotate.go", "`DELETE FROM brand_keys WHERE brand = $1 AND kind = $2 AND version < $3`", "`DELETE FROM brand_keys WHERE brand = $1 AND kind = $2 AND version < $3 - 1000`", "internal/vault/seal.TestNoOlderCopyOpensAfterBothRotations"},
	{"P6.4", "internal/vault/ledger/erasures.go", "(uses || e.Kind == entry.KindErasureBegun) && (at == fateCooling || at == fateErased)", "at == fateCooling && at == fateErased", "internal/vault/ledger.TestNothingIsLoggedOfWhomTheLogErased"},
	{"P6.4", "internal/vault/seal/open.go", "delete(out, ord)", "_ = ord", "internal/app.TestYesterdaysRowsOfAnErasedCustomerServeNobody"},
	{"P6.4", "internal/vault/seal/cooling.go", "\"cloakroom key laid aside 1\"", "\"cloakroom customer key 1\"", "internal/web/server.TestAKeyPutBackByHandDoesNotOpen"},
	{"P6.5", "internal/vault/erase/cooling.go", "if err == nil && l.Asked {", "if err == nil && l.Asked && l.Ord == 0 {", "internal/web/server.TestOnlyTheCustomerTakesTheirErasureBack"},
	{"P6.6", "internal/govern/backup/load.go", "case live && row[erased] != int64(0):", "case live && row[erased] == int64(-1):", "internal/govern/backup.TestARestoreKnowsEveryStateOfAnErasure"},
	{"P6.7", "internal/platform/db/sqlite.go", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA wal_checkpoint(NOOP)", "internal/vault/erase.TestTheFilesHoldNothingOfADestroyedKey"},
	{"P6.8", "internal/vault/ledger/erasures.go", "(d.holding.Has(ord) || d.p.holds.has(ord))", "d.holding.Has(ord)", "internal/vault/erase.TestAHoldAndAKillBetween"},
	{"P6.9", "internal/vault/intake/forget.go", "			if found {\n", "			if found && false {\n", "internal/vault/approval.TestAnErasureReachesWhatWaits"},
	{"P6.10", "internal/vault/seal/withheld.go", "	if why == 0 {\n		return nil, 0\n	}\n	return w.add(&withheld{value: v}), why", "	if why >= 0 {\n		return nil, 0\n	}\n	return w.add(&withheld{value: v}), why", "internal/vault/intake.TestErasedCustomersDoNotComeBack"},
	{"P6.10", "internal/vault/seal/erase.go", "	stmts = append(stmts, stones...)\n", "	_ = stones\n", "internal/govern/backup.TestTombstonesOutliveARestore"},
	{"P6.11", "internal/vault/seal/withheld.go", "true, w.room.Add(-1) < 0", "true, w.room.Add(-1) < -1_000_000", "internal/vault/intake.TestWhatIsWithheldIsBounded"},
	{"P6.12", "internal/vault/seal/withheld.go", "	if x := w.held[v]; x != nil && !x.content.Live {", "	if x := w.held[v]; x != nil && !x.content.Live && v == 0 {", "internal/vault/intake.TestNoWriteTellsWhoWasErased"},

	{"P7.9", "internal/vault/brands/settings.go", "if is.TombstoneDays >= was.TombstoneDays {", "if true {", "internal/vault/intake.TestWhoIsACustomerAgain"},
	{"P7.1", "internal/vault/disclose/disclose.go", "if !errors.As(err, &unknown) {", "if errors.As(err, &unknown) || err == nil {", "internal/vault/disclose.TestOneForeignTokenFailsAll"},
	{"P7.2", "internal/vault/door/door.go", "\t\treturn nil, brands.ErrNoBrand\n", "\t\treturn nil, err\n", "internal/web/server.TestOneBrandIsAFence"},
	{"P7.8", "internal/vault/erase/acts.go", "return change.Need{Two: true}, nil", "return change.Need{}, nil", "internal/vault/erase.TestTwoPeopleUndoWhatOneErased"},
	{"P7.3", "internal/vault/export/export.go", "if x.Who.Principal == v.Who.Principal || x.Who.Lineage == v.Who.Lineage {", "if x.Who.Principal == 0 {", "internal/web/server.TestWhoApproves"},
	{"P7.4", "internal/vault/change/desk.go", "	if !need.Two {\n", "	if need.Two || !need.Two {\n", "internal/govern/admin.TestOneAdministratorsKeyIsOneHand"},
	{"P7.5", "internal/vault/change/decide.go", "if !keyed.Before(x.Created) || !slices.ContainsFunc(list,", "if keyed.IsZero() || !slices.ContainsFunc(list,", "internal/vault/change.TestWhoMayBeSecond"},
	{"P7.6", "internal/vault/change/due.go", "if !ok || by.Change != x.ID || e.Principal != x.Second || e.Lineage != x.SecondIn {", "if !ok && by.Change != \"\" {", "internal/vault/change.TestARequestIsWhatTheLogSays"},
	{"P7.7", "internal/vault/change/desk.go", "if now.Sub(x.Created) < patience {", "if now.Sub(x.Created) < 0 {", "internal/vault/change.TestTheAlarmComesFirst"},
	{"P7.10", "internal/vault/brands/settings.go", "if b.Version != was {", "if b.Version < was {", "internal/vault/brands.TestSettingsHaveVersions"},
	{"P7.10", "internal/vault/brands/settings.go", "if is.RetentionDays >= was.RetentionDays {", "if true {", "internal/vault/brands.TestWhatAChangeOfSettingsWeakens"},
	{"P7.11", "internal/vault/door/presence.go", "if c.Session == 0 {", "if c.Session == 0 || act != \"\" {", "internal/vault/signin.TestAStolenSessionDoesNotDecide"},
	{"P7.12", "internal/vault/signin/signin.go", "	if n == 0 {\n		return ErrReplay", "	if n < 0 {\n		return ErrReplay", "internal/vault/signin.TestForgedSignaturesAreRefused"},
	{"P7.12", "internal/vault/signin/passkey.go", "if c.Authenticator.CloneWarning {", "if c.Authenticator.CloneWarning && x.Credential == 0 {", "internal/vault/signin.TestACopyOfADeviceIsNoticed"},
	{"P7.13", "internal/vault/identity/store.go", "rows = append(rows, a.session.row())", "_ = a.session.row()", "internal/vault/signin.TestRowsOfTheDatabaseSignNobodyIn"},

	{"P8.1", "internal/web/server/server.go", "\t\tiv.Location = d.Location\n", "\t\tiv.Message, _ = d.Value.(string)\n", "internal/web/server.TestErrorsAndLogsRepeatNothing"},
	{"P8.3", "internal/vault/intake/bounds.go", "Detail: entry.Written{Wrote: entry.Wrote{Met: 1, Tried: w.rows}}", "Detail: entry.Written{Wrote: entry.Wrote{Tried: w.rows}}", "internal/web/server.TestARefusalThatTellsCostsASearch"},
	{"P8.3", "internal/vault/intake/bounds.go", "\t\t\t\td.Met++\n", "\t\t\t\td.Met += 0\n", "internal/web/server.TestNoWriteTellsNewFromKnownBeyondTheBudget"},
	{"P8.6", "internal/vault/intake/write.go", "if puts[i].Ord != 0 && puts[i].Set.Has(record.ExternalID) {", "if puts[i].Ord != 0 && puts == nil {", "internal/web/server.TestNumbersAreTriedByPatchAtTheCostOfSearches"},
	{"P8.4", "internal/vault/seal/purchases.go", "if hidden[p.ords[i]] {", "if hidden == nil {", "internal/web/server.TestAProbeOfCanariesTellsNothingAndIsNoticed"},
	{"P8.4", "internal/vault/intake/bounds.go", "d.Mark = w.d.mark(w.v.Brand.ID, w.mixing.met)", "d.Mark = w.d.mark(w.v.Brand.ID, 0)", "internal/web/server.TestAProbeOfCanariesTellsNothingAndIsNoticed"},
	{"P8.2", "internal/vault/mask/mask.go", "return v[:end] + Hidden\n}\n\n// email", "return v[:end] + strings.Repeat(\"•\", utf8.RuneCountInString(v)-n)\n}\n\n// email", "internal/vault/mask.TestMaskDoesNotTellTheLength"},
	{"P8.5", "internal/vault/approval/approval.go", "\tif n == 0 {\n\t\treturn ErrRows", "\tif n < 0 {\n\t\treturn ErrRows", "internal/vault/approval.TestTwoPeopleApproveAFile"},
	{"P8.5", "internal/vault/intake/approved.go", "all := roomsOf(a, len(b.puts))", "all := roomsOf(a, 0*len(b.puts)+1)", "internal/vault/approval.TestAStandingApproval"},
	{"P8.30", "internal/respond/notice/words.go", "case !contact && addressLike.MatchString(folded):", "case contact && addressLike.MatchString(folded) && len(folded) < 0:", "internal/respond/notice.TestWordsThatLookLikeACustomer"},
	{"P8.30", "internal/respond/incident/notice.go", "if err := notice.CheckWords(\"texts\", text, contact); err != nil {", "if err := notice.CheckWords(\"texts\", \"\", contact); err != nil {", "internal/respond/incident.TestADraftHoldsNoCustomer"},
	{"P8.31", "internal/respond/incident/notice.go", "if !reviewed(n) {\n\t\treturn nil, ErrUnreviewed", "if !reviewed(n) && n.Number == 0 {\n\t\treturn nil, ErrUnreviewed", "internal/respond/incident.TestTextsAreReviewedBeforehand"},
	{"P8.31", "internal/respond/incident/notice.go", "&& n.Counts.Written == 0", "&& n.Counts.Written >= 0", "internal/respond/incident.TestTextsAreReviewedBeforehand"},
	{"P8.32", "internal/respond/notice/draft.go", "if code := forbids(x, forbidden); code != \"\" {", "if code := forbids(x, nil); code != \"\" {", "internal/respond/notice.TestForbiddenContentIsLeftOut"},
	{"P8.40", "internal/respond/claim/claim.go", "\tif !k.asked.Exact {\n\t\tif err := k.blur", "\tif !k.asked.Exact && k.asked.Rows == 0 {\n\t\tif err := k.blur", "internal/respond/claim.TestAClaimDoesNotTellWhetherOnePersonIsACustomer"},
	{"P8.41", "internal/vault/seal/compare.go", "if !receipt.Valid() || receipt.Kind() != entry.KindClaim {", "if !receipt.Valid() || receipt.Kind() == entry.Kind(0) {", "internal/vault/seal.TestASampleIsComparedWithItsReceipt"},
}

// plants are the tests that plant the faults of a row themselves.
var plants = map[string]string{
	"P1.3": "internal/structure.TestOpeningChecksSeePlantedFaults",
	"P3.5": "internal/exercise/drill.TestABrokenPromiseIsAnError",
}

var guardsOff = flag.String("guards", "", "switch off, in turn, each guard of docs/promises.md whose row matches, and hold that its test turns red: minutes")

// without returns the file of a guard with the guard switched off.
func (g *guard) without() ([]byte, error) {
	src, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(g.file)))
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(src), g.old); n != 1 {
		return nil, fmt.Errorf("%s: the guard of %s is there %d times: %q", g.file, g.row, n, g.old)
	}
	return []byte(strings.Replace(string(src), g.old, g.new, 1)), nil
}

// Each guard is where the table says, and what is left without it compiles.
func TestEveryGuardCanBeSwitchedOff(t *testing.T) {
	tr := oursTyped(t)
	for i := range guards {
		g := &guards[i]
		src, err := g.without()
		if err != nil {
			t.Error(err)
			continue
		}
		f, err := parser.ParseFile(tr.fset, g.file, src, parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s without its guard: %v", g.row, err)
			continue
		}
		p := tr.pkgs[path.Dir(g.file)]
		files := append(p.files[:0:0], p.files...)
		for i := range files {
			if tr.fset.Position(files[i].Pos()).Filename == g.file {
				files[i] = f
			}
		}
		if _, err := tr.check(p.dir, files); err != nil {
			t.Errorf("%s without its guard: %v", g.row, err)
		}
	}
}

// With -guards=., each guard is switched off and its test has to fail: .ci/long.
func TestWithoutItsGuardEachTestIsRed(t *testing.T) {
	if *guardsOff == "" {
		return // TestEveryGuardCanBeSwitchedOff holds that they could be
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := regexp.Compile(*guardsOff)
	if err != nil {
		t.Fatal(err)
	}
	for i := range guards {
		g := &guards[i]
		if !rows.MatchString(g.row) {
			continue
		}
		began := time.Now()
		src, err := g.without()
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		changed := filepath.Join(dir, path.Base(g.file))
		overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, filepath.FromSlash(g.file)): changed}})
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{changed: src, filepath.Join(dir, "overlay.json"): overlay} {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		folder, name := splitTest(g.test)
		args := []string{"test", "./" + folder, "-count=1", "-vet=off", "-timeout=5m", "-overlay", filepath.Join(dir, "overlay.json"), "-run", "^" + name + "$"}
		if usesRapid(t, folder) {
			args = append(args, "-rapid.nofailfile") // what fails here is meant to
		}
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		switch {
		case err == nil:
			t.Errorf("%s: %s passes without its guard in %s: %q", g.row, g.test, g.file, g.old)
		case !strings.Contains(string(out), "--- FAIL: "+name):
			t.Errorf("%s: %s did not run without its guard in %s: %s", g.row, g.test, g.file, out)
		default:
			t.Logf("%s: without its guard in %s, %s is red (%.0f s)", g.row, g.file, g.test, time.Since(began).Seconds())
		}
	}
}

// usesRapid reports whether the tests of a folder have the flags of rapid.
func usesRapid(t *testing.T, folder string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(folder), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), `"pgregory.net/rapid"`) {
			return true
		}
	}
	return false
}

// splitTest splits folder.Name.
func splitTest(test string) (folder, name string) {
	i := strings.LastIndexByte(test, '.')
	return test[:max(i, 0)], test[i+1:]
}
