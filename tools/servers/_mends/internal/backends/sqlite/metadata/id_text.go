package metadata

import "fmt"

// IDTextColumn is an _id as the text that it is: the form that IDColumn compares has another order, since it is quoted.
const IDTextColumn = DefaultColumn + "->>'_id'"

// createIDTextIndex is the statement for an index of which the users know nothing. It goes with its table.
func createIDTextIndex(table string) string {
	return fmt.Sprintf("CREATE INDEX %q ON %q (%s)", table+"_id_text", table, IDTextColumn)
}
