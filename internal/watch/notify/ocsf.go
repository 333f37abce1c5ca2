package notify

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/cloakroom/cloakroom/internal/platform/fault"
	"github.com/cloakroom/cloakroom/internal/platform/follow"
	"github.com/cloakroom/cloakroom/internal/platform/record"
	"github.com/cloakroom/cloakroom/internal/vault/brands"
	"github.com/cloakroom/cloakroom/internal/vault/containment"
	"github.com/cloakroom/cloakroom/internal/watch/alarm"
	"github.com/cloakroom/cloakroom/internal/watch/detect"
)

// The numbers of the Open Cybersecurity Schema Framework for a Detection Finding, and for
// a Remediation Activity, as what was contained is one.
const (
	ocsfVersion = "1.3.0"

	ocsfFindings   = 2
	ocsfFinding    = 2004
	ocsfCreate     = 1
	ocsfUpdate     = 2
	ocsfClose      = 3
	ocsfNew        = 1
	ocsfInProgress = 2
	ocsfSuppressed = 3
	ocsfResolved   = 4

	ocsfRemediations = 7
	ocsfRemediation  = 7001
	ocsfIsolate      = 1
	ocsfRestore      = 3
	ocsfSuccess      = 1
)

// PositionSuffix names, beside a feed's file, the file that says which alarms are in
// it. It goes where the feed's file goes; log rotation leaves it alone.
const PositionSuffix = ".position"

// ErrFeedInUse is returned where another server appends to the same file.
var ErrFeedInUse = fault.New(fault.Internal, "another server appends to this file: give each its own")

// ocsfEvent is what every OCSF event begins with.
type ocsfEvent struct {
	ActivityID   int    `json:"activity_id"`
	ActivityName string `json:"activity_name"`
	CategoryUID  int    `json:"category_uid"`
	CategoryName string `json:"category_name"`
	ClassUID     int    `json:"class_uid"`
	ClassName    string `json:"class_name"`
	TypeUID      int    `json:"type_uid"`
	TypeName     string `json:"type_name"`
	Time         int64  `json:"time"`
	SeverityID   int    `json:"severity_id"`
	Severity     string `json:"severity"`
	StatusID     int    `json:"status_id"`
	Status       string `json:"status"`
}

// finding is an OCSF event.
type finding struct {
	ocsfEvent
	IsAlert     bool           `json:"is_alert"`
	Message     string         `json:"message"`
	Metadata    metadata       `json:"metadata"`
	FindingInfo findingInfo    `json:"finding_info"`
	Evidences   []evidence     `json:"evidences"`
	Unmapped    map[string]any `json:"unmapped"`
}

type metadata struct {
	Version string  `json:"version"`
	UID     string  `json:"uid"`
	LogName string  `json:"log_name"`
	Product product `json:"product"`
}

type product struct {
	Name   string `json:"name"`
	Vendor string `json:"vendor_name"`
}

type findingInfo struct {
	UID          string   `json:"uid"`
	Title        string   `json:"title"`
	Desc         string   `json:"desc"`
	CreatedTime  int64    `json:"created_time"`
	ModifiedTime int64    `json:"modified_time,omitempty"`
	Types        []string `json:"types"`
	Analytic     analytic `json:"analytic"`
}

type analytic struct {
	Name   string `json:"name"`
	TypeID int    `json:"type_id"`
	Type   string `json:"type"`
}

type evidence struct {
	Actor actor `json:"actor"`
}

type actor struct {
	User user `json:"user"`
}

type user struct {
	UID string `json:"uid"`
}

// severity returns OCSF's number and word: its 1 is informational.
func severity(g detect.Grade) (int, string) {
	words := []string{"Low", "Medium", "High", "Critical"}
	if g < detect.Low || g > detect.Critical {
		return 99, "Other"
	}
	return int(g) + 1, words[g-detect.Low]
}

func findingOf(n *notice) finding {
	a := &n.Alarm.Alarm
	id, word := severity(a.Grade)
	uid := n.brand + "/" + a.ID()
	f := finding{
		ocsfEvent: ocsfEvent{
			ActivityID: ocsfCreate, ActivityName: "Create", CategoryUID: ocsfFindings, CategoryName: "Findings",
			ClassUID: ocsfFinding, ClassName: "Detection Finding",
			Time: n.at().UnixMilli(), SeverityID: id, Severity: word, StatusID: ocsfNew, Status: "New",
		},
		IsAlert:  a.Grade >= detect.Medium,
		Message:  a.Seen,
		Metadata: metadata{ocsfVersion, uid, n.brand, product{"Cloakroom", "Cloakroom"}},
		FindingInfo: findingInfo{
			UID: uid, Title: "Cloakroom " + string(a.Rule), Desc: "Seen: " + a.Seen + ". Usual: " + a.Usual + ".",
			CreatedTime: a.At.UnixMilli(), Types: []string{string(a.Rule)}, Analytic: analytic{string(a.Rule), 1, "Rule"},
		},
		Evidences: []evidence{{actor{user{strconv.FormatUint(a.Principal, 10)}}}},
		Unmapped: map[string]any{"brand": n.brand, "entry": a.Entry, "role": a.Role, "lineage": strconv.FormatUint(a.Lineage, 10),
			"customers": a.Customers, "key": a.Key},
	}
	if id := n.Alarm.EarlierID(); id != "" {
		f.Unmapped["earlier"], f.Unmapped["repeat"] = n.brand+"/"+id, n.Alarm.Repeat
	}
	if e := n.Event; e != nil {
		f.Metadata.UID = n.brand + "/" + strconv.FormatUint(e.Entry, 10) + "-" + string(e.What)
		f.FindingInfo.ModifiedTime = e.At.UnixMilli()
		f.Unmapped["by"] = strconv.FormatUint(e.Principal, 10)
		f.ActivityID, f.ActivityName, f.StatusID, f.Status = ocsfUpdate, "Update", ocsfInProgress, "In Progress"
		if e.What == alarm.WhatClosed {
			f.ActivityID, f.ActivityName, f.StatusID, f.Status = ocsfClose, "Close", ocsfSuppressed, "Suppressed"
			if e.Reason == "contained" { // the only reason that says it was a theft
				f.StatusID, f.Status = ocsfResolved, "Resolved"
			}
			f.Unmapped["reason"], f.Unmapped["ticket"] = e.Reason, e.Ticket
		}
	}
	f.TypeUID, f.TypeName = ocsfFinding*100+f.ActivityID, "Detection Finding: "+f.ActivityName
	return f
}

