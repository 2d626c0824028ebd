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
# It reads and writes the documents of one update command each by itself.
mend internal/handler/msg_update.go 's/) updateDocument(ctx/) updateOneByOne(ctx/'
mend internal/handler/msg_update.go 's/db\.Collection(params\.Collection)/collectionFor(ctx, db, params.Collection)/'
# Of documents by their ids, or by a range of ids, it reads the whole table, and sorts it.
mend internal/backends/sqlite/collection.go '/MarshalSingleValue(v)))}/{n;n;a\
	if whereClause == "" \&\& params.Sort.Len() == 0 {\
		whereClause, args = whereID(params.Filter)\
	}
}'
mend internal/handler/msg_find.go 's/iter, err := common\.SortIterator(iter, closer, params\.Sort)/sort := params.Sort\
	if backends.SortedByIDRange(params.Filter, sort) {\
		sort = nil\
	}\
	iter, err := common.SortIterator(iter, closer, sort)/'
mend internal/backends/sqlite/metadata/registry.go '/created = append(created, index.Name)/a\
		if index.Name == backends.DefaultIndexName {\
			if _, err := db.ExecContext(ctx, createIDTextIndex(c.TableName)); err != nil {\
				return lazyerrors.Error(err)\
			}\
		}'
# It keeps indexes up to date that it never uses: now they hold nothing, unless they are unique.
mend internal/backends/sqlite/metadata/registry.go '/strings.Join(columns, ", "),/{n;a\
		if !index.Unique {\
			q += " WHERE 0"\
		}
}'
cp -R _mends/. "$source"

cp go.mod "$out/go.mod"
cp go.sum "$out/go.sum"
go mod edit -replace "github.com/FerretDB/FerretDB=$source" "$out/go.mod"
go build -modfile "$out/go.mod" -trimpath -o "$out/ferretdb" .
rm -rf "$source" "$out/go.mod" "$out/go.sum"
