// Package openapi holds servers to their OpenAPI documents: that every example and every exchange
// is what the document says.
package openapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Doc is a document.
type Doc struct {
	root map[string]any
	used map[string]bool // references that were followed
}

// Parse reads a document and checks that each of its references leads somewhere and that each
// component is referred to.
func Parse(text []byte) (*Doc, error) {
	d := &Doc{used: map[string]bool{}}
	if err := json.Unmarshal(text, &d.root); err != nil {
		return nil, err
	}
	var errs []error
	d.walk("", d.root, func(at string, node map[string]any) {
		if ref, ok := node["$ref"].(string); ok {
			d.used[ref] = true
			if _, ok := d.lookup(ref); !ok {
				errs = append(errs, fmt.Errorf("%s: %s leads nowhere", at, ref))
			}
		}
	})
	for kind, of := range d.root["components"].(map[string]any) {
		for name := range of.(map[string]any) {
			if ref := "#/components/" + kind + "/" + name; !d.used[ref] && kind != "securitySchemes" {
				errs = append(errs, fmt.Errorf("nothing refers to %s", ref))
			}
		}
	}
	return d, errors.Join(errs...)
}

func (d *Doc) walk(at string, node any, visit func(string, map[string]any)) {
	switch node := node.(type) {
	case map[string]any:
		visit(at, node)
		for _, key := range slices.Sorted(maps.Keys(node)) {
			d.walk(at+"/"+key, node[key], visit)
		}
	case []any:
		for i, one := range node {
			d.walk(at+"/"+strconv.Itoa(i), one, visit)
		}
	}
}

func (d *Doc) lookup(ref string) (any, bool) {
	at := any(d.root)
	for _, key := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		node, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		if at, ok = node[strings.NewReplacer("~1", "/", "~0", "~").Replace(key)]; !ok {
			return nil, false
		}
	}
	return at, true
}

// follow returns what a node stands for.
func (d *Doc) follow(node any) map[string]any {
	for range 20 {
		m, _ := node.(map[string]any)
		ref, ok := m["$ref"].(string)
		if !ok {
			return m
		}
		node, _ = d.lookup(ref)
	}
	return nil
}

// Routes returns "METHOD /path/{parameter}" of each operation, sorted.
func (d *Doc) Routes() (routes []string) {
	for path, item := range d.root["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			if method != "parameters" {
				routes = append(routes, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(routes)
	return routes
}

func (d *Doc) operation(route string) (op, item map[string]any) {
	method, path, _ := strings.Cut(route, " ")
	item, _ = d.root["paths"].(map[string]any)[path].(map[string]any)
	op, _ = item[strings.ToLower(method)].(map[string]any)
	return op, item
}

// Role returns the role that an operation needs, "" for none.
func (d *Doc) Role(route string) string {
	op, _ := d.operation(route)
	for _, one := range op["security"].([]any) {
		if roles, ok := one.(map[string]any)["bearer"].([]any); ok {
			return roles[0].(string)
		}
	}
	return ""
}

// CheckExamples checks each example against its schema, and that each JSON body has one where must
// says so.
func (d *Doc) CheckExamples(must bool) error {
	var errs []error
	d.walk("", d.root, func(at string, node map[string]any) {
		content, ok := node["content"].(map[string]any)
		if !ok {
			return
		}
		for kind, media := range content {
			m := media.(map[string]any)
			example, has := m["example"]
			schema := d.follow(m["schema"])
			if !has {
				if must && strings.HasSuffix(kind, "json") && schema["properties"] != nil {
					errs = append(errs, fmt.Errorf("%s: %s has no example", at, kind))
				}
				continue
			}
			if err := d.Check(m["schema"], example); err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: the example: %w", at, kind, err))
			}
		}
	})
	return errors.Join(errs...)
}

// Exchange is a request and its answer.
type Exchange struct {
	Route   string // as of Routes
	Query   string
	Header  http.Header // of the request
	Body    string
	Status  int
	Answer  http.Header
	Content string
}

// CheckExchange checks a request, unless it was refused as bad, and its answer against an
// operation.
func (d *Doc) CheckExchange(x Exchange) error {
	op, item := d.operation(x.Route)
	if op == nil {
		return fmt.Errorf("%s is not described", x.Route)
	}
	if x.Status < 400 {
		if err := errors.Join(d.checkQuery(op, item, x), d.checkRequest(op, x)); err != nil {
			return fmt.Errorf("%s: the request: %w", x.Route, err)
		}
	}
	response := d.follow(op["responses"].(map[string]any)[strconv.Itoa(x.Status)])
	if response == nil {
		return fmt.Errorf("%s: the status %d is not described", x.Route, x.Status)
	}
	if err := errors.Join(d.checkHeaders(response, x.Answer), d.checkContent(response, x)); err != nil {
		return fmt.Errorf("%s: the answer %d: %w", x.Route, x.Status, err)
	}
	return nil
}

// spread returns the pattern of the names of a parameter that is an object.
func spread(p map[string]any) []*regexp.Regexp {
	schema, _ := p["schema"].(map[string]any)
	names, _ := schema["propertyNames"].(map[string]any)
	if pattern, ok := names["pattern"].(string); ok && p["explode"] == true {
		return []*regexp.Regexp{regexp.MustCompile(pattern)}
	}
	return nil
}

func (d *Doc) checkQuery(op, item map[string]any, x Exchange) error {
	known := map[string]bool{}
	// of the names of an object that is spread over the query (form, explode)
	var patterns []*regexp.Regexp
	for _, list := range []any{op["parameters"], item["parameters"]} {
		all, _ := list.([]any)
		for _, one := range all {
			if p := d.follow(one); p["in"] == "query" {
				known[p["name"].(string)] = true
				patterns = append(patterns, spread(p)...)
			}
		}
	}
	values, err := url.ParseQuery(x.Query)
	for name := range values {
		if !known[name] && !slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(name) }) {
			err = errors.Join(err, fmt.Errorf("the parameter %q is not described", name))
		}
	}
	return err
}