// remediation is an OCSF event.
type remediation struct {
	ocsfEvent
	Message    string         `json:"message"`
	CommandUID string         `json:"command_uid"`
	Metadata   metadata       `json:"metadata"`
	Unmapped   map[string]any `json:"unmapped"`
}

func remediationOf(n *notice) remediation {
	e := n.Event
	id, word := severity(e.Grade)
	r := remediation{
		ocsfEvent: ocsfEvent{
			ActivityID: ocsfIsolate, ActivityName: "Isolate", CategoryUID: ocsfRemediations, CategoryName: "Remediation",
			ClassUID: ocsfRemediation, ClassName: "Remediation Activity",
			Time: e.At.UnixMilli(), SeverityID: id, Severity: word, StatusID: ocsfSuccess, Status: "Success",
		},
		Message:    "Contained: " + whom(n.contained),
		CommandUID: n.brand + "/containment/" + strconv.FormatInt(e.Containment, 10),
		Metadata:   metadata{ocsfVersion, n.brand + "/" + strconv.FormatUint(e.Entry, 10) + "-" + string(e.What), n.brand, product{"Cloakroom", "Cloakroom"}},
		Unmapped:   map[string]any{"brand": n.brand, "entry": e.Entry, "containment": n.containment()},
	}
	if e.What == alarm.WhatUndone {
		r.ActivityID, r.ActivityName, r.Message = ocsfRestore, "Restore", "Containment undone: "+whom(n.contained)
	}
	r.TypeUID, r.TypeName = ocsfRemediation*100+r.ActivityID, "Remediation Activity: "+r.ActivityName
	return r
}

// eventOf is what the file has of a notice.
func eventOf(n *notice) any {
	if n.Alarm == nil {
		return remediationOf(n)
	}
	return findingOf(n)
}

// Feed appends every alarm of every brand, and what became of it, to a file, one OCSF event
// a line. What is in the file is durable before it is noted beside it: after a kill the last few events
// may come twice, with the same metadata.uid, and none is missing.
type Feed struct {
	Path   string
	Brands *brands.Store
	Alarms *alarm.Store
	// Contained tells what a containment is about; may be nil.
	Contained *containment.Store
	*follow.Loop

	mu    sync.Mutex // one writes at a time
	lock  *os.File
	place map[record.BrandID]alarm.Place
}

// OpenFeed opens, and makes if need be, a feed and the note of what is in it.
func OpenFeed(path string, b *brands.Store, alarms *alarm.Store) (*Feed, error) {
	f := &Feed{Path: path, Brands: b, Alarms: alarms, place: map[record.BrandID]alarm.Place{}, Loop: follow.NewLoop(poll)}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the file of events: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, ErrFeedInUse
	}
	f.lock = lock
	text, err := os.ReadFile(path + PositionSuffix)
	if err == nil {
		err = json.Unmarshal(text, &f.place)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading what is in the file of events: %w", err), lock.Close())
	}
	return f, nil
}

// Close lets another server append.
func (f *Feed) Close() error { return f.lock.Close() }

// Run appends until the context ends.
func (f *Feed) Run(ctx context.Context, log *slog.Logger) error {
	return f.Loop.Run(ctx, log, "events are not written", f.round)
}

// feedPage is how many events are written between two notes.
const feedPage = 500

func (f *Feed) round(ctx context.Context) error {
	list, err := f.Brands.List(ctx)
	if err != nil {
		return err
	}
	for _, b := range append(list, brands.Brand{ID: record.Group, Name: brands.GroupName}) {
		for {
			list, err := f.Alarms.Notices(ctx, b.ID, f.place[b.ID], alarm.Audience{Least: detect.Low, Repeats: true}, feedPage)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				break
			}
			notices := make([]notice, len(list))
			for i := range list {
				if notices[i], err = noticeOf(ctx, b.Name, b.ID, list[i], f.Contained); err != nil {
					return err
				}
			}
			f.mu.Lock()
			err = f.write(notices)
			f.mu.Unlock()
			if err != nil {
				return fmt.Errorf("writing events: %w", err)
			}
			f.place[b.ID] = list[len(list)-1].Place
			if err := f.note(); err != nil {
				return fmt.Errorf("noting which events are written: %w", err)
			}
		}
	}
	return nil
}

// write appends events, durably. The file is opened anew each time, so that a rotation
// is followed.
func (f *Feed) write(notices []notice) (err error) {
	file, err := os.OpenFile(f.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w := bufio.NewWriter(file)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for i := range notices {
		if err := e.Encode(eventOf(&notices[i])); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return file.Sync()
}

func (f *Feed) note() error {
	text, err := json.Marshal(f.place)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(f.Path), ".position-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return os.Rename(tmp.Name(), f.Path+PositionSuffix)
}
