package edge

// fewNames is up to how many names are compared one by one, which costs less than a hash.
const fewNames = 8

// table is what serves, by name. It never changes.
type table struct {
	byName   map[string]*Serving
	names    []string // empty when there are more than fewNames
	servings []*Serving
}

func newTable(byName map[string]*Serving) *table {
	t := &table{byName: byName}
	if len(byName) > fewNames {
		return t
	}
	for name, s := range byName {
		t.names, t.servings = append(t.names, name), append(t.servings, s)
	}
	return t
}

// find returns what serves under a name, nil when nothing does.
func (t *table) find(name string) *Serving {
	for i, n := range t.names {
		if n == name {
			return t.servings[i]
		}
	}
	if len(t.names) > 0 {
		return nil
	}
	return t.byName[name]
}
