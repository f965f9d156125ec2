; No two patterns capture one node: Neovim would take the last of them, and others the first.

(comment) @comment

[
  "policy"
  "mode"
  "width"
  "default"
  "apply"
  "include"
  "preset"
  "test"
  "allow"
  "deny"
  "set"
  "clamp"
  "ignore"
  "to"
  "if"
  "log"
  "nolog"
] @keyword

[
  "and"
  "or"
  "not"
  "in"
  "matches"
  "contains"
  "starts"
  "with"
] @keyword.operator

[
  "read"
  "write"
] @type.builtin

[
  "enforce"
  "audit"
  "host"
  "other"
  "all"
  "s"
] @constant.builtin

(engine) @constant.builtin

[
  "new"
  "old"
  "pos"
  "uid"
  "gid"
  "comm"
  "netns"
  "engine"
] @variable.builtin

(name) @variable.builtin

[
  "count"
  "each"
  "ranges"
  "label"
] @function.builtin

(policy_name) @type
(errno) @constant
(number) @constant.numeric
(text) @string

(escape) @constant.character.escape

[
  (pattern)
  (knob)
] @tag

[
  (wildcard)
  (class)
] @punctuation.special

(alternatives
  [
    "{"
    ","
    "}"
  ] @punctuation.special)

[
  "<"
  "<="
  "=="
  "!="
  ">="
  ">"
  "&"
  ".."
  "=>"
  "/"
] @operator

[
  "("
  ")"
  "["
  "]"
] @punctuation.bracket

(test
  [
    "{"
    "}"
  ] @punctuation.bracket)

(set
  [
    "{"
    "}"
  ] @punctuation.bracket)

(names
  [
    "{"
    "}"
  ] @punctuation.bracket)

(engines
  [
    "{"
    "}"
  ] @punctuation.bracket)

(rule
  "," @punctuation.delimiter)

(width
  "," @punctuation.delimiter)

(set
  "," @punctuation.delimiter)

(list
  "," @punctuation.delimiter)

(ranges
  "," @punctuation.delimiter)

(names
  "," @punctuation.delimiter)

(engines
  "," @punctuation.delimiter)
