package main

import (
	"reflect"
	"testing"

	"github.com/chatapp-ngomna/edgecache/source/postgres"
)

// --columns names columns, says that there is none, gives expressions and makes columns attributes.
func TestColumnsOfATable(t *testing.T) {
	s := tableSettings{name: "hr.agents", zone: "UTC",
		columns: `id=matricule, nom=last name,fullName=(coalesce(a, ')') || ", ("),avatar=,attrs=,attrs.mail=e_mail,sexe=(f(a, b))`}
	want := postgres.Table{Name: "hr.agents", ID: "matricule", Nom: "last name", FullName: `(coalesce(a, ')') || ", (")`, Avatar: postgres.NoColumn,
		Attrs: postgres.NoColumn, Sexe: "(f(a, b))", AttrColumns: map[string]string{"mail": "e_mail"}, TimestampsIn: "UTC"}
	if got, err := s.table(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
}