func (d *Doc) checkRequest(op map[string]any, x Exchange) error {
	body := d.follow(op["requestBody"])
	if x.Body == "" {
		if body["required"] == true {
			return errors.New("a body is required")
		}
		return nil
	}
	kind, _, _ := strings.Cut(x.Header.Get("Content-Type"), ";")
	content, _ := body["content"].(map[string]any)
	media, ok := content[kind].(map[string]any)
	if !ok {
		return fmt.Errorf("a body of the type %q is not described", kind)
	}
	return d.checkText(media, kind, x.Body)
}

func (d *Doc) checkText(media map[string]any, kind, text string) error {
	if !strings.HasSuffix(kind, "json") {
		return nil
	}
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return err
	}
	return d.Check(media["schema"], value)
}

// checkHeaders checks the headers that are described; those that carry meaning must be.
func (d *Doc) checkHeaders(response map[string]any, got http.Header) error {
	described, _ := response["headers"].(map[string]any)
	var errs []error
	for name, node := range described {
		h := d.follow(node)
		text := got.Get(name)
		if text == "" {
			if h["required"] == true {
				errs = append(errs, fmt.Errorf("the header %s is missing", name))
			}
			continue
		}
		if err := d.Check(h["schema"], headerValue(d.follow(h["schema"]), text)); err != nil {
			errs = append(errs, fmt.Errorf("the header %s: %w", name, err))
		}
	}
	for _, name := range []string{"ETag", "Cache-Status", "Retry-After", "Location", "Link"} {
		if got.Get(name) != "" && described[name] == nil {
			errs = append(errs, fmt.Errorf("the header %s is not described", name))
		}
	}
	return errors.Join(errs...)
}

func headerValue(schema map[string]any, text string) any {
	if schema["type"] == "integer" {
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return n
		}
	}
	return text
}

func (d *Doc) checkContent(response map[string]any, x Exchange) error {
	content, _ := response["content"].(map[string]any)
	if len(content) == 0 {
		if x.Content != "" {
			return errors.New("a body is not described")
		}
		return nil
	}
	kind, _, _ := strings.Cut(x.Answer.Get("Content-Type"), ";")
	media, ok := content[kind].(map[string]any)
	if !ok {
		return fmt.Errorf("the type %q is not described", kind)
	}
	return d.checkText(media, kind, x.Content)
}

// annotations are the keywords that check nothing.
var annotations = []string{"description", "format", "example", "contentMediaType", "$ref", "unevaluatedProperties"}

// Check checks a value, as encoding/json reads it, against a schema (JSON Schema 2020-12, the
// keywords below).
func (d *Doc) Check(schema, value any) error {
	s := d.follow(schema)
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if slices.Contains(annotations, key) {
			continue
		}
		check, known := keywords()[key]
		if !known {
			return fmt.Errorf("the keyword %s is not known to this check", key)
		}
		if err := check(d, s, s[key], value); err != nil {
			return err
		}
	}
	if s["unevaluatedProperties"] == false {
		return d.evaluated(s, value)
	}
	return nil
}

func (d *Doc) evaluated(s map[string]any, value any) error {
	object, _ := value.(map[string]any)
	known := map[string]bool{}
	d.properties(s, known)
	for name := range object {
		if !known[name] {
			return fmt.Errorf("%q is not described", name)
		}
	}
	return nil
}

func (d *Doc) properties(s map[string]any, known map[string]bool) {
	p, _ := s["properties"].(map[string]any)
	for name := range p {
		known[name] = true
	}
	all, _ := s["allOf"].([]any)
	for _, one := range all {
		d.properties(d.follow(one), known)
	}
}

type keyword = func(d *Doc, s map[string]any, rule, value any) error

