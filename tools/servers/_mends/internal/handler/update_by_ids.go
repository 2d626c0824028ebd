package handler

import (
	"context"
	"sync"

	"github.com/FerretDB/FerretDB/internal/backends"
	"github.com/FerretDB/FerretDB/internal/handler/common"
	"github.com/FerretDB/FerretDB/internal/types"
	"github.com/FerretDB/FerretDB/internal/util/iterator"
	"github.com/FerretDB/FerretDB/internal/util/lazyerrors"
	"github.com/FerretDB/FerretDB/internal/util/must"
)

// updating is held by the update command that is under way: no other one reads what it is about to write.
var updating sync.Mutex

// updateDocument carries out a command whose updates are of one document each, by its _id, with one query for all of
// them, one transaction for the new ones and one for the changed ones. Any other command, and one of which an update is
// refused, is carried out update by update.
func (h *Handler) updateDocument(ctx context.Context, params *common.UpdateParams) (int32, int32, *types.Array, error) {
	updating.Lock()
	defer updating.Unlock()

	if ids := distinctIDs(params.Updates); len(ids) > 1 {
		if held := h.readAhead(ctx, params, ids); held != nil {
			matched, modified, upserted, err := h.updateOneByOne(context.WithValue(ctx, heldKey{}, held), params)
			if err == nil && held.insert(ctx) == nil {
				return matched, modified, upserted, held.update(ctx)
			}
		}
	}
	return h.updateOneByOne(ctx, params)
}

// distinctIDs returns the ids of updates that are of one document each, by its _id; else nothing.
func distinctIDs(updates []common.Update) []string {
	seen := make(map[string]bool, len(updates))
	ids := make([]string, len(updates))
	for i, u := range updates {
		id, ok := onlyID(u.Filter)
		if !ok || u.Multi || seen[id] {
			return nil
		}
		seen[id] = true
		ids[i] = id
	}
	return ids
}

func onlyID(filter *types.Document) (string, bool) {
	if filter.Len() != 1 {
		return "", false
	}
	value, _ := filter.Get("_id")
	id, ok := value.(string)
	return id, ok
}

func (h *Handler) readAhead(ctx context.Context, params *common.UpdateParams, ids []string) *heldBack {
	db, err := h.b.Database(params.DB)
	if err != nil {
		return nil
	}
	c, err := db.Collection(params.Collection)
	if err != nil {
		return nil
	}
	known, err := byIDs(ctx, c, ids)
	if err != nil {
		return nil
	}
	return &heldBack{Collection: c, known: known}
}

func byIDs(ctx context.Context, c backends.Collection, ids []string) (map[string]*types.Document, error) {
	list := types.MakeArray(len(ids))
	for _, id := range ids {
		list.Append(id)
	}
	filter := must.NotFail(types.NewDocument("_id", must.NotFail(types.NewDocument("$in", list))))
	res, err := c.Query(ctx, &backends.QueryParams{Filter: filter})
	if err != nil {
		return nil, lazyerrors.Error(err)
	}
	defer res.Iter.Close()
	docs, err := iterator.ConsumeValues(res.Iter)
	if err != nil {
		return nil, lazyerrors.Error(err)
	}
	known := make(map[string]*types.Document, len(docs))
	for _, doc := range docs {
		if id, ok := must.NotFail(doc.Get("_id")).(string); ok {
			known[id] = doc
		}
	}
	return known, nil
}

// heldBack is a collection that has read all that is asked of it, and keeps what is written for later.
type heldBack struct {
	backends.Collection
	known             map[string]*types.Document
	inserted, changed []*types.Document
}

type heldKey struct{}

// collectionFor is the collection itself, or the one held back in its place.
func collectionFor(ctx context.Context, db backends.Database, name string) (backends.Collection, error) {
	if held, ok := ctx.Value(heldKey{}).(*heldBack); ok {
		return held, nil
	}
	return db.Collection(name)
}

func (c *heldBack) Query(_ context.Context, params *backends.QueryParams) (*backends.QueryResult, error) {
	var found []*types.Document
	id, _ := onlyID(params.Filter)
	if doc := c.known[id]; doc != nil {
		found = append(found, doc)
	}
	return &backends.QueryResult{Iter: iterator.Values(iterator.ForSlice(found))}, nil
}

func (c *heldBack) InsertAll(_ context.Context, params *backends.InsertAllParams) (*backends.InsertAllResult, error) {
	c.inserted = append(c.inserted, params.Docs...)
	return new(backends.InsertAllResult), nil
}

func (c *heldBack) UpdateAll(_ context.Context, params *backends.UpdateAllParams) (*backends.UpdateAllResult, error) {
	c.changed = append(c.changed, params.Docs...)
	return &backends.UpdateAllResult{Updated: int32(len(params.Docs))}, nil
}

// insert writes all new documents or none, as when another has made one of them meanwhile.
func (c *heldBack) insert(ctx context.Context) error {
	if len(c.inserted) == 0 {
		return nil
	}
	_, err := c.Collection.InsertAll(ctx, &backends.InsertAllParams{Docs: c.inserted})
	return err
}

func (c *heldBack) update(ctx context.Context) error {
	if len(c.changed) == 0 {
		return nil
	}
	_, err := c.Collection.UpdateAll(ctx, &backends.UpdateAllParams{Docs: c.changed})
	return err
}
