// Package web is the wing where people and programs come in: the HTTP API, the
// console, and the customers' pages next. It translates requests into calls of the wings
// below and their errors into answers. It holds no SQL, opens no sealed record and
// decides no right.
package web
