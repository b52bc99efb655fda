package openapi

import (
	"net/http"
	"strings"
	"testing"
)

const small = `{"paths":{"/a":{"post":{"security":[{"bearer":["read"]}],"parameters":[{"name":"q","in":"query"}],
	"requestBody":{"required":true,"content":{"application/json":{"schema":{"$ref":"#/components/schemas/A"},"example":{"n":2}}}},
	"responses":{"200":{"headers":{"Age":{"required":true,"schema":{"type":"integer","minimum":0}}},
	"content":{"application/json":{"schema":{"$ref":"#/components/schemas/A"},"example":{"n":1}}}},"204":{},"400":{}}}}},
	"components":{"schemas":{"A":{"type":"object","required":["n"],"additionalProperties":false,"properties":{"n":{"type":"integer","maximum":9}}}}}}`

func TestExchangesThatBreakTheDocument(t *testing.T) {
	d, err := Parse([]byte(small))
	if err != nil || d.CheckExamples(true) != nil || d.Role("POST /a") != "read" {
		t.Fatal(err, d.CheckExamples(true))
	}
	json := http.Header{"Content-Type": {"application/json"}}
	answer := http.Header{"Content-Type": {"application/json"}, "Age": {"3"}}
	good := Exchange{Route: "POST /a", Query: "q=1", Header: json, Body: `{"n":1}`, Status: 200, Answer: answer, Content: `{"n":9}`}
	for says, change := range map[string]func(*Exchange){
		"":                       func(*Exchange) {},
		"is not described":       func(x *Exchange) { x.Route = "GET /a" },
		`parameter "z"`:          func(x *Exchange) { x.Query = "z=1" },
		"body is required":       func(x *Exchange) { x.Body = "" },
		`type "text/plain"`:      func(x *Exchange) { x.Header = http.Header{"Content-Type": {"text/plain"}} },
		`"n" is missing`:         func(x *Exchange) { x.Body = `{}` },
		"of the type string":     func(x *Exchange) { x.Body = `{"n":"1"}` },
		"status 500":             func(x *Exchange) { x.Status = 500 },
		"breaks the bound":       func(x *Exchange) { x.Content = `{"n":10}` },
		`"m" is not described`:   func(x *Exchange) { x.Content = `{"n":1,"m":1}` },
		"Age is missing":         func(x *Exchange) { x.Answer = json },
		"header Age":             func(x *Exchange) { x.Answer = http.Header{"Content-Type": json["Content-Type"], "Age": {"-1"}} },
		"ETag is not described":  func(x *Exchange) { x.Answer = answer.Clone(); x.Answer.Set("ETag", "x") },
		"a body is not describe": func(x *Exchange) { x.Status = 204 },
	} {
		x := good
		change(&x)
		err := d.CheckExchange(x)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

func TestDocumentsThatDoNotHoldTogether(t *testing.T) {
	for says, change := range map[string][2]string{
		"leads nowhere":      {`A"},"example":{"n":1}`, `B"},"example":{"n":1}`},
		"nothing refers to":  {`"schemas":{`, `"schemas":{"C":{},`},
		"the example":        {`"example":{"n":1}`, `"example":{"n":"1"}`},
		"has no example":     {`,"example":{"n":1}`, ``},
		"keyword somethings": {`"maximum":9`, `"somethings":9`},
	} {
		d, err := Parse([]byte(strings.Replace(small, change[0], change[1], 1)))
		if err == nil {
			err = d.CheckExamples(true)
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
