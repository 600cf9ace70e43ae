"""Use cases: what a client can ask for, in terms of storage and without HTTP.

Who calls whom: a use case that is one call to storage (read a row, read a page, rotate a key) is called by the route itself, on
`storage.database.queries` or a module of `storage.tables`. A use case that takes more than one call, or anything of `worker`, is a
function in this package. Routes never import `worker`, and this package never imports HTTP (FastAPI, Starlette, or the parts of
`api` that know them); import-linter checks both.

Every function works inside the caller's transaction (`storage.database.engine.Database.session`): its changes are durable,
and files are removed, once that transaction commits. Rows of another owner are treated as if they did not exist.
"""
