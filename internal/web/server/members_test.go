package server

import (
	"encoding/json"
	"fmt"
	"testing"
)

func TestRepeatedMembersAreFound(t *testing.T) {
	t.Parallel()
	long := "{"
	for i := range 50 {
		long += fmt.Sprintf(`"m%d":%d,`, i, i)
	}
	for body, want := range map[string]bool{
		`{}`: false, `[]`: false, `"a"`: false, `1`: false, `{"a":1,"b":1}`: false, `{"a":"a","b":"a"}`: false,
		`[{"a":1},{"a":1}]`: false, `{"a":{"a":1},"b":["a","a"]}`: false, `{"a":"x\",\"a\":1"}`: false, `{"a":"{\"b\":1,\"b\":2}"}`: false,
		`{"a":1,"a":1}`: true, `{"a":1,"A":1}`: true, `{"a":1,"\u0061":2}`: true, `{"a":[{"b":1,"c":[],"b":2}]}`: true,
		`{"a":{"x":1},"b":1,"a":2}`: true, `{"\"":1,"\"":2}`: true, `{"ſ":1,"s":2}`: true, `{"a" : 1 , "a"	:2}`: true, `{"K":1,"k":2}`: true,
		long + `"last":1}`: false, long + `"m3":1}`: true, long + `"M49":1}`: true,
	} {
		if !json.Valid([]byte(body)) {
			t.Fatalf("%.60s is no JSON", body)
		}
		if got := repeated([]byte(body)) >= 0; got != want {
			t.Errorf("%.60s: %v", body, got)
		}
	}
}
