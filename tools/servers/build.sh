#!/bin/sh
# Builds the servers that tests use into .tmp/servers, with the versions that go.mod and go.sum pin.
set -eu
cd "$(dirname "$0")"
out="$(cd ../.. && pwd)/.tmp/servers"
source="$out/ferretdb-source"
mkdir -p "$out"

go mod download
rm -rf "$source"
cp -R "$(go list -m -f '{{.Dir}}' github.com/FerretDB/FerretDB)" "$source"
chmod -R u+w "$source"

# mend FILE EXPRESSION: changes a file of FerretDB by sed, and fails where that changes nothing.
mend() {
  cp "$source/$1" "$out/unmended"
  sed -i "$2" "$source/$1"
  if cmp -s "$out/unmended" "$source/$1"; then echo "nothing to mend in $1" >&2; exit 1; fi
  rm "$out/unmended"
}
# It looks for _id by another expression than the one its index is made of, and so scans the table for every document.
mend internal/backends/sqlite/metadata/metadata.go "s/->'\$\._id'/->\\\\\"_id\\\\\"/"
# It keeps a connection to SQLite for every updated document until the command ends, and waits for ever after 100.
mend internal/handler/msg_update.go '/common.UpdateDocument(/a closer.Close()'
# Of documents by their ids it reads the whole table.
mend internal/backends/sqlite/collection.go '/MarshalSingleValue(v)))}/a\
		case *types.Document:\
			whereClause, args = whereIDIn(v.(*types.Document))'
cat >> "$source/internal/backends/sqlite/collection.go" <<'GO'

func whereIDIn(condition *types.Document) (string, []any) {
	value, _ := condition.Get("$in")
	ids, ok := value.(*types.Array)
	if !ok || ids.Len() == 0 || ids.Len() > 10000 {
		return "", nil
	}
	args := make([]any, ids.Len())
	for i := range args {
		id, ok := must.NotFail(ids.Get(i)).(string)
		if !ok {
			return "", nil
		}
		args[i] = string(must.NotFail(sjson.MarshalSingleValue(id)))
	}
	places := strings.TrimSuffix(strings.Repeat("?, ", len(args)), ", ")
	return fmt.Sprintf(` WHERE %s IN (%s)`, metadata.IDColumn, places), args
}
GO

cp go.mod "$out/go.mod"
cp go.sum "$out/go.sum"
go mod edit -replace "github.com/FerretDB/FerretDB=$source" "$out/go.mod"
go build -modfile "$out/go.mod" -trimpath -o "$out/ferretdb" .
rm -rf "$source" "$out/go.mod" "$out/go.sum"