// keywords returns those that check something.
func keywords() map[string]keyword {
	return map[string]keyword{"type": checkType, "required": checkRequired, "properties": checkProperties,
		"additionalProperties": checkAdditional, "items": checkItems, "enum": checkEnum, "const": checkConst, "pattern": checkPattern,
		"allOf": checkAll, "anyOf": checkAny, "propertyNames": checkNames,
		"minLength":     bound(length, func(n, most float64) bool { return n >= most }),
		"maxLength":     bound(length, func(n, most float64) bool { return n <= most }),
		"minimum":       bound(number, func(n, most float64) bool { return n >= most }),
		"maximum":       bound(number, func(n, most float64) bool { return n <= most }),
		"minItems":      bound(count, func(n, most float64) bool { return n >= most }),
		"maxItems":      bound(count, func(n, most float64) bool { return n <= most }),
		"minProperties": bound(members, func(n, most float64) bool { return n >= most })}
}

func typeOf(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
	}
	return "number"
}

func checkType(_ *Doc, _ map[string]any, rule, value any) error {
	got := typeOf(value)
	list, ok := rule.([]any)
	if !ok {
		list = []any{rule}
	}
	if slices.Contains(list, any(got)) || got == "integer" && slices.Contains(list, any("number")) {
		return nil
	}
	return fmt.Errorf("%v is of the type %s, not %v", value, got, rule)
}

func checkRequired(_ *Doc, _ map[string]any, rule, value any) error {
	object, ok := value.(map[string]any)
	for _, name := range rule.([]any) {
		if _, has := object[name.(string)]; ok && !has {
			return fmt.Errorf("%q is missing", name)
		}
	}
	return nil
}

func checkProperties(d *Doc, _ map[string]any, rule, value any) error {
	object, _ := value.(map[string]any)
	for name, schema := range rule.(map[string]any) {
		if v, has := object[name]; has {
			if err := d.Check(schema, v); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

func checkAdditional(d *Doc, s map[string]any, rule, value any) error {
	object, _ := value.(map[string]any)
	known, _ := s["properties"].(map[string]any)
	for name, v := range object {
		if _, described := known[name]; described {
			continue
		}
		if rule == false {
			return fmt.Errorf("%q is not described", name)
		}
		if err := d.Check(rule, v); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func checkItems(d *Doc, _ map[string]any, rule, value any) error {
	list, _ := value.([]any)
	for i, one := range list {
		if err := d.Check(rule, one); err != nil {
			return fmt.Errorf("%d: %w", i, err)
		}
	}
	return nil
}

func checkEnum(_ *Doc, _ map[string]any, rule, value any) error {
	if !slices.Contains(rule.([]any), value) {
		return fmt.Errorf("%v is none of %v", value, rule)
	}
	return nil
}

func checkConst(_ *Doc, _ map[string]any, rule, value any) error {
	if value != rule {
		return fmt.Errorf("%v is not %v", value, rule)
	}
	return nil
}

func checkPattern(_ *Doc, _ map[string]any, rule, value any) error {
	if text, ok := value.(string); ok && !regexp.MustCompile(rule.(string)).MatchString(text) {
		return fmt.Errorf("%q does not match %s", text, rule)
	}
	return nil
}

func checkAll(d *Doc, _ map[string]any, rule, value any) error {
	for _, schema := range rule.([]any) {
		if err := d.Check(schema, value); err != nil {
			return err
		}
	}
	return nil
}

func checkAny(d *Doc, _ map[string]any, rule, value any) error {
	var errs []error
	for _, schema := range rule.([]any) {
		err := d.Check(schema, value)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("none of anyOf: %w", errors.Join(errs...))
}

func checkNames(d *Doc, _ map[string]any, rule, value any) error {
	object, _ := value.(map[string]any)
	for name := range object {
		if err := d.Check(rule, name); err != nil {
			return err
		}
	}
	return nil
}

// bound checks a size of the values that have it.
func bound(size func(any) (float64, bool), holds func(n, most float64) bool) keyword {
	return func(_ *Doc, _ map[string]any, rule, value any) error {
		if n, ok := size(value); ok && !holds(n, rule.(float64)) {
			return fmt.Errorf("%v breaks the bound %v", value, rule)
		}
		return nil
	}
}

func length(v any) (float64, bool) {
	s, ok := v.(string)
	return float64(len([]rune(s))), ok
}

func number(v any) (float64, bool) {
	n, ok := v.(float64)
	return n, ok
}

func count(v any) (float64, bool) {
	l, ok := v.([]any)
	return float64(len(l)), ok
}

func members(v any) (float64, bool) {
	m, ok := v.(map[string]any)
	return float64(len(m)), ok
}

// Statuses returns "METHOD /path STATUS" of each answer that is described.
func (d *Doc) Statuses() (all []string) {
	for _, route := range d.Routes() {
		op, _ := d.operation(route)
		for status := range op["responses"].(map[string]any) {
			all = append(all, route+" "+status)
		}
	}
	slices.Sort(all)
	return all
}
