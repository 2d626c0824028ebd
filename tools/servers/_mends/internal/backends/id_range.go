package backends

import "github.com/FerretDB/FerretDB/internal/types"

// IDBound is one condition on _id, as {$gt: "a"}.
type IDBound struct {
	// Operator of SQL.
	Operator string
	Text     string
}

// IDRange returns the conditions on _id by a text that every document has to meet, be they at the top of the filter or
// under an $and there. Documents whose _id is not a text meet none of them.
func IDRange(filter *types.Document) []IDBound {
	var bounds []IDBound
	if filter.Len() == 0 {
		return bounds
	}
	if condition, ok := get(filter, "_id").(*types.Document); ok {
		bounds = append(bounds, boundsOf(condition)...)
	}
	if all, ok := get(filter, "$and").(*types.Array); ok {
		for i := 0; i < all.Len(); i++ {
			if part, err := all.Get(i); err == nil {
				if document, ok := part.(*types.Document); ok {
					bounds = append(bounds, IDRange(document)...)
				}
			}
		}
	}
	return bounds
}

// SortedByIDRange tells whether all that the filter lets through comes in the order asked for when it is read along _id.
func SortedByIDRange(filter, sort *types.Document) bool {
	return sort.Len() == 1 && get(sort, "_id") == any(int64(1)) && len(IDRange(filter)) > 0
}

func boundsOf(condition *types.Document) []IDBound {
	var bounds []IDBound
	for operator, sql := range map[string]string{"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="} {
		if text, ok := get(condition, operator).(string); ok {
			bounds = append(bounds, IDBound{Operator: sql, Text: text})
		}
	}
	return bounds
}

func get(document *types.Document, key string) any {
	value, _ := document.Get(key)
	return value
}
