package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// postTimeout bounds one request to a receiver.
const postTimeout = 10 * time.Second

// webhook is the way to a receiver of Standard Webhooks.
type webhook struct {
	client  *http.Client
	address string
	secret  []byte
}

// message is the body of a webhook.
type message struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      any       `json:"data"`
}

// deliver posts one notice. Any answer but 2xx is a failure.
func (h *webhook) deliver(ctx context.Context, n *notice) (status int, err error) {
	body, err := json.Marshal(message{n.typ(), n.at(), n.data()})
	if err != nil {
		return 0, fmt.Errorf("writing an alarm: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.address, bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("the receiver's address is not a URL") // err holds the address
	}
	now := time.Now()
	id := n.id()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Cloakroom")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("webhook-signature", Sign(h.secret, id, now, body))
	resp, err := h.client.Do(req)
	if errors.Is(err, errInside) {
		return 0, errInside
	}
	if err != nil {
		var timeout interface{ Timeout() bool }
		if errors.As(err, &timeout) && timeout.Timeout() {
			return 0, errors.New("the receiver timed out")
		}
		return 0, errors.New("the receiver is unreachable") // err holds the address
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return resp.StatusCode, fmt.Errorf("the receiver answered %d", resp.StatusCode)
	}
	return resp.StatusCode, nil
}

func (h *webhook) close() {}
