package sqlite

import (
	"fmt"
	"strings"

	"github.com/FerretDB/FerretDB/internal/backends"
	"github.com/FerretDB/FerretDB/internal/backends/sqlite/metadata"
	"github.com/FerretDB/FerretDB/internal/handler/sjson"
	"github.com/FerretDB/FerretDB/internal/types"
	"github.com/FerretDB/FerretDB/internal/util/must"
)

// mostIDs is what one statement may name; SQLite allows 32766.
const mostIDs = 10000

// whereID narrows a query by the ids or the range of ids that its filter asks for, and orders a range by id.
func whereID(filter *types.Document) (string, []any) {
	if filter.Len() == 1 {
		value, _ := filter.Get("_id")
		if condition, ok := value.(*types.Document); ok {
			if clause, args := whereIDIn(condition); clause != "" {
				return clause, args
			}
		}
	}
	return whereIDRange(filter)
}

func whereIDIn(condition *types.Document) (string, []any) {
	value, _ := condition.Get("$in")
	ids, ok := value.(*types.Array)
	if !ok || ids.Len() == 0 || ids.Len() > mostIDs {
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

func whereIDRange(filter *types.Document) (string, []any) {
	bounds := backends.IDRange(filter)
	if len(bounds) == 0 {
		return "", nil
	}
	conditions := make([]string, len(bounds))
	args := make([]any, len(bounds))
	for i, bound := range bounds {
		conditions[i] = fmt.Sprintf(`%s %s ?`, metadata.IDTextColumn, bound.Operator)
		args[i] = bound.Text
	}
	return fmt.Sprintf(` WHERE %s ORDER BY %s`, strings.Join(conditions, " AND "), metadata.IDTextColumn), args
}
