// Package structure holds the tests that keep the program in the shape that its
// design promises. It has no code of its own: what it says about the tree, it
// reads from the tree.
//
//   - Imports point one way, along the way that a request takes. A package that
//     could reach forward could also step around the log.
//   - Each table is written by exactly one package, the one named above the table
//     in the schema. Two writers of one table are two places that must keep one
//     invariant.
//   - SQL stands in constants named sqlXxx, and each of them is prepared on every
//     engine. This is what replaces a query generator: a misspelt column fails
//     here, not at the first customer.
//   - Only disclose has an opened customer in hand, and every function that opens
//     something sealed is listed with its reason. These checks know the types of
//     the whole module, so that another name, a method value, an embedded field or
//     an interface hides nothing.
//   - No package is named after a technical layer, and every package says in a
//     comment what it is for.
//
// The checks are functions over packages, and each one is also run over a
// small tree with the fault planted in it, so that a check that has gone blind is
// noticed.
package structure
